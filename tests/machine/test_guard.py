"""What a program that shares the machine's network can't reach in it.

Traffic goes to loopback, or within network namespaces that the tests make, where the metadata address is one of
loopback's and a server listens at it.
"""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest
from ordinary import become_ordinary, readable

from penstock.runtimes import guard
from penstock.runtimes.base import Closed
from penstock.runtimes.bubblewrap import Bubblewrap
from penstock.runtimes.unshare import Unshare
from penstock.testing.scripts import python, script

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(
        os.geteuid() != 0, reason="only root can guard a program, or make networks to try it in"
    ),
]

RUNTIMES = [Unshare()] + ([Bubblewrap(shutil.which("bwrap"))] if shutil.which("bwrap") else [])

#: Tries each way to name a peer; says for each whether it got through.
TRY = """
    import errno, socket, sys
    for where in sys.argv[1:]:
        host, _, port = where.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for how in ("connect", "fastopen", "datagram", "connected datagram", "mptcp"):
            kind = socket.SOCK_DGRAM if "datagram" in how else socket.SOCK_STREAM
            end = socket.socket(family, kind, 262 if how == "mptcp" else 0)
            end.settimeout(10)
            try:
                if how == "fastopen":
                    end.setblocking(True)
                    end.sendto(b"x", socket.MSG_FASTOPEN, (host, int(port)))
                elif how == "datagram":
                    end.sendto(b"x", (host, int(port)))
                else:
                    end.connect((host, int(port)))
                print("through", how)
            except OSError as error:
                print(errno.errorcode[error.errno], how)
"""
WAYS = ("connect", "fastopen", "datagram", "connected datagram", "mptcp")
#: Two things of one: Linux may be built without the second.
WITHOUT_MPTCP = TRY.replace(', "mptcp")', ")")
try:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
except OSError:
    TRY, WAYS = WITHOUT_MPTCP, WAYS[:-1]


@pytest.fixture(params=RUNTIMES, ids=lambda runtime: runtime.name)
def runtime(request):
    hindrance = guard.try_out()
    if hindrance:
        pytest.skip(f"this kernel can't guard a program: {hindrance}")
    return request.param


@pytest.fixture
def two_ports():
    """Two servers on all addresses of the machine's loopback."""
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as one,
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as other,
    ):
        yield one.getsockname()[1], other.getsockname()[1]


def said(outcome):
    assert outcome.code == 0, outcome.output
    return [line.split(" ", 1)[0] for line in outcome.output.decode().splitlines()]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
def test_a_closed_port_of_loopback(runtime, two_ports, host):
    closed = two_ports[0]
    where = [f"{host}:{port}" for port in two_ports]
    outcome = python(runtime, TRY, *where, closed=Closed(guard.METADATA, (closed,)))
    assert said(outcome) == ["EPERM"] * len(WAYS) + ["through"] * len(WAYS)
    assert said(python(runtime, TRY, where[0])) == ["through"] * len(WAYS)


