"""Keep a program that shares the machine's network from parts of it, by eBPF at its control group; as root only.

The kernel asks four small programs, one for each way to name a peer (connect and sendmsg, by IPv4 and IPv6), whenever
a process of the group names one. They are written here by hand, since each is a list of comparisons. They need Linux
5.1 and the unified hierarchy of control groups (v2), which may stand beside v1 and needs no controllers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from penstock.runtimes.base import Closed
from penstock.small import read_small, tell

#: Where clouds keep a machine's credentials: AWS, Azure, Google and most others by IPv4; AWS, Google and OpenStack by
#: IPv6. Names are resolved at such addresses too (Google's 169.254.169.254, AWS's .253), so port 53 stays open.
METADATA = ("169.254.0.0/16", "fd00:ec2::254/128", "fd20:ce::254/128", "fe80::a9fe:a9fe/128")
_DNS = 53

#: How groups are called: by the runner's process and the one that is guarded.
_OURS = re.compile(r"penstock-(\d+)-\d+")

_BPF = {"x86_64": 321}.get(platform.machine(), 280)
_PROG_LOAD, _PROG_ATTACH = 5, 8
_CGROUP_SOCK_ADDR = 18
#: Attach type -> whether it is of IPv6: connect4, connect6, sendmsg4, sendmsg6.
_HOOKS = {10: False, 11: True, 14: False, 15: True}

# struct bpf_sock_addr: where it holds the peer, in the network's order of bytes.
_IP4, _IP6, _PORT = 4, (8, 12, 16, 20), 24

_LIBC = ctypes.CDLL(None, use_errno=True)

#: The programs of the guard that was set last, by their hooks: the next one's are most often the same. To load them is
#: what takes the time, since the kernel proves each; once loaded nobody can change them.
_loaded: dict[Closed, dict[int, int]] = {}
_loading = threading.Lock()


def guard(group: Path, closed: Closed) -> None:
    """From now on, refuse to the processes in a control group what is `closed`; connections they have stay.

    The group's end is the guard's. The first takes a millisecond, and the next one like it a fifth of that.

    Args:
        group: A folder of the unified hierarchy.
        closed: What is refused; a connection to it fails with EPERM.

    Raises:
        OSError: The kernel refuses.
    """
    descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _loading:
            for hook, program in _programs(closed).items():
                _bpf("attach", _PROG_ATTACH, struct.pack("=4I", descriptor, program, hook, 0))
    finally:
        os.close(descriptor)


def _programs(closed: Closed) -> Mapping[int, int]:
    """Descriptors of the loaded programs by their hooks; those of another `Closed` are given up."""
    if closed not in _loaded:
        for program in (program for those in _loaded.values() for program in those.values()):
            os.close(program)
        _loaded.clear()
        with ExitStack() as undo:
            programs = {}
            for hook, six in _HOOKS.items():
                programs[hook] = _load(assemble(closed, six=six), hook)
                undo.callback(os.close, programs[hook])
            undo.pop_all()
        _loaded[closed] = programs
    return _loaded[closed]


@dataclass
class Guarded:
    """A process that is guarded, or about which `note` says why it is not."""

    note: str | None = None
    group: Path | None = field(default=None)
    """Made for it."""

    def close(self) -> None:
        """Remove the group; all processes in it have ended. One that is left over is removed by the next `admit`."""
        if self.group is not None:
            with suppress(OSError):
                self.group.rmdir()


def admit(process: int, closed: Closed) -> Guarded:
    """Guard a process, which does nothing yet, and all that it will start.

    It stays in its group of the unified hierarchy if that is another one than ours, so whoever chooses one for it does
    so before; else it gets one below ours. An ordinary user can't, and gets no note: `penstock doctor` tells what
    closes the network for all their processes.
    """
    if os.geteuid() != 0 or closed == Closed():
        return Guarded()
    made = None
    try:
        ours, its = group_of("self"), group_of(str(process))
        if its == ours:
            _sweep(ours)
            its = made = ours / f"penstock-{os.getpid()}-{process}"
            made.mkdir()
        guard(its, closed)
        if made is not None:
            tell(made / "cgroup.procs", str(process))
    except OSError as error:
        guarded = Guarded(
            "The program can reach the machine's metadata address and ports that Penstock has for itself: no guard of "
            f"its network could be set ({error}).",
            made,
        )
        guarded.close()
        return guarded
    return Guarded(group=made)


def try_out() -> str | None:
    """Whether `admit` would work here, for root: None, or why not."""
    try:
        group = group_of("self") / f"penstock-{os.getpid()}-0"
        group.mkdir()
        try:
            guard(group, Closed(METADATA, (1,)))
        finally:
            group.rmdir()
    except OSError as error:
        return str(error)
    return None


def firewall_rule(user: str) -> str:
    """The command that closes `METADATA` to all processes of an ordinary user."""
    addresses = {"ip": METADATA[:1], "ip6": METADATA[1:]}
    rules = " ".join(
        f"meta skuid {user} {kind} daddr {{ {', '.join(those)} }} th dport != {_DNS} reject;"
        for kind, those in addresses.items()
    )
    return (
        f"sudo nft 'table inet penstock {{ chain out {{ type filter hook output priority 0; {rules} }}; }}'"
    )


def group_of(process: str) -> Path:
    """The folder of a process's group in the unified hierarchy.

    Raises:
        OSError: The hierarchy is not mounted where it is looked for.
    """
    lines = os.fsdecode(read_small(f"/proc/{process}/cgroup")).splitlines()
    return _unified() / next(line[4:] for line in lines if line.startswith("0::/"))


@cache
def _unified() -> Path:
    """Where the unified hierarchy is. Looked for once: nobody mounts it elsewhere while a runner lives."""
    for root in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (root / "cgroup.procs").exists() and not (root / "tasks").exists():
            return root
    raise FileNotFoundError("no unified hierarchy of control groups (cgroup v2) at /sys/fs/cgroup")


def _sweep(ours: Path) -> None:
    """Remove the groups of runners that have died."""
    for name in os.listdir(ours):  # noqa: PTH208 - for speed, with each run
        made_by = _OURS.fullmatch(name)
        if made_by and not Path("/proc", made_by[1]).exists():
            with suppress(OSError):  # still in use, or removed by another
                (ours / name).rmdir()


# The programs ----------------------------------------------------------------------------------------------------

#: An instruction and, for a leap, the label it goes to.
_Line = tuple[bytes, str] | str
_PEER, _PEERS_PORT, _SCRATCH = 2, 3, 8
_WORDS = (2, 4, 5, 7)


@cache
def assemble(closed: Closed, *, six: bool) -> bytes:
    """The program for one hook, of 8 bytes an instruction: 1 in its register 0 lets the call through, 0 refuses it."""
    networks = [ip_network(text) for text in closed.networks]
    old = [one for one in networks if isinstance(one, IPv4Network)]
    new = [one for one in networks if isinstance(one, IPv6Network)]
    lines: list[_Line] = [
        (_op(0xBF, 6, 1), ""),
        (_op(0x61, _PEERS_PORT, 6, _PORT), ""),
        _swap(_PEERS_PORT, 16),
    ]
    if six:
        lines += _six(new)
    else:
        lines += [(_op(0x61, _PEER, 6, _IP4), ""), _swap(_PEER, 32)]
    lines += _four(old)
    lines += ["loopback", *(_if_equal(_PEERS_PORT, port, "refuse") for port in closed.ports), _go("allow")]
    # The kernel takes no program with instructions that nothing leads to.
    if old or (six and new):
        lines += ["network", _if_equal(_PEERS_PORT, _DNS, "allow")]
    if old or (six and new) or closed.ports:
        lines += ["refuse", *_answer(0)]
    lines += ["allow", *_answer(1)]
    return _link(lines)


def _answer(verdict: int) -> tuple[_Line, ...]:
    return (_op(0xB7, 0, imm=verdict), ""), (_op(0x95), "")


def _four(networks: Sequence[IPv4Network]) -> Iterator[_Line]:
    yield "four"
    for one in networks:
        yield from _if_within(_PEER, int(one.network_address), one.prefixlen, "network")
    yield from _if_within(_PEER, 127 << 24, 8, "loopback")
    yield _if_equal(_PEER, 0, "loopback")  # "any address" leads there as well
    yield _go("allow")


def _six(networks: Sequence[IPv6Network]) -> Iterator[_Line]:
    first, second, third, last = _WORDS
    for register, offset in zip(_WORDS, _IP6, strict=True):
        yield _op(0x61, register, 6, offset), ""
        yield _swap(register, 32)
    yield _if_other(first, 0, "no old one")
    yield _if_other(second, 0, "no old one")
    yield _if_equal(third, 0xFFFF, "mapped")
    yield _if_other(third, 0, "no old one")
    yield _if_equal(last, 0, "loopback")
    yield _if_equal(last, 1, "loopback")
    yield "no old one"
    for number, one in enumerate(networks):
        for place, register in enumerate(_WORDS):
            word = int.from_bytes(one.network_address.packed[place * 4 : place * 4 + 4], "big")
            bits = min(32, max(0, one.prefixlen - place * 32))
            if bits:
                yield from _shifted(register, bits)
                yield _if_other(_SCRATCH, word >> (32 - bits), f"not {number}")
        yield _go("network")
        yield f"not {number}"
    yield _go("allow")
    yield "mapped"  # an IPv4 address written as one of IPv6
    yield _op(0xBC, _PEER, last), ""


def _if_within(register: int, address: int, bits: int, label: str) -> Iterator[_Line]:
    yield from _shifted(register, bits)
    yield _if_equal(_SCRATCH, address >> (32 - bits), label)


def _shifted(register: int, bits: int) -> Iterator[_Line]:
    """The first `bits` of a register, in the scratch register."""
    yield _op(0xBC, _SCRATCH, register), ""
    if bits < 32:
        yield _op(0x74, _SCRATCH, imm=32 - bits), ""


def _if_equal(register: int, value: int, label: str) -> _Line:
    return _op(0x16, register, imm=value), label


def _if_other(register: int, value: int, label: str) -> _Line:
    return _op(0x56, register, imm=value), label


def _go(label: str) -> _Line:
    return _op(0x05), label


def _swap(register: int, bits: int) -> _Line:
    """From the network's order of bytes to this machine's."""
    return _op(0xDC, register, imm=bits), ""


def _op(code: int, target: int = 0, source: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    # Four bits for each register; which come first depends on the machine's order of bytes, and both known have this.
    return struct.pack("<BBhI", code, source << 4 | target, offset, imm)


def _link(lines: Sequence[_Line]) -> bytes:
    """Put distances in the place of labels."""
    places: dict[str, int] = {}
    code: list[tuple[bytes, str]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(code)
        else:
            code.append(line)
    return b"".join(
        one[:2] + struct.pack("<h", places[label] - number - 1) + one[4:] if label else one
        for number, (one, label) in enumerate(code)
    )


# The kernel ------------------------------------------------------------------------------------------------------


def _load(code: bytes, hook: int) -> int:
    program = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags, prog_name,
    # prog_ifindex, expected_attach_type
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        *(_CGROUP_SOCK_ADDR, len(code) // 8, ctypes.addressof(program), ctypes.addressof(licence)),
        *(0, 0, 0, 0, 0, b"penstock", 0, hook),
    )
    return _bpf("load", _PROG_LOAD, attributes)


def _bpf(what: str, command: int, attributes: bytes) -> int:
    result = int(_LIBC.syscall(_BPF, command, attributes, len(attributes)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"can't {what} an eBPF program: {os.strerror(number)}")
    return result
