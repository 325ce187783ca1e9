"""Which waiting job a cluster's autoscaler is shown."""

from penstock.engines.ray.demand import TURN, Demand
from penstock.engines.ray.nodes import Gang
from penstock.job.claim import Resources

SMALL, LARGE = Gang(Resources(1, 0, 0, 1), 1), Gang(Resources(1, 0, 0, 1), 9)


class Shown:
    def __init__(self):
        self.now = []
        self.demand = Demand(lambda uid, gang: self.now.append((uid, gang)), self.withdraw)

    def withdraw(self, uid):
        self.now = [one for one in self.now if one[0] != uid]

    def after(self, *waiting, at=0.0):
        self.demand.follow(list(waiting), at)
        return self.now


def test_the_next_one_alone_is_shown_and_nobody_when_nobody_waits():
    shown = Shown()
    assert shown.after(("a", LARGE), ("b", SMALL)) == [("a", LARGE)]
    assert shown.after(("a", LARGE), ("b", SMALL)) == [("a", LARGE)], "once"
    assert shown.demand.shown() == {"a"}
    assert shown.after(("urgent", SMALL), ("a", LARGE)) == [("urgent", SMALL)]
    assert shown.after(("b", SMALL)) == [("b", SMALL)]
    assert shown.after() == []
    assert shown.demand.shown() == set()


def test_whom_no_node_comes_for_gives_its_turn_to_the_others_and_has_it_again():
    shown = Shown()
    both = ("never", LARGE), ("b", SMALL)
    assert shown.after(*both) == [("never", LARGE)]
    assert shown.after(*both, at=TURN - 1) == [("never", LARGE)]
    assert shown.after(*both, at=TURN) == [("b", SMALL)]
    assert shown.after(*both, at=2 * TURN) == [("never", LARGE)]
    assert shown.after(("never", LARGE), at=9 * TURN) == [("never", LARGE)], "nobody else waits"


def test_what_a_job_wants_now_is_shown_when_what_it_wanted_is_withdrawn():
    shown = Shown()
    shown.after(("a", SMALL))
    assert shown.after(("a", LARGE)) == []
    assert shown.after(("a", LARGE)) == [("a", LARGE)]


def test_it_is_shown_again_to_whom_it_was_not():
    shown = Shown()
    shown.after(("a", SMALL))
    shown.demand.forgotten()
    assert shown.demand.shown() == {"a"}
    assert shown.after(("a", SMALL)) == [("a", SMALL), ("a", SMALL)]
