"""The results of all clients: as data that is published with versions, and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import CASES, CLIENTS

#: What docs/conformance.md shows; `make client-results` writes it.
RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Outcome:
    """What came of one case.

    Attributes:
        result: "works", "differs" or "fails".
        why: What differs or fails.
        said: What the case printed.
    """

    result: str
    why: str
    said: str = ""


def as_json(outcomes: Mapping[tuple[str, str], Outcome], versions: Mapping[str, str]) -> dict[str, Any]:
    """Results by client, in the order of the table: ``{client: {"version": ..., "cases": {case: ...}}}``."""
    return {
        client: {
            "version": versions[client],
            "cases": {
                case: {"result": outcomes[client, case].result}
                | ({"why": outcomes[client, case].why} if outcomes[client, case].why else {})
                for case in CASES
                if (client, case) in outcomes
            },
        }
        for client in CLIENTS
        if client in versions
    }


def as_text(results: Mapping[str, Any]) -> str:
    """Cases by clients, then a line for each that differs or fails."""
    heads = [f"{client} {found['version']}" for client, found in results.items()]
    rows = [["", *heads]]
    notes = []
    for case, what in CASES.items():
        row = [what]
        for client, found in results.items():
            told = found["cases"].get(case, {"result": "-"})
            row.append(told["result"])
            if "why" in told:
                notes.append(f"{client}, {case}: {told['result']}: {told['why']}")
        if set(row[1:]) != {"-"}:
            rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, "", *notes])
