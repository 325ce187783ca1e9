"""What a runner reports of its host, as frozen values with one JSON form, and a host as the server records it.

Reports may arrive twice or late, never out of order: each event has a sequence number, counted by the runner's
journal from 1, and an event that was applied already is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.job.life import Job, Phase, key_of


@dataclass(frozen=True)
class HostEvent:
    """Something that happened to a host.

    `kind` is one of:
    - ``phase``: data = {"phase": "preparing" | "downloading" | "running" | "uploading"}, and what is for runners alone
    - ``note``: data = {<name>: <anything JSON>}, merged into the host's notes (environment, inputs, outputs ...)
    - ``ended``: data = {"outcome": "succeeded" | "failed" | "halted", "reason": str | None,
      "exit_code": int | None, "exit_message": str | None, "lost": bool}; ``lost``: it failed because a machine or a
      runner was lost, and not for anything that is the user's
    """

    sequence: int
    kind: str
    at: int
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The form in the journal and on the wire."""
        return {"sequence": self.sequence, "kind": self.kind, "at": self.at, "data": dict(self.data)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> HostEvent:
        """Read what `to_json` wrote; what is no character in it, as in the name of some file, becomes "?".

        Raises:
            ValueError: It is not such a form.
        """
        try:
            event = cls(int(data["sequence"]), str(data["kind"]), int(data["at"]), _clean(dict(data["data"])))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a host event: {error}") from error
        if event.kind not in {"phase", "note", "ended"}:
            raise ValueError(f"unknown kind of host event: {event.kind}")
        return event


def _clean(data: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(data, ensure_ascii=False)
    # Half a surrogate pair would be refused by every database, and the event be told for ever.
    return data if text.isascii() else dict(json.loads(text.encode("utf-8", "replace")))


@dataclass(frozen=True)
class Host:
    """One instance's piece of one attempt of a job, on record."""

    job_uid: str
    job_name: str
    name: str
    token_digest: str
    """SHA-256 of the token that the runner's reports carry."""
    log_stream: str
    handle: str | None = None
    """How the engine finds the runner again; None until it was started."""
    phase: Phase = Phase.QUEUED
    sequence: int = 0
    """The last event applied."""
    phases: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    outcome: Mapping[str, Any] | None = None
    """The data of the ``ended`` event, once there was one."""
    attempt: int = 1

    @property
    def key(self) -> str:
        """By which it is known beside those of other attempts."""
        return key_of(self.name, self.attempt)

    @property
    def ended(self) -> bool:
        """Whether the runner has told the end (or has been found dead)."""
        return self.outcome is not None


_FINAL = {"succeeded": Phase.COMPLETED, "failed": Phase.FAILED, "halted": Phase.STOPPED}


def apply(host: Host, event: HostEvent) -> Host:
    """What `host` becomes by `event`; the same host when the event was applied before or comes after the end.

    A runner's clock may be set back: times on record never go back.

    Raises:
        ValueError: The event names a phase or an outcome that does not exist.
    """
    if event.sequence <= host.sequence or host.ended:
        return host
    sequence = event.sequence
    if event.kind == "note":
        return replace(host, sequence=sequence, notes={**host.notes, **event.data})
    at = max(event.at, *host.phases.values(), 0)
    if event.kind == "phase":
        phase = Phase(event.data["phase"])
        if phase.final:
            raise ValueError(f"{phase} is told by the event 'ended'")
        return replace(host, sequence=sequence, phase=phase, phases={**host.phases, phase.value: at})
    outcome = event.data.get("outcome")
    if outcome not in _FINAL:
        raise ValueError(f"unknown outcome: {outcome}")
    phase = _FINAL[outcome]
    phases = {**host.phases, phase.value: at}
    return replace(host, sequence=sequence, phase=phase, phases=phases, outcome=event.data)


def to_stop(job: Job, hosts: Sequence[Host]) -> list[Host]:
    """The hosts that must be asked to stop: all when the job stops, the others when one has failed."""
    failed = any(h.phase is Phase.FAILED for h in hosts)
    if job.phase is Phase.STOPPING or failed:
        return [h for h in hosts if not h.ended]
    return []
