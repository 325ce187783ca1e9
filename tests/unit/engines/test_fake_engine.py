import pytest

from penstock.engines.base import Life
from penstock.job.events import HostEvent
from penstock.job.run import Run, S3Access
from penstock.testing.engines import EngineSuite
from penstock.testing.fake_engine import FakeEngine


def make(host, *, short):
    s3 = S3Access(None, "us-east-1")
    return Run(
        "j", "j-1", "arn", host, ("algo-1", "algo-2"), {"short": short}, "r", "t", "http://x", None, s3, "/e"
    )


def fake():
    """A fake whose short runs end at once, and the long ones when they are stopped."""

    def die(run):
        run.life = Life.DEAD

    def begin(run):
        if run.run.request["short"]:
            run.left = [HostEvent(1, "ended", 1, {"outcome": "succeeded"})]
            run.log = b"1 hello\n"
            die(run)

    made = FakeEngine()
    made.on_start, made.on_stop = begin, die
    return made


class TestFakeEngine(EngineSuite):
    @pytest.fixture
    def engine(self):
        return fake()

    @pytest.fixture
    def long_run(self):
        return lambda host: make(host, short=False)

    @pytest.fixture
    def short_run(self):
        return lambda host: make(host, short=True)
