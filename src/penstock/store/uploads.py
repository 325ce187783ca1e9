"""Which objects the hosts of a job have stored: the upload manifest on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, delete, func, select, tuple_

from penstock.job.uploads import Upload
from penstock.store.dialect import Dialect
from penstock.store.tables import uploads

_REPLACED = ("output", "size", "sha256", "at")


class Uploads:
    """Rows of uploads, by job, URI and host. A host that stores an object again replaces its row."""

    def __init__(self, dialect: Dialect) -> None:
        self._engine = dialect.engine
        self._reader = dialect.reader
        add = dialect.insert(uploads)
        self._put = add.on_conflict_do_update(
            index_elements=list(uploads.primary_key), set_={name: add.excluded[name] for name in _REPLACED}
        )

    def add(self, job_uid: str, host: str, new: Sequence[Upload]) -> None:
        """Take a batch; one that was taken before changes nothing."""
        if not new:
            return
        last = {upload.uri: upload for upload in new}  # within a batch, too, the last one holds
        # By their URIs: a batch that is sent again while it is being written waits, and never in a circle.
        rows = [{"job_uid": job_uid, "host": host, **asdict(last[uri])} for uri in sorted(last)]
        with self._engine.begin() as c:
            c.execute(self._put, rows)

    def page(self, job_uid: str, after: tuple[str, str] | None, limit: int) -> list[tuple[str, Upload]]:
        """At most `limit` uploads with their hosts, ordered by URI and host, from beyond `after` on."""
        query = select(uploads).where(uploads.c.job_uid == job_uid)
        if after is not None:
            query = query.where(tuple_(uploads.c.uri, uploads.c.host) > after)
        with self._reader.connect() as c:
            rows = c.execute(query.order_by(uploads.c.uri, uploads.c.host).limit(limit))
            return [(r.host, Upload(r.output, r.uri, r.size, r.sha256, r.at)) for r in rows]

    def totals(self, job_uid: str) -> list[dict[str, Any]]:
        """For each output its name, how many objects were stored and their bytes."""
        query = (
            select(uploads.c.output, func.count().label("objects"), func.sum(uploads.c.size).label("bytes"))
            .where(uploads.c.job_uid == job_uid)
            .group_by(uploads.c.output)
            .order_by(uploads.c.output)
        )
        with self._reader.connect() as c:
            return [{"name": r.output, "objects": r.objects, "bytes": int(r.bytes)} for r in c.execute(query)]


def forget(connection: Connection, job_uid: str) -> None:
    """Drop a job's rows, within the transaction that removes the job."""
    connection.execute(delete(uploads).where(uploads.c.job_uid == job_uid))
