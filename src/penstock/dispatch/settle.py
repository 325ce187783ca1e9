"""What the state of all hosts means for their job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from penstock.job.events import Host
from penstock.job.life import Event, Failed, Halted, Job, Phase, Reached, Retried, Succeeded, advance

_WORKING = (Phase.PREPARING, Phase.DOWNLOADING, Phase.RUNNING, Phase.UPLOADING)
_BEFORE = (Phase.QUEUED, Phase.PREPARING)
_EXIT_MESSAGE_BYTES = 1024


def verdict(job: Job, hosts: Sequence[Host]) -> Event | None:
    """The event that has become due for `job`, or None.

    A job ends when all its hosts have ended. It is as far as the host furthest behind.
    """
    if all(h.ended for h in hosts):
        return _end(hosts)
    if job.phase is Phase.STOPPING:
        return None
    working = [_WORKING.index(h.phase) for h in hosts if h.phase in _WORKING]
    unstarted = any(h.phase is Phase.QUEUED for h in hosts)
    if unstarted or not working or job.phase not in _WORKING:
        return None
    furthest_behind = _WORKING[min(working)]
    if _WORKING.index(furthest_behind) > _WORKING.index(job.phase):
        return Reached(furthest_behind)
    return None


def again(job: Job, hosts: Sequence[Host], event: Event, retries: int, now: int) -> Event:
    """What follows instead of an end: another attempt, when this one was lost and the job may have one more.

    Not when its time limit, which is for all attempts together, is over. Nor after a stop: who asks for one when the
    attempt is lost already has kept the next from beginning, and nothing else. What is lost while the job stops is its
    end, for its outputs are missing.
    """
    if not isinstance(event, Failed) or not event.lost or job.attempt > retries:
        return event
    if job.phase is Phase.STOPPING:
        lost_at = _first_failed(hosts).phases[Phase.FAILED.value]
        return Halted(event.exit_message) if lost_at <= job.phases[Phase.STOPPING.value] else event
    following = advance(job, Retried(event.reason), now)
    limit = job.request["StoppingCondition"]["MaxRuntimeInSeconds"] * 1000
    return Retried(event.reason) if following.spent_ms < limit else event


def moment(job: Job, hosts: Sequence[Host], event: Event, now: int) -> int:
    """When `event` happened: when the last host came there by its own clock, within what the server has seen."""
    if isinstance(event, Reached):
        order = _WORKING[_WORKING.index(event.phase) :]
        reached = [min((h.phases[p] for p in order if p in h.phases), default=0) for h in hosts]
    else:
        reached = [max(h.phases.values(), default=0) for h in hosts]
    earliest = max(job.phases.values(), default=job.created_at)
    return max(earliest, min(max(reached, default=0), now))


def catch_up(job: Job, hosts: Sequence[Host], now: int) -> Job:
    """`job` with the phases that its hosts have passed unseen, when several reports came at once.

    The start is when the first host began to fetch inputs; a phase is reached with the last host. Hosts have clocks
    of their own: what they tell is taken within what the server has seen.
    """
    phases = dict(job.phases)
    seen = max((at for name, at in phases.items() if name in _BEFORE), default=job.created_at)
    begun = [h.phases[Phase.DOWNLOADING] for h in hosts if Phase.DOWNLOADING in h.phases]
    started = job.started_at
    if started is None and begun:
        started = max(seen, min(*begun, now))
    for phase in _WORKING[1:]:
        times = [h.phases[phase] for h in hosts if phase in h.phases]
        if phase.value not in phases and len(times) == len(hosts):
            phases[phase.value] = max(seen, min(max(times), now))
        seen = max(seen, phases.get(phase.value, seen))
    order = {phase.value: place for place, phase in enumerate(Phase)}
    in_order = sorted(phases.items(), key=lambda item: order[item[0]])
    return replace(job, phases=dict(in_order), started_at=started)


def _end(hosts: Sequence[Host]) -> Event:
    message = _exit_message(hosts)
    failed = [h for h in hosts if h.phase is Phase.FAILED]
    if failed:
        first = _first_failed(hosts)
        reason = str((first.outcome or {}).get("reason") or "InternalServerError: no reason was reported.")
        if len(hosts) > 1:
            reason = f"{reason} (instance {first.name})"
        return Failed(reason[:1024], message, lost=all((h.outcome or {}).get("lost") for h in failed))
    if any(h.phase is Phase.STOPPED for h in hosts):
        return Halted(message)
    return Succeeded(message)


def _first_failed(hosts: Sequence[Host]) -> Host:
    failed = [h for h in hosts if h.phase is Phase.FAILED]
    return min(failed, key=lambda h: h.phases.get(Phase.FAILED.value, 0))


def _exit_message(hosts: Sequence[Host]) -> str | None:
    """All hosts' messages in host order, cut to 1 KB (AWS: "Container exit message", build your own container)."""
    texts = [str(m) for h in hosts if (m := (h.outcome or {}).get("exit_message"))]
    joined = "".join(texts).encode()[:_EXIT_MESSAGE_BYTES].decode("utf-8", "ignore")
    return joined or None
