"""XGBoost for Processing jobs."""

from penstock.xgboost.estimator import XGBoost
from penstock.xgboost.processing import XGBoostProcessor

__all__ = ["XGBoost", "XGBoostProcessor"]
