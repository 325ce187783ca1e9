"""A simulated runner: the real journal and outbox, and the steps of `penstock.runner.run`, which take time.

Work and reports go on side by side, as in a real runner's threads. Each step is one place at which it may be killed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, cast

from penstock.job.life import Phase
from penstock.job.uploads import Upload
from penstock.runner.journal import Journal
from penstock.runner.lease import Lease
from penstock.runner.outbox import Outbox, Post
from penstock.runner.stop import Stop
from penstock.testing.simulation.cluster import RUNNER_LEASE
from penstock.testing.simulation.engine import Disk

if TYPE_CHECKING:
    from penstock.testing.simulation.world import World

#: How many objects a program that ends well leaves as output.
OBJECTS = 2
#: How long a runner waits between attempts to reach a server, at most, in milliseconds.
_LONGEST_PAUSE = 2000
#: For how long one whose work is over goes on telling what nobody takes, in milliseconds.
_PATIENCE = 60_000
#: How soon after a wish to stop the program ends.
_GRACE = 300


class Refused(Exception):
    """The server knows this run no more."""


class Runner:
    """One runner's life, from its start to its end or its death."""

    def __init__(self, world: World, handle: str, disk: Disk, chance: random.Random, name: str) -> None:
        self.world = world
        self.handle = handle
        self.run = disk.run
        self.name = name
        self.alive = True
        self.running = False
        """Whether its program runs at this moment."""
        self._disk = disk
        self._chance = chance
        self._wish = world.wish_of(self.run.job_uid)
        self._asked = disk.stop
        self._deadline: int | None = None
        self.said_all = False
        """Whether its work is over, and only its server has to be told."""
        self._changed = True
        self._parked = False
        self._stop = Stop()
        self._lease: Lease | None = None
        if self.run.leased:
            # The real one, but for its threads and its connection.
            elapsed = lambda: world.clock.true / 1000  # noqa: E731
            self._lease = Lease(cast("Any", None), self._stop, math.inf, elapsed, lambda _: self._lose())
        self._work = self._do_work()
        self._reports: Generator[Post | int | None, Mapping[str, Any] | None, None] | None = None
        world.agenda.after(1 + chance.randrange(30), lambda: self._step(self._work))

    def ask_to_stop(self) -> None:
        """SIGTERM has come."""
        self._asked = True

    @property
    def at_work(self) -> bool:
        """Whether it may do something that others see. One that waits for its lease, or has done all, does nothing."""
        return self.alive and not self.said_all and (self._lease is None or self._lease.granted)

    def kill(self) -> None:
        """It is dead, and its program with it: the walls end with the runner."""
        self.alive = self.running = False

    def _lose(self) -> None:
        """Its lease is over, or it was given up."""
        if self.alive:
            self.world.runner_gives_up(self)

    # One step

    def _step(
        self,
        thread: Generator[Any, Any, None],
        value: Mapping[str, Any] | None = None,
        error: Exception | None = None,
    ) -> None:
        """Go on with work or reports until they next take time."""
        if not self.alive or self.world.runner_steps(self):
            return
        try:
            wanted = thread.throw(error) if error is not None else thread.send(value)
        except StopIteration:
            if thread is self._work:
                self.said_all = True
                self._news()
            elif thread is self._reports and self.alive:
                self.world.runner_ended(self)
            return
        if thread is self._reports and wanted is None:
            self._parked = True
        elif isinstance(wanted, int):
            self.world.agenda.after(wanted, lambda: self._step(thread))
        else:
            self.world.network.post(self, wanted, self._answer(thread))

    def _answer(self, thread: Generator[Any, Any, None]) -> Callable[[Mapping[str, Any] | Exception], None]:
        def take(answer: Mapping[str, Any] | Exception) -> None:
            if isinstance(answer, Exception):
                self._step(thread, error=answer)
            else:
                self._step(thread, answer)

        return take

    def _news(self) -> None:
        self._changed = True
        if self._parked:
            self._parked = False
            reports = self._reports
            assert reports is not None
            self.world.agenda.after(0, lambda: self._step(reports))

    # Work

    def _do_work(self) -> Generator[int, None, None]:
        if self._lease is not None:
            for thread in (self._ask_on(self._lease), self._judge(self._lease)):
                self.world.agenda.after(0, lambda thread=thread: self._step(thread))  # type: ignore[misc]
            while not self._lease.granted and not self._due():
                yield 20
        journal = Journal(
            self._disk.journal, self.world.clock.wall, self._news, lambda _: self._disk.sync("journal")
        )
        self._reports = self._do_reports(Outbox(journal, self._disk.log, self._disk.manifest))
        reports = self._reports
        self.world.agenda.after(0, lambda: self._step(reports))
        self._disk.manifest.seek(0)
        self._disk.manifest.truncate()
        self._disk.sync("manifest")
        if journal.after(0) or self._disk.ml:
            journal.skip()
            yield from self._salvage(journal)
        else:
            yield from self._conduct(journal)

    def _conduct(self, journal: Journal) -> Generator[int, None, None]:
        self._reach(journal, Phase.PREPARING)
        self._log("preparing")
        yield from self._spend(self._chance.randrange(400))
        if self._due():
            self._end(journal, "halted", None, None)
            return
        self._reach(journal, Phase.DOWNLOADING)
        self._disk.ml = True
        self._deadline = self.world.clock.true + self._wish.limit_s * 1000 - int(self.run.spent * 1000)
        yield from self._spend(self._chance.randrange(400))
        journal.note(inputs=[])
        if self._due():
            self._end(journal, "halted", None, None)
            return
        self._reach(journal, Phase.RUNNING)
        self.world.program_starts(self)
        self.running = True
        self._log("hello")
        yield from self._spend(self._wish.run_ms)
        halted = self._due()
        if halted:
            yield self._chance.randrange(_GRACE)
        self.running = False
        self._log("goodbye")
        failure = self._stop.failure
        self._disk.ending = halted, self._wish.exit_code, None if failure is None else failure.reason
        yield from self._hand_over(journal, *self._disk.ending)

    def _hand_over(
        self, journal: Journal, halted: bool, code: int, lost: str | None
    ) -> Generator[int, None, None]:
        self._reach(journal, Phase.UPLOADING)
        yield from self._upload(journal)
        if lost is not None:
            self._end(journal, "failed", lost, code, lost=True)
        elif halted or code == 0:
            self._end(journal, "halted" if halted else "succeeded", None, code)
        else:
            self._end(journal, "failed", f"AlgorithmError: , exit code: {code}", code)

    def _salvage(self, journal: Journal) -> Generator[int, None, None]:
        if self._disk.ending is not None:
            yield from self._hand_over(journal, *self._disk.ending)
            return
        reason = (
            f"InternalServerError: The runner of {self.run.host} ended without a report; it was killed or it "
            "crashed, and its program with it. What the program had written by then was uploaded."
        )
        self._log(reason)
        self._reach(journal, Phase.UPLOADING)
        yield from self._upload(journal)
        self._end(journal, "failed", reason, None, lost=True)

    def _upload(self, journal: Journal) -> Generator[int, None, None]:
        for number in range(OBJECTS):
            yield self._chance.randrange(200)
            while self.world.is_away(self.handle):
                yield 100
            uri = f"s3://bucket/{self.run.job_uid}/{self.run.host}/{number}"
            yield from self._put(uri)
            _append(self._disk.manifest, Upload("out", uri, 1, "00", self.world.clock.wall()).to_line())
        self._disk.sync("manifest")
        journal.note(outputs=OBJECTS)

    def _put(self, uri: str) -> Generator[int, None, None]:
        """Store an object: what a store has whole, it stores, also when whoever sent it is cut off or dies."""
        if self._lease is None:
            self.world.stored(self, uri)
            return
        late = self._chance.randrange(RUNNER_LEASE // 10)
        self.world.agenda.after(late, lambda: self.world.stored(self, uri))
        yield late + 1

    def _ask_on(self, lease: Lease) -> Generator[Post | int, Mapping[str, Any] | None, None]:
        """As `penstock.runner.lease.Lease.beat`, over and over."""
        while not self.said_all:
            asked = self.world.clock.true / 1000
            try:
                reply = yield "lease", b""
                assert reply is not None
                lease.hear(asked, reply)
            except Refused:
                lease.give_up()
                return
            except ConnectionError:
                pass
            yield RUNNER_LEASE // 20

    def _judge(self, lease: Lease) -> Generator[int, None, None]:
        """As the lease's other thread, which waits for nobody."""
        while not self.said_all:
            lease.judge()
            if self._stop.failure is not None:
                self.world.truth.add((self.handle, "silent"))
            yield RUNNER_LEASE // 20

    def _spend(self, milliseconds: int) -> Generator[int, None, None]:
        """Let time pass; less when the run must end."""
        end = self.world.clock.true + milliseconds
        while self.world.clock.true < end and not self._due():
            yield min(250, end - self.world.clock.true)
        yield 0

    def _due(self) -> bool:
        self._asked = self._asked or self._stop.asked
        over = self._deadline is not None and self.world.clock.true >= self._deadline
        if over and not self._asked:
            self.world.truth.add((self.run.job_uid, "time limit"))
        return self._asked or over

    def _reach(self, journal: Journal, phase: Phase) -> None:
        journal.phase(phase)
        self.world.trace(f"{self.name}: {phase}")

    def _end(
        self, journal: Journal, outcome: str, reason: str | None, code: int | None, *, lost: bool = False
    ) -> None:
        if self._stop.failure is not None:
            outcome, reason, lost = "failed", self._stop.failure.reason, lost or reason is None
        journal.ended(outcome, reason, code, None, lost=lost)
        if self._lease is not None:
            self._lease.ease()
        self.world.trace(f"{self.name}: {outcome}")

    def _log(self, text: str) -> None:
        _append(self._disk.log, f"{self.world.clock.wall()} {text}\n".encode())
        self._news()

    # Reports

    def _do_reports(self, outbox: Outbox) -> Generator[Post | int | None, Mapping[str, Any] | None, None]:
        """As `penstock.runner.report.Reporter`: all that is new, again and again until it is taken."""
        pause, answered_at = 50, self.world.clock.true
        while True:
            while not self._changed:
                yield None
            self._changed = False
            finishing = self.said_all
            try:
                sending = outbox.posts()
                post = next(sending, None)
                while post is not None:
                    reply = yield post
                    assert reply is not None
                    try:
                        post = sending.send(reply)
                    except StopIteration:
                        post = None
            except Refused:
                if self._lease is not None:
                    self._lease.give_up()
                self._asked = True
                while not self.said_all:
                    yield None
                return
            except ConnectionError:
                if finishing and self.world.clock.true - answered_at > _PATIENCE:
                    return
                yield pause
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._changed = True
                continue
            pause, answered_at = 50, self.world.clock.true
            if finishing:
                return


def _append(file: Any, data: bytes) -> None:
    file.seek(0, 2)
    file.write(data)
