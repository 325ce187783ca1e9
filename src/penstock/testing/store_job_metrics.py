"""The conformance suite of the Store: metrics that runners tell, each once, and the components that take them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import InUse
from penstock.job.events import Host, HostEvent
from penstock.job.experiments import Component, component_of
from penstock.job.life import Job, Phase, Retried, Started, StopAsked, Succeeded, advance
from penstock.job.metrics import NOTE, Metric, to_note
from penstock.store.database import Store
from penstock.testing.store_experiments import a_component, a_part, fill
from penstock.testing.stores import StoreBase, in_threads, new_host

COMPONENT = "a-aws-processing-job"


class JobMetricsSuite(StoreBase):
    """What `Store.apply_events` must do with values of metrics."""

    def test_values_count_once_however_often_they_are_told(self, store: Store) -> None:
        """Again, late, in other batches, and by many at once."""
        begin(store, plain("a"))
        events = [values_of(number, Metric("m", number, None, float(number))) for number in range(1, 13)]
        drawn = random.Random(1)  # noqa: S311 - the same in every run
        told = 0
        while told < len(events):
            first, last = sorted((drawn.randint(0, told), drawn.randint(0, len(events))))
            store.apply_events("a-u", "algo-1", events[first:last])
            told = max(told, last)

        def again(_: int) -> None:
            for one in events:
                store.apply_events("a-u", "algo-1", [one])

        in_threads(again)
        assert [m.value for m in store.metrics.of(COMPONENT, "m")] == [float(n) for n in range(1, 13)]
        [summary] = store.metrics.summaries()[COMPONENT]
        assert (summary.size, summary.last, summary.at) == (12, 12.0, 12)
        host = store.host("a-u", "algo-1")
        assert host is not None
        assert (host.sequence, host.notes) == (12, {"other": 12}), "values are no part of a host's record"

    def test_nothing_counts_that_comes_after_the_end(self, store: Store) -> None:
        """Of a host that has ended, or is not there."""
        begin(store, plain("a"))
        end = HostEvent(2, "ended", 1, {"outcome": "succeeded"})
        late = values_of(3, Metric("m", 1, None, 3.0))
        store.apply_events("a-u", "algo-1", [values_of(1, Metric("m", 1, None, 1.0)), end, late])
        store.apply_events("a-u", "algo-1", [late])
        store.apply_events("a-u", "algo-9", [late])
        store.apply_events("none", "algo-1", [late])
        assert [m.value for m in store.metrics.of(COMPONENT, "m")] == [1.0]

    def test_a_job_without_an_experiment_is_given_a_component_that_follows_it(self, store: Store) -> None:
        """With its first metric, in no trial, with its tags; it outlives the job."""
        job = begin(store, plain("a"), {"k": "v"})
        assert store.experiments.get(Component, COMPONENT) is None
        store.apply_events("a-u", "algo-1", [values_of(1, Metric("m", 1, None, 1.0))])
        made = store.experiments.get(Component, COMPONENT)
        assert made == component_of(job)
        assert made.status == "InProgress"
        assert store.tags(made.arn) == {"k": "v"}
        assert store.experiments.parents([COMPONENT]) == {}
        stopping = advance(job, StopAsked(), 3000)
        store.save_job(stopping)
        assert followed(store).status == "Stopping"
        ended = advance(stopping, Succeeded(), 4000)
        store.save_job(ended)
        assert (followed(store).status, followed(store).ended_at) == ("Stopped", 4000)
        store.delete_job(ended)
        assert followed(store).status == "Stopped"
        assert COMPONENT in store.metrics.summaries()

    def test_a_job_with_an_experiment_has_its_own_take_them(self, store: Store) -> None:
        """What was deleted by hand is not made again."""
        fill(store, {"E": {"T": []}})
        begin(store, a_part("a", {"TrialName": "T"}))
        store.apply_events("a-u", "algo-1", [values_of(1, Metric("m", 1, None, 1.0))])
        assert store.experiments.parents([COMPONENT]) == {COMPONENT: [("T", "E")]}
        assert len(store.metrics.of(COMPONENT, "m")) == 1
        store.experiments.disassociate(COMPONENT, "T")
        store.experiments.delete(Component, COMPONENT)
        store.apply_events("a-u", "algo-1", [values_of(2, Metric("m", 1, None, 1.0))])
        assert store.experiments.get(Component, COMPONENT) is None
        assert store.metrics.of(COMPONENT, "m") == []

    def test_several_instances_share_one_component(self, store: Store) -> None:
        """Also when they come with their first values at once."""
        for turn in range(4):
            name = f"a{turn}"
            hosts = [new_host(f"algo-{n}", name) for n in range(4)]
            begin(store, plain(name), hosts=hosts)

            def tell(number: int, name: str = name) -> None:
                value = Metric("m", 1, None, float(number))
                store.apply_events(f"{name}-u", f"algo-{number}", [values_of(1, value)])

            in_threads(tell)
            values = sorted(m.value for m in store.metrics.of(f"{name}-aws-processing-job", "m"))
            assert values == [0.0, 1.0, 2.0, 3.0]

    def test_values_and_the_end_of_a_job_at_once(self, store: Store) -> None:
        """The component tells the end, whichever came first."""
        for turn in range(8):
            name = f"a{turn}"
            job = begin(store, plain(name))

            def race(number: int, job: Job = job, name: str = name) -> None:
                if number:
                    store.save_job(advance(job, Succeeded(), 3000))
                else:
                    store.apply_events(f"{name}-u", "algo-1", [values_of(1, Metric("m", 1, None, 1.0))])

            in_threads(race, 2)
            assert followed(store, f"{name}-aws-processing-job").status == "Completed"

    def test_an_attempt_that_follows_a_lost_one_begins_without_values(self, store: Store) -> None:
        """The lost one's are there until then; those of other jobs stay."""
        for name in ("a", "b"):
            begin(store, plain(name))
            store.apply_events(f"{name}-u", "algo-1", [values_of(1, Metric("loss", 1, None, 9.0))])
        store.metrics.put(COMPONENT, [Metric("by-call", 1, 3, 1.0)])
        store.apply_events("a-u", "algo-1", [HostEvent(2, "ended", 1, {"outcome": "failed", "lost": True})])
        job = store.job("a")
        assert job is not None
        lost = advance(job, Retried("InternalServerError: lost."), 3000)
        store.save_job(lost)
        assert [s.name for s in store.metrics.summaries()[COMPONENT]] == ["by-call", "loss"]
        again = replace(new_host(of="a"), attempt=2, log_stream="a/algo-1-2")
        store.add_hosts(advance(lost, Started(), 4000), [again])
        assert COMPONENT not in store.metrics.summaries()
        assert store.metrics.of(COMPONENT, "loss") == store.metrics.of(COMPONENT, "by-call") == []
        assert len(store.metrics.of("b-aws-processing-job", "loss")) == 1
        store.apply_events("a-u", "algo-1", [values_of(3, Metric("loss", 1, None, 9.0))])  # late
        store.apply_events("a-u", "algo-1.2", [values_of(1, Metric("loss", 2, None, 0.5))])
        [summary] = store.metrics.summaries()[COMPONENT]
        assert (summary.size, summary.maximum, summary.last) == (1, 0.5, 0.5)
        assert followed(store).status == "InProgress"

    def test_what_another_has_left_gives_way_and_nothing_else_does(self, store: Store) -> None:
        """A component that was made by hand keeps its name and its values."""
        old = begin(store, plain("a"))
        store.apply_events("a-u", "algo-1", [values_of(1, Metric("old", 1, None, 1.0))])
        ended = advance(old, Succeeded(), 3000)
        store.save_job(ended)
        store.delete_job(ended)
        begin(store, replace(plain("A"), uid="new"), hosts=[replace(new_host(of="A"), job_uid="new")])
        store.apply_events("new", "algo-1", [values_of(1, Metric("m", 1, None, 2.0))])
        assert followed(store).job_uid == "new"
        assert [s.name for s in store.metrics.summaries()[COMPONENT]] == ["m"]
        by_hand = a_component("b-aws-processing-job")
        store.experiments.add(by_hand, {})
        begin(store, plain("b"))
        host = store.apply_events("b-u", "algo-1", [values_of(1, Metric("m", 1, None, 1.0))])
        assert host is not None
        assert host.sequence == 1, "a runner must not tell it for ever"
        assert followed(store, "b-aws-processing-job") == by_hand
        assert "b-aws-processing-job" not in store.metrics.summaries()
        with pytest.raises(InUse):
            store.experiments.add(by_hand, {})

    def test_what_is_no_value_is_passed_over(self, store: Store) -> None:
        """And no component is made for nothing."""
        begin(store, plain("a"))
        odd: list[Any] = [
            None, 5, {"m": 1}, [], [[]], [["m", 1]], [["m", "1", 2.0]], [["", 1, 2.0]], [["x" * 256, 1, 2.0]],
            [["m", 1 << 70, 2.0]], [["m", 1, float("nan")]], [["m", 1, float("inf")]], [["a\nb", 1, 2.0]],
            [["\ud800", 1, 2.0]], [["m", 1, "2"]],
        ]  # fmt: skip
        for number, told in enumerate(odd, 1):
            host = store.apply_events("a-u", "algo-1", [HostEvent(number, "note", 1, {NOTE: told})])
            assert host is not None
            assert (host.sequence, host.notes) == (number, {})
        assert store.experiments.get(Component, COMPONENT) is None
        store.apply_events("a-u", "algo-1", [HostEvent(99, "note", 1, {NOTE: [*odd, ["m", 1, 2]]})])
        assert store.metrics.of(COMPONENT, "m") == [Metric("m", 1, None, 2.0)]


def plain(name: str) -> Job:
    """A job that is part of no experiment."""
    job = a_part(name, {})
    return replace(job, request={k: v for k, v in job.request.items() if k != "ExperimentConfig"})


def begin(
    store: Store, job: Job, its_tags: dict[str, str] | None = None, hosts: list[Host] | None = None
) -> Job:
    """Put a job on record, and begin it with its hosts."""
    store.add_job(job, its_tags or {})
    started = advance(job, Started(), 2000)
    store.add_hosts(started, hosts or [new_host(of=job.name)])
    assert started.phase is Phase.PREPARING
    return started


def values_of(sequence: int, *values: Metric) -> HostEvent:
    """An event that tells values, and something else."""
    return HostEvent(sequence, "note", 1, {NOTE: to_note(values), "other": sequence})


def followed(store: Store, name: str = COMPONENT) -> Component:
    """The component of that name."""
    found = store.experiments.get(Component, name)
    assert found is not None
    return found
