"""scikit-learn for Processing jobs."""

from penstock.sklearn.estimator import SKLearn
from penstock.sklearn.processing import SKLearnProcessor

__all__ = ["SKLearn", "SKLearnProcessor"]
