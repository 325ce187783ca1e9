"""PyTorch, as an estimator class for FrameworkProcessor."""

from __future__ import annotations

from typing import ClassVar

from penstock.estimator import Framework


class PyTorch(Framework):
    """PyTorch at one version; see `Framework` for the arguments."""

    _framework_name: ClassVar[str] = "pytorch"
