"""A helper process that hangs, errs, dies, or never was: whoever asks it has an answer in time."""

import os
import subprocess
import sys
import textwrap

import pytest

from penstock.engines.ray.helper import Helper, Unanswered

_HELPER = """
    import os, sys, time
    from multiprocessing.connection import Connection
    connection = Connection(int(sys.argv[1]))
    connection.send((0, None, None if sys.argv[2] == "ready" else "there is nobody"))
    while True:
        number, what, arguments = connection.recv()
        if what == "die":
            os._exit(7)
        if what == "echo":
            connection.send((number, arguments, None))
        if what == "fail":
            connection.send((number, None, "it went wrong"))
"""


@pytest.fixture
def helper(tmp_path, monkeypatch):
    (tmp_path / "a_helper.py").write_text(textwrap.dedent(_HELPER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = []

    def start(*arguments):
        made.append(Helper("a_helper", *arguments))
        return made[-1]

    yield start
    for one in made:
        one.close()
        one.ended.wait(30)


def test_answers_come_to_whoever_asked(helper):
    one = helper("ready")
    one.ready(30)
    late = one.ask("nothing comes of it")
    assert [one.call("echo", n, timeout=30) for n in range(3)] == [(0,), (1,), (2,)]
    assert not late.done()
    with pytest.raises(Unanswered, match="it went wrong"):
        one.call("fail", timeout=30)
    with pytest.raises(Unanswered, match="does not answer within 0 s"):
        one.call("nothing comes of it", timeout=0.01)


def test_its_end_is_an_answer_to_all(helper):
    one = helper("ready")
    late = one.ask("nothing comes of it")
    with pytest.raises(Unanswered, match="exit code 7"):
        one.call("die", timeout=30)
    assert isinstance(late.exception(30), Unanswered)
    with pytest.raises(Unanswered, match="exit code 7"):
        one.call("echo", timeout=30)


def test_one_that_can_not_be_used_says_why(helper):
    with pytest.raises(Unanswered, match="there is nobody"):
        helper("lacks something").ready(30)


def test_nobody_loads_ray_who_does_not_use_it():
    code = (
        "import sys, penstock.server, penstock.cli.main, penstock.engines.ray.engine, penstock.runner.main\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=dict(os.environ))
