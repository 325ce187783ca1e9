"""The rules of CreateProcessingJob that AWS's model does not hold. All that are broken are told at once.

Sources: the API reference of the members named, and what the service was observed to refuse; the texts are ours
where AWS's are not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from penstock.errors import UnknownImage
from penstock.images.uris import parse
from penstock.job import local_inputs

_OUTPUTS = "processingOutputConfig.outputs"
_ROOT = "/opt/ml/processing/"


def broken_rules(request: Mapping[str, Any], local: Sequence[str] = ()) -> list[str]:
    """One sentence for each rule that the request breaks; empty when it is sound.

    `local`: folders of the server's machine that may be inputs.
    """
    inputs = request.get("ProcessingInputs") or []
    outputs = (request.get("ProcessingOutputConfig") or {}).get("Outputs") or []
    return [
        *_texts(request, ""),
        *_cluster(request["ProcessingResources"]["ClusterConfig"]),
        *_application(request["AppSpecification"]),
        *_inputs(inputs),
        *local_inputs.broken_rules(inputs, local),
        *_outputs(outputs),
        *_paths(inputs, outputs),
    ]


def _texts(value: Any, where: str) -> Iterator[str]:
    """NUL passes AWS's patterns, but no argument, variable or path can hold it."""
    if isinstance(value, str) and "\0" in value:
        yield f"{where} holds a NUL character, which no argument, variable or path can have."
    elif isinstance(value, dict):  # as parsed from JSON; to ask for a Mapping is ten times slower
        for name, inner in value.items():
            yield from _texts(name, where)
            yield from _texts(inner, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _texts(inner, f"{where}.{number}")


def _cluster(cluster: Mapping[str, Any]) -> Iterator[str]:
    where = "processingResources.clusterConfig"
    for name in ("SelectedInstanceType", "SelectedInstanceCount"):
        if name in cluster:
            yield f"{where}: {name} is set by the service and can't be given."
    preferences = cluster.get("InstancePreferences")
    if preferences is None:
        if "InstanceType" not in cluster:
            yield f"{where}: give InstanceType or InstancePreferences."
        return
    if "InstanceType" in cluster:
        yield f"{where}: InstanceType and InstancePreferences exclude each other."
    types = Counter(p["InstanceType"] for p in preferences)
    for repeated in (t for t, n in types.items() if n > 1):
        yield f"{where}.instancePreferences: {repeated} is named twice."
    counted = [p for p in preferences if "InstanceCount" in p]
    everywhere = len(counted) == len(preferences)
    if ("InstanceCount" in cluster) == bool(counted) or (counted and not everywhere):
        yield (
            f"{where}: give InstanceCount either for the whole cluster or for every element of "
            "InstancePreferences."
        )


def _application(application: Mapping[str, Any]) -> Iterator[str]:
    image = application["ImageUri"]
    try:
        parse(image)
    except UnknownImage as error:
        yield (
            f"Invalid image URI {image}. Please provide a valid Amazon Elastic Container Registry path of the "
            f"Docker image to run. {error}"
        )
    if not application.get("ContainerEntrypoint") and not application.get("ContainerArguments"):
        yield (
            "appSpecification: the framework environments have no entrypoint of their own; give "
            'ContainerEntrypoint, for example ["python3", "/opt/ml/processing/input/code/script.py"].'
        )


def _inputs(inputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for name in _repeated(i["InputName"] for i in inputs):
        yield f"processingInputs: the InputName {name!r} is used twice."
    for one in inputs:
        name = one["InputName"]
        managed = one.get("AppManaged", False)
        if ("S3Input" in one) == ("DatasetDefinition" in one):
            yield f"processingInputs: input {name!r} needs exactly one of S3Input and DatasetDefinition."
            continue
        given = one.get("S3Input") or one["DatasetDefinition"]
        if not managed and not given.get("LocalPath"):
            yield f"processingInputs: input {name!r} needs a LocalPath, for it is not AppManaged."
        if "S3Input" in one and not managed and not given.get("S3InputMode"):
            yield f"processingInputs: input {name!r} needs an S3InputMode, for it is not AppManaged."
        if given.get("S3CompressionType") == "Gzip" and given.get("S3InputMode") != "Pipe":
            yield f"processingInputs: input {name!r}: S3CompressionType Gzip needs the S3InputMode Pipe."


def _outputs(outputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for name in _repeated(o["OutputName"] for o in outputs):
        yield f"{_OUTPUTS}: the OutputName {name!r} is used twice."
    for one in outputs:
        name = one["OutputName"]
        if ("S3Output" in one) == ("FeatureStoreOutput" in one):
            yield f"{_OUTPUTS}: output {name!r} needs exactly one of S3Output and FeatureStoreOutput."
            continue
        managed = one.get("AppManaged", False)
        if "FeatureStoreOutput" in one and not managed:
            yield f"{_OUTPUTS}: output {name!r}: FeatureStoreOutput needs AppManaged=true."
        if "S3Output" in one and not managed and not one["S3Output"].get("LocalPath"):
            yield f"{_OUTPUTS}: output {name!r} needs a LocalPath, for it is not AppManaged."


def _paths(inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """LocalPaths lie below /opt/ml/processing and no two of them in one another."""
    taken: list[tuple[str, PurePosixPath]] = []
    named = [
        (f"input {i['InputName']!r}", i.get("S3Input") or i.get("DatasetDefinition") or {}) for i in inputs
    ]
    named += [(f"output {o['OutputName']!r}", o.get("S3Output") or {}) for o in outputs]
    for who, given in named:
        text = given.get("LocalPath")
        if not text:
            continue
        path = PurePosixPath(text)
        if not text.startswith(_ROOT) or ".." in path.parts or str(path) == _ROOT.rstrip("/"):
            yield f"The LocalPath {text!r} of {who} is not a folder below {_ROOT}"
            continue
        for other, used in taken:
            if path == used:
                yield f"{who} and {other} have the same LocalPath {text!r}."
            elif who.split()[0] != other.split()[0] and (path in used.parents or used in path.parents):
                yield f"The LocalPath {text!r} of {who} overlaps with that of {other}."
        taken.append((who, path))


def _repeated(names: Any) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
