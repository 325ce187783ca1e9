import os
import subprocess
import sys
import threading

import pytest

from penstock.errors import InternalFailure
from penstock.runtimes import limits, watch
from penstock.runtimes.base import Limits
from penstock.runtimes.groups import Nest
from penstock.runtimes.limits import Keeper, report
from penstock.runtimes.watch import Watch

MIB = 1 << 20


@pytest.fixture
def no_groups(monkeypatch):
    monkeypatch.setattr(limits, "nests", list)


class TestKeeper:
    def test_groups_that_are_asked_for_and_are_not_there(self, no_groups):
        with pytest.raises(InternalFailure, match=r"PENSTOCK_LIMITS=cgroup.*auto or watch"):
            Keeper(Limits(memory=MIB), "cgroup")

    def test_auto_does_without(self, no_groups):
        keeper = Keeper(Limits(memory=MIB), "auto")
        assert keeper.exceeded() == set()
        keeper.close()

    @pytest.mark.parametrize(
        ("given", "file"),
        [
            (Limits(memory=MIB), r"memory\.max"),
            (Limits(cpus=tuple(os.sched_getaffinity(0))), r"cgroup\.procs"),  # of all, which changes nothing
        ],
    )
    def test_groups_that_fail_fail_a_start_only_where_they_are_asked_for(
        self, tmp_path, monkeypatch, given, file
    ):
        nest = Nest(tmp_path / "penstock", True, frozenset({"memory"}), tmp_path)
        nest.folder.mkdir()  # not the kernel's: there is nothing to be written to in its inner folders
        (nest.folder / "cgroup.subtree_control").touch()
        monkeypatch.setattr(limits, "nests", lambda: [nest])

        def start(means):
            keeper = Keeper(given, means)
            try:
                keeper.admit(os.getpid())
            finally:
                keeper.close()
            return keeper.notes

        with pytest.raises(InternalFailure, match=file + ".*PENSTOCK_LIMITS=watch"):
            start("cgroup")
        with monkeypatch.context() as patch:
            patch.setattr(limits, "_FIRST_TO_GO", "0")  # the process is that of the tests
            (note,) = start("auto")
        assert note.startswith("The program's limits are kept less strictly: No control group")
        assert [path for path in nest.folder.iterdir() if path.is_dir()] == []

    def test_no_limit_makes_no_group(self, tmp_path, monkeypatch):
        nest = Nest(tmp_path / "penstock", False, frozenset({"memory"}), tmp_path)
        monkeypatch.setattr(limits, "nests", lambda: [nest])
        Keeper(Limits(gpus=(), shared_memory=MIB), "cgroup").close()
        Keeper(Limits(memory=MIB), "off").close()
        assert not nest.folder.exists()

    def test_a_process_is_limited_from_outside(self, no_groups):
        cpu = min(os.sched_getaffinity(0))
        source = (
            "import os, resource, sys; sys.stdin.read(); print(os.sched_getaffinity(0), "
            "resource.getrlimit(resource.RLIMIT_NPROC), open('/proc/self/oom_score_adj').read().strip())"
        )
        with subprocess.Popen(
            [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            keeper = Keeper(Limits(cpus=(cpu,), memory=1 << 40, processes=77), "watch")
            keeper.admit(process.pid)
            assert process.communicate()[0] == f"{{{cpu}}} (78, 78) 500\n"
            keeper.close()


class TestReport:
    def nest(self, tmp_path, *controllers, unified=True):
        return Nest(tmp_path / "penstock", unified, frozenset(controllers), tmp_path)

    def test_all_by_groups_is_well(self, tmp_path, monkeypatch):
        monkeypatch.setattr(limits, "nests", lambda: [self.nest(tmp_path, "memory", "cpu", "pids")])
        told = report("auto")
        assert (told.enforced, told.fix) == (True, None)
        assert told.detail.startswith("memory, processors, processes by control groups (version 2)")

    def test_what_is_not_delegated_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(limits, "nests", lambda: [self.nest(tmp_path, "memory", "pids", unified=False)])
        told = report("auto")
        assert not told.enforced
        assert "(version 1)" in told.detail
        assert "not delegated: processors" in told.detail
        assert told.fix

    @pytest.mark.parametrize("means", ["auto", "cgroup"])
    def test_without_groups_there_is_a_remedy(self, no_groups, means):
        told = report(means)
        assert not told.enforced
        assert "no control group" in told.detail
        assert told.fix

    @pytest.mark.parametrize("means", ["watch", "off"])
    def test_what_was_chosen_needs_none(self, means):
        told = report(means)
        assert (told.enforced, told.fix) == (False, None)
        assert f"PENSTOCK_LIMITS={means}" in told.detail


class TestWatch:
    """Folders that stand in for those of a program's /proc."""

    @pytest.fixture
    def root(self, tmp_path, monkeypatch):
        (tmp_path / "proc").mkdir()
        self.files = 0
        monkeypatch.setattr(watch, "in_memory", lambda _: self.files)
        return tmp_path

    def process(self, root, number, *, anon=0, shmem=0, swap=0, threads=1, parts=None):
        folder = root / "proc" / str(number)
        folder.mkdir()
        status = f"Name:\tx\nRssAnon:\t{anon} kB\nRssFile:\t999999 kB\nRssShmem:\t{shmem} kB\nVmSwap:\t{swap} kB\nThreads:\t{threads}\n"
        (folder / "status").write_text(status)
        if parts is not None:
            names = dict(zip(("Pss_Anon", "Pss_Shmem", "SwapPss"), parts, strict=True))
            (folder / "smaps_rollup").write_text("".join(f"{k}: {v} kB\n" for k, v in names.items()))

    def look(self, root, monkeypatch, **given):
        monkeypatch.setattr(Watch, "_look_on", lambda _: None)
        reading, writing = os.pipe()
        ended = []
        watching = Watch(lambda: 1, reading, Limits(**given), lambda: ended.append(1))
        watching._root = root
        pause = watching._look()
        for end in (reading, writing, watching._handle):
            os.close(end)
        return pause, bool(ended), watching.exceeded

    def test_all_processes_and_files_count(self, root, monkeypatch):
        self.process(root, 4, anon=100)
        self.process(root, 2, anon=100, swap=24, parts=(100, 0, 24))
        (root / "proc" / "self").mkdir()
        self.files = 800 * 1024
        assert self.look(root, monkeypatch, memory=MIB)[1:] == (False, set())
        self.files += 1
        self.process(root, 3, parts=(100, 0, 0))
        assert self.look(root, monkeypatch, memory=MIB)[1:] == (True, {"memory"})

    def test_shared_pages_are_divided_before_anybody_is_ended(self, root, monkeypatch):
        for number in (2, 3, 4):
            self.process(root, number, anon=900, parts=(300, 0, 0))
        assert self.look(root, monkeypatch, memory=MIB)[1:] == (False, set())

    def test_what_lies_in_files_in_memory_is_not_counted_again_as_mapped(self, root, monkeypatch):
        self.process(root, 4, shmem=700)
        self.files = 700 * 1024
        assert self.look(root, monkeypatch, memory=MIB)[1:] == (False, set())

    def test_the_nearer_the_limit_the_sooner_the_next_look(self, root, monkeypatch):
        self.process(root, 4, anon=1000)
        assert self.look(root, monkeypatch, memory=MIB)[0] == pytest.approx(0.01)
        assert self.look(root, monkeypatch, memory=1 << 30)[0] == pytest.approx(0.125, rel=0.01)
        assert self.look(root, monkeypatch, memory=1 << 40)[0] == pytest.approx(0.25)

    def test_threads_count_as_processes(self, root, monkeypatch):
        self.process(root, 1, threads=9)  # not the program's
        self.process(root, 2, threads=5)
        assert self.look(root, monkeypatch, processes=7)[1:] == (False, set())
        assert self.look(root, monkeypatch, processes=5)[1:] == (False, {"processes"})
        assert self.look(root, monkeypatch, processes=4)[1:] == (True, {"processes"})

    def test_a_process_whose_first_thread_has_ended_counts(self, root, monkeypatch):
        self.process(root, 2)
        status = root / "proc/2/status"
        full = status.read_text().replace("RssAnon:\t0", "RssAnon:\t2048")
        status.write_text("Name:\tx\nState:\tZ (zombie)\nThreads:\t2\n")
        for thread, text in (("2", status.read_text()), ("3", full)):
            (root / "proc/2/task" / thread).mkdir(parents=True)
            (root / "proc/2/task" / thread / "status").write_text(text)
        assert self.look(root, monkeypatch, memory=MIB)[1:] == (True, {"memory"})

    def test_it_ends_with_its_process(self):
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
            handle = os.pidfd_open(process.pid)
            watching = Watch(lambda: process.pid, handle, Limits(memory=1 << 50), process.kill)
            os.close(handle)
            assert watching._thread in threading.enumerate()
            process.stdin.close()
            watching.join()
        assert watching.exceeded == set()
