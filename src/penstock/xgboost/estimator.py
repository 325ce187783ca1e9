"""XGBoost, as an estimator class for FrameworkProcessor."""

from __future__ import annotations

from typing import ClassVar

from penstock.estimator import Framework


class XGBoost(Framework):
    """XGBoost at one version; see `Framework` for the arguments."""

    _framework_name: ClassVar[str] = "xgboost"
