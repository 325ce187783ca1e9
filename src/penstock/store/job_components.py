"""Components of jobs: made with the job, or with its first metric, and moved with it, in the same transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from penstock.errors import InUse, Missing
from penstock.job.events import HostEvent
from penstock.job.experiments import Trial, component_of, entity_arn, key_of, state_of, trial_of
from penstock.job.life import Job, Phase
from penstock.job.lineage import lineage_of
from penstock.job.metrics import NOTE, from_note
from penstock.store import lineage, metrics, tagging
from penstock.store.dialect import Dialect
from penstock.store.entities import lock
from penstock.store.experiments import put, put_into, remove
from penstock.store.rows import part_rows, to_job
from penstock.store.statements import Statements
from penstock.store.tables import components, experiments, job_parts, jobs, trials


def enter(c: Connection, dialect: Dialect, job: Job, tags: Mapping[str, str]) -> None:
    """Make the component of a job that is on record now, and put it where the job's ExperimentConfig, if any, says.

    What a job before it of the same name has left behind gives way to it. The job's tags are the component's too; its
    image, inputs and outputs are artifacts, associated with the component.

    Raises:
        Missing: The experiment or the trial is not there.
        InUse: A component of that name belongs to something else.
    """
    component = component_of(job)
    trial = _trial(c, dialect, job)
    _make_room(c, component.name)
    put(c, dialect, component, tags)
    if trial is not None:
        put_into(c, dialect, component.name, trial)
    lineage.enter(c, dialect, lineage_of(job, component))
    # There may have been a component of the job before, and been deleted.
    c.execute(dialect.insert(job_parts).on_conflict_do_nothing(), part_rows(job))


def follow(cursor: Any, say: Statements, job: Job) -> None:
    """Have a job's component, if it has one, tell what the job has come to."""
    if job.trial_component is None and not (job.phase.final or job.phase is Phase.STOPPING):
        return  # made with its first metric, it knows by then all that it shows of a job that goes on
    moved = {**state_of(job), "modified_at": job.modified_at}
    say.follow_job.run(cursor, of_component=key_of(job.component_name), of_uid=job.uid, **moved)


def tells_metrics(event: HostEvent) -> bool:
    """Whether an event has values for the job's component."""
    return event.kind == "note" and NOTE in event.data


def without_metrics(event: HostEvent) -> HostEvent:
    """The event as it is kept on the host's record."""
    if not tells_metrics(event):
        return event
    return replace(event, data={name: told for name, told in event.data.items() if name != NOTE})


def hold(c: Connection, job_uid: str) -> Job | None:
    """The job, which nobody moves or removes until the transaction ends. It is locked before its hosts."""
    row = c.execute(select(jobs).where(jobs.c.uid == job_uid).with_for_update(read=True)).first()
    return None if row is None else to_job(row)


def put_metrics(c: Connection, dialect: Dialect, job: Job, events: Sequence[HostEvent]) -> bool:
    """Give the values that events of a host tell to the job's component. The job is held.

    A job without ExperimentConfig is given its component now. False: there is none that could take them, for
    something else has its name, or it was deleted.
    """
    new = [metric for event in events if tells_metrics(event) for metric in from_note(event.data[NOTE])]
    if not new:
        return True
    if not _hold_own(c, job) and job.trial_component is None:
        with suppress(InUse):  # by another host of the job, in this moment, it may be
            enter(c, dialect, job, tagging.of(c, job.arn))
    if not _hold_own(c, job):
        return False
    metrics.add(c, dialect, key_of(job.component_name), new)
    return True


def begin_anew(c: Connection, job: Job) -> None:
    """Remove the values that a job's component has of an attempt which was lost: the next gives its own.

    They don't tell whose they are, so all go. What one attempt gives is kept until the next begins.
    """
    if _hold_own(c, job):
        metrics.forget(c, key_of(job.component_name))


def _hold_own(c: Connection, job: Job) -> bool:
    """Whether there is a component of this very job, which is locked then."""
    own = components.c.key == key_of(job.component_name), components.c.job_uid == job.uid
    return c.execute(select(components.c.key).where(*own).with_for_update()).first() is not None


def _trial(c: Connection, dialect: Dialect, job: Job) -> str | None:
    """The trial that the job's component goes into, locked; None without one."""
    config, name = job.request.get("ExperimentConfig", {}), trial_of(job)
    experiment = config.get("ExperimentName")
    if name is None:
        return None
    if "TrialName" in config:
        lock(c, trials, name)
        its_own = c.execute(select(trials.c.experiment_key).where(trials.c.key == key_of(name))).scalar_one()
        if experiment is not None and key_of(experiment) != its_own:
            lock(c, experiments, experiment)
            raise Missing(f"The trial {name} is not in the experiment {experiment}, but in {its_own}.")
        return name
    lock(c, experiments, experiment)
    arn = entity_arn(job.arn, Trial, name)
    put(c, dialect, Trial(name, arn, experiment, name, job.created_at, job.created_at), {})
    return name


def _make_room(c: Connection, name: str) -> None:
    """Remove the component of that name, if its job is gone."""
    taken = components.c.key == key_of(name)
    row = c.execute(select(components.c.arn, components.c.job_uid).where(taken).with_for_update()).first()
    if row is None:
        return
    alive = select(jobs.c.uid).where(jobs.c.uid == row.job_uid)
    if row.job_uid is None or c.execute(alive).first() is not None:
        raise InUse(f"The trial component {name} of another source is there already.")
    remove(c, components, key_of(name), row.arn)
