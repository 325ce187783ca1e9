"""`import sagemaker` on a machine that has Penstock and not SageMaker's SDK."""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from penstock.client.local_server import Address
from penstock.errors import ConfigurationError

OFFICIAL = "sagemaker"

#: The modules that stand in for SageMaker's of the same name. Penstock's others are none of its business.
MODULES = frozenset(
    {
        "",
        "dataset_definition",
        "dataset_definition.inputs",
        "estimator",
        "exceptions",
        "huggingface",
        "huggingface.estimator",
        "huggingface.processing",
        "image_uris",
        "local",
        "local.local_session",
        "mxnet",
        "mxnet.estimator",
        "mxnet.processing",
        "network",
        "processing",
        "pytorch",
        "pytorch.estimator",
        "pytorch.processing",
        "s3",
        "session",
        "session_settings",
        "sklearn",
        "sklearn.estimator",
        "sklearn.processing",
        "tensorflow",
        "tensorflow.estimator",
        "tensorflow.processing",
        "xgboost",
        "xgboost.estimator",
        "xgboost.processing",
    }
)


def install() -> None:
    """From now on `import sagemaker...` gives Penstock's modules: the same objects as `import penstock...`."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def uninstall() -> None:
    """Undo `install`, for modules that are not imported yet."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


def official_is_installed() -> bool:
    """Whether SageMaker's own SDK is there."""
    others = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    return any(
        finder.find_spec(OFFICIAL, None) is not None for finder in others if hasattr(finder, "find_spec")
    )


def run_script(path: str, args: Sequence[str], address: Address | None = None) -> None:
    """Run a script that says `from sagemaker.processing import ...`, as `python path args` would.

    It runs on Penstock's SDK; or, where SageMaker's own is installed, on that one, with the variables that
    lead it to the local server.

    Args:
        path: The script.
        args: Its arguments.
        address: The server for SageMaker's own SDK; found or started when None.

    Raises:
        ConfigurationError: There is no such script.
    """
    script = Path(path)
    if not script.is_file():
        raise ConfigurationError(f"The script {path} does not exist, or is no file.")
    if official_is_installed():
        os.environ.update(variables(address or _ensure()))
    else:
        install()
    sys.argv = [path, *args]
    sys.path.insert(0, str(script.absolute().parent))
    runpy.run_path(path, run_name="__main__")


def variables(address: Address) -> dict[str, str]:
    """The environment variables that lead AWS's SDKs and tools to a server."""
    found = {
        "AWS_ENDPOINT_URL": address.endpoint,
        "AWS_ENDPOINT_URL_S3": address.s3_endpoint,
        "AWS_ACCESS_KEY_ID": address.access_key_id,
        "AWS_SECRET_ACCESS_KEY": address.secret_access_key,
        "AWS_SESSION_TOKEN": address.session_token,
        "AWS_DEFAULT_REGION": address.region,
        "AWS_REGION": address.region,
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }
    return {name: value for name, value in found.items() if value is not None}


def _ensure() -> Address:
    from penstock.client import local_server  # noqa: PLC0415 - only where the official SDK is installed

    return local_server.ensure()


class _Finder(MetaPathFinder):
    """Finds `sagemaker.x` as `penstock.x`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        top, _, name = fullname.partition(".")
        if top != OFFICIAL:
            return None
        if name not in MODULES:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: Penstock covers SageMaker Processing, and stands in for "
                f"{', '.join(f'sagemaker.{name}' for name in sorted(MODULES) if name and '.' not in name)}.",
                name=fullname,
            )
        return ModuleSpec(fullname, _Loader(), is_package=True)


class _Loader(Loader):
    """Hands out a module of Penstock's under its second name."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"penstock{spec.name.removeprefix(OFFICIAL)}")
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec there; the module stays what it was.
        module.__spec__ = self._own
