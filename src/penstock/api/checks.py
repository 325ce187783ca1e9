"""The rules of CreateProcessingJob that AWS's model does not hold. All that are broken are told at once.

Sources: the API reference of the members named, and what the service was observed to refuse; the texts are ours
where AWS's are not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from penstock.api.local_storage import LOCAL_STORAGE
from penstock.errors import UnknownImage
from penstock.images import kinds
from penstock.images.contents import contents
from penstock.images.references import is_reference
from penstock.images.uris import parse
from penstock.job import local_inputs, metrics
from penstock.job.claim import ENGINE, PRIORITY, RETRIES, Choice, Resources, priority_of, retries_of
from penstock.job.lock import VARIABLE

_OUTPUTS = "processingOutputConfig.outputs"
_ROOT = "/opt/ml/processing/"
#: Bytes of a program's arguments and variables: below the 2 MiB that Linux gives them at a stack of 8 MiB. Only
#: where AWS's limits are relaxed can a request come near.
_PROGRAM = 1_500_000


def broken_rules(
    request: Mapping[str, Any],
    local: Sequence[str] = (),
    runtime: str = "sandbox",
    no_engine: Callable[[], str | None] = lambda: None,
    choice: Choice | None = None,
) -> list[str]:
    """One sentence for each rule that the request breaks; empty when it is sound.

    Args:
        request: As its client sent it.
        local: Folders of the server's machine that may be inputs.
        runtime: Where programs run unless the request says so, see `images.kinds.in_container`.
        no_engine: Tells why no container can be run; asked only when one is wanted.
        choice: Of the engines that the server has.
    """
    inputs = request.get("ProcessingInputs") or []
    outputs = (request.get("ProcessingOutputConfig") or {}).get("Outputs") or []
    return [
        *_cluster(request["ProcessingResources"]["ClusterConfig"]),
        *_application(request, runtime, no_engine),
        *_size(request),
        *metrics.broken_rules(request.get("Environment") or {}),
        *(_data(inputs, outputs, local) if inputs or outputs else ()),
        *broken_tags(request.get("Tags") or [], choice),
    ]


def broken_tags(tags: Sequence[Mapping[str, str]], choice: Choice | None = None) -> Iterator[str]:
    """The same for tags, which AddTags takes as well; with `choice` those of a job."""
    for key in _repeated(tag["Key"] for tag in tags):
        yield f"tags: the key {key!r} is used twice."
    for tag in tags:
        if tag["Key"][:4].lower() == "aws:":
            yield f"tags: the key {tag['Key']!r} begins with aws:, which only AWS's own tags may."
        try:
            if tag["Key"] == PRIORITY:
                priority_of({PRIORITY: tag["Value"]})
            if tag["Key"] == RETRIES:
                retries_of({RETRIES: tag["Value"]}, 0)
            if tag["Key"] == ENGINE and choice is not None:
                choice.of({ENGINE: tag["Value"]}, Resources())
        except ValueError as error:
            yield f"tags: {tag['Key']}: {error}."


def _cluster(cluster: Mapping[str, Any]) -> Iterator[str]:
    where = "processingResources.clusterConfig"
    for name in ("SelectedInstanceType", "SelectedInstanceCount"):
        if name in cluster:
            yield f"{where}: {name} is set by the service and can't be given."
    preferences = cluster.get("InstancePreferences")
    types = [p["InstanceType"] for p in preferences or ()]
    if "InstanceType" in cluster:
        types.append(cluster["InstanceType"])
    yield from _volume(cluster, types)
    if preferences is None:
        if not types:
            yield f"{where}: give InstanceType or InstancePreferences."
        return
    if "InstanceType" in cluster:
        yield f"{where}: InstanceType and InstancePreferences exclude each other."
    for repeated in _repeated(p["InstanceType"] for p in preferences):
        yield f"{where}.instancePreferences: {repeated} is named twice."
    counted = [p for p in preferences if "InstanceCount" in p]
    everywhere = len(counted) == len(preferences)
    if ("InstanceCount" in cluster) == bool(counted) or (counted and not everywhere):
        yield (
            f"{where}: give InstanceCount either for the whole cluster or for every element of "
            "InstancePreferences."
        )


def _volume(cluster: Mapping[str, Any], types: Sequence[str]) -> Iterator[str]:
    """Disks of the instance's own take the volume's place: they have one size, and encrypt by themselves."""
    where = "processingResources.clusterConfig"
    for kind in dict.fromkeys(t for t in types if t in LOCAL_STORAGE):
        size = LOCAL_STORAGE[kind]
        if "VolumeKmsKeyId" in cluster:
            yield f"{where}: {kind} has local storage, for which no VolumeKmsKeyId can be given."
        if size is not None and cluster["VolumeSizeInGB"] > size:
            yield (
                f"{where}: VolumeSizeInGB is {cluster['VolumeSizeInGB']}, and {kind} has {size} GB of local storage; "
                f"ask for {size} at most."
            )


def _application(
    request: Mapping[str, Any], runtime: str, no_engine: Callable[[], str | None]
) -> Iterator[str]:
    application = request["AppSpecification"]
    image = application["ImageUri"]
    said = kinds.wanted(request)
    if said is not None and said not in kinds.KINDS:
        yield f"tags: {kinds.TAG} is one of {' and '.join(kinds.KINDS)}, not {said!r}."
        return
    container = kinds.in_container(request, runtime)
    problem = no_engine() if container else None
    if container and VARIABLE in (request.get("Environment") or {}):
        yield (
            f"environment.{VARIABLE}: the job runs in a container, whose packages are its image's: no lock can say "
            f"them. Leave it out, or tag the job {kinds.TAG}=sandbox."
        )
    if container and problem is None:
        # What there is in the image shows when it is there.
        if not is_reference(image):
            yield (
                f"Invalid image URI {image}: an image's name is [host[:port]/]repository[:tag][@digest], the "
                "repository in small letters."
            )
        return
    unknown = _unknown(image)
    if unknown:
        yield (
            f"Invalid image URI {image}. Please provide a valid Amazon Elastic Container Registry path of the "
            f"Docker image to run. {unknown}{f' To run the image itself: {problem}' if problem else ''}"
        )
    elif problem:
        yield f"The job asks for a container, and none can be run: {problem}"
    if not application.get("ContainerEntrypoint") and not application.get("ContainerArguments"):
        yield (
            "appSpecification: the framework environments have no entrypoint of their own; give "
            'ContainerEntrypoint, for example ["python3", "/opt/ml/processing/input/code/script.py"].'
        )


@lru_cache(maxsize=1024)
def _unknown(image: str) -> str | None:
    try:
        contents(parse(image))
    except UnknownImage as error:
        return str(error)
    return None


def _size(request: Mapping[str, Any]) -> Iterator[str]:
    application = request["AppSpecification"]
    texts = [
        *(application.get("ContainerEntrypoint") or ()),
        *(application.get("ContainerArguments") or ()),
        *(f"{name}={value}" for name, value in (request.get("Environment") or {}).items()),
    ]
    size = sum(len(text.encode()) + 9 for text in texts)  # the kernel adds an end and a pointer to each
    if size > _PROGRAM:
        yield (
            f"Entrypoint, arguments and environment have {size} bytes together, {size - _PROGRAM} more than a "
            f"program can be started with ({_PROGRAM}); put what is long into an input."
        )


def _data(
    inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]], local: Sequence[str]
) -> Iterator[str]:
    yield from _inputs(inputs)
    yield from local_inputs.broken_rules(inputs, local)
    yield from _outputs(outputs)
    yield from _paths(inputs, outputs)


def _inputs(inputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for name in _repeated(i["InputName"] for i in inputs):
        yield f"processingInputs: the InputName {name!r} is used twice."
    for one in inputs:
        name = one["InputName"]
        managed = one.get("AppManaged", False)
        if _both_or_none(one, "S3Input", "DatasetDefinition"):
            yield f"processingInputs: input {name!r} needs exactly one of S3Input and DatasetDefinition."
            continue
        given = one.get("S3Input") or one["DatasetDefinition"]
        if "DatasetDefinition" in one and _both_or_none(
            given, "AthenaDatasetDefinition", "RedshiftDatasetDefinition"
        ):
            yield (
                f"processingInputs: the DatasetDefinition of input {name!r} needs exactly one of "
                "AthenaDatasetDefinition and RedshiftDatasetDefinition."
            )
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
        if _both_or_none(one, "S3Output", "FeatureStoreOutput"):
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


def _both_or_none(given: Mapping[str, Any], one: str, other: str) -> bool:
    return (one in given) == (other in given)


def _repeated(names: Iterable[str]) -> list[str]:
    every = list(names)
    if len(set(every)) == len(every):
        return []
    return [name for name, count in Counter(every).items() if count > 1]
