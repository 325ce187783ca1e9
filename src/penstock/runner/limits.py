"""What of this machine a run's program gets: what its instance type has, or what there is when that is less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock import machine
from penstock.errors import ClientFailure
from penstock.job.claim import counted, gib
from penstock.job.instances import Instance, instance
from penstock.job.run import Run
from penstock.machine import Machine
from penstock.runner.claims import Claims
from penstock.runner.folder import RunFolder
from penstock.runner.records import Records
from penstock.runtimes.base import Limits, Resource

#: SageMaker tells none; enough for any honest program, and too few to keep a machine from working.
_PROCESSES, _PROCESSES_PER_CPU = 4096, 256


@dataclass(frozen=True)
class Share:
    """What a program gets, and why."""

    kind: str
    """The instance type."""
    limits: Limits
    variables: dict[str, str]
    """Those that tell a program of its graphics cards."""
    notes: tuple[str, ...]
    """Lines for the log: in what the machine has less than the type."""
    capped: bool
    """Whether its memory is less than the type's, for want of more."""

    def record(self) -> dict[str, Any]:
        """The form on the job's record."""
        limits = self.limits
        return {
            "instance_type": self.kind,
            "cpus": limits.cpus,
            "memory_bytes": limits.memory,
            "processes": limits.processes,
            "shm_bytes": limits.shared_memory,
            "gpus": limits.gpus,
        }

    def failure(self, exceeded: frozenset[Resource], exit_code: int) -> ClientFailure | None:
        """Why a program failed that ran into these limits; None for none that would explain it."""
        if "memory" in exceeded:
            return ClientFailure(f"Out of memory: {self._too_much_memory()} (Exit code: {exit_code}.)")
        if "processes" in exceeded:
            return ClientFailure(
                f"Too many processes: {self._too_many_processes()} (Exit code: {exit_code}.)"
            )
        return None

    def remarks(self, exceeded: frozenset[Resource]) -> list[str]:
        """Lines for the log of a program that ran into these limits and went on."""
        lines = []
        if "memory" in exceeded:
            lines.append(f"A process of the program was killed for its memory: {self._too_much_memory()}")
        if "processes" in exceeded:
            lines.append(f"The program was refused further processes: {self._too_many_processes()}")
        return lines

    def _too_much_memory(self) -> str:
        used = f"the program used more than the {gib(self.limits.memory or 0)}"
        if self.capped:
            return (
                f"{used} that this machine gives to {self.kind}. Run it on a machine with more memory, or let it use "
                "less."
            )
        return f"{used} of {self.kind}. Choose an instance type with more memory, or let it use less."

    def _too_many_processes(self) -> str:
        return (
            f"it may have {self.limits.processes} processes and threads at once on {self.kind}. Let it start fewer, or "
            "choose an instance type with more CPUs."
        )


@contextmanager
def allotted(run: Run, folder: RunFolder, records: Records) -> Iterator[Share]:
    """The run's share of this machine, for as long as its program runs; told to the log and the job's record."""
    file = Path(run.home) / "claims" if run.home else folder.path / "claims"
    with Claims(file) as claims:
        found = share(run, machine.look(), claims)
        for line in found.notes:
            records.log.note(line)
        records.journal.note(limits=found.record())
        yield found


def share(run: Run, there: Machine, claims: Claims) -> Share:
    """What the run's program gets of what is `there`; processors and graphics cards are taken by `claims`."""
    cluster = run.request["ProcessingResources"]["ClusterConfig"]
    kind = str(cluster.get("InstanceType") or cluster.get("SelectedInstanceType"))
    if run.limits == "off":
        return Share(kind, Limits(shared_memory=run.shm_bytes or None), {}, (), capped=False)
    found = instance(kind)
    has = found or Instance(None, None, None)
    cpus = min(there.share, has.cpus or there.share)
    memory = min(there.memory_bytes, has.memory_bytes or there.memory_bytes)
    gpus = min(len(there.gpus), len(there.gpus) if has.gpus is None else has.gpus)
    limits = Limits(
        cpus=claims.take("cpus", there.cpus, cpus) if cpus < len(there.cpus) else None,
        memory=memory,
        processes=min(max(_PROCESSES, _PROCESSES_PER_CPU * cpus), there.processes // 2),
        shared_memory=run.shm_bytes or memory // 2,
        gpus=_cards(run, there, gpus, claims),
    )
    notes = []
    if found is None:
        notes.append(f"What {kind} has is not known: the program gets {_has(cpus, memory, gpus)}.")
    elif any(
        wanted is not None and given < wanted
        for given, wanted in ((cpus, has.cpus), (memory, has.memory_bytes), (gpus, has.gpus))
    ):
        what = _has(has.cpus or cpus, has.memory_bytes or memory, has.gpus or 0)
        given = _has(cpus, memory, gpus, cards=bool(has.gpus))
        notes.append(f"{kind} has {what}; this machine gives {given}.")
    return Share(
        kind,
        limits,
        _variables(there, limits),
        tuple(notes),
        capped=has.memory_bytes is not None and memory < has.memory_bytes,
    )


def _cards(run: Run, there: Machine, count: int, claims: Claims) -> tuple[int, ...]:
    if run.gpus is not None:
        return tuple(card for card in run.gpus if card in there.gpus)
    return claims.take("gpus", there.gpus, count) if count < len(there.gpus) else there.gpus


def _variables(there: Machine, limits: Limits) -> dict[str, str]:
    """Of its cards the program sees the files alone, and CUDA numbers those anew."""
    if not there.gpus or limits.gpus is None:
        return {}
    return {
        "NVIDIA_VISIBLE_DEVICES": ",".join(map(str, limits.gpus)) or "void",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(len(limits.gpus)))),
    }


def _has(cpus: int, memory: int, gpus: int, *, cards: bool = False) -> str:
    parts = [counted(cpus, "CPU"), gib(memory)]
    if gpus or cards:
        parts.append(counted(gpus, "GPU"))
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
