"""What fits on the nodes of a cluster, and the words for what does not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.job.claim import Resources, counted


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, as its head knows it."""

    id: str
    address: str
    """Its IP address, by which other nodes reach it."""
    total: Resources
    """What it announces. It takes as many instances as it has processors for."""
    free: Resources
    """What of it is not given out, to whomever; known with a delay."""
    driver: bool = False
    """Whether the server's helper is on it."""
    name: str = ""
    """Its host name."""


@dataclass(frozen=True)
class Seat:
    """Where an instance of a job is."""

    job: str
    index: int
    """From 0."""
    node: str
    """The node's id."""
    address: str
    """The node's IP address."""
    gpus: Sequence[int] = ()
    """The graphics cards that are the instance's."""


@dataclass(frozen=True)
class Gang:
    """What a job wants of the cluster: so many instances, all alike."""

    each: Resources
    count: int

    def __str__(self) -> str:
        """In words: ``2 instances with 4 CPUs, 16 GiB of memory each``."""
        return f"{counted(self.count, 'instance')} with {self.each}{' each' if self.count > 1 else ''}"


def gang(wanted: Resources, nodes: Sequence[Node]) -> Gang:
    """What a job asks for, as `job.claim.resources_of` sums it up; an instance asks no more than a node has.

    An instance larger than every node takes all of one: of that which has most of what it asks for, cards first.
    """
    count = max(1, wanted.instances)
    each = Resources(wanted.cpus // count, wanted.memory // count, wanted.gpus // count, 1)
    if nodes and not any(each.within(node.total) for node in nodes):
        each = max(
            (each.least(node.total) for node in nodes), key=lambda one: (one.gpus, one.cpus, one.memory)
        )
    return Gang(each, count)


def lacking(wanted: Gang, nodes: Sequence[Node]) -> str | None:
    """Why a gang would find no room if nothing else ran."""
    if not nodes:
        return "needs nodes, and the cluster has none that takes work"
    there = room(wanted.each, (node.total for node in nodes))
    if there >= wanted.count:
        return None
    return f"needs room for {wanted}; the cluster, with {counted(len(nodes), 'node')}, is large enough for {there}"


def refused(wanted: Gang, nodes: Sequence[Node]) -> str:
    """Why a gang has found no room just now."""
    free = room(wanted.each, (node.free for node in nodes))
    if (
        free >= wanted.count
    ):  # what is free is known with a delay, and counts nothing of who asks at the same time
        return f"needs room for {wanted} at once, and the cluster has just given it to others"
    return f"needs room for {wanted} at once, and {free} would find it on {counted(len(nodes), 'node')}"


def keep(wanted: Gang, nodes: Sequence[Node], before: frozenset[str] = frozenset()) -> frozenset[str]:
    """The ids of nodes that are large enough for a gang together: those of `before`, as long as they are.

    Else those that have the most room for it already. They must not change while others end there one after the other:
    who is let onto one of them again undoes what was waited for.
    """
    each = wanted.each
    large = sorted(
        (node for node in nodes if each.within(node.total)),
        key=lambda node: (-room(each, [node.free]), *(-amount for amount in node.free.amounts), node.id),
    )

    def enough(some: Sequence[Node]) -> bool:
        count = len(some) if spreads(wanted, nodes) else room(each, (node.total for node in some))
        return count >= wanted.count

    kept = [node for node in large if node.id in before]
    if len(kept) < len(before) or not enough(kept):
        kept = next((large[:n] for n in range(len(large) + 1) if enough(large[:n])), large)
    return frozenset(node.id for node in kept)


def spreads(wanted: Gang, nodes: Sequence[Node]) -> bool:
    """Whether each instance can have a node of its own."""
    return sum(wanted.each.within(node.total) for node in nodes) >= wanted.count


def room(each: Resources, rooms: Iterable[Resources]) -> int:
    """How many instances find room. Each asks for a processor at least."""
    return sum(
        max(
            0, min(there // wanted for wanted, there in zip(each.amounts, one.amounts, strict=True) if wanted)
        )
        for one in rooms
    )
