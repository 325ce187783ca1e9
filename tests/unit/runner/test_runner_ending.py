import pytest

from penstock.runner import ending
from penstock.runner.ending import Ending
from penstock.runner.folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def test_how_a_program_ended_is_known_to_the_next_runner(folder):
    assert ending.found(folder) is None
    told = Ending(7, halted=False, reasons=["AlgorithmError: , exit code: 7"])
    ending.keep(folder, told)
    assert ending.found(folder) == told


def test_after_a_new_start_of_the_machine_it_counts_no_more(folder, tmp_path, monkeypatch):
    """What the program wrote may be gone in part: nobody may take it for a success."""
    ending.keep(folder, Ending(0, halted=False, reasons=[]))
    boot = tmp_path / "boot"
    boot.write_text("another one\n")
    monkeypatch.setattr(ending, "_BOOT", boot)
    assert ending.found(folder) is None


def test_on_a_full_disk_nothing_is_kept_and_nothing_fails(tmp_path):
    folder = RunFolder(tmp_path / "gone")
    ending.keep(folder, Ending(0, halted=False, reasons=[]))
    assert ending.found(folder) is None
