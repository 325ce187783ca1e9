"""Which engine a server begins its jobs with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from penstock import machine
from penstock.config import ENGINES, Settings
from penstock.engines.base import Engine
from penstock.engines.fleet import Fleet
from penstock.engines.local import LocalEngine
from penstock.home import Home
from penstock.job.claim import Choice, Resources
from penstock.runtimes.containers.sockets import let_go


def choose(settings: Settings, home: Home, reachable: bool, changed: Callable[[], None]) -> Engine:
    """The engine that the settings name; several as one.

    Beside them is one that they do not name any more and that still has runs: those go on.

    Args:
        settings: All of the user's settings.
        home: The server's.
        reachable: Whether other machines reach it at the address that runners are told.
        changed: Called, from any thread, when a job may have room that had none.
    """
    folders = _folders(settings)

    def make(name: str) -> Engine:
        if name == "ray":
            from penstock.engines.ray.engine import RayEngine  # noqa: PLC0415 - most servers have no use for it

            address, autoscaler = settings.ray_address, settings.ray_autoscaler
            return RayEngine(folders[name], home.server_id(), address, reachable, changed, autoscaler)
        return LocalEngine(folders[name], let_go, capacity(settings))

    others = _left(settings)
    parts = [make(name) for name in settings.engines]
    if len(parts) == 1 and not others:
        return parts[0]
    return Fleet(parts, [make(name) for name in others])


def has_far_runs(settings: Settings) -> bool:
    """Whether runners may be on other machines: by an engine that the settings name, or that still has runs."""
    return any(name != "local" for name in (*settings.engines, *_left(settings)))


def _left(settings: Settings) -> list[str]:
    """The engines that the settings do not name any more and that still have runs."""
    folders = _folders(settings)
    return [name for name in ENGINES if name not in settings.engines and any(folders[name].glob("*/algo-*"))]


def _folders(settings: Settings) -> dict[str, Path]:
    """Where each engine keeps its runs."""
    return {"local": settings.home / "runs", "ray": settings.home / "cluster"}


def choice(settings: Settings) -> Choice:
    """Which of those engines a new job waits for."""
    return Choice(settings.engines, settings.default_engine, capacity(settings))


def capacity(settings: Settings) -> Resources:
    """What is given out of this machine: what the settings say, and else what it has."""
    there = machine.look()
    return Resources(
        cpus=there.share if settings.cpus is None else settings.cpus,
        memory=there.memory_bytes if settings.memory is None else settings.memory,
        gpus=len(there.gpus) if settings.gpus is None else settings.gpus,
        instances=settings.slots,
    )
