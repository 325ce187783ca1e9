"""What a run's program finds around it: its image's environment, or that of a lock, with its requirements on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.environments import (
    Environment,
    NeedsBuilding,
    Uses,
    add_requirements,
    prepare,
    prepare_exact,
)
from penstock.errors import ClientFailure
from penstock.job.lock import EnvironmentLock
from penstock.job.run import Run
from penstock.runner import requirements
from penstock.runner.folder import RunFolder
from penstock.runner.records import Records


def prepare_for(run: Run, records: Records, due: Callable[[], bool], uses: Uses) -> Environment:
    """The environment of the run's image, or of its lock; on record, with what its user should know in the log.

    Args:
        run: What is to be run.
        records: Where it is told.
        due: Asked again and again whether the run must end.
        uses: Takes the environment for as long as the run needs it.

    Raises:
        Cancelled: `due` said True.
        JobFailure: There is none, with the reason.
    """
    how: dict[str, Any] = {
        "folder": Path(run.environments),
        "strict": run.strict_versions,
        "progress": records.log.note,
        "cancelled": due,
        "who": _who(run),
        "uses": uses,
    }
    if run.lock is None:
        environment = prepare(run.request["AppSpecification"]["ImageUri"], **how)
    else:
        environment = prepare_exact(EnvironmentLock.read(run.lock), **how)
    for text in (*environment.deviations, *environment.notes):
        records.log.note(f"Note: {text}")
    _keep(environment, records)
    return environment


def with_requirements(
    run: Run, folder: RunFolder, base: Environment, records: Records, due: Callable[[], bool], uses: Uses
) -> tuple[Environment, Mapping[str, str]]:
    """Install a source folder's requirements beforehand, once per content, where no code has to be run for it.

    Returns:
        The environment, and the variable by which the SDK's script knows that it may skip pip.

    Raises:
        Cancelled: `due` said True.
        JobFailure: They can't be installed, with the reason.
    """
    note = records.log.note
    work = folder.path / "requirements"
    found = requirements.find(run.request, folder.ml, work=work, python=base.python, note=note, due=due)
    if found is None:
        return base, {}
    prepared = {requirements.PREPARED: found.sha256}
    if run.lock is not None:
        if found.sha256 == base.requirements:
            return base, prepared
        if found.made:
            raise ClientFailure(
                f"{found.name} is not the one that the lock was made with. Take the lock of a job that had it, or none."
            )
        note(f"{found.name} is not the one that the lock was made with: the job's own pip installs it.")
        return base, {}
    if not found.self_contained:
        note(f"{found.name} names more than packages of an index: the job's own pip installs it.")
        return base, {}
    try:
        environment = add_requirements(
            base,
            found.save(work),
            Path(run.environments),
            progress=note,
            cancelled=due,
            exact=found.exact,
            who=_who(run),
            uses=uses,
        )
    except NeedsBuilding:
        if found.made:
            raise
        note(f"{found.name} names what has no wheel: the job's own pip builds it, within its walls.")
        return base, {}
    for text in environment.notes[len(base.notes) :]:
        note(f"Note: {text}")
    _keep(environment, records)
    return environment, prepared


def _keep(environment: Environment, records: Records) -> None:
    """Put an environment on the job's record. Its lock comes by itself, since it is long: the server keeps it once."""
    records.journal.note(environment=environment.record())
    records.journal.note(lock=environment.lock_text)


def _who(run: Run) -> str:
    """Who builds, for those who wait."""
    return f"the job {run.job_name} ({run.host})"
