"""The queue in words: who holds what of the machines, who waits, and for what. Pure but for what it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from penstock.dispatch.schedule import Wait, left, plan
from penstock.engines.base import Engine, Machine, part_of
from penstock.job.claim import Claim, Resources, claim_of, counted, gib, resources_of
from penstock.job.life import ALONE, Job, from_key
from penstock.store.database import Store
from penstock.store.servers import Entered

#: How many holders are named of those that a job waits for.
_NAMED = 3


def outlook(
    store: Store,
    engine: Engine,
    now: int,
    servers: Sequence[Entered] = (),
    hindrance: Callable[[Claim], str | None] = lambda _: None,
    held_up: str | None = None,
) -> dict[str, Any]:
    """The whole queue as it is at this moment. JSON.

    ``capacity`` and ``free`` are what the machines have and what is left of it; ``running`` are the jobs that have been
    started, the oldest first, and ``waiting`` the others, the next first, each with its place in the line of its
    ``engine`` (``position``, from 1) and the ``reason`` why it waits; ``nodes`` are the machines with what they bear.

    Where servers share the database (`servers`, the one that is asked first), capacity and free are those of all
    machines together, whoever runs is told with the ``server`` that carries it on, and the reasons are those of the
    machine that is asked. `hindrance` is what its engine says (`Dispatcher.hindrance`): what can't begin whoever else
    ran comes last. `held_up` is why nothing begins here at present: then it is the reason of those who are next.
    """
    begun = store.begun_jobs()
    here = servers[0].server.id if servers else ALONE.server
    others = {one.server.id: one.server.capacity for one in servers[1:] if one.alive}
    urls = {one.server.id: one.server.url for one in servers}
    lines: dict[str, list[Claim]] = {}
    hindered: dict[str, list[tuple[Claim, str]]] = {}
    for claim in store.waiting():
        part = part_of(engine, claim.engine)
        line = claim.engine if part is None else part.name
        if (why := hindrance(claim)) is not None:
            hindered.setdefault(line, []).append((claim, why))
        else:
            lines.setdefault(line, []).append(claim)
    capacity, free, takes, waiting = Resources(), Resources(), dict[str, str](), list[dict[str, Any]]()
    due, waits = dict[str, list[Claim]](), dict[str, list[tuple[Claim, str]]]()
    for part in engine.parts():
        there = part.capacity()
        holding = [one for one in _at(begun, here) if part_of(engine, one.engine) is part]
        made = plan(there, holding, lines.pop(part.name, []), now, explain=True)
        reasons = _Reasons(there, [*holding, *made.start])
        due[part.name] = [] if held_up else made.start
        waits[part.name] = [(claim, held_up) for claim in made.start] if held_up else []
        waits[part.name] += [(wait.claim, reasons.of(wait)) for wait in made.waits]
        capacity, free = capacity + there, free + left(there, holding)
        takes |= {one.uid: str(one.resources.of(there)) for one in holding}
    for place, there in others.items():
        holding = _at(begun, place)
        made = plan(there, holding, [claim for of in waits.values() for claim, _ in of], now, explain=True)
        elsewhere = {one.uid for one in made.start}
        for name, of in waits.items():
            due[name] += [claim for claim, _ in of if claim.uid in elsewhere]
            waits[name] = [one for one in of if one[0].uid not in elsewhere]
        capacity, free = capacity + there, free + left(there, holding)
        takes |= {one.uid: str(one.resources.of(there)) for one in holding}
    for name in [*due, *(name for name in hindered if name not in due)]:
        told = [
            *((claim, "is about to start") for claim in due.get(name, ())),
            *waits.get(name, ()),
            *hindered.get(name, ()),
        ]
        waiting += [
            {**_entry(claim), "engine": name, "position": place, "reason": why}
            for place, (claim, why) in enumerate(told, 1)
        ]
    return {
        "capacity": _json(capacity),
        "free": _json(free),
        "running": [
            {
                **_entry(claim_of(job)),
                "engine": job.engine,
                "phase": job.phase.value,
                "takes": takes.get(job.uid) or str(resources_of(job.request)),
                "server": urls.get(job.carrier.server),
            }
            for job in begun
        ],
        "waiting": waiting,
        "nodes": _all_nodes(engine, servers, begun),
    }


def nodes(store: Store, engine: Engine, servers: Sequence[Entered] = ()) -> list[dict[str, Any]]:
    """The machines on which jobs may run, with what they have, what of it is taken, and the jobs there. JSON."""
    return _all_nodes(engine, servers, store.begun_jobs())


def _all_nodes(engine: Engine, servers: Sequence[Entered], begun: Sequence[Job]) -> list[dict[str, Any]]:
    here = servers[0].server.id if servers else ALONE.server
    return [*_nodes(engine, begun, here), *_servers(servers[1:], begun)]


def _at(begun: Sequence[Job], place: str) -> list[Claim]:
    return [claim_of(job) for job in begun if job.place == place]


def _nodes(engine: Engine, begun: Sequence[Job], here: str) -> Iterator[dict[str, Any]]:
    """The machines on which this server begins jobs."""
    jobs = {job.uid: job for job in begun if job.place == here}
    for one in engine.machines():
        there = [
            (jobs[uid], _names(keys, jobs[uid])) for uid, keys in sorted(one.jobs.items()) if uid in jobs
        ]
        ours = sum((_part(job, len(names), one) for job, names in there), Resources())
        others = Resources() if one.free is None else one.total - one.free
        # What is free on a node is known with a delay, and of others' jobs nothing else is.
        taken = Resources(*map(max, ours.amounts, others.amounts))
        yield {
            "name": one.name,
            "address": one.address,
            "engine": one.engine,
            "alive": one.alive,
            "total": _json(one.total),
            "taken": _json(taken),
            "jobs": [{"name": job.name, "instances": sorted(names)} for job, names in there if names],
        }


def _names(keys: Sequence[str], job: Job) -> list[str]:
    """The instances of a job's attempt, as people and programs know them."""
    return [name for name, attempt in map(from_key, keys) if attempt == job.attempt]