def test_what_the_program_starts_is_guarded_as_well(runtime, two_ports):
    source = """
        import os, socket, sys
        if not os.fork():
            os.setsid()
            if not os.fork():
                try:
                    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10)
                except PermissionError:
                    os._exit(os.write(1, b"refused") - 7)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    outcome = python(runtime, source, str(two_ports[0]), closed=Closed(ports=two_ports))
    assert outcome == (0, b"refused")


def test_no_group_is_left(runtime):
    ours = guard.group_of("self")
    assert python(runtime, "pass", closed=Closed(guard.METADATA)).code == 0
    assert not list(ours.glob(f"penstock-{os.getpid()}-*"))  # those of others come and go


def test_the_group_of_a_runner_that_died_is_removed_by_the_next(runtime):
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    left = guard.group_of("self") / f"penstock-{gone.pid}-1"
    left.mkdir()
    assert python(runtime, "pass", closed=Closed(guard.METADATA)).code == 0
    assert not left.exists()


def test_a_process_in_a_group_of_its_own_stays_there():
    if guard.try_out():
        pytest.skip("this kernel can't guard a program")
    group = guard.group_of("self") / f"penstock-{os.getpid()}-test"
    group.mkdir()
    try:
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as waiting:
            (group / "cgroup.procs").write_text(str(waiting.pid))
            guarded = guard.admit(waiting.pid, Closed(guard.METADATA))
            assert (guarded.note, guarded.group) == (None, None)
            assert guard.group_of(str(waiting.pid)) == group
            waiting.kill()
    finally:
        group.rmdir()


def test_where_the_kernel_refuses_the_program_runs_and_the_note_says_so(runtime, monkeypatch):
    monkeypatch.setattr(guard, "_BPF", 9999)  # a call that no kernel has
    with Path(os.devnull).open("wb") as nowhere:
        running = runtime.start(script("pass", closed=Closed(guard.METADATA)), nowhere.fileno())
        assert running.wait() == 0
    (note,) = running.notes
    assert "metadata address" in note
    assert "Function not implemented" in note


# The metadata address, in a network of the test's own ------------------------------------------------------------

METADATA = "169.254.169.254"

_NETWORK = """
    import fcntl, os, socket, struct, sys, threading
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    def up(name):
        fcntl.ioctl(end, 0x8914, struct.pack("16sH22x", name, 1))
    up(b"lo")
    fcntl.ioctl(end, 0x8916, struct.pack("16sHH4s16x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(METADATA)))
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    address = socket.inet_pton(socket.AF_INET6, "fd00:ec2::254")
    fcntl.ioctl(six, 0x8916, struct.pack("=16sIi", address, 128, 1))
    server = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    datagrams.bind(("::", 80))
    names = socket.create_server(("::", 53), family=socket.AF_INET6, dualstack_ipv6=True)
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def network():
    """A network namespace in which both metadata addresses answer: the number of a process in it."""
    source = textwrap.dedent(_NETWORK).replace("METADATA", repr(METADATA))
    with subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"ready\n"
        try:
            yield holder.pid
        finally:
            holder.kill()


def in_network(pid, source, *words, become=(), interpreter=sys.executable, path=None):
    """Run Python source in a network, with our code."""
    return subprocess.run(
        [
            *("nsenter", f"--net=/proc/{pid}/ns/net"),
            *become,
            interpreter,
            "-c",
            textwrap.dedent(source),
            *words,
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": path or os.pathsep.join(sys.path), "HOME": "/"},
    ).stdout.split()


_RUN = """
    import sys
    from penstock.runtimes.base import Closed
    from penstock.runtimes.bubblewrap import Bubblewrap
    from penstock.runtimes.guard import METADATA
    from penstock.runtimes.unshare import Unshare
    from penstock.testing.scripts import python
    runtime, closed, source, *where = sys.argv[1:]
    made = {"unshare": Unshare, "bubblewrap": Bubblewrap}[runtime]()
    print(python(made, source, *where, closed=Closed(METADATA) if closed == "closed" else Closed()).output.decode())
"""


def test_the_metadata_address_is_closed_to_roots_programs(runtime):
    where = [f"{METADATA}:80", "fd00:ec2::254:80", f"::ffff:{METADATA}:80"]
    with network() as pid:
        opened = in_network(pid, _RUN, runtime.name, "open", WITHOUT_MPTCP, *where)
        assert opened.count("through") == 12
        closed = in_network(pid, _RUN, runtime.name, "closed", WITHOUT_MPTCP, *where)
        assert closed.count("EPERM") == 12
        names = in_network(pid, _RUN, runtime.name, "closed", WITHOUT_MPTCP, f"{METADATA}:53")
        assert names[:2] == ["through", "connect"]


@pytest.mark.skipif(shutil.which("nft") is None, reason="nftables (nft) is not installed")
@pytest.mark.parametrize("runtime_name", ["unshare", "bubblewrap"])
def test_doctors_rule_closes_it_to_an_ordinary_users_programs(runtime_name):
    if runtime_name == "bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    user, become = become_ordinary()
    rule = guard.firewall_rule(user).removeprefix("sudo ")
    where = (f"{METADATA}:80", "fd00:ec2::254:80")
    with readable() as folder, network() as pid:

        def tried():
            return in_network(
                *(pid, _RUN, runtime_name, "closed", WITHOUT_MPTCP, *where),
                become=become,
                interpreter="/usr/bin/python3",
                path=str(folder),
            )

        assert tried().count("through") == 8
        subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c", rule], check=True)
        # A datagram socket may name its peer, which sends nothing.
        assert [line for line in tried() if line == "through"] == ["through"] * 2
        # Others are not concerned, and names are resolved.
        assert "through" in in_network(pid, _RUN, runtime_name, "open", WITHOUT_MPTCP, *where)


@pytest.mark.parametrize(
    "closed",
    [
        Closed(),
        Closed(("10.0.0.0/8",)),
        Closed(("fd00::/8",)),
        Closed(("fd00::1", "10.0.0.0/32")),
        Closed(ports=(1, 65535)),
    ],
)
def test_the_kernel_takes_every_program(closed):
    if guard.try_out():
        pytest.skip("this kernel can't guard a program")
    group = guard.group_of("self") / f"penstock-{os.getpid()}-test"
    group.mkdir()
    try:
        guard.guard(group, closed)
    finally:
        group.rmdir()
