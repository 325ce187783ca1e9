"""MXNet, as an estimator class for FrameworkProcessor."""

from __future__ import annotations

from typing import ClassVar

from penstock.estimator import Framework


class MXNet(Framework):
    """MXNet at one version; see `Framework` for the arguments."""

    _framework_name: ClassVar[str] = "mxnet"
