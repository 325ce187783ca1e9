"""A start of a runner that the cluster does not answer: the job goes on with what its node tells afterwards.

The engine is real, and so is the helper process; what is at its other end is told here what to answer.
"""

import sys
import textwrap

import pytest
from engine_runs import run_of
from patience import until

from penstock.config import Settings
from penstock.engines.base import Life
from penstock.engines.ray import link
from penstock.engines.ray.engine import RayEngine
from penstock.engines.ray.helper import Helper
from penstock.errors import InternalFailure
from penstock.job.claim import Resources

#: A node whose door is late: `ADDRESS` says which starts are answered, and whether those that are not have been made.
_DRIVER = """
    import sys
    from multiprocessing.connection import Connection
    from penstock.engines.base import Life
    from penstock.engines.ray.nodes import Node, Seat
    from penstock.job.claim import Resources
    connection = Connection(int(sys.argv[1]))
    starts = sys.argv[2].split(",")
    all_of_it = Resources(8, 1 << 36, 0, 8)
    alive = False
    def start():
        global alive
        how = starts.pop(0)
        alive = alive or how != "lost"
        if how != "answered":
            raise TimeoutError("Penstock does not answer there within 20 s")
    answers = {
        "nodes": lambda: [Node("n", "10.0.0.1", all_of_it, all_of_it, True, "n")],
        "reserve": lambda job, wanted, *_: [Seat(job, n, "n", "10.0.0.1", ()) for n in range(wanted.count)],
        "ask": lambda seat, what, *_: start() if what == "start" else None,
        "probe": lambda *_: Life.ALIVE if alive else Life.NEVER_STARTED,
        "jobs": set,
    }
    connection.send((0, None, None))
    while True:
        number, what, arguments = connection.recv()
        try:
            connection.send((number, answers.get(what, lambda *_: None)(*arguments), None))
        except TimeoutError as error:
            connection.send((number, None, str(error)))
"""


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """Makes an engine with a run that may be started; `starts` tells how each start goes."""
    (tmp_path / "late_driver.py").write_text(textwrap.dedent(_DRIVER))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    monkeypatch.setattr(link, "Helper", lambda _, *arguments: Helper("late_driver", *arguments))
    made = []

    def begin(starts):
        engine = RayEngine(tmp_path / "cluster", "server", starts, reachable=True, changed=lambda: None)
        made.append(engine)
        engine.warm_up()
        until(lambda: engine.reserve("j-1", Resources(4, 1 << 32, 0, 2)).ready)
        return engine, engine.prepare(run_of(Settings.read(), "algo-1", "echo hello"))

    yield begin
    for engine in made:
        engine.close()


def test_one_that_was_made_all_the_same_is_the_runner(begun):
    engine, handle = begun("made,answered")
    engine.start(handle)
    assert engine.probe(handle) is Life.ALIVE


def test_one_that_was_not_made_is_made_again(begun):
    engine, handle = begun("lost,answered")
    engine.start(handle)
    assert engine.probe(handle) is Life.NEVER_STARTED
    engine.start(handle)
    assert engine.probe(handle) is Life.ALIVE


def test_one_that_comes_to_be_while_it_is_made_again_is_no_failure(begun):
    engine, handle = begun("made,answered")
    engine.start(handle)
    engine.start(handle)
    assert engine.probe(handle) is Life.ALIVE


def test_a_second_one_without_an_answer_is_a_failure_that_says_so(begun):
    engine, handle = begun("lost,lost")
    engine.start(handle)
    with pytest.raises(InternalFailure, match=r"The runner of algo-1 .* does not answer there within 20 s"):
        engine.start(handle)
