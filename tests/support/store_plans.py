"""The suite of plans: how the database itself says that it answers the Store's queries."""

import itertools
from functools import partial

import pytest
from sqlalchemy import event, insert, select, text

from penstock.job.life import Phase
from penstock.store import listing, stretches
from penstock.store.bare import Bare
from penstock.store.database import JobQuery
from penstock.store.rows import job_row
from penstock.store.tables import jobs
from penstock.testing.store_lists import SORTS
from penstock.testing.stores import StoreBase, new_job

COUNT = 20_000
FILTERS = {
    "none": {},
    "created": {"created_after": 100, "created_before": 15_000},
    "modified": {"modified_after": 100, "modified_before": 15_000},
    "name": {"name_contains": "none-such"},
    "rare name": {"name_contains": "-01234"},
    "status": {"status": "Completed"},
    "rare status": {"status": "Stopping"},
}
ENDED = [Phase.COMPLETED] * 8 + [Phase.FAILED, Phase.STOPPED]


class PlanSuite(StoreBase):
    @pytest.fixture
    def filled(self, store):
        return fill(store, lambda n: f"job-{n * 7919 % COUNT:05}")

    def test_no_query_of_jobs_reads_all_of_them(self, filled):
        plans = plans_of(filled, lambda: every_query(filled))
        assert len(plans) > 100
        _, bad = plans_of(filled, lambda: by_no_index(filled))[0]
        assert scans(bad)
        for statement, plan in plans:
            assert not scans(plan), f"{statement}\n{plan}"

    def test_a_page_far_from_the_beginning_costs_what_a_near_one_does(self, store, monkeypatch):
        """Of all jobs but the first and the last few hundred nothing is read, whatever the order and the way."""
        monkeypatch.setattr(stretches, "FEW", 200)
        monkeypatch.setattr(listing, "NEAR", 0)
        fill(store, lambda n: f"job-{n:05}")
        pairs = [
            ({"created_before": 100}, {"created_after": COUNT - 100}),
            ({"modified_before": 100}, {"modified_after": COUNT - 100}),
            ({"name_contains": "-000"}, {"name_contains": "-1990"}),
        ]
        for (near, far), sort_by in itertools.product(pairs, SORTS):
            for first, then, descending in ((near, far, False), (far, near, True)):
                order = {"sort_by": sort_by, "descending": descending}
                costs = [cost_of(store, JobQuery(**given, **order)) for given in (first, then)]
                assert costs[1] < 3 * costs[0] + 1000, (then, order, costs)

    def test_a_day_among_many_is_walked_to_and_its_trigrams_are_not_asked(self, store, monkeypatch):
        """Nearly every name has those of a date, and the letters of stretches leave few of them."""
        monkeypatch.setattr(stretches, "FEW", 200)
        fill(store, lambda n: f"job-2025-{n // 1700 + 1:02}-{n // 60 % 28 + 1:02}-{n:05}")
        for sort_by, descending in itertools.product(SORTS, (False, True)):
            query = JobQuery(name_contains="2025-06-2", sort_by=sort_by, descending=descending)
            asked = plans_of(store, partial(self.full, store, query), bare=False)
            assert asked
            assert not any("job_names" in sql for sql, _ in asked), (query, asked)

    @staticmethod
    def full(store, query):
        found, more = store.list_jobs(query, 10)
        assert len(found) == 10
        assert more is not None


def fill(store, name):
    """Put `COUNT` ended jobs on record, by the name of each."""
    rows = [job_row(new_job(name(n), n, phase=ENDED[n % 10], version=2, ended_at=n)) for n in range(COUNT)]
    with store._engine.begin() as c:
        c.execute(insert(jobs), rows)
        stretches.make(c)
    if not store.in_process:
        with store._dialect.reader.connect() as c:
            c.execute(text("VACUUM ANALYZE"))
    return store


