"""Write docs/conformance.md: what Penstock does of each operation and member of AWS's, held against what.

    .venv/bin/python tools/conformance.py

Operations and members come from the server's own table and the service models; what is said of each stands in
`conformance.toml`; the errors are answers of the application itself (`conformance_errors.py`); the clients' part is
what `make client-results` has written, the SDK's what tests/clients/differences.py means; open points are read from
docs/behaviour.md. An operation or member without a line is an error here, and so in the tests.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / "clients"), str(ROOT / "tools")]

from cases import CASES  # noqa: E402 - the clients' tests are no package
from combinations import COMBINATIONS  # noqa: E402
from conformance_errors import answers  # noqa: E402
from differences import MEANT, Meant  # noqa: E402
from matrix import RESULTS  # noqa: E402

from penstock.api.operations import OPERATIONS  # noqa: E402
from penstock.wire import model  # noqa: E402

if TYPE_CHECKING:
    from botocore.model import Shape

PAGE = ROOT / "docs" / "conformance.md"
LINES = Path(__file__).with_name("conformance.toml")
BEHAVIOUR = ROOT / "docs" / "behaviour.md"
STATES = ("works", "differs", "not there")

Json = Mapping[str, Any]


class Line(NamedTuple):
    """What is said of an operation or a member."""

    state: str
    here: str
    source: str


class Member(NamedTuple):
    """A member of a structure of a service, and whether it is required; its line is None when there is none."""

    service: str
    shape: str
    name: str
    required: bool
    line: Line | None


def main() -> None:
    """Write the page; tell what has no line."""
    lines = tomllib.loads(LINES.read_text(encoding="utf-8"))
    if wrong := list(mistakes(lines)):
        sys.exit("\n".join([f"{LINES.relative_to(ROOT)}:", *wrong]))
    PAGE.write_text(page(lines), encoding="utf-8")


def page(lines: Json) -> str:
    """The whole page."""
    parts = [
        _INTRODUCTION,
        "\n## Clients\n",
        *_clients(json.loads(RESULTS.read_text(encoding="utf-8"))),
        "\n## Operations\n",
        *_operations(lines),
        "\n## Members\n",
        *_members(lines),
        "\n## Errors\n",
        *_errors(),
        "\n## Where AWS's documents leave it open\n",
        "The decisions of [behaviour.md](behaviour.md).",
        *_open_points(BEHAVIOUR.read_text(encoding="utf-8")),
        "\n## Penstock's SDK and the official one\n",
        *_sdk(MEANT),
        "\n## Sources\n",
        *_table(("source", "what"), lines["sources"].items()),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


_INTRODUCTION = """\
# Conformance

What Penstock does of AWS's interfaces for SageMaker Processing, and what not. Every line stands on the code or on
something that has run.

*works*: as the source says. *differs*: taken, and done in another way, which is told. *not there*: refused, or
taken and without effect, which is told. Sources are named at the end.

What will surprise you first:

