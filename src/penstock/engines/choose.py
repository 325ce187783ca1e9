"""Which engine a server begins its jobs with."""

from __future__ import annotations

from collections.abc import Callable

from penstock import machine
from penstock.config import Settings
from penstock.engines.base import Engine
from penstock.engines.local import LocalEngine
from penstock.home import Home
from penstock.job.claim import Resources
from penstock.runtimes.containers.sockets import let_go


def choose(settings: Settings, home: Home, reachable: bool, changed: Callable[[], None]) -> Engine:
    """The engine that the settings name.

    Args:
        settings: All of the user's settings.
        home: The server's.
        reachable: Whether other machines reach it at the address that runners are told.
        changed: Called, from any thread, when a job may have room that had none.
    """
    if settings.engine == "ray":
        from penstock.engines.ray.engine import RayEngine  # noqa: PLC0415 - most servers have no use for it

        folder = settings.home / "cluster"
        return RayEngine(folder, home.server_id(), settings.ray_address, reachable, changed)
    return LocalEngine(settings.home / "runs", let_go, capacity(settings))


def capacity(settings: Settings) -> Resources:
    """What is given out of this machine: what the settings say, and else what it has."""
    there = machine.look()
    return Resources(
        cpus=there.share if settings.cpus is None else settings.cpus,
        memory=there.memory_bytes if settings.memory is None else settings.memory,
        gpus=len(there.gpus) if settings.gpus is None else settings.gpus,
        instances=settings.slots,
    )
