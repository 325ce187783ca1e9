"""The quota of a volume: what counts, and when the run's folder is walked."""

import os
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from penstock.data.inputs import Fetched
from penstock.runner import volume as module
from penstock.runner.folder import RunFolder
from penstock.runner.volume import Volume
from penstock.testing.fake_runtime import FakeRuntime

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "run")
    for place in (run.ml, run.scratch, run.layer):
        place.mkdir(parents=True)
    return run


def write(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return path


def fetched(size, path, mount=None, *, local=False):
    return Fetched("x", "s3://b/k", 1, None if local else size, 0.0, path, mount, local)


class TestMeasure:
    def measured(self, folder, *mounted):
        volume = Volume(1, folder, mounted)
        volume.leave_out(mounted)
        return volume.measure()

    def test_all_that_the_program_writes_counts(self, folder):
        write(folder.ml / "processing/out/a", MIB)
        write(folder.scratch / "b", 2 * MIB)
        write(folder.layer / "lib/c", MIB)
        write(folder.log, 9 * MIB)  # the runner's own
        usage = self.measured(folder)
        assert 4 * MIB <= usage.bytes < 4.1 * MIB
        assert (usage.largest, usage.largest_bytes) == ("/tmp/b", 2 * MIB)

    def test_an_input_of_s3_counts_wherever_it_lies_and_a_local_one_never(self, folder):
        write(folder.uppers / "1/files/changed", MIB)
        shared = fetched(3 * MIB, "/opt/ml/processing/in", "/cache/x")
        local = fetched(0, "/opt/ml/processing/local/", "/data", local=True)
        usage = self.measured(folder, shared, local)
        assert 4 * MIB <= usage.bytes < 4.1 * MIB
        assert usage.largest == "/opt/ml/processing/local/changed"

    def test_a_sparse_file_counts_with_what_it_takes_and_a_linked_one_once(self, folder):
        with (folder.scratch / "sparse").open("wb") as file:
            os.truncate(file.fileno(), 1 << 40)
        one = write(folder.scratch / "one", MIB)
        os.link(one, folder.ml / "other")
        assert MIB <= self.measured(folder).bytes < 1.1 * MIB

    def test_a_folder_of_many_small_files_is_named(self, folder):
        for number in range(40):
            write(folder.scratch / f"many/{number}", 50_000)
        write(folder.scratch / "one", 200_000)
        usage = self.measured(folder)
        assert usage.largest == "/tmp/many"
        assert usage.largest_bytes >= 40 * 50_000

    def test_a_name_that_can_not_be_shown_is_told_by_its_numbers(self, folder):
        (folder.scratch / os.fsdecode(b"a\xff\n")).write_bytes(b"x")
        usage = self.measured(folder)
        reason = Volume(1, folder, ())._exceeded(usage).reason
        assert "The largest is /tmp/a\\udcff\\n with " in reason

    def test_no_link_is_followed(self, folder, tmp_path):
        write(tmp_path / "outside/big", 5 * MIB)
        (folder.scratch / "link").symlink_to(tmp_path / "outside")
        folder.ml.rmdir()
        folder.ml.symlink_to(tmp_path / "outside")
        assert self.measured(folder).bytes < MIB

    def test_a_deleted_file_that_a_process_holds_counts(self, folder):
        program = (
            "import os, sys\nfile = open(sys.argv[1], 'wb')\nos.posix_fallocate(file.fileno(), 0, 3 << 20)\n"
            "os.unlink(sys.argv[1])\nprint('ready', flush=True)\nsys.stdin.read()\n"
        )
        command = [sys.executable, "-c", program, str(folder.scratch / "gone")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            usage = self.measured(folder)
            process.stdin.close()
        assert 3 * MIB <= usage.bytes < 3.1 * MIB
        assert usage.largest.endswith("gone (deleted, but held open)")


class TestWatch:
    @pytest.fixture
    def started(self, folder, monkeypatch):
        """A watched program: the volume, what runs, and the walks that were made."""
        monkeypatch.setattr(module, "GIB", MIB)  # a volume of one is one MiB
        walks = threading.Semaphore(0)
        with ExitStack() as stack:

            def start(*inputs):
                volume = Volume(1, folder, inputs)
                measure = volume.measure
                monkeypatch.setattr(volume, "measure", lambda: (measure(), walks.release())[0])
                with open(os.devnull, "wb") as null:
                    running = FakeRuntime(exit_code=None).start(None, null.fileno())
                thread = threading.Thread(target=volume.watch, args=(running,))
                stack.callback(thread.join)
                stack.callback(running.end, 0)
                thread.start()
                return volume, running, walks

            yield start

    def test_a_program_that_writes_too_much_is_killed(self, started, folder):
        volume, running, _ = started()
        write(folder.scratch / "big", 2 * MIB)
        assert running.wait(20) == 137
        assert "VolumeSizeInGB is 1. The largest is /tmp/big with 2.0 MiB." in str(volume.failure)

    def test_what_others_write_is_looked_at_and_not_punished(self, started, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "_SHORTEST", 0.001)
        volume, running, walks = started()
        write(tmp_path / "others", 2 * MIB)
        assert walks.acquire(timeout=20)
        assert volume.failure is None
        assert running.wait(0) is None

    def test_what_others_free_hides_nothing_for_long(self, started, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "_NOW_AND_THEN", 0.05)
        others = write(tmp_path / "others", 2 * MIB)
        _, running, _ = started()
        others.unlink()
        write(folder.scratch / "big", 2 * MIB)
        assert running.wait(20) == 137

    def test_a_small_job_is_never_walked_through(self, started, folder):
        _, running, walks = started()
        running.end(0)
        assert not walks.acquire(blocking=False)

    def test_inputs_are_part_of_it(self, started, folder):
        volume, running, _ = started(fetched(MIB, "/opt/ml/processing/in", "/cache/x"))
        volume.leave_out([fetched(MIB, "/opt/ml/processing/in", "/cache/x")])
        write(folder.scratch / "little", MIB // 2)
        assert running.wait(20) == 137
        assert "1.0 MiB of them inputs" in str(volume.failure)
