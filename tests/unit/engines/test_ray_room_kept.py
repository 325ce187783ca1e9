"""Room in a cluster that a server finds again, and what it shows of those that wait. The cluster's end is a script."""

from concurrent.futures import Future

import pytest

from penstock.engines.ray.engine import RayEngine
from penstock.engines.ray.nodes import Node, Seat
from penstock.job.claim import Claim, Resources

ROOM = Resources(4, 1 << 34, 0, 4)
WANTED = Resources(2, 1 << 30, 0, 1)


class Asked:
    """Takes questions, and answers when a test says so."""

    def __init__(self):
        self.open = []

    def ask(self, what, *arguments):
        self.open.append((what, arguments[0], Future()))
        return self.open[-1][2]

    @property
    def names(self):
        return [(what, job) for what, job, _ in self.open]

    def answer(self, value=None):
        _, _, future = self.open.pop(0)
        future.set_result(value)

    def close(self):
        pass


@pytest.fixture
def engine(tmp_path):
    made = RayEngine(tmp_path, "server", "auto", True, lambda: None, autoscaler=True)
    made._link._helper, made._link.away = Asked(), None
    made._link.nodes = [Node("n2", "10.0.0.2", ROOM, ROOM)]
    return made


def kept(engine, node):
    """What a server that has ended left of a job's room."""
    engine._kept.keep_seats("j", [Seat("j", 0, node, "10.0.0.9")])


def test_room_on_a_node_that_ended_while_no_server_was_there_is_given_back_and_asked_for_anew(engine):
    kept(engine, "n1")
    assert not engine.reserve("j", WANTED).ready
    assert engine._link._helper.names == [("cancel", "j")]
    engine._link._helper.answer()
    assert not engine.reserve("j", WANTED).ready
    assert engine._link._helper.names == [("reserve", "j")]
    engine._link._helper.answer([Seat("j", 0, "n2", "10.0.0.2")])
    assert engine.reserve("j", WANTED).ready


def test_what_begins_in_room_that_was_found_again_is_not_swept_by_who_looked_before(engine):
    kept(engine, "n2")
    engine._owed = set()
    assert engine.reserve("j", WANTED).ready
    assert "j" in engine._rooms.fresh
    engine.cancel("j")
    assert "j" not in engine._rooms.fresh


def wants(engine, *names):
    engine.want(lambda: [Claim(name, name, "", WANTED, 0) for name in names])


def test_what_is_still_to_be_shown_is_withdrawn_after_that(engine):
    wants(engine, "j")
    wants(engine, "k")
    assert engine._link._helper.names == [("show", "j")], "the helper does things side by side"
    engine._link._helper.answer()
    assert sorted(engine._link._helper.names) == [("cancel", "j"), ("show", "k")]


def test_a_server_that_ends_asks_for_no_more_nodes(engine):
    wants(engine, "j")
    asked = engine._link._helper
    asked.answer()
    asked.ask = lambda what, job: (asked.open.append((what, job, None)), done())[1]
    engine.close()
    assert asked.names == [("cancel", "j")]


def test_a_server_that_ends_leaves_the_room_of_a_job_that_has_begun(engine):
    wants(engine, "j")
    engine._link._helper.answer()
    kept(engine, "n2")
    engine.close()
    assert engine._link._helper.names == []


def done():
    future = Future()
    future.set_result(None)
    return future
