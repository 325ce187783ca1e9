"""scikit-learn for Processing jobs."""

from penstock.client import absent
from penstock.sklearn.estimator import SKLearn
from penstock.sklearn.processing import SKLearnProcessor

__all__ = ["SKLearn", "SKLearnProcessor"]

absent.explain(__name__)
