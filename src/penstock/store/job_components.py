"""Components of jobs: made with the job and moved with it, in the same transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from penstock.errors import InUse, Missing
from penstock.job.experiments import Trial, component_of, entity_arn, key_of, state_of, trial_of
from penstock.job.life import Job
from penstock.job.lineage import lineage_of
from penstock.store import lineage
from penstock.store.dialect import Dialect
from penstock.store.entities import lock
from penstock.store.experiments import put, put_into, remove
from penstock.store.statements import Statements
from penstock.store.tables import components, experiments, jobs, trials


def enter(c: Connection, dialect: Dialect, job: Job, tags: Mapping[str, str]) -> None:
    """Make the component of a job that is on record now, and put it where the job's ExperimentConfig says.

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


def follow(cursor: Any, say: Statements, job: Job) -> None:
    """Have a job's component, if it has one, tell what the job has come to."""
    if job.trial_component is None:
        return
    moved = {**state_of(job), "modified_at": job.modified_at}
    say.follow_job.run(cursor, of_component=key_of(job.trial_component), of_uid=job.uid, **moved)


def _trial(c: Connection, dialect: Dialect, job: Job) -> str | None:
    """The trial that the job's component goes into, locked; None without one."""
    config, name = job.request["ExperimentConfig"], trial_of(job)
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
