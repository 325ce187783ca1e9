"""A Store and a Logbook in memory: quick enough for hundreds of thousands of runs.

They keep what dispatcher, reports and the operations on jobs ask for. That they behave as the real ones is proven
by running the same seeds on both and comparing the traces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from penstock.errors import Conflict
from penstock.job.claim import Claim, claim_of
from penstock.job.events import Host, HostEvent, apply
from penstock.job.life import ALONE, Carrier, Job, Phase
from penstock.job.uploads import Upload
from penstock.testing.simulation.servers import MemoryServers


class MemoryUploads:
    """The upload manifest on record."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], Upload] = {}

    def add(self, job_uid: str, host: str, new: Sequence[Upload]) -> None:
        """Take a batch; one that was taken before changes nothing."""
        for upload in new:
            self.rows[job_uid, upload.uri, host] = upload

    def page(self, job_uid: str, after: tuple[str, str] | None, limit: int) -> list[tuple[str, Upload]]:
        """At most `limit` uploads with their hosts, ordered by URI and host, from beyond `after` on."""
        keys = sorted((uri, host) for uid, uri, host in self.rows if uid == job_uid)
        beyond = [key for key in keys if after is None or key > after]
        return [(host, self.rows[job_uid, uri, host]) for uri, host in beyond[:limit]]

    def forget(self, job_uid: str) -> None:
        """Drop a job's rows."""
        for key in [key for key in self.rows if key[0] == job_uid]:
            del self.rows[key]


