"""Cut botocore's service models down to what Penstock serves, and write them into the package.

Run it after a new operation was put in `OPERATIONS`, or after an update of botocore:

    .venv/bin/python tools/trim_models.py

The folder it writes has the layout of botocore's own data folder, so a botocore `Loader` that has it among
its search paths makes clients from it. Reading the whole SageMaker model takes about a quarter of a second,
the trimmed one less than a millisecond.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import botocore
from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader

#: What is served. To add an operation, add its name here, run this script, and write the operation in `api/`.
OPERATIONS: dict[str, tuple[str, ...]] = {
    "sagemaker": (
        "CreateProcessingJob",
        "DescribeProcessingJob",
        "ListProcessingJobs",
        "StopProcessingJob",
        "DeleteProcessingJob",
        "AddTags",
        "ListTags",
        "DeleteTags",
        "Search",
        "CreateExperiment",
        "DescribeExperiment",
        "ListExperiments",
        "UpdateExperiment",
        "DeleteExperiment",
        "CreateTrial",
        "DescribeTrial",
        "ListTrials",
        "UpdateTrial",
        "DeleteTrial",
        "CreateTrialComponent",
        "DescribeTrialComponent",
        "ListTrialComponents",
        "UpdateTrialComponent",
        "DeleteTrialComponent",
        "AssociateTrialComponent",
        "DisassociateTrialComponent",
        "CreateArtifact",
        "DescribeArtifact",
        "ListArtifacts",
        "UpdateArtifact",
        "DeleteArtifact",
        "AddAssociation",
        "DeleteAssociation",
        "ListAssociations",
        "QueryLineage",
    ),
    "logs": ("DescribeLogGroups", "DescribeLogStreams", "GetLogEvents", "FilterLogEvents"),
    "sts": ("GetCallerIdentity",),
    "iam": ("GetRole",),
    "sagemaker-metrics": ("BatchPutMetrics", "BatchGetMetrics"),
}

#: Structures of which only these members are kept. What leads to things that are never there stays out: with all of
#: them, Search alone would need a third of SageMaker's model.
MEMBERS: dict[str, tuple[str, ...]] = {
    "SearchRecord": ("Experiment", "Trial", "TrialComponent"),
    "TrialComponentSourceDetail": ("SourceArn", "ProcessingJob"),
}

TARGET = Path(__file__).resolve().parents[1] / "src" / "penstock" / "wire" / "models"

Json = dict[str, Any]


def main(target: Path = TARGET) -> None:
    """Write the trimmed models of all services below `target`."""
    # Botocore's own data only: a user's ~/.aws/models must not get into the package.
    loader = Loader(include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH])
    for service, names in OPERATIONS.items():
        version = loader.determine_latest_version(service, "service-2")
        folder = target / service / version
        folder.mkdir(parents=True, exist_ok=True)
        model = trim(loader.load_service_model(service, "service-2", version), names)
        _write(folder / "service-2.json", model)
        for kind, member in (("paginators-1", "pagination"), ("waiters-2", "waiters")):
            try:
                whole = loader.load_service_model(service, kind, version)
            except UnknownServiceError:  # botocore has no such file for this service
                continue
            # A paginator is named after its operation, a waiter names it.
            kept = {k: v for k, v in whole[member].items() if v.get("operation", k) in names}
            # Written even when empty: a Loader would fall back to botocore's, which has other operations too.
            _write(folder / f"{kind}.json", {**whole, member: kept})


def trim(model: Json, names: tuple[str, ...]) -> Json:
    """The part of a service model that the operations `names` need, without documentation."""
    operations = {name: model["operations"][name] for name in names}
    shapes = {name: _cut(name, shape) for name, shape in model["shapes"].items()}
    wanted = {
        shape["shape"]
        for operation in operations.values()
        for shape in (operation.get("input"), operation.get("output"), *operation.get("errors", ()))
        if shape
    }
    reached: set[str] = set()
    while wanted:
        name = wanted.pop()
        reached.add(name)
        wanted |= set(_references(shapes[name])) - reached
    return {
        "version": model["version"],
        "metadata": {**model["metadata"], "trimmedFrom": f"botocore {botocore.__version__}"},
        "operations": {name: _undocumented(operation) for name, operation in operations.items()},
        "shapes": {name: _undocumented(shapes[name]) for name in sorted(reached)},
    }


def _cut(name: str, shape: Json) -> Json:
    if name not in MEMBERS:
        return shape
    return {**shape, "members": {k: shape["members"][k] for k in MEMBERS[name]}}


def _references(shape: Json) -> list[str]:
    parts = [
        *shape.get("members", {}).values(),
        *(shape[k] for k in ("member", "key", "value") if k in shape),
    ]
    return [part["shape"] for part in parts]


def _undocumented(value: Any) -> Any:
    if isinstance(value, dict):
        # Only a text is documentation: a structure may have a member of that name.
        return {
            k: _undocumented(v) for k, v in value.items() if not (k == "documentation" and isinstance(v, str))
        }
    if isinstance(value, list):
        return [_undocumented(v) for v in value]
    return value


def _write(path: Path, data: Json) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
