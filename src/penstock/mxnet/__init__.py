"""MXNet for Processing jobs."""

from penstock.client import absent
from penstock.mxnet.estimator import MXNet
from penstock.mxnet.processing import MXNetProcessor

__all__ = ["MXNet", "MXNetProcessor"]

absent.explain(__name__)
