"""boto3: S3, STS and IAM."""

import io
import os
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from case import differs, main, unique

#: The store itself, and the one endpoint of all services.
CLIENTS = [boto3.client("s3"), boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])]


def kms():
    """ServerSideEncryption="aws:kms", with a key and without, in one piece and in parts; ExpectedBucketOwner"""
    for number, s3 in enumerate(CLIENTS):
        bucket = _bucket(s3, number)
        put = {"Bucket": bucket, "Body": b"text", "ExpectedBucketOwner": "000000000000"}
        s3.put_object(**put, Key="plain")
        s3.put_object(**put, Key="kms", ServerSideEncryption="aws:kms")
        s3.put_object(**put, Key="key", ServerSideEncryption="aws:kms", SSEKMSKeyId="alias/mine")
        large = io.BytesIO(bytes(9 << 20))
        s3.upload_fileobj(large, bucket, "large", ExtraArgs={"ServerSideEncryption": "aws:kms"})
        found = {o["Key"]: o["Size"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]}
        assert found == {"plain": 4, "kms": 4, "key": 4, "large": 9 << 20}, found


def checksums():
    """ChecksumAlgorithm="CRC32": as a header, and as the trailer of an aws-chunked body"""
    for number, s3 in enumerate(CLIENTS):
        bucket, sent = _bucket(s3, number), {}

        def note(request, sent=sent, **_):
            sent.update({name.lower(): _text(value) for name, value in request.headers.items()})

        s3.meta.events.register("before-send.s3.PutObject", note)
        s3.put_object(Bucket=bucket, Key="header", Body=b"text", ChecksumAlgorithm="CRC32")
        assert "x-amz-checksum-crc32" in sent, sent
        assert s3.get_object(Bucket=bucket, Key="header")["Body"].read() == b"text"
        # botocore sends trailers where it streams to an https address; the same code, told to do so here.
        s3.meta.events.register("before-call.s3.PutObject", _in_a_trailer)
        body = b"x" * 300_000
        try:
            s3.put_object(Bucket=bucket, Key="trailer", Body=io.BytesIO(body), ChecksumAlgorithm="CRC32")
        except ClientError:
            if number or "transfer-encoding" not in sent["authorization"]:
                raise
            differs(
                "the store refuses trailers of this version, which it sends over TLS only; the one endpoint takes them"
            )
            continue
        finally:
            assert sent["x-amz-trailer"] == "x-amz-checksum-crc32", sent
            assert "aws-chunked" in sent["content-encoding"], sent
        assert s3.get_object(Bucket=bucket, Key="trailer", ChecksumMode="ENABLED")["Body"].read() == body


def multipart():
    """upload_file of 20 MiB in parts, download_file, a range"""
    with open("large", "wb") as file:
        file.truncate(20 << 20)
    for number, s3 in enumerate(CLIENTS):
        bucket = _bucket(s3, number)
        s3.upload_file("large", bucket, "large")
        told = s3.head_object(Bucket=bucket, Key="large")
        assert told["ContentLength"] == os.path.getsize("large")
        assert told["ETag"].strip('"').endswith("-3"), told["ETag"]
        s3.download_file(bucket, "large", "again")
        assert os.path.getsize("again") == told["ContentLength"]
        assert s3.get_object(Bucket=bucket, Key="large", Range="bytes=1-3")["Body"].read() == b"\0\0\0"


def presigned():
    """generate_presigned_url: get and put by any HTTP client"""
    four = Config(signature_version="s3v4")
    gateway = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=four)
    differs(
        "at the one endpoint signature version 4 has to be asked for; the store takes boto3's default too"
    )
    for number, s3 in enumerate([CLIENTS[0], gateway]):
        place = {"Bucket": _bucket(s3, number), "Key": "a b/ü"}
        link = s3.generate_presigned_url("put_object", Params={**place, "ContentType": "text/plain"})
        put = urllib.request.Request(link, b"text", {"Content-Type": "text/plain"}, method="PUT")
        urllib.request.urlopen(put, timeout=30).close()
        link = s3.generate_presigned_url("get_object", Params=place)
        assert urllib.request.urlopen(link, timeout=30).read() == b"text"


def identity():
    """STS GetCallerIdentity, also where AWS's own address is named; IAM GetRole"""
    for endpoint in (None, "https://sts.us-east-1.amazonaws.com"):
        told = boto3.client("sts", region_name="us-east-1", endpoint_url=endpoint).get_caller_identity()
        assert told["Account"] == "000000000000"
    assert boto3.client("iam").get_role(RoleName="some")["Role"]["Arn"].endswith("role/some")


def _bucket(s3, number):
    bucket = unique(f"b{number}")
    s3.create_bucket(Bucket=bucket)
    return bucket


def _in_a_trailer(params, **_):
    algorithm = params["context"]["checksum"]["request_algorithm"]
    algorithm["in"] = "trailer"


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    main(globals())
