import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook
from penstock.testing.simulation import Fault, Plan, Wish, draw, run, shrink
from penstock.testing.simulation.__main__ import failing, report, search
from penstock.testing.simulation.plan import (
    AT_CALL,
    AT_FORGET,
    AT_MACHINE,
    AT_MESSAGE,
    AT_PREPARE,
    AT_START,
    AT_STEP,
    AT_TIME,
)

#: How many seeds each run of the tests tries; `make simulate` tries more.
SEEDS = 3000
BATCH = 500

ONE_JOB = Plan(1, wishes=(Wish(10, "create", "a", run_ms=500),))


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_every_seed_keeps_all_promises(first):
    broken = failing(first, BATCH)
    assert not broken, "\n" + report(shrink(run(draw(broken[0]))))


def test_a_job_goes_its_way():
    words = "\n".join(run(ONE_JOB).trace)
    places = [
        words.index(w)
        for w in ("add_hosts a.1", "algo-1 starts", "a.1 running", "a.1 completed", "forget a.1")
    ]
    assert places == sorted(places)


def digests(seeds):
    return [hashlib.sha256("\n".join(run(draw(seed)).trace).encode()).hexdigest() for seed in seeds]


def test_a_seed_replays_to_the_byte_also_in_another_process():
    """Whatever the order of its sets, and whatever ran before."""
    code = "import json, test_simulation as t; print(json.dumps(t.digests(range(60))))"
    told = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code],
                check=True,
                capture_output=True,
                timeout=120,
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(__file__)},
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] == digests(reversed(range(60)))[::-1]


@pytest.mark.parametrize("seed", [2, 3, 5, 8, 13, 21])
def test_on_the_real_store_a_seed_goes_the_same_way(tmp_path, seed):
    """So the store in memory is true to it, and what holds on one holds on the other."""
    store = open_sqlite(tmp_path / "p.db")
    plan = replace(draw(seed), servers=1, cluster=False)  # a real database has a clock of its own
    real = run(plan, store, FileLogbook(tmp_path / "logs"))
    store.close()
    assert real.trace == run(plan).trace
    assert real.violation is None


def test_everything_that_can_go_wrong_does_and_jobs_end_in_every_way():
    """Else the seeds would prove nothing."""
    seen, rare = Counter(), list(SHOWN)
    for seed in range(2000):  # a few hundred do, but which ones do changes with every call more or less
        text = "\n".join(run(draw(seed)).trace)
        seen.update(word for word in SHOWN if SHOWN[word] in text)
        rare = [word for word in rare if seen[word] < 3]
        if not rare:
            break
    assert rare == []


SHOWN = {
    **{kind: kind for kind in (*AT_START, *AT_PREPARE, *AT_FORGET, *AT_TIME, *AT_MACHINE)},
    **dict(
        zip(
            AT_CALL,
            ("crashes before", "crashes after", "fails\n", "fails after it was done", "is slow before"),
            strict=True,
        )
    ),
    **dict(zip(AT_MESSAGE, (" is lost", "the reply to", "will come twice", "will come late"), strict=True)),
    AT_STEP[0]: "is killed",
    "completed": " completed v",
    "failed": " failed v",
    "stopped": " stopped v",
    "stopping": " stopping v",
    "deleted": " delete_job",
    "name in use": "exists.",
    "unheard": "no answer",
    "saved outputs": ": failed",
    "lost run": "v2",
    "another attempt": "algo-1.2: ",
    "lease over": "gives up",
    "given up": "end_lapsed",
}


def test_chance_of_one_thing_is_not_that_of_another():
    """What is left out of a plan changes nothing but what follows from it."""
    calm = run(ONE_JOB).trace
    late = run(replace(ONE_JOB, faults=(Fault("clock jumps", 400, 5000),))).trace
    assert [line for line in late if "clock" not in line] == list(calm)


def test_a_plan_that_fails_is_made_small(monkeypatch):
    """A runner is killed and nobody looks; of a dozen wishes and faults two are left."""
    monkeypatch.setattr("penstock.testing.simulation.world.World.knows", lambda *_: False)
    wishes = tuple(Wish(at, "create", f"job-{at}", run_ms=100) for at in (10, 20, 30, 40, 50))
    faults = (Fault("runner killed", 5), *(Fault("clock jumps", at, 7) for at in (100, 200, 300, 400)))
    found = run(Plan(3, wishes=wishes, faults=faults))
    assert found.violation.startswith("ends have true reasons")
    small = shrink(found)
    assert (len(small.plan.wishes), small.plan.faults) == (1, (Fault("runner killed", 5),))
    assert small.violation.startswith("ends have true reasons")
    assert "VIOLATED" in small.trace[-1]
    assert "runner killed (no. 5)" in report(small)


def test_the_search_tells_how_far_it_is_and_shows_what_it_finds(monkeypatch, capsys):
    assert search(3, 10) == 0
    assert "3 of 3 seeds" in capsys.readouterr().out
    monkeypatch.setattr("penstock.testing.simulation.invariants.OBJECTS", 3)  # forked processes inherit it
    assert search(300) > 0
    assert "VIOLATED  success means stored outputs" in capsys.readouterr().out
