from pathlib import Path

import pytest

from penstock import cgroups
from penstock.cgroups import Place


@pytest.fixture
def process(tmp_path):
    """A function that writes a folder of /proc: what the process's groups are, and what is mounted where."""

    def write(groups, *mounts):
        folder = tmp_path / "proc"
        folder.mkdir()
        (folder / "cgroup").write_text("".join(f"{line}\n" for line in groups))
        lines = [
            f"30 20 0:26 {root} {top} rw,nosuid shared:9 - {kind} name {options}"
            for root, top, kind, options in mounts
        ]
        (folder / "mountinfo").write_text("\n".join(["25 1 8:1 / / rw - ext4 /dev/sda1 rw", *lines, ""]))
        return folder

    return write


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_version_1_has_a_hierarchy_for_each_controller(process, tmp_path):
    found = cgroups.own(
        process(
            ["5:pids:/", "4:memory:/a/b", "2:cpu,cpuacct:/c", "1:name=systemd:/s", "0::/"],
            ("/", tmp_path / "memory", "cgroup", "rw,memory"),
            ("/", tmp_path / "cpu", "cgroup", "rw,cpu,cpuacct"),
            ("/", tmp_path / "pids", "cgroup", "rw,pids"),
            ("/", tmp_path / "systemd", "cgroup", "rw,xattr,name=systemd"),
            ("/", tmp_path / "unified", "cgroup2", "rw"),
        )
    )
    assert found == {
        "memory": Place(tmp_path / "memory/a/b", tmp_path / "memory", False),
        "cpu": Place(tmp_path / "cpu/c", tmp_path / "cpu", False),
        "pids": Place(tmp_path / "pids", tmp_path / "pids", False),
    }


def test_version_2_has_one_for_all_that_it_hands_on(process, tmp_path):
    place = group(tmp_path / "fs/user.slice/app", cgroup__controllers="memory pids\n")
    found = cgroups.own(process(["0::/user.slice/app"], ("/", tmp_path / "fs", "cgroup2", "rw,nsdelegate")))
    assert found == {name: Place(place, tmp_path / "fs", True) for name in ("memory", "pids")}


def test_in_a_container_the_mount_begins_at_its_own_group(process, tmp_path):
    mount = ("/docker/1f", tmp_path / "memory", "cgroup", "ro,memory")
    assert cgroups.own(process(["4:memory:/docker/1f/job"], mount)) == {
        "memory": Place(tmp_path / "memory/job", tmp_path / "memory", False)
    }


@pytest.mark.parametrize("path", ["/other/1f", "/../elsewhere"])
def test_a_group_that_can_not_be_seen_is_none(process, tmp_path, path):
    mount = ("/docker/1f", tmp_path / "memory", "cgroup", "rw,memory")
    assert cgroups.own(process([f"4:memory:{path}"], mount)) == {}


def test_a_machine_without_groups(tmp_path):
    assert cgroups.own(tmp_path) == {}
    assert cgroups.memory_limit({}) is None
    assert cgroups.cpu_limit({}) is None


def test_the_tightest_limit_around_counts(tmp_path):
    inner = group(tmp_path / "a/b", memory__max="max\n", cpu__max="max 100000\n")
    group(tmp_path / "a", memory__max="4096\n", cpu__max="150000 100000\n")
    group(tmp_path, memory__max="8192\n", cpu__max="200000 100000\n")
    places = dict.fromkeys(("memory", "cpu"), Place(inner, tmp_path, True))
    assert cgroups.memory_limit(places) == 4096
    assert cgroups.cpu_limit(places) == 1.5


def test_version_1_says_by_numbers_that_there_is_none(tmp_path):
    group(
        tmp_path,
        memory__limit_in_bytes="9223372036854771712\n",
        cpu__cfs_quota_us="-1\n",
        cpu__cfs_period_us="100000\n",
    )
    places = dict.fromkeys(("memory", "cpu"), Place(tmp_path, tmp_path, False))
    assert (cgroups.memory_limit(places), cgroups.cpu_limit(places)) == (None, None)
    group(tmp_path, memory__limit_in_bytes="1048576\n", cpu__cfs_quota_us="50000\n")
    assert (cgroups.memory_limit(places), cgroups.cpu_limit(places)) == (1 << 20, 0.5)


def test_the_ways_upwards_end_where_the_hierarchy_is_mounted():
    top = Path("/sys/fs/cgroup")
    assert list(Place(top / "a/b", top, True).upwards()) == [top / "a/b", top / "a", top]
    assert list(Place(top, top, True).upwards()) == [top]
