"""Attempts on the kernel: calls that no program needs, and places by which the machine is steered."""

# The tests' names say what is tried.
# ruff: noqa: D102

from __future__ import annotations

import errno
import platform
import socket

import pytest

from penstock.runtimes import seccomp
from penstock.runtimes.base import Runtime
from penstock.testing.scripts import python

#: What is tried -> the call, and its arguments as Python source. They would do no harm if they got through.
CALLS = {
    "mounts a file system": ("mount", "b'none', b'/mnt', b'tmpfs', 0, None"),
    "unmounts what hides process 1 or the machine": ("umount2", "b'/proc', 2"),
    "takes another root folder": ("pivot_root", "b'/tmp', b'/tmp'"),
    "copies the tree of mounts": ("open_tree", "-100, b'/', 1"),
    "moves a mount": ("move_mount", "-100, b'/usr', -100, b'/mnt', 0"),
    "makes a file system by the newer calls": ("fsopen", "b'tmpfs', 0"),
    "makes a read-only mount writable by mount_setattr": (
        "mount_setattr",
        "-100, b'/usr', 0, bytes(8) + (1).to_bytes(8, 'little') + bytes(16), ctypes.c_size_t(32)",
    ),
    "opens a file by its number, past all mounts": (
        "open_by_handle_at",
        "0, (8).to_bytes(4, 'little') + (1).to_bytes(4, 'little') + (2).to_bytes(8, 'little'), 0",
    ),
    "makes a user namespace, to have rights in it": ("unshare", "0x10000000"),
    "makes a mount namespace": ("unshare", "0x20000"),
    "makes a network namespace": ("unshare", "0x40000000"),
    "starts a process in a user namespace": ("clone", "0x10000000 | 17, None, None, None, None"),
    "starts a process in a user namespace by clone3": (
        "clone3",
        "(0x10000000).to_bytes(8, 'little') + bytes(24) + (17).to_bytes(8, 'little') + bytes(24), ctypes.c_size_t(64)",
    ),
    "enters another namespace": ("setns", "os.open('/proc/self/ns/net', 0), 0"),
    "loads a BPF program": ("bpf", "0, bytes(64), 64"),
    "watches the machine by performance counters": ("perf_event_open", "bytes(128), -1, 0, -1, 0"),
    "handles the kernel's page faults": ("userfaultfd", "0"),
    "queues calls by io_uring": ("io_uring_setup", "1, ctypes.create_string_buffer(120)"),
    "loads another kernel": ("kexec_load", "0, 0, None, 0"),
    "loads another kernel from a file": ("kexec_file_load", "-1, -1, 0, None, 0"),
    "loads a module": ("finit_module", "-1, b'', 0"),
    "removes a module": ("delete_module", "b'penstock-no-such-module', 0o4000"),
    "restarts the machine": ("reboot", "0, 0, 0, None"),
    "sets the clock": ("clock_settime", "-1, bytes(16)"),
    "bends the clock": ("clock_adjtime", "-1, bytes(208)"),
    "names the machine": ("sethostname", "b'algo-1', 6"),
    "names the machine's domain": ("setdomainname", "b'', 0"),
    "swaps to a file of its own": ("swapon", "b'/penstock-no-such-file', 0"),
    "reads the kernel's log": ("syslog", "3, ctypes.create_string_buffer(64), 64"),
    "keeps accounts of processes": ("acct", "b'/penstock-no-such-file'"),
    "asks for quotas of the machine's disks": ("quotactl", "0x80000700, b'/dev/penstock', 0, None"),
    "lists the keys of the machine's user": ("keyctl", "6, -4, 0"),
    "uses up the keys of the machine's user": ("add_key", "b'user', b'penstock-test', b'x', 1, -4"),
    "asks for a key of the machine's user": ("request_key", "b'user', b'penstock-test', None, -4"),
}

#: What is tried -> the family, type and protocol of a socket.
SOCKETS = {
    "talks to the hypervisor by a vsock": (40, socket.SOCK_STREAM, 0),
    "listens to all packets of the network": (17, socket.SOCK_RAW, 0x0300),
    "makes packets of its own by a raw socket": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "reaches the kernel's cryptography by a socket": (38, socket.SOCK_SEQPACKET, 0),
}

#: Files that steer the machine or tell of it. Opened, not written to: were they open, it would do no harm.
WRITES = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/proc/mtrr",
    "/proc/1/oom_score_adj",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/power/state",
    "/sys/module/kernel/parameters/panic",
    "/sys/devices/system/cpu/cpu0/online",
    "/sys/fs/cgroup/cgroup.procs",
)
READS = (
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/pagetypeinfo",
    "/proc/slabinfo",
    "/proc/vmallocinfo",
    "/sys/kernel/debug/tracing",
    "/sys/kernel/security",
    "/sys/firmware/dmi/tables/DMI",
    "/dev/mem",
    "/dev/kmsg",
)

_CALL = """
    import ctypes, errno, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(NUMBER, ARGUMENTS)
    if result == 0 and "CALL" in ("clone", "clone3"):
        os._exit(0)  # the child
    print("got through" if result != -1 else errno.errorcode[ctypes.get_errno()])
"""

