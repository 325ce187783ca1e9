"""The monitor of the unshare runtime: puts itself behind walls and runs a program there.

Executed by its path (`python -I -S walls.py PLAN INFO BLOCK`, three inherited descriptors), so it imports nothing of
ours, and of the standard library only what starts fast. `tree.py` tells what is said over INFO and BLOCK. PLAN is a
`marshal` of the dictionary that `unshare.py` makes, since json alone would take as long to import as all the rest.
"""

# pathlib takes longer to import than all of this to run; stderr is where a monitor says why it gives up.
# ruff: noqa: PTH101, PTH102, PTH103, PTH106, PTH110, PTH112, PTH116, PTH120, PTH123, PTH211, T201

from __future__ import annotations

import ctypes
import marshal
import os
import stat
import sys

TYPE_CHECKING = False  # as in typing, whose import would take as long as starting the interpreter
if TYPE_CHECKING:
    from typing import Any, NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)

# From the kernel's headers; the same on all architectures.
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 1 << 19
_MNT_DETACH = 2
_SYS_MOUNT_SETATTR = 442  # Linux 5.12
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 38, 47
_SECCOMP_MODE_FILTER = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_SIGINT, _SIGKILL, _SIG_SETMASK, _ENOENT = 2, 9, 2, 2
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

_OLD = "/.machine"
_NODES = ("null", "zero", "full", "random", "urandom", "tty")


def main() -> int:
    """Be the monitor: make the namespaces, start process 1 in them, and end as it ends."""
    plan_end, info, block = map(int, sys.argv[1:])
    with open(plan_end, "rb") as file:
        plan: dict[str, Any] = marshal.load(file)  # noqa: S302 - written a moment ago by our parent
    _make_namespaces(plan)
    _die_with_parent()
    if os.getppid() != plan["parent"]:
        return 1  # it died before we asked to die with it
    first = os.fork()
    if not first:
        os.close(info)
        _die_with_parent()
        _be_first(plan, block)
    os.close(block)
    os.write(info, b'{"child-pid": %d}' % first)
    os.close(info)
    return _code(os.waitpid(first, 0)[1])


def _be_first(plan: dict[str, Any], block: int) -> NoReturn:
    """Process 1: build the walls, start the program, reap until it ends. The kernel then ends all the others."""
    try:
        _build(plan)
        _give_up_rights()
        _shield()
        _filter_calls(plan["filter"])
    except OSError as error:
        print(f"penstock: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    if not os.read(block, 1):
        os._exit(1)  # whoever started us is gone
    os.close(block)
    program = os.fork()
    if not program:
        _execute(plan["argv"], plan["environment"])
    while True:
        child, status = os.wait()
        if child == program:
            os._exit(_code(status))


def _make_namespaces(plan: dict[str, Any]) -> None:
    user, group = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID
    flags |= _CLONE_NEWUSER if plan["user"] else 0
    flags |= 0 if plan["network"] else _CLONE_NEWNET
    _call("make namespaces", _LIBC.unshare(flags))
    if plan["user"]:
        _write("/proc/self/setgroups", b"deny")
        _write("/proc/self/uid_map", b"0 %d 1" % user)
        _write("/proc/self/gid_map", b"0 %d 1" % group)


def _die_with_parent() -> None:
    _call("ask to die with the parent", _LIBC.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))


def _build(plan: dict[str, Any]) -> None:
    if not plan["network"]:
        _raise_loopback()
    # First into the new root, then the mounts: so a symbolic link among their targets never leads outside.
    _mount("none", "/", None, _MS_SLAVE | _MS_REC)
    _mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")  # noqa: S108 - any folder would do
    os.chdir("/tmp")  # noqa: S108
    os.mkdir(f".{_OLD}")
    _call("change the root folder", _LIBC.pivot_root(b".", os.fsencode(f".{_OLD}")))
    os.chdir("/")
    _proc(plan)
    _dev()
    for step in plan["steps"]:
        _carry_out(*step)
    _call("leave the machine's files", _LIBC.umount2(os.fsencode(_OLD), _MNT_DETACH))
    os.rmdir(_OLD)
    name = os.fsencode(plan["hostname"])
    _call("set the host's name", _LIBC.sethostname(name, len(name)))
    os.chdir(plan["working_directory"])


