"""The gateway's connections to stores: with the certificates that are trusted there, by a proxy where there is one."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from penstock.job.run import S3Access

if TYPE_CHECKING:
    import httpcore


class Pools:
    """One pool of connections for each way out."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str | None, str | None], httpcore.AsyncConnectionPool] = {}

    def of(self, access: S3Access) -> httpcore.AsyncConnectionPool:
        """The pool for a store."""
        way = access.ca_bundle, _proxy(access.url)
        pool = self._pools.get(way)
        if pool is None:
            pool = self._pools[way] = _open(*way)
        return pool


def _open(ca_bundle: str | None, proxy: str | None) -> httpcore.AsyncConnectionPool:
    import httpcore  # noqa: PLC0415 - most clients go to the store directly

    trusted = ssl.create_default_context()
    if ca_bundle is not None:
        trusted.load_verify_locations(ca_bundle)
    if proxy is None:
        return httpcore.AsyncConnectionPool(ssl_context=trusted, max_connections=256, keepalive_expiry=15)
    parts = urlsplit(proxy)
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return httpcore.AsyncHTTPProxy(
        where, proxy_auth=login, ssl_context=trusted, max_connections=256, keepalive_expiry=15
    )


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a store; none stands between this machine and itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in {"localhost", "::1"} or host.startswith("127."):
        return None
    proxy = getproxies().get(parts.scheme)
    return proxy if proxy and not proxy_bypass(host) else None
