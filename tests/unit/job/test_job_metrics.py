"""What of a file and of the request's variables is a metric."""

import json
import math
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.job import metrics
from penstock.job.evaluation import metrics_of

DEFINITIONS = "PENSTOCK_METRIC_DEFINITIONS"


def read(told):
    return metrics_of(json.dumps(told).encode())


def defined(*given, **more):
    return metrics.definitions({DEFINITIONS: json.dumps(given), **more})


def test_what_no_line_has_given_is_told():
    given = json.dumps([{"Name": "auc", "Regex": "AUC=(.*)"}, {"Name": "mse", "Regex": "mse=(.*)"}])
    left = metrics.untold({DEFINITIONS: given, "OTHER": "x"}, {"mse"})
    assert [(one.name, one.pattern.pattern) for one in left] == [("auc", "AUC=(.*)")]
    assert metrics.untold({}, {"mse"}) == []
    assert metrics.untold({DEFINITIONS: "of other times"}, ()) == []


def test_the_report_of_sagemakers_tutorials():
    assert read({"regression_metrics": {"mse": {"value": 4.9, "standard_deviation": 2.1}}}) == {
        "mse": 4.9,
        "mse:standard_deviation": 2.1,
    }


def test_a_model_quality_report_gives_its_scalars_alone():
    told = {
        "version": 0.0,
        "dataset": {"item_count": 4, "evaluation_time": "2026-01-01T00:00:00Z"},
        "binary_classification_metrics": {
            "confusion_matrix": {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}},
            "recall": {"value": 1.0, "standard_deviation": "NaN"},
            "auc": {"value": 0.5, "standard_deviation": 0.1},
            "receiver_operating_characteristic_curve": {
                "false_positive_rates": [0.0, 1.0],
                "true_positive_rates": [0.0, 1.0],
            },
        },
    }
    assert read(told) == {"recall": 1.0, "auc": 0.5, "auc:standard_deviation": 0.1}
    assert read(
        {"multiclass_classification_metrics": {"accuracy": {"value": 1, "standard_deviation": 0}}}
    ) == {
        "accuracy": 1.0,
        "accuracy:standard_deviation": 0.0,
    }
    assert read({"regression_metrics": {"r2": {"value": 1}}, "custom_metrics": {"cost": 7}}) == {
        "r2": 1.0,
        "cost": 7.0,
    }


def test_numbers_by_their_names_and_in_groups():
    assert read({"accuracy": 0.9, "n": 3, "test": {"accuracy": 0.8, "auc": {"value": 0.7}}}) == {
        "accuracy": 0.9,
        "n": 3.0,
        "test:accuracy": 0.8,
        "test:auc": 0.7,
    }
    # As scikit-learn's classification_report tells it.
    assert read({"0": {"f1-score": 0.5, "support": 2}, "macro avg": {"f1-score": 0.4}, "accuracy": 0.5}) == {
        "0:f1-score": 0.5,
        "0:support": 2.0,
        "macro avg:f1-score": 0.4,
        "accuracy": 0.5,
    }


def test_what_is_no_finite_number_or_has_no_name_is_no_metric():
    text = (
        '{"a": NaN, "b": Infinity, "c": 1e999, "d": true, "e": null, "f": "1", "g": [1], "h": {"i": {"j": 1}}, "": 1,'
        f' "{"x" * 256}": 1, "k\\n": 1, "\\ud800": 1, "big": {"9" * 400}, "l": -0.5, "m": {{"value": null}}}}'
    )
    assert metrics_of(text.encode()) == {"l": -0.5}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1]",
        b"1",
        b"\xff\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"1" * 9000 + b"}",
    ],
)
def test_what_is_no_object_says_so(text):
    with pytest.raises(ValueError, match=r"\w"):
        metrics_of(text)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
NAMES = st.text(max_size=4) | st.sampled_from(
    ["value", "standard_deviation", "a_metrics", "confusion_matrix"]
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4)
)