def _proc(plan: dict[str, Any]) -> None:
    os.mkdir("/proc")
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if plan["user"]:
        _write(
            "/proc/sys/user/max_user_namespaces", b"0"
        )  # no further ones, in which it would have rights again
    # Process 1 has the program's own user and no more rights: nothing of it is to be seen or changed.
    _mount("tmpfs", "/proc/1", "tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV, "mode=555")
    for name in plan["read_only_in_proc"]:
        if os.path.exists(f"/proc/{name}"):
            _bind(f"/proc/{name}", f"/proc/{name}", _ATTR_RDONLY)
    for name in plan["hidden_in_proc"]:
        if os.path.exists(f"/proc/{name}"):
            _bind(f"{_OLD}/dev/null", f"/proc/{name}", _ATTR_RDONLY)


def _dev() -> None:
    os.mkdir("/dev")
    _mount("tmpfs", "/dev", "tmpfs", _MS_NOSUID, "mode=755")
    for node in _NODES:
        _carry_out("bind", f"/dev/{node}", f"/dev/{node}", _ATTR_NOSUID)
    for name, to in {
        "fd": "self/fd",
        "stdin": "self/fd/0",
        "stdout": "self/fd/1",
        "stderr": "self/fd/2",
    }.items():
        os.symlink(f"/proc/{to}", f"/dev/{name}")
    _folder("/dev/shm", 0o1777)  # noqa: S108 - the program's own
    _folder("/dev/pts", 0o755)
    _mount("devpts", "/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.symlink("pts/ptmx", "/dev/ptmx")


def _carry_out(kind: str, *step: Any) -> None:
    match kind, *step:
        case "folder", path, mode:
            _folder(path, mode)
        case "link", path, to:
            _folder(os.path.dirname(path), 0o755)
            os.symlink(to, path)
        case "file", path, content, mode:
            _folder(os.path.dirname(path), 0o755)
            with open(path, "xb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
        case "copy", source, path, mode:
            try:
                with open(_OLD + source, "rb") as original:
                    content = original.read()
            except OSError:  # gone, or closed to us, since it was looked for: then it is not shown
                return
            _carry_out("file", path, content, mode)
        case "bind", source, path, attributes:
            source = _OLD + source
            if stat.S_ISDIR(os.stat(source).st_mode):
                _folder(path, 0o755)
            elif not os.path.exists(path):
                _folder(os.path.dirname(path), 0o755)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
            _bind(source, path, attributes)
        case "tmpfs", path, size:
            _folder(path, 0o1777)
            _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={size}")
        case "overlay", lower, path, upper:
            _folder(path, 0o755)
            _overlay(_OLD + lower, path, _OLD + upper)
        case _:  # the runner is of another version than this file, which was replaced under it
            raise ValueError(f"no step of these walls: {kind} of {len(step)}")


def _folder(path: str, mode: int) -> None:
    if not os.path.isdir(path):
        os.makedirs(path)
        os.chmod(path, mode)


def _bind(source: str, path: str, attributes: int) -> None:
    """Show `source` at `path` with all that is mounted below it; `attributes` are added to what each has already."""
    _mount(source, path, None, _MS_BIND | _MS_REC)
    attributes |= _ATTR_NOSUID
    request = attributes.to_bytes(8, sys.byteorder) + bytes(24)  # attr_set, attr_clr, propagation, userns_fd
    result = _LIBC.syscall(
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(path),
        _AT_RECURSIVE,
        request,
        ctypes.c_size_t(len(request)),
    )
    _call(f"set the rights of {path} (Linux 5.12 or later can)", result)


def _overlay(lower: str, path: str, upper: str) -> None:
    """Show the folder `lower` at `path`; what is written there lies in `upper`.

    By way of two mounts with plain names, since the options of overlayfs take some characters for separators.
    """
    for name, source in (("/.lower", lower), ("/.upper", upper)):
        os.mkdir(name)
        _mount(source, name, None, _MS_BIND | _MS_REC)
    # userxattr: without rights over the machine. volatile: nobody waits for the disk, since `upper` is of no use later.
    options = "lowerdir=/.lower,upperdir=/.upper/files,workdir=/.upper/work,userxattr,volatile"
    _mount("overlay", path, "overlay", _MS_NOSUID | _MS_NODEV, options)
    for name in ("/.lower", "/.upper"):
        _call(f"take {name} away", _LIBC.umount2(os.fsencode(name), _MNT_DETACH))
        os.rmdir(name)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = [os.fsencode(text) if text is not None else None for text in (source, target, kind, data)]
    result = _LIBC.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3])
    _call(f"mount {source.removeprefix(_OLD)} at {target}", result)


def _raise_loopback() -> None:
    # _socket: the whole of socket takes longer to import than all of this to run.
    import _socket  # noqa: PLC0415 - seldom needed
    import fcntl  # noqa: PLC0415

    end = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    fcntl.ioctl(
        end.fileno(), _SIOCSIFFLAGS, b"lo".ljust(16, b"\0") + _IFF_UP.to_bytes(2, sys.byteorder) + bytes(22)
    )
    end.close()


def _give_up_rights() -> None:
    """Drop every capability for good, also from what a program executed as user 0 would gain."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        last = int(file.read())
    for capability in range(last + 1):
        _call("drop a capability", _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))
    _call("drop ambient capabilities", _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    header = _CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
    _call("drop capabilities", _LIBC.capset(header, bytes(24)))
    _call("refuse new privileges", _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _shield() -> None:
    """Keep the program, which has the same user and rights, from stopping, reading or interrupting process 1."""
    _call("close process 1 to others", _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    _LIBC.signal(
        _SIGINT, None
    )  # Python's own handler; without one, process 1 hears nobody within its namespace


def _filter_calls(program: bytes | None) -> None:
    """Refuse the system calls of `seccomp.py` from here on."""
    if program is None:
        return
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are, aligned as a pointer is
    filter_ = (ctypes.c_size_t * 2)(len(program) // 8, ctypes.addressof(code))
    _call("filter system calls", _LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filter_, 0, 0))


def _execute(argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the program: a session of its own, every signal at its default and none held back."""
    os.setsid()
    for number in range(1, 65):
        _LIBC.signal(number, None)  # refused for SIGKILL and a few more, as it should be
    _LIBC.sigprocmask(_SIG_SETMASK, bytes(128), None)
    os.environ.clear()
    os.environ.update(environment)
    arguments = [os.fsencode(argument) for argument in argv]
    # The C library's, which looks through the program's own PATH and gives a script without #! to the shell.
    _LIBC.execvp(arguments[0], (ctypes.c_char_p * (len(arguments) + 1))(*arguments))
    error = ctypes.get_errno()
    print(f"penstock: {argv[0]}: {os.strerror(error)}", file=sys.stderr, flush=True)
    os._exit(127 if error == _ENOENT else 126)  # as a shell has it


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _write(path: str, text: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text)


def _call(what: str, result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"can't {what}: {os.strerror(number)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"penstock: {error}")
