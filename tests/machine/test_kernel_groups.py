"""The kernel's own control groups, version 1 and 2, whichever of them may be written to here."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from penstock import cgroups
from penstock.runtimes.base import Limits
from penstock.runtimes.groups import Groups, Nest, end

pytestmark = pytest.mark.machine

#: Two that have nothing to do with each other but their group; they tell their numbers.
_PROGRAM = """
import os, signal, sys
sys.stdin.read(1)
child = os.fork()
if not child:
    os.setsid()
    if os.fork():
        os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"%d\\n" % os.getpid())
while True:
    signal.pause()
"""


def unified():
    """A nest in version 2's hierarchy, perhaps one without any controller."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            top = Path(before.split(" ")[4])
            return Nest(top / f"penstock-test-{uuid4().hex}", True, frozenset(), top)
    return None


def classic():
    place = cgroups.own().get("memory")
    if place is None or place.unified:
        return None
    return Nest(place.folder / f"penstock-test-{uuid4().hex}", False, frozenset({"memory"}), place.folder)


@pytest.fixture(params=[classic, unified])
def nest(request):
    found = request.param()
    if found is None or not os.access(found.outer / "cgroup.procs", os.W_OK):
        pytest.skip("no such hierarchy here that is ours to write to")
    yield found
    if found.folder.exists():
        for folder in found.folder.glob("*/"):
            end(folder)
        found.folder.rmdir()


@pytest.fixture
def program():
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def populate(nest, folder, process):
    """Put the program into the group, and let it have its child."""
    (folder / "cgroup.procs").write_text(str(process.pid))
    process.stdin.write(b"x")
    process.stdin.close()
    return {int(process.stdout.readline()) for _ in range(2)}


def test_whatever_runs_in_a_group_of_nobody_is_swept_away_with_it(nest, program):
    folder, lock = nest.make("of-a-runner")
    numbers = populate(nest, folder, program)
    assert {int(line) for line in (folder / "cgroup.procs").read_text().split()} == numbers
    nest.sweep()
    assert folder.is_dir()  # somebody holds it
    os.close(lock)
    nest.sweep()
    assert not folder.exists()
    assert program.wait(30) == -9
    assert program.stdout.read() == b""  # its end, which comes when nobody is left who could write


def test_a_group_is_left_when_its_processes_have_ended(nest, program):
    folder, lock = nest.make("of-a-runner")
    populate(nest, folder, program)
    end(folder)
    os.close(lock)
    assert not folder.exists()
    assert program.wait(30) == -9


def test_what_is_started_within_is_within_and_the_starter_is_not(nest):
    limits = Limits(memory=64 << 20) if "memory" in nest.controllers else Limits()
    before = Path("/proc/thread-self/cgroup").read_text()
    groups = Groups(limits, [nest])
    try:
        with groups.around():
            process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
        groups.admit(process.pid)
        assert Path("/proc/thread-self/cgroup").read_text() == before
        assert str(nest.folder.name) in Path(f"/proc/{process.pid}/cgroup").read_text()
        process.communicate()
        assert groups.exceeded() == set()
    finally:
        groups.remove()
    assert not nest.folder.exists()


def test_groups_around_that_leave_less_time_than_asked_for_are_enough():
    place = cgroups.own().get("cpu")
    if place is None or place.unified or not os.access(place.folder / "cgroup.procs", os.W_OK):
        pytest.skip("no processors are limited by version 1 here, or they are not ours to limit")
    outer = place.folder / f"penstock-test-{uuid4().hex}"
    outer.mkdir()
    try:
        (outer / "cpu.cfs_quota_us").write_text("50000")
        Groups(Limits(cpus=(0,)), [Nest(outer / "penstock", False, frozenset({"cpu"}), outer)]).remove()
        assert [path for path in outer.iterdir() if path.is_dir()] == []
    finally:
        outer.rmdir()
