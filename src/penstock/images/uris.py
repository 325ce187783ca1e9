"""Framework and version -> image URI as SageMaker's SDK v2 makes it, and image URI -> what it names.

The rules and the beginnings of the error texts are those of `sagemaker.image_uris.retrieve`, which code in the
field matches on. Two are wider here. A py_version of `py3` (the default of FrameworkProcessor) is taken as the
Python 3 that the version has, where SDK v2 refuses it. And every region is accepted: none of these images is
ever fetched.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from penstock.config import Settings
from penstock.errors import UnknownImage
from penstock.images.catalog import account, frameworks, repositories, repository_of

_INSTANCE_TYPES = "For options, see: https://aws.amazon.com/sagemaker/pricing/instance-types"
#: Names under which a plain Python image is known.
_PYTHON_REPOSITORIES = ("python", "penstock-python")
#: The form of each framework's tags, wide enough for versions newer than the catalogue.
_DEEP_LEARNING = r"(?P<version>\d+(\.\d+){0,2})-(?P<processor>cpu|gpu)-(?P<py>py\d+)(-[\w.-]+)?"
_TAGS: Mapping[str, str] = {
    "sklearn": r"(?P<version>\d+\.\d+(\.\d+|-\d+)(-py\d+)?)-(?P<processor>cpu)-py3",
    "xgboost": r"(?P<version>\d+\.\d+-\d+)(-\d+)?(-(?P<processor>cpu|gpu)-py3)?",
    "pytorch": _DEEP_LEARNING,
    "tensorflow": _DEEP_LEARNING,
    "mxnet": _DEEP_LEARNING,
    "huggingface": r"(?P<base>\d+(\.\d+){0,2})-transformers(?P<version>\d+(\.\d+){0,2})"
    r"-(?P<processor>cpu|gpu)-(?P<py>py\d+)(-[\w.-]+)?",
    "spark": r"(?P<version>\d+\.\d+)-(?P<processor>cpu)(-(?P<py>py\d+))?(-v[\w.-]+)?",
    "python": r"(?P<version>3\.\d+)(\.\d+)?(-[\w.-]+)?",
}


@dataclass(frozen=True)
class Image:
    """What an image URI names."""

    framework: str
    """A framework of the catalogue, or `python`."""
    version: str
    """As the tag has it; for huggingface that of transformers."""
    py_version: str | None = None
    """`py38` and the like, when the tag has one."""
    processor: str | None = None
    base: tuple[str, str] | None = None
    """Only for huggingface: the framework under it with its version, `("pytorch", "1.13.1")`."""


def retrieve(
    framework: str,
    region: str | None,
    version: str | None = None,
    py_version: str | None = None,
    instance_type: str | None = None,
    *,
    base_framework_version: str | None = None,
    container_version: str | None = None,
) -> str:
    """The image URI of a framework's version, the version in its tag as it was given.

    Args:
        framework: `sklearn`, `xgboost`, `pytorch`, `tensorflow`, `huggingface`, `mxnet`, `spark` or `python`.
        region: An AWS region; it decides on account and host name. The local server's when None.
        version: The newest known when None.
        py_version: `py38` and the like; may be left out where a version has only one.
        instance_type: `ml.<family>.<size>`, `local` or `local_gpu`; families g and p mean gpu.
        base_framework_version: For huggingface only: `pytorch1.13.1`, `tensorflow2.6.3`.
        container_version: What the tag ends in, where it is not to be the usual.

    Raises:
        ValueError: As SDK v2 words it: `Unsupported <what>: <value>. ...`, or an instance type that is none.
    """
    if framework == "python":
        return f"penstock-python:{version or '3.11'}"
    region = region or Settings.read().region
    _check(framework, frameworks(), "framework")
    about = frameworks()[framework]
    versions, aliases = about["versions"], about.get("aliases", {})
    typed = version or list(versions)[-1]
    _check(typed, [*versions, *aliases], f"{framework} version")
    entry = versions[aliases.get(typed, typed)]
    base = None
    if "bases" in entry:
        base = _base(base_framework_version, entry["bases"])
        entry = entry["bases"][base]
    python = _python(py_version, entry.get("py", []), framework)
    processor = _processor(instance_type, entry.get("processors", about["processors"]))
    # An alias of the base stays in the tag as it was typed, like the version itself.
    base_name, base_version = _split_base(base_framework_version or "") if base else ("", "")
    suffix = container_version or entry.get("container")
    tag = entry.get("tag", about["tag"]).format(
        version=typed,
        processor=processor,
        python=python,
        base_version=base_version,
        container=f"-{suffix}" if suffix else "",
    )
    if framework == "spark":
        tag += f"-{python}" if python else ""
        tag += f"-v{container_version}" if container_version else ""
    repository = repository_of(framework, entry, python).format(base=base_name)
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account(framework, repository, region)}.dkr.ecr.{region}.{domain}/{repository}:{tag}"


def parse_framework(text: str, region: str = "us-east-1", instance_type: str | None = None) -> str:
    """`sklearn==1.2-1`, as written on a command line, -> the image URI.

    Without a version the newest known is meant. huggingface stands on the last PyTorch of its version unless the
    text names another base: `huggingface==4.17.0+tensorflow2.6.3`.

    Raises:
        UnknownImage: The text names no known framework or version; the message lists what there is.
    """
    name, _, rest = text.replace(" ", "").partition("==")
    version, _, base = rest.partition("+")
    known = [*frameworks(), "python"]
    if name not in known:
        raise UnknownImage(
            f"{name!r} is no framework that Penstock knows{_nearest(name, known)}: {', '.join(known)}."
        )
    about = frameworks().get(name, {})
    if name == "huggingface" and not base:
        newest = list(about["versions"])[-1]
        entry = about["versions"].get(about["aliases"].get(version, version or newest), {"bases": [""]})
        base = next((one for one in reversed(list(entry["bases"])) if one.startswith("pytorch")), "")
    default = "ml.g4dn.xlarge" if about.get("processors") == ["gpu"] else "ml.m5.xlarge"
    try:
        return retrieve(
            name,
            region,
            version or None,
            instance_type=instance_type or default,
            py_version="py3" if name != "spark" else None,
            base_framework_version=base or None,
        )
    except ValueError as error:
        raise UnknownImage(str(error)) from error


@lru_cache(maxsize=1024)
def parse(image_uri: str) -> Image:
    """What `image_uri` names. Registry, account and region don't matter, a bare `repository:tag` will do.

    Raises:
        UnknownImage: It is no framework image with a well-formed tag; the message lists what is known.
    """
    path = image_uri.split("@", 1)[0]
    name, _, tag = path.rsplit("/", 1)[-1].partition(":")
    framework, base = _framework_of(name, image_uri)
    match = re.fullmatch(_TAGS[framework], tag)
    if match is None:
        raise UnknownImage(
            f"The tag {tag!r} of image {image_uri!r} is not as {framework} images have it; "
            f"Penstock knows e.g. {', '.join(_examples(framework, name))}."
        )
    found = match.groupdict()
    return Image(
        framework=framework,
        version=found["version"],
        py_version=found.get("py"),
        processor=found.get("processor"),
        base=(base, found["base"]) if base else None,
    )


def framework_text(image: Image) -> str:
    """What an image names as `parse_framework` takes it, but for its py_version: `sklearn==1.2-1`."""
    base = "+" + "".join(image.base) if image.base else ""
    return f"{image.framework}=={image.version}{base}"


def _framework_of(repository: str, image_uri: str) -> tuple[str, str | None]:
    if repository in _PYTHON_REPOSITORIES:
        return "python", None
    known: dict[str, str] = {name: one for one in frameworks() for name in repositories(one)}
    if repository not in known:
        names = [*known, *_PYTHON_REPOSITORIES]
        raise UnknownImage(
            f"Image {image_uri!r} names no environment that Penstock can make{_nearest(repository, names)}. "
            f"It plays AWS's framework images and plain Python; other images run in containers, by Docker or Podman. "
            f"In their place, take the nearest of these and put the other packages into a requirements.txt beside the "
            f"script, in a source folder (FrameworkProcessor's source_dir, `penstock run --source-dir`). "
            f"Known are python:3.11 and other versions, and the repositories "
            f"{', '.join(sorted(name for name, one in known.items() if one != 'spark'))}."
        )
    base = re.fullmatch(r"huggingface-(\w+)-training", repository)
    return known[repository], base[1] if base else None


def _examples(framework: str, repository: str) -> list[str]:
    if framework == "python":
        return ["python:3.11", "python:3.11-slim"]
    about = frameworks()[framework]
    newest = list(about["versions"].items())[-3:]
    examples = []
    for version, entry in newest:
        name, inner = next(iter(entry.get("bases", {}).items()), ("", entry))
        tag = inner.get("tag", about["tag"]).format(
            version=version,
            processor=(about["processors"] or ["cpu"])[0],
            python=next(iter(inner.get("py", [])), ""),
            base_version=name.lstrip("abcdefghijklmnopqrstuvwxyz"),
            container="",
        )
        examples.append(f"{repository}:{tag}")
    return examples


def _base(typed: str | None, bases: Mapping[str, Any]) -> str:
    """The base framework of a huggingface image; `pytorch1.13` stands for the one patch version there is."""
    full = next((name for name in bases if typed and name.rsplit(".", 1)[0] == typed), typed)
    _check(full, bases, "base framework")
    return str(full)


def _split_base(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"([a-z]+)([\d.]+)", text)
    return (match[1], match[2]) if match else ("", "")


def _python(typed: str | None, accepted: list[str], framework: str) -> str | None:
    if not accepted or (typed is None and framework == "spark"):
        return None
    threes = [one for one in accepted if one != "py2"]
    if typed is None and len(accepted) == 1:
        return accepted[0]
    if typed == "py3" and "py3" not in accepted and threes:
        return threes[-1]
    _check(typed, accepted, "Python version")
    return typed


def _processor(instance_type: str | None, accepted: list[str]) -> str | None:
    if not accepted:
        return None
    if not instance_type:
        if len(accepted) == 1:
            return accepted[0]
        raise ValueError(f"Empty SageMaker instance type. {_INSTANCE_TYPES}")
    if instance_type.startswith("local"):
        processor = "cpu" if instance_type == "local" else "gpu"
    else:
        match = re.fullmatch(r"ml[._]([a-z\d-]+)\.?\w*", instance_type)
        if match is None:
            raise ValueError(f"Invalid SageMaker instance type: {instance_type}. {_INSTANCE_TYPES}")
        family = match[1]
        special = next((kind for kind in ("inf", "trn") if family.startswith(kind)), None)
        processor = special or ("gpu" if family[0] in "gp" else "cpu")
    _check(processor, accepted, "processor")
    return processor


def _check(value: str | None, accepted: Iterable[str], what: str) -> None:
    options = list(accepted)
    if value not in options:
        raise ValueError(
            f"Unsupported {what}: {value}. This version of Penstock does not know it; a newer one may. "
            f"Supported {what}(s), the nearest first: {', '.join(by_nearness(value or '', options))}."
        )


def by_nearness(value: str, options: Iterable[str]) -> list[str]:
    """The versions that differ least in their first number first, then in the second; names by their letters."""

    def distance(one: str) -> tuple[list[int], float]:
        steps: list[int] = []
        side = (
            0  # where `one` lies by its first number that differs: of lower versions the highest is nearest
        )
        for wanted, number in itertools.zip_longest(_numbers(value), _numbers(one), fillvalue=0):
            steps.append(side * number if side else abs(wanted - number))
            side = side or (number > wanted) - (number < wanted)
        return steps, -difflib.SequenceMatcher(None, value, one).ratio()

    return sorted(options, key=distance)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" (did you mean {close[0]!r}?)" if close else ""
