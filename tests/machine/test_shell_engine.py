"""An engine in one file that knows nothing but a shell, as on a machine behind `ssh`: what an engine must be is no more."""

import json
import shlex
import subprocess
import sys

import pytest
from engine_runs import RealRuns

from penstock.engines.base import Life, Machine, Remains, Reservation, alone
from penstock.errors import InternalFailure
from penstock.job.claim import Resources
from penstock.job.events import HostEvent
from penstock.testing.engines import EngineSuite

pytestmark = pytest.mark.machine

_START = """
cd "$1" && exec 9>lock || exit 1
flock --nonblock 9 || exit 0
[ -e journal ] && grep -q '"kind": "ended"' journal && exit 0
setsid "$2" -P -m penstock.runner "$1" </dev/null >>runner.err 2>&1 &
"""
#: The kernel's word: the lock is held as long as a runner lives.
_PROBE = '[ -e "$1/lock" ] || exit 2; flock --shared --nonblock "$1/lock" true'
_STOP = 'touch "$1/stop"; kill "$(cat "$1/pid")"'
_PREPARE = 'umask 077; mkdir -p "$1"; cat > "$1/run.json"'
_RUNS = 'cd "$1" && ls -d */*'


class ShellEngine:
    name = "shell"

    def __init__(self, folder, capacity):
        self._folder = folder
        self._capacity = capacity

    def parts(self):
        return [self]

    def machines(self):
        jobs = {}
        for handle in self._handles():
            job, _, host = handle.partition("/")
            jobs.setdefault(job, []).append(host)
        return [Machine("shell", "", self.name, self._capacity, jobs=jobs)]

    def want(self, waiting):
        pass

    def knows(self, handle):
        return handle in self._handles()

    def warm_up(self):
        pass

    def close(self):
        pass

    def capacity(self):
        return self._capacity

    def lacking(self, wanted):
        return None

    def reserve(self, job_uid, wanted, beside=None) -> Reservation:
        return alone(wanted, self._capacity)

    def cancel(self, job_uid):
        pass

    def prepare(self, run):
        handle = f"{run.job_uid}/{run.host}"
        self._shell(_PREPARE, handle, said=run.to_json().encode())
        return handle

    def start(self, handle):
        if self._shell(_START, handle, sys.executable).returncode:
            raise InternalFailure(f"{handle} has no folder.")

    def probe(self, handle):
        return {0: Life.DEAD, 1: Life.ALIVE, 2: Life.NEVER_STARTED}[self._shell(_PROBE, handle).returncode]

    def stop(self, handle):
        if self.probe(handle) is Life.ALIVE:
            self._shell(_STOP, handle)

    def remains(self, handle, log_from):
        lines = self._read(handle, "journal", 0).splitlines()
        events = [HostEvent.from_json(json.loads(line)) for line in lines]
        words = self._read(handle, "runner.err", 0).decode()
        return Remains(events, self._read(handle, "log", log_from), words)

    def manifest(self, handle, start):
        return self._read(handle, "manifest", start)

    def forget(self, handle):
        self._shell('rm -rf -- "$1"', handle)

    def sweep(self, keep):
        for handle in self._handles():
            if handle not in keep and self.probe(handle) is not Life.ALIVE:
                self.forget(handle)

    def tidy(self, asked):
        return {}

    def _handles(self):
        return self._shell(_RUNS, ".").stdout.decode().split()

    def _read(self, handle, name, start):
        return self._shell(f'tail -c +{start + 1} "$1"/{shlex.quote(name)}', handle).stdout

    def _shell(self, script, handle, *words, said=b""):
        command = ["sh", "-c", script, "sh", self._folder / handle, *words]
        return subprocess.run(command, input=said, capture_output=True, check=False, timeout=60)


class TestShellEngine(RealRuns, EngineSuite):
    @pytest.fixture
    def engine(self, tmp_path):
        return ShellEngine(tmp_path / "runs", Resources(4, 16 << 30, 0, 4))
