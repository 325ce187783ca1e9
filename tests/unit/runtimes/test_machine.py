import os

import pytest

from penstock import machine
from penstock.machine import Machine

GIB = 1 << 30


@pytest.fixture
def root(tmp_path):
    """A machine with 4 GiB and no card, in no group."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:        4194304 kB\nMemFree:  1 kB\n")
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/pid_max").write_text("4194304\n")
    (tmp_path / "proc/sys/kernel/threads-max").write_text("30000\n")
    (tmp_path / "dev").mkdir()
    return tmp_path


def test_a_plain_machine(root):
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    assert machine.look(root) == Machine(cpus, len(cpus), 4 * GIB, 30000, ())


def test_a_container_has_what_its_group_leaves_to_it(root):
    group = root / "fs"
    group.mkdir()
    (group / "cgroup.controllers").write_text("cpu memory\n")
    (group / "memory.max").write_text(f"{GIB}\n")
    (group / "cpu.max").write_text("50000 100000\n")
    (root / "proc/self/cgroup").write_text("0::/\n")
    (root / "proc/self/mountinfo").write_text(f"30 20 0:26 / {group} rw - cgroup2 cgroup2 rw\n")
    found = machine.look(root)
    assert (found.memory_bytes, found.share) == (GIB, 1)
    assert found.cpus == tuple(sorted(os.sched_getaffinity(0)))


def test_cards_are_the_numbered_devices(root):
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm"):
        (root / "dev" / name).symlink_to("/dev/null")  # a character device without being root
    (root / "dev/nvidia1").write_text("not a device")
    assert machine.look(root).gpus == (0, 2, 10)


def test_this_machine():
    found = machine.look()
    assert found.memory_bytes > 64 << 20
    assert 1 <= found.share <= len(found.cpus)
    assert found.processes > 100
