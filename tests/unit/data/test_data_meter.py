"""What a transfer's meter tells, and the form in which it travels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.data.meter import Meter
from penstock.progress import Progress, together


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_it_tells_nothing_while_nothing_moves(clock):
    meter = Meter(clock=clock)
    assert meter.read() is None
    with meter.moving("download"):
        assert meter.is_moving
    assert not meter.is_moving
    assert meter.read() is None


def test_a_transfer_from_its_listing_to_its_end(clock):
    told = []
    meter = Meter(lambda: told.append(meter.is_moving), clock)
    with meter.moving("download"):
        assert told == [True]
        assert meter.read() == Progress("download", 0, 0)
        meter.expect(4, 4000)
        clock.now += 2
        meter.add(500)
        meter.add(500, objects=1)
        assert meter.read() == Progress("download", 1, 1000, 4, 4000, 500.0)
        assert meter.read().seconds_left == 6.0
    with meter.moving("upload"):
        assert meter.read() == Progress("upload", 0, 0)


def test_the_rate_is_that_of_the_last_seconds(clock):
    meter = Meter(clock=clock)
    with meter.moving("upload"):
        meter.add(1_000_000)
        for _ in range(20):
            clock.now += 1
            meter.add(10)
            rate = meter.read().bytes_per_second
        assert rate == pytest.approx(10)


def test_lines_for_people():
    assert str(Progress("upload", 1200, 5 << 20)) == "Uploading outputs: 1,200 objects, 5.0 MiB"
    assert str(Progress("download", 1, 1 << 20, 4, 4 << 20, 1 << 20)) == (
        "Downloading inputs: 1 of 4 objects, 1.0 MiB of 4.0 MiB (25%), 1.0 MiB/s, 3 s left"
    )
    assert "(100%)" in str(Progress("download", 0, 0, 0, 0))


counts = st.integers(0, 1 << 50)


@given(
    st.builds(
        Progress,
        st.sampled_from(["download", "upload"]),
        counts,
        counts,
        st.none() | counts,
        st.none() | counts,
        st.none() | st.floats(0, 1e12),
    )
)
def test_what_travels_is_what_arrives(progress):
    assert Progress.from_json(progress.to_json()) == progress
    assert str(progress)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"way": "sideways", "objects": 1, "bytes": 1},
        {"way": "upload", "objects": 1},
        {"way": "upload", "objects": True, "bytes": 1},
        {"way": "upload", "objects": -1, "bytes": 1},
        {"way": "upload", "objects": 1, "bytes": "1"},
        {"way": "upload", "objects": 1, "bytes": 1, "bytes_per_second": "fast"},
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(ValueError, match=r"not a transfer|could not convert"):
        Progress.from_json(data)


def test_instances_are_summed_and_what_is_unknown_of_one_is_unknown_of_all():
    one = Progress("download", 1, 10, 2, 20, 5.0)
    assert together([one, one]) == Progress("download", 2, 20, 4, 40, 10.0)
    assert together([one, Progress("download", 0, 0)]) == Progress("download", 1, 10)
    assert together([one, Progress("upload", 7, 7)]) == one
    assert together([]) is None
