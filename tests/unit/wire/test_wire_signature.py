"""Signatures: what botocore signs is verified, and nothing else is."""

import hashlib
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.wire import signature
from penstock.wire.claims import Scope, claim
from penstock.wire.faults import Fault
from penstock.wire.signature import Key, SignedRequest, sign, verify

SOME = settings(max_examples=60, deadline=None, database=None)
NOW = datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
SECRETS = {"AKIDPENSTOCK": "a+secret/with=marks"}
EMPTY = hashlib.sha256(b"").hexdigest()

#: What can come in a header: printable ASCII and Latin-1, with runs of spaces.
VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=20
)
PATHS = st.lists(
    st.sampled_from([".", "..", "", "a", "b c", "ü", "x%2Fy", "~t", "a+b", "é:1"]), max_size=5
).map(lambda parts: "/" + "/".join(quote(part, safe="%~") for part in parts))
QUERIES = st.lists(
    st.tuples(st.sampled_from(["a", "B", "list-type", "ü"]), st.text(max_size=5)), max_size=4
).map(lambda pairs: "&".join(f"{quote(k)}={quote(v.encode(errors='replace'), safe='')}" for k, v in pairs))
SERVICES = st.sampled_from(["sagemaker", "logs", "sts", "s3"])


def signed_by_botocore(
    service, *, method="POST", path="/", query="", headers=None, body=b"", token=None, auth=None
):
    """The request as it would come over the wire."""
    url = f"http://127.0.0.1:9550{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, data=body, headers=headers or {})
    keys = Credentials("AKIDPENSTOCK", SECRETS["AKIDPENSTOCK"], token)
    kind = auth or (botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth)
    with patch.object(botocore.auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None)):
        kind(keys, service, "eu-west-1").add_auth(request)
    parts = urlsplit(request.url)
    sent = [(b"host", parts.netloc.encode())]
    sent += [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.items()]
    return SignedRequest(method, parts.path.encode(), parts.query.encode(), sent, body)


def changed(request, **changes):
    return SignedRequest(
        **{**{f: getattr(request, f) for f in SignedRequest.__dataclass_fields__}, **changes}
    )


def refused(request, code, text="", now_ms=NOW_MS):
    with pytest.raises(Fault) as info:
        verify(request, SECRETS.get, now_ms)
    assert info.value.code == code
    assert text in info.value.message
    assert SECRETS["AKIDPENSTOCK"] not in info.value.message
    return info.value


def with_header(request, name, value):
    """`request` with one header replaced; None takes it away."""
    kept = [pair for pair in request.headers if pair[0] != name]
    return changed(request, headers=kept if value is None else [*kept, (name, value)])


@SOME
@given(
    service=SERVICES,
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    path=PATHS,
    query=QUERIES,
    extra=VALUES,
    body=st.binary(max_size=50),
    token=st.none() | st.just("token+/="),
)
def test_what_botocore_signs_is_verified(service, method, path, query, extra, body, token):
    headers = {"X-Amz-Target": "SageMaker.ListTags", "X-Extra": extra, "User-Agent": "not signed"}
    request = signed_by_botocore(
        service, method=method, path=path, query=query, headers=headers, body=body, token=token
    )
    caller = verify(request, SECRETS.get, NOW_MS, token=token)
    assert (caller.access_key_id, caller.region, caller.service) == ("AKIDPENSTOCK", "eu-west-1", service)
    assert caller.payload == hashlib.sha256(body).hexdigest()
    assert claim(request.headers, request.query).scope == Scope(
        "AKIDPENSTOCK", "20240131", "eu-west-1", service
    )


def flipped(data, raw):
    """`raw` with one byte changed."""
    assume(raw)
    place = data.draw(st.integers(0, len(raw) - 1))
    return raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :]


@settings(SOME, max_examples=250)
@given(data=st.data(), service=SERVICES, path=PATHS, query=QUERIES, body=st.binary(min_size=1, max_size=20))
def test_one_changed_byte_is_refused(data, service, path, query, body):
    headers = {"X-Amz-Target": "SageMaker.ListTags", "Content-Type": "application/json"}
    request = signed_by_botocore(service, path=path, query=query, headers=headers, body=body)
    what = data.draw(st.sampled_from(["method", "path", "query", "body", "name", "value", "value", "value"]))
    if what in {"name", "value"}:
        place = data.draw(st.integers(0, len(request.headers) - 1))
        name, value = request.headers[place]
        if what == "name":
            other = flipped(data, name)
            assume(other.decode("latin-1").lower() != name.decode())
            pair = (other, value)
        else:
            other = flipped(data, value)
            # A space is the same as another kind of space: that much the canonical form leaves open.
            assume(other.decode("latin-1").split() != value.decode("latin-1").split())
            pair = (name, other)
        request = changed(request, headers=[*request.headers[:place], pair, *request.headers[place + 1 :]])
    elif what == "method":
        request = changed(request, method=flipped(data, b"POST").decode("latin-1"))
    else:
        raw = getattr(request, what)
        other = flipped(data, raw)
        if what == "path" and service != "s3":  # `/a/./b` and `/a//b` are one path to all services but S3
            assume(signature._normal(other) != signature._normal(raw))
        request = changed(request, **{what: other})
    with pytest.raises(Fault) as info:
        verify(request, SECRETS.get, NOW_MS)
    assert 400 <= info.value.status < 500


