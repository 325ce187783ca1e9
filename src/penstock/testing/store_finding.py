"""The conformance suite of the Store: experiments, trials and components found by what they have, page by page."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from penstock.job.experiments import Component, Trial, key_of
from penstock.job.life import Phase
from penstock.job.metrics import Metric
from penstock.store.conditions import Condition, Every, Operator, Same, Some, Test, Value
from penstock.store.database import Store
from penstock.store.finding import Order
from penstock.testing.store_experiments import NEWEST, OLDEST, a_component, a_part, fill
from penstock.testing.stores import UNUSUAL, StoreBase


class FindingSuite(StoreBase):
    """What `Experiments.find`, `places` and `count` must do."""

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("by", ["created_at", "key", "started_at", "status", "metric"])
    def test_pages_show_each_once_in_order_also_while_some_are_added(
        self, store: Store, by: str, descending: bool
    ) -> None:
        """Those without a value last."""
        drawn = random.Random(by)  # noqa: S311 - the same in every run
        for number in range(25):
            one = replace(
                a_component(f"C{number * 7 % 25:02}", drawn.randrange(5)),
                started_at=drawn.choice([None, 1, 2, 3]),
                status=drawn.choice([None, "Failed", "Completed"]),
            )
            store.experiments.add(one, {})
            if number % 3:
                store.metrics.put(key_of(one.name), [Metric("m", 1, None, drawn.choice([1.5, -2.0]))])
        value = Value("maximum", "metric", "m") if by == "metric" else Value(by)
        order = Order(value, descending)
        whole, none = store.experiments.find(Component, [], order)
        assert none is None
        assert [key_of(c.name) for c in whole] == in_order(store, whole, by, descending=descending)
        seen: list[str] = []
        after: Sequence[Any] | None = None
        while True:
            page, after = store.experiments.find(Component, [], order, 4, after)
            seen += [c.name for c in page]
            if after is None:
                break
            store.experiments.add(a_component(f"new{len(seen)}", 3), {})
        assert [name for name in seen if "new" not in name] == [c.name for c in whole]
        assert len(set(seen)) == len(seen)

    def test_conditions_leave_what_fulfils_them_all(self, store: Store) -> None:
        """Of each kind of value, and counted as they are found."""
        fill(store, {"E": {"T": ["a", "B"], "U": ["c"]}, "F": {"V": ["a"]}})
        store.experiments.add(replace(a_component("d", 7), source="ARN:Job", status="Failed"), {"k": "v"})
        for name, number in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
            store.metrics.put(name, [Metric("m", 1, None, number), Metric("M", 1, None, -number)])
        metric = Value("maximum", "metric", "m")
        cases: list[tuple[Value, Operator, Any, str]] = [
            (Value("key"), "=", "b", "B"),
            (Value("key"), "!=", "b", "acd"),
            (Value("key"), "in", ["a", "d", "z"], "ad"),
            (Value("key"), "contains", "c", "c"),
            (Value("created_at"), ">=", 7, "d"),
            (Value("created_at"), "<", 7, "aBc"),
            (Value("source_key"), "=", "arn:job", "d"),
            (Value("source_key"), "!=", "arn:job", "aBc"),
            (Value("status"), "!=", "Failed", "aBc"),
            (Value("trial", "parent"), "=", "t", "aB"),
            (Value("trial", "parent"), "!=", "t", "cd"),
            (Value("experiment", "parent"), "in", ["e", "f"], "aBc"),
            (Value("value", "tag", "k"), "=", "v", "d"),
            (Value("value", "tag", "k"), "!=", "v", "aBc"),
            (metric, ">", 1.0, "Bc"),
            (metric, "<=", 1.0, "a"),
            (metric, "!=", 1.0, "Bcd"),
        ]
        for value, operator, wanted, names in cases:
            condition = Condition(value, operator, wanted)
            some, _ = store.experiments.find(Component, [condition], Order(Value("key"), descending=False))
            assert "".join(c.name for c in some) == names, condition
            assert store.experiments.count(Component, [condition]) == len(names)
            assert store.experiments.count(Component, [condition], 2) == min(2, len(names))
            order = Order(value, descending=True)
            in_order, after = store.experiments.find(Component, [condition], order, 2)
            places, more = store.experiments.places(Component, [condition], order, 2, None)
            assert [key for _, key in places] == [key_of(c.name) for c in in_order]
            assert (places[-1] if more else None) == after
        both = [Condition(metric, ">", 1.0), Condition(Value("trial", "parent"), "=", "t")]
        assert [c.name for c in store.experiments.find(Component, both, NEWEST, 9)[0]] == ["B"]
        with_a = [Condition(Value("component", "member"), "=", "a")]
        assert [t.name for t in store.experiments.find(Trial, with_a, OLDEST, 9)[0]] == ["T", "V"]
        of_f = [Condition(Value("experiment_key"), "=", "f")]
        assert [t.experiment for t in store.experiments.find(Trial, of_f, OLDEST, 9)[0]] == ["F"]
        assert store.experiments.find(Trial, [Condition(Value("key"), "in", [])], OLDEST, 9) == ([], None)

    def test_components_are_found_by_their_parameters(self, store: Store) -> None:
        """As these are now: after they were changed, and not of what is gone."""
        given: dict[str, dict[str, dict[str, Any]]] = {
            "a": {"p": {"NumberValue": 0.1}, UNUSUAL: {"StringValue": UNUSUAL}},
            "B": {"p": {"NumberValue": -5e-324}, "q": {"StringValue": "0.1"}},
            "c": {"p": {"StringValue": "0.1"}},
            "d": {},
        }
        for name, parameters in given.items():
            store.experiments.add(replace(a_component(name), parameters=parameters), {})
        cases: list[tuple[str, str, Operator, Any, str]] = [
            ("number", "p", "<", 0.0, "B"),
            ("number", "p", ">=", 0.1, "a"),
            ("number", "p", ">", 0.1, ""),
            ("number", "none", "<", 9.0, ""),
            ("either", "p", "in", (["0.1"], [0.1]), "ac"),
            ("either", "p", "in", (["0.1"], []), "c"),
            ("either", "p", "!=", (["0.1"], [0.1]), "Bd"),
            ("either", "p", "exists", None, "aBc"),
            ("either", "q", "absent", None, "acd"),
            ("either", UNUSUAL, "in", (["x", UNUSUAL], []), "a"),
        ]

        def check() -> None:
            for column, name, operator, wanted, names in cases:
                condition = Condition(Value(column, "parameter", name), operator, wanted)
                some, _ = store.experiments.find(
                    Component, [condition], Order(Value("key"), descending=False)
                )
                assert "".join(c.name for c in some) == names, condition
                assert store.experiments.count(Component, [condition]) == len(names)

        check()
        store.experiments.change(Component, "b", lambda old: replace(old, parameters=given["c"]))
        cases = [("number", "p", "<", 0.0, ""), ("either", "p", "in", (["0.1"], []), "Bc")]
        check()
        store.experiments.change(Component, "b", lambda old: replace(old, status="Failed"))
        store.experiments.delete(Component, "C")
        store.experiments.add(a_component("c"), {})
        cases = [("either", "p", "in", (["0.1"], []), "B"), ("either", "p", "absent", None, "cd")]
        check()

    def test_components_are_found_and_sorted_by_their_artifacts(self, store: Store) -> None:
        """As these are now: after they were changed, and not of what is gone."""
        given: dict[str, dict[str, dict[str, str]]] = {
            "a": {"i": {"Value": "s3://b/Z", "MediaType": "text/csv"}, UNUSUAL: {"Value": UNUSUAL}},
            "B": {"i": {"Value": "s3://b/a"}, "j": {"Value": "s3://b/Z"}},
            "c": {"i": {"Value": "é" * 2048}},
            "d": {},
        }
        for name, inputs in given.items():
            outputs = {"o": {"Value": name}} if name in "ad" else {}
            store.experiments.add(replace(a_component(name), inputs=inputs, outputs=outputs), {})
        value, by_key = Value("value", "input", "i"), Order(Value("key"), descending=False)
        cases: list[tuple[Test, str]] = [
            (Condition(value, "=", "s3://b/Z"), "a"),
            (Condition(value, "!=", "s3://b/Z"), "Bcd"),
            (Condition(value, "contains", "/b/"), "aB"),
            (Condition(value, "in", ["s3://b/Z", "s3://b/a"]), "aB"),
            (Condition(value, "absent"), "d"),
            (Condition(Value("media_type", "input", "i"), "exists"), "a"),
            (Condition(Value("media_type", "input", "i"), "!=", "text/csv"), "Bcd"),
            (Condition(Value("value", "input"), "=", "s3://b/Z"), "aB"),
            (Condition(Value("value", "output"), "exists"), "ad"),
            (Condition(Value("value", "input", UNUSUAL), "=", UNUSUAL), "a"),
            (Every([]), "aBcd"),
            (Some([]), ""),
            (Some([Condition(value, "absent"), Condition(Value("key"), "=", "b")]), "Bd"),
            (
                Same(
                    "input", [Condition(Value("name", "input"), "=", "j"), Condition(value, "contains", "Z")]
                ),
                "B",
            ),
        ]

        def check() -> None:
            for test, names in cases:
                found, _ = store.experiments.find(Component, [test], by_key)
                assert "".join(c.name for c in found) == names, test
                assert store.experiments.count(Component, [test]) == len(names)
                some = store.experiments.every(Component, [test], {"inputs"})
                assert sorted(c.name for c in some) == sorted(names)
                assert not any(c.inputs for c in some)

        check()
        for descending, names in ((False, "aBcd"), (True, "cBad")):
            order, after, seen = Order(value, descending), None, ""
            while len(seen) < 4:
                page, after = store.experiments.find(Component, [], order, 1, after)
                seen += page[0].name
            assert (seen, after) == (names, None)
        store.experiments.change(Component, "b", lambda old: replace(old, inputs=given["a"]))
        store.experiments.delete(Component, "A")
        store.experiments.add(a_component("a"), {})
        cases = [
            (Condition(value, "=", "s3://b/Z"), "B"),
            (Condition(Value("value", "output"), "exists"), "d"),
        ]
        check()

    def test_a_parameter_whose_name_a_database_can_not_hold_does_no_harm(self, store: Store) -> None:
        """Nor two that are the same there."""
        both: dict[str, dict[str, Any]] = {"a\0": {"StringValue": "x\0"}, "a\ufffd": {"NumberValue": 1.0}}
        store.experiments.add(replace(a_component("c"), parameters=both), {})
        store.experiments.change(Component, "c", lambda old: replace(old, status="Failed"))
        told = store.experiments.get(Component, "c")
        assert told is not None
        assert told.parameters == both

    def test_trials_are_found_and_sorted_by_what_is_in_json(self, store: Store) -> None:
        """And by a text's first word. What has no such text comes last; pages go on from any place."""
        fill(store, {"E": {name: [] for name in "abcdef"}})
        kept = {
            "a": {"CommitId": UNUSUAL},
            "b": {"CommitId": "Z"},
            "c": {"Repository": "Z"},
            "e": {"CommitId": ""},
        }
        kept["f"] = {"CommitId": "\\u0000", "Repository": "x"}  # as JSON would say the character 0
        for name, metadata in kept.items():
            by = f"{name} {name}" if name in "ab" else None
            old = store.experiments.get(Trial, name)
            assert old is not None
            changed = replace(old, metadata=metadata, created_by=by)
            store.experiments.change(Trial, name, partial(_other, changed))
        commit, maker = Value("metadata", path=("CommitId",)), Value("created_by", first=True)
        cases: list[tuple[Condition, str]] = [
            (Condition(commit, "=", UNUSUAL), "a"),
            (Condition(commit, "!=", "Z"), "acdef"),
            (Condition(commit, "in", ["Z", "\\u0000"]), "bf"),
            (Condition(commit, "contains", "%_*?["), "a"),
            (Condition(commit, "contains", "z"), ""),
            (Condition(commit, "exists"), "abef"),
            (Condition(commit, "absent"), "cd"),
            (Condition(maker, "=", "a"), "a"),
            (Condition(maker, "contains", " "), ""),
            (Condition(maker, "absent"), "cdef"),
        ]
        for condition, names in cases:
            found, _ = store.experiments.find(Trial, [condition], Order(Value("key"), descending=False))
            assert "".join(one.name for one in found) == names, condition
        for value, descending, names in (
            (commit, False, "ebfacd"),
            (commit, True, "afbedc"),
            (maker, False, "abcdef"),
            (maker, True, "bafedc"),
        ):
            order, after, seen = Order(value, descending), None, ""
            while len(seen) < len(names):
                page, after = store.experiments.find(Trial, [], order, 1, after)
                seen += page[0].name
            assert (seen, after) == (names, None)

    def test_components_are_found_by_parts_of_their_jobs_requests(self, store: Store) -> None:
        """As long as the job is on record."""
        job = a_part("j", {"RunName": "R"}, phase=Phase.COMPLETED)
        store.add_job(job, {})
        store.add_job(a_part("k", {"RunName": "r"}), {})
        parts: list[tuple[str, str, Operator, Any, list[str]]] = [
            ("text", "appspecification.imageuri", "=", "python:3.11", ["j", "k"]),
            ("text", "experimentconfig.runname", "in", ["R"], ["j"]),
            ("text", "experimentconfig.runname", "!=", "R", ["k"]),
            ("number", "processingresources.clusterconfig.volumesizeingb", "<", 2.0, ["j", "k"]),
            ("text", "rolearn", "exists", None, []),
        ]
        by_key = Order(Value("key"), descending=False)

        def found(column: str, name: str, operator: Operator, wanted: Any) -> list[str]:
            test = Condition(Value(column, "part", name), operator, wanted)
            return [c.name[0] for c in store.experiments.find(Component, [test], by_key)[0]]

        assert [found(*asked) for *asked, _ in parts] == [names for *_, names in parts]
        store.delete_job(job)
        assert [found(*asked) for *asked, _ in parts] == [["k"], [], ["j", "k"], ["k"], []]

    def test_texts_are_compared_and_sorted_in_lower_case_where_that_is_said(self, store: Store) -> None:
        """Names that are shown as they were given."""
        for name, shown in (("a", "Beta"), ("b", "alpha"), ("c", "BETA"), ("d", "gamma")):
            store.experiments.add(replace(a_component(name), display_name=shown), {})
        lower = Value("display_name", lower=True)
        found, _ = store.experiments.find(
            Component, [Condition(lower, "contains", "a")], Order(lower, descending=True), 9
        )
        assert [c.name for c in found] == ["d", "c", "a", "b"]
        page, place = store.experiments.find(Component, [], Order(lower, descending=False), 2)
        assert [c.name for c in page] == ["b", "a"]
        rest, _ = store.experiments.find(Component, [], Order(lower, descending=False), 9, place)
        assert [c.name for c in rest] == ["c", "d"]
        equal, _ = store.experiments.find(Component, [Condition(lower, "=", "beta")], OLDEST)
        assert sorted(c.name for c in equal) == ["a", "c"]


def _other(new: Trial, _: Trial) -> Trial:
    return new


def in_order(store: Store, components: Sequence[Component], by: str, *, descending: bool) -> list[str]:
    """The keys of components in the order that they must have."""
    metrics = store.metrics.summaries()

    def value(one: Component) -> Any:
        if by == "metric":
            of = metrics.get(key_of(one.name))
            return of[0].maximum if of else None
        return key_of(one.name) if by == "key" else getattr(one, by)

    placed = [(value(one), key_of(one.name)) for one in components]
    with_one = sorted((p for p in placed if p[0] is not None), reverse=descending)
    without = sorted((p for p in placed if p[0] is None), reverse=descending)
    return [key for _, key in [*with_one, *without]]
