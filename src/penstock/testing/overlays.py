"""The conformance suite for runtimes with `overlays`: a shared folder that each program may write to for itself."""

# The tests' names say what they hold.
# ruff: noqa: D102

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from penstock.errors import InternalFailure
from penstock.runtimes.base import Mount, Runtime
from penstock.testing.scripts import Outcome, python, run, sh

_IN = "/opt/ml/in"

#: Every way to change a file or folder that needs no capability; what fails is told, and nothing is left undone.
_ATTACK = """
    import ctypes, mmap, os, sys
    os.chdir(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    def through_a_map():
        with open("mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            view[:4] = b"evil"
            view.flush()
    def through_a_hard_link():
        os.link("linked", "another name")
        with open("another name", "w") as file:
            file.write("evil")
    def remount():
        if libc.mount(b"none", sys.argv[1].encode(), None, 0x20, b"upperdir=/opt"):
            raise OSError("refused")
    def unmount():
        if libc.umount2(sys.argv[1].encode(), 2):
            raise OSError("refused")
    def by_the_name_of_the_lower_folder():
        with open("/.lower/kept", "w") as file:
            file.write("evil")
    def by_its_handle():
        handle = (ctypes.c_char * 136).from_buffer_copy((128).to_bytes(4, "little") + bytes(132))
        mount = ctypes.c_int()
        if libc.name_to_handle_at(-100, b"kept", handle, ctypes.byref(mount), 0):
            raise OSError("no handle")
        where = os.open(".", os.O_RDONLY)
        if libc.open_by_handle_at(where, handle, os.O_RDWR) < 0:
            raise OSError("refused")
    attempts = [
        lambda: open("kept", "w").write("evil"),
        lambda: open("kept", "a").write("evil"),
        lambda: os.truncate("cut", 0),
        lambda: os.unlink("removed"),
        lambda: os.rename("moved", "elsewhere"),
        lambda: os.rename("folder", "other folder"),
        lambda: os.chmod("kept", 0o600),
        lambda: os.utime("kept", (1, 1)),
        lambda: os.setxattr("kept", "user.note", b"evil"),
        lambda: os.setxattr("folder", "user.overlay.opaque", b"y"),
        lambda: os.setxattr("folder", "user.overlay.redirect", b"/"),
        lambda: os.symlink("/etc", "link"),
        lambda: os.mkdir("new"),
        through_a_map, through_a_hard_link, remount, unmount, by_the_name_of_the_lower_folder, by_its_handle,
    ]
    for attempt in attempts:
        try:
            attempt()
        except OSError:
            pass
"""


