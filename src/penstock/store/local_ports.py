"""At which ports of this machine a database of the user's listens, for keeping jobs from it."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

_DEFAULT = 5432


def local_ports(database_url: str | None) -> tuple[int, ...]:
    """The ports at this machine's loopback of a `postgresql://` URL; none where it names another machine.

    A URL without a host, or with the folder of a socket, is a database of this machine too, which may listen at a
    port as well. What can't be read is nobody's to connect to.
    """
    if database_url is None:
        return ()
    with suppress(ValueError):
        parts = urlsplit(database_url)
        query = parse_qs(parts.query)
        hosts = [parts.hostname] if parts.hostname else query.get("host", [""])
        ports = [parts.port] if parts.port else [int(port) for port in query.get("port", [])]
        if any(map(_is_here, hosts)):
            return tuple(dict.fromkeys(port or _DEFAULT for port in ports or [_DEFAULT]))
    return ()


def _is_here(host: str) -> bool:
    if not host or host == "localhost" or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