@SOME
@given(
    authorization=st.none() | st.binary() | st.binary().map(lambda b: b"AWS4-HMAC-SHA256 Credential=" + b),
    query=st.binary() | st.binary().map(lambda b: b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=9&" + b),
    date=st.binary() | st.just(b"20240131T235959Z") | st.from_regex(rb"[0-9]{8}T[0-9]{6}Z", fullmatch=True),
)
def test_no_bytes_raise_anything_but_a_fault(authorization, query, date):
    headers = [(b"x-amz-date", date)] + (
        [(b"authorization", authorization)] if authorization is not None else []
    )
    claim(headers, query)
    with pytest.raises(Fault):
        verify(SignedRequest("GET", b"/\xff", query, headers, b""), SECRETS.get, NOW_MS)


@pytest.mark.parametrize(
    "date", [b"20241331T000000Z", b"00000101T000000Z", b"20240131T245959Z", b"20240230T000000Z"]
)
def test_a_date_that_does_not_exist_is_refused(date):
    request = signed_by_botocore("logs")
    value = dict(request.headers)[b"authorization"].replace(b"20240131", date[:8])
    request = with_header(with_header(request, b"x-amz-date", date), b"authorization", value)
    refused(request, "IncompleteSignatureException", "Date must be in ISO-8601")


def test_unsigned():
    refused(SignedRequest("POST", b"/", b"", [(b"host", b"h")], b""), "MissingAuthenticationTokenException")
    assert claim([], b"a=b") is None


def test_unknown_key():
    request = signed_by_botocore("logs")
    with pytest.raises(Fault) as info:
        verify(request, {}.get, NOW_MS)
    assert info.value.code == "UnrecognizedClientException"


def test_wrong_secret():
    with pytest.raises(Fault) as info:
        verify(signed_by_botocore("logs"), {"AKIDPENSTOCK": "other"}.get, NOW_MS)
    assert info.value.code == "InvalidSignatureException"


@pytest.mark.parametrize("minutes", [-15, 15])
def test_a_quarter_of_an_hour_is_forgiven(minutes):
    verify(signed_by_botocore("logs"), SECRETS.get, NOW_MS + minutes * 60_000)


def test_a_wrong_clock_is_told_with_both_times():
    request = signed_by_botocore("logs")
    fault = refused(request, "RequestTimeTooSkewed", now_ms=NOW_MS + 15 * 60_000 + 1000)
    assert fault.message == (
        "Signature expired: 20240131T235959Z is now earlier than 20240201T000000Z (20240201T001500Z - 15 min.)"
    )
    fault = refused(request, "RequestTimeTooSkewed", now_ms=NOW_MS - 15 * 60_000 - 1000)
    assert fault.message == (
        "Signature not yet current: 20240131T235959Z is still later than 20240131T235958Z "
        "(20240131T234458Z + 15 min.)"
    )


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"AWS4-HMAC-SHA256 ", b"AWS4-ECDSA-P256-SHA256 ", "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."),
        (b"Credential=", b"Nothing=", "Authorization header requires 'Credential' parameter. (Hashed with SHA-256"),
        (b"SignedHeaders=", b"Nothing=", "Authorization header requires 'SignedHeaders' parameter. (Hashed"),
        (b"Signature=", b"Nothing=", "Authorization header requires 'Signature' parameter. (Hashed"),
        (
            b"/aws4_request",
            b"",
            ("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            "got 'AKIDPENSTOCK/20240131/eu-west-1/logs'"),
        ),
        (b"/logs/", b"//", "exactly 5 slash-delimited elements"),
        (b"host;x-amz-date", b"x-amz-date;host", "sorted"),
    ],
)  # fmt: skip
def test_a_signature_that_lacks_something_says_what(old, new, text):
    request = signed_by_botocore("logs")
    value = dict(request.headers)[b"authorization"]
    assert old in value
    refused(
        with_header(request, b"authorization", value.replace(old, new)), "IncompleteSignatureException", text
    )


