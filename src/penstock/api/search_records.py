"""Experiments, trials and trial components as Search shows them: with their tags, parents, metrics and jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from penstock.api import experiments, trial_components, trials
from penstock.api.context import Context
from penstock.api.entities import tag_list, user
from penstock.api.translate import description
from penstock.job.experiments import Component, Experiment, Trial, key_of
from penstock.job.life import Job
from penstock.store.experiments import Member

Record = dict[str, Any]

#: The members that are read from elsewhere, by what Search's names of properties begin with.
PARTS = frozenset({"tags", "parents", "metrics", "sourcedetail", "trialcomponentsummaries"})

#: Kind -> what of it takes long to read -> the member in which it is.
_LARGE: Mapping[type[Any], Mapping[str, str]] = {
    Experiment: {},
    Trial: {"metadata": "metadataproperties"},
    Component: {
        "parameters": "parameters",
        "inputs": "inputartifacts",
        "outputs": "outputartifacts",
        "metadata": "metadataproperties",
    },
}


def unread(kind: type[Any], members: Collection[str]) -> set[str]:
    """What of entities need not be read for the records that have these members."""
    return {field for field, member in _LARGE[kind].items() if member not in members}


def records(context: Context, found: Sequence[Any], parts: Collection[str] = PARTS) -> list[Record]:
    """The records of entities of one kind, with those of their `PARTS` that are named."""
    made = [_plain(one) for one in found]
    if not found:
        return made
    jobs: Mapping[str, Job] = {}
    if isinstance(found[0], Component) and "sourcedetail" in parts:
        jobs = context.store.jobs_of_uids([one.job_uid for one in found if one.job_uid is not None])
    tagged = [*(one.arn for one in found if "tags" in parts), *(job.arn for job in jobs.values())]
    tags = context.store.experiments.tags(tagged) if tagged else {}
    for one, record in zip(found, made, strict=True):
        if "tags" in parts:
            record["Tags"] = tag_list(tags.get(one.arn, {}))
        if isinstance(one, Component) and "sourcedetail" in parts:
            job = None if one.job_uid is None else jobs.get(one.job_uid)
            detail = job and {**description(job), "Tags": tag_list(tags.get(job.arn, {}))}
            record["SourceDetail"] = one.source and {"SourceArn": one.source, "ProcessingJob": detail}
    if isinstance(found[0], Component):
        _complete_components(context, found, made, parts)
    if isinstance(found[0], Trial) and "trialcomponentsummaries" in parts:
        members = context.store.experiments.members([key_of(one.name) for one in found])
        for one, record in zip(found, made, strict=True):
            record["TrialComponentSummaries"] = list(map(_simple, members.get(key_of(one.name), ())))
    return made


def _plain(one: Experiment | Trial | Component) -> Record:
    if isinstance(one, Experiment):
        return experiments.record(one)
    if isinstance(one, Trial):
        return trials.record(one)
    return {**trial_components.record(one), "RunName": one.run_name}


def _complete_components(
    context: Context, found: Sequence[Component], made: Sequence[Record], parts: Collection[str]
) -> None:
    keys = [key_of(one.name) for one in found]
    if "parents" in parts:
        parents = context.store.experiments.parents(keys)
        for key, record in zip(keys, made, strict=True):
            record["Parents"] = [
                {"TrialName": trial, "ExperimentName": experiment}
                for trial, experiment in parents.get(key, ())
            ]
    if "metrics" in parts:
        metrics = context.store.metrics.summaries(keys)
        for key, one, record in zip(keys, found, made, strict=True):
            record["Metrics"] = trial_components.summaries(one, metrics.get(key, ()))


def _simple(one: Member) -> Record:
    return {
        "TrialComponentName": one.name,
        "TrialComponentArn": one.arn,
        "TrialComponentSource": trial_components.source_of(one.source),
        "CreationTime": one.created_at,
        "CreatedBy": user(one.created_by),
    }