@given(told=st.dictionaries(NAMES, JSON, max_size=5))
def test_of_any_object_each_metric_is_a_finite_number_that_is_in_it(told):
    found = read(told)
    numbers = set(map(float, numbers_in(told)))
    for name, value in found.items():
        assert math.isfinite(value)
        assert metrics.is_name(name)
        assert value in numbers
    whole = [metrics.Metric(name, 1, None, value) for name, value in found.items()]
    assert metrics.from_note(json.loads(json.dumps(metrics.to_note(whole)))) == whole


def numbers_in(told):
    if isinstance(told, dict):
        for inner in told.values():
            yield from numbers_in(inner)
    elif isinstance(told, int | float) and not isinstance(told, bool):
        yield told


@given(values=st.dictionaries(st.text(alphabet="abc:", min_size=1, max_size=9), st.floats(allow_nan=False, allow_infinity=False)))  # fmt: skip
def test_any_finite_values_come_back_from_every_shape(values):
    plain = {name: value for name, value in values.items() if ":" not in name}
    assert read(plain) == plain
    report = {"regression_metrics": {name: {"value": value} for name, value in values.items()}}
    assert read(report) == values


def test_definitions_are_those_of_training_jobs():
    mse, acc = defined(
        {"Name": "validation:mse", "Regex": "mse=([0-9.]+)"},
        PENSTOCK_METRIC_DEFINITIONS_2=json.dumps([{"Name": "acc", "Regex": r"#acc: (\S+)"}]),
    )
    assert (mse.name, acc.name) == ("validation:mse", "acc")
    assert mse.pattern.search("epoch 1 mse=0.25;")[1] == "0.25"
    assert metrics.definitions({"OTHER": "["}) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "Expecting"),
        ("{}", "not a list"),
        ("[1]", "each element"),
        ('[{"Name": "a"}]', "each element"),
        ('[{"Name": "a", "Regex": "(b)", "More": 1}]', "each element"),
        ('[{"Name": "", "Regex": "(b)"}]', "1 to 255"),
        ('[{"Name": 5, "Regex": "(b)"}]', "1 to 255"),
        ('[{"Name": "a", "Regex": 5}]', "1 to 500"),
        (json.dumps([{"Name": "a", "Regex": "(" + "b" * 500 + ")"}]), "1 to 500"),
        ('[{"Name": "a", "Regex": "b"}]', "no group"),
        ('[{"Name": "a", "Regex": "(b"}]', "missing \\): \\(b"),
        ('[{"Name": "a", "Regex": "(?<=b)(c)"}]', "without look-around"),
        ('[{"Name": "a", "Regex": "((((a{999}){999}){999}){999})"}]', "repetition"),
        ('[{"Name": "a", "Regex": "(\\ud800)"}]', "can't be used"),
        ("[" * 100_000, "."),
        (json.dumps([{"Name": "a", "Regex": "(b)"}] * 41), "40 at most"),
    ],
)
def test_definitions_that_can_not_be_used_name_the_variable(given, words):
    with pytest.raises(ValueError, match=words):
        metrics.definitions({DEFINITIONS: given})
    [rule] = metrics.broken_rules({DEFINITIONS: given})
    assert rule.startswith(f"environment.{DEFINITIONS}: ")


def test_the_file_of_an_evaluation():
    name = "PENSTOCK_METRICS_FILE"
    assert metrics.evaluation_file({}) == PurePosixPath("evaluation.json")
    assert metrics.evaluation_file({name: "reports/quality.json"}) == PurePosixPath("reports/quality.json")
    assert metrics.evaluation_file({name: ""}) is None
    for odd in ("/etc/passwd", "..", "a/../b", ".", "a\0b"):
        with pytest.raises(ValueError, match="no path"):
            metrics.evaluation_file({name: odd})
        [rule] = metrics.broken_rules({name: odd})
        assert rule.startswith(f"environment.{name}: ")
