"""ListProcessingJobs' query held against a plain list, while jobs are being added between its pages."""

import tempfile
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.job.life import Job, Phase
from penstock.store.database import JobQuery, open_sqlite

#: Few of each, so that ties and matches are frequent.
TIMES = st.integers(0, 4)
NAMES = st.text("aAb-_%", min_size=1, max_size=4)


def jobs(names):
    return st.builds(
        lambda name, created, later, phase: Job(
            name, f"{name}-u", f"arn:{name}", {}, created, created + later, phase
        ),
        names,
        TIMES,
        TIMES,
        st.sampled_from([Phase.QUEUED, Phase.RUNNING, Phase.STOPPING, Phase.COMPLETED, Phase.FAILED]),
    )


def many(names, size):
    return st.lists(jobs(names), max_size=size, unique_by=lambda job: job.name)


QUERIES = st.builds(
    JobQuery,
    created_after=st.none() | TIMES,
    created_before=st.none() | TIMES,
    modified_after=st.none() | TIMES,
    modified_before=st.none() | TIMES,
    name_contains=st.none() | st.text("aAb-_%", max_size=2),
    status=st.sampled_from([None, None, "InProgress", "Stopping", "Completed", "Failed", "Stopped"]),
    sort_by=st.sampled_from(["Name", "CreationTime", "Status"]),
    descending=st.booleans(),
)


def fits(job, q):
    return (
        (q.created_after is None or job.created_at >= q.created_after)
        and (q.created_before is None or job.created_at <= q.created_before)
        and (q.modified_after is None or job.modified_at >= q.modified_after)
        and (q.modified_before is None or job.modified_at <= q.modified_before)
        and (q.name_contains is None or q.name_contains in job.name)
        and (q.status is None or job.status == q.status)
    )


def key(job, q):
    return {"Name": job.name, "CreationTime": job.created_at, "Status": job.status}[q.sort_by], job.name


@pytest.fixture(scope="module")
def store():
    with tempfile.TemporaryDirectory() as folder, closing(open_sqlite(Path(folder) / "p.db")) as opened:
        yield opened


def emptied(store):
    with store._engine.begin() as c:
        c.exec_driver_sql("DELETE FROM jobs")
    return store


@settings(deadline=None, max_examples=150)
@given(
    old=many(NAMES, 14),
    added=many(NAMES.map(lambda n: n + "x"), 8),
    query=QUERIES,
    size=st.integers(1, 5),
)
def test_pages_are_those_of_a_plain_list_also_while_jobs_are_added(store, old, added, query, size):
    store = emptied(store)
    store.add_jobs([(job, {}) for job in old])
    coming, seen, after = list(added), [], None
    while True:
        page, after = store.list_jobs(query, size, after)
        assert len(page) == size or after is None
        seen += page
        if after is None:
            break
        if coming:
            store.add_job(coming.pop(), {})
    present = {job.name for job in old}
    expected = sorted(
        (j for j in old if fits(j, query)), key=lambda j: key(j, query), reverse=query.descending
    )
    # What was there from the beginning is told once and in order; what came meanwhile at most once, in its place.
    assert [j for j in seen if j.name in present] == expected
    assert seen == sorted(seen, key=lambda j: key(j, query), reverse=query.descending)
    assert len({j.name for j in seen}) == len(seen)
    assert all(fits(j, query) for j in seen)


def test_a_statement_is_written_for_its_conditions_and_not_for_their_values(store):
    written = store._lists._ways._written
    given = [
        JobQuery(created_after=n, name_contains=part, status=status)
        for n in range(5)
        for part in ("abcdef", "-1-", "b")
        for status in ("Completed", "Failed")
    ]
    for query in given[:1]:
        store.list_jobs(query, 3)
    before = written.cache_info()
    for query in given:
        store.list_jobs(query, 3 + query.created_after)
    after = written.cache_info()
    # Whether the jobs of a time are few says which way is gone; there are no other ways.
    assert after.misses - before.misses <= 3
    assert after.hits - before.hits >= len(given)


def test_the_queries_above_use_every_condition():
    assert {f.name for f in fields(JobQuery)} == {
        "created_after", "created_before", "modified_after", "modified_before", "name_contains", "status",
        "sort_by", "descending",
    }  # fmt: skip
