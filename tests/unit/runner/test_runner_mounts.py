import errno
import os
from pathlib import Path

import pytest

from penstock.data.inputs import Fetched
from penstock.errors import InternalFailure
from penstock.runner.folder import RunFolder
from penstock.runner.mounts import copy_in, input_mounts, start
from penstock.runtimes.base import Program
from penstock.testing.fake_runtime import FakeRuntime

IN = "/opt/ml/processing/in"


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "run")
    (run.ml / "processing/in/code").mkdir(parents=True)
    return run


@pytest.fixture
def shared(tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("content")
    return tmp_path / "tree"


def one(local_path, mount=None, local=False):
    return Fetched("x", "s3://b/", 1, 1, 0.0, local_path, mount and str(mount), local)


def targets(mounts):
    return [(mount.target, mount.upper is not None, mount.writable) for mount in mounts]


def test_what_lies_within_a_mounted_input_comes_after_it_and_is_writable(folder, shared):
    fetched = [one(f"{IN}/code"), one("/opt/ml/processing/other"), one(f"{IN}/", shared)]
    mounts = input_mounts(fetched, folder, overlays=True)
    assert targets(mounts) == [(IN, True, False), (f"{IN}/code", False, True)]
    assert mounts[1].source == folder.ml / "processing/in/code"


def test_inputs_in_the_runs_folder_alone_need_no_mounts(folder):
    assert input_mounts([one(IN), one(f"{IN}/code")], folder, overlays=True) == []


def test_each_overlay_has_an_upper_folder_of_its_own(folder, shared):
    mounts = input_mounts([one(IN, shared), one("/opt/ml/processing/b", shared)], folder, overlays=True)
    assert len({mount.upper for mount in mounts}) == 2
    assert all(mount.upper.is_relative_to(folder.path) for mount in mounts)


def test_without_overlays_cached_inputs_are_copied_and_local_ones_read_only(folder, shared):
    fetched = [one(IN, shared), one("/opt/ml/processing/local", shared, local=True)]
    assert targets(input_mounts(fetched, folder, overlays=False)) == [
        ("/opt/ml/processing/local", False, False)
    ]
    copy_in(fetched, folder)
    copy = folder.ml / "processing/in/sub/file"
    assert (copy.read_text(), copy.stat().st_nlink) == ("content", 1)
    assert not (folder.ml / "processing/local").exists()


def test_the_deepest_input_can_be_copied(folder, shared):
    deep = Path(*["d"] * 511)
    (shared / deep).mkdir(parents=True)
    (shared / deep / "f").write_text("deep")
    copy_in([one(IN, shared)], folder)
    assert (folder.ml / "processing/in" / deep / "f").read_text() == "deep"


def test_a_full_disk_ends_the_copying_at_its_first_file(folder, shared, monkeypatch):
    for number in range(9):
        (shared / str(number)).touch()
    tried = []

    def full(source, _):
        tried.append(source)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("penstock.runner.mounts.shutil.copyfile", full)
    with pytest.raises(
        InternalFailure, match=r"Input 'x' can't be copied .*: .*No space left.* Free some space"
    ):
        copy_in([one(IN, shared)], folder)
    assert len(tried) == 1


def test_a_single_file_lies_in_its_place_and_is_read_only(folder, shared):
    (mount,) = input_mounts([one(IN, shared / "sub/file", local=True)], folder, overlays=True)
    assert targets([mount]) == [(f"{IN}/file", False, False)]


def test_a_local_folder_with_other_mounts_below_is_bound_with_them(folder, shared, monkeypatch):
    monkeypatch.setattr("penstock.runner.mounts.has_mounts_below", lambda path: path == shared)
    mounts = input_mounts([one(IN, shared, local=True)], folder, overlays=True)
    assert targets(mounts) == [(IN, False, False)]


def test_walls_that_refuse_overlays_get_copies_and_the_log_says_why(folder, shared):
    class Refusing(FakeRuntime):
        def start(self, program, output):
            if any(mount.upper for mount in program.mounts):
                raise InternalFailure("this disk can't")
            return super().start(program, output)

    runtime, notes = Refusing(), []
    program = Program(argv=("x",), environment={}, mounts=())
    with Path(os.devnull).open("wb") as nowhere:
        start(lambda **_: runtime, program, [one(IN, shared)], folder, nowhere.fileno(), notes.append)
    assert runtime.programs == [program]
    assert (folder.ml / "processing/in/sub/file").read_text() == "content"
    assert "this disk can't" in notes[0]
