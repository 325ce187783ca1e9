import subprocess

import pytest

from penstock import disk


def test_folders_of_runs_are_spread_over_a_disk_that_can(tmp_path):
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True)
    if kind.stdout.strip() != "ext2/ext3":  # as it calls ext4, too
        pytest.skip("there is no ext4 here")
    disk.spread(tmp_path)
    disk.spread(tmp_path)  # as every server does that starts
    told = subprocess.run(["lsattr", "-d", tmp_path], capture_output=True, text=True, check=True)
    assert "T" in told.stdout.split()[0]


def test_what_can_not_be_told_so_is_left_alone(tmp_path):
    disk.spread(tmp_path / "missing")
