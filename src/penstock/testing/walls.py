"""The third part of the conformance suite for runtimes: what a program can't reach, see or do."""

# The tests' names say what they hold; the machine's scratch folders are meant.
# ruff: noqa: D102, S108

from __future__ import annotations

import ctypes
import os
import platform
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.runtimes.base import Mount, Runtime
from penstock.testing.programs import ProgramSuite
from penstock.testing.scripts import python, sh

_CONNECT = """
    import socket, sys
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5).sendall(b"hello")
    except OSError as error:
        sys.exit(str(error))
"""

_MOUNTING = """
    import ctypes, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.argv[1] == "nested" and libc.unshare(0x10020000):  # NEWUSER | NEWNS
        sys.exit("no namespace: " + os.strerror(ctypes.get_errno()))
    if libc.mount(b"none", sys.argv[2].encode(), None, 0x1020, None):  # REMOUNT | BIND, and writable
        sys.exit("no remount: " + os.strerror(ctypes.get_errno()))
"""


class WallsSuite(ProgramSuite):
    """All that a runtime must do. Subclasses give a fixture `runtime`."""

    # The machine's files --------------------------------------------------------------------------------------------

    def test_planted_secrets_cannot_be_found(self, runtime: Runtime, planted: list[Path]) -> None:
        script = "".join(f"test -e '{path}' && echo found '{path}'\n" for path in planted)
        assert sh(runtime, f"{script}true") == (0, b"")

    @pytest.mark.parametrize("switch", ["kernel/domainname", "kernel/core_pattern", "vm/swappiness"])
    def test_switches_of_the_kernel_cannot_be_turned(self, runtime: Runtime, switch: str) -> None:
        code, output = sh(runtime, f"cd /proc/sys; cat {switch} > /tmp/now && cat /tmp/now > {switch}")
        assert code != 0, output

    @pytest.mark.parametrize("how", ["plain", "nested"])
    def test_a_read_only_mount_cannot_be_made_writable(
        self, runtime: Runtime, tmp_path: Path, how: str
    ) -> None:
        mounts = (Mount(tmp_path, "/opt/ml"),)
        for target in ("/opt/ml", "/usr", "/proc/sys"):
            code, output = python(runtime, _MOUNTING, how, target, mounts=mounts)
            assert code == 1, target
            assert output.startswith(b"no "), output

    def test_device_nodes_cannot_be_made(self, runtime: Runtime) -> None:
        source = """
            import os, stat, sys
            for kind in (stat.S_IFCHR, stat.S_IFBLK):
                try:
                    os.mknod("/tmp/node", kind | 0o666, os.makedev(1, 5))
                except PermissionError:
                    continue
                sys.exit("made one")
        """
        assert python(runtime, source) == (0, b"")

    def test_devices_are_the_harmless_ones(self, runtime: Runtime) -> None:
        known = {
            "core",
            "fd",
            "full",
            "null",
            "ptmx",
            "pts",
            "random",
            "shm",
            "stderr",
            "stdin",
            "stdout",
            "tty",
        }
        known |= {"urandom", "zero", "mqueue"}
        seen = set(sh(runtime, "ls /dev").output.decode().split())
        assert {name for name in seen - known if not name.startswith("nvidia")} == set()
        assert sh(runtime, "head -c 3 /dev/zero | od -An -tx1; echo x > /dev/null").output == b" 00 00 00\n"

    def test_shared_memory_is_its_own(self, runtime: Runtime) -> None:
        with tempfile.NamedTemporaryFile(dir="/dev/shm"):
            assert sh(runtime, "ls -A /dev/shm; echo x > /dev/shm/x") == (0, b"")

    def test_the_machines_own_places_are_not_there(self, runtime: Runtime) -> None:
        places = (
            "/etc/shadow",
            "/etc/ssh",
            "/etc/machine-id",
            "/var/lib/dpkg",
            "/var/run/docker.sock",
            "/.machine",
        )
        script = "".join(f"test -e {place} && echo {place}\n" for place in places)
        assert sh(runtime, f"{script}true") == (0, b"")

    # Rights ---------------------------------------------------------------------------------------------------------

    def test_set_user_id_gives_no_rights(self, runtime: Runtime, tmp_path: Path) -> None:
        source = "print('NoNewPrivs:\\t1\\n' in open('/proc/self/status').read())"
        mounts = (Mount(tmp_path, "/opt/ml", writable=True), Mount(tmp_path, "/opt/ro"))
        assert python(runtime, source, mounts=mounts) == (0, b"True\n")

    def test_the_namespaces_are_its_own(self, runtime: Runtime) -> None:
        kinds = ("mnt", "pid", "ipc", "uts", "net")
        said = sh(
            runtime, f"cd /proc/self/ns; for i in {' '.join(kinds)}; do readlink $i; done", network=False
        ).output
        assert not set(said.decode().split()) & {
            str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds
        }

    def test_there_is_no_terminal(self, runtime: Runtime) -> None:
        assert sh(runtime, "exec 3< /dev/tty").code == 2

    def test_keys_of_the_session_are_out_of_reach(self, runtime: Runtime) -> None:
        numbers = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(platform.machine())
        if numbers is None or not Path("/proc/keys").exists():
            pytest.skip("no kernel keyring, or unknown how to call it on this architecture")
        add_key, keyctl = numbers
        libc = ctypes.CDLL(None, use_errno=True)
        session = -3
        key = libc.syscall(add_key, b"user", b"penstock-test", b"secret", 6, session)
        assert key > 0
        source = """
            import ctypes, sys
            print(ctypes.CDLL(None).syscall(int(sys.argv[1]), 10, -3, b"user", b"penstock-test", 0))
        """
        try:
            assert libc.syscall(keyctl, 10, session, b"user", b"penstock-test", 0) == key
            assert python(runtime, source, str(keyctl)).output == b"-1\n"
        finally:
            libc.syscall(keyctl, 9, key, session)

    def test_no_capability_reaches_beyond_the_walls(self, runtime: Runtime) -> None:
        """At most those over the program's own files and processes."""
        lines = sh(runtime, "grep ^Cap /proc/self/status").output.splitlines()
        assert len(lines) == 5
        harmless = {
            "chown": 0,
            "dac_override": 1,
            "fowner": 3,
            "fsetid": 4,
            "kill": 5,
            "setgid": 6,
            "setuid": 7,
        }
        known = sum(1 << number for number in harmless.values())
        assert {int(line.split()[1], 16) & ~known for line in lines} == {0}

    # Processes and descriptors --------------------------------------------------------------------------------------

    def test_descriptors_are_not_inherited(self, runtime: Runtime, tmp_path: Path) -> None:
        with (tmp_path / "open").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            source = """
                import os
                listed = os.listdir("/proc/self/fd")
                print([int(number) for number in listed if os.path.exists(f"/proc/self/fd/{number}")])
            """
            assert python(runtime, source).output == b"[0, 1, 2]\n"

    def test_other_processes_cannot_be_seen_or_killed(self, runtime: Runtime) -> None:
        source = """
            import os, sys
            try:
                os.kill(int(sys.argv[1]), 0)
            except ProcessLookupError:
                print(len([name for name in os.listdir("/proc") if name.isdigit()]) <= 3)
        """
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as other:
            assert python(runtime, source, str(other.pid)).output == b"True\n"

    # Network --------------------------------------------------------------------------------------------------------

    def test_with_the_network_the_machines_loopback_is_reached(
        self, runtime: Runtime, listener: socket.socket
    ) -> None:
        assert python(runtime, _CONNECT, str(listener.getsockname()[1]), network=True) == (0, b"")
        with listener.accept()[0] as connection:
            assert connection.recv(9) == b"hello"

    def test_in_isolation_the_machines_loopback_is_not_reached(
        self, runtime: Runtime, listener: socket.socket
    ) -> None:
        code, output = python(runtime, _CONNECT, str(listener.getsockname()[1]), network=False)
        assert (code, b"refused" in output) == (1, True)

    def test_in_isolation_there_is_a_loopback_and_nothing_else(self, runtime: Runtime) -> None:
        source = """
            import socket
            server = socket.create_server(("127.0.0.1", 0))
            socket.create_connection(server.getsockname())
            print([name for _, name in socket.if_nameindex()])
            try:
                socket.create_connection(("192.0.2.1", 9), timeout=5)
            except OSError as error:
                print(error.strerror)
        """
        assert python(runtime, source, network=False).output == b"['lo']\nNetwork is unreachable\n"

    # ----------------------------------------------------------------------------------------------------------------

    @pytest.fixture
    def planted(self, tmp_path: Path) -> Iterator[list[Path]]:
        """Files in places of the machine where people keep things."""
        secret = tmp_path / "secret"
        secret.write_text("secret")
        places = (
            "/tmp",
            "/var/tmp",
            "/var/lib",
            "/opt",
            "/srv",
            "/root",
            "/home",
            "/run",
            "/mnt",
            str(Path.home()),
        )
        files = [
            tempfile.NamedTemporaryFile(dir=place, prefix=".penstock-test-")  # noqa: SIM115 - closed below
            for place in places
            if os.access(place, os.W_OK)
        ]
        yield [secret, *(Path(file.name) for file in files)]
        for file in files:
            file.close()

    @pytest.fixture
    def listener(self) -> Iterator[socket.socket]:
        """A server on the machine's loopback."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(30)
            yield server
