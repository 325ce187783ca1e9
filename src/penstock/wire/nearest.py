"""What was meant by a value of an enum that is too long to be read through, such as the 207 instance types.

Told after AWS's own text, which lists them all and so helps nobody to find the one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from penstock.wire import model
from penstock.wire.parse import step

if TYPE_CHECKING:
    from botocore.model import Shape

#: Of shorter lists everybody sees the right one.
_LONG = 20
#: So many wrong values are told of, with so many values each that may be meant; a longer one is like none of them.
_TOLD, _NEAREST, _LENGTH = 10, 3, 64

#: Words of SageMaker's SDK for its local mode, which go no further than the SDK.
_LOCAL_MODE = {"local": "ml.m5.xlarge", "local_gpu": "ml.g5.xlarge"}


def meant(service: str, shape_name: str, params: Mapping[str, Any]) -> str:
    """What to tell of `params`' wrong values in long enums, after AWS's own text; or nothing.

    Only for requests that are refused already: it looks at everything once more.
    """
    shape = model.service(service).shape_for(shape_name)
    return "".join(islice(_hints(service, shape, params, ""), _TOLD))


def _hints(service: str, shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    match shape.type_name:
        case "structure":
            for name, member in shape.members.items():
                inner = f"{path}.{step(name)}" if path else step(name)
                yield from _hints(service, member, value.get(name), inner)
        case "list":
            for number, item in enumerate(value, 1):
                yield from _hints(service, shape.member, item, f"{path}.{number}.member")
        case "string":
            known = shape.metadata.get("enum", ())
            if len(known) > _LONG and value not in known and (words := _words(value, known)):
                yield f" ({path}: {words})"


def _words(value: str, known: list[str]) -> str | None:
    if stands_for := _LOCAL_MODE.get(value):
        return (
            f"{value} is a word of SageMaker's Python SDK for its local mode, and never sent. "
            f"Here all jobs run on machines of your own: name a type such as {stands_for}."
        )
    if len(value) > _LENGTH:
        return None
    value = value.lower()
    # A type without its `ml.` is as near to others as to the one that holds all of it.
    near = sorted(difflib.get_close_matches(value, known, _NEAREST), key=lambda name: value not in name)
    return f"did you mean {' or '.join(near)}?" if near else None
