"""The world of one run: servers, runners, clients and what goes wrong, all on one agenda. `run` is the way in."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import Conflict
from penstock.job.claim import Resources
from penstock.job.run import Run
from penstock.testing.simulation.clock import Agenda, Clock
from penstock.testing.simulation.cluster import MACHINES, Cluster, machine_of
from penstock.testing.simulation.engine import Disk, SimulatedEngine
from penstock.testing.simulation.faults import OURS, Faults
from penstock.testing.simulation.invariants import Violation, Watch
from penstock.testing.simulation.network import Network
from penstock.testing.simulation.plan import AT_MACHINE, AT_TIME, CALM, Fault, Plan, Wish
from penstock.testing.simulation.runner import Runner
from penstock.testing.simulation.server import Life, Server
from penstock.testing.simulation.servers import OfHome
from penstock.testing.simulation.store import MemoryLogbook, MemoryStore

#: How long after the last fault all jobs must have ended, in milliseconds.
BOUND = 120_000
#: After how much time without work all that is left of ended jobs must be gone.
SWEPT = 3_600_000
_TRIES = 4
#: How many calls may be under way within each other.
_DEEPEST = 2


@dataclass(frozen=True)
class Outcome:
    """How a run went."""

    plan: Plan
    violation: str | None
    trace: tuple[str, ...]


class World:
    """All there is, and what really happened."""

    def __init__(self, plan: Plan, store: Any = None, logbook: Any = None) -> None:
        self.plan = plan
        self.capacity = Resources(plan.cpus, 1 << 40, 0, plan.slots)
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.faults = Faults(plan.faults)
        self.store: Any = MemoryStore(lambda: self.clock.true) if store is None else store
        self.logbook: Any = MemoryLogbook() if logbook is None else logbook
        self.engine = SimulatedEngine(self._start_runner, self._ask_runner, self.capacity)
        self.cluster = Cluster(self.engine, lambda handle: self.truth.add((handle, "not started")))
        self.network = Network(self, self._chance("network"))
        self.watch = Watch(self)
        names = [f"server-{number + 1}" for number in range(plan.servers)]
        self.servers = [Server(self, name, self._chance(name)) for name in names]
        self._homes: dict[str, dict[str, Run]] = {}
        self.truth: set[tuple[str, str]] = set()
        """What really happened to a job or host, for whoever doubts a reason."""
        self.objects: dict[str, set[str]] = {}
        """What each host has stored in S3."""
        self.lines: list[str] = []
        self._runners: dict[str, list[Runner]] = {}
        self._disks: dict[str, Disk] = {}
        self._wishes: dict[str, Wish] = {}
        self._programs: set[str] = set()
        self._started = 0
        self._stopping: list[str] = []
        self._paces = self._chance("paces")
        self._depth = 0
        self._open = 0
        """How many wishes and timed faults are still to come."""
        self._unexpected: Exception | None = None

    # The course of a run

    def run(self) -> None:
        """Let everything happen.

        Raises:
            Violation: Something is not as it must be.
        """
        for wish in self.plan.wishes:
            self._open += 1
            self.agenda.after(wish.at, lambda wish=wish: self._ask(wish, _TRIES))  # type: ignore[misc]
        for fault in self.plan.faults:
            if fault.kind in {*AT_TIME, *AT_MACHINE}:
                self._open += 1
                self.agenda.after(fault.at, lambda fault=fault: self._strike(fault))  # type: ignore[misc]
        for server in self.servers:
            server.boot()
        while not self._at_rest() and (action := self.agenda.next(CALM)) is not None:
            self._act(action)
        self.trace("calm")
        self.faults.calm, self.faults.disk_full = True, False
        self._pass_time(BOUND)
        self._pass_time(SWEPT)
        self.watch.at_the_end()

    def _pass_time(self, milliseconds: int) -> None:
        """Go on until all is at rest, then let the rest of the time pass with one look at its end."""
        end = self.clock.true + milliseconds
        while not self._at_rest():
            action = self.agenda.next(end)
            if action is None:
                raise Violation(f"every job ends: {self._unfinished()}")
            self._act(action)
        self.clock.true = end
        for server in self.servers:
            server.boot()
            server.look()

    def _act(self, action: Callable[[], None]) -> None:
        action()
        if self._unexpected is not None:
            raise Violation(f"no error but ours: {self._unexpected!r}") from self._unexpected

    def pause(self, milliseconds: int) -> None:
        """Let everything else happen while somebody waits."""
        end = self.clock.true + milliseconds
        self._depth += 1
        try:
            while (action := self.agenda.next(end)) is not None:
                self._act(action)
        finally:
            self._depth -= 1
        self.clock.true = max(self.clock.true, end)

    def take_time(self) -> None:
        """A server's call takes a moment, unless it is itself what happens within another one's."""
        if self.plan.pace and self._depth < _DEEPEST and not self.faults.calm:
            self.pause(self._paces.randrange(self.plan.pace))

    def _at_rest(self) -> bool:
        return not (self._open or self._unfinished())

    def _unfinished(self) -> list[str]:
        active = [uid for uid, job in self.watch.jobs.items() if not job.phase.final]
        return active + [f"runner of {handle}" for handle, alive in self._runners.items() if alive]

    def trace(self, words: str) -> None:
        """Write down what happens."""
        self.lines.append(f"{self.clock.true / 1000:9.3f}  {words}")

    def met(self, error: BaseException) -> None:
        """A dispatcher met an error: one that the simulation did not make is a defect."""
        if isinstance(error, Exception) and not isinstance(error, (*OURS, Conflict)):
            self._unexpected = error

    def home_of(self, server: str) -> Any:
        """The engine as a server's home has it."""
        if self.plan.cluster:
            return self.cluster
        if self.plan.servers == 1:
            return self.engine
        return OfHome(self.engine, self._homes, server)

    # Clients

    def _ask(self, wish: Wish, tries: int) -> None:
        def ask() -> Mapping[str, Any]:
            server = self.server()
            if wish.verb == "create":
                return server.create(wish)
            return server.stop(wish.name) if wish.verb == "stop" else server.delete(wish.name)

        def take(answer: Mapping[str, Any] | Exception) -> None:
            words = f"no answer ({answer})" if isinstance(answer, Exception) else dict(answer) or "done"
            self.trace(f"client {wish.verb} {wish.name}: {words}")
            again = isinstance(answer, Exception) or (wish.verb == "delete" and "refused" in answer)
            if again and tries > 1:
                self.agenda.after(1500, lambda: self._ask(wish, tries - 1))
                return
            self._open -= 1
            if not isinstance(answer, Exception) and "uid" in answer and answer["uid"] not in self.watch.jobs:
                raise Violation(f"no lost job: {answer['uid']} was accepted and never on record")

        self.network.send(f"{wish.verb} {wish.name}", ask, take)

    def new_uid(self, wish: Wish) -> str:
        """A new uid for a job, as many as are asked for."""
        uid = f"{wish.name}.{len(self._wishes) + 1}"
        self._wishes[uid] = wish
        return uid

    def wish_of(self, uid: str) -> Wish:
        """The wish from which a job came."""
        return self._wishes[uid]

    @contextlib.contextmanager
    def stopping(self, name: str) -> Iterator[None]:
        """A server handles a stop: it may meet any job that has this name meanwhile."""
        self._stopping.append(name)
        for uid, job in self.watch.jobs.items():
            self.appeared(uid, job.name)
        try:
            yield
        finally:
            self._stopping.remove(name)

    def appeared(self, uid: str, name: str) -> None:
        """A job is on record while stops may be under way."""
        if name in self._stopping:
            self.truth.add((uid, "stop asked"))

    def server(self) -> Server:
        """One that answers.

        Raises:
            ConnectionError: None does.
        """
        for server in self.servers:
            if server.alive:
                return server
        raise ConnectionError("no server runs")

    # Runners

    def _start_runner(self, handle: str, disk: Disk) -> None:
        self.watch.started(handle, [one for one, alive in self._runners.items() if alive])
        if self.is_away(handle):
            self.truth.add((handle, "cut off"))
        self._disks[handle] = disk
        self._started += 1
        number = self._started
        runner = Runner(self, handle, disk, self._chance(f"runner {number}"), f"runner-{number} of {handle}")
        self.trace(f"{runner.name} starts")
        self._runners.setdefault(handle, []).append(runner)

    def _ask_runner(self, handle: str) -> None:
        for runner in self._runners.get(handle, ()):
            runner.ask_to_stop()

    def living(self, uid: str) -> list[Runner]:
        """A job's runners that live."""
        return [r for alive in self._runners.values() for r in alive if r.run.job_uid == uid]

    def runner_steps(self, runner: Runner) -> bool:
        """A runner goes on; True when it is killed instead."""
        if "runner killed" in self.faults.step():
            self._kill_runner(runner)
            return True
        return False

    def runner_ended(self, runner: Runner) -> None:
        """A runner has done all that it had to do."""
        self.trace(f"{runner.name} ends")
        self.watch.left(runner)
        self._gone(runner)

    def runner_gives_up(self, runner: Runner) -> None:
        """A runner may go on no more, and ends at once."""
        self.trace(f"{runner.name} gives up")
        self.truth.add((runner.handle, "killed"))
        runner.kill()
        self._gone(runner)

    def is_away(self, handle: str) -> bool:
        """Whether a run's machine is cut off from all others."""
        return self.cluster.is_away(handle)

    def program_starts(self, runner: Runner) -> None:
        """A runner starts its program: never a second time."""
        self.truth.add((runner.handle, "ran"))
        self.watch.alone(runner)
        if runner.handle in self._programs:
            raise Violation(f"no double run: the program of {runner.handle} is started again")
        self._programs.add(runner.handle)

    def stored(self, runner: Runner, uri: str) -> None:
        """An object has come to S3."""
        self.watch.stores(runner)
        self.objects.setdefault(runner.handle, set()).add(uri)

    def log_size(self, handle: str) -> int:
        """How many bytes a host's log has on its machine, or had at last."""
        return len(self._disks[handle].log.getvalue())

    def _kill_runner(self, runner: Runner) -> None:
        self.trace(f"{runner.name} is killed")
        runner.kill()
        self.truth.add((runner.handle, "killed"))
        self._gone(runner)

    def _gone(self, runner: Runner) -> None:
        runner.alive = False
        self._runners[runner.handle].remove(runner)
        self.engine.died(runner.handle)

    # What goes wrong

    def _strike(self, fault: Fault) -> None:
        self._open -= 1
        self.trace(str(fault))
        if fault.kind == "clock jumps":
            self.clock.skew += fault.amount
        elif fault.kind in AT_MACHINE:
            self._lose_machine(fault)
        elif fault.kind == "disk full":
            self.faults.disk_full = True
            self.agenda.after(fault.amount, self._free_disk)
        else:
            if fault.kind in {"server killed", "power lost"}:
                # Without power all go, else one after the other.
                all_of_them = fault.kind == "power lost"
                for server in self.servers if all_of_them else [self.servers[fault.at % len(self.servers)]]:
                    server.kill()
            if fault.kind in {"runners killed", "power lost"}:
                for runner in [r for alive in self._runners.values() for r in alive]:
                    self._kill_runner(runner)
            if fault.kind == "power lost":
                self.truth |= {(handle, "power lost") for handle in self.engine.runs}
                # A program of which no server was told may run again.
                self._programs = {handle for handle in self._programs if self.watch.knows_start(handle)}
                for handle in self.engine.power_lost(self._chance("disk")):
                    self.trace(f"the folder of {handle} is lost")
                    self.truth.add((handle, "not started"))

    def _lose_machine(self, fault: Fault) -> None:
        """A machine is cut off from all others, or dead, and back after a while."""
        machine = fault.at % MACHINES
        self.cluster.cut(machine)
        away = [handle for handle in self.engine.runs if machine_of(handle) == machine]
        self.truth |= {(handle, "cut off") for handle in away}
        if fault.kind == "machine dead":
            for runner in [r for handle in away for r in self._runners.get(handle, ())]:
                self._kill_runner(runner)
        self._open += 1
        self.agenda.after(fault.amount, lambda: self._heal(machine))

    def _heal(self, machine: int) -> None:
        self._open -= 1
        self.trace(f"machine {machine} is back")
        self.cluster.heal(machine)

    def _free_disk(self) -> None:
        self.trace("the disk has room again")
        self.faults.disk_full = False

    def kill(self, life: Life) -> None:
        """End the server that lives this life."""
        for server in self.servers:
            if server.name == life.name and life.alive:
                server.kill()

    def not_started(self, method: str, args: tuple[Any, ...]) -> None:
        """A call that belongs to a start has failed."""
        if method == "start":
            self.truth.add((args[0], "not started"))
            if self.is_away(args[0]):
                self.truth.add((args[0], "cut off"))
        elif method == "prepare":
            self.truth.add((args[0].job_uid, "not started"))

    def knows(self, whom: str, what: str) -> bool:
        """Whether that really happened to a job or host."""
        return (whom, what) in self.truth

    # Chance

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {name}")  # noqa: S311 - no secret


class _Listener(logging.Handler):
    """Hears of errors that the dispatcher swallowed."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Judge an error that was logged."""
        if record.exc_info and record.exc_info[1] is not None:
            self._world.met(record.exc_info[1])


def run(plan: Plan, store: Any = None, logbook: Any = None) -> Outcome:
    """Run a plan; the same plan gives the same trace, to the byte.

    `store` and `logbook` are empty ones to use in place of those in memory.
    """
    world = World(plan, store, logbook)
    log = logging.getLogger("penstock.dispatch")
    listener, propagate = _Listener(world), log.propagate
    log.addHandler(listener)
    log.propagate = False
    try:
        world.run()
    except Violation as violation:
        world.trace(f"VIOLATED  {violation}")
        return Outcome(plan, str(violation), tuple(world.lines))
    finally:
        log.removeHandler(listener)
        log.propagate = propagate
    return Outcome(plan, None, tuple(world.lines))