- An image is played by an environment with the same framework and packages; images of one's own and Spark are refused.
- A job has the processors, memory and graphics cards of its instance type, but no more than this machine has.
- Roles, VPCs, volumes and KMS keys are checked, kept and shown; nothing is enforced by them.
- DatasetDefinition and FeatureStoreOutput move nothing.
- Training, pipelines, models and endpoints are not there: Penstock is Processing."""


# -- Operations and members ------------------------------------------------------------------------------------


def mistakes(lines: Json) -> Iterator[str]:
    """What keeps the page from being written: operations and members without a line, lines that say nothing sound."""
    for service, name in OPERATIONS:
        said = lines["operations"].get(service, {}).get(name)
        if said is None:
            yield f"[operations.{service}] has no line for {name}"
        elif said[0] == "not there":
            yield f"[operations.{service}] {name} is served, and not 'not there'"
    for members in walk(lines).values():
        for member in members:
            if member.line is None:
                yield f"[{member.service}.{member.shape}] has no line for {member.name}"
    known = {(member.service, member.shape) for members in walk(lines).values() for member in members}
    for service, shape in known:
        members = model.service(service).shape_for(shape).members
        for name in lines.get(service, {}).get(shape, {}):
            if name != "*" and name not in members:
                yield f"[{service}.{shape}] has no member {name}"
    for place, line in _all_lines(lines):
        if line.state not in STATES or line.source not in lines["sources"]:
            yield f"{place}: {line.state!r} is no state, or {line.source!r} no source"


def _all_lines(lines: Json) -> Iterator[tuple[str, Line]]:
    for section, tables in lines.items():
        for name, table in tables.items() if section != "sources" else ():
            for member, said in table.items():
                yield f"[{section}.{name}] {member}", Line(*said)


def walk(lines: Json) -> dict[tuple[str, str], list[Member]]:
    """Operation -> the members that it has and no operation before it, in the order of the model."""
    seen: set[tuple[str, str]] = set()
    return {
        (service, name): [
            member
            for shape in (operation.input_shape, operation.output_shape)
            if shape is not None
            for member in _below(service, shape, lines, seen)
        ]
        for service, name in OPERATIONS
        for operation in [model.operation(service, name)]
    }


def _below(service: str, shape: Shape, lines: Json, seen: set[tuple[str, str]]) -> Iterator[Member]:
    """The members of a structure and of all that it holds, unless they were seen before."""
    while shape.type_name in {"list", "map"}:
        shape = shape.member if shape.type_name == "list" else shape.value
    if shape.type_name != "structure" or (service, shape.name) in seen:
        return
    seen.add((service, shape.name))
    said = lines.get(service, {}).get(shape.name, {})
    inner = []
    for name, member in shape.members.items():
        words = said.get(name, said.get("*"))
        line = None if words is None else Line(*words)
        yield Member(service, shape.name, name, name in shape.required_members, line)
        if line is not None and line.state != "not there":
            inner.append(member)
    for member in inner:
        yield from _below(service, member, lines, seen)


def _operations(lines: Json) -> Iterator[str]:
    rows = []
    for service, table in lines["operations"].items():
        for name, said in table.items():
            line = Line(*said)
            if (service, name) in OPERATIONS or line.state == "not there":
                rows.append((service, name, *line))
    yield from _table(("service", "operation", "state", "here", "source"), rows)


def _members(lines: Json) -> Iterator[str]:
    yield (
        "`*`: required. A structure is told where it comes first, and holds wherever it comes again. All constraints "
        "of botocore's service models (lengths, ranges, patterns, enums) are checked."
    )
    for (service, operation), members in walk(lines).items():
        if not members:
            continue
        yield f"\n### {service} {operation}"
        rows = [
            (m.shape, f"{m.name}{' `*`' if m.required else ''}", *m.line)
            for m in members
            if m.line is not None
        ]
        yield from _table(("structure", "member", "state", "here", "source"), rows)


# -- Clients, errors, open points, the SDK ---------------------------------------------------------------------


def _clients(results: Json) -> Iterator[str]:
    yield "Unmodified, with nothing set but what `penstock env` exports, against a real server: `make test-clients`."
    rows, notes = [], []
    for case, what in CASES.items():
        row = [what]
        for client, found in results.items():
            told = found["cases"].get(case)
            row.append(told["result"] if told else "")
            if told and "why" in told:
                notes.append(f"- *{what}*, {client} {found['version']}: {told['why']}")
        rows.append(row)
    yield from _table(("", *(f"{client} {found['version']}" for client, found in results.items())), rows)
    yield from sorted(notes)
    yield ""


def _errors() -> Iterator[str]:
    yield 'Answers of the application to real requests. "As seen" and the like say what they are held against.'
    yield from _table(("request", "HTTP", "code", "text", "AWS"), answers())


def _open_points(text: str) -> Iterator[str]:
    """The rows of the table in behaviour.md."""
    rows = re.findall(r"^\| (.+) \| (.+) \|$", text, re.MULTILINE)
    yield from _table(("point", "here"), rows[1:])


def _sdk(meant: Sequence[Meant]) -> Iterator[str]:
    """The differences that are meant, each with its reason."""
    yield (
        f"Held together over {len(COMBINATIONS)} combinations of arguments: requests, uploads, errors "
        "(tests/clients/test_same_requests.py). These differences are meant; there are no others."
    )
    rows = (
        (", ".join(one.combinations), f"`{one.member}`", _shown(one.official), _shown(one.own), one.reason)
        for one in meant
    )
    yield from _table(("with", "what", "official SDK", "Penstock", "why"), rows)


def _shown(text: str | None) -> str:
    return "" if text is None else f"`{text}`"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    heads = list(heads)
    yield ""
    yield _row(heads)
    yield _row(["---"] * len(heads))
    yield from (_row(row) for row in rows)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", text)


if __name__ == "__main__":
    main()
