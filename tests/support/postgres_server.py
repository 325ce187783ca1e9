"""A PostgreSQL of the tests' own: an ordinary user's, in a folder of its own, on a free port of loopback."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0


def programs():
    """The folder of PostgreSQL's programs, which is installed where that is possible; else the test is skipped."""
    found = _found()
    if found is None and os.getuid() == 0 and shutil.which("apt-get"):
        subprocess.run([ROOT / "tools/install_postgres.sh"], check=True)
        found = _found()
        assert found is not None
    if found is None:
        pytest.skip(
            "PostgreSQL 15 or newer is not installed. On Debian or Ubuntu: sudo apt-get install postgresql"
        )
    return found


def _found():
    installed = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if (p / "initdb").exists()]
    installed = [p for p in installed if int(p.parent.name) >= 15]
    return max(installed, key=lambda p: int(p.parent.name), default=None)


class PostgresServer:
    """One cluster. `start` and `kill` may follow each other as often as one likes.

    Its databases sort by the rules of English unless a column says otherwise, so that a column which should and does
    not is found.
    """

    def __init__(self, *, fsync, kept=None):
        """A new one, or one that goes on with what another one has left by `keep`."""
        self._programs = programs()
        self._fsync = fsync
        self._user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
        self.password = secrets.token_hex(16) if kept is None else (kept / "password").read_text()
        (self.folder / "password").write_text(self.password)
        if self._user is not None:
            for path in (self.folder, self.folder / "password"):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        if kept is None:
            self._initialise()
        else:
            subprocess.run(["cp", "-a", kept / "data", self.folder], check=True)
        self._process = None
        self.port = 0
        self.start()

    def _initialise(self):
        self._run(
            "initdb", "-U", "penstock", "-D", "data", "--pwfile=password", "--auth=scram-sha-256", "--no-sync",
            "--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US",
        )  # fmt: skip

    def start(self):
        """Run it, and return when it takes connections."""
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "on" if self._fsync else "off",
            # Only what the Store asks for itself keeps what was acknowledged.
            "synchronous_commit": "off",
            "max_connections": 100,
        }
        command = [str(self._programs / "postgres"), "-D", "data"]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._process = subprocess.Popen(command, **self._as_user(), stderr=subprocess.PIPE, text=True)
        ready, said = threading.Event(), []

        def read(lines):
            for line in lines:
                said.append(line)
                if "ready to accept connections" in line:
                    ready.set()
            ready.set()  # it has ended

        self._reading = threading.Thread(target=read, args=(self._process.stderr,), daemon=True)
        self._reading.start()
        assert ready.wait(_PATIENCE), "".join(said)
        assert self._process.poll() is None, "".join(said)

    def keep(self, folder):
        """End it in good order, and copy what it has to a folder."""
        self._process.send_signal(signal.SIGINT)
        self._ended()
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        subprocess.run(["cp", "-a", self.folder / "data", self.folder / "password", part], check=True)
        part.rename(folder)

    def kill(self):
        """End all of its processes at once, as the loss of power would."""
        first = self._process.pid
        os.kill(first, signal.SIGSTOP)  # so that it starts no more of them
        others = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in [first, *map(int, others)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._ended()

    def close(self):
        """End it, and remove its folder."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nobody wants its files any more
        self._ended()
        shutil.rmtree(self.folder)

    def _ended(self):
        self._process.wait(_PATIENCE)
        self._reading.join(_PATIENCE)  # the end of the pipe: the others have ended, too
        self._process.stderr.close()

    def url(self, database="postgres"):
        return f"postgresql://penstock:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self):
        """The URL of a fresh one."""
        name = f"t{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement):
        with psycopg.connect(self.url(), autocommit=True) as c:
            c.execute(statement)

    def _run(self, program, *args):
        subprocess.run(
            [str(self._programs / program), *args], check=True, capture_output=True, **self._as_user()
        )

    def _as_user(self):
        user = (
            {}
            if self._user is None
            else {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        )
        return {
            "cwd": self.folder,
            "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            **user,
        }
