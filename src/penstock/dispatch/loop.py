"""One pass after another: start what waits, settle what was reported, stop what must end, find what was lost.

The loop runs in a thread of its own and is woken by whoever changed something (`wake`), so that nothing waits
for a timer; the timer is only for what nobody reports: a runner that died. It holds no state that matters: all
that it knows is read from the store, so a crash between any two statements is mended by the next pass.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from penstock.clock import elapsed
from penstock.dispatch.care import Care
from penstock.dispatch.lease import Alone, Right
from penstock.dispatch.schedule import PATIENCE_MS, in_order, is_whole, plan, room
from penstock.dispatch.settle import again, catch_up, moment, verdict
from penstock.engines.base import Engine, Reservation, part_of
from penstock.errors import ConfigurationError, Conflict
from penstock.job.claim import Choice, Claim, Resources, claim_of, resources_of, retries_of
from penstock.job.events import Host, to_stop
from penstock.job.life import Carrier, Failed, Job, Phase, Retried, Started, advance
from penstock.job.run import Run
from penstock.job.seal import digest_of
from penstock.store.database import Store
from penstock.store.logbook import Logbook

_log = logging.getLogger(__name__)

#: How many waiting jobs of each owner and priority a pass looks at: a few, and more where they are not enough. What
#: waits behind so many passes none of them.
_HEADS = (2, 16)
#: How often runners are asked whether they live. A dead one is noticed within this time.
PROBE_SECONDS = 1.0
#: How often what ended jobs have left behind is looked for: a runner may outlive its job's end by a moment, and a
#: folder may withstand its removal.
SWEEP_SECONDS = 600.0

#: After a pass for which nothing pressed the loop rests for this many times as long as it took, and for so many seconds
#: at most: when every request of a flood wakes it, most of the processor is still the requests'. What presses ends it.
_PAUSE, _LONGEST_PAUSE = 3, 0.05


class Dispatcher:
    """Carries jobs from wish to end."""

    def __init__(
        self,
        store: Store,
        logbook: Logbook,
        engine: Engine,
        make_run: Callable[[Job, str, tuple[str, ...], str], Run],
        clock: Callable[[], int],
        patience: int = PATIENCE_MS,
        tell: Callable[[str], None] = lambda _: None,
        right: Right | None = None,
        hindrance: Callable[[], str | None] = lambda: None,
        retries: int = 0,
        choice: Choice | None = None,
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        """`right` is how this server may write; None: it has a database of its own.

        `hindrance` tells why no job may begin at present, whatever room there is for it; None: they may.
        `retries` is how many attempts may follow a job's first one when its tags say nothing.
        `choice` is for which engine a job waits that begins anew; None: for that which it had.
        `elapsed` are seconds by a clock that nobody sets.
        """
        self._store = store
        self._engine = engine
        self._make_run = make_run
        self._clock = clock
        self._patience = patience
        self._tell = tell
        self._right: Right = right or Alone()
        self._held_up = hindrance
        self._care = Care(store, logbook, self._right, clock, self.wake)
        self._retries = retries
        self._choice = choice
        self._elapsed = elapsed
        self._quiet_since: dict[str, float] = {}
        """Since when nobody works any more for the attempts that are to be followed by another, by `Job.key`."""
        self._by: Carrier | None = None
        self._hindered: dict[str, tuple[str, Reservation]] = {}
        """The waiting jobs for which an engine has no room yet, by their uids: its name, and what it says."""
        self._swept_at: int | None = None
        self._wake = threading.Event()
        self._soon = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="dispatch", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        if not self._ending.is_set():
            self._thread.start()

    def wake(self, *, soon: bool = True) -> None:
        """Something has changed: look at once, or with `soon` false after the rest that follows a pass."""
        self._wake.set()
        if soon:
            self._soon.set()

    def hindrance(self, claim: Claim) -> str | None:
        """What a waiting job lacks beside what others hold, in the form of `Reservation.lacking`. From any thread."""
        part = part_of(self._engine, claim.engine)
        if part is None:
            there = " and ".join(one.name for one in self._engine.parts())
            return f"needs the engine {claim.engine}, and this server has {there}"
        _, said = self._hindered.get(claim.uid, ("", Reservation()))
        return part.lacking(claim.resources) or said.lacking

    def close(self) -> None:
        """End after the pass under way. Runners go on."""
        self._ending.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join()

    def _loop(self) -> None:
        while not self._ending.is_set():
            pressing = self._soon.is_set()
            self._wake.clear()
            self._soon.clear()
            began = time.monotonic()
            try:
                self.step()
            except Exception:  # noqa: BLE001 - the loop must outlive whatever one pass meets
                _log.exception("A pass of the dispatcher failed; it is tried again")
            if not pressing:
                self._soon.wait(min(_PAUSE * (time.monotonic() - began), _LONGEST_PAUSE))
            self._wake.wait(PROBE_SECONDS)

    def step(self) -> None:
        """One pass over all jobs that have been started and have not ended, and the heads of the queue."""
        by = self._right.held()
        if by is None:
            return  # others may work on what it would do
        if by != self._by:
            self._by, self._swept_at = by, None  # others may have ended jobs that lie here
        begun = self._store.begun()
        self._sweep([host for job, hosts in begun if job.place == by.server for host in hosts])
        holding = {job.uid: claim_of(job) for job, _ in begun if job.place == by.server}
        gathered = self._right.gather([job for job, _ in begun], by)
        for job, (_, hosts) in zip(gathered, begun, strict=True):
            if job.carrier != by:
                continue
            ended = False
            try:
                ended = self._carry(job, hosts, by)
            except Conflict:
                self.wake()  # somebody moved it meanwhile (a stop, say): look again at once
            except Exception:  # noqa: BLE001 - one job's trouble must not keep the others waiting
                _log.exception("Job %s can't be carried on; it is tried again", job.name)
            if ended:
                holding.pop(job.uid, None)
        self._start_next(list(holding.values()), by)

    def _start_next(self, holding: list[Claim], by: Carrier) -> None:
        """Begin what may be, on each engine by itself."""
        for uid, (engine, _) in list(self._hindered.items()):
            job = self._store.job_of_uid(uid)
            part = part_of(self._engine, "" if job is None else job.engine)
            if job is None or job.phase is not Phase.QUEUED or part is None or part.name != engine:
                self._engine.cancel(uid)  # it was stopped, is another server's, or waits for another engine
                del self._hindered[uid]
        if self._held_up() is not None:
            return  # it passes without news, and each pass asks
        for part in self._engine.parts():
            self._fill(part, [one for one in holding if part_of(self._engine, one.engine) is part], by)

    def _fill(self, part: Engine, holding: list[Claim], by: Carrier) -> None:
        """Begin what may be on one engine, until its machines are full or nothing more can be.

        The guarded write alone decides: what the queue says of a job may be old when its turn has come.
        """
        tried: set[str] = set()
        first: Claim | None = None
        capacity = part.capacity()
        while room(capacity, holding):
            start = self._plan(part, capacity, holding, tried)
            if not start:
                break
            for claim in start:
                tried.add(claim.uid)
                if self._try(part, claim, by, first):
                    holding.append(claim)
                elif first is None and self._is_kept_room_for(claim):
                    first = claim
        part.want(lambda: self._without_room(part, capacity, holding))

    def _is_kept_room_for(self, claim: Claim) -> bool:
        """Whether a job has waited its time for what is free in pieces: those behind it go on, but not at its cost."""
        _, said = self._hindered.get(claim.uid, ("", Reservation()))
        return said.pieces and self._clock() - claim.created_at >= self._patience

    def _heads(self, part: Engine, first: int) -> list[Claim]:
        """The first few of each owner and priority that wait for an engine."""
        return [one for one in self._store.waiting(first) if part_of(self._engine, one.engine) is part]

    def _without_room(self, part: Engine, capacity: Resources, holding: Sequence[Claim]) -> Iterator[Claim]:
        taken = {one.uid for one in holding}
        heads = [one for one in self._heads(part, _HEADS[0]) if one.uid not in taken]
        return in_order(capacity, holding, heads)

    def _plan(
        self, part: Engine, capacity: Resources, holding: list[Claim], tried: Container[str]
    ) -> list[Claim]:
        """The jobs to begin now, by the first few of each owner and priority, and by more where those do not tell."""
        for first in _HEADS:
            heads = self._heads(part, first)
            waiting = [one for one in heads if one.uid not in tried and part.lacking(one.resources) is None]
            made = plan(capacity, holding, waiting, self._clock(), patience=self._patience)
            if is_whole(made, waiting, heads, first):
                break
        return made.start

    def _try(self, part: Engine, claim: Claim, by: Carrier, beside: Claim | None) -> bool:
        """Begin a job whose turn it is, once the engine has room for all of its instances; whether that is taken."""
        try:
            job = self._store.job_of_uid(claim.uid)
            if job is None or job.phase is not Phase.QUEUED or job.engine != claim.engine:
                return False
            reserved = part.reserve(job.uid, claim.resources, beside)
            if not reserved.ready:
                self._hindered[job.uid] = part.name, reserved
                return reserved.lacking is None
            self._hindered.pop(job.uid, None)
            return self._begin(part, replace(job, engine=part.name), by, reserved.notes)
        except Conflict:
            self.wake()
            return False  # it was stopped in this moment, or another server was quicker
        except Exception:  # noqa: BLE001 - as above
            _log.exception("Job %s can't be begun; it is tried again", claim.name)
            return True  # perhaps: the next pass sees what is on record

    def _sweep(self, begun: Sequence[Host]) -> None:
        """Remove what ended jobs have left behind: at first, for there may have been a crash, then now and then.

        Args:
            begun: The hosts of those that have been started and have not ended.
        """
        now = self._clock()
        if self._swept_at is not None and 0 <= now - self._swept_at < SWEEP_SECONDS * 1000:
            return  # a clock that was set back makes it due
        try:
            self._engine.sweep({host.handle for host in begun if host.handle is not None})
        except Exception:  # noqa: BLE001 - what is left behind must not keep jobs waiting
            _log.exception("What ended jobs have left behind can't be removed; it is tried again")
        else:
            self._swept_at = now

    def _begin(self, part: Engine, job: Job, by: Carrier, notes: Sequence[str]) -> bool:
        """Store the intent, then start. What a crash leaves in between is found by `_carry`.

        Returns:
            Whether the job has begun: nothing is on record of one that could not be prepared, but its failure.
        """
        at = self._clock()
        try:
            hosts = self._prepare(part, job, at, notes)
        except (OSError, ConfigurationError) as error:
            words = str(error).rstrip(".")
            reason = f"InternalServerError: The job could not be started on this machine: {words}."
            self._engine.cancel(job.uid)
            self._store.save_job(advance(job, Failed(reason), at))
            self._tell(job.uid)
            return False
        except Exception:  # noqa: BLE001 - its place is free for others until it can be prepared
            _log.exception("Job %s can't be prepared; it is tried again", job.name)
            return False
        try:
            self._store.add_hosts(advance(job, Started(), at), hosts, by, self._right.runner_ms)
        except Conflict:
            # It was stopped in this moment, or is another server's: nothing on record tells of what was prepared.
            for host in hosts:
                if host.handle is not None:
                    self._forget(self._engine, host.handle)
            self._engine.cancel(job.uid)
            raise
        for host in hosts:
            self._care.start(self._engine, host, by)
        return True

    def _prepare(self, part: Engine, job: Job, at: int, notes: Sequence[str]) -> list[Host]:
        names = tuple(f"algo-{n}" for n in range(1, job.instance_count + 1))
        # As AWS has it, a time; of two attempts within a second the later one says a later one.
        began = at // 1000 + len(job.lost)
        tokens = {name: secrets.token_urlsafe(32) for name in names}
        return [
            Host(
                job_uid=job.uid,
                job_name=job.name,
                name=name,
                token_digest=digest_of(token),
                attempt=job.attempt,
                log_stream=f"{job.name}/{name}-{began}",
                handle=part.prepare(
                    replace(self._make_run(job, name, tuple(sorted(names)), token), notes=tuple(notes))
                ),
            )
            for name, token in tokens.items()
        ]

    def _carry(self, job: Job, hosts: Sequence[Host], by: Carrier) -> bool:
        """Bring one job forward; True when it has ended."""
        engine = self._engine if job.place == by.server else self._right.reach(job.place)
        looked_after = [
            self._care.give_up_if_lost(host, by)
            if engine is None
            else self._care.look_after(engine, job, host, by)
            for host in hosts
            if not host.ended
        ]
        if any(looked_after):
            hosts = self._store.hosts(job.uid, job.attempt)
        for host in to_stop(job, hosts):
            if host.handle is not None and engine is not None:  # else its runner hears it with its lease
                engine.stop(host.handle)
        event = verdict(job, hosts)
        if event is None:
            return False
        now = self._clock()
        job = catch_up(job, hosts, now)
        event = again(job, hosts, event, self._retries_of(job) if isinstance(event, Failed) else 0, now)
        if isinstance(event, Retried):
            if self._elapsed() - self._quiet_since.setdefault(job.key, self._elapsed()) < self._quiet:
                return False
            # Before it may begin anew: it needs other room.
            self._forget_all(engine, hosts)
            del self._quiet_since[job.key]
        moved = advance(job, event, moment(job, hosts, event, now))
        self._store.save_job(moved, by)
        if isinstance(event, Retried):
            self._send_anew(moved)
            _log.warning("job %s: attempt %d is lost: %s", job.name, job.attempt, event.reason)
            self.wake()
        if moved.phase.final:
            self._quiet_since.pop(job.key, None)
            self._tell(job.uid)
            _log.info(
                "job %s: %s%s",
                job.name,
                moved.phase,
                f": {moved.failure_reason}" if moved.failure_reason else "",
            )
            self._forget_all(engine, hosts)
        return moved.phase.final or moved.phase is Phase.QUEUED

    @property
    def _quiet(self) -> float:
        """Seconds for a store to do what an attempt sent it last: what was whole when its runner ended comes to be.

        The reserve of a lease. On the server's own machine the next attempt takes longer to begin.
        """
        return (self._right.runner_ms or 0) / 10_000

    def _send_anew(self, job: Job) -> None:
        """Have a job that begins anew wait as it would if it were new: its tags, or the servers, may be others now."""
        if self._choice is not None:
            with suppress(ValueError):  # it waits, and says for what
                self._store.send(job, self._choice.of(self._store.tags(job.arn), resources_of(job.request)))

    def _retries_of(self, job: Job) -> int:
        try:
            return retries_of(self._store.tags(job.arn), self._retries)
        except ValueError:
            return self._retries  # a tag that was there before it meant anything

    def _forget_all(self, engine: Engine | None, hosts: Sequence[Host]) -> None:
        for host in hosts:
            if host.handle is not None and engine is not None:  # else its own server sweeps it away
                self._forget(engine, host.handle)

    def _forget(self, engine: Engine, handle: str) -> None:
        try:
            engine.forget(handle)
        except OSError:
            _log.exception("What is left of run %s can't be removed; the next start tries again", handle)
