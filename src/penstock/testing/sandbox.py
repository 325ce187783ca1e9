"""What the sandbox alone must hold: a program stands on the machine's own system, closed to writing, with no rights.

In a container there is an image's system instead, and as many rights over it as the image's start scripts need.
"""

# The tests' names say what they hold.
# ruff: noqa: D102

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.errors import InternalFailure
from penstock.runtimes.base import File, Link, Mount, Runtime
from penstock.runtimes.shown import look
from penstock.runtimes.steps import Copy
from penstock.testing.scripts import python, run, sh
from penstock.testing.walls import WallsSuite


class SandboxSuite(WallsSuite):
    """All that a runtime must do which builds its walls from the machine's own files."""

    def test_users_of_the_machine_are_not_listed(self, runtime: Runtime) -> None:
        assert sh(runtime, "cut -d: -f1 /etc/passwd").output == b"root\nnobody\n"

    def test_the_root_folder_holds_only_what_is_known(self, runtime: Runtime) -> None:
        known = "bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var"
        assert set(sh(runtime, "ls -A /").output.decode().split()) <= set(known.split())

    def test_files_made_for_it_are_its_own(self, runtime: Runtime, tmp_path: Path) -> None:
        files = (
            File("/opt/own/bin/tool", b"#!/bin/sh\necho ran\n", 0o755),
            File("/opt/own/kept", b"kept\n"),
            Link("/opt/own/bin/other", "tool"),
        )
        source = "/opt/own/bin/other; echo more >> /opt/own/kept; cat /opt/own/kept; touch /opt/own/lib/x; ls /opt/own"
        own = (Mount(tmp_path, "/opt/own/lib", writable=True),)
        said = b"ran\nkept\nmore\nbin\nkept\nlib\n"
        assert sh(runtime, source, files=files, mounts=own) == (0, said)
        assert [path.name for path in tmp_path.iterdir()] == ["x"]

    def test_a_file_of_the_machine_that_has_just_gone_is_not_shown(
        self, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown = look(Path("/"))
        more = replace(shown, steps=(*shown.steps, Copy(f"{tmp_path}/gone", "/etc/gone")))
        monkeypatch.setattr("penstock.runtimes.system.look", lambda _: more)
        assert sh(runtime, "test -e /etc/gone || echo none") == (0, b"none\n")

    @pytest.mark.parametrize("folder", ["/usr", "/usr/bin", "/bin", "/lib", "/sys/devices/system"])
    def test_the_system_is_read_only(self, runtime: Runtime, folder: str) -> None:
        code, output = sh(runtime, f"test -d {folder} || exit 3; echo x > {folder}/penstock-was-here")
        assert code == 3 or (code == 2 and b"Read-only file system" in output), output

    @pytest.mark.parametrize("folder", ["/etc", "/etc/alternatives", "/etc/ssl/certs"])
    def test_the_machines_etc_can_not_be_changed(self, runtime: Runtime, folder: str) -> None:
        """Large folders of it are closed to writing, small ones and files are copies of the program's own."""
        sh(runtime, f"echo x > {folder}/penstock-was-here; echo x >> /etc/services")
        assert not Path(folder, "penstock-was-here").exists()
        services = Path("/etc/services")
        assert not services.exists() or not services.read_bytes().endswith(b"x\n")

    def test_there_are_no_capabilities(self, runtime: Runtime) -> None:
        lines = sh(runtime, "grep ^Cap /proc/self/status").output.splitlines()
        assert len(lines) == 5
        assert {int(line.split()[1], 16) for line in lines} == {0}

    def test_places_with_secrets_are_not_there(self, runtime: Runtime) -> None:
        private = ("/etc/shadow", "/etc/ssh", "/etc/ssl/private", "/etc/pki/tls/private", "/etc/machine-id")
        places = (
            *private,
            "/boot",
            "/sys/class",
            "/sys/fs",
            "/var/lib",
            "/var/log",
            "/var/run/docker.sock",
            "/old_root",
        )
        script = "".join(f"test -e {place} && echo {place}\n" for place in places)
        assert sh(runtime, f"{script}true") == (0, b"")

    def test_no_mount_takes_set_user_id_programs(self, runtime: Runtime, tmp_path: Path) -> None:
        source = """
            import os
            for line in open("/proc/self/mountinfo"):
                where = line.split()[4]
                assert os.statvfs(where).f_flag & os.ST_NOSUID, where
        """
        mounts = (Mount(tmp_path, "/opt/ml", writable=True), Mount(tmp_path, "/opt/ro"))
        assert python(runtime, source, mounts=mounts) == (0, b"")

    def test_a_mount_in_the_system_fails_the_start(self, runtime: Runtime, tmp_path: Path) -> None:
        with pytest.raises(InternalFailure, match="Read-only file system"):
            run(runtime, "/bin/true", mounts=(Mount(tmp_path, "/usr/penstock/was/here"),))

    def test_variables_may_have_any_name(self, runtime: Runtime) -> None:
        """In a container a shell stands before the program, which passes on what it could name itself."""
        given = {"ÄÖ": "ü", "with.dot": "x"}
        said = run(runtime, "/bin/cat", "/proc/self/environ", environment=given).output.decode()
        found = dict(line.split("=", 1) for line in said.split("\0")[:-1])
        assert {name: found[name] for name in found.keys() - self.added_variables} == given
