"""Tags as rows, within a transaction that has locked what they belong to."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from penstock.store.tables import tags


def of(c: Connection, arn: str) -> dict[str, str]:
    """A resource's tags, by key."""
    found = c.execute(select(tags.c.key, tags.c.value).where(tags.c.arn == arn))
    return dict(sorted((r.key, r.value) for r in found))


def put(c: Connection, arn: str, new: Mapping[str, str], most: int) -> dict[str, str] | None:
    """Add tags; equal keys are overwritten. All that there then are; None, and nothing added, beyond `most`."""
    whole = {**of(c, arn), **new}
    if len(whole) > most:
        return None
    c.execute(delete(tags).where(tags.c.arn == arn, tags.c.key.in_(list(new))))
    if new:
        c.execute(insert(tags), [{"arn": arn, "key": k, "value": v} for k, v in new.items()])
    return dict(sorted(whole.items()))