def test_all_that_is_lacking_is_told():
    request = with_header(signed_by_botocore("logs"), b"x-amz-date", None)
    fault = refused(
        with_header(request, b"authorization", b"AWS4-HMAC-SHA256"), "IncompleteSignatureException"
    )
    assert fault.message == (
        "Authorization header requires 'Credential' parameter. "
        "Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        "(Hashed with SHA-256 and encoded with Base64) "
        "Authorization=YI2YWea8FSxnksZL2ETHbs5elHm9HQufxTLK0W0ffV0="
    )
    fault = refused(
        SignedRequest("GET", b"/", b"X-Amz-Algorithm=AWS4-HMAC-SHA256", [], b""), "IncompleteQuerySignature"
    )
    assert fault.message == (
        "AWS query-string parameters must include 'X-Amz-Credential'. "
        "AWS query-string parameters must include 'X-Amz-Signature'. "
        "AWS query-string parameters must include 'X-Amz-SignedHeaders'. "
        "AWS query-string parameters must include 'X-Amz-Date'. "
        "Re-examine the query-string parameters."
    )


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            b"aws4_request",
            b"aws5_request",
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'.",
        ),
        (
            b"/20240131/",
            b"/20240130/",
            (
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                "'20240130' != '20240131', from '20240131T235959Z'."
            ),
        ),
    ],
)
def test_a_scope_that_can_not_be_is_told(old, new, text):
    request = signed_by_botocore("logs")
    value = dict(request.headers)[b"authorization"].replace(old, new)
    fault = refused(with_header(request, b"authorization", value), "InvalidSignatureException")
    assert fault.message == text


def test_a_request_is_signed_once():
    request = signed_by_botocore("logs", query="X-Amz-Algorithm=AWS4-HMAC-SHA256")
    refused(request, "InvalidSignatureException", "Found both 'X-Amz-Algorithm' as a query-string param")


def test_other_ways_to_authorize_are_none():
    request = with_header(signed_by_botocore("logs"), b"authorization", b"Bearer token")
    refused(request, "MissingAuthenticationTokenException", "Request is missing Authentication Token")


@pytest.mark.parametrize("service", ["logs", "s3"])
def test_a_session_token_must_be_the_one_of_the_keys(service):
    for auth in (None, botocore.auth.SigV4QueryAuth if service == "logs" else botocore.auth.S3SigV4QueryAuth):
        with_token = signed_by_botocore(service, token="the/token=", auth=auth)
        verify(with_token, SECRETS.get, NOW_MS, token="the/token=")
        refused(with_token, "InvalidToken", "The security token included in the request is invalid.")
        with pytest.raises(Fault) as info:
            verify(with_token, SECRETS.get, NOW_MS, token="another")
        assert info.value.code == "InvalidToken"
        assert "the/token" not in repr(claim(with_token.headers, with_token.query))


@pytest.mark.parametrize("value", [None, b"", b"yesterday", b"Wed, 31 Jan 2024 23:59:59 GMT"])
def test_a_date_is_needed(value):
    refused(
        with_header(signed_by_botocore("logs"), b"x-amz-date", value), "IncompleteSignatureException", "Date"
    )


def test_the_host_and_all_of_amazons_headers_must_be_signed():
    request = signed_by_botocore("logs")
    added = with_header(request, b"x-amz-target", b"Logs_20140328.GetLogEvents")
    refused(added, "InvalidSignatureException", "'x-amz-target' arrived and was not signed")
    value = dict(request.headers)[b"authorization"]
    hostless = with_header(request, b"authorization", value.replace(b"host;", b""))
    refused(hostless, "InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader'")
    missing = with_header(signed_by_botocore("logs", headers={"X-Mine": "1"}), b"x-mine", None)
    refused(missing, "InvalidSignatureException", "'x-mine' did not arrive")


def test_several_headers_of_one_name_are_joined():
    request = signed_by_botocore("logs", headers={"X-Mine": "a,b  c"})
    twice = [pair for pair in request.headers if pair[0] != b"x-mine"] + [
        (b"X-Mine", b" a"),
        (b"x-mine", b"b c "),
    ]
    verify(changed(request, headers=twice), SECRETS.get, NOW_MS)


def test_a_body_that_is_not_there_is_for_s3_only():
    assert verify(changed(signed_by_botocore("s3"), body=None), SECRETS.get, NOW_MS).payload == EMPTY
    with pytest.raises(ValueError, match="S3"):
        verify(changed(signed_by_botocore("logs"), body=None), SECRETS.get, NOW_MS)


