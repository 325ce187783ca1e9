"""A store of the user's own: AWS itself, or any S3 endpoint. It is used, never started or stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.objectstore.own import Source


@dataclass(frozen=True)
class ExternalStore:
    """The S3 that `source` leads to, with `bucket` as the default bucket."""

    source: Source
    bucket: str

    @property
    def access(self) -> S3Access:
        """How to reach it at this moment."""
        return self.source()

    def start(self) -> None:
        """Nothing: it runs already."""

    def alive(self) -> bool:
        """It is somebody else's to watch."""
        return True

    def stop(self) -> None:
        """Nothing: it isn't ours."""

    def wait_ready(self, timeout: float) -> None:
        """Return when the bucket is seen to exist, or has been made. `timeout` is in seconds, for each request.

        Raises:
            ConfigurationError: The endpoint can't be reached, or refuses; the message has S3's own words.
        """
        look(self.access, self.bucket, timeout, missing="make")


def look(
    access: S3Access, bucket: str, timeout: float, *, missing: Literal["refuse", "pass", "make"] = "refuse"
) -> None:
    """Return when a bucket is seen to exist. `timeout` is in seconds, for each request; `missing`: what then.

    Raises:
        ConfigurationError: The endpoint can't be reached, or refuses; the message has S3's own words.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # boto3 takes 0.3 s to import

    where = access.endpoint or f"AWS ({access.region})"
    try:
        client = _client(access, timeout)
        try:
            # Unlike HeadBucket, a refusal comes with a body that tells a wrong key from a missing permission.
            client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        except client.exceptions.NoSuchBucket:
            if missing == "refuse":
                raise
            if missing == "make":
                _make_bucket(client, bucket, access.region)
        finally:
            client.close()
    except ClientError as error:
        cause = error.response["Error"]
        raise ConfigurationError(
            f"The object store {where} refuses the bucket {bucket}: "
            f"{cause.get('Code')}: {cause.get('Message')} "
            "Check PENSTOCK_S3_ACCESS_KEY_ID, PENSTOCK_S3_SECRET_ACCESS_KEY, PENSTOCK_S3_REGION and "
            "PENSTOCK_BUCKET, or config.toml; the key must be allowed to list, read and write the bucket, and to "
            "make the default bucket when it does not exist."
        ) from error
    except (
        BotoCoreError,
        ValueError,
    ) as error:  # botocore raises ValueError for an endpoint that is no URL
        raise ConfigurationError(
            f"The object store {where}, asked for the bucket {bucket}, can't be reached: {error}. "
            "Check PENSTOCK_S3_ENDPOINT, or endpoint in config.toml."
        ) from error


def _client(access: S3Access, timeout: float) -> Any:
    import boto3.session  # noqa: PLC0415  # takes 0.3 s to import
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    return boto3.session.Session().client(
        "s3",
        endpoint_url=access.endpoint,
        region_name=access.region,
        verify=access.ca_bundle,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        aws_session_token=access.session_token,
        config=Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"total_max_attempts": 2},
            signature_version="s3v4" if access.access_key_id else UNSIGNED,
            s3={"addressing_style": "path" if access.path_style else "virtual"},
        ),
    )


def _make_bucket(client: Any, bucket: str, region: str) -> None:
    # us-east-1 is the one region that must not be named (S3 API reference, CreateBucket).
    elsewhere = region != "us-east-1"
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
    try:
        client.create_bucket(Bucket=bucket, **place)
    except client.exceptions.BucketAlreadyOwnedByYou:
        return  # somebody else has just made it
