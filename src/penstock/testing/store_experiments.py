"""The conformance suite of the Store: experiments, trials, components, what jobs make of them, and their metrics."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import Conflict, InUse, Missing
from penstock.job.experiments import Component, Experiment, Trial, component_of
from penstock.job.life import Failed, Job, Phase, Started, advance
from penstock.job.metrics import Metric
from penstock.store.conditions import Value
from penstock.store.database import Store
from penstock.store.finding import Order
from penstock.store.metrics import Summary
from penstock.testing.stores import UNUSUAL, StoreBase, in_threads, new_host, new_job

NEWEST = Order(Value("created_at"), descending=True)
OLDEST = Order(Value("created_at"), descending=False)


class ExperimentSuite(StoreBase):
    """What the methods for experiments and metrics must do."""

    def test_everything_comes_back_as_it_went(self, store: Store) -> None:
        """By its name in whatever letters, with its tags."""
        experiment = replace(an_experiment("Exp"), description=UNUSUAL, created_by="me", modified_by="you")
        trial = replace(a_trial("Tri", "eXP"), metadata={"CommitId": UNUSUAL})
        component = replace(
            a_component("Com"), status="Failed", message=UNUSUAL, started_at=1, ended_at=2**53,
            parameters={UNUSUAL: {"NumberValue": 0.1}}, inputs={"i": {"Value": "s3://b/k"}},
            outputs={"o": {"Value": "x", "MediaType": "a/b"}}, metadata={"CommitId": "c"},
        )  # fmt: skip
        for one in (experiment, trial, component):
            store.experiments.add(one, {"k": UNUSUAL, "a": ""})
            assert store.tags(one.arn) == {"a": "", "k": UNUSUAL}
        assert store.experiments.get(Experiment, "exp") == experiment
        assert store.experiments.get(Trial, "TRI") == replace(trial, experiment="Exp")
        assert store.experiments.get(Component, "com") == component
        assert store.experiments.get(Component, "exp") is None

    def test_a_name_is_taken_once_in_whatever_letters(self, store: Store) -> None:
        """Who comes late changes nothing; also of many at once."""
        store.experiments.add(an_experiment("Exp"), {})
        for one in (an_experiment("EXP", 9), a_trial("Tri", "Exp"), a_component("Com")):
            fates: list[bool] = []

            def add(_: int, new: Any = one, told: list[bool] = fates) -> None:
                try:
                    store.experiments.add(new, {"k": "v"})
                    told.append(True)
                except InUse:
                    told.append(False)

            in_threads(add)
            assert sorted(fates) == [False, False, False, not isinstance(one, Experiment)]
        assert store.tags(an_experiment("Exp").arn) == {}
        assert store.experiments.get(Experiment, "exp") == an_experiment("Exp")

    def test_a_trial_needs_its_experiment(self, store: Store) -> None:
        """Also when that one is removed at the very moment."""
        with pytest.raises(Missing):
            store.experiments.add(a_trial("t", "e"), {})
        for turn in range(8):
            name = f"e{turn}"
            store.experiments.add(an_experiment(name), {})

            def race(number: int, name: str = name) -> None:
                try:
                    if number:
                        store.experiments.delete(Experiment, name)
                    else:
                        store.experiments.add(a_trial(f"t-{name}", name), {})
                except (InUse, Missing) as refused:
                    assert name in str(refused)  # noqa: PT017 - whether it comes is the race's affair

            in_threads(race, 2)
            there = store.experiments.get(Experiment, name) is not None
            assert (store.experiments.get(Trial, f"t-{name}") is not None) == there

    def test_changes_are_made_of_what_is_there(self, store: Store) -> None:
        """Of many at once none is lost."""
        store.experiments.add(a_component("C"), {})

        def change(number: int) -> None:
            for n in range(5):

                def more(old: Component, name: str = f"{number}-{n}") -> Component:
                    return replace(old, parameters={**old.parameters, name: {"StringValue": "v"}})

                store.experiments.change(Component, "c", more)

        in_threads(change)
        changed = store.experiments.get(Component, "C")
        assert changed is not None
        assert len(changed.parameters) == 20
        with pytest.raises(Missing):
            store.experiments.change(Experiment, "c", lambda old: old)

    def test_what_has_parts_or_is_one_is_not_removed(self, store: Store) -> None:
        """In the order of the parts it is, with its tags and metrics."""
        fill(store, {"e": {"t": ["c"], "u": ["c"]}})
        store.metrics.put("c", [Metric("m", 1, None, 1.0)])
        for kind, name in ((Experiment, "e"), (Trial, "T"), (Component, "C")):
            with pytest.raises(InUse):
                store.experiments.delete(kind, name)
        store.experiments.disassociate("C", "T")
        store.experiments.disassociate("c", "t")
        store.experiments.delete(Trial, "T")
        with pytest.raises(InUse):
            store.experiments.delete(Component, "c")
        store.experiments.disassociate("c", "u")
        store.experiments.put_tags(Component, "c", {"k": "v"}, 50)
        store.experiments.delete(Component, "C")
        store.experiments.delete(Trial, "u")
        store.experiments.delete(Experiment, "E")
        assert store.tags(a_component("c").arn) == {}
        assert store.metrics.of("c", "m") == []
        assert store.metrics.summaries() == {}
        for kind in (Experiment, Trial, Component):
            with pytest.raises(Missing):
                store.experiments.delete(kind, "c")

    def test_a_component_is_in_as_many_trials_as_it_is_put_into(self, store: Store) -> None:
        """Once in each; and its parents are told with their names as written."""
        fill(store, {"E": {"T": ["c", "d"], "U": ["C"]}, "F": {"V": ["c"]}})
        store.experiments.associate("c", "t")
        assert store.experiments.parents(["c", "none"]) == {"c": [("T", "E"), ("U", "E"), ("V", "F")]}
        assert set(store.experiments.parents(["c", "d", "e"])) == {"c", "d"}
        assert {t: [c.name for c in cs] for t, cs in store.experiments.members(["t", "v"]).items()} == {
            "t": ["c", "d"],
            "v": ["c"],
        }
        for component, trial in (("none", "t"), ("c", "none")):
            for method in (store.experiments.associate, store.experiments.disassociate):
                with pytest.raises(Missing):
                    method(component, trial)

    def test_nothing_is_put_into_what_is_removed_at_the_moment(self, store: Store) -> None:
        """Neither a component into a trial nor one that is gone."""
        store.experiments.add(an_experiment("e"), {})
        for turn in range(8):
            trial, component = f"t{turn}", f"c{turn}"
            store.experiments.add(a_trial(trial, "e"), {})
            store.experiments.add(a_component(component), {})

            def race(number: int, trial: str = trial, component: str = component) -> None:
                try:
                    if number == 0:
                        store.experiments.associate(component, trial)
                    elif number == 1:
                        store.experiments.delete(Trial, trial)
                    else:
                        store.experiments.delete(Component, component)
                except (InUse, Missing) as refused:
                    assert str(refused)  # noqa: PT017 - whether it comes is the race's affair

            in_threads(race, 3)
            gone = (
                store.experiments.get(Trial, trial) is None
                or store.experiments.get(Component, component) is None
            )
            assert (store.experiments.parents([component]) == {}) == gone

    def test_tags_are_bounded_and_need_their_owner(self, store: Store) -> None:
        """As those of jobs."""
        store.experiments.add(an_experiment("e"), {"a": "1"})
        assert store.experiments.put_tags(Experiment, "E", {"a": "2", "b": "3"}, 2) == {"a": "2", "b": "3"}
        assert store.experiments.put_tags(Experiment, "e", {"c": "4"}, 2) is None
        with pytest.raises(Missing):
            store.experiments.put_tags(Trial, "e", {"c": "4"}, 2)
        arn = an_experiment("e").arn
        assert store.experiments.tags([arn, "arn:none"]) == {arn: {"a": "2", "b": "3"}}

    def test_a_job_of_an_experiment_has_a_component_that_follows_it(self, store: Store) -> None:
        """In the trial that it names, or in a new one of the experiment; and it outlives the job."""
        fill(store, {"E": {"T": []}})
        job = a_part("A", {"ExperimentName": "e", "TrialName": "t", "RunName": "r"})
        store.add_job(job, {"k": "v"})
        name = "a-aws-processing-job"
        assert store.experiments.get(Component, name) == component_of(job)
        assert store.tags(component_of(job).arn) == {"k": "v"}
        assert store.experiments.parents([name]) == {name: [("T", "E")]}
        started = advance(job, Started(), 2000)
        store.add_hosts(started, [new_host(of="A")])
        ended = advance(replace(started, started_at=2500), Failed("why"), 3000)
        store.save_job(ended)
        told = store.experiments.get(Component, name)
        assert told is not None
        assert (told.status, told.message, told.started_at, told.ended_at) == ("Failed", "why", 2500, 3000)
        assert told.modified_at == 3000
        store.delete_job(ended)
        assert store.experiments.get(Component, name) == told
        store.add_job(a_part("b", {"ExperimentName": "E"}), {})
        [(trial, experiment)] = store.experiments.parents(["b-aws-processing-job"])["b-aws-processing-job"]
        assert (trial, experiment) == ("b-u-aws-trial", "E")
        store.add_job(a_part("c", {"RunName": "r"}), {})
        assert store.experiments.parents(["c-aws-processing-job"]) == {}
        store.add_job(new_job("d"), {})
        assert store.experiments.get(Component, "d-aws-processing-job") is None

    def test_many_jobs_are_found_by_their_uids(self, store: Store) -> None:
        """Those that are there."""
        for name in "abc":
            store.add_job(new_job(name), {})
        assert store.jobs_of_uids(["c-u", "a-u", "z-u"]) == {"a-u": new_job("a"), "c-u": new_job("c")}
        assert store.jobs_of_uids([]) == {}

    def test_a_job_whose_experiment_is_not_there_leaves_nothing(self, store: Store) -> None:
        """Of several at once only those are refused."""
        fill(store, {"E": {"T": []}, "F": {}})
        bad = [{"ExperimentName": "none"}, {"TrialName": "none"}, {"ExperimentName": "F", "TrialName": "T"}]
        new = [a_part(f"j{n}", config) for n, config in enumerate([*bad, {"TrialName": "T"}])]
        fates = store.add_jobs([(job, {"k": "v"}) for job in [*new, new_job("plain")]])
        assert [type(fate) for fate in fates] == [Missing, Missing, Missing, type(None), type(None)]
        assert [store.job(f"j{n}") is not None for n in range(4)] == [False, False, False, True]
        assert store.tags("arn:j0") == {}
        assert [c.name for c in store.experiments.find(Component, [], NEWEST)[0]] == ["j3-aws-processing-job"]

    def test_what_a_job_has_left_gives_way_to_the_next_of_its_name(self, store: Store) -> None:
        """And nothing else does: a component of another job, or one made by hand, keeps its name."""
        fill(store, {"E": {"T": []}})
        config = {"TrialName": "T"}
        old = a_part("a", config, phase=Phase.COMPLETED)
        store.add_job(old, {"old": "v"})
        name = "a-aws-processing-job"
        store.metrics.put(name, [Metric("m", 1, None, 1.0)])
        with pytest.raises(InUse):
            store.add_job(replace(a_part("A", config), uid="other"), {})
        with pytest.raises(Conflict) as refused:
            store.add_job(old, {})
        assert not isinstance(refused.value, InUse)
        store.delete_job(old)
        new = replace(a_part("A", config), uid="new")
        store.add_job(new, {})
        assert store.experiments.get(Component, name) == component_of(new)
        assert store.tags(component_of(new).arn) == {}
        assert store.metrics.summaries([name]) == {}
        store.experiments.add(a_component("B-aws-processing-job"), {})
        with pytest.raises(InUse):
            store.add_job(a_part("b", config), {})
        assert store.job("b") is None

    def test_metrics_come_by_time_and_of_one_time_as_they_came(self, store: Store) -> None:
        """Exact to the last bit."""
        store.experiments.add(a_component("A"), {})
        values = [0.1, math.pi, -2.5, 5e-324, 1.7976931348623157e308, math.inf, -math.inf]
        store.metrics.put("a", [Metric("m", 5, n, value) for n, value in enumerate(values)])
        store.metrics.put("a", [Metric("m", 4, None, 1.0), Metric("M", 4, 2**31 - 1, 2.0)])
        store.metrics.put("a", [])
        assert store.metrics.of("a", "m") == [
            Metric("m", 4, None, 1.0),
            *(Metric("m", 5, n, value) for n, value in enumerate(values)),
        ]
        assert store.metrics.of("none", "m") == []
        with pytest.raises(Missing):
            store.metrics.put("none", [])
        store.metrics.put("A", [Metric("n", 1, None, 1.0)])
        assert store.metrics.of("a", "n") == [Metric("n", 1, None, 1.0)]

    def test_summaries_are_those_of_all_values_whatever_the_batches(self, store: Store) -> None:
        """The last is the latest, and of one time the one that came last."""
        drawn = random.Random(1)  # noqa: S311 - the same in every run
        for turn, scale in enumerate((1.0, 1e-300, 1e308)):
            store.experiments.add(a_component(f"c{turn}"), {})
            metrics = [Metric("m", drawn.randrange(9), n, scale * drawn.uniform(-1, 1)) for n in range(40)]
            for start in range(0, 40, 7):
                store.metrics.put(f"c{turn}", metrics[start : start + 7])
            values = [m.value for m in store.metrics.of(f"c{turn}", "m")]
            [told] = store.metrics.summaries([f"c{turn}"])[f"c{turn}"]
            exact = Summary(
                "m", max(m.at for m in metrics), 40, min(values), max(values), values[-1],
                statistics.mean(values), statistics.pstdev(values),
            )  # fmt: skip
            assert told == exact._replace(mean=told.mean, deviation=told.deviation)
            assert told.mean == pytest.approx(exact.mean, rel=1e-9, abs=scale * 1e-12)
            assert told.deviation == pytest.approx(exact.deviation, rel=1e-9)

    def test_summaries_of_infinite_values_say_what_can_be_said(self, store: Store) -> None:
        """Also when finite ones come after them."""
        store.experiments.add(a_component("c"), {})
        for value in (1.0, math.inf, 2.0):
            store.metrics.put("c", [Metric("m", 1, None, value)])
        [told] = store.metrics.summaries()["c"]
        assert told == Summary("m", 1, 3, 1.0, math.inf, 2.0, None, None)

    def test_values_that_are_put_at_once_all_count(self, store: Store) -> None:
        """In the summary too."""
        store.experiments.add(a_component("c"), {})

        def put(number: int) -> None:
            for n in range(10):
                store.metrics.put("c", [Metric("m", n, None, 1.0 + number)])

        in_threads(put)
        [told] = store.metrics.summaries(["c"])["c"]
        assert (told.size, told.minimum, told.maximum) == (40, 1.0, 4.0)
        assert told.mean == pytest.approx(2.5)


def an_experiment(name: str, created: int = 1) -> Experiment:
    """An experiment of that name."""
    return Experiment(name, f"arn:e/{name.lower()}", f"Shown-{name}", created, created)


def a_trial(name: str, experiment: str, created: int = 1) -> Trial:
    """A trial of an experiment."""
    return Trial(name, f"arn:t/{name.lower()}", experiment, f"Shown-{name}", created, created)


def a_component(name: str, created: int = 1) -> Component:
    """A component made by hand."""
    return Component(name, f"arn:c/{name.lower()}", f"Shown-{name}", created, created)


def a_part(name: str, config: dict[str, str], **changes: Any) -> Job:
    """A job that is part of an experiment."""
    request = {
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        "AppSpecification": {"ImageUri": "python:3.11", "ContainerArguments": ["-c", "pass"]},
        "ExperimentConfig": config,
    }
    return replace(new_job(name, **changes), request=request)


def fill(store: Store, experiments: dict[str, dict[str, list[str]]]) -> None:
    """Make experiments, their trials, and the components in these."""
    for experiment, trials in experiments.items():
        store.experiments.add(an_experiment(experiment), {})
        for trial, components in trials.items():
            store.experiments.add(a_trial(trial, experiment), {})
            for component in components:
                if store.experiments.get(Component, component) is None:
                    store.experiments.add(a_component(component), {})
                store.experiments.associate(component, trial)
