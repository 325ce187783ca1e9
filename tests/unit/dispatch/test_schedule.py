"""Who starts next: by order, room, fairness and patience."""

import random

from hypothesis import given
from hypothesis import strategies as st

from penstock.dispatch.schedule import PATIENCE_MS, is_whole, plan
from penstock.job.claim import Claim, Resources

MACHINE = Resources(cpus=8, memory=32, gpus=2, instances=100)


def claim(name, cpus=1, *, owner="me", at=0, priority=0, memory=0, gpus=0, instances=1):
    return Claim(f"{name}-uid", name, owner, Resources(cpus, memory, gpus, instances), at, priority)


def started(*args, **kwargs):
    return [one.name for one in plan(*args, **kwargs).start]


def test_first_come_first_served():
    waiting = [claim("c", 3, at=3), claim("a", 3, at=1), claim("b", 3, at=2)]
    assert started(MACHINE, [], waiting, 10) == ["a", "b"]


def test_every_resource_has_to_be_there():
    for short in ({"cpus": 9 - 1, "memory": 20}, {"gpus": 2}, {"instances": 90}):
        held = claim("holder", cpus=1, memory=20, gpus=1, instances=20)
        assert started(MACHINE, [held], [claim("x", **short)], 0) == []
        assert started(MACHINE, [], [claim("x", **short)], 0) == ["x"]


def test_the_higher_priority_goes_first():
    waiting = [claim("old", 8, at=1), claim("urgent", 8, at=5, priority=10)]
    assert started(MACHINE, [], waiting, 10) == ["urgent"]


def test_owners_share_whoever_came_first():
    many = [claim(f"mine-{n}", 1, at=n) for n in range(20)]
    theirs = [claim(f"theirs-{n}", 1, owner="other", at=100 + n) for n in range(20)]
    first = started(MACHINE, [], many + theirs, 200)
    assert len(first) == 8
    assert sum(name.startswith("mine") for name in first) == 4


def test_who_holds_much_waits_for_who_holds_little():
    holding = [claim("running", 6)]
    waiting = [claim("mine", 2, at=1), claim("theirs", 2, owner="other", at=2)]
    assert started(MACHINE, holding, waiting, 10) == ["theirs"]


def test_small_jobs_pass_a_big_one_for_a_while_only():
    holding = [claim("running", 4)]
    waiting = [claim("big", 8, at=0), claim("small", 1, at=1)]
    assert started(MACHINE, holding, waiting, PATIENCE_MS - 1) == ["small"]
    assert started(MACHINE, holding, waiting, PATIENCE_MS) == []


def test_what_is_larger_than_the_machine_runs_alone():
    huge = claim("huge", 96, memory=400, gpus=8, instances=200)
    assert started(MACHINE, [], [huge], 0) == ["huge"]
    assert started(MACHINE, [claim("any")], [huge], 0) == []
    assert started(MACHINE, [huge], [claim("any")], 0) == []


def test_a_wait_says_what_is_missing_and_who_is_before():
    holding = [claim("running", 6, memory=30)]
    waiting = [claim("big", 4, memory=8, at=0), claim("next", 1, at=1)]
    big, following = plan(MACHINE, holding, waiting, PATIENCE_MS, explain=True).waits
    assert (big.position, big.missing, big.behind) == (1, Resources(cpus=2, memory=6), None)
    assert (following.position, following.missing, following.behind) == (2, Resources(), "big")


def test_ten_thousand_waiting_are_not_all_looked_at():
    waiting = [claim(str(n), 8, at=n) for n in range(10_000)]
    made = plan(MACHINE, [claim("running", 8)], waiting, 0)
    assert made.start == []
    assert len(made.waits) == 1


sizes = st.builds(
    Resources,
    st.integers(1, 12),
    st.integers(0, 40),
    st.integers(0, 3),
    st.integers(1, 4),
)
claims = st.lists(
    st.builds(
        Claim,
        st.uuids().map(str),
        st.just("job"),
        st.sampled_from("abc"),
        sizes,
        st.integers(0, 2 * PATIENCE_MS),
        st.integers(-1, 1),
    ),
    max_size=12,
    unique_by=lambda one: one.uid,
)


@given(claims, claims, st.integers(0, 3 * PATIENCE_MS), st.randoms())
def test_a_plan_fits_and_depends_on_no_order(holding, waiting, now, shuffler):
    made = plan(MACHINE, holding, waiting, now, explain=True)
    free = MACHINE
    for one in holding:
        free -= one.resources.of(MACHINE)
    for one in made.start:
        wanted = one.resources.of(MACHINE)
        assert wanted.within(free)
        free -= wanted
    assert sorted(one.uid for one in waiting) == sorted(
        [one.uid for one in made.start] + [one.claim.uid for one in made.waits]
    )
    assert [one.position for one in made.waits] == list(range(1, len(made.waits) + 1))
    mixed = random.Random(shuffler.random()).sample(waiting, len(waiting))
    assert plan(MACHINE, holding, mixed, now, explain=True) == made
    assert plan(MACHINE, holding, waiting, now).start == made.start
    if waiting and not holding:
        assert made.start, "an idle machine starts something"


@given(claims, claims, st.integers(0, 3 * PATIENCE_MS), st.integers(1, 3))
def test_the_heads_of_all_lines_are_enough_where_that_is_said(holding, waiting, now, first):
    lines = {}
    for one in sorted(waiting, key=lambda one: (one.created_at, one.uid)):
        lines.setdefault((one.engine, one.priority, one.owner), []).append(one)
    heads = [one for line in lines.values() for one in line[:first]]
    made = plan(MACHINE, holding, heads, now)
    if is_whole(made, heads, heads, first):
        assert made.start == plan(MACHINE, holding, waiting, now).start
    else:
        assert len(heads) < len(waiting) or first in map(len, lines.values())


def test_the_one_for_whom_there_is_no_room_need_not_have_others_behind_it():
    waiting = [claim("next", 8, at=1), claim("later", 8, at=2)]
    made = plan(MACHINE, [], waiting, 10)
    assert started(MACHINE, [], waiting, 10) == ["next"]
    assert is_whole(made, waiting, waiting, 2)
    assert not is_whole(plan(MACHINE, [], waiting[:1], 10), waiting[:1], waiting[:1], 1)


@given(claims)
def test_everybody_comes_to_their_turn(waiting):
    """Every job runs for two turns, and new small ones of the lowest priority arrive for ever."""
    left = {one.uid: one for one in waiting}
    before, running, now = [], [], 2 * PATIENCE_MS
    for turn in range(6 * len(waiting) + 20):
        now += PATIENCE_MS // 4
        fresh = [claim(f"new-{turn}-{n}", 1, at=now, priority=-1) for n in range(8)]
        made = plan(MACHINE, [*before, *running], [*left.values(), *fresh], now)
        for one in made.start:
            left.pop(one.uid, None)
        before, running = running, made.start
    assert not left