_OPEN = """
    import os, sys
    try:
        os.read(os.open(sys.argv[1], os.O_RDONLY), 9) if sys.argv[2] == "read" else os.open(sys.argv[1], os.O_WRONLY)
    except OSError as error:
        sys.exit(0)
    sys.exit("opened")
"""

#: int 0x80 with the number of getpid, as a 32-bit program has it: mov eax, 20; int 0x80; ret
_OLD_CALL = """
    import ctypes, mmap, signal
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
    print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())
"""


def number_of(name: str) -> int:
    """The number of a call that the filter knows, on this machine.

    Where this architecture has no filter, or no such call, the test is skipped.
    """
    machine = platform.machine()
    (refusal,) = (one for one in seccomp.REFUSALS if one.name == name)
    number = refusal.numbers[("x86_64", "aarch64").index(machine)] if seccomp.program() else None
    if number is None:
        pytest.skip(f"no call {name}, or no filter of calls, on {machine}")
    return number


class KernelAttempts:
    """A program turns to the kernel. Subclasses give a fixture `runtime`."""

    @pytest.mark.parametrize("tried", CALLS)
    def test_call(self, runtime: Runtime, tried: str) -> None:
        name, arguments = CALLS[tried]
        source = _CALL.replace("NUMBER", str(number_of(name))).replace("CALL", name)
        output = python(runtime, source.replace("ARGUMENTS", arguments)).output.decode().strip()
        assert output in ("EPERM", "ENOSYS")

    @pytest.mark.parametrize("tried", SOCKETS)
    def test_socket(self, runtime: Runtime, tried: str) -> None:
        source = """
            import errno, socket, sys
            try:
                socket.socket(*map(int, sys.argv[1:]))
            except OSError as error:
                print(errno.errorcode[error.errno])
        """
        words = map(str, map(int, SOCKETS[tried]))
        assert python(runtime, source, *words).output.decode().strip() in ("EPERM", "EAFNOSUPPORT")

    @pytest.mark.parametrize("path", WRITES)
    def test_writes_a_switch_of_the_machine(self, runtime: Runtime, path: str) -> None:
        assert python(runtime, _OPEN, path, "write") == (0, b"")

    @pytest.mark.parametrize("path", READS)
    def test_reads_what_the_kernel_keeps_for_root(self, runtime: Runtime, path: str) -> None:
        code, output = python(runtime, _OPEN, path, "read")
        # Where something must be there for programs' sake, it is /dev/null.
        assert (code, output) == (0, b"") or self._is_empty(runtime, path)

    def _is_empty(self, runtime: Runtime, path: str) -> bool:
        return python(runtime, f"print(open({path!r}, 'rb').read())").output == b"b''\n"

    def test_changes_the_network_by_netlink(self, runtime: Runtime) -> None:
        """RTM_NEWLINK for an interface that isn't there: who had the right would be told so (ENODEV)."""
        source = """
            import errno, socket, struct
            end = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            link = struct.pack("=BxHiII", 0, 0, 99999, 0, 0)
            end.send(struct.pack("=IHHII", 16 + len(link), 16, 5, 1, 0) + link)
            print(errno.errorcode[-struct.unpack_from("=i", end.recv(999), 16)[0]])
        """
        assert python(runtime, source).output == b"EPERM\n"

    def test_types_into_a_terminal(self, runtime: Runtime) -> None:
        number_of("ioctl")
        source = """
            import fcntl, os, pty, termios
            child, terminal = pty.fork()
            if child:
                os.waitpid(child, 0)
                print(os.read(terminal, 99).decode().strip())
            else:
                try:
                    fcntl.ioctl(0, termios.TIOCSTI, b"x")
                    print("typed", flush=True)
                except PermissionError as error:
                    print(error.errno, flush=True)
                os._exit(0)
        """
        assert python(runtime, source).output == f"{errno.EPERM}\n".encode()

    @pytest.mark.skipif(platform.machine() != "x86_64", reason="32-bit calls of x86")
    def test_calls_the_kernel_as_a_32_bit_program(self, runtime: Runtime) -> None:
        code, output = python(runtime, _OLD_CALL)
        # -ENOSYS, or the signal by which a kernel without such calls answers.
        assert output == f"{-errno.ENOSYS}\n".encode() or code == 128 + 11

    @pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 calls of x86")
    def test_calls_the_kernel_as_an_x32_program(self, runtime: Runtime) -> None:
        source = "import ctypes; print(ctypes.CDLL(None).syscall(0x40000000 | 39))"
        assert python(runtime, source).output == b"-1\n"

    def test_sets_a_file_s_capabilities(self, runtime: Runtime) -> None:
        source = """
            import os, sys
            open("/tmp/x", "w").close()
            rights = (0x02000001).to_bytes(4, "little") + b"\\xff" * 16
            try:
                os.setxattr("/tmp/x", "security.capability", rights)
            except OSError:
                sys.exit(0)
            sys.exit("given")
        """
        assert python(runtime, source) == (0, b"")
