"""``python -m penstock.engines.ray.driver FD ADDRESS SERVER``: the process that speaks to a Ray cluster.

It holds nothing that matters: placement groups are detached and found again by their names, and doors, which end with
it, are made again. It ends when the other end of the connection `FD` is closed, that is with its server. What it is
asked and answers says `helper.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from penstock.engines.base import Life
from penstock.engines.ray.door import Door, cards
from penstock.engines.ray.nodes import Gang, Node, Seat
from penstock.errors import ConfigurationError
from penstock.job.claim import Resources

_NAMESPACE = "penstock"
#: Seconds: for Ray to place a gang that has room, for Penstock to be there on its nodes, for a door to answer, for a
#: door to tell whether a runner lives.
_PLACED, _THERE, _ANSWERED, _GLANCE = 1.0, 60.0, 20.0, 0.5
#: Seconds in which a node has tidied up, or goes on with it untold.
_TIDIED = 50.0
_NOT_SOON = f"it has not done so within {_TIDIED:.0f} s, and goes on with it"
#: How much a door does side by side: where it removes a large folder, others are still told what they ask.
_AT_ONCE = 16
_ALIVE = 0  # of Ray's GcsNodeInfo.GcsNodeState


class Cluster:
    """What the server may ask for. Its methods run side by side."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._doors: dict[str, Any] = {}
        """By the ids of nodes."""
        self._unanswered: dict[str, Any] = {}
        self._opening = Lock()
        self._reserving = Lock()
        self._shown: str | None = None
        """The job whose group stays though it has no room, see `show`."""

    def nodes(self) -> list[Node]:
        """The living nodes that take work. Each has a door from when it is seen first.

        Raises:
            ConfigurationError: The node by which this speaks to the cluster is none any more. What is asked of doors
                would wait for ever; whoever connects anew speaks by another.
        """
        here = ray.get_runtime_context().get_node_id()
        free = _free()
        alive = [one for one in ray.nodes() if one["Alive"]]
        if here not in {one["NodeID"] for one in alive}:
            raise ConfigurationError("Ray has ended on the node that connects to it.")
        found = [
            Node(
                one["NodeID"],
                one["NodeManagerAddress"],
                _resources(one["Resources"]),
                _resources(free.get(one["NodeID"], one["Resources"])),
                one["NodeID"] == here,
                one["NodeManagerHostname"],
            )
            for one in alive
            if one["Resources"].get("CPU", 0) >= 1
        ]
        there = {node.id for node in found}
        for gone in set(self._doors) - there:
            self._doors.pop(gone, None)
        for node in there:
            self._door(node)
        return found

    def reserve(
        self, job: str, wanted: Gang, spread: bool, kept: Sequence[str] = ()
    ) -> list[Seat] | str | None:
        """Room for all instances, where Penstock answers; a text tells why it does not, None that no room is free.

        On the nodes `kept`, by their ids, it is others'.
        """
        bundle = _bundle(wanted.each)
        with self._reserving:  # one after the other: of two that ask at once, one may fit
            group = self._group(job, wanted, spread, kept)
            if not group.wait(_PLACED):
                if job != self._shown:
                    remove_placement_group(group)
                return None
        placed = placement_group_table(group)["bundles_to_node_id"]
        nodes = [placed[index] for index in range(wanted.count)]
        each = list(dict.fromkeys(nodes))
        try:
            addresses = dict(
                zip(
                    each, ray.get([self._door(n).address.remote() for n in each], timeout=_THERE), strict=True
                )
            )
            cards = _cards(group, bundle, wanted.count)
        except RayError as error:
            for node in each:
                self._doors.pop(node, None)
            self.cancel(job)
            return last_line(error)
        return [Seat(job, n, node, addresses[node], cards[n]) for n, node in enumerate(nodes)]

    def show(self, job: str, wanted: Gang, spread: bool) -> None:
        """Have Ray know that a job wants room, which its autoscaler makes nodes for, until it is cancelled.

        The room may be there at any time then: `reserve` finds it. One job at a time is shown.
        """
        with self._reserving:
            self._shown = job
            self._group(job, wanted, spread)

    def _group(self, job: str, wanted: Gang, spread: bool, kept: Sequence[str] = ()) -> PlacementGroup:
        """The placement group of a job, made where there is none."""
        with suppress(ValueError):
            found: PlacementGroup = get_placement_group(self._name(job))
            return found
        avoid = {"ray.io/node-id": f"!in({','.join(kept)})"} if kept else {}
        made: PlacementGroup = placement_group(
            [_bundle(wanted.each)] * wanted.count,
            strategy="STRICT_SPREAD" if spread else "SPREAD",
            name=self._name(job),
            lifetime="detached",
            bundle_label_selector=[avoid] * wanted.count if kept else None,
        )
        return made

    def cancel(self, job: str) -> None:
        """Give back a job's room. Runners that live go on."""
        if self._shown == job:
            self._shown = None
        with suppress(ValueError):
            remove_placement_group(get_placement_group(self._name(job)))

    def jobs(self) -> set[str]:
        """The jobs of this server that have room."""
        mine = self._name("")
        return {
            group["name"].removeprefix(mine)
            for group in placement_group_table().values()
            if group["name"].startswith(mine) and group["state"] != "REMOVED"
        }

    def probe(self, seat: Seat, handle: str) -> Life:
        """Whether a runner lives; unknown where the door of its node does not answer soon."""
        late = self._unanswered.pop(handle, None)
        try:
            # An answer that came late tells of then; it only shows that there will be answers again.
            if late is not None and not ray.wait([late], timeout=0)[0]:
                self._unanswered[handle] = late
                return Life.UNKNOWN
            asked = self._door(seat.node).probe.remote(handle)
            if not ray.wait([asked], timeout=_GLANCE)[0]:
                self._unanswered[handle] = asked
                return Life.UNKNOWN
            answer: Life = ray.get(asked)
        except RayActorError:
            self._doors.pop(seat.node, None)
            return Life.UNKNOWN
        return answer

    def ask(self, seat: Seat, what: str, *arguments: Any) -> Any:
        """Have the door of an instance's node do something, and return its answer. Once more where the door dies."""
        try:
            return ray.get(getattr(self._door(seat.node), what).remote(*arguments), timeout=_ANSWERED)
        except RayActorError:  # it may have done it before it died, which changes nothing for the next
            self._doors.pop(seat.node, None)
            return ray.get(getattr(self._door(seat.node), what).remote(*arguments), timeout=_ANSWERED)

    def sweep(self, keep: set[str]) -> None:
        """Have all nodes remove what runs have left that are not to be kept; a node that is away does it later."""
        asked = [self._door(node.id).sweep.remote(keep) for node in self.nodes()]
        done, _ = ray.wait(asked, num_returns=len(asked), timeout=_ANSWERED) if asked else ([], [])
        for one in done:
            with suppress(RayError):
                ray.get(one)

    def tidy(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What each node tells that has tidied up, by its address."""
        told: dict[str, Any] = {}
        waits = {self._door(node.id).tidy.remote(asked): node for node in self.nodes()}
        done, _ = ray.wait(list(waits), num_returns=len(waits), timeout=_TIDIED) if waits else ([], [])
        for answer, node in waits.items():
            try:
                told[node.address] = ray.get(answer) if answer in done else {"failed": _NOT_SOON}
            except RayError as error:
                self._doors.pop(node.id, None)
                told[node.address] = {"failed": last_line(error)}
        return told

    def _door(self, node: str) -> Any:
        """The door of a node, made again where it has died."""
        with self._opening:
            if node not in self._doors:
                self._doors[node] = (
                    ray.remote(Door)
                    .options(
                        num_cpus=0,
                        max_restarts=0,
                        max_task_retries=0,
                        max_concurrency=_AT_ONCE,
                        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                    )
                    .remote(self._server)
                )
            return self._doors[node]

    def _name(self, job: str) -> str:
        return f"penstock/{self._server}/{job}"


def _cards(group: PlacementGroup, bundle: dict[str, float], count: int) -> list[tuple[int, ...]]:
    """Which graphics cards each bundle has: what takes all of them is told so, and they stay the bundle's."""
    if "GPU" not in bundle:
        return [()] * count
    asked = [
        ray.remote(cards)
        .options(
            num_cpus=0,
            num_gpus=bundle["GPU"],
            max_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, n),
        )
        .remote()
        for n in range(count)
    ]
    return [tuple(told) for told in ray.get(asked, timeout=_THERE)]


