"""Messages between runners, clients and servers: each takes a moment, and may be lost, late, or come twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from penstock.runner.outbox import Post
from penstock.testing.simulation.runner import Refused, Runner

if TYPE_CHECKING:
    from penstock.testing.simulation.world import World

#: How long a sender waits for an answer, in milliseconds.
PATIENCE = 3000

#: What an answer is: the server's words, or why there are none.
Answer = Mapping[str, Any] | Exception


class Network:
    """The way between everybody."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance

    def post(self, runner: Runner, post: Post, take: Callable[[Answer], None]) -> None:
        """Send a runner's request; `take` is called once, with the reply or with what went wrong."""
        uid, host, token = runner.run.job_uid, runner.run.key, runner.run.token
        what, body = post
        self.send(
            f"{runner.name} {_shown(what, body)}",
            lambda: self._world.server().receive(uid, host, token, what, body),
            take,
            lambda: self._world.is_away(runner.handle),
            PATIENCE // 6 if what == "lease" else PATIENCE,
        )

    def send(
        self,
        shown: str,
        ask: Callable[[], Mapping[str, Any]],
        take: Callable[[Answer], None],
        away: Callable[[], bool] = lambda: False,
        patience: int = PATIENCE,
    ) -> None:
        """Bring a request to a server and its answer back, within `patience`; neither while the sender is away."""
        world = self._world
        faults = world.faults.message()
        waiting = [True]

        def answer(given: Answer) -> None:
            if waiting:
                waiting.clear()
                take(given)

        def come_back(reply: Answer) -> None:
            if not away():
                answer(reply)

        def deliver() -> None:
            if away():
                return
            reply: Answer
            try:
                reply = ask()
            except (ConnectionError, Refused) as error:
                reply = error
            if "reply lost" in faults:
                world.trace(f"the reply to {shown} is lost")
                return
            world.agenda.after(1 + self._chance.randrange(4), lambda: come_back(reply))

        delay = 1 + self._chance.randrange(4)
        if "message lost" in faults:
            world.trace(f"{shown} is lost")
        else:
            if "message late" in faults:
                world.trace(f"{shown} will come late")
            world.agenda.after(delay + faults.get("message late", 0), deliver)
        if "message twice" in faults:
            world.trace(f"{shown} will come twice")
            world.agenda.after(delay + faults["message twice"], deliver)
        if faults or world.plan.cluster:  # else the answer comes well before the patience ends
            world.agenda.after(patience, lambda: answer(ConnectionError("no answer")))


def _shown(what: str, body: bytes) -> str:
    if what != "events":
        return f"{what} ({len(body)} bytes)"
    text = body.decode()
    return text.removeprefix('{"events": [').removesuffix("]}")
