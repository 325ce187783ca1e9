"""Limits of AWS's that protect nobody here: `relaxed` raises them to what this machine can carry.

They come from the service's own storage and from a container engine's command line. Whoever means to go back to
AWS keeps them (`PENSTOCK_AWS_LIMITS=strict`, the default) and is told by how much each is exceeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from penstock.wire import model
from penstock.wire.parse import step

if TYPE_CHECKING:
    from botocore.model import Shape

#: (service, shape) -> the maximum under `relaxed`; under `strict` the model's own holds. Nothing else is lifted.
#: Linux takes 131,071 bytes for an argument or for `name=value`, and a character has up to four of them;
#: `api/checks.py` sees to it that all of them together fit as well. bubblewrap takes 9,000 words, three for a variable.
RELAXED: Mapping[tuple[str, str], int] = {
    ("sagemaker", "ContainerArgument"): 32_000,
    ("sagemaker", "ContainerArguments"): 2_000,
    ("sagemaker", "ContainerEntrypoint"): 2_000,
    ("sagemaker", "ContainerEntrypointString"): 32_000,
    ("sagemaker", "ProcessingEnvironmentKey"): 3_000,
    ("sagemaker", "ProcessingEnvironmentMap"): 1_000,
    ("sagemaker", "ProcessingEnvironmentValue"): 32_000,
    ("sagemaker", "ProcessingInputs"): 100,
    ("sagemaker", "ProcessingOutputs"): 100,
    # All that a 32-bit number can say: 68 years.
    ("sagemaker", "ProcessingMaxRuntimeInSeconds"): 2**31 - 1,
    # A key may have 1,024 bytes, before which AWS's limit leaves no room for the bucket.
    ("sagemaker", "S3Uri"): len("s3://") + 63 + len("/") + 1024,
}

#: So many exceeded limits are told one by one.
_TOLD = 10


def most(service: str, shape: Shape, *, relaxed: bool) -> int | None:
    """The greatest length or value that a shape allows; None when it has no maximum."""
    stated: int | None = shape.metadata.get("max")
    return RELAXED.get((service, shape.name), stated) if relaxed else stated


def exceeded(service: str, shape_name: str, params: Mapping[str, Any]) -> str:
    """What to tell of `params`' excesses that `relaxed` would allow more for, after AWS's own text; or nothing.

    Only for requests that are refused already: it looks at everything once more.
    """
    shape = model.service(service).shape_for(shape_name)
    told = list(islice(_excesses(service, shape, params, ""), _TOLD + 1))
    if len(told) > _TOLD:
        told[_TOLD] = " (There are more.)"
    return "".join(told)


def _excesses(service: str, shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    high = RELAXED.get((service, shape.name))
    if high is not None:
        size = value if isinstance(value, int) else len(value)
        if size > shape.metadata["max"]:
            yield _told(shape, path, size, high)
    match shape.type_name:
        case "structure":
            for name, member in shape.members.items():
                yield from _excesses(
                    service, member, value.get(name), f"{path}.{step(name)}" if path else step(name)
                )
        case "list":
            for number, item in enumerate(value, 1):
                yield from _excesses(service, shape.member, item, f"{path}.{number}.member")
        case "map":
            for key, item in value.items():
                place = f"{path}.{key[:64]}"
                yield from _excesses(service, shape.key, key, f"The key {place}")
                yield from _excesses(service, shape.value, item, place)


def _told(shape: Shape, path: str, size: int, high: int) -> str:
    limit = shape.metadata["max"]
    what = {"string": f"has {size} characters", "integer": f"is {size}"}.get(
        shape.type_name, f"has {size} entries"
    )
    return (
        f" ({path} {what}, {size - limit} more than AWS's limit of {limit}; "
        f"the server's setting PENSTOCK_AWS_LIMITS=relaxed raises it to {high}.)"
    )
