"""TensorFlowProcessor: scripts in an image of TensorFlow."""

from __future__ import annotations

from penstock.client.versioned import VersionedProcessor
from penstock.tensorflow.estimator import TensorFlow


class TensorFlowProcessor(VersionedProcessor):
    """Starts jobs in the image of a TensorFlow version; see `FrameworkProcessor` for the arguments."""

    estimator_cls = TensorFlow
