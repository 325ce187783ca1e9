"""Waiting for news of a job: answered when there is some, and never later than was asked."""

import asyncio
import threading
import time

import pytest
from drawn_calls import job
from starlette.concurrency import run_in_threadpool
from wire_client import WireClient, signed

from penstock.api import news as news_module
from penstock.api.news import News
from penstock.job.events import Host
from penstock.job.life import Failed, Started, advance
from penstock.wire.faults import Fault

LONG = 60.0


def stays():
    """A client that does not leave."""
    return asyncio.Event().wait()


def wait(news, look, is_news=bool, seconds=LONG, leaves=stays, job_uid="job"):
    return news.wait(job_uid, look, is_news, seconds, leaves)


def test_what_is_news_at_once_is_told_at_once():
    assert asyncio.run(wait(News(), lambda: 7)) == 7


def test_who_waits_is_woken_by_another_thread():
    news, state, looks = News(), [], threading.Semaphore(0)

    def look():
        looks.release()
        return list(state)

    def work():
        looks.acquire()
        state.append("done")
        news.tell("another")
        news.tell("job")

    worker = threading.Thread(target=work)
    worker.start()
    began = time.monotonic()
    assert asyncio.run(wait(news, look)) == ["done"]
    worker.join()
    assert time.monotonic() - began < LONG / 2


@pytest.mark.parametrize("others", [True, False])
def test_it_looks_again_by_itself_for_news_that_nobody_here_knows_of(monkeypatch, others):
    monkeypatch.setattr(news_module, "_LOOK_FOR_OTHERS" if others else "_LOOK_AGAIN", 0.01)
    looks = iter([0, 0, 1])
    assert asyncio.run(wait(News(others=others), lambda: next(looks))) == 1


def test_without_news_it_tells_what_there_is_when_the_time_is_over():
    assert asyncio.run(wait(News(), lambda: 0, seconds=0)) == 0
    assert asyncio.run(wait(News(), lambda: 0, seconds=0.05)) == 0


def test_nobody_waits_for_a_server_that_ends():
    news = News()
    assert asyncio.run(wait(news, news.end)) is None
    assert asyncio.run(wait(news, news.end)) is None


def kept(news):
    return dict(news._waiting), dict(news._places)


def test_nothing_is_kept_of_who_no_longer_waits():
    news, looked = News(), threading.Event()

    async def leave():
        task = asyncio.create_task(wait(news, looked.set))
        await asyncio.to_thread(looked.wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    assert looked.is_set()
    assert kept(news) == ({}, {})


def test_who_waits_keeps_nobody_from_a_thread():
    """However many look at the same time, and however long that takes."""
    news, looks, go_on = News(), threading.Semaphore(0), threading.Event()

    def look():
        looks.release()
        go_on.wait()
        return True

    async def serve():
        waiting = [asyncio.create_task(wait(news, look)) for _ in range(50)]
        try:
            await asyncio.to_thread(looks.acquire)
            others = [asyncio.to_thread(int), run_in_threadpool(int)]
            await asyncio.wait_for(asyncio.gather(*others), LONG)
        finally:
            go_on.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(serve()) == [True] * 50


@pytest.mark.parametrize(("bound", "others"), [("MOST", "another"), ("MOST_OF_ONE", "job")])
def test_more_than_that_are_told_to_come_again(monkeypatch, bound, others):
    monkeypatch.setattr(news_module, bound, 2)
    news, looks = News(), threading.Semaphore(0)

    async def serve():
        first = [asyncio.create_task(wait(news, looks.release)) for _ in range(2)]
        for _ in first:
            await asyncio.to_thread(looks.acquire)
        with pytest.raises(Fault, match="Too many wait for news") as refused:
            await wait(news, lambda: True, job_uid=others)
        assert (refused.value.code, refused.value.status) == ("ServiceUnavailable", 503)
        first[0].cancel()
        await asyncio.gather(first[0], return_exceptions=True)
        assert await wait(news, lambda: True, job_uid=others)
        news.end()
        await first[1]

    asyncio.run(serve())
    assert kept(news) == ({}, {})


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


def test_who_leaves_is_waited_for_no_longer(client, started):
    looked, logbook = threading.Event(), client.context.logbook
    size_of = logbook.size

    def size(uid, host):
        looked.set()
        return size_of(uid, host)

    logbook.size = size
    began = time.monotonic()
    asked = signed("GET", "/penstock/jobs/job/news?wait=60&log=0", b"", "")
    assert client.deliver(*asked, leaves=lambda: asyncio.to_thread(looked.wait)) is None
    assert time.monotonic() - began < LONG / 2
    assert kept(client.context.news) == ({}, {})


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
