"""Listing and errors against a scripted HTTP server on loopback: what no healthy store would answer."""

from dataclasses import replace
from shutil import copyfile
from urllib.parse import parse_qs, urlsplit

import certifi
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.data.answers import StoreUnreachable
from penstock.data.integrity import md5
from penstock.data.listing import Entry, is_loopback, list_objects
from penstock.data.storage import S3Bucket, open_bucket
from penstock.errors import ClientFailure, InternalFailure
from penstock.job.run import S3Access

SECRET = "never-to-be-seen"


def endpoint(server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def access(scripted, server):
    server.answers = [(200, page())]
    return scripted


def page(*keys: str, token: str | None = None) -> bytes:
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>{len(key)}</Size><ETag>&quot;e&quot;</ETag></Contents>"
        for key in keys
    )
    more = (
        f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
        if token
        else "<IsTruncated>false</IsTruncated>"
    )
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{contents}{more}<EncodingType>url</EncodingType></ListBucketResult>"
    ).encode()


def error(code: str, message: str = "Some message.") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def test_pages_are_followed_and_keys_decoded(server, access):
    server.answers = [
        (200, page("p/x+y%26a%20b", "p/x+y%26c+d", token="t/1+=")),
        (200, page("p/x+y%26%C3%BC%26")),
    ]
    found = list(list_objects(access, "b", "p/x y&", 0))
    assert [entry.key for entry in found] == ["p/x y&a b", "p/x y&c d", "p/x y&ü&"]
    assert found[2] == Entry("p/x y&ü&", 17, '"e"')
    first, second = (parse_qs(urlsplit(asked.path).query) for asked in server.asked)
    assert first == {"list-type": ["2"], "encoding-type": ["url"], "max-keys": ["1000"], "prefix": ["p/x y&"]}
    assert second["continuation-token"] == ["t/1+="]


def test_the_signature_is_botocores(server, access, monkeypatch):
    list(list_objects(access, "b", "p/ü ~*'()", 0))
    asked = server.asked[0]
    request = AWSRequest("GET", endpoint(server) + asked.path)
    theirs = S3SigV4Auth(Credentials("AKID", SECRET, "the-token"), "s3", "eu-west-1")
    stamp = asked.headers["x-amz-date"]
    request.context["timestamp"] = stamp
    request.headers["X-Amz-Date"] = stamp
    request.headers["X-Amz-Content-SHA256"] = asked.headers["x-amz-content-sha256"]
    request.headers["X-Amz-Security-Token"] = "the-token"
    canonical = theirs.canonical_request(request)
    signature = theirs.signature(theirs.string_to_sign(request, canonical), request)
    assert asked.headers["authorization"].endswith(f"Signature={signature}")
    assert SECRET not in str(asked)


def test_the_bucket_may_stand_in_the_hosts_name(server):
    """The bucket `127` at `0.0.1` is the host 127.0.0.1."""
    access = S3Access(f"http://0.0.1:{server.server_port}", "eu-west-1", "AKID", SECRET, path_style=False)
    bucket = open_bucket(access, "127", None, 0.0)
    server.answers = [(200, page())]
    assert list(bucket.list("p")) == []
    server.answers = [
        (200, b"x", ("ETag", f'"{md5(b"x").hex()}"'), ("Last-Modified", "Wed, 12 Oct 2022 17:50:00 GMT"))
    ]
    assert bytes(bucket.read("folder/k", 9)) == b"x"
    bucket.write("folder/k", b"x")
    listed, read, written = server.asked
    assert listed.path.startswith("/?")
    assert [read.path, written.path] == ["/folder/k"] * 2
    hosts = {{n.lower(): v for n, v in asked.headers.items()}["host"] for asked in server.asked}
    assert hosts == {f"127.0.0.1:{server.server_port}"}


def test_a_bucket_may_lie_in_another_store(server, access):
    elsewhere = S3Access("http://127.0.0.1:1", "eu-west-1", "OTHER", SECRET, buckets=(("b", access),))
    assert open_bucket(elsewhere, "b", None, 0.0).access is access
    assert list(open_bucket(elsewhere, "b", None, 0.0).list("")) == []
    assert open_bucket(elsewhere, "c", None, 0.0).access is elsewhere


def test_connections_are_kept_until_the_file_of_certificates_is_another(access, tmp_path):
    file = tmp_path / "ca.pem"
    copyfile(certifi.where(), file)
    trusting = replace(access, endpoint="https://127.0.0.1:1", ca_bundle=str(file))
    first = open_bucket(trusting, "b")
    assert open_bucket(trusting, "b") is first
    copyfile(certifi.where(), tmp_path / "new.pem")
    (tmp_path / "new.pem").replace(file)
    assert open_bucket(trusting, "b") is not first


