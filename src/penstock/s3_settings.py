"""Stores of the user's own: the table `[s3]` of `config.toml` in the home, and of single buckets within it.

    [s3]
    endpoint = "https://minio.example.org:9000"
    access_key_id = "..."
    secret_access_key = "..."

    [s3.buckets."open-data"]
    endpoint = "https://s3.eu-west-1.amazonaws.com"
    region = "eu-west-1"
    anonymous = true

Who may use a store (keys, a profile, or nobody by name) is one thing and never mixed from two places. Keys of one
endpoint are not used at another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.config_file import ConfigFile
from penstock.errors import ConfigurationError


@dataclass(frozen=True)
class S3Settings:
    """What is said of one store; None where nothing is."""

    endpoint: str | None = None
    """`scheme://host[:port]`; None: AWS itself."""
    region: str | None = None
    path_style: bool | None = None
    """Whether the bucket stands in the path (the default) and not in the host's name."""
    ca_bundle: str | None = None
    """A file of certificates (PEM) to trust beside the system's."""
    anonymous: bool | None = None
    profile: str | None = None
    """A profile of AWS's own configuration files, for keys and region."""
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @property
    def identified(self) -> bool:
        """Whether it says who uses the store."""
        return any(getattr(self, name) for name in _IDENTITY)

    @property
    def names_a_store(self) -> bool:
        """Whether it leads to a store at all: AWS's where it only says who uses it."""
        return self.endpoint is not None or self.identified

    def over(self, base: S3Settings) -> S3Settings:
        """This, and what it leaves open from `base`; who uses the store comes from one of the two as a whole."""
        kept = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        kept |= set(_IDENTITY) if self.identified else set()
        return replace(base, **{name: getattr(self, name) for name in kept})

    def check(self, where: str) -> None:
        """See that it is one whole store.

        Raises:
            ConfigurationError: It is not; the message begins with `where`.
        """
        if bool(self.access_key_id) != bool(self.secret_access_key):
            missing = "access_key_id" if self.secret_access_key else "secret_access_key"
            raise ConfigurationError(
                f"{where} needs both access_key_id and secret_access_key (for [s3] also by PENSTOCK_S3_ACCESS_KEY_ID "
                f"and PENSTOCK_S3_SECRET_ACCESS_KEY); {missing} is missing."
            )
        ways = [name for name in ("access_key_id", "profile", "anonymous") if getattr(self, name)]
        if len(ways) > 1:
            raise ConfigurationError(f"{where} says both {' and '.join(ways)}: one of them is enough.")
        if not ways:
            raise ConfigurationError(
                f"{where} does not say who uses the store: give access_key_id and secret_access_key (for [s3] also by "
                "PENSTOCK_S3_ACCESS_KEY_ID and PENSTOCK_S3_SECRET_ACCESS_KEY), or profile, or anonymous = true. Keys "
                "of one endpoint are not used at another."
            )
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
                raise ConfigurationError(
                    f"{where}: endpoint = {self.endpoint!r} is not http(s)://host[:port]."
                )
            if parts.scheme == "http" and self.ca_bundle:
                raise ConfigurationError(f"{where}: ca_bundle is for https, and {self.endpoint} is not.")


#: Every member, with its type.
MEMBERS: Mapping[str, type] = {
    f.name: bool if f.name in {"path_style", "anonymous"} else str for f in fields(S3Settings)
}
_IDENTITY = ("anonymous", "profile", "access_key_id", "secret_access_key", "session_token")
_SECRET = ("secret_access_key", "session_token")


def read(file: ConfigFile) -> tuple[S3Settings, Mapping[str, S3Settings]]:
    """What a `config.toml` says: of the store, and of single buckets. Nothing when it has no table `[s3]`.

    Raises:
        ConfigurationError: It has a member that nobody knows, or holds keys and is open to others; the message names
            file and line.
    """
    given = dict(file.tables.get("s3", {}))
    file.expect(given, ("s3",), {**MEMBERS, "buckets": dict})
    given_buckets = given.pop("buckets", {})
    file.expect(given_buckets, ("s3", "buckets"), dict.fromkeys(given_buckets, dict))
    for name, table in given_buckets.items():
        file.expect(table, ("s3", "buckets", name), MEMBERS)
    if any(table.get(name) for table in (given, *given_buckets.values()) for name in _SECRET):
        file.must_be_closed("keys")
    return _settings(file.path, given), {
        name: _settings(file.path, table) for name, table in given_buckets.items()
    }


def for_bucket(own: S3Settings, default: S3Settings) -> S3Settings:
    """What a bucket's table says, with what it leaves open: from `[s3]`, unless it names another endpoint."""
    elsewhere = own.endpoint is not None and own.endpoint != default.endpoint
    return own if elsewhere else own.over(default)


def _settings(path: Path, table: Mapping[str, Any]) -> S3Settings:
    settings = S3Settings(**{name: value for name, value in table.items() if value != ""})
    if settings.ca_bundle is None:
        return settings
    return replace(settings, ca_bundle=str(path.parent / Path(settings.ca_bundle).expanduser()))
