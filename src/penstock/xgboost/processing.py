"""XGBoostProcessor: scripts in an image of XGBoost."""

from __future__ import annotations

from penstock.client.versioned import VersionedProcessor
from penstock.xgboost.estimator import XGBoost


class XGBoostProcessor(VersionedProcessor):
    """Starts jobs in the image of a XGBoost version; see `FrameworkProcessor` for the arguments."""

    estimator_cls = XGBoost
