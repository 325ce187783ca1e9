"""Simulated machines on one network: each has a network, mounts, processes and a name of its own.

They stand on a bridge in a network of its own, which leads nowhere, so nothing here touches the network of whoever runs
the tests. What holds a machine is a process, its first; with it goes all the rest, and it goes with the test's process,
however that ends: no name of a namespace, no mount and no link is left to be cleaned up.

Their files are those of the real machine, but for `/tmp`, `/dev/shm` and `/etc/hosts`.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from networks import Door, inside, space_of

from penstock.job.run import S3Access

ROOT = Path(__file__).parents[2]
#: The Penstock home of a machine, as it sees it.
HOME = Path("/tmp/penstock")

_NETWORK = "10.213.47"
_HUB = f"{_NETWORK}.254"
_PROGRAMS = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux"}
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
_SPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")
#: A first process: the kernel itself takes leave of the orphans of one that does not care for its children.
_STAY = "echo stands; exec env --ignore-signal=CHLD sleep infinity"
_PATIENCE = 90.0
_DISABLED, _FORWARDING = 0, 3
#: Machines that are no nodes: the last part of their address.
_OTHERS = {"store": 200}


def lacking():
    """Why there can be none here; None: there can. Where PENSTOCK_TESTS_NEED names them, that is a failure."""
    problem = _lacking()
    if problem and "machines" in os.environ.get("PENSTOCK_TESTS_NEED", ""):
        raise RuntimeError(problem)
    return problem


def _lacking():
    if os.getuid():
        return "simulated machines are made by root"
    for program, package in _PROGRAMS.items():
        if shutil.which(program, path=_path()) is None:
            return f"{program} is not installed. On Debian or Ubuntu: apt-get install {package}"
    tried = subprocess.run(
        ["unshare", *_SPACES, "--fork", "ip", "link", "add", "bridge", "type", "bridge"],
        env={"PATH": _path()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if tried.returncode:
        return f"namespaces or bridges can't be made here: {tried.stderr.strip()}"
    return None


class Machines:
    """Machines by their names, `node1` first. As a context: all are switched off at its end."""

    def __init__(self, folder):
        """`folder` gets what they have on disk, by name; it is left to whoever gave it."""
        self.folder = Path(folder)
        self.nodes = {}
        self._hub = None

    def __enter__(self):
        setup = (
            "ip link set lo up && ip link add bridge type bridge && "
            f"ip address add {_HUB}/24 dev bridge && ip link set bridge up && {_STAY}"
        )
        self._hub = _hold(["unshare", "--net", "sh", "-c", setup], self.folder / "network.log")
        return self

    def __exit__(self, *_):
        for name in list(self.nodes):
            self.kill(name)
        _end(self._hub)

    def switch_on(self, name=None):
        """Another machine, or one again that was killed: its disk and its address are what they were."""
        name = name or f"node{len(list(self.folder.glob('node*'))) + 1}"
        self.nodes[name] = Machine(name, self.folder, space_of(self._hub.pid))
        return self.nodes[name]

    def kill(self, name):
        """As the loss of power: all processes end at once, and nobody is told so."""
        self.nodes.pop(name).switch_off()

    def cut(self, name):
        """From now on what it sends to others, or they to it, is lost without a word; it runs on."""
        self.nodes[name].plug(_DISABLED)

    def heal(self, name):
        """The end of a cut."""
        self.nodes[name].plug(_FORWARDING)

    def store(self, bucket):
        """An object store with a bucket, on a machine `store` that is switched on for it; how machines reach it."""
        machine = self.switch_on("store")
        program = machine.run(
            [
                sys.executable,
                "-P",
                Path(__file__).with_name("store_machine.py"),
                "/tmp/store",
                bucket,
                machine.address,
            ],
            {"PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        line = program.stdout.readline()
        assert line, f"the store has ended with {program.wait(_PATIENCE)}"
        return S3Access(**json.loads(line))

    def run(self, name, command, env=None, **options):
        """Start a program on a machine: a Popen, whose signals reach the program. `env` is beside the machine's own."""
        return self.nodes[name].run(command, env, **options)

    def home(self, name):
        """The Penstock home of a machine, as the test sees it; the machine calls it `HOME`."""
        return self.folder / name / "tmp" / HOME.name

    def address(self, name):
        """The address of a machine, also of one that is switched off."""
        return _address(name)

    def inside(self):
        """In this block the thread is on the machines' network, without a way to any other, loopback included."""
        return inside(space_of(self._hub.pid))

    def to(self, name, port):
        """A context whose `address`, on this process's loopback, leads to a port of a machine."""
        return Door("127.0.0.1", (_address(name), port), into=space_of(self._hub.pid))

    def out(self, port):
        """A context whose `address`, which all machines can reach, leads to a port on this process's loopback."""
        return Door(_HUB, ("127.0.0.1", port), of=space_of(self._hub.pid))


