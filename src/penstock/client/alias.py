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

from penstock.client import absent, local_server
from penstock.client.local_server import Address
from penstock.errors import ConfigurationError

OFFICIAL = "sagemaker"

#: Its `sitecustomize.py` leads SageMaker's own SDK to the local server where variables alone can't.
HOOK = Path(__file__).parent / "hook"

#: The modules that stand in for SageMaker's of the same name. Penstock's others are none of its business.
MODULES = frozenset(
    {
        "",
        "analytics",
        "dataset_definition",
        "dataset_definition.inputs",
        "estimator",
        "exceptions",
        "experiments",
        "experiments.experiment",
        "experiments.run",
        "experiments.trial",
        "experiments.trial_component",
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

#: The older package of experiments, whose names are Penstock's too -> those of its modules that Penstock has.
EXPERIMENTS = "smexperiments"
_OF_EXPERIMENTS = frozenset(
    {"", "api_types", "experiment", "search_expression", "tracker", "trial", "trial_component"}
)


def install() -> None:
    """From now on `import sagemaker...` gives Penstock's modules: the same objects as `import penstock...`.

    And so does `import smexperiments...`: those of `penstock.experiments`.
    """
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


def as_sagemaker() -> None:
    """From now on `import sagemaker` is Penstock, and boto3 reaches the local server: the first line of a notebook.

    Finds the server or starts it. Also where SageMaker's own SDK is installed, whose local mode calls Docker.

    Raises:
        ConfigurationError: SageMaker's own SDK has been imported already.
    """
    loaded = sys.modules.get(OFFICIAL)
    if loaded is not None and loaded.__name__ == OFFICIAL:
        raise ConfigurationError(
            "SageMaker's own SDK has been imported already. Restart the kernel, and call penstock.as_sagemaker() "
            "before the first `import sagemaker`."
        )
    _lead(local_server.ensure())
    install()
    if boto3 := sys.modules.get("boto3"):
        vars(boto3)["DEFAULT_SESSION"] = None  # it may have been made with other keys


def run_script(
    path: str, args: Sequence[str], address: Address | None = None, *, own_sdk: bool = False
) -> None:
    """Run a script that says `from sagemaker.processing import ...`, as `python path args` would.

    It runs on Penstock's SDK; or, where SageMaker's own is installed, on that one. In both cases the process's
    environment leads to the local server, for boto3 and for programs that the script starts.

    Args:
        path: The script.
        args: Its arguments.
        address: The server; found or started when None.
        own_sdk: Use Penstock's SDK even where SageMaker's own is installed.

    Raises:
        ConfigurationError: There is no such script.
        SystemExit: The script has ended itself, or by an error, which has then been printed.
    """
    script = Path(path)
    if not script.is_file():
        raise ConfigurationError(f"The script {path} does not exist, or is no file.")
    _prepare(address, own_sdk)
    sys.argv = [path, *args]
    sys.path.insert(0, str(script.absolute().parent))
    try:
        runpy.run_path(path, run_name="__main__")
    except Exception as error:  # noqa: BLE001 - whatever the script has not caught
        _print_error(error, path)
        sys.exit(1)


def run_module(
    name: str, args: Sequence[str], address: Address | None = None, *, own_sdk: bool = False
) -> None:
    """Run a module or package as `python -m name args` would; the rest is as in `run_script`.

    Raises:
        ConfigurationError: There is no such module.
        SystemExit: The module has ended itself, or by an error, which has then been printed.
    """
    _prepare(address, own_sdk)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.util.find_spec(name)
        if found is not None and found.submodule_search_locations is not None:
            found = importlib.util.find_spec(f"{name}.__main__")
    except ModuleNotFoundError:  # of a package above it
        found = None
    if found is None or found.origin is None:
        raise ConfigurationError(f"There is no module {name} to run; a package needs a module __main__.")
    sys.argv = [found.origin, *args]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except Exception as error:  # noqa: BLE001 - whatever the module has not caught
        _print_error(error, found.origin)
        sys.exit(1)


def _prepare(address: Address | None, own_sdk: bool) -> None:
    """Lead this process to the server, and `import sagemaker` to the SDK that shall be used."""
    _lead(address or local_server.ensure())
    if official_is_installed() and not own_sdk:
        os.environ["PYTHONPATH"] = hooked_path()  # for the programs that the script starts
        runpy.run_path(str(HOOK / "sitecustomize.py"))["install"]()
    else:
        install()


def _lead(address: Address) -> None:
    os.environ.update(variables(address))
    os.environ.pop("AWS_PROFILE", None)  # it may name a profile that this machine does not have


def _print_error(error: Exception, path: str) -> None:
    """Print the traceback that `python path` would have printed: from the script's first frame on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def variables(address: Address) -> dict[str, str]:
    """The environment variables that lead AWS's SDKs and tools to a server."""
    found = {
        "AWS_ENDPOINT_URL": address.endpoint,
        "AWS_ENDPOINT_URL_S3": address.s3_endpoint,
        "AWS_ACCESS_KEY_ID": address.access_key_id,
        "AWS_SECRET_ACCESS_KEY": address.secret_access_key,
        # Empty rather than left alone: a token of another account would be sent along with our keys.
        "AWS_SESSION_TOKEN": "",
        "AWS_DEFAULT_REGION": address.region,
        "AWS_REGION": address.region,
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }
    if any(os.environ.get(name) for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")):
        others = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
        found["NO_PROXY"] = ",".join(filter(None, [others, "127.0.0.1", "localhost"]))
    return found


def hooked_path() -> str:
    """The user's PYTHONPATH with the hook's folder before it, once."""
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != str(HOOK)]
    return os.pathsep.join([str(HOOK), *others])


class _Finder(MetaPathFinder):
    """Finds `sagemaker.x` as `penstock.x`, and `smexperiments.x` as `penstock.experiments.x`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        top, _, name = fullname.partition(".")
        if top == EXPERIMENTS and name in _OF_EXPERIMENTS:
            return ModuleSpec(fullname, _Loader(f"penstock.experiments.{name}".rstrip(".")), is_package=True)
        if top != OFFICIAL:
            return None
        if name not in MODULES:
            if words := absent.module(name):
                raise ModuleNotFoundError(f"No module named {fullname!r}: it {words}", name=fullname)
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: Penstock covers SageMaker Processing, and stands in for "
                f"{', '.join(f'sagemaker.{name}' for name in sorted(MODULES) if name and '.' not in name)}.",
                name=fullname,
            )
        return ModuleSpec(fullname, _Loader(f"penstock.{name}".rstrip(".")), is_package=True)


class _Loader(Loader):
    """Hands out a module of Penstock's, by its own name, under its second name."""

    def __init__(self, own: str) -> None:
        self._name = own

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        del spec
        module = importlib.import_module(self._name)
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec there; the module stays what it was.
        module.__spec__ = self._own
