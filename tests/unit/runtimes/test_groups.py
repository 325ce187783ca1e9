"""Control groups as files in a folder that stands in for the kernel's; tests/machine has the kernel's own."""

import os
from pathlib import Path

import pytest

from penstock.cgroups import Place
from penstock.errors import InternalFailure
from penstock.runtimes import groups
from penstock.runtimes.base import Limits
from penstock.runtimes.groups import Groups, Nest, end, nests

LIMITS = Limits(cpus=(0, 2), memory=1 << 30, processes=100)

V1 = (
    "tasks",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.swappiness",
    "memory.oom_control",
)
V2 = ("cgroup.procs", "memory.max", "memory.swap.max", "memory.events", "cpu.max", "pids.max", "pids.events")


def folder_with(path, files, **content):
    path.mkdir(parents=True, exist_ok=True)
    for name in files:
        (path / name).write_text("")
    for name, text in content.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


@pytest.fixture
def kernel(monkeypatch):
    """A kernel that fills new groups with files; they are to be named."""
    names = []
    make = groups.Path.mkdir

    def mkdir(path, *args, **kwargs):
        make(path, *args, **kwargs)
        files = names if path.parent.name == "penstock" else ["cgroup.subtree_control"]
        for name in files:
            (path / name).write_text("")

    monkeypatch.setattr(groups.Path, "mkdir", mkdir)
    return names.extend


def unified(tmp_path, *, inner="", outer="cpu memory pids"):
    """Version 2: a process in `user/app`, and what its groups hand on."""
    top = folder_with(tmp_path / "fs", ["cgroup.procs"], cgroup__subtree_control=f"{outer}\n")
    folder_with(top / "user", ["cgroup.procs"], cgroup__subtree_control=f"{outer}\n")
    own = folder_with(top / "user/app", ["cgroup.procs"], cgroup__subtree_control=f"{inner}\n")
    return {name: Place(own, top, True) for name in outer.split()}


def test_version_2_groups_lie_below_the_nearest_that_hands_on_memory(tmp_path):
    (nest,) = nests(unified(tmp_path))
    assert nest.folder == tmp_path / "fs/user/penstock"
    assert (nest.unified, nest.controllers) == (True, {"memory", "cpu", "pids"})


def test_only_what_is_handed_on_counts(tmp_path):
    (nest,) = nests(unified(tmp_path, outer="memory pids"))
    assert nest.controllers == {"memory", "pids"}


def test_without_memory_there_is_no_place(tmp_path):
    assert nests(unified(tmp_path, outer="cpu pids")) == []
    assert nests({}) == []


@pytest.mark.parametrize("closed", ["user", "user/app"])
def test_no_way_leads_across_a_group_that_is_not_ours(tmp_path, closed, monkeypatch):
    places = unified(tmp_path)
    shut = tmp_path / "fs" / closed / "cgroup.procs"
    monkeypatch.setattr(groups.os, "access", lambda path, _: Path(path) != shut)
    assert nests(places) == []


def test_version_1_groups_lie_below_our_own(tmp_path):
    places = {
        name: Place(folder_with(tmp_path / name / "x", ["cgroup.procs", "tasks"]), tmp_path / name, False)
        for name in ("memory", "pids")
    }
    assert [nest.folder for nest in nests(places)] == [
        tmp_path / "memory/x/penstock",
        tmp_path / "pids/x/penstock",
    ]


