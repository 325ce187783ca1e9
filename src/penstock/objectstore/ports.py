"""The ports of the embedded store: below the ephemeral range, chosen free, remembered from start to start."""

from __future__ import annotations

import json
import socket
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from penstock.errors import ConfigurationError
from penstock.objectstore.files import write_private

#: Linux takes the near ends of outgoing connections from here upwards (`ip_local_port_range`). A listener below
#: never finds its port taken by one of them.
EPHEMERAL = 32768

#: weed's own worker looks for the admin gRPC port at this distance from the admin port, whatever it was told.
_ADMIN_GRPC_OFFSET = 10_000

#: Inner ports are sought from here, at a place that follows from the folder, so that stores of several homes
#: keep out of each other's way.
_INNER_FIRST, _INNER_LAST = 11_000, EPHEMERAL - _ADMIN_GRPC_OFFSET - 100


@dataclass(frozen=True)
class Ports:
    """One port for each part of the store. Only `s3` is for others."""

    s3: int
    s3_grpc: int
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int
    filer: int
    filer_grpc: int
    admin: int

    @property
    def admin_grpc(self) -> int:
        """The tenth, which follows from `admin`."""
        return self.admin + _ADMIN_GRPC_OFFSET

    @property
    def inner(self) -> tuple[int, ...]:
        """All that are not for others."""
        return (*(port for name, port in vars(self).items() if name != "s3"), self.admin_grpc)

    @classmethod
    def choose(cls, folder: Path, preferred: int, before: Ports | None = None) -> Ports:
        """Free ports, the same as `before` where those are still free.

        Args:
            folder: The store's, as the seed of where inner ports are sought.
            preferred: For S3, when there is no port from before; the next free one is taken when it is not.
            before: The ports of the last start.

        Raises:
            ConfigurationError: Nothing is free from `preferred` up to the ephemeral range.
        """
        inner = _INNER_FIRST + zlib.crc32(str(folder).encode()) % (_INNER_LAST - _INNER_FIRST)
        told = asdict(before) if before else {}
        found = {name: port for name, port in told.items() if all(map(_free, _with_sibling(name, port)))}
        taken = {p for name, port in found.items() for p in _with_sibling(name, port)}
        for name in (f.name for f in fields(cls) if f.name not in found):
            first = preferred if name == "s3" else inner
            for port in range(first, EPHEMERAL):
                both = _with_sibling(name, port)
                if taken.isdisjoint(both) and max(both) < EPHEMERAL and all(map(_free, both)):
                    break
            else:
                raise ConfigurationError(
                    f"The object store finds no free port from {first} to {EPHEMERAL - 1} for its part {name}. "
                    "Set PENSTOCK_PORT to a lower one, or end what listens there."
                )
            found[name] = port
            taken.update(both)
        return cls(**found)

    @classmethod
    def remembered(cls, file: Path) -> Ports | None:
        """The ports of the last start, or None when `file` doesn't tell them."""
        try:
            told = json.loads(file.read_text())
            return cls(**{f.name: int(told[f.name]) for f in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, file: Path) -> None:
        """Write them to `file`, for `remembered`."""
        write_private(file, json.dumps(asdict(self)))


def _with_sibling(name: str, port: int) -> tuple[int, ...]:
    """`port`, and the one that follows from it."""
    return (port, port + _ADMIN_GRPC_OFFSET) if name == "admin" else (port,)


def _free(port: int) -> bool:
    """Whether nothing listens on `port` at any address; weed insists on that for a port it is given."""
    dual = socket.has_dualstack_ipv6()
    with socket.socket(socket.AF_INET6 if dual else socket.AF_INET) as probe:
        if dual:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
