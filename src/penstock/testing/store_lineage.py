"""The conformance suite of the Store: artifacts, associations, what jobs leave of both, and many at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.errors import InUse, Missing
from penstock.job.experiments import Component
from penstock.job.lineage import Artifact, Association, artifact_key
from penstock.job.metrics import Metric
from penstock.store import functions
from penstock.store.conditions import Condition, Value
from penstock.store.database import Store
from penstock.store.finding import Order
from penstock.store.lineage import AssociationQuery
from penstock.testing.store_experiments import OLDEST, a_component, a_part, fill
from penstock.testing.stores import UNUSUAL, StoreBase, in_threads, new_job

EVERY = AssociationQuery(descending=False)


class LineageSuite(StoreBase):
    """What the methods for lineage must do."""

    def test_an_artifact_comes_back_as_it_went(self, store: Store) -> None:
        """The longest and oddest too; it is found by its URI and listed by its time."""
        ids = [{"SourceIdType": "S3ETag", "Value": UNUSUAL}]
        one = replace(
            an_artifact("🐟" * 2048),
            source_types=ids,
            name="n",
            properties={UNUSUAL: UNUSUAL},
            metadata={"CommitId": "c"},
        )
        store.experiments.add(one, {"k": "v"})
        with pytest.raises(InUse):
            store.experiments.add(one, {})
        assert store.experiments.get(Artifact, key(one)) == one
        assert store.tags(one.arn) == {"k": "v"}
        of_type = [Condition(Value("type"), "=", "DataSet")]
        newest = Order(Value("created_at"), descending=True)
        assert store.experiments.find(Artifact, of_type, newest, 9) == ([one], None)

    def test_associations_need_both_ends_and_are_there_once(self, store: Store) -> None:
        """And keep an artifact from being removed; with a component they go."""
        data = an_artifact("s3://b/k")
        for one in (data, a_component("c")):
            store.experiments.add(one, {})
        new = Association(data.arn, a_component("c").arn, "ContributedTo", 5, "me", "DataSet")
        ends: list[tuple[type, str]] = [(Artifact, key(data)), (Component, "c")]
        with pytest.raises(Missing):
            store.lineage.add(new, [ends[0], (Component, "none")])
        store.lineage.add(new, ends)
        with pytest.raises(InUse):
            store.lineage.add(replace(new, type=None), ends)
        assert store.lineage.find(EVERY, 9, None) == ([new], None)
        assert store.lineage.around([data.arn], ascending=False, descending=True) == {
            new.destination: data.arn
        }
        assert store.lineage.around([data.arn], ascending=True, descending=False) == {}
        assert store.lineage.around([new.destination], ascending=True, descending=True) == {
            data.arn: new.destination
        }
        with pytest.raises(InUse):
            store.experiments.delete(Artifact, key(data))
        store.experiments.delete(Component, "C")
        assert store.lineage.find(EVERY, 9, None) == ([], None)
        with pytest.raises(Missing):
            store.lineage.remove(new.source, new.destination)
        store.experiments.delete(Artifact, key(data))

    @pytest.mark.parametrize("few", [1, 20])
    @pytest.mark.parametrize("named", [1, 1000])
    def test_what_is_around_some_and_the_associations_between_them(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, few: int, named: int
    ) -> None:
        """However many are asked for: in the order of their ARNs, with the first by which each is reached."""
        monkeypatch.setattr(functions, "FEW", few)
        monkeypatch.setattr("penstock.store.lineage.FEW", few)
        monkeypatch.setattr("penstock.store.lineage._NAMED", named)
        data = sorted((an_artifact(f"s3://b/{n}") for n in range(2)), key=lambda one: one.arn)
        steps = [a_component(f"c{n}") for n in range(4)]
        for artifact in data:
            store.experiments.add(artifact, {})
        for step in steps:
            store.experiments.add(step, {})
        first, second = (one.arn for one in data)
        pairs = [(first, step.arn) for step in steps] + [(second, steps[0].arn), (steps[1].arn, second)]
        for source, destination in pairs:
            ends: list[tuple[type, str]] = [
                (Artifact if "artifact" in arn else Component, arn.rpartition("/")[2])
                for arn in (source, destination)
            ]
            store.lineage.add(Association(source, destination, None, 1), ends)
        around = store.lineage.around
        down = around([second, first], ascending=False, descending=True)
        assert list(down.items()) == [(step.arn, first) for step in steps]
        assert around([second], ascending=True, descending=False) == {steps[1].arn: second}
        both = around([steps[0].arn, steps[1].arn], ascending=True, descending=True)
        assert both == {first: steps[0].arn, second: steps[0].arn}
        for asked in ([first], [second, first]):
            some = around(asked, ascending=True, descending=True, most=2)
            assert list(some) == [step.arn for step in steps[:2]]
        between = store.lineage.between([second], {first, second, steps[1].arn, steps[2].arn})
        assert [(one.source, one.destination) for one in between] == [(steps[1].arn, second)]
        between = store.lineage.between([steps[0].arn, second], {first, second, steps[0].arn})
        assert [(one.source, one.destination) for one in between] == [
            (first, steps[0].arn),
            (second, steps[0].arn),
        ]

    def test_nothing_is_associated_with_what_is_removed_at_the_moment(self, store: Store) -> None:
        """Whichever comes first."""
        for turn in range(8):
            data, step = an_artifact(f"s3://b/{turn}"), a_component(f"c{turn}")
            store.experiments.add(data, {})
            store.experiments.add(step, {})

            def race(number: int, data: Artifact = data, step: Component = step) -> None:
                new = Association(data.arn, step.arn, None, 1)
                try:
                    if number:
                        store.experiments.delete(Artifact, key(data))
                    else:
                        store.lineage.add(new, [(Artifact, key(data)), (Component, step.name)])
                except (InUse, Missing) as refused:
                    assert str(refused)  # noqa: PT017 - whether it comes is the race's affair

            in_threads(race, 2)
            there = store.experiments.get(Artifact, key(data)) is not None
            found = store.lineage.around([data.arn], ascending=True, descending=True)
            assert bool(found) == there

    def test_jobs_at_once_share_the_artifacts_of_the_same_sources(self, store: Store) -> None:
        """Each has its own associations."""
        inputs = [{"InputName": f"i{n}", "S3Input": {"S3Uri": f"s3://b/{n}"}} for n in range(5)]
        outputs = {"Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": "s3://b/0"}}]}

        def add(number: int) -> None:
            for turn in range(3):
                job = a_part(f"j{number}-{turn}", {"RunName": "r"})
                given = {
                    "ProcessingInputs": inputs[:: 1 if number % 2 else -1],
                    "ProcessingOutputConfig": outputs,
                }
                store.add_job(replace(job, request={**job.request, **given}), {})

        in_threads(add)
        found, _ = store.experiments.find(Artifact, [], Order(Value("key"), descending=False))
        assert sorted(one.uri for one in found) == ["python:3.11", *(f"s3://b/{n}" for n in range(5))]
        associations, _ = store.lineage.find(EVERY, 1000, None)
        assert len(associations) == 12 * 7
        produced, _ = store.lineage.find(replace(EVERY, type="Produced"), 1000, None)
        assert len({one.source for one in produced}) == 12

    def test_more_are_asked_for_at_once_than_a_statement_has_parameters(self, store: Store) -> None:
        """And each is told."""
        fill(store, {"E": {"T": ["c0", "c66999"]}})
        assert sorted(store.experiments.named(Component, (f"c{n}" for n in range(67_000)))) == [
            "c0",
            "c66999",
        ]
        arns = [f"arn:{n}" for n in range(70_000)]
        assert store.lineage.around(arns, ascending=True, descending=True) == {}

    def test_many_that_are_asked_for_at_once_are_told(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a few are."""
        monkeypatch.setattr(functions, "FEW", 2)
        keys = [f"c{n}" for n in range(5)]
        fill(store, {"E": {f"t{n}": [keys[n]] for n in range(5)}})
        arns = [a_component(key).arn for key in keys]
        for key in keys:
            store.metrics.put(key, [Metric("m", 1, None, 1.0)])
            store.experiments.put_tags(Component, key, {"k": key}, 50)
            store.add_job(new_job(key), {})
        assert sorted(store.experiments.named(Component, keys)) == keys
        assert [c.name for c in store.experiments.find(Component, [], OLDEST)[0]] == keys
        assert store.experiments.parents(keys) == {key: [(f"t{key[1]}", "E")] for key in keys}
        members = store.experiments.members([f"t{n}" for n in range(5)])
        assert {trial: [c.name for c in of] for trial, of in members.items()} == {
            f"t{n}": [keys[n]] for n in range(5)
        }
        assert store.experiments.tags(arns) == {a_component(key).arn: {"k": key} for key in keys}
        assert sorted(store.metrics.summaries(keys)) == sorted(store.metrics.summaries()) == keys
        assert sorted(store.jobs_of_uids(f"{key}-u" for key in keys)) == [f"{key}-u" for key in keys]


def an_artifact(uri: str) -> Artifact:
    """A data set at that URI."""
    return Artifact(f"arn:artifact/{artifact_key(uri)}", "DataSet", uri, 1, 1)


def key(one: Artifact) -> str:
    """What it is found by."""
    return one.arn.rpartition("/")[2]
