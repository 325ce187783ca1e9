"""What the nursery finds out before it forks, and what it must not keep."""

import sys

from penstock import cgroups
from penstock.runner import rehearsal
from penstock.runtimes import landlock, seccomp


def test_what_stays_as_it_is_is_known_before_the_first_run():
    kept = (cgroups.own, seccomp.program, landlock.version)
    for one in kept:
        one.cache_clear()
    rehearsal.rehearse()
    assert all(one.cache_info().currsize for one in kept)
    assert "encodings.idna" in sys.modules


def test_what_fails_is_left_to_the_run_that_needs_it(monkeypatch):
    def fails():
        raise OSError

    landlock.version.cache_clear()
    monkeypatch.setattr(rehearsal.machine, "look", fails)
    rehearsal.rehearse()
    assert landlock.version.cache_info().currsize == 1


def test_a_file_that_changes_is_read_anew_by_each_run(monkeypatch, tmp_path):
    settings = tmp_path / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    settings.write_text("[global]\nindex-url = https://one.example/simple\n")
    rehearsal.rehearse()
    settings.write_text("[global]\nindex-url = https://two.example/simple\n")
    variables, _ = rehearsal.pip_environment()
    assert variables["PIP_INDEX_URL"] == "https://two.example/simple"
