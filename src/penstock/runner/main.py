"""Wires `run.conduct` to a run's folder and to the server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from pathlib import Path

from penstock.clock import now
from penstock.data.cache import Cache
from penstock.data.meter import Meter
from penstock.images.kinds import in_container
from penstock.job.run import Run
from penstock.runner.folder import RunFolder
from penstock.runner.journal import Journal
from penstock.runner.lease import Lease
from penstock.runner.line import Line
from penstock.runner.logs import LogWriter
from penstock.runner.manifest import Manifest
from penstock.runner.records import Records
from penstock.runner.report import Reporter
from penstock.runner.run import conduct, salvage
from penstock.runner.stop import Stop
from penstock.runtimes.containers.sockets import let_go


def main(path: Path) -> bool:
    """Do the run whose folder is `path`.

    Returns:
        Whether nothing out of the ordinary has happened: the program has succeeded within the sandbox and its limits,
        and nobody has asked for a stop. Another run in this process would find it as this one did.
    """
    folder = RunFolder(path)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.ask())
    # What the server ignores or blocks must not be inherited by the program; nor what a Ray node does: who ignores
    # SIGCHLD never learns how a child has ended.
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o022)
    with folder.pid.open("w") as pid:
        pid.write(str(os.getpid()))
        pid.flush()
        plain = _do(folder, stop)
        # Whoever is about to stop this run holds the file's lock, and sets a mark before it sends a signal.
        fcntl.flock(pid, fcntl.LOCK_EX)
        pid.truncate(0)
        return plain and not (stop.asked or folder.stop.exists())


def _do(folder: RunFolder, stop: Stop) -> bool:
    """The run; whether it was an ordinary one."""
    if folder.stop.exists():
        stop.ask()
    run = Run.from_json(folder.run.read_text())
    lease = Lease(Line(run, folder), stop, run.patience) if run.leased else None
    reporter = Reporter(run, folder, refused=stop.ask if lease is None else lease.give_up)
    log = LogWriter(folder.log, now, reporter.changed)
    journal = Journal(folder.journal.open("a+b", buffering=0), now, reporter.changed)
    records = Records(journal, log, Manifest(folder.manifest, now, reporter.changed), Meter(reporter.changed))
    reporter.start(journal, records.meter)
    if lease is not None:
        lease.hold()  # before anything is done: who comes late may have been given up
    with contextlib.nullcontext() if run.cache is None else Cache(Path(run.cache), run.cache_bytes) as cache:
        # A crash of the machine may take the journal and leave what a program has put into `ml`: no input may
        # follow its links.
        if journal.after(0) or folder.ml.exists():
            journal.skip()
            let_go(folder.path)
            salvage(run, folder, records)
            plain = False
        else:
            plain = conduct(run, folder, records, stop, cache)
        if lease is not None:
            lease.ease()
        reporter.finish()
        if lease is not None:
            lease.close()
        journal.close()
        records.manifest.close()
        log.close()
    return plain and lease is None and not in_container(run.request, run.runtime)