class OverlaySuite:
    """Mounts with an `upper`. Subclasses give a fixture `runtime`; combine it with `WallsSuite`."""

    def test_it_says_that_it_has_overlays(self, runtime: Runtime) -> None:
        assert runtime.overlays

    def test_a_program_reads_the_folder_and_writes_for_itself_alone(
        self, runtime: Runtime, lower: Path, tmp_path: Path
    ) -> None:
        words = "cd /opt/ml/in; cat kept; echo more >> kept; rm removed; mkdir new; cat kept; ls"
        said = self._sh(runtime, words, lower, tmp_path / "one")
        assert said == (0, b"keptkeptmore\ncut\nfolder\nkept\nlinked\nmapped\nmoved\nnew\n")
        said = self._sh(runtime, "cat /opt/ml/in/kept; ls /opt/ml/in", lower, tmp_path / "two")
        assert said == (0, b"keptcut\nfolder\nkept\nlinked\nmapped\nmoved\nremoved\n")

    def test_no_attack_changes_the_folder(self, runtime: Runtime, lower: Path, tmp_path: Path) -> None:
        before = _state(lower)
        mounts = (Mount(lower, _IN, upper=tmp_path / "upper"),)
        assert python(runtime, _ATTACK, _IN, mounts=mounts) == (0, b"")
        assert _state(lower) == before

    def test_what_it_wrote_lies_in_the_upper_folder(
        self, runtime: Runtime, lower: Path, tmp_path: Path
    ) -> None:
        assert self._sh(runtime, "echo x > /opt/ml/in/new", lower, tmp_path / "upper").code == 0
        assert "new" in {path.name for path in (tmp_path / "upper").rglob("new")}

    def test_what_it_wrote_can_be_removed(self, runtime: Runtime, lower: Path, tmp_path: Path) -> None:
        """By who started it: overlayfs leaves folders without any rights, and device nodes for what was removed."""
        upper = tmp_path / "upper"
        words = "cd /opt/ml/in; rm -r kept folder; mkdir -m 0 new; mv moved elsewhere"
        assert self._sh(runtime, words, lower, upper).code == 0
        subprocess.run(["chmod", "-R", "u+rwX", str(upper)], check=False, capture_output=True)
        shutil.rmtree(upper)

    @pytest.mark.parametrize("name", ["a,b:c", "with space", "ünï", "back\\slash", "quote'\""])
    def test_folders_of_any_name(self, runtime: Runtime, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
        said = self._sh(runtime, "cat /opt/ml/in/file", tmp_path / name, tmp_path / f"{name} upper")
        assert said == (0, b"content")

    def test_mounts_nest_in_an_overlay(self, runtime: Runtime, lower: Path, tmp_path: Path) -> None:
        """Also where the folder they are put on does not exist in it."""
        before = _state(lower)
        for name in ("ml", "inner", "other"):
            (tmp_path / name).mkdir()
        (tmp_path / "other" / "file").write_text("of the other")
        mounts = (
            Mount(tmp_path / "ml", "/opt/ml", writable=True),
            Mount(lower, _IN, upper=tmp_path / "one"),
            Mount(tmp_path / "inner", f"{_IN}/made/for/it", writable=True),
            Mount(tmp_path / "other", f"{_IN}/folder", upper=tmp_path / "two"),
        )
        words = "cd /opt/ml/in; echo x > made/for/it/x; cat kept folder/file; echo > folder/new"
        assert sh(runtime, words, mounts=mounts) == (0, b"keptof the other")
        assert (tmp_path / "inner" / "x").read_text() == "x\n"
        assert [path.name for path in (tmp_path / "other").iterdir()] == ["file"]
        assert _state(lower) == before

    def test_the_machines_paths_are_not_told(self, runtime: Runtime, lower: Path, tmp_path: Path) -> None:
        words = "grep /opt/ml/in /proc/self/mountinfo; ls -A /"
        said = self._sh(runtime, words, lower, tmp_path / "upper").output.decode()
        assert "overlay" in said
        assert str(tmp_path) not in said
        assert ".lower" not in said.splitlines()

    def test_set_user_id_and_devices_are_of_no_use_in_it(
        self, runtime: Runtime, lower: Path, tmp_path: Path
    ) -> None:
        source = "import os; print(os.statvfs('/opt/ml/in').f_flag & (os.ST_NOSUID | os.ST_NODEV))"
        mounts = (Mount(lower, _IN, upper=tmp_path / "upper"),)
        assert python(runtime, source, mounts=mounts).output == b"%d\n" % (os.ST_NOSUID | os.ST_NODEV)

    def test_an_upper_folder_that_cannot_be_used_fails_the_start(self, runtime: Runtime, lower: Path) -> None:
        """As many file systems can't; the program must not start without its data."""
        with pytest.raises(InternalFailure):
            run(runtime, "/bin/true", mounts=(Mount(lower, _IN, upper=Path("/proc/self")),))

    def _sh(self, runtime: Runtime, words: str, lower: Path, upper: Path) -> Outcome:
        return sh(runtime, words, mounts=(Mount(lower, _IN, upper=upper),))

    @pytest.fixture
    def lower(self, tmp_path: Path) -> Path:
        """A folder with one file for each attack."""
        folder = tmp_path / "lower"
        (folder / "folder").mkdir(parents=True)
        for name in ("kept", "cut", "removed", "moved", "mapped", "linked"):
            (folder / name).write_text(name)
        return folder


def _state(folder: Path) -> dict[str, object]:
    """All that can be told of a folder's content."""
    found: dict[str, object] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        about = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        facts = (about.st_mode, about.st_uid, about.st_nlink, about.st_mtime_ns, os.listxattr(path))
        found[str(path.relative_to(folder))] = (content, *facts)
    return found
