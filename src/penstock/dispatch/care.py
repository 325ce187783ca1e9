"""What is done for hosts whose runners can't speak for themselves: they were not started, died, or are out of reach."""

from __future__ import annotations

from collections.abc import Callable

from penstock.dispatch.lease import Right
from penstock.engines.base import Engine, Life
from penstock.errors import JobFailure
from penstock.job.events import Host, HostEvent
from penstock.job.life import Carrier, Job, Phase
from penstock.job.uploads import read_lines
from penstock.store.database import Store
from penstock.store.logbook import Logbook

#: The phases in which a runner that died may have left outputs behind: another one is started to save them.
_WORTH_SALVAGING = {Phase.RUNNING, Phase.UPLOADING}
#: Those in which a runner that died is followed by another: also by one that begins where none ever said a word.
_WORTH_ANOTHER = {Phase.QUEUED, *_WORTH_SALVAGING}


class Care:
    """A part of the `Dispatcher`."""

    def __init__(
        self, store: Store, logbook: Logbook, right: Right, clock: Callable[[], int], wake: Callable[[], None]
    ) -> None:
        """`wake` is called when the end of a host has been put on record."""
        self._store = store
        self._logbook = logbook
        self._right = right
        self._clock = clock
        self._wake = wake
        self._followed: set[str] = set()
        """The runs that were given another runner: only one each, lest what kills runners is fed for ever. A server
        that is started anew gives one more."""

    def start(self, engine: Engine, host: Host, by: Carrier) -> None:
        """Start the runner of a host, or report that it can't be."""
        assert host.handle is not None
        try:
            engine.start(host.handle)
        except JobFailure as failure:
            self._report_for(host, failure.reason, by)

    def give_up_if_lost(self, host: Host, by: Carrier) -> bool:
        """End a host on a machine out of reach once its runner's lease is over: by then it has ended by itself.

        Not at once when this server is just back: as long as none was there, a runner could not tell its end.
        """
        if not self._right.settled():
            return False
        reason = (
            f"InternalServerError: {host.name} is lost: its machine is out of reach, and its runner has not been heard "
            "of for as long as it may go on without word from a server."
        )
        return self._store.end_lapsed(host.job_uid, host.key, self._end(host, reason, lost=True), by)

    def look_after(self, engine: Engine, job: Job, host: Host, by: Carrier) -> bool:
        """Start a host that a crash kept from being started; conclude for one whose runner is dead.

        Returns:
            Whether there was something to do, and so what is on record of the host may be another.
        """
        if host.handle is None:
            return False
        life = engine.probe(host.handle)
        if life is Life.ALIVE:
            return False
        if life is Life.UNKNOWN:
            return self.give_up_if_lost(host, by)
        if life is Life.DEAD and (told := self._store.host(job.uid, host.key)) is not None and told.ended:
            return True  # it has told its end since this pass has begun
        self._look_after_dead(engine, job, host, life, by)
        return True

    def _look_after_dead(self, engine: Engine, job: Job, host: Host, life: Life, by: Carrier) -> None:
        handle = host.handle
        assert handle is not None
        if life is Life.NEVER_STARTED and host.phase is not Phase.QUEUED:
            # It was started, and the machine knows nothing of it: a second start would run the program again.
            words = f"What this machine kept of {host.name} is gone, though it was {host.phase}"
            self._report_for(
                host, f"InternalServerError: {words}: it lost power, or somebody removed it.", by, lost=True
            )
            return
        if life is Life.NEVER_STARTED and job.phase is not Phase.STOPPING:
            self.start(engine, host, by)
            return
        # A runner that ended well may have died between its last words and our look: its remains tell.
        held = self._logbook.size(job.uid, host.key)
        while (remains := engine.remains(handle, held)).log:
            held = self._logbook.append(job.uid, host.key, held, remains.log)
        self._logbook.sync(job.uid, host.key)
        try:
            self._take_manifest(engine, host, handle)
            current = self._store.apply_events(job.uid, host.key, remains.events, by) or host
        except ValueError as error:  # a journal that no runner of ours wrote so
            self._report_for(
                host, f"InternalServerError: The journal of {host.name} can't be read: {error}.", by
            )
            return
        if current.ended:
            return
        silent = current.phase is Phase.QUEUED
        if life is Life.NEVER_STARTED or (silent and job.phase is Phase.STOPPING):
            self._report_for(current, None, by)
            return
        if current.phase in _WORTH_ANOTHER and handle not in self._followed:
            self.start(engine, current, by)
            self._followed.add(handle)
            return
        lost = (
            " What its program had written may not have been uploaded."
            if current.phase in _WORTH_SALVAGING
            else ""
        )
        words = f" Its last words: {remains.last_words}" if remains.last_words else ""
        self._report_for(
            current,
            f"InternalServerError: The runner of {host.name} ended without a report while {current.phase}; "
            f"it was killed or it crashed.{lost}{words}",
            by,
            lost=True,
        )

    def _take_manifest(self, engine: Engine, host: Host, handle: str) -> None:
        """Put on record what a dead runner has stored; what it has told already is written once more, in place."""
        start = 0
        while lines := engine.manifest(handle, start).rpartition(b"\n")[0]:
            self._store.uploads.add(host.job_uid, host.name, read_lines(lines + b"\n"))
            start += len(lines) + 1

    def _report_for(self, host: Host, reason: str | None, by: Carrier, *, lost: bool = False) -> None:
        """Report the end of a host in the place of a runner that can't."""
        self._store.apply_events(host.job_uid, host.key, [self._end(host, reason, lost=lost)], by)
        self._wake()

    def _end(self, host: Host, reason: str | None, *, lost: bool = False) -> HostEvent:
        outcome = {"outcome": "halted" if reason is None else "failed", "reason": reason, "lost": lost}
        return HostEvent(host.sequence + 1, "ended", self._clock(), outcome)
