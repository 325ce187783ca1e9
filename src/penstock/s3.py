"""Upload to and download from S3 in one call."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.client.names import is_s3 as is_s3_url
from penstock.client.names import parse_s3_url, s3_path_join

if TYPE_CHECKING:
    from penstock.session import Session

__all__ = ["S3Downloader", "S3Uploader", "is_s3_url", "parse_s3_url", "s3_path_join"]


class S3Uploader:
    """From here to S3. `kms_key` encrypts what is uploaded; a session is made when none is given."""

    @staticmethod
    def upload(
        local_path: str,
        desired_s3_uri: str,
        kms_key: str | None = None,
        sagemaker_session: Session | None = None,
        callback: Callable[[int], None] | None = None,
    ) -> str:
        """Upload a file to `<desired_s3_uri>/<its name>`, or all files below a folder to `desired_s3_uri`.

        Returns:
            The URI of the file, or `desired_s3_uri` for a folder.

        Raises:
            FileNotFoundError: Nothing is at `local_path`.
        """
        bucket, prefix = parse_s3_url(desired_s3_uri)
        return _session(sagemaker_session).upload_data(
            path=local_path,
            bucket=bucket,
            key_prefix=prefix,
            callback=callback,
            extra_args=_encryption(kms_key),
        )

    @staticmethod
    def upload_string_as_file_body(
        body: str,
        desired_s3_uri: str,
        kms_key: str | None = None,
        sagemaker_session: Session | None = None,
    ) -> str:
        """Store the text `body` as the object `desired_s3_uri`, which is returned."""
        bucket, key = parse_s3_url(desired_s3_uri)
        _session(sagemaker_session).upload_string_as_file_body(
            body=body, bucket=bucket, key=key, kms_key=kms_key
        )
        return desired_s3_uri

    @staticmethod
    def upload_bytes(
        b: bytes | io.BytesIO,
        s3_uri: str,
        kms_key: str | None = None,
        sagemaker_session: Session | None = None,
    ) -> str:
        """Store `b` as the object `s3_uri`, which is returned."""
        bucket, key = parse_s3_url(s3_uri)
        body = b if isinstance(b, bytes) else b.read()
        _session(sagemaker_session).put_object(body, bucket, key, _encryption(kms_key))
        return s3_uri


class S3Downloader:
    """From S3 to here. A session is made when none is given."""

    @staticmethod
    def download(
        s3_uri: str,
        local_path: str,
        kms_key: str | None = None,
        sagemaker_session: Session | None = None,
    ) -> list[str]:
        """Download an object, or all objects below a prefix, into the folder `local_path`.

        Returns:
            The paths of the files written.
        """
        bucket, prefix = parse_s3_url(s3_uri)
        extra = {"SSECustomerKey": kms_key} if kms_key is not None else None
        return _session(sagemaker_session).download_data(
            path=local_path, bucket=bucket, key_prefix=prefix, extra_args=extra
        )

    @staticmethod
    def read_file(s3_uri: str, sagemaker_session: Session | None = None) -> str:
        """The text of one object, which must be UTF-8."""
        return S3Downloader.read_bytes(s3_uri, sagemaker_session).decode()

    @staticmethod
    def read_bytes(s3_uri: str, sagemaker_session: Session | None = None) -> bytes:
        """The bytes of one object."""
        bucket, key = parse_s3_url(s3_uri)
        return _session(sagemaker_session).get_object(bucket, key)

    @staticmethod
    def list(s3_uri: str, sagemaker_session: Session | None = None) -> list[str]:
        """The URIs of all objects whose URI starts with `s3_uri`."""
        bucket, prefix = parse_s3_url(s3_uri)
        keys = _session(sagemaker_session).list_s3_files(bucket=bucket, key_prefix=prefix)
        return [f"s3://{bucket}/{key}" for key in keys]


def _session(given: Session | None) -> Session:
    if given is not None:
        return given
    from penstock.session import Session  # noqa: PLC0415 - the two modules need each other

    return Session()


def _encryption(kms_key: str | None) -> dict[str, Any] | None:
    if kms_key is None:
        return None
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