class Machine:
    """One that is switched on."""

    def __init__(self, name, folder, hub):
        self.name = name
        self.address = _address(name)
        self.env = _environment()
        self._hub = hub
        self._port = f"to-{name}"
        self._programs = []
        disk = folder / name
        (disk / "tmp").mkdir(parents=True, exist_ok=True)
        (disk / "tmp").chmod(0o1777)
        hosts = [f"{_NETWORK}.{number} node{number}" for number in range(1, 100)]
        (disk / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
        here, others = shlex.quote(str(disk)), shlex.quote(str(folder))
        setup = " && ".join(
            (
                f"hostname {name}",
                f"mount --bind {here}/hosts /etc/hosts",
                "mount -t tmpfs -o mode=1777 shm /dev/shm",
                *_shown_below(disk / "tmp"),
                f"mount --rbind {here}/tmp /tmp",
                f"{{ [ ! -d {others} ] || mount -t tmpfs hidden {others}; }}",
                _STAY,
            )
        )
        self._holder = _hold(
            ["unshare", *_SPACES, "--fork", "--kill-child", "--mount-proc", "sh", "-c", setup],
            disk / "log",
        )
        (self._first,) = children(self._holder.pid)
        self._connect()

    def _connect(self):
        number = _number(self.name)
        # Hardware addresses that stay: to others it is the same machine when it is switched on again.
        mine, theirs = f"02:00:00:00:00:{number:02x}", f"02:00:00:00:01:{number:02x}"
        self._on_hub(
            f"ip link add {self._port} address {theirs} type veth peer name eth0 address {mine} netns {self._first}"
            f" && ip link set {self._port} master bridge up"
        )
        plug = f"ip link set lo up && ip address add {self.address}/24 dev eth0 && ip link set eth0 up"
        assert self.run(["sh", "-c", plug]).wait(_PATIENCE) == 0

    def plug(self, state):
        """A port that is disabled keeps its carrier: neither end can tell but by the silence."""
        self._on_hub(f"bridge link set dev {self._port} state {state}")

    def run(self, command, env=None, **options):
        program = Program(self._first, command, env={**self.env, **(env or {})}, cwd="/", **options)
        self._programs.append(program)
        return program

    def processes(self):
        """The ids and names of all its processes; the ids as the test sees them."""
        space = os.readlink(f"/proc/{self._first}/ns/pid")
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # it has just ended
                if entry.name.isdecimal() and os.readlink(entry / "ns/pid") == space:
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
        return found

    def switch_off(self):
        self.plug(_DISABLED)  # first, or the kernel would say farewell to each peer
        os.kill(self._first, signal.SIGKILL)
        for process in (self._holder, *self._programs):  # the first of its processes ends as the last
            process.wait(_PATIENCE)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        # The kernel removes it with the other end, some time later; a machine of this name may come at once.
        self._on_hub(f"ip link delete {self._port} 2>/dev/null || true")

    def _on_hub(self, script):
        command = ["nsenter", f"--net={self._hub}", "sh", "-c", script]
        subprocess.run(command, env={"PATH": _path()}, check=True, timeout=_PATIENCE)


class Program(subprocess.Popen):
    """A program on a machine. It ends with the machine, and with the process that started it; its children, with the machine."""

    def __init__(self, first, command, **options):
        enter = ["nsenter", f"--target={first}", *_SPACES, "--"]
        super().__init__([*_WITH_PARENT, *enter, *_WITH_PARENT, *command], **options)

    def send_signal(self, number):
        """To the program itself, not to what put it there."""
        if self.poll() is None:
            for pid in children(self.pid):
                os.kill(pid, number)


def children(pid):
    """The processes that a process of a single thread has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _address(name):
    return f"{_NETWORK}.{_number(name)}"


def _number(name):
    digits = name.removeprefix("node")
    return int(digits) if digits.isdecimal() else _OTHERS[name]


def _path():
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _environment():
    ours = ("AWS_", "SAGEMAKER_", "PENSTOCK_", "RAY_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PATH": _path(), "TMPDIR": "/tmp", "PENSTOCK_HOME": str(HOME)}


def _shown_below(tmp):
    """What keeps our code in sight where it lies below the /tmp that a machine has another of."""
    for path in {ROOT, Path(sys.prefix), Path(sys.base_prefix)}:
        if path.is_relative_to("/tmp"):
            place = tmp / path.relative_to("/tmp")
            place.mkdir(parents=True, exist_ok=True)
            yield f"mount --rbind {shlex.quote(str(path))} {shlex.quote(str(place))}"


def _hold(command, log):
    """A process that stays as long as this one, once it has done what comes first."""
    with log.open("wb") as file:
        held = subprocess.Popen(
            [*_WITH_PARENT, *command],
            env={"PATH": _path()},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    if held.stdout.readline() != "stands\n":
        _end(held)
        raise RuntimeError(f"{shlex.join(command)} has ended: {log.read_text()}")
    return held


def _end(held):
    held.kill()
    held.wait(_PATIENCE)
    held.stdout.close()
