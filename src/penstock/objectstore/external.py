"""A store of the user's own: AWS itself, or any S3 endpoint. It is used, never started or stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.errors import ConfigurationError
from penstock.job.run import S3Access


@dataclass(frozen=True)
class ExternalStore:
    """The S3 behind `access`, with `bucket` as the default bucket."""

    access: S3Access
    bucket: str

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
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # boto3 takes 0.3 s to import

        where = self.access.endpoint or f"AWS ({self.access.region})"
        try:
            client = self._client(timeout)
            try:
                # Unlike HeadBucket, a refusal comes with a body that tells a wrong key from a missing permission.
                client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
            except client.exceptions.NoSuchBucket:
                self._make_bucket(client)
            finally:
                client.close()
        except ClientError as error:
            cause = error.response["Error"]
            raise ConfigurationError(
                f"The object store {where} refuses the bucket {self.bucket}: "
                f"{cause.get('Code')}: {cause.get('Message')} "
                "Check PENSTOCK_S3_ACCESS_KEY_ID, PENSTOCK_S3_SECRET_ACCESS_KEY, PENSTOCK_S3_REGION and "
                "PENSTOCK_BUCKET; the key must be allowed to list, read and write the bucket, and to make it when it "
                "does not exist."
            ) from error
        except (
            BotoCoreError,
            ValueError,
        ) as error:  # botocore raises ValueError for an endpoint that is no URL
            raise ConfigurationError(
                f"The object store {where}, asked for the bucket {self.bucket}, can't be reached: {error}. "
                "Check PENSTOCK_S3_ENDPOINT."
            ) from error

    def _client(self, timeout: float) -> Any:
        import boto3.session  # noqa: PLC0415  # takes 0.3 s to import
        from botocore.config import Config  # noqa: PLC0415

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.access.endpoint,
            region_name=self.access.region,
            aws_access_key_id=self.access.access_key_id,
            aws_secret_access_key=self.access.secret_access_key,
            aws_session_token=self.access.session_token,
            config=Config(
                connect_timeout=timeout,
                read_timeout=timeout,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path" if self.access.endpoint else "auto"},
            ),
        )

    def _make_bucket(self, client: Any) -> None:
        # us-east-1 is the one region that must not be named (S3 API reference, CreateBucket).
        elsewhere = self.access.region != "us-east-1"
        place = {"CreateBucketConfiguration": {"LocationConstraint": self.access.region}} if elsewhere else {}
        try:
            client.create_bucket(Bucket=self.bucket, **place)
        except client.exceptions.BucketAlreadyOwnedByYou:
            return  # somebody else has just made it
