"""PyTorchProcessor: scripts in an image of PyTorch."""

from __future__ import annotations

from penstock.client.versioned import VersionedProcessor
from penstock.pytorch.estimator import PyTorch


class PyTorchProcessor(VersionedProcessor):
    """Starts jobs in the image of a PyTorch version; see `FrameworkProcessor` for the arguments."""

    estimator_cls = PyTorch