def cost_of(store, query):
    """What a page costs: rows of jobs that PostgreSQL reads, or tens of steps of SQLite's machine."""
    if not store.in_process:
        plans = plans_of(store, lambda: store.list_jobs(query, 10), bare=False)
        return sum(read(plan) for _, plan in plans)
    steps = 0

    def step():
        nonlocal steps
        steps += 1

    def count(connection, *_):
        connection.set_progress_handler(step, 10)

    event.listen(store._engine, "checkout", count)
    found, _ = store.list_jobs(query, 10)
    event.remove(store._engine, "checkout", count)
    assert len(found) == 10
    return steps


def every_query(store):
    """Every sort and filter, also from a place on, and what Create, Describe and the dispatcher ask."""
    for pair in itertools.combinations_with_replacement(FILTERS, 2):
        for sort_by, descending in itertools.product(SORTS, (False, True)):
            query = JobQuery(**FILTERS[pair[0]] | FILTERS[pair[1]], sort_by=sort_by, descending=descending)
            place = [{"Name": "job-10000", "CreationTime": 10_000, "Status": "Failed"}[sort_by], "job-10000"]
            for after in (None, place):
                store.list_jobs(query, 10, after)
    assert store.active_count() == 0
    assert store.begun_jobs() == store.begun() == []
    assert store.waiting() == store.waiting(8) == []
    assert store.job("job-00000") is not None
    assert store.job_of_uid("job-00000-u") is not None
    store.jobs_of_uids(["none", "job-00000-u"])
    for with_logs in (False, True):
        assert store.ended.page((0, COUNT), 10, with_logs=with_logs)
        assert store.ended.page((0, COUNT), 10, (10_000, "job-10000"), with_logs=with_logs)
    store.ended.with_logs(["job-00000-u", "none"])
    store.hosts("none")
    store.tags("none")


def by_no_index(store):
    with store._reading() as c:
        c.execute(select(jobs).where(jobs.c.version == 9).order_by(jobs.c.ended_at)).all()


def plans_of(store, ask, *, bare=True):
    """All statements that `ask` has the Store read by, with their plans; and those that every job needs."""
    asked = {}
    engine = store._dialect.reader

    def note(_c, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT"):
            asked[statement] = parameters

    rows = Bare.rows

    def bare_rows(said, cursor, **values):
        asked[said.sql] = said.parameters(**values)
        return rows(said, cursor, **values)

    event.listen(engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bare, "rows", bare_rows)  # no event tells of what the driver runs by itself
        ask()
    event.remove(engine, "before_cursor_execute", note)
    names = {
        "wanted": "job-00001",
        "of_uid": "job-00001-u",
        "of_name": "algo-1",
        "by_server": "a",
        "by_epoch": 1,
    }
    for said in vars(store._say).values() if bare else ():
        if said.sql.startswith("SELECT"):
            asked[said.sql] = said.parameters(**names)
    with engine.connect() as c:
        if store.in_process:
            return [
                (sql, [row[3] for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)])
                for sql, values in asked.items()
            ]
        return [
            (sql, c.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values).scalar()[0]["Plan"])
            for sql, values in asked.items()
        ]


def scans(plan):
    """Whether a plan reads a whole table, or an index from end to end without a limit to stop it."""
    if isinstance(plan, list):
        walked = [line for line in plan if line.startswith("SCAN jobs")]
        # An index that is walked in the order of the page ends with it, and one in a subquery with that one's limit.
        stops = any("CO-ROUTINE" in line for line in plan) or not any("TEMP B-TREE" in line for line in plan)
        return any("USING" not in line for line in walked) or (bool(walked) and not stops)
    return (
        any(part["Node Type"] == "Seq Scan" for part in of_jobs(plan)) or read(plan) > COUNT * 3 // 4 + 1000
    )


def of_jobs(plan):
    """The parts of a plan of PostgreSQL that read jobs."""
    own = [plan] if plan.get("Relation Name") == "jobs" else []
    return own + [part for inner in plan.get("Plans", []) for part in of_jobs(inner)]


def read(plan):
    """How many rows of jobs it has read."""
    return sum(
        (p["Actual Rows"] + p.get("Rows Removed by Filter", 0)) * p["Actual Loops"] for p in of_jobs(plan)
    )
