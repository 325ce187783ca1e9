"""Inputs and outputs against the embedded store: what the fakes of the unit tests can't vouch for."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from machine_store import embedded_store, s3_client

from penstock.data.folder import SteadyFile
from penstock.data.inputs import fetch
from penstock.data.outputs import prepare, upload
from penstock.data.storage import PART, open_bucket
from penstock.errors import ClientFailure
from penstock.job.run import S3Access

pytestmark = pytest.mark.machine

BUCKET = "data-tests"
UNUSUAL = ("ünï ç", "a b", "a+b%20c", "star*?#&=", "..x", "-rf", "'\"", "tilde~", "emoji-🐟", "x" * 255)


@pytest.fixture(scope="module")
def access(tmp_path_factory):
    with embedded_store(tmp_path_factory.mktemp("store"), BUCKET, 19550) as access:
        yield access


@pytest.fixture(scope="module")
def boto(access):
    with s3_client(access) as client:
        yield client


@pytest.fixture
def bring(access, tmp_path):
    def call(uri: str, *, index: int = 0, count: int = 1, **more: str) -> dict[str, bytes | None]:
        root = tmp_path / f"in-{index}"
        root.mkdir()
        source = {"S3Uri": f"s3://{BUCKET}/{uri}", "LocalPath": "/opt/ml/processing/in"} | more
        fetch(
            [{"InputName": "x", "S3Input": source}],
            index=index,
            count=count,
            root=root,
            access=access,
            progress=lambda line: None,
        )
        folder = root / "processing/in"
        assert [path.name for path in root.iterdir()] == ["processing"]
        return {
            str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")
        }

    return call


@pytest.fixture
def send(access, tmp_path):
    def call(uri: str, *names: str, **contents: bytes):
        outputs = [
            {
                "OutputName": "x",
                "S3Output": {"S3Uri": f"s3://{BUCKET}/{uri}", "LocalPath": "/opt/ml/processing/out"},
            },
        ]
        prepare({"Outputs": outputs}, tmp_path)
        for name, content in ({name: name.encode() for name in names} | contents).items():
            path = tmp_path / "processing/out" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return upload(outputs, kms_key=None, root=tmp_path, access=access, progress=lambda line: None)

    return call


def test_what_is_sent_comes_back(send, bring):
    names = [*UNUSUAL, *(f"deep/er/{name}" for name in UNUSUAL)]
    contents = {
        "zero": b"",
        "part": os.urandom(PART),
        "more": os.urandom(PART + 1),
        "many": os.urandom(5 * PART + 7),
    }
    uploaded = send("round/", *names, **contents)
    assert uploaded[0].files == len(names) + len(contents)
    back = {name: data for name, data in bring("round").items() if data is not None}
    assert set(back) == {*names, *contents}
    for name, data in back.items():
        wanted = contents.get(name, name.encode())
        assert hashlib.sha256(data).digest() == hashlib.sha256(wanted).digest()


def test_boto3_reads_what_is_sent(send, boto):
    send("boto", "a/b.csv")
    assert boto.get_object(Bucket=BUCKET, Key="boto/a/b.csv")["Body"].read() == b"a/b.csv"


def test_prefixes_as_the_store_lists_them(boto, bring, tmp_path):
    for key in ("p/tr/a", "p/tr/s/", "p/tr-1", "p/tr.csv", "p/tr2/b", "p/x"):
        boto.put_object(Bucket=BUCKET, Key=key, Body=b"" if key.endswith("/") else key.encode())
    assert bring("p/tr") == {
        "a": b"p/tr/a",
        "s": None,
        "tr-1": b"p/tr-1",
        "tr.csv": b"p/tr.csv",
        "tr2": None,
        "tr2/b": b"p/tr2/b",
    }


def test_a_key_that_is_file_and_folder_is_refused(boto, bring):
    for key in ("clash/a", "clash/a/b"):
        boto.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    with pytest.raises(ClientFailure, match=r"s3://data-tests/clash/a and s3://data-tests/clash/a/b clash"):
        bring("clash/")


def test_more_than_one_page_and_three_shards(send, bring):
    """Costs a second: the store has to have more objects than one page of a listing holds."""
    names = {f"{n % 7}/{n}" for n in range(1100)}
    send("pages", *names)
    shards = [
        {
            name
            for name, data in bring(
                "pages/", index=index, count=3, S3DataDistributionType="ShardedByS3Key"
            ).items()
            if data
        }
        for index in range(3)
    ]
    assert sum(map(len, shards)) == 1100
    assert set().union(*shards) == names
    assert {len(shard) for shard in shards} == {366, 367}


def test_a_manifest(boto, bring):
    boto.put_object(Bucket=BUCKET, Key="man/a", Body=b"1")
    manifest = json.dumps([{"prefix": f"s3://{BUCKET}/man/"}, "a"])
    boto.put_object(Bucket=BUCKET, Key="m.json", Body=manifest.encode())
    assert bring("m.json", S3DataType="ManifestFile") == {"a": b"1"}


def test_an_object_that_changes_between_two_parts_is_noticed(access, boto):
    boto.put_object(Bucket=BUCKET, Key="changing", Body=b"1" * 100)
    bucket = open_bucket(access, BUCKET)
    entry = next(bucket.list("changing"))
    assert bytes(bucket.read_part(entry, 0, 10)) == b"1" * 10
    boto.put_object(Bucket=BUCKET, Key="changing", Body=b"2" * 100)
    with pytest.raises(ClientFailure, match="changed while it was being read"):
        bucket.read_part(entry, 10, 10)


@pytest.mark.parametrize(
    ("uri", "changed", "cause"),
    [
        ("s3://data-tests/none", {}, r"s3://data-tests/none: no object's key begins so"),
        ("s3://no-such-bucket/k", {}, r"the bucket 'no-such-bucket' does not exist"),
        (
            "s3://data-tests/k",
            {"secret_access_key": "wrong"},
            r"refuses access \(ListObjectsV2: SignatureDoesNotMatch",
        ),
        (
            "s3://data-tests/k",
            {"access_key_id": "NOBODY"},
            r"refuses access \(ListObjectsV2: InvalidAccessKeyId",
        ),
    ],
)
def test_failures_in_words(access, tmp_path, uri, changed, cause):
    values = {"region": access.region, "endpoint": access.endpoint, "access_key_id": access.access_key_id}
    values |= {"secret_access_key": access.secret_access_key} | changed
    with pytest.raises(ClientFailure, match=f"Failed to download data. Input 'x': .*{cause}") as caught:
        fetch(
            [{"InputName": "x", "S3Input": {"S3Uri": uri, "LocalPath": "/opt/ml/processing/in"}}],
            index=0,
            count=1,
            root=tmp_path,
            access=S3Access(**values),
            progress=lambda line: None,
        )
    assert values["secret_access_key"] not in str(caught.value)
    assert (tmp_path / "processing/in").is_dir()


def test_memory_stays_bounded_whatever_the_size(access, tmp_path):
    """Takes seconds: the file has to be larger than all that may be in memory at once."""
    folder = tmp_path / "processing/out"
    folder.mkdir(parents=True)
    with (folder / "sparse").open("wb") as file:
        file.truncate(300 << 20)
    program = """
