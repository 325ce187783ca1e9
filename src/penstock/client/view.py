"""What is to be seen of a job, as values: read from a server's answer, drawn by `card.py` and here as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock import units
from penstock.client import record
from penstock.progress import Progress

ENDED = ("Completed", "Failed", "Stopped")

#: How a program's own failure reads, which says nothing of its cause.
_BARE_EXIT = re.compile(r"AlgorithmError: , exit code: \d+\.?")
#: So many are shown.
_MOST_METRICS = 40
_MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


@dataclass(frozen=True)
class Data:
    """An input or an output."""

    name: str
    uri: str
    objects: int | None = None
    """None: not known (yet)."""
    bytes: int | None = None

    @property
    def amount(self) -> str:
        """How much it is, in words; empty when that is not known."""
        if self.objects is None or self.bytes is None:
            return ""
        return f"{units.count(self.objects, 'file')}, {units.size(self.bytes)}"


@dataclass(frozen=True)
class View:
    """A job at a moment."""

    name: str
    status: str
    """In AWS's words."""
    phase: str
    """In ours; the status where the server knows none."""
    at: int
    """The moment, in milliseconds since the epoch, as all times."""
    created_at: int
    ended_at: int | None = None
    phases: tuple[tuple[str, int, int], ...] = ()
    """Each with its begin and how long it took, or has taken so far."""
    place: str | None = None
    """Its place in the queue and for what it waits."""
    progress: Progress | None = None
    """Of the transfer that is under way."""
    instances: str = ""
    image: str = ""
    environment: str = ""
    deviations: tuple[str, ...] = ()
    """What in the environment is not as in the image."""
    inputs: tuple[Data, ...] = ()
    outputs: tuple[Data, ...] = ()
    metrics: tuple[tuple[str, float], ...] = ()
    """Name and last value of each metric, by name."""
    notes: tuple[str, ...] = ()
    """What was asked for and did not come about, though the job did not fail for it."""
    reason: str | None = None
    """Why it failed."""
    exit_message: str | None = None
    lines: tuple[str, ...] | None = None
    """The last lines of its log; None: not read."""
    no_log: str | None = None
    """That its log was removed."""

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self.status in ENDED

    @property
    def took(self) -> str:
        """How long it took, or has taken so far."""
        return units.duration((self.ended_at or self.at) - self.created_at)

    @property
    def remedy(self) -> str | None:
        """What to do about a failure whose reason does not say so by itself."""
        if self.reason is None:
            return None
        missing = [name for line in self.lines or () for name in _MISSING_MODULE.findall(line)]
        if missing:
            return (
                f"Its environment has no module {missing[-1]}. A source_dir with a requirements.txt adds packages, "
                "or take the processor of another framework."
            )
        if _BARE_EXIT.fullmatch(self.reason.strip()):
            return "The program ended with an error of its own: the last lines of the log say which."
        return None

    def __str__(self) -> str:
        """Some lines for a terminal."""
        rows = [(name, text) for name, text in facts(self) if text]
        if self.phases:
            rows.append(("phases", ", ".join(f"{name} {units.duration(ms)}" for name, _, ms in self.phases)))
        for kind, items in (("input", self.inputs), ("output", self.outputs)):
            rows += [
                (kind, f"{one.name}: {one.uri}" + (f" ({one.amount})" if one.amount else "")) for one in items
            ]
        rows += [("metric", text) for text in metrics(self.metrics)]
        rows += [("note", text) for text in (*self.notes, *self.deviations)]
        rows += [("failed", self.reason or "")] if self.status == "Failed" else []
        rows += [("remedy", self.remedy)] if self.remedy else []
        rows += [("log", line) for line in self.lines or ()] if self.status == "Failed" else []
        width = max((len(name) for name, _ in rows), default=0)
        verb = "took" if self.has_ended else "for"
        head = f"ProcessingJob {self.name}: {self.status}, {verb} {self.took}"
        return "\n".join([head, *(f"  {name:<{width}}  {text}" for name, text in rows)])


def metrics(values: Sequence[tuple[str, float]]) -> list[str]:
    """Each metric, of which name and value are given, in words; of very many the first."""
    told = [f"{name} = {value:g}" for name, value in values[:_MOST_METRICS]]
    more = len(values) - len(told)
    return [*told, *([f"and {more} more"] if more > 0 else [])]


