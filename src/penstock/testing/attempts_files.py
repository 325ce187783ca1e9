"""Attempts on files: the user's, Penstock's, other jobs', and what would be taken for an output."""

# The tests' names say what is tried.
# ruff: noqa: D102, S108

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from penstock.errors import JobFailure
from penstock.runtimes.base import Mount, Runtime
from penstock.testing.scripts import PYTHON, python, run, sh

#: What would steer the machine or its disks if it were in /dev.
DEVICES = (
    "mem kmem port kmsg loop-control loop0 fuse kvm net/tun vhost-net vda sda nvme0n1 dm-0 mapper uinput hpet"
)

SOCKETS = (
    "/run/docker.sock /var/run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock /run/dbus"
)


class FileAttempts:
    """A program turns to the machine's files. Subclasses give a fixture `runtime`."""

    def test_reads_penstocks_home_by_every_path(self, runtime: Runtime, home: Path) -> None:
        """Database and keys: by their own path, by the folder of processes, out of the job's folder by `..`."""
        ml = home / "runs" / "job" / "algo-1" / "ml"
        source = """
            import itertools, os, sys
            home, secret = sys.argv[1:]
            ways = ["", "/opt/ml/../../..", "/opt/ml/link", "/proc/self/root", "/proc/self/cwd", "/proc/1/root"]
            ways += [f"/proc/{name}/root" for name in os.listdir("/proc") if name.isdigit()]
            ways += [f"/opt/ml" + "/.." * depth for depth in range(9)]
            for way, name in itertools.product(ways, ("keys.json", "penstock.db")):
                for path in (f"{way}{home}/{name}", f"{way}/{name}"):
                    try:
                        print(path, secret.encode() in open(path, "rb").read())
                    except OSError:
                        pass
        """
        (ml / "link").symlink_to(home)
        mounts = (Mount(ml, "/opt/ml", writable=True),)
        assert python(runtime, source, str(home), "the-secret", mounts=mounts) == (0, b"")

    def test_searches_the_whole_of_its_files_for_a_secret(self, runtime: Runtime, home: Path) -> None:
        ml = home / "runs" / "job" / "algo-1" / "ml"
        source = f"find / -xdev -name keys.json -path '*{home.name}*' 2>/dev/null; find /opt /tmp /run /root /home /mnt"
        said = sh(runtime, source, mounts=(Mount(ml, "/opt/ml"),)).output.decode().split()
        assert {Path(line).parts[1] for line in said} <= {"opt", "tmp", "run", "root", "home", "mnt"}
        assert not [line for line in said if "keys" in line or "algo-2" in line]

    def test_reads_the_folder_of_another_job_or_host(self, runtime: Runtime, home: Path) -> None:
        run = home / "runs" / "job"
        source = "ls /opt/ml/../../algo-2 /opt/algo-2 /opt/ml/../algo-2 2>/dev/null; cat /opt/ml/other"
        (run / "algo-1" / "ml" / "other").symlink_to("../../algo-2/ml/data")
        code, output = sh(runtime, source, mounts=(Mount(run / "algo-1" / "ml", "/opt/ml"),))
        assert (code, b"No such file" in output, b"the-secret" in output) == (1, True, False)

    @pytest.mark.parametrize("path", SOCKETS.split())
    def test_talks_to_a_service_of_the_machine(self, runtime: Runtime, path: str) -> None:
        assert python(runtime, f"import os; print(os.path.lexists({path!r}))") == (0, b"False\n")

    @pytest.mark.parametrize("name", DEVICES.split())
    def test_opens_a_device(self, runtime: Runtime, name: str) -> None:
        assert python(runtime, f"import os; print(os.path.lexists('/dev/{name}'))") == (0, b"False\n")

    @pytest.mark.parametrize("kind", ["CHR", "BLK"])
    @pytest.mark.parametrize("where", ["/opt/ml/node", "/dev/node", "/tmp/node"])
    def test_makes_a_device(self, runtime: Runtime, tmp_path: Path, kind: str, where: str) -> None:
        source = f"""
            import os, stat, sys
            try:
                os.mknod({where!r}, stat.S_IF{kind} | 0o666, os.makedev(1, 1))
            except PermissionError:
                sys.exit(0)
            sys.exit("made")
        """
        assert python(runtime, source, mounts=(Mount(tmp_path, "/opt/ml", writable=True),)) == (0, b"")
        assert list(tmp_path.iterdir()) == []

    def test_overwrites_its_interpreter(self, runtime: Runtime, tmp_path: Path) -> None:
        """By a descriptor that outlives the program's own use of the file; nothing is written if it opens.

        A copy of the shell, since the kernel lets nobody write to a program that anybody runs.
        """
        shutil.copy("/bin/sh", tmp_path)
        source = "exec 3< /proc/self/exe; exec /bin/sh -c ': >> /proc/self/fd/3 && echo opened'"
        code, output = run(runtime, "/opt/bin/sh", "-c", source, mounts=(Mount(tmp_path, "/opt/bin"),))
        assert (code != 0, b"Read-only file system" in output) == (True, True), output

    @pytest.mark.parametrize("path", ["/usr/bin/env", "/etc/ssl/certs", "/usr/lib/penstock-was-here", PYTHON])
    def test_changes_the_machines_programs(self, runtime: Runtime, path: str) -> None:
        source = """
            import os, sys
            path, done = sys.argv[1], []
            for what, *words in ((os.chmod, 0o777), (os.utime,), (os.rename, path + "~"), (os.setxattr, "user.x", b"")):
                try:
                    what(path, *words)
                    done.append(what.__name__)
                except OSError:
                    pass
            sys.exit(" ".join(done))
        """
        assert python(runtime, source, path) == (1, b"\n")

    def test_hard_links_a_file_of_the_machine_into_its_outputs(
        self, runtime: Runtime, tmp_path: Path
    ) -> None:
        (tmp_path / "ml").mkdir()
        (tmp_path / "input").mkdir()
        (tmp_path / "input" / "file").write_text("shared with others")
        source = """
            import os
            for path in ("/usr/bin/env", "/etc/passwd", "/proc/self/exe", "/opt/input/file", "/opt/ml/in/file"):
                try:
                    os.link(path, "/opt/ml/linked", follow_symlinks=True)
                    print(path)
                except OSError:
                    pass
        """
        mounts = (
            Mount(tmp_path / "ml", "/opt/ml", writable=True),
            Mount(tmp_path / "input", "/opt/input"),
            Mount(tmp_path / "input", "/opt/ml/in"),
        )
        assert python(runtime, source, mounts=mounts) == (0, b"")
        assert (tmp_path / "input" / "file").stat().st_nlink == 1

    def test_leads_a_later_mount_astray_by_a_link(self, runtime: Runtime, tmp_path: Path) -> None:
        """The program of an earlier run left a link where the next run's input is to be seen."""
        for name in ("ml", "input", "outside"):
            (tmp_path / name).mkdir()
        (tmp_path / "ml" / "input").symlink_to(tmp_path / "outside")
        mounts = (
            Mount(tmp_path / "ml", "/opt/ml", writable=True),
            Mount(tmp_path / "input", "/opt/ml/input/x"),
        )
        with suppress(JobFailure):  # refused or put inside, both are well
            sh(runtime, "echo x > /opt/ml/input/x/y; echo x > /opt/ml/input/y", mounts=mounts)
        assert list((tmp_path / "outside").iterdir()) == []

    def test_leaves_a_program_that_gives_others_its_users_rights(
        self, runtime: Runtime, tmp_path: Path
    ) -> None:
        """It may set the bit on its own file, but not for another user; and within the walls it has no effect."""
        source = """
            import os, shutil, subprocess
            shutil.copy("/usr/bin/id", "/opt/ml/id")
            os.chmod("/opt/ml/id", 0o6755)
            for user in (0, 1, 65534):
                try:
                    os.chown("/opt/ml/id", user, user)
                except OSError:
                    pass
            print(bool(os.statvfs("/opt/ml").f_flag & os.ST_NOSUID), subprocess.run(["/opt/ml/id", "-u"]).returncode)
        """
        assert (
            python(runtime, source, mounts=(Mount(tmp_path, "/opt/ml", writable=True),)).output[-7:]
            == b"True 0\n"
        )
        left = (tmp_path / "id").stat()
        assert (left.st_uid, left.st_gid) == (os.geteuid(), os.getegid())

    def test_fills_a_folder_that_others_share(self, runtime: Runtime, shared: list[Path]) -> None:
        """What it writes to /tmp, /dev/shm and the like is seen by nobody else."""
        name = f"penstock-{os.urandom(4).hex()}"
        assert sh(runtime, f"touch {' '.join(str(folder / name) for folder in shared)}") == (0, b"")
        assert not [folder for folder in shared if (folder / name).exists()]

    # ----------------------------------------------------------------------------------------------------------------

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        """A home as Penstock keeps it, with two hosts of a job."""
        home = tmp_path / "home"
        for host in ("algo-1", "algo-2"):
            (home / "runs" / "job" / host / "ml").mkdir(parents=True)
            (home / "runs" / "job" / host / "ml" / "data").write_text(f"the-secret of {host}")
        for name in ("keys.json", "penstock.db"):
            (home / name).write_text("the-secret")
        home.chmod(stat.S_IRWXU)
        return home

    @pytest.fixture
    def shared(self) -> list[Path]:
        """Folders that all of the machine's users share."""
        return [Path(name) for name in ("/tmp", "/var/tmp", "/dev/shm")]
