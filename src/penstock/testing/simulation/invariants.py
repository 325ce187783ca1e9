"""What must be true whatever happens. `Watch` sees every write to the store as it is made, and every start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from penstock.job.claim import Claim, Resources, claim_of
from penstock.job.events import Host, HostEvent
from penstock.job.life import MOVES, Carrier, Job, Phase, key_of
from penstock.testing.simulation.plan import PATIENCE
from penstock.testing.simulation.runner import OBJECTS, Runner

if TYPE_CHECKING:
    from penstock.testing.simulation.world import World

_ORDER = list(Phase)
_FORWARD = [Phase.PREPARING, Phase.DOWNLOADING, Phase.RUNNING, Phase.UPLOADING]
#: Phase -> the phases that may follow.
LEGAL = {
    phase: {target for (begin, _), target in MOVES.items() if begin is phase and target is not None}
    | (set(_FORWARD[_FORWARD.index(phase) + 1 :]) if phase in _FORWARD else set())
    for phase in Phase
}


class Violation(BaseException):
    """Something is not as it must be. No `except Exception` of the code under test hides it."""


@dataclass
class _Seen:
    """What one server has seen of the queue, and tried."""

    queue: Sequence[Claim] = ()
    at: int = 0
    tried: set[str] = field(default_factory=set)


class Watch:
    """The ledger of all that was ever on record, and the checks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.jobs: dict[str, Job] = {}
        """By uid; deleted ones are in `deleted`, too."""
        self.deleted: set[str] = set()
        self._hosts: dict[str, Host] = {}
        self._seen: dict[str, _Seen] = {}
        """What each server has seen of the queue."""
        self._stopped_in_between: set[str] = set()
        """The jobs whose stop was put on record when their attempt was lost, and might have been followed."""

    # What is seen

    def looked(self, server: str, queue: Sequence[Claim]) -> None:
        """A dispatcher looks at the queue: it starts by what it sees now, though others come meanwhile."""
        seen = self._seen.setdefault(server, _Seen())
        seen.queue, seen.at = queue, self._world.clock.wall()

    def began_pass(self, server: str) -> None:
        """A dispatcher begins anew: what it could not start before, it tries again."""
        self._seen.setdefault(server, _Seen()).tried.clear()

    def tries(self, server: str, uid: str) -> None:
        """A dispatcher tries to start a job, which may fail."""
        self._seen.setdefault(server, _Seen()).tried.add(uid)

    def wrote(self, server: str, method: str, args: tuple[Any, ...]) -> None:
        """A server has written; what is on record now is compared with what was."""
        store = self._world.store
        if method == "end_lapsed":
            self._check_carrier(args[0], args[3])
            self._see_host(store.host(*args[:2]))
            return
        if method in {"enter", "adopt"}:
            self._see_carriers()
            return
        if method == "apply_events":
            uid, name, *_ = args
            self._check_carrier(uid, args[3] if len(args) > 3 else None)
            self._see_host(store.host(uid, name))
            return
        if method == "add":
            return
        job = args[0][0][0] if method == "add_jobs" else args[0]
        found = store.job_of_uid(job.uid)
        if method == "delete_job":
            self._need(self.jobs[job.uid].phase.final, "no lost job", f"{job.uid} is deleted before its end")
            self._need(found is None, "no lost job", f"{job.uid} is deleted and there")
            self.deleted.add(job.uid)
            return
        if method == "add_jobs" and found is None:
            return  # its name was taken
        if method == "save_job":
            self._check_carrier(job.uid, args[1] if len(args) > 1 else None)
        if method == "add_hosts" and self._world.plan.servers > 1:
            leased = store.servers.runs(args[2])
            self._need(leased, "only who holds a lease begins", f"{args[2]} begins {job.uid}")
        self._see_job(found, job.uid, server)
        if method == "add_hosts":
            for host in store.hosts(job.uid):
                self._see_host(host)

    def taken(self, uid: str, name: str, events: Sequence[HostEvent]) -> None:
        """A report was taken: once more, it must change nothing."""
        store = self._world.store
        before = store.host(uid, name)
        if before is not None:
            store.apply_events(uid, name, events)
            after = store.host(uid, name)
            self._need(
                after == before,
                "reports are idempotent",
                f"{uid}/{name}: {_told(before)} became {_told(after)}",
            )

    def started(self, handle: str, living: Sequence[str]) -> None:
        """A runner is started."""
        self._need(handle not in living, "no double run", f"two runners live for {handle}")
        uid = handle.partition("/")[0]
        job = self.jobs.get(uid)
        self._need(job is not None, "no double run", f"{handle} is of no job")
        assert job is not None
        self._need(handle in self._hosts, "intent before start", f"{handle} is started and not on record")
        self._need(not job.phase.final, "no run after the end", f"{handle} starts: {uid} is {job.phase}")

    def alone(self, runner: Runner) -> None:
        """A program begins: nobody else of its job is at work but for its own attempt."""
        self.stores(runner)
        for other in self._world.living(runner.run.job_uid):
            self._need(
                other.run.attempt == runner.run.attempt or not other.at_work,
                "one attempt at a time",
                f"{runner.handle} begins beside {other.handle}",
            )

    def stores(self, runner: Runner) -> None:
        """A runner does something that others see: only of the job's last attempt."""
        job = self.jobs[runner.run.job_uid]
        told = f"{runner.handle} stores an object in attempt {job.attempt}, {job.phase}"
        self._need(job.attempt == runner.run.attempt, "nothing of an earlier attempt", told)

    def knows_start(self, handle: str) -> bool:
        """Whether it is on record that a host was started."""
        return handle in self._hosts and self._hosts[handle].phase is not Phase.QUEUED

    def left(self, runner: Runner) -> None:
        """A runner has ended by itself: its server knows how, or knows the job no more."""
        host = self._world.store.host(runner.run.job_uid, runner.run.key)
        known = host is None or host.ended
        self._need(known, "ends are told", f"{runner.name} has ended; on record {_told(host)}")

    def all_on_record(self) -> None:
        """What was accepted is there, as it was last written."""
        for uid, job in self.jobs.items():
            if uid not in self.deleted:
                found = self._world.store.job_of_uid(uid)
                self._need(found == job, "no lost job", f"{uid} was {job} and is {found}")

    def at_the_end(self) -> None:
        """After all jobs have ended and everything was swept."""
        self.all_on_record()
        for uid, job in self.jobs.items():
            self._need(job.phase.final, "every job ends", f"{uid} is {job.phase}")
        left = sorted(self._world.engine.runs)
        self._need(not left, "nothing is left behind", f"the engine still holds {left}")

    # Jobs

    def _see_carriers(self) -> None:
        """Somebody has taken jobs over: nothing else of them has changed."""
        for uid, before in self.jobs.items():
            found = self._world.store.job_of_uid(uid)
            if uid not in self.deleted and found is not None and found.carrier != before.carrier:
                taken = replace(before, carrier=found.carrier, version=before.version + 1)
                self._need(found == taken, "a job is taken over as it is", f"{before} became {found}")
                self.jobs[uid] = found

    def _check_carrier(self, uid: str, by: Carrier | None) -> None:
        """Whoever writes by a right of its own has that right."""
        if by is not None and uid in self.jobs:
            carrier = self.jobs[uid].carrier
            self._need(by == carrier, "only who carries a job writes", f"{by} wrote to {uid}, of {carrier}")

    def _see_job(self, job: Job | None, uid: str, server: str) -> None:
        before = self.jobs.get(uid)
        self._need(job is not None, "no lost job", f"{uid} is gone")
        assert job is not None
        if before is None:
            self._need(
                job.version == 0 and job.phase is Phase.QUEUED, "legal moves", f"{uid} begins as {job}"
            )
            self.jobs[uid] = job
            self._world.appeared(uid, job.name)
            return
        if job == before:
            return
        move = f"{uid}: {before.phase} v{before.version} -> {job.phase} v{job.version}"
        self._need(not before.phase.final, "the end is final", move)
        self._need(job.version == before.version + 1, "versions grow by one", move)
        self._need(job.phase in LEGAL[before.phase], "legal moves", move)
        again = before.phase is not Phase.QUEUED and job.phase is Phase.QUEUED
        self._need(job.attempt == before.attempt + again, "attempts follow losses", move)
        if again:
            self._need(before.attempt <= self._world.plan.retries, "attempts follow losses", move)
            self._need("AlgorithmError" not in job.lost[-1].reason, "attempts follow losses", move)
            self._check_reason(replace(before, failure_reason=job.lost[-1].reason))
        self.jobs[uid] = job
        may_follow = job.attempt <= self._world.plan.retries
        if job.phase is Phase.STOPPING and may_follow and self._is_lost(job):
            self._stopped_in_between.add(job.uid)
        self._check_times(job)
        self._check_capacity()
        if before.phase is Phase.QUEUED and job.phase is Phase.PREPARING:
            self._check_turn(job, self._seen[server])
        if job.phase.final:
            self._check_end(job)

    def _is_lost(self, job: Job) -> bool:
        """Whether all that has failed of its attempt was lost."""
        failed = [host.outcome or {} for host in self._of(job) if host.phase is Phase.FAILED]
        return bool(failed) and all(outcome.get("lost") for outcome in failed)

    def _check_times(self, job: Job) -> None:
        told = f"{job.uid}: {dict(job.phases)}, started {job.started_at}, ended {job.ended_at}"
        self._need(_in_order(job.phases), "times are monotone", told)
        known = [job.created_at, job.started_at, job.ended_at]
        times = [at for at in known if at is not None]
        self._need(times == sorted(times), "times are monotone", told)
        self._need(max(times) <= self._world.clock.latest, "times are not of the future", told)

    def _check_capacity(self) -> None:
        places: dict[str, list[Claim]] = {}
        for uid, job in self.jobs.items():
            if uid not in self.deleted and not job.phase.final and job.phase is not Phase.QUEUED:
                places.setdefault(job.place, []).append(claim_of(job))
        for begun in places.values():
            taken = sum((claim.resources for claim in begun), Resources())
            fits = taken.within(self._world.capacity) or len(begun) == 1
            self._need(fits, "no more than the machine has", f"{[claim.uid for claim in begun]} take {taken}")

    def _check_turn(self, job: Job, looked: _Seen) -> None:
        """Whoever was seen in the queue with more right to what the job now has, is not left behind."""
        mine = claim_of(job)
        capacity = self._world.capacity
        seen = next((claim for claim in looked.queue if claim.uid == job.uid), None)
        self._need(seen is not None, "a turn for each", f"{job.uid} starts and was not seen in the queue")
        for other in looked.queue:
            if self.jobs[other.uid].phase is not Phase.QUEUED or other.uid in looked.tried:
                continue
            line = (other.priority, other.owner) == (mine.priority, mine.owner)
            older = (other.created_at, other.uid) < (mine.created_at, mine.uid)
            if not (other.priority > mine.priority or (line and older)):
                continue
            told = f"{job.uid} starts before {other.uid}, of priority {other.priority}"
            smaller = other.resources.of(capacity).within(mine.resources.of(capacity))
            self._need(not smaller, "a turn for each", told)
            waited = looked.at - other.created_at
            self._need(waited < PATIENCE, "no job is starved", f"{told}, after {waited} ms")

    def _check_end(self, job: Job) -> None:
        for runner in self._world.living(job.uid):
            told = f"{runner.handle} lives on: {job.uid} has ended"
            self._need(not runner.at_work, "no run after the end", told)
        hosts = self._world.store.hosts(job.uid, job.attempt)
        if job.phase is Phase.COMPLETED:
            self._check_success(job, hosts)
        elif job.phase is Phase.STOPPED:
            true = self._world.knows(job.uid, "stop asked") or self._world.knows(job.uid, "time limit")
            self._need(true, "ends have true reasons", f"nobody wanted {job.uid} to stop")
        else:
            self._check_reason(job)
            # A clock that jumps leaves open what came first.
            steady = all(fault.kind != "clock jumps" for fault in self._world.plan.faults)
            stopped = steady and job.uid in self._stopped_in_between and self._is_lost(job)
            self._need(not stopped, "a stop is the end of what was lost before", f"{job.uid} failed")

    def _check_success(self, job: Job, hosts: Sequence[Host]) -> None:
        told = f"{job.uid} is completed"
        self._need(len(hosts) == job.instance_count, "success is of all hosts", told)
        for host in hosts:
            handle = f"{job.uid}/{host.key}"
            outcome = (host.outcome or {}).get("outcome")
            self._need(outcome == "succeeded", "success is of all hosts", f"{told}, {handle} is {outcome}")
            self._need(self._world.wish_of(job.uid).exit_code == 0, "success is of all hosts", told)
            stored = self._world.objects.get(handle, set())
            self._need(
                len(stored) == OBJECTS, "success means stored outputs", f"{told}, {handle} has {stored}"
            )
            held = self._world.logbook.size(job.uid, host.key)
            size = self._world.log_size(handle)
            whole = held == size or self._world.knows(handle, "power lost")  # the log is not synced
            self._need(whole, "the log is whole at the end", f"{told}, log of {handle}: {held}/{size}")
        on_record = {upload.uri for _, upload in self._world.store.uploads.page(job.uid, None, 1000)}
        stored = {uri for host in hosts for uri in self._world.objects[f"{job.uid}/{host.key}"]}
        self._need(
            on_record == stored, "the manifest is whole at the end", f"{told}: {on_record} of {stored}"
        )

    def _check_reason(self, job: Job) -> None:
        reason = job.failure_reason or ""
        host = re.search(r"algo-\d+", reason)
        handle = f"{job.uid}/{key_of(host[0] if host else 'algo-1', job.attempt)}"
        if code := re.fullmatch(r"AlgorithmError: , exit code: (\d+)( \(instance algo-\d+\))?", reason):
            wish = self._world.wish_of(job.uid)
            true = int(code[1]) == wish.exit_code and self._world.knows(handle, "ran")
        elif "ended without a report" in reason:
            true = self._world.knows(handle, "killed")
        elif "could not be started" in reason:
            true = self._world.knows(handle, "not started") or self._world.knows(job.uid, "not started")
        elif "is lost: its machine is out of reach" in reason:
            true = self._world.knows(handle, "cut off")
        elif "No server has answered the runner" in reason:
            true = any(self._world.knows(f"{job.uid}/{host.key}", "silent") for host in self._of(job))
        elif "is gone" in reason:
            true = self._world.knows(handle, "power lost")
        else:
            true = False
        self._need(true, "ends have true reasons", f"{job.uid} failed for {reason!r}")

    def _of(self, job: Job) -> Sequence[Host]:
        return list(self._world.store.hosts(job.uid, job.attempt))

    # Hosts

    def _see_host(self, host: Host | None) -> None:
        if host is None:
            return
        handle = f"{host.job_uid}/{host.key}"
        before = self._hosts.get(handle)
        self._hosts[handle] = host
        if before is None or before == host:
            return
        told = f"{handle}: {_told(before)} became {_told(host)}"
        self._need(not before.ended, "the end is final", told)
        self._need(host.sequence > before.sequence, "reports are idempotent", told)
        self._need(_in_order(host.phases), "times are monotone", told)

    def _need(self, true: bool, invariant: str, words: str) -> None:
        if not true:
            raise Violation(f"{invariant}: {words}")


def _in_order(phases: Any) -> bool:
    """Whether later phases have later times. A stop may be asked for before or after any phase but the ends."""
    without = [name for name in sorted(phases, key=_place) if name != Phase.STOPPING]
    times = [phases[name] for name in without]
    stopping = phases.get(Phase.STOPPING, times[0])
    ended = times[-1] if Phase(without[-1]).final else stopping
    return times == sorted(times) and times[0] <= stopping <= ended


def _place(name: str) -> int:
    return _ORDER.index(Phase(name))


def _told(host: Host | None) -> str:
    """A host in a few words, without its token."""
    if host is None:
        return "nothing"
    return f"{host.phase} by event {host.sequence}, {dict(host.phases)}, {host.outcome}"
