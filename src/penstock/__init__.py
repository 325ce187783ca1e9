"""Penstock: SageMaker Processing on your own machines.

The names here are those of SageMaker's Python SDK and are loaded on first use, so that
`import penstock` itself costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from penstock._version import __version__

if TYPE_CHECKING:
    from penstock.local import LocalSession
    from penstock.processing import Processor, ScriptProcessor
    from penstock.session import Session, get_execution_role

__all__ = [
    "LocalSession",
    "Processor",
    "ScriptProcessor",
    "Session",
    "__version__",
    "as_sagemaker",
    "get_execution_role",
]

_HOMES = {
    "LocalSession": "penstock.local",
    "Processor": "penstock.processing",
    "ScriptProcessor": "penstock.processing",
    "Session": "penstock.session",
    "get_execution_role": "penstock.session",
}

#: Modules that `import sagemaker` makes available as attributes (`sagemaker.image_uris.retrieve(...)`).
_MODULES = (
    "analytics",
    "exceptions",
    "experiments",
    "image_uris",
    "local",
    "network",
    "processing",
    "s3",
    "session",
)


def as_sagemaker() -> None:
    """From now on `import sagemaker` is Penstock, and boto3 reaches the local server: the first line of a notebook.

    Raises:
        ConfigurationError: SageMaker's own SDK has been imported already.
        ServerUnavailable: No server runs, and none could be started.
    """
    importlib.import_module("penstock.client.alias").as_sagemaker()


def _find(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"penstock.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __getattr__(name: str) -> Any:
    from penstock.client import absent  # noqa: PLC0415 - keeps the import light

    return absent.getter(__name__, _find)(name)
