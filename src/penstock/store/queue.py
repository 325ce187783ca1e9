"""How the queue is read: a few columns of the jobs that wait, never their requests."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, literal_column, select

from penstock.store.tables import QUEUED, jobs

_CLAIM = ("uid", "name", "owner", "cpus", "memory", "gpus", "instances", "created_at", "priority")


def waiting(first: int | None) -> Select[Any]:
    """The claims of the jobs that wait; with `first` only so many of each owner and priority, the oldest.

    Then what is read grows with the owners and not with the queue, but for one walk through the index `jobs_queued`.
    """
    claims = select(*(jobs.c[name] for name in _CLAIM))
    if first is None:
        return claims.where(QUEUED)
    groups = select(jobs.c.priority, jobs.c.owner).where(QUEUED).distinct().subquery("groups")
    line = jobs.alias("line")
    oldest = (
        select(line.c.uid)
        .where(
            and_(
                line.c.phase == literal_column("'queued'"),
                line.c.priority == groups.c.priority,
                line.c.owner == groups.c.owner,
            )
        )
        .order_by(line.c.created_at, line.c.uid)
        .limit(first)
        .correlate(groups)
        .scalar_subquery()
    )
    return claims.select_from(groups.join(jobs, jobs.c.uid.in_(oldest)))
