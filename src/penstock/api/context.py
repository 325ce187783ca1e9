"""What every operation is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.api.admission import Admission
from penstock.api.news import News
from penstock.job.claim import Resources
from penstock.job.life import Job
from penstock.progress import Progress
from penstock.retention.policy import Policy
from penstock.retention.records import Records
from penstock.store.database import Store
from penstock.store.logbook import Logbook


def _nothing_waits() -> Mapping[str, Any]:
    return {"running": [], "waiting": []}


@dataclass(frozen=True)
class Context:
    """The stores, the identity that ARNs are made of, the clock, and how the dispatcher is told of news."""

    store: Store
    logbook: Logbook
    region: str
    account: str
    clock: Callable[[], int]
    wake: Callable[..., None]
    """`Dispatcher.wake`."""
    admission: Admission
    """The way of new jobs into the store, for all who call at the same time."""
    news: News = field(default_factory=News)
    caller: Job | None = None
    """The job whose program asks; None for whoever has the home's keys."""
    invocation: str | None = None
    """What the client calls this call, the same each time that it tries again (`amz-sdk-invocation-id`)."""
    transfers: dict[tuple[str, str], Progress] = field(default_factory=dict)
    """What is moved just now, by job uid and host. Told anew every second, so it need not outlive the server."""
    local_inputs: Sequence[str] = ()
    """Folders of this machine that may be inputs as they lie."""
    signer: str = ""
    """Whose jobs those are that say nothing of it: the home's access key."""
    most: Callable[[], Resources] | None = None
    """What there is, where a job that asks for more is refused."""
    queue: Callable[[], Mapping[str, Any]] = _nothing_waits
    """The queue in words, as `dispatch.outlook` tells it."""
    runner_ms: int = 600_000
    """For how many milliseconds a runner may go on without word from a server, where servers share a database."""
    server_urls: Callable[[], Mapping[str, str]] = dict
    """Where servers that share the database are, by their ids."""
    runtime: str = "sandbox"
    """"sandbox", "container", or "auto": in a container what the catalogue does not know."""
    no_engine: Callable[[], str | None] = lambda: None
    """Why no container can be run here and what to do; None: one can. It answers at once."""
    no_room: Callable[[], str | None] = lambda: None
    """Why no new job is taken for want of room, and what to do; None: there is. It answers at once."""
    all_experiments: bool = False
    """Whether programs of jobs may use all experiments, and not only that of their job."""
    retention: tuple[Policy, Records] | None = None
    """The rules of how long ended jobs and logs are kept, and what carries them out."""

    def job_arn(self, name: str) -> str:
        """The ARN of the processing job of that name."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:processing-job/{name}"
