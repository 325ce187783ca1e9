"""The AWS CLI: s3, s3api and sts."""

import subprocess
import urllib.request
from pathlib import Path

from awscli_run import aws
from case import differs, main, unique


def upload_helpers():
    """s3 mb, sync, ls, cp, rm"""
    base = _bucket()
    Path("folder/deep").mkdir(parents=True)
    Path("folder/a").write_text("a")
    Path("folder/deep/b").write_text("bb")
    aws("s3", "sync", "folder", f"{base}/up")
    listed = [line.split()[2:] for line in aws("s3", "ls", "--recursive", f"{base}/").splitlines()]
    assert listed == [["1", "up/a"], ["2", "up/deep/b"]], listed
    aws("s3", "sync", f"{base}/up", "down")
    assert Path("down/deep/b").read_text() == "bb"
    aws("s3", "rm", "--recursive", f"{base}/up")
    assert _listed(f"{base}/", "--recursive") == ""
    if "PRE up/" in _listed(f"{base}/"):
        differs("a prefix whose objects have all been deleted stays listed as a folder for some two minutes")


def kms():
    """s3 cp --sse aws:kms, with a key and without"""
    base = _bucket()
    Path("a").write_text("a")
    aws("s3", "cp", "a", f"{base}/kms", "--sse", "aws:kms")
    aws("s3", "cp", "a", f"{base}/key", "--sse", "aws:kms", "--sse-kms-key-id", "alias/mine")
    assert aws("s3", "cp", f"{base}/key", "-") == "a"


def checksums():
    """s3api put-object --checksum-algorithm CRC32"""
    bucket = _bucket().removeprefix("s3://")
    Path("a").write_text("a")
    where = ("--bucket", bucket, "--key", "a")
    aws("s3api", "put-object", *where, "--body", "a", "--checksum-algorithm", "CRC32")
    aws("s3api", "get-object", *where, "--checksum-mode", "ENABLED", "back")
    assert Path("back").read_text() == "a"


def multipart():
    """s3 cp of 20 MiB in parts, and back"""
    base = _bucket()
    with Path("large").open("wb") as file:
        file.truncate(20 << 20)
    aws("s3", "cp", "large", f"{base}/large")
    aws("s3", "cp", f"{base}/large", "again")
    assert Path("again").stat().st_size == 20 << 20


def presigned():
    """s3 presign"""
    base = _bucket()
    Path("a").write_text("a")
    aws("s3", "cp", "a", f"{base}/a")
    link = aws("s3", "presign", f"{base}/a").strip()
    assert urllib.request.urlopen(link, timeout=30).read() == b"a"


def identity():
    """sts get-caller-identity"""
    assert aws("sts", "get-caller-identity")["Account"] == "000000000000"


def _listed(*what):
    """What `s3 ls` prints; its exit code is 1 when that is nothing."""
    return subprocess.run(["aws", "s3", "ls", *what], capture_output=True, text=True, check=False).stdout


def _bucket():
    base = f"s3://{unique('cli')}"
    aws("s3", "mb", base)
    return base


if __name__ == "__main__":
    main(globals())
