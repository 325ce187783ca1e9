"""What fits on which nodes of a cluster, and the words for what does not."""

import pytest

from penstock.engines.ray.nodes import Gang, Node, gang, lacking, refused, room, spreads
from penstock.job.claim import Resources

GIB = 1 << 30


def node(name, cpus, gib, gpus=0, free=None):
    total = Resources(cpus, gib * GIB, gpus, cpus)
    return Node(name, "10.0.0.1", total, total if free is None else Resources(free, gib * GIB, gpus, free))


THREE = [node("a", 4, 16), node("b", 4, 16), node("c", 4, 16)]


@pytest.mark.parametrize(
    ("wanted", "each"),
    [
        (Resources(8, 32 * GIB, 0, 2), Resources(4, 16 * GIB, 0, 1)),
        # Larger than every node: all of one.
        (Resources(96, 384 * GIB, 0, 1), Resources(4, 16 * GIB, 0, 1)),
        (Resources(2, 64 * GIB, 0, 1), Resources(2, 16 * GIB, 0, 1)),
        (Resources(16, 32 * GIB, 2, 2), Resources(4, 16 * GIB, 0, 1)),
    ],
)
def test_an_instance_asks_for_its_part_but_for_no_more_than_a_node_has(wanted, each):
    assert gang(wanted, THREE) == Gang(each, wanted.instances)


def test_what_no_node_has_in_all_is_cut_to_the_one_that_has_most_of_it_cards_first():
    nodes = [node("large", 64, 256), node("cards", 8, 64, gpus=4)]
    assert gang(Resources(48, 128 * GIB, 8, 1), nodes).each == Resources(8, 64 * GIB, 4, 1)
    assert gang(Resources(48, 128 * GIB, 0, 1), nodes).each == Resources(48, 128 * GIB, 0, 1)


def test_a_gang_larger_than_the_cluster_is_told_so():
    assert lacking(gang(Resources(12, 48 * GIB, 0, 3), THREE), THREE) is None
    assert lacking(gang(Resources(16, 64 * GIB, 0, 4), THREE), THREE) == (
        "needs room for 4 instances with 4 CPUs, 16 GiB of memory each; the cluster, with 3 nodes, is large enough for 3"
    )
    assert lacking(gang(Resources(2, GIB, 0, 1), []), []) == (
        "needs nodes, and the cluster has none that takes work"
    )


def test_a_gang_that_finds_no_room_just_now_is_told_for_how_many_there_is():
    busy = [node("a", 4, 16, free=1), node("b", 4, 16), node("c", 4, 16, free=0)]
    assert refused(Gang(Resources(2, 8 * GIB, 0, 1), 3), busy) == (
        "needs room for 3 instances with 2 CPUs, 8 GiB of memory each at once, and 2 would find it on 3 nodes"
    )
    assert "has just given it to others" in refused(Gang(Resources(2, 8 * GIB, 0, 1), 2), busy)


def test_each_has_a_node_of_its_own_where_so_many_are_large_enough():
    nodes = [node("a", 8, 32), node("b", 8, 32), node("small", 2, 4)]
    assert spreads(Gang(Resources(4, 16 * GIB, 0, 1), 2), nodes)
    assert not spreads(Gang(Resources(4, 16 * GIB, 0, 1), 3), nodes)
    assert room(Resources(4, 16 * GIB, 0, 1), [one.total for one in nodes]) == 4