def _part(job: Job, instances: int, machine: Machine) -> Resources:
    """What so many instances of a job take of a machine: all of it at the most."""
    wanted = resources_of(job.request)
    together = Resources(*(amount // max(1, wanted.instances) for amount in wanted.amounts)) * instances
    if machine.total == Resources():
        return together
    # Where the queue alone gives out, what is larger has it all to itself.
    return together.of(machine.total) if machine.free is None else together.least(machine.total)


def _servers(others: Sequence[Entered], begun: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """The other servers of the database, each with its machine."""
    for one in others:
        there = [job for job in begun if job.place == one.server.id]
        if one.alive or there:
            total = one.server.capacity
            taken = sum((claim_of(job).resources.of(total) for job in there), Resources())
            yield {
                "name": one.server.url,
                "address": one.server.url,
                "engine": "server",
                "alive": one.alive,
                "total": _json(total),
                "taken": _json(taken),
                "jobs": [{"name": job.name, "instances": []} for job in there],
            }


def _entry(claim: Claim) -> dict[str, Any]:
    return {
        "name": claim.name,
        "owner": claim.owner,
        "priority": claim.priority,
        "created_at": claim.created_at,
        "claim": _json(claim.resources),
        "asks_for": str(claim.resources),
    }


def _json(resources: Resources) -> dict[str, int]:
    return {
        "cpus": resources.cpus,
        "memory_bytes": resources.memory,
        "gpus": resources.gpus,
        "instances": resources.instances,
    }


class _Reasons:
    """Why jobs wait while others hold what they need."""

    def __init__(self, capacity: Resources, holding: Sequence[Claim]) -> None:
        self._capacity = capacity
        self._holding = holding
        self._free = left(capacity, holding)
        self._told: dict[tuple[bool, ...], str] = {}

    def of(self, wait: Wait) -> str:
        """One sentence without its subject and its full stop."""
        if wait.behind is not None:
            return f"waits behind {wait.behind}, for which the machine is kept free"
        wanted = wait.claim.resources
        if not wanted.within(self._capacity):
            return f"needs the whole machine (it asks for {wanted}); {self._holders(self._capacity)}"
        lacking = list(self._lacking(wanted, wait.missing))
        if len(lacking) == 1:
            what = ", ".join(lacking[0])
        else:
            what = " and ".join(f"{amount} ({there})" for amount, there in lacking)
        return f"needs {what}; {self._holders(wait.missing)}"

    def _lacking(self, wanted: Resources, missing: Resources) -> Iterator[tuple[str, str]]:
        """Each thing that is not there as is wanted, and how much of it there is."""
        capacity, free = self._capacity, self._free
        if missing.cpus:
            yield counted(wanted.cpus, "CPU"), _free_of(free.cpus, capacity.cpus)
        if missing.memory:
            there = f"{gib(max(0, free.memory))} of {gib(capacity.memory)} are free"
            yield f"{gib(wanted.memory)} of memory", there
        if missing.gpus:
            yield counted(wanted.gpus, "GPU"), _free_of(free.gpus, capacity.gpus)
        if missing.instances:
            yield counted(wanted.instances, "instance"), _free_of(free.instances, capacity.instances)

    def _holders(self, missing: Resources) -> str:
        """Who has of what is missing, the first ones by name; put together once for all that lack the same."""
        kinds = (missing.cpus > 0, missing.memory > 0, missing.gpus > 0, missing.instances > 0)
        if kinds not in self._told:
            self._told[kinds] = self._name_holders(kinds)
        return self._told[kinds]

    def _name_holders(self, kinds: tuple[bool, ...]) -> str:
        named = []
        for claim in self._holding:
            takes = claim.resources.of(self._capacity)
            cpus, memory, gpus, instances = kinds
            of_these = Resources(
                takes.cpus * cpus, takes.memory * memory, takes.gpus * gpus, takes.instances * instances
            )
            if of_these != Resources():
                words = counted(1, "instance") if of_these == Resources(instances=1) else str(of_these)
                named.append(f"{claim.name} ({words})")
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        return f"held by {', '.join(named[:_NAMED])}{more}"


def _free_of(free: int, capacity: int) -> str:
    free = max(0, free)
    return f"{free} of {capacity} {'is' if free == 1 else 'are'} free"