def connect(address: str) -> None:
    """Join the cluster at `address`: by its client server (``ray://``), or as a process of this node.

    Raises:
        ConfigurationError: This machine is no node of it. Ray would abort the process.
    """
    if not address.startswith("ray://"):
        _check_node(address)
    ray.init(address, namespace=_NAMESPACE, log_to_driver=False, configure_logging=False)


def _check_node(address: str) -> None:
    try:
        from ray._private.services import canonicalize_bootstrap_address  # noqa: PLC0415 - not for everybody
        from ray._raylet import GcsClient  # type: ignore[attr-defined]  # noqa: PLC0415 - compiled
    except ImportError:
        return  # a Ray that has it elsewhere: should it abort, this process alone ends
    where = canonicalize_bootstrap_address(address)
    if where is None:
        raise ConfigurationError(f"No Ray cluster is found at {address!r}. Set PENSTOCK_RAY_ADDRESS.")
    known = GcsClient(address=where).get_all_node_info(timeout=10).values()
    if not any(node.state == _ALIVE and Path(node.raylet_socket_name).exists() for node in known):
        raise ConfigurationError(
            f"This machine is no node of the Ray cluster at {where}. Join it with `ray start --address={where}`, or "
            "set PENSTOCK_RAY_ADDRESS to its client server, as in ray://HEAD:10001."
        )