def test_the_limits_of_version_2(tmp_path, kernel):
    kernel(V2)
    (nest,) = nests(unified(tmp_path))
    made = Groups(LIMITS, [nest])
    (folder,) = nest.folder.glob("*/")
    written = {
        name: (folder / name).read_text() for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max")
    }
    # Two processes of ours are in it, too.
    assert written == {
        "memory.max": str(1 << 30), "memory.swap.max": "0", "cpu.max": "200000 100000", "pids.max": "102",
    }  # fmt: skip
    assert (nest.folder / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    with made.around():
        pass
    made.admit(4711)
    assert (folder / "cgroup.procs").read_text() == "4711"


def test_the_limits_of_version_1(tmp_path, kernel):
    kernel(V1)
    outer = folder_with(tmp_path / "own", ["tasks"])
    nest = Nest(tmp_path / "penstock", False, frozenset({"memory"}), outer)
    made = Groups(LIMITS, [nest])
    (folder,) = nest.folder.glob("*/")
    assert [(folder / name).read_text() for name in V1] == ["", str(1 << 30), str(1 << 30), "0", ""]
    with made.around():
        assert ((folder / "tasks").read_text(), (outer / "tasks").read_text()) == ("0", "")
    assert (outer / "tasks").read_text() == "0"
    made.admit(4711)
    assert not (folder / "cgroup.procs").exists()


def test_a_kernel_that_does_not_count_swap_limits_memory_all_the_same(tmp_path, kernel):
    kernel(["tasks", "memory.limit_in_bytes"])
    nest = Nest(tmp_path / "penstock", False, frozenset({"memory"}), tmp_path)
    Groups(LIMITS, [nest])
    (folder,) = nest.folder.glob("*/")
    assert (folder / "memory.limit_in_bytes").read_text() == str(1 << 30)


def test_a_limit_that_can_not_be_set_is_an_error_with_the_file(tmp_path, kernel):
    kernel(["tasks"])
    nest = Nest(tmp_path / "penstock", False, frozenset({"memory"}), tmp_path)
    with pytest.raises(InternalFailure, match=r"memory\.limit_in_bytes.*PENSTOCK_LIMITS=watch"):
        Groups(LIMITS, [nest])


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ({}, set()),
        ({"memory.events": "low 0\nmax 7\noom 1\noom_kill 0\n", "pids.events": "max 0\n"}, set()),
        ({"memory.events": "oom 1\noom_kill 1\noom_group_kill 0\n"}, {"memory"}),
        ({"pids.events": "max 3\n"}, {"processes"}),
        ({"memory.events": "oom_kill 2\n", "pids.events": "max 1\n"}, {"memory", "processes"}),
    ],
)
def test_what_was_run_into_is_counted_by_the_kernel(tmp_path, kernel, events, told):
    kernel(V2)
    (nest,) = nests(unified(tmp_path))
    made = Groups(LIMITS, [nest])
    (folder,) = nest.folder.glob("*/")
    for name, text in events.items():
        (folder / name).write_text(text)
    assert made.exceeded() == told


def test_a_group_is_removed_and_with_the_last_one_its_nest(tmp_path):
    nest = Nest(tmp_path / "penstock", False, frozenset(), tmp_path)
    one, other = (Groups(Limits(), [nest]) for _ in range(2))
    one.remove()
    assert len(list(nest.folder.iterdir())) == 1
    other.remove()
    assert not nest.folder.exists()


def test_a_sweep_takes_what_nobody_holds(tmp_path):
    nest = Nest(tmp_path / "penstock", False, frozenset(), tmp_path)
    folder, lock = nest.make("held")
    (nest.folder / "left").mkdir()
    nest.sweep()
    assert list(nest.folder.iterdir()) == [folder]
    os.close(lock)
    nest.sweep()
    assert list(nest.folder.iterdir()) == []


def test_a_group_that_a_sweep_took_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    nest = Nest(tmp_path / "penstock", False, frozenset(), tmp_path)
    lock, taken = groups.fcntl.flock, []

    def flock(descriptor, how):
        if not taken:
            taken.append(1)
            (nest.folder / "x").rmdir()
        lock(descriptor, how)

    monkeypatch.setattr(groups.fcntl, "flock", flock)
    folder, held = nest.make("x")
    os.close(held)
    assert taken
    assert folder.is_dir()


def test_an_end_of_what_is_not_there_is_none(tmp_path):
    end(tmp_path / "gone")
