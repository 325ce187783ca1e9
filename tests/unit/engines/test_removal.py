"""A run's folder goes with all that is in it, and with nothing else."""

import os

import pytest

from penstock.engines.removal import remove


def test_all_goes_and_what_links_lead_to_stays(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    run = tmp_path / "run"
    for folder in ("empty", "a/b/c", "a/empty"):
        (run / folder).mkdir(parents=True)
    for file in ("f", "a/f", "a/b/c/f"):
        (run / file).write_text("x")
    os.mkfifo(run / "a/pipe")
    (run / "a/link").symlink_to(kept)
    (run / "nowhere").symlink_to(tmp_path / "none")
    os.link(kept / "file", run / "hard")
    remove(str(run))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept"]
    with pytest.raises(FileNotFoundError):
        remove(str(run))


def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path, monkeypatch):
    """Neither at the top nor below, though it was a folder when its name was read."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (tmp_path / "run").symlink_to(kept)
    with pytest.raises(NotADirectoryError):
        remove(str(tmp_path / "run"))
    (tmp_path / "other/inner/full").mkdir(parents=True)
    real = os.open

    def swap(path, *args, **kwargs):
        if path == "inner":
            (tmp_path / "other/inner").rename(tmp_path / "moved")
            (tmp_path / "other/inner").symlink_to(kept)
        return real(path, *args, **kwargs)

    monkeypatch.setattr("penstock.engines.removal.os.open", swap)
    with pytest.raises(NotADirectoryError):
        remove(str(tmp_path / "other"))
    assert (kept / "file").read_text() == "x"
