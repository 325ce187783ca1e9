"""What of experiments a job's program may use beside what its job is part of.

A job whose ExperimentConfig names an experiment, or a trial of one, is put into that experiment by whoever starts it.
So its program may make trials and runs there, and use those that are there, as SageMaker's `Run(experiment_name=...)`
does it. It may not use the components of other jobs: among their parameters are their variables. Nor may it take names
by which others are led astray: those of jobs' components, and the run group of another experiment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from penstock.job.experiments import Component, Experiment, Trial, entity_arn, key_of

if TYPE_CHECKING:
    from penstock.job.life import Job
    from penstock.store.experiments import Experiments

#: The member that names a part of experiments -> what it is, the most particular first.
PARTS: Mapping[str, type[Any]] = {
    "TrialComponentName": Component,
    "TrialName": Trial,
    "ExperimentName": Experiment,
}

#: How components of jobs are named, by AWS: a name that a job will have some day is not to be taken before.
_OF_JOBS = re.compile(r".*-aws-(processing|training|transform)-job", re.DOTALL)
#: How SageMaker's SDK names the one trial of an experiment in which it puts all runs.
_RUN_GROUP = "default-run-group-"


@dataclass(frozen=True)
class Reach:
    """Asks the store what is in the experiment of a job."""

    job: Job
    maker: str
    """Who is on record as the maker of what the job's program has made."""
    store: Experiments
    everywhere: bool = False
    """Whether all experiments are meant, and not that of the job alone."""

    def may(self, operation: str, member: str, params: Mapping[str, Any]) -> bool:
        """Whether what a member of `PARTS` names may be used by an operation, or made."""
        name = str(params.get(member, ""))
        if not name or not self._is_any:
            return False
        if member == "ExperimentName":
            return self._has_experiment(name)
        if member == "TrialComponentName":
            return self._has_component(self._of_arn(name) or name)
        if operation == "CreateTrial":
            # Who makes a run of another experiment would find it in the trial of this name, wherever that is.
            key, group = key_of(name), f"{_RUN_GROUP}{key_of(params['ExperimentName'])}"
            return key == group or not key.startswith(_RUN_GROUP)
        trial = self.store.get(Trial, name)
        return trial is None or self._has_experiment(trial.experiment)

    def may_at(self, arn: str) -> bool:
        """Whether an ARN names a component that may be used."""
        name = self._of_arn(arn)
        return name is not None and self._is_any and self._has_component(name)

    @cached_property
    def _experiment(self) -> str | None:
        """The experiment that the job's ExperimentConfig names, or that of its trial, by its key."""
        config = self.job.request.get("ExperimentConfig") or {}
        named, trial = config.get("ExperimentName"), config.get("TrialName")
        if named is None and trial is not None and (found := self.store.get(Trial, trial)) is not None:
            named = found.experiment
        return None if named is None else key_of(named)

    @property
    def _is_any(self) -> bool:
        return self.everywhere or self._experiment is not None

    def _has_experiment(self, name: str) -> bool:
        return self.everywhere or key_of(name) == self._experiment

    def _has_component(self, name: str) -> bool:
        key = key_of(name)
        if _OF_JOBS.fullmatch(key):
            return False
        found = self.store.get(Component, key)
        if found is None:
            return True  # to be made, or to be told that it is not there
        if found.job_uid is not None:
            return False
        if parents := self.store.parents([key]).get(key):
            return all(self._has_experiment(experiment) for _, experiment in parents)
        return self.everywhere or found.created_by == self.maker

    def _of_arn(self, arn: str) -> str | None:
        start, key = entity_arn(self.job.arn, Component, ""), key_of(arn)
        return key[len(start) :] if key.startswith(start) and key != start else None