def test_without_keys_requests_are_not_signed(server):
    server.answers = [(200, page())]
    anonymous = open_bucket(S3Access(endpoint(server), "eu-west-1"), "b", None, 0.0)
    assert list(anonymous.list("")) == []
    server.answers = [(200, b"x", ("ETag", '"e"'), ("Last-Modified", "Wed, 12 Oct 2022 17:50:00 GMT"))]
    assert bytes(anonymous.read("k", 9)) == b"x"
    assert not any("authorization" in {name.lower() for name in asked.headers} for asked in server.asked)


def test_a_store_that_fails_for_a_while_is_asked_again(server, access):
    server.answers = [(503, error("SlowDown")), (500, b""), (200, page("k"))]
    assert [entry.key for entry in list_objects(access, "b", "", 5.0)] == ["k"]
    assert len(server.asked) == 3


DAMAGED_LISTINGS = [
    (page("k", token="t").replace(b"<NextContinuationToken>t</NextContinuationToken>", b""), "from where"),
    (page("k").replace(b"false", b"fblse"), "whether there is more"),
    (page("k").replace(b"</Key>", b"</Kex>"), "mismatched tag"),
    (page("k", "k"), "a key twice"),
    (page("l"), "does not begin with the prefix"),
    (page("k").replace(b"<Size>1", b"<Size>q"), "invalid literal"),
    (page("k").replace(b"</List", b"<KeyCount>2</KeyCount></List"), "holds 1 keys and counts 2"),
]


@pytest.mark.parametrize(("body", "cause"), DAMAGED_LISTINGS)
def test_a_damaged_listing_is_asked_for_again(server, bucket, access, body, cause):
    """A listing that lost a key would be a job that lost an input."""
    server.answers = [(200, body), (200, page("k"))]
    assert [entry.key for entry in list_objects(access, "b", "k", 5.0)] == ["k"]
    server.answers = [(200, body)]
    with pytest.raises(InternalFailure, match=f"s3://b/k: ListObjectsV2: .*BadListing .*{cause}"):
        list(bucket.list("k"))


ANSWERS = [
    (404, error("NoSuchBucket"), ClientFailure, "the bucket 'b' does not exist. Create it"),
    (
        403,
        error("SignatureDoesNotMatch"),
        ClientFailure,
        "refuses access ({}: SignatureDoesNotMatch Some message.)",
    ),
    (400, error("AuthorizationHeaderMalformed"), ClientFailure, "Set PENSTOCK_S3_REGION"),
    (301, error("PermanentRedirect"), ClientFailure, "Set PENSTOCK_S3_REGION"),
    (400, error("InvalidRequest"), ClientFailure, "refuses the request ({}: InvalidRequest Some message.)"),
    (
        500,
        error("InternalError"),
        InternalFailure,
        "answered with an error ({}: InternalError Some message.)",
    ),
    (502, b"<html>bad gateway</html>", InternalFailure, "answered with an error ({}: "),
]


@pytest.mark.parametrize("verb", ["list", "read", "write"])
@pytest.mark.parametrize(("status", "body", "kind", "cause"), ANSWERS)
def test_errors_in_words(server, bucket, verb, status, body, kind, cause):
    server.answers = [(status, body)]
    calls = {
        "list": lambda: list(bucket.list("d/k")),
        "read": lambda: bucket.read("d/k", 9),
        "write": lambda: bucket.write("d/k", b"x"),
    }
    with pytest.raises(kind) as caught:
        calls[verb]()
    text = str(caught.value)
    assert text.startswith("s3://b/d/k: ")
    operations = {"list": "ListObjectsV2", "read": "GetObject", "write": "PutObject"}
    assert cause.format(operations[verb]) in text
    assert SECRET not in text
    assert "the-token" not in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_listing_that_goes_in_a_circle_comes_to_an_end(server, bucket):
    server.answers = [(200, page("k", token="same"))]
    with pytest.raises(InternalFailure, match="what follows it is that page again"):
        list(bucket.list("k"))
    assert len(server.asked) == 2


