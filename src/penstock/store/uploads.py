"""Which objects the hosts of a job have stored: the upload manifest on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, insert, or_, select

from penstock.job.uploads import Upload
from penstock.store.tables import uploads

_SAME = and_(
    uploads.c.job_uid == bindparam("b_job"),
    uploads.c.uri == bindparam("b_uri"),
    uploads.c.host == bindparam("b_host"),
)


class Uploads:
    """Rows of uploads, by job, URI and host. A host that stores an object again replaces its row."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, job_uid: str, host: str, new: Sequence[Upload]) -> None:
        """Take a batch; one that was taken before changes nothing."""
        if not new:
            return
        last = {upload.uri: upload for upload in new}  # within a batch, too, the last one holds
        with self._engine.begin() as c:
            c.execute(
                delete(uploads).where(_SAME), [{"b_job": job_uid, "b_uri": u, "b_host": host} for u in last]
            )
            c.execute(
                insert(uploads), [{"job_uid": job_uid, "host": host, **asdict(one)} for one in last.values()]
            )

    def page(self, job_uid: str, after: tuple[str, str] | None, limit: int) -> list[tuple[str, Upload]]:
        """At most `limit` uploads with their hosts, ordered by URI and host, from beyond `after` on."""
        query = select(uploads).where(uploads.c.job_uid == job_uid)
        if after is not None:
            uri, host = after
            query = query.where(
                or_(uploads.c.uri > uri, and_(uploads.c.uri == uri, uploads.c.host > host)),
                uploads.c.uri >= uri,
            )
        with self._engine.connect().execution_options(reading=True) as c:
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
        with self._engine.connect().execution_options(reading=True) as c:
            return [{"name": r.output, "objects": r.objects, "bytes": int(r.bytes)} for r in c.execute(query)]


def forget(connection: Connection, job_uid: str) -> None:
    """Drop a job's rows, within the transaction that removes the job."""
    connection.execute(delete(uploads).where(uploads.c.job_uid == job_uid))