class MemoryStore:
    """Jobs and hosts; every method happens whole or not at all."""

    def __init__(self, now: Callable[[], int] = lambda: 0) -> None:
        """`now` is the database's own clock, in milliseconds."""
        self.uploads = MemoryUploads()
        self.servers = MemoryServers(self, now)
        self._jobs: dict[str, Job] = {}
        self._hosts: dict[str, dict[str, Host]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._now = now
        self.leases: dict[tuple[str, str], int] = {}
        """Until when the runner of a host may go on, by the database's clock."""

    def close(self) -> None:
        """Nothing is to be given back."""

    def add_job(self, job: Job, job_tags: Mapping[str, str]) -> None:
        """Put a new job on record.

        Raises:
            Conflict: A job of that name is there.
        """
        [conflict] = self.add_jobs([(job, job_tags)])
        if conflict is not None:
            raise conflict

    def add_jobs(self, new: Sequence[tuple[Job, Mapping[str, str]]]) -> list[Conflict | None]:
        """Put new jobs on record, and tell of each whether its name was taken."""
        fates: list[Conflict | None] = []
        for job, tags in new:
            if job.name in self._jobs:
                fates.append(Conflict(f"A job named {job.name} exists."))
            else:
                self._jobs[job.name] = job
                self._tags[job.arn] = dict(tags)
                fates.append(None)
        return fates

    def job(self, name: str) -> Job | None:
        """The job of that name."""
        return self._jobs.get(name)

    def job_of_uid(self, uid: str) -> Job | None:
        """The job with that uid."""
        return next((job for job in self._jobs.values() if job.uid == uid), None)

    def save_job(self, job: Job, by: Carrier | None = None) -> None:
        """Store a job that `advance` has moved by one version.

        Raises:
            Conflict: Somebody else has moved it meanwhile.
        """
        self._guard(job, job.version - 1)
        self._check_carrier(job.uid, by)
        self._jobs[job.name] = job

    def put(self, job: Job) -> None:
        """A job as it now is, whatever it was."""
        self._jobs[job.name] = job

    def delete_job(self, job: Job) -> None:
        """Remove a job in a final phase, with its hosts and uploads.

        Raises:
            Conflict: The job is gone, or has moved since it was read.
        """
        self._guard(job, job.version)
        if not self._jobs[job.name].phase.final:
            raise Conflict(f"Job {job.name} has moved on since it was read.")
        del self._jobs[job.name]
        self._hosts.pop(job.uid, None)
        self._tags.pop(job.arn, None)
        self.uploads.forget(job.uid)

    def active_count(self) -> int:
        """How many jobs have not ended."""
        return len(self._active())

    def begun_jobs(self) -> list[Job]:
        """Those of them that have been started, oldest first."""
        return [job for job in self._active() if job.phase is not Phase.QUEUED]

    def begun(self) -> list[tuple[Job, list[Host]]]:
        """The same with their hosts."""
        return [(job, self.hosts(job.uid, job.attempt)) for job in self.begun_jobs()]

    def waiting(self, first: int | None = None) -> list[Claim]:
        """What the jobs that have not been started claim; with `first` so many of each line."""
        claims = sorted(
            (claim_of(job) for job in self._active() if job.phase is Phase.QUEUED),
            key=lambda claim: (claim.created_at, claim.uid),
        )
        groups: dict[tuple[str, int, str], list[Claim]] = {}
        for claim in claims:
            groups.setdefault((claim.engine, claim.priority, claim.owner), []).append(claim)
        return [claim for group in groups.values() for claim in group[:first]]

    def tags(self, arn: str) -> dict[str, str]:
        """A resource's tags, by key."""
        return dict(sorted(self._tags.get(arn, {}).items()))

    def add_hosts(
        self,
        job: Job,
        new: Sequence[Host],
        by: Carrier = ALONE,
        lease_ms: int | None = None,
    ) -> None:
        """Store a job's move together with the hosts it now has.

        Raises:
            Conflict: Somebody else has moved the job meanwhile.
        """
        if not self.servers.may_begin(by):
            raise Conflict(f"The lease of {by} is over.")
        self.save_job(replace(job, carrier=by, place=by.server))
        self._hosts.setdefault(job.uid, {}).update({host.key: host for host in new})
        if lease_ms is not None:
            self.leases.update({(job.uid, host.key): self._now() + lease_ms for host in new})

    def hosts(self, job_uid: str, attempt: int | None = None) -> list[Host]:
        """A job's hosts, algo-1 first; of one attempt, or of each."""
        found = [h for h in self._hosts.get(job_uid, {}).values() if attempt in {None, h.attempt}]
        return sorted(found, key=lambda host: (host.attempt, int(host.name.rpartition("-")[2])))

    def host(self, job_uid: str, key: str) -> Host | None:
        """One host of a job, by its key."""
        return self._hosts.get(job_uid, {}).get(key)

    def apply_events(
        self,
        job_uid: str,
        name: str,
        events: Sequence[HostEvent],
        by: Carrier | None = None,
    ) -> Host | None:
        """Apply a runner's events to its host; None when there is no such host."""
        self._check_carrier(job_uid, by)
        host = self.host(job_uid, name)
        if host is None:
            return None
        for happened in events:
            host = apply(host, happened)
        self._hosts[job_uid][name] = host
        return host

    def end_lapsed(self, job_uid: str, name: str, ended: HostEvent, by: Carrier) -> bool:
        """Apply the end of a host whose runner's lease is over."""
        self._check_carrier(job_uid, by)
        until = self.leases.get((job_uid, name))
        if until is None or until > self._now():
            return False
        self.apply_events(job_uid, name, [ended], by)
        return True

    def _check_carrier(self, job_uid: str, by: Carrier | None) -> None:
        job = self.job_of_uid(job_uid)
        if by is not None and (job is None or job.carrier != by):
            raise Conflict(f"The job {job_uid} is carried on by somebody else.")

    def _active(self) -> list[Job]:
        active = [job for job in self._jobs.values() if not job.phase.final]
        return sorted(active, key=lambda job: (job.created_at, job.name))

    def _guard(self, job: Job, version: int) -> None:
        found = self._jobs.get(job.name)
        if found is None or found.uid != job.uid or found.version != version:
            raise Conflict(f"Job {job.name} has moved on since it was read.")


class MemoryLogbook:
    """The bytes of all logs."""

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str], bytearray] = {}

    def append(self, job_uid: str, host: str, offset: int, data: bytes) -> int:
        """Take the bytes from position `offset` on, and return how many are held; a gap is not taken."""
        log = self._logs.setdefault((job_uid, host), bytearray())
        if offset <= len(log) < offset + len(data):
            log += data[len(log) - offset :]
        return len(log)

    def sync(self, job_uid: str, host: str) -> None:
        """Nothing is lost here."""

    def size(self, job_uid: str, host: str) -> int:
        """How many bytes are held."""
        return len(self._logs.get((job_uid, host), b""))

    def delete(self, job_uid: str) -> None:
        """Remove a job's logs."""
        for key in [key for key in self._logs if key[0] == job_uid]:
            del self._logs[key]
