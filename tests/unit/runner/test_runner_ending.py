import pytest

from penstock.job.life import Phase
from penstock.runner import ending
from penstock.runner.ending import Ending
from penstock.runner.journal import Journal

TOLD = Ending(7, halted=False, reasons=["AlgorithmError: , exit code: 7"])


@pytest.fixture
def journal(tmp_path):
    """Makes the journal of one runner after the other."""
    made = []

    def make():
        made.append(Journal((tmp_path / "journal").open("a+b", buffering=0), lambda: 1, lambda: None))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_how_a_program_ended_is_known_to_the_next_runner(journal):
    first = journal()
    first.phase(Phase.RUNNING)
    assert ending.found(first) is None
    ending.keep(first, TOLD)
    second = journal()
    assert ending.found(second) == TOLD
    assert [event.data["phase"] for event in second.after(0)] == ["running", "uploading"]
    assert "boot" in second.after(1)[0].data["ending"], "what is reported stays as it was written"
    second.skip()
    second.phase(Phase.UPLOADING)
    assert ending.found(journal()) == TOLD, "the third, too"


def test_the_line_is_there_whole_or_not_at_all(journal, tmp_path):
    ending.keep(journal(), TOLD)
    path = tmp_path / "journal"
    path.write_bytes(path.read_bytes()[:-2])
    assert ending.found(journal()) is None


def test_after_a_new_start_of_the_machine_it_counts_no_more(journal, tmp_path, monkeypatch):
    """What the program wrote may be gone in part: nobody may take it for a success."""
    ending.keep(journal(), Ending(0, halted=False, reasons=[]))
    boot = tmp_path / "boot"
    boot.write_text("another one\n")
    monkeypatch.setattr(ending, "_BOOT", boot)
    assert ending.found(journal()) is None
