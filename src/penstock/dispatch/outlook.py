"""The queue in words: who holds what of the machines, who waits, and for what. Pure but for what it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from penstock.dispatch.schedule import Wait, left, plan
from penstock.job.claim import Claim, Resources, claim_of, counted, gib, resources_of
from penstock.job.life import ALONE
from penstock.store.database import Store
from penstock.store.servers import Entered

#: How many holders are named of those that a job waits for.
_NAMED = 3


def outlook(
    store: Store,
    capacity: Resources,
    now: int,
    servers: Sequence[Entered] = (),
    hindrance: Callable[[Claim], str | None] = lambda _: None,
) -> dict[str, Any]:
    """The whole queue as it is at this moment. JSON.

    ``capacity`` and ``free`` are what the machine has and what is left of it; ``running`` are the jobs that have been
    started, the oldest first, and ``waiting`` the others, the next first, each with its place (``position``, from 1)
    and the ``reason`` why it waits.

    Where servers share the database (`servers`, the one that is asked first), capacity and free are those of all
    machines together, whoever runs is told with the ``server`` that carries it on, and the reasons are those of the
    machine that is asked. `hindrance` is what its engine says (`Dispatcher.hindrance`): what can't begin whoever else
    ran comes last.
    """
    begun = store.begun_jobs()
    # That of the one that is asked may have changed since it was put on record.
    machines = {
        one.server.id: one.server.capacity if one is not servers[0] else capacity
        for one in servers
        if one.alive
    } or {ALONE.server: capacity}
    urls = {one.server.id: one.server.url for one in servers}
    waiting, due, waits, reasons = list[Claim](), list[Claim](), list[Wait](), None
    hindered = []
    for claim in store.waiting():
        if (why := hindrance(claim)) is not None:
            hindered.append((claim, why))
        else:
            waiting.append(claim)
    free = Resources()
    for place, there in machines.items():
        holding = [claim_of(job) for job in begun if job.place == place]
        made = plan(there, holding, waiting, now, explain=True)
        due += made.start
        free += left(there, holding)
        if reasons is None:
            waits, reasons = made.waits, _Reasons(there, [*holding, *made.start])
        waiting = [wait.claim for wait in made.waits]
    assert reasons is not None
    starting = {claim.uid for claim in due}
    waits = [wait for wait in waits if wait.claim.uid not in starting]
    return {
        "capacity": _json(sum(machines.values(), Resources())),
        "free": _json(free),
        "running": [
            {
                **_entry(claim_of(job)),
                "phase": job.phase.value,
                "takes": str(resources_of(job.request).of(machines.get(job.place, capacity))),
                "server": urls.get(job.carrier.server),
            }
            for job in begun
        ],
        "waiting": [
            *(
                {**_entry(claim), "position": place, "reason": "is about to start"}
                for place, claim in enumerate(due, 1)
            ),
            *(
                {**_entry(wait.claim), "position": place, "reason": reasons.of(wait)}
                for place, wait in enumerate(waits, len(due) + 1)
            ),
            *(
                {**_entry(claim), "position": place, "reason": why}
                for place, (claim, why) in enumerate(hindered, len(due) + len(waits) + 1)
            ),
        ],
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
