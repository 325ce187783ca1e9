"""The filter of system calls, run as the kernel would run it."""

import errno
import re
import struct
from pathlib import Path

import pytest

from penstock.runtimes import seccomp

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}
I386 = 0x40000003
CLONE_NEWUSER = 0x10000000


def answer(machine, number, *arguments, architecture=None):
    """The error that a call is answered with; 0: it is let through."""
    code = seccomp.assemble(machine)
    words = (*arguments, *[0] * 6)[:6]
    data = struct.pack("=iIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *words)
    place = loaded = 0
    while True:
        what, yes, no, operand = struct.unpack_from("=HBBI", code, place * 8)
        place += 1
        match what:
            case 0x20:
                (loaded,) = struct.unpack_from("=I", data, operand)
            case 0x15:
                place += yes if loaded == operand else no
            case 0x25:
                place += yes if loaded > operand else no
            case 0x45:
                place += yes if loaded & operand else no
            case 0x06:
                return 0 if operand == 0x7FFF0000 else operand & 0xFFFF


def number_of(machine, name):
    (found,) = (one for one in seccomp.REFUSALS if one.name == name)
    return found.numbers[list(ARCHITECTURES).index(machine)]


@pytest.mark.parametrize("machine", ARCHITECTURES)
class TestFilter:
    def test_what_is_always_refused(self, machine):
        column = list(ARCHITECTURES).index(machine)
        for one in seccomp.REFUSALS:
            if one.numbers[column] is not None and not (one.equal or one.bits or one.others):
                assert answer(machine, one.numbers[column]) == one.error, one.name

    def test_all_other_calls_are_let_through(self, machine):
        column = list(ARCHITECTURES).index(machine)
        listed = {one.numbers[column] for one in seccomp.REFUSALS}
        for number in set(range(467)) - listed:
            assert answer(machine, number) == 0, number

    @pytest.mark.parametrize("number", [467, 500, 0x40000000, 0x40000027, -1])
    def test_calls_of_the_future_and_of_x32_are_not_there(self, machine, number):
        assert answer(machine, number) == errno.ENOSYS

    def test_calls_of_another_architecture_are_not_there(self, machine):
        assert answer(machine, 20, architecture=I386) == errno.ENOSYS

    @pytest.mark.parametrize("name", ["clone", "unshare"])
    @pytest.mark.parametrize(
        "flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]
    )
    def test_new_namespaces_are_refused(self, machine, name, flag):
        number = number_of(machine, name)
        assert answer(machine, number, flag) == errno.EPERM
        assert answer(machine, number, flag | 0x3D0F00) == errno.EPERM

    def test_threads_and_processes_are_not(self, machine):
        clone = number_of(machine, "clone")
        assert answer(machine, clone, 0x3D0F00) == 0  # as pthread_create asks
        assert answer(machine, clone, 0x01200011) == 0  # as fork does
        assert answer(machine, number_of(machine, "unshare"), 0x600) == 0  # CLONE_FS | CLONE_FILES

    def test_clone3_gives_way_to_clone(self, machine):
        assert answer(machine, number_of(machine, "clone3")) == errno.ENOSYS

    @pytest.mark.parametrize(
        ("name", "place"),
        [
            ("ptrace", 1),
            ("process_vm_readv", 0),
            ("process_vm_writev", 0),
            ("pidfd_open", 0),
            ("prlimit64", 0),
        ],
    )
    def test_process_1_alone_is_out_of_bounds(self, machine, name, place):
        for pid, expected in ((0, 0), (1, errno.EPERM), (2, 0), (1 << 32 | 1, errno.EPERM)):
            assert answer(machine, number_of(machine, name), *[0] * place, pid) == expected, pid

    def test_terminals_hear_no_letters_that_nobody_typed(self, machine):
        ioctl = number_of(machine, "ioctl")
        tcgets = 0x5401
        assert [
            answer(machine, ioctl, 0, request) for request in (0x5412, 0x541C, 0x1_0000_5412, tcgets)
        ] == [
            *[errno.EPERM] * 3,
            0,
        ]

    @pytest.mark.parametrize("name", ["socket", "socketpair"])
    def test_families_of_sockets(self, machine, name):
        number = number_of(machine, name)
        let_through = [family for family in range(64) if answer(machine, number, family) == 0]
        assert let_through == [1, 2, 10, 16]
        assert answer(machine, number, 40) == errno.EAFNOSUPPORT

    def test_numbers_are_the_kernels(self, machine):
        header = Path(HEADERS[machine])
        if not header.exists():
            pytest.skip("the kernel's headers are not installed")
        found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
        numbers = {name: int(number) for name, number in found}
        column = list(ARCHITECTURES).index(machine)
        for one in seccomp.REFUSALS:
            assert numbers.get(one.name) == one.numbers[column], one.name

    def test_it_is_short(self, machine):
        assert len(seccomp.assemble(machine)) // 8 < 200


def test_an_unknown_architecture_has_none():
    assert seccomp.assemble("vax") is None
