"""Lets AWS's Python clients, unchanged, reach a local server. `penstock env` puts this folder on PYTHONPATH.

Every Python started with that variable imports this module, before anything else and whatever its version (3.8 or
newer): so it is small, needs nothing but the standard library and does its work only when botocore is imported.
PENSTOCK_HOOK=0 turns it off. Two things can't be told to the clients by variables:

- SageMaker's SDK names AWS's regional address when it makes its STS client, and so goes past AWS_ENDPOINT_URL. With
  such a variable set, AWS's own address counts as none given; botocore then looks where it is told to.
- It asks for encryption by a KMS for each source archive, and the store at AWS_ENDPOINT_URL_S3 need not have one.
"""
# ruff: noqa: INP001 - this folder is no package; Pythons older than the project's read it

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # type checkers know this name; importing typing would cost each start a millisecond
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_MODULE = "botocore.session"
_KMS = ("ServerSideEncryption", "SSEKMSKeyId", "SSEKMSEncryptionContext", "BucketKeyEnabled")


def install() -> None:
    """Change botocore's sessions: now, when they are there, else as soon as they are imported."""
    if os.environ.get("PENSTOCK_HOOK") == "0":
        return
    if _MODULE in sys.modules:
        _change(sys.modules[_MODULE])
    else:
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds one module as the other finders do, once, and changes it when it has been executed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)  # older Pythons know finders without
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    _wrap(spec.loader)
                return spec
        return None


def _wrap(loader: Any) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _change(module)

    loader.exec_module = exec_module


def _change(module: Any) -> None:
    create = getattr(getattr(module, "Session", None), "create_client", None)
    if create is None:  # not a botocore that we know
        return

    def create_client(self: Any, service_name: str, *args: Any, **kwargs: Any) -> Any:
        if service_name == "sts" and _told("STS") and _is_aws(kwargs.get("endpoint_url")):
            kwargs["endpoint_url"] = None
        client = create(self, service_name, *args, **kwargs)
        if service_name == "s3" and _has_no_kms(client):
            client.meta.events.register("before-parameter-build.s3", _without_kms)
        return client

    module.Session.create_client = create_client


def _told(service: str) -> str:
    """The endpoint that the environment names for a service."""
    environ = os.environ
    return environ.get("AWS_ENDPOINT_URL_" + service) or environ.get("AWS_ENDPOINT_URL") or ""


def _is_aws(endpoint: str | None) -> bool:
    host = (endpoint or "").rstrip("/").partition("://")[2]
    return host.startswith("sts.") and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _has_no_kms(client: Any) -> bool:
    """Whether it is the store that the environment leads to; the server itself knows what its stores can do."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", "").rstrip("/")
    server = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
    return client.meta.endpoint_url.rstrip("/") == endpoint != server and "amazonaws.com" not in endpoint


def _without_kms(params: dict[str, Any], **_others: Any) -> None:
    if not str(params.get("ServerSideEncryption")).startswith("aws:kms"):
        return
    if params.get("SSEKMSKeyId"):  # not the SDK's habit, but somebody's wish
        import logging  # noqa: PLC0415 - botocore has imported it

        bucket = params.get("Bucket")
        logging.getLogger("penstock").warning("No KMS here: s3://%s does not encrypt by a key.", bucket)
    for name in _KMS:
        params.pop(name, None)


def _chain() -> None:
    """Run the `sitecustomize` that would have been found without this folder, as it would have been run."""
    from importlib.machinery import PathFinder  # noqa: PLC0415 - the module's own names first

    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is slow to import
    spec = PathFinder.find_spec(__name__, [p for p in sys.path if os.path.abspath(p) != here])  # noqa: PTH100
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec  # noqa: PLC0415 - costs a millisecond, for those who have one

        sys.modules[__name__] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    install()
    _chain()
