"""TensorFlow for Processing jobs."""

from penstock.client import absent
from penstock.tensorflow.estimator import TensorFlow
from penstock.tensorflow.processing import TensorFlowProcessor

__all__ = ["TensorFlow", "TensorFlowProcessor"]

absent.explain(__name__)
