import threading

from penstock.runner import helpers


def test_a_thread_that_rests_is_given_the_next_work():
    threads = []
    for _ in range(3):
        helpers.start(lambda: threads.append(threading.current_thread())).join()
    assert len(set(threads)) == 1


def test_work_goes_side_by_side():
    meeting = threading.Barrier(4, timeout=60)
    for help_ in [helpers.start(meeting.wait) for _ in range(3)] + [helpers.start(meeting.wait)]:
        help_.join()
    assert not meeting.broken
    assert helpers.resting() >= 4


def test_what_goes_wrong_is_told_as_of_any_thread_and_the_thread_helps_on(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def fails():
        raise OSError("no")

    helpers.start(fails).join()
    assert [str(one.exc_value) for one in told] == ["no"]
    helpers.start(lambda: told.append(None)).join()
    assert told[-1] is None
