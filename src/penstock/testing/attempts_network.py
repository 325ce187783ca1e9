"""Attempts on the network by a program that is to have none."""

# The tests' names say what is tried.
# ruff: noqa: D102, S104

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from penstock.runtimes.base import Runtime
from penstock.testing.runtimes import PATIENCE
from penstock.testing.scripts import python, script

#: Where cloud providers keep a machine's credentials, and somewhere in the world (addresses for documentation).
FAR = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "192.0.2.1", "2001:db8::1", "255.255.255.255")

_CONNECT = """
    import errno, socket, sys
    host, port, kind = sys.argv[1], int(sys.argv[2]), getattr(socket, sys.argv[3])
    end = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    end.settimeout(5)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    try:
        end.sendto(b"x", (host, port)) if kind == socket.SOCK_DGRAM else end.connect((host, port))
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("got through")
"""


class NetworkAttempts:
    """A program with EnableNetworkIsolation looks for a way out. Subclasses give a fixture `runtime`."""

    @pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
    @pytest.mark.parametrize("host", FAR)
    def test_leaves_isolation(self, runtime: Runtime, host: str, kind: str) -> None:
        said = python(runtime, _CONNECT, host, "80", kind, network=False).output.decode().strip()
        assert said in ("ENETUNREACH", "EADDRNOTAVAIL", "EACCES")

    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
    def test_reaches_the_machines_loopback_from_isolation(
        self, runtime: Runtime, listener: tuple[int, list[int]], host: str
    ) -> None:
        port, accepted = listener
        said = python(runtime, _CONNECT, host, str(port), "SOCK_STREAM", network=False).output
        assert said == b"ECONNREFUSED\n"
        assert accepted == []

    def test_asks_for_names_from_isolation(self, runtime: Runtime) -> None:
        source = "import socket; print(socket.getaddrinfo('example.com', 80))"
        code, output = python(runtime, source, network=False)
        assert (code, b"gaierror" in output) == (1, True)

    def test_finds_another_interface_in_isolation(self, runtime: Runtime) -> None:
        source = "print([line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]])"
        said = python(runtime, source, network=False).output
        # Kernels with tunnels built in show their idle ends in each new network.
        assert not {b"eth0", b"docker0"} & set(said.split(b"'"))
        assert b"'lo'" in said

    def test_meets_the_other_instance_of_its_job(self, runtime: Runtime) -> None:
        """The one attempt that is to succeed, without isolation: both listen on the same port, each at its own name."""
        hosts = {"algo-1": "127.77.0.1", "algo-2": "127.77.0.2"}
        source = """
            import os, socket, sys
            here, other, port = os.uname().nodename, sys.argv[1], int(sys.argv[2])
            server = socket.create_server((here, port))
            os.write(1, f"{server.getsockname()[1]:05}".encode())
            if here == "algo-2":
                with server.accept()[0] as connection:
                    connection.sendall(connection.recv(99) + b" and " + here.encode())
            else:
                with socket.create_connection((other, port), timeout=30) as connection:
                    connection.sendall(here.encode())
                    print(connection.recv(99).decode())
        """
        reading, writing = os.pipe()
        second = runtime.start(script(source, "algo-1", "0", hostname="algo-2", hosts=hosts), writing)
        os.close(writing)
        try:
            port = os.read(reading, 5)
            first = python(runtime, source, "algo-2", port.decode(), hostname="algo-1", hosts=hosts)
            assert first == (0, port + b"algo-1 and algo-2\n")
            assert second.wait(PATIENCE) == 0
        finally:
            second.kill()
            second.wait(PATIENCE)
            os.close(reading)

    @pytest.fixture
    def listener(self) -> Iterator[tuple[int, list[int]]]:
        """A server on the machine's loopback, by both protocols: its port, and an entry for each that came."""
        accepted: list[int] = []
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        with socket.create_server(("", 0), family=family, dualstack_ipv6=family == socket.AF_INET6) as server:
            thread = threading.Thread(target=_accept, args=(server, accepted), daemon=True)
            thread.start()
            yield server.getsockname()[1], accepted
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(server: socket.socket, accepted: list[int]) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return
        accepted.append(1)