def facts(view: View) -> list[tuple[str, str]]:
    """Short facts with their names; the text of those that don't apply is empty."""
    return [
        ("queue", view.place or ""),
        ("transfer", str(view.progress) if view.progress else ""),
        ("instances", view.instances),
        ("image", view.image),
        ("environment", view.environment),
        ("exit message", view.exit_message or ""),
        ("log", view.no_log or ""),
    ]


def of_record(told: Mapping[str, Any], at: int, lines: Sequence[str] | None = None) -> View:
    """What Penstock's own record of a job tells."""
    request, hosts = told["request"], told["hosts"]
    environments = [host["environment"] for host in hosts if host.get("environment")]
    containers = [host["image"] for host in hosts if host.get("image")]
    environment = ""
    if environments:
        first = environments[0]
        environment = f"Python {first['python']}, {len(first['packages'])} packages"
    elif containers:
        environment = f"a container by {containers[0]['engine']}"
    stored = {one["name"]: one for one in told["uploads"]}
    over = told["ended_at"] is not None
    return View(
        name=told["name"],
        status=told["status"],
        phase=told["phase"],
        at=at,
        created_at=told["created_at"],
        ended_at=told["ended_at"],
        phases=tuple(phase for phase in record.phases(told, at) if phase[0].title() not in ENDED),
        place=record.place(told),
        progress=Progress.from_json(told["progress"]) if told["progress"] else None,
        environment=environment,
        # The same for all instances of a job, nearly always.
        deviations=tuple(dict.fromkeys(text for one in environments for text in one["deviations"])),
        inputs=tuple(_input(one, hosts) for one in request.get("ProcessingInputs") or ()),
        outputs=tuple(
            _output(one, stored.get(one["OutputName"], {"objects": 0, "bytes": 0} if over else {}))
            for one in request.get("ProcessingOutputConfig", {}).get("Outputs") or ()
        ),
        reason=told["failure_reason"],
        exit_message=told["exit_message"],
        # A server of an older version tells none.
        metrics=tuple((one["name"], one["last"]) for one in told.get("metrics", ())),
        notes=tuple(record.untold_metrics(told)),
        no_log=record.no_log(told),
        lines=None if lines is None else tuple(lines),
        **_asked(request),
    )


def of_description(told: Mapping[str, Any], at: int, lines: Sequence[str] | None = None) -> View:
    """What an answer of DescribeProcessingJob tells: all that other servers know."""
    ended = told.get("ProcessingEndTime")
    return View(
        name=told["ProcessingJobName"],
        status=told["ProcessingJobStatus"],
        phase=told["ProcessingJobStatus"],
        at=at,
        created_at=_ms(told["CreationTime"]) if "CreationTime" in told else at,
        ended_at=None if ended is None else _ms(ended),
        inputs=tuple(_input(one, ()) for one in told.get("ProcessingInputs") or ()),
        outputs=tuple(
            _output(one, {}) for one in told.get("ProcessingOutputConfig", {}).get("Outputs") or ()
        ),
        reason=told.get("FailureReason"),
        exit_message=told.get("ExitMessage"),
        lines=None if lines is None else tuple(lines),
        **_asked(told),
    )


def _asked(request: Mapping[str, Any]) -> dict[str, Any]:
    cluster = request.get("ProcessingResources", {}).get("ClusterConfig", {})
    count = cluster.get("InstanceCount") or cluster.get("SelectedInstanceCount") or 1
    kind = cluster.get("InstanceType") or cluster.get("SelectedInstanceType") or ""
    return {
        "instances": f"{count} x {kind}" if kind else "",
        "image": request.get("AppSpecification", {}).get("ImageUri", ""),
    }


def _input(asked: Mapping[str, Any], hosts: Sequence[Mapping[str, Any]]) -> Data:
    """An input of the request, with what the hosts have of it."""
    name, s3 = asked["InputName"], asked.get("S3Input", {})
    got = [
        one
        for host in hosts
        for one in [*(host.get("inputs") or ()), *(host.get("streams") or ())]
        if one["name"] == name and one["objects"] is not None
    ]
    if not got:
        return Data(name, s3.get("S3Uri", ""))
    # Each host has all of it, or a share.
    together = sum if s3.get("S3DataDistributionType") == "ShardedByS3Key" else max
    return Data(
        name,
        s3.get("S3Uri", ""),
        together(one["objects"] for one in got),
        together(one["bytes"] for one in got),
    )


def _output(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> Data:
    uri = asked.get("S3Output", {}).get("S3Uri", "")
    return Data(asked["OutputName"], uri, stored.get("objects"), stored.get("bytes"))


def _ms(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