import json, sys
from pathlib import Path
from penstock.data.outputs import upload
from penstock.data.inputs import fetch
from penstock.job.run import S3Access
access, root = S3Access(**json.loads(sys.stdin.read())), Path(sys.argv[1])
out = {"S3Uri": "s3://data-tests/memory", "LocalPath": "/opt/ml/processing/out"}
upload([{"OutputName": "x", "S3Output": out}], kms_key=None, root=root, access=access, progress=print)
back = {"S3Uri": "s3://data-tests/memory/sparse", "LocalPath": "/opt/ml/processing/in"}
fetch([{"InputName": "x", "S3Input": back}], index=0, count=1, root=root, access=access, progress=print)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    printed = in_own_process(program, access, tmp_path)
    peak = int(printed[-1])  # KiB
    assert peak < 250 << 10
    assert (tmp_path / "processing/in/sparse").stat().st_size == 300 << 20


def in_own_process(program, access, root):
    """The words that `program` prints; it reads the store's access from its input, as JSON."""
    values = {"endpoint": access.endpoint, "region": access.region}
    values |= {"access_key_id": access.access_key_id, "secret_access_key": access.secret_access_key}
    done = subprocess.run(
        [sys.executable, "-c", program, str(root)],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_memory_stays_bounded_however_much_is_piped(access, boto, tmp_path):
    """Takes seconds, as above. Parts come faster than they are read, by sixteen threads instead of one."""
    for number in range(3):
        with (tmp_path / "zeros").open("wb") as file:
            file.truncate(100 << 20)
        boto.upload_file(str(tmp_path / "zeros"), BUCKET, f"pipe-memory/{number}")
    program = """
import json, subprocess, sys
from pathlib import Path
from penstock.data.meter import Meter
from penstock.data.pipe import Feed, find_streams
from penstock.job.run import S3Access
access, root = S3Access(**json.loads(sys.stdin.read())), Path(sys.argv[1])
source = {"S3Uri": "s3://data-tests/pipe-memory/", "LocalPath": "/opt/ml/processing/in", "S3InputMode": "Pipe"}
inputs = [{"InputName": "x", "S3Input": source}]
streams = find_streams(inputs, index=0, count=1, access=access, progress=lambda line: None)
with Feed(streams, root=root, meter=Meter()) as feed:
    code = "import sys; f = open(sys.argv[1], 'rb'); print(sum(map(len, iter(lambda: f.read(1 << 20), b''))))"
    reader = subprocess.Popen([sys.executable, "-c", code, root / "processing/in_0"])
    feed.start(reader)
    reader.wait()
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    printed = in_own_process(program, access, tmp_path)
    read, peak = map(int, printed)
    assert read == 300 << 20
    assert peak < 200 << 10


def test_a_large_file_that_changes_while_it_is_uploaded_is_no_object(access, boto, tmp_path):
    """That the store is left without a half object is obstore's doing; this holds it to it."""
    path = tmp_path / "big"
    path.write_bytes(b"x" * (3 * PART))
    bucket = open_bucket(access, BUCKET)
    with SteadyFile(os.open(path, os.O_RDONLY)) as file:
        with path.open("r+b") as other:
            other.write(b"y")
        with pytest.raises(OSError, match="the file changed"):
            bucket.write_file("changed-under-hands", file, 3 * PART)
        assert file.changed
    assert "Contents" not in boto.list_objects_v2(Bucket=BUCKET, Prefix="changed-under-hands")
    assert "Uploads" not in boto.list_multipart_uploads(Bucket=BUCKET, Prefix="changed-under-hands")
