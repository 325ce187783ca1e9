import threading

import pytest

from penstock.data.crew import work


def test_all_tasks_are_done_once():
    done: list[int] = []
    work(((lambda n=n: done.append(n)) for n in range(500)), 8)
    assert sorted(done) == list(range(500))


def test_width_threads_run_at_once_and_no_more():
    meet = threading.Barrier(4, timeout=30)
    idents: set[int] = set()

    def task() -> None:
        idents.add(threading.get_ident())
        meet.wait()

    work([task] * 8, 4)
    assert len(idents) == 4


def test_few_tasks_start_few_threads():
    started: set[int] = set()
    before = set(threading.enumerate())
    work([lambda: started.update(map(id, set(threading.enumerate()) - before))], 16)
    assert len(started) <= 2


def test_tasks_are_taken_only_when_a_thread_is_free():
    taken: list[int] = []
    seen: list[int] = []

    def tasks():
        for number in range(50):
            taken.append(number)
            yield lambda: seen.append(len(taken))

    work(tasks(), 1)
    assert seen == list(range(1, 51))


def test_the_first_error_is_raised_and_ends_the_taking():
    taken: list[int] = []

    def fail() -> None:
        raise OSError("no")

    def tasks():
        for number in range(1000):
            taken.append(number)
            yield fail

    with pytest.raises(OSError, match="no"):
        work(tasks(), 4)
    assert len(taken) <= 4


def test_an_error_while_making_tasks_is_raised():
    def tasks():
        yield lambda: None
        raise ValueError("made wrongly")

    with pytest.raises(ValueError, match="made wrongly"):
        work(tasks(), 4)


def test_ticks_come_while_work_goes_on():
    ticked = threading.Event()
    work([lambda: ticked.wait(30)], 2, tick=ticked.set, every=0.01)
    assert ticked.is_set()


def test_an_error_of_the_tick_ends_the_taking():
    release = threading.Event()

    def tick() -> None:
        release.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work([lambda: release.wait(30)] * 2, 1, tick=tick, every=0.01)


def test_nothing_to_do():
    work([])
