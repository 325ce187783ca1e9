"""A request's bytes -> the operation and its parameters, with the types that the model gives them.

Members that the model doesn't know are dropped, as AWS's JSON services do: newer clients may send more.
Null is the same as absent, except in a list or map, where it is kept for `validate` to name. Values of a
wrong JSON type are refused here; all else that can be wrong with a value is told by `validate`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from penstock.wire import faults, model

if TYPE_CHECKING:
    from botocore.model import Shape

#: A JSON value and its path -> the value as it is passed on. Raises `Fault`.
Reader = Callable[[Any, str], Any]

#: The last second of the year 9999: what a date can hold.
_LAST_SECOND = 253402300799


@dataclass(frozen=True)
class Call:
    """A parsed request."""

    service: str
    operation: str
    params: Mapping[str, Any]
    """By the model's names. Timestamps are milliseconds since the epoch (int), blobs are bytes."""


def parse_json(service: str, target: str, body: bytes) -> Call:
    """Parse a JSON 1.1 request: `target` is the header `X-Amz-Target`, as `SageMaker.ListTags`.

    An empty body is an empty object.

    Raises:
        Fault: UnknownOperationException or SerializationException; the message names the place.
    """
    prefix, _, name = target.partition(".")
    if model.TARGETS.get(prefix) != service:
        raise _unknown(service, target)
    return parse_body(service, name, body)


def parse_body(service: str, name: str, body: bytes) -> Call:
    """Parse the JSON body of the operation `name`; where that is told (header, path) depends on the protocol.

    Raises:
        Fault: As `parse_json`.
    """
    read = _input(service, name)
    try:
        document = _DECODER.decode(body.decode()) if body else {}
        if not isinstance(document, dict):
            raise faults.serialization(f"The request body must be a JSON object, not {_kind(document)}.")
        return Call(service, name, read(document, ""))
    except RecursionError:
        raise faults.serialization("The request body is nested too deeply.") from None
    except ValueError as error:  # bytes that aren't UTF-8, a number of thousands of digits, no JSON at all
        raise faults.serialization(f"The request body is not valid JSON in UTF-8: {error}") from None


def parse_query(service: str, form: bytes) -> Call:
    """Parse a request of the query protocol from its form: the body of a POST, the query string of a GET.

    All that is served by it takes texts only, and a test holds the models to that.

    Raises:
        Fault: UnknownOperationException, MissingAction or SerializationException.
    """
    try:
        fields = dict(parse_qsl(form.decode(), keep_blank_values=True, errors="strict", max_num_fields=1000))
    except ValueError as error:
        raise faults.serialization(f"The request is not a valid form in UTF-8: {error}") from None
    name = fields.get("Action", "")
    if not name:
        raise faults.missing_action()
    version = fields.get("Version") or "NO_VERSION_SPECIFIED"
    if version != model.service(service).metadata["apiVersion"]:
        raise faults.unknown_operation(f"Could not find operation {name[:128]} for version {version[:32]}")
    read = _input(service, name)
    return Call(service, name, read(fields, ""))


def _unknown(service: str, name: str) -> faults.Fault:
    return faults.unknown_operation(f"{name[:128]!r} is not an operation of {service} that this server has.")


def _input(service: str, name: str) -> Reader:
    try:
        shape = model.operation(service, name).input_shape
    except KeyError:
        if service in model.QUERY_SERVICES:
            version = model.service(service).metadata["apiVersion"]
            text = f"Could not find operation {name[:128]} for version {version}"
            raise faults.unknown_operation(text) from None
        raise _unknown(service, name) from None
    return _no_input if shape is None else _reader(service, shape.name)


def _no_input(_value: Any, _path: str) -> dict[str, Any]:
    return {}


@cache
def _reader(service: str, shape_name: str) -> Reader:
    """What reads a shape; made once, by name, so that a shape may contain itself."""
    shape = model.service(service).shape_for(shape_name)
    make = _MAKERS.get(shape.type_name)
    return make(service, shape) if make else _SCALARS[shape.type_name]


def _structure(service: str, shape: Shape) -> Reader:
    @cache
    def members() -> dict[str, tuple[str, Reader]]:
        # Made at the first reading: a shape that contains itself would never be ready otherwise.
        return {name: (step(name), _reader(service, member.name)) for name, member in shape.members.items()}

    def read(value: Any, path: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise _mistyped(path, "an object", value)
        known, readers = {}, members()
        for name, item in value.items():
            if item is not None and name in readers:
                label, read_member = readers[name]
                known[name] = read_member(item, f"{path}.{label}" if path else label)
        return known

    return read


def _list(service: str, shape: Shape) -> Reader:
    element = shape.member.name

    def read(value: Any, path: str) -> list[Any]:
        if type(value) is not list:
            raise _mistyped(path, "a list", value)
        inner = _reader(service, element)
        return [
            None if item is None else inner(item, f"{path}.{number}.member")
            for number, item in enumerate(value, 1)
        ]

    return read


def _map(service: str, shape: Shape) -> Reader:
    element = shape.value.name

    def read(value: Any, path: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise _mistyped(path, "an object", value)
        inner = _reader(service, element)
        return {
            _string(key, path): None if item is None else inner(item, f"{path}.{key[:128]}")
            for key, item in value.items()
        }

    return read


def _string(value: Any, path: str) -> str:
    if type(value) is not str:
        raise _mistyped(path, "a string", value)
    # JSON can escape half a surrogate pair, which no file, database or reply could hold.
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise faults.serialization(
            f"The string at '{path}' has half a surrogate pair, which is no character."
        )
    return value


def _boolean(value: Any, path: str) -> bool:
    if type(value) is not bool:
        raise _mistyped(path, "true or false", value)
    return value


def _whole(bits: int) -> Reader:
    limit = 1 << (bits - 1)

    def read(value: Any, path: str) -> int:
        if type(value) is float and value.is_integer():  # 3.0 is how some clients write 3
            value = int(value)
        if type(value) is not int:
            raise _mistyped(path, "a whole number", value)
        if not -limit <= value < limit:
            raise faults.serialization(f"The number at '{path}' does not fit {bits} bits.")
        return value

    return read


def _number(value: Any, path: str) -> float:
    if type(value) not in {int, float}:
        raise _mistyped(path, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise faults.serialization(f"The number at '{path}' is too large.")
    return number


def _timestamp(value: Any, path: str) -> int:
    """Seconds since the epoch, with a fraction or not -> milliseconds."""
    seconds = _number(value, path)
    if not -_LAST_SECOND <= seconds <= _LAST_SECOND:
        raise faults.serialization(f"The time at '{path}' is not a number of seconds since 1970.")
    return round(seconds * 1000)


def _blob(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(_string(value, path), validate=True)
    except ValueError:
        raise faults.serialization(f"The string at '{path}' is not Base64.") from None


_MAKERS: Mapping[str, Callable[[str, Shape], Reader]] = {"structure": _structure, "list": _list, "map": _map}
_SCALARS: Mapping[str, Reader] = {
    "blob": _blob,
    "boolean": _boolean,
    "double": _number,
    "float": _number,
    "integer": _whole(32),
    "long": _whole(64),
    "string": _string,
    "timestamp": _timestamp,
}


def step(name: str) -> str:
    """A member's name as AWS writes it in the paths of its messages: `S3Uri` -> `s3Uri`."""
    return name[:1].lower() + name[1:]


def _mistyped(path: str, wanted: str, value: Any) -> faults.Fault:
    return faults.serialization(f"The value at '{path}' must be {wanted}, not {_kind(value)}.")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "a number"


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


#: Made once: `json.loads` with an option makes one for each call.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