def _free() -> dict[str, dict[str, float]]:
    """What is free on each node; nothing where this is no node: Ray's client can't tell."""
    try:
        from ray._private.state import available_resources_per_node  # noqa: PLC0415 - not for everybody
    except ImportError:
        return {}
    if ray.util.client.ray.is_connected():
        return {}
    return dict(available_resources_per_node())


def _resources(told: dict[str, float]) -> Resources:
    cpus = int(told.get("CPU", 0))
    return Resources(cpus, int(told.get("memory", 0)), int(told.get("GPU", 0)), cpus)


def _bundle(each: Resources) -> dict[str, float]:
    asked: Iterable[tuple[str, float]] = (("CPU", each.cpus), ("memory", each.memory), ("GPU", each.gpus))
    return {name: amount for name, amount in asked if amount}


def last_line(error: BaseException) -> str:
    """What an error of Ray's says: it begins with a traceback."""
    if isinstance(error, GetTimeoutError):
        return f"Penstock does not answer there within {_THERE:.0f} s"
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def main() -> None:
    """Connect, then answer until nobody asks any more."""
    connection = Connection(int(sys.argv[1]))
    lock = Lock()

    def send(*message: Any) -> None:
        with lock, suppress(OSError):
            connection.send(message)

    try:
        connect(sys.argv[2])
    except Exception as error:  # noqa: BLE001 - whatever it is, the server must be told
        send(0, None, last_line(error))
        os._exit(1)
    cluster = Cluster(sys.argv[3])
    send(0, None, None)

    def answer(number: int, what: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            send(number, what(*arguments), None)
        except Exception as error:  # noqa: BLE001 - as above
            send(number, None, f"{type(error).__name__}: {last_line(error)}")

    with ThreadPoolExecutor(32) as pool:
        while True:
            try:
                number, name, arguments = connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # an orderly end may wait for a cluster that is away
            pool.submit(answer, number, getattr(cluster, name), arguments)


if __name__ == "__main__":
    main()
