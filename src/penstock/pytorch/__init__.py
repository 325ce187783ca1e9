"""PyTorch for Processing jobs."""

from penstock.client import absent
from penstock.pytorch.estimator import PyTorch
from penstock.pytorch.processing import PyTorchProcessor

__all__ = ["PyTorch", "PyTorchProcessor"]

absent.explain(__name__)
