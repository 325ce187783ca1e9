"""MXNetProcessor: scripts in an image of MXNet."""

from __future__ import annotations

from penstock.client.versioned import VersionedProcessor
from penstock.mxnet.estimator import MXNet


class MXNetProcessor(VersionedProcessor):
    """Starts jobs in the image of a MXNet version; see `FrameworkProcessor` for the arguments."""

    estimator_cls = MXNet
