"""Experiments of Penstock's SDK have the names of both official packages, and take their arguments."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
from typing import Any

import pytest
from interpreters import interpreter

#: Client -> its module and name -> ours.
CLASSES = {
    "smexperiments": {
        "smexperiments.experiment:Experiment": "penstock.experiments.experiment:Experiment",
        "smexperiments.trial:Trial": "penstock.experiments.trial:Trial",
        "smexperiments.trial_component:TrialComponent": "penstock.experiments.trial_component:TrialComponent",
        "smexperiments.tracker:Tracker": "penstock.experiments.tracker:Tracker",
        "smexperiments.search_expression:Filter": "penstock.experiments.search_expression:Filter",
        "smexperiments.search_expression:NestedFilter": "penstock.experiments.search_expression:NestedFilter",
        "smexperiments.search_expression:SearchExpression": "penstock.experiments.search_expression:SearchExpression",
    },
    "sagemaker-v2": {
        "sagemaker.experiments:Experiment": "penstock.experiments:Experiment",
        "sagemaker.experiments:Run": "penstock.experiments:Run",
        "sagemaker.experiments:load_run": "penstock.experiments:load_run",
        "sagemaker.experiments:list_runs": "penstock.experiments:list_runs",
        "sagemaker.analytics:ExperimentAnalytics": "penstock.analytics:ExperimentAnalytics",
    },
}
#: Where the two packages differ, ours has the order of the older one.
ORDERED_AS_THE_OLDER = {"sagemaker.experiments:Experiment"}

#: Made by `create` and `load` alone.
INNER = {("smexperiments.tracker:Tracker", "__init__")}


def parameters(path: str, *, inherited: bool = False) -> dict[str, list[str]]:
    """The public functions of a class, or the function itself -> their parameters."""
    module, _, name = path.partition(":")
    found = getattr(importlib.import_module(module), name)
    if inspect.isfunction(found):
        functions = {"": found}
    else:
        functions = {
            n: getattr(found, n)
            for n in (dir(found) if inherited else vars(found))
            if (n == "__init__" or not n.startswith("_")) and callable(getattr(found, n))
        }
    return {
        n: [p.name for p in inspect.signature(f).parameters.values() if p.name != "self"]
        for n, f in functions.items()
    }


@pytest.fixture(scope="module")
def official() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for client, classes in CLASSES.items():
        code = (
            f"import importlib, inspect, json\n{inspect.getsource(parameters)}\n"
            f"print(json.dumps({{path: parameters(path) for path in {[*classes]}}}))"
        )
        environment = {"AWS_DEFAULT_REGION": "us-east-1", "SAGEMAKER_SUPPRESS_V2_WARNING": "1"}
        told = subprocess.run(
            [interpreter(client), "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
            env=environment,
        )
        found |= json.loads(told.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("theirs", "ours"), [pair for classes in CLASSES.values() for pair in classes.items()], ids=lambda p: p
)
def test_same(official: Any, theirs: str, ours: str) -> None:
    own = parameters(ours, inherited=True)
    for name, wanted in official[theirs].items():
        if (theirs, name) in INNER:
            continue
        assert name in own, name
        if theirs in ORDERED_AS_THE_OLDER:
            assert set(wanted) <= set(own[name]), name
        else:
            assert own[name][: len(wanted)] == wanted, name
