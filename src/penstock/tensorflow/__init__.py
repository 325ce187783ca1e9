"""TensorFlow for Processing jobs."""

from penstock.tensorflow.estimator import TensorFlow
from penstock.tensorflow.processing import TensorFlowProcessor

__all__ = ["TensorFlow", "TensorFlowProcessor"]
