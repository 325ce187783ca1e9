"""From what the user says of a store to how it is reached: files looked at, profiles resolved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.config import Settings
from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.s3_settings import S3Settings

Source = Callable[[], S3Access]


def source(said: S3Settings, region: str) -> Source:
    """How to reach a store, asked anew each time: a profile's temporary keys change.

    Args:
        said: What the user says of it.
        region: Where nothing says another one.

    Raises:
        ConfigurationError: Its certificates or its profile are not there.
    """
    if said.ca_bundle is not None and not Path(said.ca_bundle).is_file():
        raise ConfigurationError(f"The file of certificates {said.ca_bundle} (ca_bundle) does not exist.")
    keys = said.access_key_id, said.secret_access_key, said.session_token
    read: Callable[[], tuple[str | None, str | None, str | None]] = lambda: keys  # noqa: E731
    if said.profile is not None:
        read, its_region = _profile(said.profile)
        region = its_region or region

    def access() -> S3Access:
        identifier, secret, token = read()
        return S3Access(
            endpoint=said.endpoint,
            region=said.region or region,
            access_key_id=identifier,
            secret_access_key=secret,
            session_token=token,
            path_style=said.path_style is not False,
            ca_bundle=said.ca_bundle,
        )

    access()  # so that what is wrong with it is told now
    return access


def bucket_sources(settings: Settings) -> Callable[[], tuple[tuple[str, S3Access], ...]]:
    """How to reach the buckets that lie elsewhere.

    Raises:
        ConfigurationError: As `source`.
    """
    sources = {name: source(said, settings.region) for name, said in settings.s3_buckets.items()}
    return lambda: tuple((name, read()) for name, read in sources.items())


def _profile(name: str) -> tuple[Callable[[], tuple[str, str, str | None]], str | None]:
    """A function that reads the profile's keys of the moment, and its region."""
    import botocore.session  # noqa: PLC0415  # takes 0.1 s to import
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        session = botocore.session.Session(profile=name)
        found: Any = session.get_credentials()
        region: str | None = session.get_config_variable("region")
    except BotoCoreError as error:
        raise ConfigurationError(f"The AWS profile {name!r} can't be used: {error}.") from error
    if found is None:
        raise ConfigurationError(f"The AWS profile {name!r} has no keys.")

    def keys() -> tuple[str, str, str | None]:
        try:
            frozen = found.get_frozen_credentials()
        except BotoCoreError as error:
            raise ConfigurationError(
                f"The keys of the AWS profile {name!r} can't be had: {error}."
            ) from error
        return frozen.access_key, frozen.secret_key, frozen.token

    return keys, region
