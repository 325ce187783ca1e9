"""Which object store is used. This is the one place that decides."""

from __future__ import annotations

from penstock.config import Settings
from penstock.objectstore.base import ObjectStore
from penstock.objectstore.external import ExternalStore
from penstock.objectstore.own import source
from penstock.objectstore.weed import EmbeddedStore


def choose(settings: Settings, access_key_id: str, secret_access_key: str, port: int) -> ObjectStore:
    """The user's own store where the settings name one (AWS itself if they name only keys), else the embedded one.

    Args:
        settings: All of the user's settings.
        access_key_id: This home's generated key, for the embedded store.
        secret_access_key: Its secret.
        port: Preferred for the embedded store's S3.

    Raises:
        ConfigurationError: The user's own can't be used as it is described.
    """
    if settings.s3 is None:
        return EmbeddedStore(
            settings.home / "store",
            region=settings.region,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            bucket=settings.bucket,
            port=port,
        )
    return ExternalStore(source(settings.s3, settings.region), settings.bucket)
