"""One server: the real dispatcher and the real functions of reports, stop and delete, over calls that may fail.

A crash is an exception that unwinds what the server does; the next life has a new dispatcher on the same store and
engine. Between any two calls anything else may happen (`meanwhile`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from penstock.api import processing
from penstock.api.admission import Admission
from penstock.api.context import Context
from penstock.api.reports import ReportRefused, known, take_events, take_lease, take_log, take_uploads
from penstock.dispatch.lease import Alone, Lease
from penstock.dispatch.loop import PROBE_SECONDS, Dispatcher
from penstock.errors import InternalFailure
from penstock.job.events import HostEvent
from penstock.job.life import Job, Phase
from penstock.job.run import Run, S3Access
from penstock.store.database import Store
from penstock.store.servers import Server as Entry
from penstock.testing.simulation.cluster import RUNNER_LEASE
from penstock.testing.simulation.faults import Crash, DiskError, StoreError, Surprise
from penstock.testing.simulation.plan import PATIENCE, Wish
from penstock.testing.simulation.runner import Refused
from penstock.testing.simulation.servers import LEASE
from penstock.wire.faults import Fault as WireFault

if TYPE_CHECKING:
    from penstock.testing.simulation.world import World

_WRITES = {
    "enter",
    "adopt",
    "save_job",
    "add_hosts",
    "add_jobs",
    "delete_job",
    "apply_events",
    "end_lapsed",
    "add",
    "append",
}
_TOLD = {
    "enter",
    "adopt",
    "save_job",
    "add_hosts",
    "delete_job",
    "prepare",
    "start",
    "stop",
    "forget",
    "sweep",
    "end_lapsed",
}
#: What an engine of one machine answers from memory, without anything that could fail.
_KNOWN = {"capacity", "lacking", "reserve", "cancel", "want"}


class Life:
    """A server's process, from its start to its death."""

    def __init__(self, world: World, name: str) -> None:
        self.alive = True
        self.name = name
        self._world = world
        self._stepping = False
        self._planned = 0
        self._again = False
        store = cast("Store", Calls(self, world, world.store, "store"))
        logbook = cast("Any", Calls(self, world, world.logbook, "logbook"))
        engine = cast("Any", EngineCalls(self, world, world.home_of(name), "engine"))
        self.held_up = False
        self._lease = self._take_lease(store) if world.plan.servers > 1 else None
        right = self._lease or (Alone(RUNNER_LEASE, self._elapsed) if world.plan.cluster else None)
        self._dispatcher = Dispatcher(
            store,
            logbook,
            engine,
            self._make_run,
            world.clock.wall,
            PATIENCE,
            right=right,
            retries=world.plan.retries,
            elapsed=self._elapsed,
        )
        self.context = Context(
            store,
            logbook,
            "eu-west-1",
            "1",
            world.clock.wall,
            self.wake,
            Admission(store.add_jobs),
            runner_ms=RUNNER_LEASE,
        )

    def _elapsed(self) -> float:
        return self._world.clock.true / 1000

    def _make_run(self, job: Job, host: str, hosts: tuple[str, ...], token: str) -> Run:
        return Run(
            job.name,
            job.uid,
            job.arn,
            host,
            hosts,
            job.request,
            "r",
            token,
            "http://x",
            None,
            S3Access(None, "eu-west-1"),
            "/e",
            leased=self._world.plan.cluster,
            attempt=job.attempt,
            spent=job.spent_ms / 1000,
        )

    def _take_lease(self, store: Store) -> Lease:
        """The real lease, but for its thread and its own clock, so that what holds is the database's word alone."""
        world = self._world
        me = Entry(self.name, f"http://{self.name}", "the machine", f"/{self.name}", world.capacity, {})
        lease = Lease(
            store.servers,
            me,
            LEASE,
            LEASE,
            reach=lambda one: cast("Any", Calls(self, world, world.home_of(one.id), "engine")),
            elapsed=lambda: 0.0,
        )
        lease.take()
        world.agenda.after(LEASE // 4, self._beat)
        return lease

    def _beat(self) -> None:
        if not self.alive:
            return
        assert self._lease is not None
        try:
            if not self.held_up:
                self._lease.beat()
        except Crash:
            return
        except Exception as error:  # noqa: BLE001 - as the lease's own loop does
            self._world.met(error)
        self._world.agenda.after(LEASE // 4, self._beat)

    def wake(self, *, soon: bool = True) -> None:  # noqa: ARG002 - nobody rests here
        """Something has changed: look at once."""
        if self._stepping:
            self._again = True
        else:
            self._plan(0)

    def _plan(self, milliseconds: int) -> None:
        self._planned += 1
        mine = self._planned
        self._world.agenda.after(milliseconds, lambda: self.look() if mine == self._planned else None)

    def look(self) -> None:
        """One pass of the dispatcher, as in its own loop."""
        if not self.alive or self._stepping:
            return
        self._stepping, self._again = True, False
        try:
            self._dispatcher.step()
        except Crash:
            return
        except Exception as error:  # noqa: BLE001 - as the dispatcher's own loop does
            self._world.met(error)
        finally:
            self._stepping = False
        self._plan(0 if self._again else int(PROBE_SECONDS * 1000))


class Server:
    """A server that is started again after each crash."""

    def __init__(self, world: World, name: str, chance: random.Random) -> None:
        self.name = name
        self._world = world
        self._chance = chance
        self._lives = 0
        self._life: Life | None = None

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._life is not None

    def boot(self) -> None:
        """Start it, if it is down."""
        if self._life is not None:
            return
        self._lives += 1
        self._world.trace(f"{self.name} starts")
        try:
            self._life = Life(self._world, self.name)
        except (Crash, StoreError, DiskError):  # it takes its lease before it does anything
            self._world.agenda.after(1000, self.boot)
            return
        self._life.wake()
        self._world.watch.all_on_record()

    def kill(self) -> None:
        """End it; it is started again after a while."""
        if self._life is None:
            return
        self._world.trace(f"{self.name} is killed")
        self._life.alive = False
        self._life = None
        self._world.agenda.after(self._chance.choice((1, 300, 4000)), self.boot)

    def look(self) -> None:
        """Have its dispatcher make a pass now."""
        if self._life is not None:
            self._life.look()

    # Requests

    def receive(self, uid: str, host: str, token: str, what: str, body: bytes) -> Mapping[str, Any]:
        """Take a runner's report as `api/posts.py` does."""
        path, _, query = what.partition("?offset=")

        def take(context: Context) -> Mapping[str, Any]:
            whose = known(context, uid, host, token)
            if path == "log":
                return take_log(context, whose, int(query), body)
            if path == "lease":
                return take_lease(context, whose, body)
            if path == "uploads":
                return take_uploads(context, whose, body)
            return take_events(context, whose, body)

        try:
            reply = self._do(take)
        except ReportRefused as refused:
            # As `runner/line.py` has it: where there are others, that one does not know a run tells nothing.
            plan, there = self._world.plan, f"{uid}/{host}" in self._world.engine.disks
            alone = plan.servers == 1 and not plan.cluster
            if refused.status == 410 or (refused.status in {403, 404} and (alone or not there)):
                raise Refused from refused
            raise ConnectionError(str(refused)) from refused
        if path == "events":
            self._world.watch.taken(uid, host, [HostEvent.from_json(e) for e in json.loads(body)["events"]])
        return reply

    def create(self, wish: Wish) -> Mapping[str, Any]:
        """Put a job on record, as `api/processing.py` does."""
        uid = self._world.new_uid(wish)
        at = self._world.clock.wall()
        request = {
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": wish.instances, "InstanceType": wish.kind}
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": wish.limit_s},
        }
        arn = f"arn:{wish.name}"
        job = Job(
            wish.name,
            uid,
            arn,
            request,
            at,
            at,
            phases={Phase.QUEUED.value: at},
            owner=wish.owner,
            priority=wish.priority,
        )

        def add(context: Context) -> Mapping[str, Any]:
            [conflict] = context.store.add_jobs([(job, {})])
            if conflict is not None:
                return {"refused": str(conflict)}
            context.wake()
            return {"uid": uid}

        return self._do(add)

    def stop(self, name: str) -> Mapping[str, Any]:
        """StopProcessingJob."""
        with self._world.stopping(name):
            return self._operate(lambda context: processing.stop(context, {"ProcessingJobName": name}))

    def delete(self, name: str) -> Mapping[str, Any]:
        """DeleteProcessingJob."""
        return self._operate(lambda context: processing.delete(context, {"ProcessingJobName": name}))

    def _operate(self, operation: Callable[[Context], None]) -> Mapping[str, Any]:
        def ask(context: Context) -> Mapping[str, Any]:
            try:
                operation(context)
            except WireFault as fault:
                return {"refused": str(fault)}
            return {}

        return self._do(ask)

    def _do(self, operation: Callable[[Context], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Raises ConnectionError when there is no answer that tells anything."""
        if self._life is None:
            raise ConnectionError(f"{self.name} is down")
        try:
            return operation(self._life.context)
        except Crash:
            raise ConnectionError(f"{self.name} has died meanwhile") from None
        except (StoreError, DiskError, Surprise) as error:
            raise ConnectionError(str(error)) from error


class Calls:
    """The store, engine or logbook as one life of a server sees it: each call may fail, or be the last."""

    def __init__(self, life: Life, world: World, inner: Any, label: str) -> None:
        self._life = life
        self._world = world
        self._inner = inner
        self._label = label

    def __getattr__(self, name: str) -> Any:
        """A method with faults; made once."""
        found = getattr(self._inner, name)
        if name in _KNOWN:
            return found
        made: Any = (
            Calls(self._life, self._world, found, name)
            if name in {"uploads", "servers"}
            else self._wrap(name, found)
        )
        self.__dict__[name] = made
        return made

    def _wrap(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        world = self._world

        def call(*args: Any) -> Any:
            self._check_alive()
            world.take_time()
            self._check_alive()
            if name == "begun":
                world.watch.began_pass(self._life.name)
            elif name == "job_of_uid":
                world.watch.tries(self._life.name, args[0])
            faults = world.faults.call()
            if "meanwhile" in faults:
                world.trace(f"{self._life.name} is slow before {name}")
                self._life.held_up = True
                world.pause(faults["meanwhile"])
                self._life.held_up = False
                self._check_alive()
            if "crash before call" in faults:
                self._crash(f"before {name}")
            if "call fails" in faults or (world.faults.disk_full and name in {*_WRITES, "prepare"}):
                self._fail(name, args, "fails")
            if name in {"start", "prepare", "forget"}:
                self._fail_so(name, args)
            if name in _TOLD:
                world.trace(f"{self._life.name} {name} {_shown(args)}")
            result = method(*args)
            if name in _WRITES and self._label != "logbook":
                world.watch.wrote(self._life.name, name, args)
            if name == "waiting":
                world.watch.looked(self._life.name, result)
            if "crash after call" in faults:
                self._crash(f"after {name}")
            if "call fails after it was done" in faults and name != "start":
                self._fail(name, args, "fails after it was done")
            self._check_alive()
            return result

        return call

    def _check_alive(self) -> None:
        if not self._life.alive:
            raise Crash

    def _crash(self, where: str) -> None:
        self._world.trace(f"{self._life.name} crashes {where}")
        self._world.kill(self._life)
        raise Crash

    def _fail(self, name: str, args: tuple[Any, ...], how: str) -> None:
        self._world.trace(f"{self._life.name} {name} {how}")
        self._world.not_started(name, args)
        if self._label in {"engine", "logbook"}:
            raise DiskError
        raise StoreError("database or disk is full" if self._world.faults.disk_full else "database is locked")

    def _fail_so(self, name: str, args: tuple[Any, ...]) -> None:
        """The faults that this kind of call alone has."""
        for kind in self._world.faults.of(name):
            self._world.trace(f"{self._life.name} {kind} {_shown(args)}")
            self._world.not_started(name, args)
            if kind == "start refused":
                raise InternalFailure("The runner could not be started on this machine: it was refused.")
            if kind == "prepare explodes":
                raise Surprise(kind)
            raise DiskError


class EngineCalls(Calls):
    """That of an engine of one piece."""

    name = "simulated"

    def parts(self) -> tuple[EngineCalls]:
        """Itself, so that its calls may fail as well."""
        return (self,)


def _shown(args: tuple[Any, ...]) -> str:
    first = args[0] if args else ""
    if isinstance(first, Job):
        return f"{first.uid} {first.phase} v{first.version}"
    if isinstance(first, Entry):
        return ""
    if isinstance(first, Run):
        return first.handle
    return " ".join(sorted(first)) if isinstance(first, set) else str(first)
