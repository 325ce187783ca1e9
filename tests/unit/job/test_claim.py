"""What jobs ask for, in numbers and in words."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.job.claim import Resources, priority_of, resources_of, too_large

GIB = 1 << 30


def request(kind, count=1):
    return {"ProcessingResources": {"ClusterConfig": {"InstanceType": kind, "InstanceCount": count}}}


def test_an_instance_claims_what_its_type_has():
    assert resources_of(request("ml.m5.xlarge")) == Resources(4, 16 * GIB, 0, 1)
    assert resources_of(request("ml.g4dn.12xlarge", 2)) == Resources(96, 384 * GIB, 8, 2)
    assert resources_of(request("ml.unheard-of.large", 3)) == Resources(3, 0, 0, 3)
    assert resources_of({}) == Resources(1, 0, 0, 1)


def test_words():
    assert str(Resources(1, 0, 0, 1)) == "1 CPU"
    assert str(Resources(4, 3 * GIB // 2, 1, 2)) == "4 CPUs, 1.5 GiB of memory, 1 GPU, 2 instances"
    assert str(Resources()) == "nothing"
    assert too_large(Resources(4), Resources(4)) is None
    assert (
        too_large(Resources(0, 0, 1), Resources(4))
        == "The job asks for 1 GPU, and this machine has 4 CPUs to give."
    )


@given(st.integers(-100, 100))
def test_every_priority_can_be_said(number):
    assert priority_of({"penstock:priority": str(number)}) == number


counts = st.integers(0, 9)
resources = st.builds(Resources, counts, counts, counts, counts)


@given(resources, resources)
def test_what_does_not_fit_takes_all(wanted, capacity):
    taken = wanted.of(capacity)
    assert taken.within(capacity)
    assert taken == (wanted if wanted.within(capacity) else capacity)
    assert capacity - taken + taken == capacity
