"""``python -m penstock.engines.ray.driver FD ADDRESS SERVER``: the process that speaks to a Ray cluster.

It holds nothing that matters: placement groups and doors are detached, and found again by their names. It ends when the
other end of the connection `FD` is closed, that is with its server. What it is asked and answers says `helper.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
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
from penstock.engines.ray.door import Door, sweep
from penstock.engines.ray.nodes import Gang, Node, Seat
from penstock.errors import ConfigurationError
from penstock.job.claim import Resources

_NAMESPACE = "penstock"
#: Seconds: for Ray to place a gang that has room, for Penstock to be there on its nodes, for a door to answer, for a
#: door to tell whether a runner lives.
_PLACED, _THERE, _ANSWERED, _GLANCE = 1.0, 60.0, 20.0, 0.5
_ALIVE = 0  # of Ray's GcsNodeInfo.GcsNodeState


class Cluster:
    """What the server may ask for. Its methods run side by side."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._doors: dict[str, Any] = {}
        self._unanswered: dict[str, Any] = {}
        self._reserving = Lock()
        self._shown: str | None = None
        """The job whose group stays though it has no room, see `show`."""

    def nodes(self) -> list[Node]:
        """The living nodes that take work."""
        here = ray.get_runtime_context().get_node_id()
        free = _free()
        return [
            Node(
                one["NodeID"],
                one["NodeManagerAddress"],
                _resources(one["Resources"]),
                _resources(free.get(one["NodeID"], one["Resources"])),
                one["NodeID"] == here,
                one["NodeManagerHostname"],
            )
            for one in ray.nodes()
            if one["Alive"] and one["Resources"].get("CPU", 0) >= 1
        ]

    def reserve(
        self, job: str, wanted: Gang, spread: bool, kept: Sequence[str] = ()
    ) -> list[Seat] | str | None:
        """Room for all instances, with a door each; a text tells why their nodes can't, None that none is free.

        On the nodes `kept`, by their ids, it is others'.
        """
        bundle = _bundle(wanted.each)
        with self._reserving:  # one after the other: of two that ask at once, one may fit
            group = self._group(job, wanted, spread, kept)
            if not group.wait(_PLACED):
                if job != self._shown:
                    remove_placement_group(group)
                return None
        doors = [self._open(job, index, group, bundle) for index in range(wanted.count)]
        try:
            found = ray.get([door.node.remote() for door in doors], timeout=_THERE)
        except RayError as error:
            self.cancel(job)
            return _last_line(error)
        return [Seat(job, index, *where) for index, where in enumerate(found)]

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
        for one in ray.util.list_named_actors(all_namespaces=True):
            name = str(one["name"])
            if one["namespace"] == _NAMESPACE and name.startswith(self._name(job) + "/"):
                self._doors.pop(name, None)
                self._unanswered.pop(name, None)
                with suppress(ValueError):
                    ray.kill(ray.get_actor(name, _NAMESPACE))
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
        """Whether a runner lives; unknown where its door does not answer soon."""
        name = self._door_name(seat.job, seat.index)
        late = self._unanswered.pop(name, None)
        try:
            # An answer that came late tells of then; it only shows that there will be answers again.
            if late is not None and not ray.wait([late], timeout=0)[0]:
                self._unanswered[name] = late
                return Life.UNKNOWN
            asked = self._door(seat).probe.remote(handle)
            if not ray.wait([asked], timeout=_GLANCE)[0]:
                self._unanswered[name] = asked
                return Life.UNKNOWN
            answer: Life = ray.get(asked)
        except RayActorError:
            self._doors.pop(name, None)
            return Life.UNKNOWN
        return answer

    def ask(self, seat: Seat, what: str, *arguments: Any) -> Any:
        """Have the door of an instance do something, and return its answer."""
        try:
            return ray.get(getattr(self._door(seat), what).remote(*arguments), timeout=_ANSWERED)
        except RayActorError:  # it has died; another one is made
            self._doors.pop(self._door_name(seat.job, seat.index), None)
            return ray.get(getattr(self._door(seat), what).remote(*arguments), timeout=_ANSWERED)

    def sweep(self, keep: set[str]) -> None:
        """Have all nodes remove what runs have left that are not to be kept; a node that is away does it later."""
        asked = [
            ray.remote(sweep)
            .options(num_cpus=0, max_retries=0, scheduling_strategy=_on(node.id))
            .remote(self._server, keep)
            for node in self.nodes()
        ]
        done, late = ray.wait(asked, num_returns=len(asked), timeout=_ANSWERED) if asked else ([], [])
        for one in late:
            ray.cancel(one, force=True)
        for one in done:
            with suppress(RayError):
                ray.get(one)

    def _door(self, seat: Seat) -> Any:
        """The door of an instance, made again on its node where it has died; the placement group has the room."""
        name = self._door_name(seat.job, seat.index)
        if name not in self._doors:
            self._doors[name] = self._make(name, num_cpus=0, scheduling_strategy=_on(seat.node))
        return self._doors[name]

    def _open(self, job: str, index: int, group: PlacementGroup, bundle: dict[str, float]) -> Any:
        name = self._door_name(job, index)
        where = PlacementGroupSchedulingStrategy(group, index)
        self._doors[name] = self._make(
            name,
            num_cpus=bundle["CPU"],
            num_gpus=bundle.get("GPU", 0),
            memory=bundle.get("memory", 0),
            scheduling_strategy=where,
        )
        return self._doors[name]

    def _make(self, name: str, **options: Any) -> Any:
        return (
            ray.remote(Door)
            .options(
                name=name,
                namespace=_NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                max_restarts=0,  # elsewhere it would know nothing of the run
                max_task_retries=0,
                **options,
            )
            .remote(self._server)
        )

    def _name(self, job: str) -> str:
        return f"penstock/{self._server}/{job}"

    def _door_name(self, job: str, index: int) -> str:
        return f"{self._name(job)}/{index}"


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


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _last_line(error: BaseException) -> str:
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
        send(0, None, _last_line(error))
        os._exit(1)
    cluster = Cluster(sys.argv[3])
    send(0, None, None)

    def answer(number: int, what: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            send(number, what(*arguments), None)
        except Exception as error:  # noqa: BLE001 - as above
            send(number, None, f"{type(error).__name__}: {_last_line(error)}")

    with ThreadPoolExecutor(32) as pool:
        while True:
            try:
                number, name, arguments = connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # an orderly end may wait for a cluster that is away
            pool.submit(answer, number, getattr(cluster, name), arguments)


if __name__ == "__main__":
    main()
