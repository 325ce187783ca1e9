"""The second part of the conformance suite for runtimes: what a program gets, and what becomes of its process tree."""

# The tests' names say what they hold; the scratch folders are the program's own.
# ruff: noqa: D102, S108

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.runtimes.base import Mount, Running, Runtime
from penstock.testing.runners import runner_of
from penstock.testing.runtimes import PATIENCE, Act, LifeSuite
from penstock.testing.scripts import PATH, Outcome, python, run, script, sh

_ACT = """
    import os, signal, sys
    said, code, on_terminate = bytes.fromhex(sys.argv[1]), *map(eval, sys.argv[2:4])
    if on_terminate is None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif on_terminate != 143:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(on_terminate))
    os.write(1, said)
    if code is not None:
        os._exit(code)
    while True:
        signal.pause()
"""

_ESCAPE = """
    import os, signal, sys
    for how in range(int(sys.argv[1])):
        if not os.fork():
            os.setsid()
            if how % 2 and os.fork():
                os._exit(0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(1, b"x")
            while True:
                signal.pause()
"""


class ProgramSuite(LifeSuite):
    """Real programs. Subclasses give a fixture `runtime`."""

    added_variables: ClassVar[frozenset[str]] = frozenset()
    """What a program finds set beside its own variables, since an engine sets it whoever is asked."""
    not_text: ClassVar[str] = os.fsdecode(b"\xff")
    """Bytes that are no text, in a word or value; empty where an engine takes text alone, as AWS's API does."""

    def play(self, runtime: Runtime, act: Act, output: int) -> Running:
        """By a real program."""
        words = (act.prints.hex(), str(act.exit_code), str(act.on_terminate))
        return runtime.start(script(_ACT, *words), output)

    # What it gets ---------------------------------------------------------------------------------------------------

    def test_argv_is_exact(self, runtime: Runtime) -> None:
        words = ("", " a b ", "new\nline", "ä€", "--", "$HOME", "x=y", self.not_text)
        said = json.loads(python(runtime, "import json, sys; print(json.dumps(sys.argv[1:]))", *words).output)
        assert tuple(said) == words

    def test_environment_is_exact(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OF_THE_RUNNER", "x")
        given = {"PATH": PATH, "EMPTY": "", "LINES": "a\nb=c", "UMLAUT": "ü", "_under_": self.not_text}
        said = run(runtime, "/bin/cat", "/proc/self/environ", environment=given).output
        found = dict(line.split(b"=", 1) for line in said.split(b"\0")[:-1])
        wanted = {os.fsencode(name): os.fsencode(value) for name, value in given.items()}
        assert {name: found.get(name) for name in wanted} == wanted
        assert {os.fsdecode(name) for name in found.keys() - wanted.keys()} <= self.added_variables

    def test_values_of_the_environment_stand_in_no_argv(self, runtime: Runtime) -> None:
        secret, marker = os.urandom(8).hex(), os.urandom(8).hex()
        words = (b"ready".hex(), "None", "143", marker)
        with self.playing_script(runtime, _ACT, *words, environment={"KEY": secret}) as (_, output):
            _read_exactly(output, 5)
            assert _alive(marker)
            assert not _alive(secret)

    def test_an_environment_that_cannot_be_is_refused(self, runtime: Runtime) -> None:
        with pytest.raises(JobFailure, match="A=B"):
            run(runtime, "/bin/true", environment={"A=B": "c"})

    @pytest.mark.parametrize("folder", ["/", "/opt/ml/code", "/made/for/it"])
    def test_working_directory(self, runtime: Runtime, folder: str) -> None:
        assert (
            python(runtime, "import os; print(os.getcwd())", working_directory=folder).output
            == f"{folder}\n".encode()
        )

    def test_hostname_and_hosts_resolve(self, runtime: Runtime) -> None:
        source = "import socket as s; print(s.gethostname(), *map(s.gethostbyname, ['algo-1', 'algo-2', 'localhost']))"
        said = python(
            runtime, source, hostname="algo-1", hosts={"algo-1": "127.0.0.7", "algo-2": "10.0.0.9"}
        ).output
        assert said.split() == [b"algo-1", b"127.0.0.7", b"10.0.0.9", b"127.0.0.1"]

    def test_own_name_resolves_without_being_listed(self, runtime: Runtime) -> None:
        said = python(
            runtime, "import socket as s; print(s.gethostbyname(s.gethostname()))", network=False
        ).output
        assert said == b"127.0.0.1\n"

    def test_it_is_root_with_a_home_of_its_own(self, runtime: Runtime) -> None:
        source = "import os, pwd; print(os.getuid(), os.getgid(), pwd.getpwuid(0)[0], os.listdir('/root'))"
        assert python(runtime, source) == (0, b"0 0 root []\n")

    def test_it_is_not_process_1(self, runtime: Runtime) -> None:
        assert python(runtime, "import os; print(os.getpid() > 1)").output == b"True\n"

    def test_stdin_is_empty(self, runtime: Runtime) -> None:
        assert python(runtime, "import sys; print(sys.stdin.buffer.read())").output == b"b''\n"

    def test_umask_and_signals_are_as_after_login(self, runtime: Runtime) -> None:
        old = os.umask(0o077)
        try:
            umask, blocked, ignored = sh(
                runtime, "umask; grep -E 'SigBlk|SigIgn' /proc/self/status"
            ).output.splitlines()
        finally:
            os.umask(old)
        assert (umask, int(blocked.split()[1], 16)) == (b"0022", 0)
        assert not int(ignored.split()[1], 16) & 1 << signal.SIGPIPE - 1, (
            "Python ignores SIGPIPE, programs must not"
        )

    @pytest.mark.parametrize(
        "folder", ["/", "/tmp", "/var/tmp", "/run", "/root", "/home", "/mnt", "/dev/shm", "/opt"]
    )
    def test_scratch_folders_are_writable(self, runtime: Runtime, folder: str) -> None:
        assert run(runtime, "/usr/bin/touch", f"{folder}/x") == (0, b"")

    # Mounts ---------------------------------------------------------------------------------------------------------

    def test_a_writable_mount_is_the_machines_folder(self, runtime: Runtime, tmp_path: Path) -> None:
        (tmp_path / "in").write_text("hello")
        mounts = (Mount(tmp_path, "/opt/ml", writable=True),)
        assert sh(runtime, "cat /opt/ml/in; echo bye > /opt/ml/out", mounts=mounts) == (0, b"hello")
        assert (tmp_path / "out").read_text() == "bye\n"

    def test_what_it_writes_belongs_to_whoever_started_it(self, runtime: Runtime, tmp_path: Path) -> None:
        mounts = (Mount(tmp_path, "/opt/ml", writable=True),)
        words = "mkdir -p /opt/ml/a/b; echo x > /opt/ml/a/b/c; chmod 0 /opt/ml/a/b/c"
        assert sh(runtime, words, mounts=mounts) == (0, b"")
        assert {path.lstat().st_uid for path in tmp_path.rglob("*")} == {os.geteuid()}

    def test_a_fifo_in_a_mount_is_the_machines(self, runtime: Runtime, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        # Daemon: where the walls shut the FIFO off, nobody ever opens it.
        feeder = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(b"through",), daemon=True)
        feeder.start()
        mounts = (Mount(tmp_path, "/opt/ml", writable=True),)
        assert sh(runtime, "cat /opt/ml/fifo", mounts=mounts) == (0, b"through")
        feeder.join()

    def test_a_mount_is_read_only_unless_said(self, runtime: Runtime, tmp_path: Path) -> None:
        code, output = sh(runtime, "echo x > /opt/ml/x", mounts=(Mount(tmp_path, "/opt/ml"),))
        assert (code, list(tmp_path.iterdir())) == (2, [])
        assert b"Read-only file system" in output

    def test_mounts_nest_in_the_order_given(self, runtime: Runtime, tmp_path: Path) -> None:
        for name in ("outer", "inner", "innermost"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "name").write_text(name)
        (tmp_path / "inner" / "deep").mkdir()
        mounts = (
            Mount(tmp_path / "outer", "/opt/ml", writable=True),
            Mount(tmp_path / "inner", "/opt/ml/input/data"),
            Mount(tmp_path / "innermost", "/opt/ml/input/data/deep", writable=True),
        )
        words = "cd /opt/ml; cat name input/data/name input/data/deep/name; "
        words += "echo > a; echo > input/data/deep/b; echo > input/data/c"
        code, output = sh(runtime, words, mounts=mounts)
        assert (code, output.startswith(b"outerinnerinnermost")) == (2, True)
        assert (tmp_path / "outer" / "a").exists()
        assert (tmp_path / "innermost" / "b").exists()
        assert not (tmp_path / "inner" / "c").exists()

    def test_a_file_can_be_mounted(self, runtime: Runtime, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("content")
        mounts = (Mount(tmp_path / "file", "/root/some/where/file"),)
        assert sh(runtime, "cat /root/some/where/file; ls -A /root", mounts=mounts).output == b"contentsome\n"

    def test_a_missing_source_is_named(self, runtime: Runtime, tmp_path: Path) -> None:
        with pytest.raises(InternalFailure, match="not-there"):
            run(runtime, "/bin/true", mounts=(Mount(tmp_path / "not-there", "/opt/ml"),))

    def test_a_mount_that_cannot_be_made_fails_the_start(self, runtime: Runtime, tmp_path: Path) -> None:
        with pytest.raises(InternalFailure):
            run(runtime, "/bin/true", mounts=(Mount(tmp_path, "/etc/passwd/was/here"),))

    def test_a_link_in_a_mount_does_not_lead_the_next_one_outside(
        self, runtime: Runtime, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "ml").mkdir()
        (tmp_path / "ml" / "link").symlink_to(tmp_path / "outside")
        mounts = (Mount(tmp_path / "ml", "/opt/ml", writable=True), Mount(Path("/usr"), "/opt/ml/link/below"))
        with suppress(JobFailure):  # refused or put inside, both are well
            run(runtime, "/bin/true", mounts=mounts)
        assert list((tmp_path / "outside").iterdir()) == []

    # Its end --------------------------------------------------------------------------------------------------------

    def test_a_signal_gives_128_and_its_number(self, runtime: Runtime) -> None:
        assert sh(runtime, "kill -SEGV $$").code == 128 + signal.SIGSEGV

    def test_a_program_that_is_not_there(self, runtime: Runtime) -> None:
        _assert_cannot_be_executed(runtime, "no-such-program", 127)

    def test_a_program_that_is_not_executable(self, runtime: Runtime) -> None:
        _assert_cannot_be_executed(runtime, "/etc/passwd", 126)

    def test_a_name_with_an_equals_sign_is_a_program(self, runtime: Runtime, tmp_path: Path) -> None:
        (tmp_path / "a=b").write_text('#!/bin/sh\necho "$@"\n')
        (tmp_path / "a=b").chmod(0o755)
        mounts = (Mount(tmp_path, "/opt/x=y"),)
        assert run(runtime, "/opt/x=y/a=b", "c=d", mounts=mounts) == (0, b"c=d\n")

    def test_much_output_through_a_pipe(self, runtime: Runtime) -> None:
        source = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 20_000)"
        reading, writing = os.pipe()
        running = runtime.start(script(source), writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            assert file.read() == bytes(range(256)) * 20_000
        assert running.wait(PATIENCE) == 0

    def test_stderr_and_stdout_keep_their_order(self, runtime: Runtime) -> None:
        assert sh(runtime, "echo 1; echo 2 >&2; echo 3; echo 4 >&2").output == b"1\n2\n3\n4\n"

    # Its tree -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("number", [2, 200])
    def test_kill_ends_the_whole_tree(self, runtime: Runtime, number: int) -> None:
        marker = os.urandom(8).hex()
        with self.playing_script(runtime, _ESCAPE + "    signal.pause()", str(number), marker) as (
            running,
            output,
        ):
            _read_exactly(output, number)
            assert _alive(marker)
            running.kill()
            assert running.wait(PATIENCE) == 137
            assert not _alive(marker)

    def test_nothing_is_left_when_the_program_has_ended(self, runtime: Runtime) -> None:
        marker = os.urandom(8).hex()
        last = "    os._exit(9)"
        with self.playing_script(runtime, _ESCAPE + last, "20", marker) as (running, _):
            assert running.wait(PATIENCE) == 9
            assert not _alive(marker)

    def test_terminate_reaches_the_program_alone(self, runtime: Runtime) -> None:
        source = """
            import os, signal, sys
            reading, writing = os.pipe()
            if not os.fork():
                signal.signal(signal.SIGTERM, lambda *_: os.write(writing, b"child got it"))
                os.write(1, b"ready")
                while True:
                    signal.pause()
            def on_terminate(*_):
                os.set_blocking(reading, False)
                try:
                    os._exit(len(os.read(reading, 99)))
                except BlockingIOError:
                    os._exit(33)
            signal.signal(signal.SIGTERM, on_terminate)
            while True:
                signal.pause()
        """
        with self.playing_script(runtime, source) as (running, output):
            _read_exactly(output, 5)
            running.terminate()
            assert running.wait(PATIENCE) == 33

    def test_terminate_is_not_misled_by_an_odd_name(self, runtime: Runtime) -> None:
        """A process may call itself by any bytes, also ones that are no text."""
        source = """
            import os, signal
            with open("/proc/self/comm", "wb") as name:
                name.write(b"\\xff\\r\\x85PPid: 1")
            os.write(1, b"ready")
            while True:
                signal.pause()
        """
        with self.playing_script(runtime, source) as (running, output):
            _read_exactly(output, 5)
            running.terminate()
            assert running.wait(PATIENCE) == 128 + signal.SIGTERM

    def test_the_tree_dies_with_its_runner(self, runtime: Runtime) -> None:
        marker = os.urandom(8).hex()
        program = script(_ESCAPE + "    signal.pause()", "3", marker)
        with runner_of(runtime, program) as (runner, output):
            assert output.read(3) == b"xxx"
            assert _alive(marker)
            runner.kill()
            assert output.read() == b""  # to the end, which comes when nobody is left who could write
        _wait_until_gone(marker)

    def test_two_at_once_never_meet(self, runtime: Runtime, tmp_path: Path) -> None:
        source = """
            import os, sys
            open("/tmp/mine", "x"), open("/dev/shm/mine", "x"), open("/opt/ml/mine", "x")
            print(os.uname().nodename, len([p for p in os.listdir("/proc") if p.isdigit()]), flush=True)
            import signal; signal.pause()
        """
        said = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        mounts_of = [(Mount(tmp_path / name, "/opt/ml", writable=True),) for name in ("one", "two")]
        with (
            self.playing_script(runtime, source, hostname="one", mounts=mounts_of[0]) as (_, first),
            self.playing_script(runtime, source, hostname="two", mounts=mounts_of[1]) as (_, second),
        ):
            said = [os.read(first, 99).split(), os.read(second, 99).split()]
        assert [words[0] for words in said] == [b"one", b"two"]
        assert all(int(words[1]) <= 3 for words in said)

    def test_starts_from_many_threads(self, runtime: Runtime) -> None:
        outcomes: list[Outcome] = []
        threads = [threading.Thread(target=lambda: outcomes.append(sh(runtime, "exit 6"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert outcomes == [(6, b"")] * 8

    @contextmanager
    def playing_script(
        self, runtime: Runtime, source: str, *words: str, **program: Any
    ) -> Iterator[tuple[Running, int]]:
        """A Python program that runs, and the reading end of its output. Nothing of it is left afterwards."""
        reading, writing = os.pipe()
        running = runtime.start(script(source, *words, **program), writing)
        os.close(writing)
        try:
            yield running, reading
        finally:
            running.kill()
            running.wait(PATIENCE)
            os.close(reading)


def _assert_cannot_be_executed(runtime: Runtime, name: str, code: int) -> None:
    refusal = ""
    try:
        outcome = run(runtime, name)
    except ClientFailure as failure:  # it may be known before anything runs
        outcome, refusal = Outcome(code, b""), str(failure)
    assert outcome.code == code
    assert name in refusal + outcome.output.decode()


def _read_exactly(output: int, number: int) -> None:
    while number > 0:
        chunk = os.read(output, number)
        assert chunk, "the program ended too early"
        number -= len(chunk)


def _alive(marker: str) -> bool:
    return any(marker.encode() in _read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))


def _wait_until_gone(marker: str) -> None:
    """Who dies by the kernel's hand is gone at once; an engine has to be asked first, and says nothing when done."""
    deadline = time.monotonic() + PATIENCE
    while _alive(marker):
        assert time.monotonic() < deadline, "it outlived its runner"
        time.sleep(0.01)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""  # ended meanwhile
