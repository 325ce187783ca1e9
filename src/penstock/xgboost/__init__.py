"""XGBoost for Processing jobs."""

from penstock.client import absent
from penstock.xgboost.estimator import XGBoost
from penstock.xgboost.processing import XGBoostProcessor

__all__ = ["XGBoost", "XGBoostProcessor"]

absent.explain(__name__)
