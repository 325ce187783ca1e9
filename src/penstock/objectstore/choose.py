"""Which object store is used. This is the one place that decides."""

from __future__ import annotations

from penstock.config import Settings
from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.objectstore.base import ObjectStore
from penstock.objectstore.external import ExternalStore
from penstock.objectstore.weed import EmbeddedStore


def choose(settings: Settings, access_key_id: str, secret_access_key: str, port: int) -> ObjectStore:
    """The user's own store where the settings name one (AWS itself if they name only keys), else the embedded one.

    Args:
        settings: All of the user's settings.
        access_key_id: This home's generated key, for the embedded store.
        secret_access_key: Its secret.
        port: Preferred for the embedded store's S3.

    Raises:
        ConfigurationError: A store of the user's own is named without its keys.
    """
    if not settings.external_s3:
        return EmbeddedStore(
            settings.home / "store",
            region=settings.region,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            bucket=settings.bucket,
            port=port,
        )
    if settings.s3_access_key_id is None or settings.s3_secret_access_key is None:
        raise ConfigurationError(
            "A store of your own needs both PENSTOCK_S3_ACCESS_KEY_ID and PENSTOCK_S3_SECRET_ACCESS_KEY; "
            "one of them is not set."
        )
    access = S3Access(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region or settings.region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
        session_token=settings.s3_session_token,
    )
    return ExternalStore(access, settings.bucket)
