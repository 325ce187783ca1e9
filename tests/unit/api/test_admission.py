"""New jobs that come at the same time are written together, and each learns its own fate."""

import asyncio

import pytest

from penstock.api.admission import Admission
from penstock.errors import Conflict
from penstock.job.life import Job
from penstock.store.database import open_sqlite


@pytest.fixture
def store(tmp_path):
    opened = open_sqlite(tmp_path / "p.db")
    yield opened
    opened.close()


def job(name, uid=None):
    return Job(name, uid or f"{name}-u", f"arn:{name}", {"a": 1}, 1, 1, phases={"queued": 1})


def admit(add_jobs, jobs):
    """Add all at once; what became of each."""

    async def run():
        admission = Admission(add_jobs)
        return await asyncio.gather(*(admission.add(j, {"k": j.uid}) for j in jobs), return_exceptions=True)

    return asyncio.run(run())


def test_jobs_that_come_together_are_written_together(store):
    batches = []

    def add_jobs(new):
        batches.append(len(new))
        return store.add_jobs(new)

    assert admit(add_jobs, [job(f"j{n}") for n in range(20)]) == [None] * 20
    assert batches == [20]
    assert store.job("j7") == job("j7")
    assert store.tags("arn:j7") == {"k": "j7-u"}


def test_of_two_with_one_name_the_first_is_taken_and_others_are_not_disturbed(store):
    store.add_job(job("old"), {})
    fates = admit(store.add_jobs, [job("a"), job("b", "b-1"), job("old", "old-2"), job("b", "b-2"), job("c")])
    assert [type(fate) for fate in fates] == [type(None), type(None), Conflict, Conflict, type(None)]
    assert store.job("b").uid == "b-1"
    assert store.tags("arn:b") == {"k": "b-1"}
    assert store.tags("arn:old") == {}
    assert store.job("c") is not None


def test_a_failing_disk_is_told_to_all_of_the_batch_and_the_next_is_tried(store):
    failures = [OSError("disk full")]

    def add_jobs(new):
        if failures:
            raise failures.pop()
        return store.add_jobs(new)

    async def run():
        admission = Admission(add_jobs)
        first = await asyncio.gather(*(admission.add(job(n), {}) for n in "ab"), return_exceptions=True)
        return first, await admission.add(job("a"), {})

    first, second = asyncio.run(run())
    assert [str(error) for error in first] == ["disk full", "disk full"]
    assert second is None
    assert store.job("a") is not None
    assert store.job("b") is None


def test_a_client_that_leaves_takes_nobody_with_it(store):
    async def run():
        admission = Admission(store.add_jobs)
        leaving, staying = (asyncio.create_task(admission.add(job(n), {})) for n in "ab")
        await asyncio.sleep(0)  # both are waiting now
        leaving.cancel()
        return await asyncio.gather(leaving, staying, return_exceptions=True)

    left, stayed = asyncio.run(run())
    assert isinstance(left, asyncio.CancelledError)
    assert stayed is None
    assert store.job("a") is not None  # it was on its way; nobody may take a written job for a refused one
    assert store.job("b") is not None
