"""Experiments: the names of `smexperiments` 0.1.45, and of `sagemaker.experiments` of SageMaker's SDK v2."""

from __future__ import annotations

from penstock.experiments.experiment import Experiment
from penstock.experiments.run import Run, SortByType, SortOrderType, list_runs, load_run
from penstock.experiments.tracker import Tracker
from penstock.experiments.trial import Trial
from penstock.experiments.trial_component import TrialComponent

__all__ = [
    "Experiment",
    "Run",
    "SortByType",
    "SortOrderType",
    "Tracker",
    "Trial",
    "TrialComponent",
    "list_runs",
    "load_run",
]
