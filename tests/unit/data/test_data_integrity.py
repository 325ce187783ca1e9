"""What proves that bytes are right, and what is made of bytes that are not."""

import base64
import hashlib
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.data.integrity import FileChangedError, Source, file_proves, md5, proves
from penstock.data.storage import PART, open_bucket
from penstock.errors import ClientFailure, InternalFailure

MIB = 1 << 20


def etag(data: bytes, part: int) -> str:
    digests = [md5(data[start : start + part]) for start in range(0, len(data), part)]
    return f'"{md5(b"".join(digests)).hex()}-{len(digests)}"'


@given(st.binary(max_size=64), st.integers(0, 511))
def test_an_etag_proves_its_bytes_and_no_others(data, bit):
    assert proves(f'"{md5(data).hex()}"', [md5(data)])
    turned = bytearray(data or b"\0")
    turned[bit // 8 % len(turned)] ^= 1 << bit % 8
    assert not proves(f'"{md5(data).hex()}"', [md5(bytes(turned))])


@pytest.mark.parametrize("etag", [None, "", '"e"', '"0123"', f'"{"g" * 32}"', f'"{"0" * 32}-0"'])
def test_what_is_no_md5_proves_nothing(etag, tmp_path):
    assert not proves(etag, [md5(b"")])
    (tmp_path / "f").touch()
    with (tmp_path / "f").open("rb") as file:
        assert not file_proves(etag, file.fileno(), 0)


@pytest.mark.parametrize("part", [5 * MIB, 8 * MIB, 10_000_000, (21 * MIB + 3 + 1) // 2])
def test_a_file_proves_whatever_part_size_it_was_written_in(tmp_path, part):
    data = os.urandom(21 * MIB + 3)
    (tmp_path / "f").write_bytes(data)
    with (tmp_path / "f").open("r+b") as file:
        assert file_proves(etag(data, part), file.fileno(), len(data))
        assert file_proves(f'"{md5(data).hex()}"', file.fileno(), len(data))
        os.pwrite(file.fileno(), bytes([data[20 * MIB] ^ 1]), 20 * MIB)
        assert not file_proves(etag(data, part), file.fileno(), len(data))


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(1, 50), st.integers(1, 60))
def test_a_source_sums_what_is_read_whatever_the_reads(tmp_path_factory, data, part, step):
    path = tmp_path_factory.mktemp("source") / "f"
    path.write_bytes(data)
    with path.open("rb") as file:
        source = Source(file, len(data), part)
        assert b"".join(iter(lambda: source.read(step), b"")) == data
    assert source.sha256 == hashlib.sha256(data).hexdigest()
    assert proves(etag(data, part), source.digests)


@pytest.mark.parametrize("change", ["grow", "shrink", "overwrite"])
def test_a_source_that_changes_does_not_end(tmp_path, change):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    os.utime(path, ns=(0, 0))
    with path.open("rb", buffering=0) as file:
        source = Source(file, 10, 5)
        assert source.read(5) == b"01234"
        {
            "grow": lambda: path.write_bytes(b"0123456789more"),
            "shrink": lambda: os.truncate(path, 7),
            "overwrite": lambda: path.write_bytes(b"abcdefghij"),
        }[change]()
        with pytest.raises(FileChangedError):
            list(iter(lambda: source.read(5), b""))
        assert source.changed


def object_answer(data: bytes, etag: str | None = None) -> tuple:
    return (
        200,
        data,
        ("ETag", etag or f'"{md5(data).hex()}"'),
        ("Last-Modified", "Wed, 12 Oct 2022 17:50:00 GMT"),
    )


def test_damaged_bytes_are_read_again(server, patient):
    right = object_answer(b"right")
    server.answers = [object_answer(b"wrong", right[2][1]), object_answer(b"wrung", right[2][1]), right]
    assert bytes(patient.read("k", 9)) == b"right"
    assert len(server.asked) == 3  # two that differ, and one that is right by itself


def test_an_etag_that_is_no_sum_is_made_good_by_a_second_reading(server, patient):
    server.answers = [object_answer(b"data", '"0-not-a-sum"')]
    assert bytes(patient.read("k", 9)) == b"data"
    assert len(server.asked) == 2


@pytest.mark.parametrize("own", [True, False])
def test_to_the_own_store_there_is_no_way_on_which_bytes_could_change(server, scripted, tmp_path, own):
    """Nothing is summed up or read twice there; sizes are still looked at."""
    bucket = open_bucket(replace(scripted, own=own), "b", None, 10.0)
    server.answers = [object_answer(b"data", '"0-not-a-sum"')]
    assert bytes(bucket.read("k", 9)) == b"data"
    bucket.write("k", b"data")
    assert [asked.method for asked in server.asked] == (
        ["GET", "PUT"] if own else ["GET", "GET", "PUT", "GET", "GET"]
    )
    with (tmp_path / "f").open("wb+") as file:
        file.write(b"0123456789")
        file.flush()
        source = Source(file, 10, None if bucket.sealed else 5)
        assert b"".join(iter(lambda: source.read(3), b"")) == b"0123456789"
        assert len(source.digests) == (0 if own else 2)


def test_bytes_that_are_never_right_fail_with_the_reason(server, bucket):
    server.answers = [object_answer(bytes([n]), f'"{md5(b"").hex()}"') for n in range(9)]
    with pytest.raises(
        InternalFailure, match=r"s3://b/k: GetObject: two readings gave different bytes\. Check"
    ):
        bucket.read("k", 9)


def test_each_body_carries_its_sha256_for_the_store_to_check(server, bucket):
    server.answers = [object_answer(b"", f'"{md5(b"data").hex()}"')]
    assert bucket.write("k", b"data") == hashlib.sha256(b"data").hexdigest()
    sent = server.asked[0].headers["x-amz-checksum-sha256"]
    assert sent == base64.b64encode(hashlib.sha256(b"data").digest()).decode()


def test_a_refused_checksum_is_sent_again(server, patient):
    refusal = b"<Error><Code>BadDigest</Code><Message>no</Message></Error>"
    server.answers = [(400, refusal), object_answer(b"", f'"{md5(b"data").hex()}"')]
    patient.write("k", b"data")
    assert len(server.asked) == 2
    server.answers = [(400, refusal)]
    with pytest.raises(InternalFailure, match="s3://b/k: PutObject: the store answered 'BadDigest no'"):
        patient.write("k", b"data")
    assert len(server.asked) == 2 + 5


def test_other_bytes_in_the_store_than_sent_are_sent_again(server, patient):
    wrong = object_answer(b"dbta")
    server.answers = [(200, b"", wrong[2]), wrong, object_answer(b"", f'"{md5(b"data").hex()}"')]
    patient.write("k", b"data")
    assert [asked.method for asked in server.asked] == ["PUT", "GET", "PUT"]


def test_a_multipart_upload_asks_for_its_kms_key_where_s3_wants_it(server, scripted, tmp_path):
    """When the upload begins; with a part, S3 refuses the header."""
    path = tmp_path / "f"
    path.write_bytes(bytes(PART + 1))
    digests = [md5(bytes(PART)), md5(b"\0")]
    etag = f'"{md5(b"".join(digests)).hex()}-2"'
    server.answers = [
        (200, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        (200, b"", ("ETag", '"e"')),
        (200, b"", ("ETag", '"e"')),
        (200, f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>".encode()),
    ]
    with path.open("rb") as file:
        sum_told = open_bucket(scripted, "b", "alias/mine", 0.0).write_file("k", file, PART + 1)
    assert sum_told == hashlib.sha256(bytes(PART + 1)).hexdigest()
    named = [
        {name.lower(): value for name, value in asked.headers.items()}.get(
            "x-amz-server-side-encryption-aws-kms-key-id"
        )
        for asked in server.asked
    ]
    assert named == ["alias/mine", None, None, None]
    assert [asked.method for asked in server.asked] == ["POST", "PUT", "PUT", "POST"]


def test_a_file_that_changes_is_told_and_its_upload_aborted(server, bucket, tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"x" * (PART + 1))
    os.utime(path, ns=(0, 0))
    server.answers = [
        (200, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        (200, b"", ("ETag", '"e"')),
    ]
    with path.open("rb", buffering=0) as file:
        read = Source.read

        def meddle(self, length=-1):
            with path.open("r+b") as other:
                other.write(b"y")
            return read(self, length)

        monkeypatch.setattr(Source, "read", meddle)
        with pytest.raises(ClientFailure, match="s3://b/k: the file changed while it was uploaded"):
            bucket.write_file("k", file, PART + 1)
    ends = [
        asked.method for asked in server.asked if "uploadId" in asked.path and "partNumber" not in asked.path
    ]
    assert ends == ["DELETE"]