def test_a_part_that_is_longer_than_asked_for_never_reaches_its_neighbour(server, bucket):
    taken = bytearray()

    class Sink:
        def restart(self):
            taken.clear()

        def take(self, data):
            taken.extend(data)

    date = ("Last-Modified", "Wed, 12 Oct 2022 17:50:00 GMT")
    server.answers = [(206, b"x" * 99, ("ETag", '"e"'), date, ("Content-Range", "bytes 0-9/100"))]
    with pytest.raises(InternalFailure):
        bucket.copy_part(Entry("k", 100, '"e"'), 0, 10, Sink())
    assert len(taken) <= 10


def test_a_missing_object(server, bucket):
    server.answers = [(404, error("NoSuchKey"))]
    with pytest.raises(
        ClientFailure, match=r"s3://b/k: there is no such object \(GetObject: NoSuchKey Some message.\)"
    ):
        bucket.read("k", 9)


def test_a_changed_object(server, bucket):
    server.answers = [(412, error("PreconditionFailed"))]
    with pytest.raises(ClientFailure, match="s3://b/k: it changed while it was being read"):
        bucket.read_part(Entry("k", 100, '"e"'), 0, 10)
    assert server.asked[0].headers["if-match"] == '"e"'


def test_an_object_that_grew_is_not_read_into_memory(server, bucket):
    server.answers = [(200, b"x" * 99, ("ETag", '"e"'), ("Last-Modified", "Wed, 12 Oct 2022 17:50:00 GMT"))]
    with pytest.raises(ClientFailure, match="it has 99 bytes where at most 9 were expected"):
        bucket.read("k", 9)


def test_the_kms_key_is_asked_for_and_named_when_the_store_refuses(server, access):
    server.answers = [(500, error("InternalError"))]
    with pytest.raises(InternalFailure, match="KmsKeyId is set: does the store know the key"):
        open_bucket(access, "b", "alias/mine", 0.0).write("k", b"x")
    headers = server.asked[0].headers
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/mine"


def test_nobody_there():
    bucket = open_bucket(S3Access("http://127.0.0.1:1", "us-east-1", "AKID", SECRET), "b", None, 0.0)
    for call in (lambda: list(bucket.list("k")), lambda: bucket.read("k", 9), lambda: bucket.write("k", b"")):
        with pytest.raises(
            StoreUnreachable, match=r"s3://b/k: \w+: no answer from the object store at http://127.0.0.1:1"
        ):
            call()


@pytest.mark.parametrize("key", ["", "/k", "k/", "a//b", "a/../b", "a/./b", "a\nb"])
def test_keys_that_can_not_be_addressed_are_refused_and_not_bent(server, bucket, key):
    with pytest.raises(ClientFailure, match="can't be addressed"):
        bucket.read(key, 9)
    assert server.asked == []


def test_the_environment_has_no_say(server, access, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-key")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    server.answers = [(200, page()), (200, b"", ("ETag", f'"{md5(b"x").hex()}"'))]
    bucket = S3Bucket(access, "b", None, 0.0)
    assert list(bucket.list("")) == []
    bucket.write("k", b"x")
    assert urlsplit(server.asked[1].path).path == "/b/k"
    for asked in server.asked:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        assert headers["x-amz-security-token"] == "the-token"
        assert "Credential=AKID/" in headers["authorization"]


def test_a_store_elsewhere_is_listed_through_the_proxy(server, monkeypatch):
    server.answers = [(502, b"")]
    monkeypatch.setenv("http_proxy", f"http://me:pass%20word@127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    elsewhere = open_bucket(
        S3Access("http://store.invalid:9000", "us-east-1", "AKID", SECRET), "b", None, 0.0
    )
    with pytest.raises(StoreUnreachable, match=r"store\.invalid"):
        list(elsewhere.list(""))
    assert server.asked[0].path == "store.invalid:9000"
    assert server.asked[0].headers["Proxy-Authorization"] == "Basic bWU6cGFzcyB3b3Jk"


def test_secrets_are_in_no_repr(bucket):
    assert SECRET not in repr(vars(bucket)) + repr(bucket._store.config) + repr(bucket._store.client_options)


def test_endpoints():
    assert S3Access(None, "eu-west-1").url == "https://s3.eu-west-1.amazonaws.com"
    assert S3Access(None, "cn-north-1").url == "https://s3.cn-north-1.amazonaws.com.cn"
    assert S3Access("http://h:9/", "r").url == "http://h:9"


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://127.0.0.1:9", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:9", True),
        ("https://localhost", True),
        ("https://s3.eu-west-1.amazonaws.com", False),
        ("http://10.0.0.1:9000", False),
    ],
)
def test_is_loopback(url, answer):
    assert is_loopback(url) is answer
