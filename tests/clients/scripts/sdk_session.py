"""SageMaker's SDK v2 and v3, and Penstock's own: Session and S3, which are alike in all three."""

import os
from pathlib import Path

from case import main, unique

try:
    from sagemaker.core.helper.session_helper import Session, get_execution_role
    from sagemaker.core.s3 import S3Downloader, S3Uploader
except ImportError:  # before v3
    from sagemaker import Session, get_execution_role
    from sagemaker.s3 import S3Downloader, S3Uploader


def upload_helpers():
    """S3Uploader.upload, upload_string_as_file_body; S3Downloader.download, list, read_file"""
    base = f"s3://{Session().default_bucket()}/{unique('helpers')}"
    _make_folder()
    assert S3Uploader.upload("folder", base + "/up") == base + "/up"
    assert sorted(S3Downloader.list(base + "/up")) == [base + "/up/a.txt", base + "/up/deep/b.txt"]
    S3Downloader.download(base + "/up", "down")
    assert Path("down/deep/b.txt").read_text() == "b"
    S3Uploader.upload_string_as_file_body("text", base + "/text")
    assert S3Downloader.read_file(base + "/text") == "text"


def session_data():
    """Session.upload_data, download_data, list_s3_files, default_bucket; default_bucket= makes a bucket"""
    _make_folder()
    for session in (Session(), Session(default_bucket=unique("made"))):
        bucket, prefix = session.default_bucket(), unique("data")
        assert session.upload_data("folder/a.txt", key_prefix=prefix) == f"s3://{bucket}/{prefix}/a.txt"
        assert session.list_s3_files(bucket, prefix) == [f"{prefix}/a.txt"]
        session.download_data("got", bucket, f"{prefix}/a.txt")
        assert Path("got/a.txt").read_text() == "a"


def multipart():
    """Session.upload_data of 20 MiB, in parts"""
    session = Session()
    with Path("large").open("wb") as file:
        file.truncate(20 << 20)
    session.upload_data("large", key_prefix=unique("large"))
    s3 = session.boto_session.client("s3")
    told = s3.head_object(Bucket=session.default_bucket(), Key=f"{unique('large')}/large")
    assert told["ContentLength"] == 20 << 20


def kms():
    """kms_key of S3Uploader; extra_args of upload_data with aws:kms and no key"""
    session = Session()
    _make_folder()
    base = f"s3://{session.default_bucket()}/{unique('kms')}"
    S3Uploader.upload_string_as_file_body("text", base + "/text", kms_key="alias/mine")
    S3Uploader.upload("folder/a.txt", base, kms_key="alias/mine")
    session.upload_data(
        "folder/deep/b.txt", key_prefix=unique("kms"), extra_args={"ServerSideEncryption": "aws:kms"}
    )
    assert sorted(S3Downloader.list(base)) == [base + "/a.txt", base + "/b.txt", base + "/text"]
    assert S3Downloader.read_file(base + "/text") == "text"


def identity():
    """get_execution_role, account_id, default_bucket without a configured one (STS)"""
    os.environ.pop("SAGEMAKER_USER_CONFIG_OVERRIDE")
    session = Session()
    assert session.account_id() == "000000000000"
    assert session.default_bucket() == f"sagemaker-{os.environ['AWS_REGION']}-000000000000"
    assert get_execution_role(session) == "arn:aws:iam::000000000000:role/penstock"
    assert session.upload_data(__file__, key_prefix=unique("owned")).endswith("/sdk_session.py")


def _make_folder():
    Path("folder/deep").mkdir(parents=True)
    Path("folder/a.txt").write_text("a")
    Path("folder/deep/b.txt").write_text("b")


if __name__ == "__main__":
    main(globals())
