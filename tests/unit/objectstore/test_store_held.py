"""A lock that lives as long as its process."""

import subprocess
import sys
from contextlib import contextmanager

from penstock.objectstore.held import _has_open, end_holders, held, try_lock

STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); sys.stdin.read()"
)
DOCILE = "import sys; print(flush=True); sys.stdin.read()"


@contextmanager
def holder(file, program):
    with try_lock(file) as lock:
        assert lock is not None
        process = subprocess.Popen(
            [sys.executable, "-c", program], pass_fds=[lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    with process:
        process.stdout.readline()  # it has begun
        try:
            yield process
        finally:
            process.kill()


def test_nobody_holds_what_does_not_exist(tmp_path):
    assert not held(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
    end_holders(tmp_path / "lock", 1)


def test_it_is_free_after_the_block_that_took_it(tmp_path):
    with try_lock(tmp_path / "lock") as first, try_lock(tmp_path / "lock") as second:
        assert first is not None
        assert second is None
        assert held(tmp_path / "lock")
    assert not held(tmp_path / "lock")
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_process_that_inherited_it_holds_it_until_its_end(tmp_path):
    with holder(tmp_path / "lock", DOCILE) as process:
        assert held(tmp_path / "lock")
        process.kill()
        process.wait()
        assert not held(tmp_path / "lock")


def test_the_holder_is_ended_and_not_one_of_the_same_name_elsewhere(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with holder(tmp_path / "a" / "lock", DOCILE) as a, holder(tmp_path / "b" / "lock", DOCILE) as b:
        end_holders(tmp_path / "a" / "lock", 30)
        assert a.wait() == -15
        assert b.poll() is None
        assert held(tmp_path / "b" / "lock")


def test_one_that_does_not_listen_is_killed(tmp_path):
    with holder(tmp_path / "lock", STUBBORN) as process:
        end_holders(tmp_path / "lock", 0.05)
        assert process.wait() == -9


def test_a_descriptor_that_vanishes_does_not_hide_the_others(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / "fd").mkdir()
    (tmp_path / "fd" / "0").touch()  # can't be read as a link, as one that was closed after it was listed
    assert not _has_open(tmp_path, tmp_path / "lock")
    (tmp_path / "fd" / "7").symlink_to(tmp_path / "lock")
    assert _has_open(tmp_path, tmp_path / "lock")
