"""Connections to a container engine that leave no socket open, whatever becomes of the engine.

docker-py forgets the socket of a connection that could not be made, and of a stream that is not read to its end:
each would be open until the garbage collector comes.
"""

from __future__ import annotations

import socket
from typing import Any

import docker
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool


def connect(path: str, version: str, timeout: float | None) -> docker.APIClient:
    """A client of the engine that listens at `path`; connects with its first request.

    Args:
        path: Of its Unix socket.
        version: Of the engine's API.
        timeout: Seconds for each answer; None: without end.
    """
    client = docker.APIClient(base_url=f"unix://{path}", version=version, timeout=timeout)
    client.mount("http+docker://", _Adapter(path, timeout))
    return client


def cut(stream: Any) -> None:
    """Close a stream that came of `attach_socket`, with its connection, which `stream.close()` leaves open."""
    stream._response.raw.close()  # noqa: SLF001 - the only way to it


class _Connection(UnixHTTPConnection):  # type: ignore[misc]
    def connect(self) -> None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.settimeout(self.timeout)
            end.connect(self.unix_socket)
        except BaseException:
            end.close()
            raise
        self.sock = end


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc]
    def _new_conn(self) -> _Connection:
        return _Connection(self.base_url, self.socket_path, self.timeout)


class _Adapter(UnixHTTPAdapter):  # type: ignore[misc]
    def get_connection(self, url: str, _proxies: object = None) -> _Pool:
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(url)
            if pool is None:
                pool = self.pools[url] = _Pool(url, self.socket_path, self.timeout, self.max_pool_size)
        return pool