def test_s3_may_leave_the_body_unsigned_and_others_may_not():
    headers = [(b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")]
    key = Key("AKIDPENSTOCK", SECRETS["AKIDPENSTOCK"])
    for service in ("s3", "logs"):
        sent = sign(
            "PUT",
            "http://h/b/k",
            headers if service == "logs" else [],
            "UNSIGNED-PAYLOAD",
            key,
            region="r",
            service=service,
            now_ms=NOW_MS,
        )
        request = SignedRequest("PUT", b"/b/k", b"", sent, b"anything")
        if service == "s3":
            assert verify(request, SECRETS.get, NOW_MS).payload == "UNSIGNED-PAYLOAD"
        else:
            refused(request, "InvalidSignatureException")


def test_s3_names_a_body_that_was_swapped():
    refused(changed(signed_by_botocore("s3", body=b"a"), body=b"b"), "XAmzContentSHA256Mismatch")
    request = with_header(signed_by_botocore("s3"), b"x-amz-content-sha256", None)
    value = dict(request.headers)[b"authorization"].replace(b"x-amz-content-sha256;", b"")
    refused(with_header(request, b"authorization", value), "ValidationException", "x-amz-content-sha256")


def test_presigned_urls():
    class Presign(botocore.auth.S3SigV4QueryAuth):
        def __init__(self, *args):
            super().__init__(*args, expires=600)

    request = signed_by_botocore("s3", method="GET", path="/b/k%20k", query="versionId=1", auth=Presign)
    scope = Scope("AKIDPENSTOCK", "20240131", "eu-west-1", "s3")
    assert claim(request.headers, request.query).scope == scope
    caller = verify(changed(request, body=None), SECRETS.get, NOW_MS + 600_000)
    assert (caller.service, caller.payload) == ("s3", "UNSIGNED-PAYLOAD")
    refused(request, "AccessDeniedException", "expired", NOW_MS + 600_001)
    refused(
        request, "RequestTimeTooSkewed", now_ms=NOW_MS - timedelta(minutes=16) // timedelta(milliseconds=1)
    )
    longer = changed(request, query=request.query.replace(b"Expires=600", b"Expires=601"))
    refused(longer, "InvalidSignatureException")
    for wrong in (b"0", b"604801", b"-1", b"x", b"9" * 5000, b"%D9%A3"):
        refused(
            changed(request, query=request.query.replace(b"=600", b"=" + wrong)),
            "IncompleteQuerySignature",
        )


def test_published_examples():
    """The two worked examples of S3's documentation: a GET with a Range header, and a presigned URL."""
    secrets = {"AKIAIOSFODNN7EXAMPLE": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
    scope = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
    host = (b"host", b"examplebucket.s3.amazonaws.com")
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    headers = [
        host,
        (b"Range", b"bytes=0-9"),
        (b"x-amz-content-sha256", EMPTY.encode()),
        (b"x-amz-date", b"20130524T000000Z"),
        (b"Authorization", authorization.encode()),
    ]
    then = int(datetime(2013, 5, 24, tzinfo=UTC).timestamp() * 1000)
    assert (
        verify(SignedRequest("GET", b"/test.txt", b"", headers, b""), secrets.get, then).region == "us-east-1"
    )
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={quote(scope, safe='')}&X-Amz-Date=20130524T000000Z"
        "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    verify(SignedRequest("GET", b"/test.txt", query.encode(), [host], None), secrets.get, then)


@SOME
@given(
    service=SERVICES,
    path=PATHS,
    query=QUERIES,
    body=st.binary(max_size=20),
    token=st.none() | st.just("tok/en"),
)
def test_signing_anew_is_verified_and_leaves_nothing_of_the_old(service, path, query, body, token):
    old = signed_by_botocore(service, path=path, query=query, body=body, headers={"X-Amz-Meta-A": "1"})
    key = Key("other", "other secret", token)
    url = f"https://store.example:8333{path}" + (f"?{query}" if query else "")
    payload = hashlib.sha256(body).hexdigest()
    sent = sign(
        "POST", url, old.headers, payload, key, region="r", service=service, now_ms=NOW_MS + 86_400_000
    )
    names = [name.lower() for name, _ in sent]
    assert len(names) == len(set(names))
    assert dict(sent)[b"host"] == b"store.example:8333"
    assert dict(sent).get(b"x-amz-security-token") == (token and token.encode())
    request = SignedRequest("POST", path.encode(), query.encode(), sent, body)
    later = NOW_MS + 86_400_000
    assert verify(request, {"other": "other secret"}.get, later, token=token).access_key_id == "other"


def test_signing_is_as_botocore_signs():
    theirs = signed_by_botocore(
        "s3", method="GET", path="/bucket/a%20b", query="list-type=2&prefix=x%2F", token="t"
    )
    ours = sign(
        "GET",
        "http://127.0.0.1:9550/bucket/a%20b?list-type=2&prefix=x%2F",
        [],
        EMPTY,
        Key("AKIDPENSTOCK", SECRETS["AKIDPENSTOCK"], "t"),
        region="eu-west-1",
        service="s3",
        now_ms=NOW_MS,
    )
    assert dict(ours) == dict(theirs.headers)


def test_a_key_keeps_its_secrets_to_itself():
    assert repr(Key("id", "secret-one", "token-one")) == "Key(access_key_id='id')"
    assert "token-one" not in repr(signed_by_botocore("logs", token="token-one"))
