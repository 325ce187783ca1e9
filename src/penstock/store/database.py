"""The Store: jobs, hosts and tags in a database, by SQLAlchemy Core.

Every write of a job is guarded by the version that was read: of two writers that read the same job, one gets
`Conflict` and reads again. What is read and then written within one transaction is locked first (`with_for_update`;
in SQLite whoever writes has locked all). Methods may be called from any thread. `penstock.testing.stores` holds every
database to the same; what differs between them is in `dialect.py`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, delete, func, select, update

from penstock.errors import Conflict, Missing
from penstock.job.claim import PRIORITY, Choice, Claim, priority_of
from penstock.job.events import Host, HostEvent
from penstock.job.life import ALONE, Carrier, Job
from penstock.store import (
    ended,
    job_components,
    listing,
    locks,
    queue,
    schema,
    servers,
    sqlite,
    tagging,
    uploads,
)
from penstock.store.bare import Cursors
from penstock.store.dialect import Dialect
from penstock.store.experiments import Experiments
from penstock.store.functions import among
from penstock.store.host_events import HostEvents
from penstock.store.job_query import JobQuery
from penstock.store.lineage import Lineage
from penstock.store.logbook import DatabaseLogbook, Logbook
from penstock.store.metrics import Metrics
from penstock.store.new_jobs import NewJobs
from penstock.store.rows import (
    carrier_row,
    host_row,
    move_row,
    to_claim,
    to_host,
    to_job,
)
from penstock.store.statements import Statements
from penstock.store.stretches import Stretches
from penstock.store.tables import QUEUED, hosts, job_parts, jobs, tags


class Store:
    """Jobs, hosts and tags. Open one with `open_sqlite` or `open_postgres`."""

    def __init__(self, dialect: Dialect) -> None:
        self.in_process = dialect.in_process
        """Whether a row by its key is read without a network between: quicker than a hop to a thread."""
        self._dialect = dialect
        self._engine = dialect.engine
        try:
            schema.upgrade(dialect)
        except BaseException:
            self._engine.dispose()
            raise
        self.experiments = Experiments(dialect)
        self.lineage = Lineage(dialect)
        self.metrics = Metrics(dialect)
        self.uploads = uploads.Uploads(dialect)
        self._cursors = Cursors(dialect)
        self._say = Statements(dialect)
        self._stretches = Stretches(dialect)
        self._lists = listing.Lists(dialect)
        self.locks = locks.Locks(dialect, self._cursors)
        self.servers = servers.Servers(dialect)
        self.ended = ended.Ended(dialect)
        self._new_jobs = NewJobs(dialect, self._cursors, self._say, self.locks, self._stretches)
        self._host_events = HostEvents(dialect, self._cursors, self._say, self.locks)

    def logbook(self) -> Logbook:
        """Log events beside the jobs, for all who share the database."""
        return DatabaseLogbook(self._dialect)

    def close(self) -> None:
        """Give all connections back."""
        self._cursors.close()
        self._engine.dispose()

    # Jobs

    def add_job(self, job: Job, job_tags: Mapping[str, str]) -> None:
        """Put a new job on record, with its tags. It is on disk when this returns.

        Raises:
            Conflict: A job of that name is there.
            InUse, Missing: As `job_components.enter`, of a job with an ExperimentConfig.
            LockGone: The lock that it asks for has just been removed.
        """
        [refused] = self.add_jobs([(job, job_tags)])
        if refused is not None:
            raise refused

    def add_jobs(self, new: Sequence[tuple[Job, Mapping[str, str]]]) -> list[Conflict | Missing | None]:
        """Put new jobs on record, each with its tags, and tell of each why it was refused, as `add_job` raises it.

        They are written in one transaction: the disk is waited for once. Those that are part of an experiment have
        each one of their own, in which their component is made as well.
        """
        return self._new_jobs.add(new)

    def job(self, name: str) -> Job | None:
        """The job of that name."""
        with self._cursors.read() as cursor:
            rows = self._say.job_by_name.rows(cursor, wanted=name)
        return to_job(rows[0]) if rows else None

    def job_of_uid(self, uid: str) -> Job | None:
        """The job with that uid."""
        with self._cursors.read() as cursor:
            rows = self._say.job_by_uid.rows(cursor, wanted=uid)
        return to_job(rows[0]) if rows else None

    def job_of_arn(self, arn: str) -> Job | None:
        """The job with that ARN, in whatever letter case; the exact one first."""
        query = select(jobs).where(func.lower(jobs.c.arn) == arn.lower())
        with self._reading() as c:
            rows = list(c.execute(query))
        rows.sort(key=lambda row: row.arn != arn)
        return to_job(rows[0]) if rows else None

    def jobs_of_uids(self, uids: Iterable[str]) -> dict[str, Job]:
        """The jobs with these uids, by them."""
        with self._reading() as c:
            return {row.uid: to_job(row) for row in c.execute(select(jobs).where(among(jobs.c.uid, uids)))}

    def save_job(self, job: Job, by: Carrier | None = None) -> None:
        """Store a job that `advance` has moved by one version.

        Args:
            job: The job.
            by: Who carries it on; None: a wish of somebody else's.

        Raises:
            Conflict: Somebody else has moved it or taken it over meanwhile.
        """
        move = {"of_uid": job.uid, "before": job.version - 1, **move_row(job)}
        with self._cursors.write() as cursor:
            if by is None:
                moved = self._say.move_job.run(cursor, **move)
            else:
                moved = self._say.carry_job.run(cursor, **move, **_by(by))
            if moved != 1:
                raise Conflict(f"Job {job.name} has moved on since it was read.")
            if job.phase.final:
                self._stretches.widen(cursor, job)
            job_components.follow(cursor, self._say, job)

    def delete_job(self, job: Job) -> None:
        """Remove a job in a final phase, with its hosts, tags and uploads. Its trial component stays.

        Raises:
            Conflict: The job is gone, or has moved since it was read.
        """
        same = and_(jobs.c.uid == job.uid, jobs.c.version == job.version, jobs.c.phase.in_(ended.FINAL))
        with self._engine.begin() as c:
            if c.execute(delete(jobs).where(same)).rowcount != 1:
                raise Conflict(f"Job {job.name} has moved on since it was read.")
            c.execute(delete(hosts).where(hosts.c.job_uid == job.uid))
            c.execute(delete(tags).where(tags.c.arn == job.arn))
            c.execute(delete(job_parts).where(job_parts.c.job_uid == job.uid))
            uploads.forget(c, job.uid)

    def begun_jobs(self) -> list[Job]:
        """The jobs that have been started and have not ended, oldest first. Few, however long the queue."""
        with self._cursors.read() as cursor:
            return [to_job(row) for row in self._say.begun.rows(cursor)]

    def begun(self) -> list[tuple[Job, list[Host]]]:
        """The same with their hosts, algo-1 first, as these are at that moment or later."""
        with self._cursors.read() as cursor:
            found = [to_job(row) for row in self._say.begun.rows(cursor)]
            of_job: dict[str, list[Host]] = {job.uid: [] for job in found}
            for row in self._say.hosts_of_begun.rows(cursor) if found else ():
                of_job.setdefault(row.job_uid, []).append(to_host(row))
        return [(job, _of_attempt(job.attempt, of_job[job.uid])) for job in found]

    def waiting(self, first: int | None = None) -> list[Claim]:
        """What the jobs that have not been started claim, in any order.

        Args:
            first: How many of each engine, owner and priority, the oldest; None: all.
        """
        if first is None:
            with self._reading() as c:
                return [to_claim(r) for r in c.execute(queue.everything())]
        with self._cursors.read() as cursor:
            return [to_claim(row) for row in self._say.heads.rows(cursor, first=first)]

    def assign(self, choice: Choice) -> None:
        """Have all jobs that wait, wait for the engine that they would be given now: a server may have other ones."""
        with self._engine.begin() as c:
            c.execute(queue.assigned(choice))

    def send(self, job: Job, engine: str) -> None:
        """Have a job wait for an engine, without a move; no effect on one that has begun."""
        with self._engine.begin() as c:
            c.execute(update(jobs).where(jobs.c.uid == job.uid, QUEUED).values(engine=engine))

    def active_count(self) -> int:
        """How many jobs have not ended."""
        with self._cursors.read() as cursor:
            [row] = self._say.active.rows(cursor)
        return int(row.count)

    def list_jobs(
        self, query: JobQuery, limit: int, after: Sequence[Any] | None = None
    ) -> tuple[list[Job], list[Any] | None]:
        """One page of jobs and the place after it (None when there is no more).

        The place is that of the last job, not a number, so pages stay true while jobs are being added.
        """
        with self._reading() as c:
            found = self._lists.page(c, query, limit + 1, after)
        page = [to_job(r) for r in found[:limit]]
        if len(found) <= limit:
            return page, None
        return page, listing.place_of(query, found[limit - 1])

    # Hosts

    def add_hosts(
        self, job: Job, new: Sequence[Host], by: Carrier = ALONE, lease_ms: int | None = None
    ) -> None:
        """Store a job's move together with the hosts it now has: the intent, before anything is started.

        Values of metrics that a lost attempt has given its trial component are removed.

        Args:
            job: The job.
            new: Its hosts.
            by: Who begins it, on a machine of its own.
            lease_ms: For how long their runners may go on without word from a server; None: for ever.

        Raises:
            Conflict: Somebody else has moved the job meanwhile, or the lease of `by` is over.
        """
        if job.attempt == 1:
            with self._cursors.write() as cursor:
                self._begin(cursor, job, new, by, lease_ms)
            return
        with self._engine.begin() as c, closing(c.connection.cursor()) as cursor:
            self._begin(cursor, job, new, by, lease_ms)
            job_components.begin_anew(c, job)

    def _begin(self, cursor: Any, job: Job, new: Sequence[Host], by: Carrier, lease_ms: int | None) -> None:
        move = {"of_uid": job.uid, "before": job.version - 1, **move_row(job), **_by(by)}
        its = {**carrier_row(by), "place": by.server, "engine": job.engine}
        if self._say.begin_job.run(cursor, **move, **its) != 1:
            raise Conflict(f"Job {job.name} has moved on since it was read.")
        for host in new:
            self._say.new_host.run(cursor, **host_row(host))
        if lease_ms is not None:
            self._say.lease_hosts.run(cursor, wanted=job.uid, lease_ms=lease_ms)
        job_components.follow(cursor, self._say, job)

    def hosts(self, job_uid: str, attempt: int | None = None) -> list[Host]:
        """A job's hosts, algo-1 first; those of one attempt, or with None of each, one after the other."""
        with self._cursors.read() as cursor:
            found = [to_host(row) for row in self._say.hosts.rows(cursor, wanted=job_uid)]
        return _of_attempt(attempt, found)

    def host(self, job_uid: str, key: str) -> Host | None:
        """One host of a job, by its key."""
        with self._cursors.read() as cursor:
            rows = self._say.host.rows(cursor, of_uid=job_uid, of_name=key)
        return to_host(rows[0]) if rows else None

    def host_of_stream(self, log_stream: str) -> Host | None:
        """The host whose log stream has that name."""
        with self._reading() as c:
            row = c.execute(select(hosts).where(hosts.c.log_stream == log_stream)).first()
        return None if row is None else to_host(row)

    def hosts_by_stream_prefix(
        self, prefix: str, after: str | None, limit: int | None, *, descending: bool = False
    ) -> list[Host]:
        """Hosts whose log stream's name starts with `prefix`, by that name, beginning after `after`."""
        # A range and not LIKE, which SQLite answers without regard to case.
        where = [hosts.c.log_stream >= prefix, hosts.c.log_stream < prefix + "\U0010ffff"] if prefix else []
        name = hosts.c.log_stream
        if after is not None:
            where.append(name < after if descending else name > after)
        with self._reading() as c:
            order = name.desc() if descending else name
            statement = select(hosts).where(*where).order_by(order).limit(limit)
            return [to_host(r) for r in c.execute(statement)]

    def apply_events(
        self, job_uid: str, name: str, events: Sequence[HostEvent], by: Carrier | None = None
    ) -> Host | None:
        """Apply a runner's events to its host, those applied before passed over; None when there is no such host.

        Values of metrics among them go to the job's trial component, which a job without one is given then.

        Args:
            job_uid: The job.
            name: The host.
            events: What happened.
            by: Who carries the job on and speaks for the runner; None: the runner itself.

        Raises:
            Conflict: Somebody else has taken the job over meanwhile.
        """
        return self._host_events.apply(job_uid, name, events, by)

    def end_lapsed(self, job_uid: str, name: str, ended: HostEvent, by: Carrier) -> bool:
        """Apply the end of a host whose runner's lease is over; False: it runs, and nothing has changed.

        Raises:
            Conflict: Somebody else has taken the job over meanwhile.
        """
        return self._host_events.end_lapsed(job_uid, name, ended, by)

    # Tags

    def tags(self, arn: str) -> dict[str, str]:
        """A resource's tags, by key."""
        with self._reading() as c:
            return tagging.of(c, arn)

    def put_tags(self, job: Job, new: Mapping[str, str], most: int) -> dict[str, str] | None:
        """Add tags to a job; equal keys are overwritten. The tag of its priority gives it that.

        Returns:
            All that it then has, by key; None when they would be more than `most`: then nothing is added.

        Raises:
            Conflict: The job is gone. Tags left behind would belong to the next of its name.
        """
        with self._engine.begin() as c:
            if c.execute(select(jobs.c.uid).where(jobs.c.uid == job.uid).with_for_update()).first() is None:
                raise Conflict(f"Job {job.name} is gone.")
            whole = tagging.put(c, job.arn, new, most)
            if whole is not None:
                _prioritise(c, job.arn, whole, new)
        return whole

    def delete_tags(self, arn: str, keys: Sequence[str]) -> None:
        """Remove tags; keys that are not there are passed over."""
        with self._engine.begin() as c:
            c.execute(delete(tags).where(tags.c.arn == arn, tags.c.key.in_(keys)))
            _prioritise(c, arn, {}, keys)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._dialect.reader.connect() as c:
            yield c


def _by(carrier: Carrier) -> dict[str, Any]:
    return {"by_server": carrier.server, "by_epoch": carrier.epoch}


def open_sqlite(path: Path) -> Store:
    """The Store in an SQLite file, made when it is not there."""
    return Store(sqlite.connect(path))


def open_postgres(url: str) -> Store:
    """The Store in a PostgreSQL database, whose tables are made when they are not there.

    Raises:
        ConfigurationError: The database can't be used; the message says why.
    """
    from penstock.store import postgres  # noqa: PLC0415 - its driver is an extra

    return Store(postgres.connect(url))


def _of_attempt(attempt: int | None, found: Iterable[Host]) -> list[Host]:
    mine = (host for host in found if attempt in {None, host.attempt})
    return sorted(mine, key=lambda host: (host.attempt, int(host.name.rpartition("-")[2])))


def _prioritise(c: Connection, arn: str, whole: Mapping[str, str], changed: Container[str]) -> None:
    """Have a job's priority follow its tag, without a move: whoever moves it meanwhile does not notice."""
    if PRIORITY in changed:
        c.execute(update(jobs).where(jobs.c.arn == arn).values(priority=priority_of(whole)))
