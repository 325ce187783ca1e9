"""The system calls that no program needs and that attacks on a kernel begin with: refused by a filter.

A filter is a program of the kernel's classic BPF (seccomp(2), `SECCOMP_SET_MODE_FILTER`), which is asked at every
system call; the kernel remembers which numbers are always allowed, so those cost nothing. Whatever is not listed here
is allowed, but for calls that are younger than this file: a program finds them missing, as on an older kernel.

None of this is the first wall. A program has no capability, so most of these calls would fail without a filter; it
keeps them away from the code in which the kernel's faults are found.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# seccomp_data: what the filter may look at. The low half of an argument comes first on both architectures.
_NUMBER, _ARCHITECTURE = 0, 4
_ARGUMENTS = tuple(range(16, 64, 8))

# Instructions of classic BPF, and what a filter may answer (linux/filter.h, linux/seccomp.h).
_LOAD, _RETURN = 0x20, 0x06
_IF_EQUAL, _IF_GREATER, _IF_ANY_BIT = 0x15, 0x25, 0x45
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

#: The newest call that the table below has been held against: removexattrat (Linux 6.13). Numbers from 424 on are the
#: same on all architectures. Those of x86's x32 calls, which have a bit of their own, are above it too.
_NEWEST = 466

#: New namespaces of whatever kind: CLONE_NEWTIME, -NS, -CGROUP, -UTS, -IPC, -USER, -PID and -NET.
_NEW_NAMESPACES = 0x80 | 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
#: clone(2) has the signal of the child's end where unshare(2) has CLONE_NEWTIME.
_CLONE_NAMESPACES = _NEW_NAMESPACES & ~0x80

#: ioctl(2): put letters into a terminal's input as if somebody had typed them.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

#: AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. Not vsock, packets, the kernel's cryptography (AF_ALG) and the forty others.
_FAMILIES = (1, 2, 10, 16)

#: Audit's name of the architecture, and the place of its numbers in the table.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}


@dataclass(frozen=True)
class Refusal:
    """A system call that is refused, always or by one argument."""

    name: str
    numbers: tuple[int | None, int | None]
    """On x86_64 and on aarch64; None: it has no such call."""
    error: int = errno.EPERM
    argument: int = 0
    """Which one is looked at, from 0."""
    equal: tuple[int, ...] = ()
    """Refused if the argument is one of these."""
    bits: int = 0
    """Refused if the argument has one of these bits."""
    others: tuple[int, ...] = ()
    """Refused if the argument is none of these."""


def _always(**numbers: tuple[int | None, int | None]) -> tuple[Refusal, ...]:
    return tuple(Refusal(name, pair) for name, pair in numbers.items())


REFUSALS = (
    # Other mounts, and files by their number instead of by a path that is mounted.
    *_always(
        mount=(165, 40),
        umount2=(166, 39),
        pivot_root=(155, 41),
        open_tree=(428, 428),
        move_mount=(429, 429),
        fsopen=(430, 430),
        fsconfig=(431, 431),
        fsmount=(432, 432),
        fspick=(433, 433),
        mount_setattr=(442, 442),
        open_by_handle_at=(304, 265),
    ),
    # The machine's state.
    *_always(
        acct=(163, 89),
        clock_adjtime=(305, 266),
        clock_settime=(227, 112),
        delete_module=(176, 106),
        finit_module=(313, 273),
        init_module=(175, 105),
        ioperm=(173, None),
        iopl=(172, None),
        kexec_file_load=(320, 294),
        kexec_load=(246, 104),
        quotactl=(179, 60),
        quotactl_fd=(443, 443),
        reboot=(169, 142),
        setdomainname=(171, 162),
        sethostname=(170, 161),
        settimeofday=(164, 170),
        swapoff=(168, 225),
        swapon=(167, 224),
        syslog=(103, 116),
        vhangup=(153, 58),
    ),
    # Wide doors into the kernel, and into what its user has: keyrings are of the user and not of the namespace.
    *_always(
        add_key=(248, 217),
        bpf=(321, 280),
        keyctl=(250, 219),
        lookup_dcookie=(212, 18),
        nfsservctl=(180, 42),
        perf_event_open=(298, 241),
        request_key=(249, 218),
        userfaultfd=(323, 282),
    ),
    # What a program asks for and does without: io_uring would let it pass by this filter.
    Refusal("io_uring_setup", (425, 425), errno.ENOSYS),
    Refusal("io_uring_enter", (426, 426), errno.ENOSYS),
    Refusal("io_uring_register", (427, 427), errno.ENOSYS),
    # Namespaces of its own, in which it would have rights again. The flags of clone3 lie in memory, where no filter
    # can look; C libraries take clone instead when it is missing.
    Refusal("clone", (56, 220), bits=_CLONE_NAMESPACES),
    Refusal("clone3", (435, 435), errno.ENOSYS),
    Refusal("setns", (308, 268)),
    Refusal("unshare", (272, 97), bits=_NEW_NAMESPACES),
    # Process 1 builds the walls and waits for the program: nobody has to stop it, look into it or change its limits.
    Refusal("pidfd_open", (434, 434), equal=(1,)),
    Refusal("prlimit64", (302, 261), equal=(1,)),
    Refusal("process_vm_readv", (310, 270), equal=(1,)),
    Refusal("process_vm_writev", (311, 271), equal=(1,)),
    Refusal("ptrace", (101, 117), argument=1, equal=(1,)),
    Refusal("ioctl", (16, 29), argument=1, equal=(_TIOCSTI, _TIOCLINUX)),
    Refusal("socket", (41, 198), errno.EAFNOSUPPORT, others=_FAMILIES),
    Refusal("socketpair", (53, 199), errno.EAFNOSUPPORT, others=_FAMILIES),
)


@cache
def program() -> bytes | None:
    """The filter for this machine; None where there are none, or its architecture is not known here."""
    if not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        return None
    return assemble(platform.machine())


def assemble(machine: str) -> bytes | None:
    """The filter for an architecture as `platform.machine` calls it: 8 bytes for each instruction; None: not known."""
    if machine not in _ARCHITECTURES:
        return None
    architecture, column = _ARCHITECTURES[machine]
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_IF_EQUAL, architecture, yes=1),
        _refuse(errno.ENOSYS),  # a 32-bit program's calls have other numbers
        _instruction(_LOAD, _NUMBER),
        _instruction(_IF_GREATER, _NEWEST, no=1),
        _refuse(errno.ENOSYS),
    ]
    for one in REFUSALS:
        number = one.numbers[column]
        if number is not None:
            body = _judge(one)
            code += [_instruction(_IF_EQUAL, number, no=len(body)), *body]
    return b"".join((*code, _instruction(_RETURN, _ALLOW)))


def _judge(one: Refusal) -> Sequence[bytes]:
    """What is done once the number is `one`'s; it always answers."""
    allow, refuse = _instruction(_RETURN, _ALLOW), _refuse(one.error)
    look = _instruction(_LOAD, _ARGUMENTS[one.argument])
    if one.bits:
        return (look, _instruction(_IF_ANY_BIT, one.bits, yes=1), allow, refuse)
    if one.equal:
        return (look, *_if_one_of(one.equal), allow, refuse)
    if one.others:
        return (look, *_if_one_of(one.others), refuse, allow)
    return (refuse,)


def _if_one_of(values: tuple[int, ...]) -> Sequence[bytes]:
    """Leap over the instruction that follows these if the loaded number is one of `values`."""
    return [_instruction(_IF_EQUAL, value, yes=len(values) - place) for place, value in enumerate(values)]


def _refuse(error: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | error)


def _instruction(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; `yes` and `no` are how many of the following ones are passed over when a test holds or not."""
    return struct.pack("=HBBI", code, yes, no, operand)
