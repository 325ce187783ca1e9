"""Waiting for news of a job: answered when there is some, and never later than was asked."""

import asyncio
import threading
import time

import pytest
from drawn_calls import job
from wire_client import WireClient

from penstock.api.news import News
from penstock.job.events import Host
from penstock.job.life import Failed, Started, advance

LONG = 60.0


def test_what_is_news_at_once_is_told_at_once():
    assert asyncio.run(News().wait("job", lambda: 7, lambda seen: seen == 7, LONG)) == 7


def test_who_waits_is_woken_by_another_thread():
    news, state, looks = News(), [], threading.Semaphore(0)

    def look():
        looks.release()
        return list(state)

    async def wait():
        return await news.wait("job", look, bool, LONG)

    def work():
        looks.acquire()
        state.append("done")
        news.tell("another")
        news.tell("job")

    worker = threading.Thread(target=work)
    worker.start()
    began = time.monotonic()
    assert asyncio.run(wait()) == ["done"]
    worker.join()
    assert time.monotonic() - began < LONG / 2


def test_it_looks_again_by_itself_for_news_that_nobody_here_knows_of():
    looks = iter([0, 0, 1])
    assert asyncio.run(News().wait("job", lambda: next(looks), bool, LONG)) == 1


def test_without_news_it_tells_what_there_is_when_the_time_is_over():
    assert asyncio.run(News().wait("job", lambda: 0, bool, 0)) == 0
    assert asyncio.run(News().wait("job", lambda: 0, bool, 0.05)) == 0


def test_nobody_waits_for_a_server_that_ends():
    news = News()

    def look():
        news.end()

    assert asyncio.run(news.wait("job", look, bool, LONG)) is None
    assert asyncio.run(news.wait("job", look, bool, LONG)) is None


def test_nothing_is_kept_of_who_no_longer_waits():
    news = News()

    async def leave():
        task = asyncio.create_task(news.wait("job", lambda: 0, bool, LONG))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    assert news._waiting == {}


@pytest.fixture
def client(tmp_path):
    made = WireClient(tmp_path)
    assert made.call("CreateProcessingJob", job("job")).status == 200
    yield made
    made.close()


@pytest.fixture
def started(client):
    """The job runs."""
    store = client.store
    moved = advance(store.job("job"), Started(), 5)
    store.add_hosts(moved, [Host(moved.uid, "job", "algo-1", "digest", "job/algo-1", "handle")])
    return moved


def news_of(client, query, name="job"):
    answer = client.send("GET", f"/penstock/jobs/{name}/news?{query}", b"", "")
    return answer.status, answer.json


def test_the_log_and_the_end_are_news(client, started):
    assert news_of(client, "wait=0&log=0") == (200, {"status": "InProgress", "ended": False, "log": 0})
    client.context.logbook.append(started.uid, "algo-1", 0, b"1 a\n")
    assert news_of(client, "wait=60&log=0") == (200, {"status": "InProgress", "ended": False, "log": 4})
    assert news_of(client, "wait=0&log=4")[1]["log"] == 4
    client.store.save_job(advance(started, Failed("why"), 9))
    assert news_of(client, "wait=60&log=4") == (200, {"status": "Failed", "ended": True, "log": 4})
    assert news_of(client, "wait=60") == (200, {"status": "Failed", "ended": True, "log": 0})


def test_a_stop_of_a_queued_job_is_news(client):
    told = []
    client.context.news.tell = told.append
    client.call("StopProcessingJob", {"ProcessingJobName": "job"})
    assert told == [client.store.job("job").uid]


@pytest.mark.parametrize("query", ["wait=x", "wait=nan", "log=x", "log=1.5"])
def test_numbers_are_numbers(client, query, started):
    status, said = news_of(client, query)
    assert status == 400
    assert "number" in said["message"]


def test_there_is_none_of_a_job_that_is_not_there(client):
    assert news_of(client, "wait=60", "none")[0] == 400
