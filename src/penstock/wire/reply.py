"""A result or a fault -> the bytes of the answer, by the model of the operation's output.

Members that are None, or that the model doesn't know, are left out: a reply never says more than AWS's would.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from penstock.wire import faults, model

if TYPE_CHECKING:
    from botocore.model import Shape

    from penstock.wire.parse import Call

#: A value by the names of the model -> the same as JSON has it.
Writer = Callable[[Any], Any]

_JSON = b"application/x-amz-json-1.1"
#: What XML 1.0 can't hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: A carriage return as it is would be read as a line feed. (`xml.sax.saxutils.escape` imports an HTTP client: 20 ms.)
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


#: Made once: `json.dumps` with an option makes one for each call.
_ASCII = json.JSONEncoder(separators=(",", ":"))
#: S3 names the machine that answered beside the request; here it is always the same one.
_HOST_ID = "penstock"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def render(call: Call, result: Mapping[str, Any], request_id: str) -> Reply:
    """The answer to a call that went well.

    Args:
        call: What was asked.
        result: By the names of the model's output; timestamps are milliseconds since the epoch (int), blobs
            are bytes. Ignored when the operation has no output.
        request_id: Comes back in a header, and in the body where the protocol has a place for it.
    """
    shape = model.operation(call.service, call.operation).output_shape
    if call.service in model.QUERY_SERVICES:
        return _xml(200, _query_result(call, shape, result, request_id), request_id)
    media = _media_type(call.service)
    if shape is None:
        return _json(200, b"", request_id, media)
    write = _writer(call.service, shape.name) or _as_it_is
    return _json(200, _dumps(write(result)), request_id, media)


def document(value: Any, request_id: str) -> Reply:
    """A JSON document of Penstock's own, which no model describes."""
    return _json(200, _dumps(value), request_id)


def render_fault(service: str, fault: faults.Fault, request_id: str) -> Reply:
    """The answer to a call that was refused, under the names and in the form of `service` (`s3` too)."""
    fault = faults.named_for(fault, service)
    if service == "s3":
        body = (
            f"<Error><Code>{_text(fault.code)}</Code><Message>{_text(fault.message)}</Message>"
            f"<RequestId>{_text(request_id)}</RequestId><HostId>{_HOST_ID}</HostId></Error>"
        )
        answer = _xml(fault.status, body, request_id, b"application/xml")
        answer.headers.append((b"x-amz-id-2", _HOST_ID.encode()))
        return answer
    if service in model.QUERY_SERVICES:
        whose = "Sender" if fault.status < 500 else "Receiver"
        namespace = model.service(service).metadata["xmlNamespace"]
        body = (
            f'<ErrorResponse xmlns="{namespace}"><Error><Type>{whose}</Type><Code>{_text(fault.code)}</Code>'
            f"<Message>{_text(fault.message)}</Message></Error>"
            f"<RequestId>{_text(request_id)}</RequestId></ErrorResponse>"
        )
        return _xml(fault.status, body, request_id)
    if service in model.REST_SERVICES:
        answer = _json(
            fault.status,
            _dumps({_message_member(service, fault.code): fault.message}),
            request_id,
            _media_type(service),
        )
        answer.headers.append((b"x-amzn-errortype", fault.code.encode()))
        return answer
    return _json(
        fault.status,
        _dumps({"__type": fault.code, _message_member(service, fault.code): fault.message}),
        request_id,
    )


@cache
def _message_member(service: str, code: str) -> str:
    """Where an error's text stands: in the member that its shape has for it, else in `message` as in common errors."""
    if service in model.SERVICES:
        for shape in model.service(service).error_shapes:
            if shape.name == code:
                return next((name for name in shape.members if name.lower() == "message"), "message")
    return "message"


# -- JSON 1.1, REST-JSON --------------------------------------------------------------------------------------


def _media_type(service: str) -> bytes:
    return b"application/json" if service in model.REST_SERVICES else _JSON


def _json(status: int, body: bytes, request_id: str, media: bytes = _JSON) -> Reply:
    return Reply(
        status,
        [
            (b"content-type", media),
            (b"content-length", str(len(body)).encode()),
            (b"x-amzn-requestid", request_id.encode()),
        ],
        body,
    )


def _dumps(value: Any) -> bytes:
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:  # half a surrogate pair in a program's output, say
        written = None
    # In ASCII, also what orjson can't escape or can't write.
    return written if written and written.isascii() else _ASCII.encode(value).encode()


@cache
def _writer(service: str, shape_name: str) -> Writer | None:
    """What makes JSON of a shape's values; None where they are JSON as they are. Made once, by name."""
    shape = model.service(service).shape_for(shape_name)
    make = _WRITERS.get(shape.type_name)
    return None if make is None else make(service, shape)


def _structure(service: str, shape: Shape) -> Writer:
    @cache
    def members() -> list[tuple[str, Writer | None]]:
        # Made at the first writing: a shape that contains itself would never be ready otherwise.
        return [(name, _writer(service, member.name)) for name, member in shape.members.items()]

    def write(value: Any) -> Any:
        written = {}
        for name, write_member in members():
            item = value.get(name)
            if item is not None:
                written[name] = item if write_member is None else write_member(item)
        return written

    return write


def _list(service: str, shape: Shape) -> Writer:
    element = shape.member.name

    def write(value: Any) -> Any:
        inner = _writer(service, element)
        return value if inner is None else [inner(item) for item in value]

    return write


def _map(service: str, shape: Shape) -> Writer:
    element = shape.value.name

    def write(value: Any) -> Any:
        inner = _writer(service, element) or _as_it_is
        return {key: inner(item) for key, item in value.items() if item is not None}

    return write


def _as_it_is(value: Any) -> Any:
    return value


_WRITERS: Mapping[str, Callable[[str, Shape], Writer]] = {
    "blob": lambda *_: lambda value: base64.b64encode(value).decode(),
    "list": _list,
    "map": _map,
    "structure": _structure,
    "timestamp": lambda *_: lambda value: value / 1000,
}


# -- Query protocol and S3: XML ------------------------------------------------------------------------------


def _xml(status: int, document: str, request_id: str, content_type: bytes = b"text/xml") -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode()
    return Reply(
        status,
        [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            (b"x-amzn-requestid", request_id.encode()),
            (b"x-amz-request-id", request_id.encode()),
        ],
        body,
    )


def _query_result(call: Call, shape: Shape | None, result: Mapping[str, Any], request_id: str) -> str:
    namespace = model.service(call.service).metadata["xmlNamespace"]
    inner = ""
    if shape is not None:
        inner = _xml_value(shape.serialization.get("resultWrapper", f"{call.operation}Result"), shape, result)
    return (
        f'<{call.operation}Response xmlns="{namespace}">{inner}'
        f"<ResponseMetadata><RequestId>{_text(request_id)}</RequestId></ResponseMetadata>"
        f"</{call.operation}Response>"
    )


def _xml_value(tag: str, shape: Shape, value: Any) -> str:
    match shape.type_name:
        case "structure":
            text = "".join(
                _xml_value(member.serialization.get("name", name), member, value[name])
                for name, member in shape.members.items()
                if value.get(name) is not None
            )
        case "list":
            element = shape.member
            name = element.serialization.get("name", "member")
            text = "".join(_xml_value(name, element, item) for item in value)
        case "timestamp":
            moment = datetime.fromtimestamp(value / 1000, UTC)
            text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case "boolean":
            text = "true" if value else "false"
        case _:
            text = _text(str(value))
    return f"<{tag}>{text}</{tag}>"


def _text(value: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value).translate(_ESCAPES)
