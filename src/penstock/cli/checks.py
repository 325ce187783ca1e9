"""What `penstock doctor` looks at: is this machine fit to run jobs, and what mends it."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from penstock.cli import ray_checks
from penstock.cli.finding import Finding
from penstock.client import local_server
from penstock.config import CONFIG, Settings
from penstock.errors import ConfigurationError, JobFailure
from penstock.home import Home

if TYPE_CHECKING:
    from penstock.runtimes.containers.engine import Engine

_ROOM = 5 << 30
_STORE_SECONDS = 5.0


def examine(settings: Settings) -> list[Finding]:
    """Look at all that jobs need on this machine."""
    return [
        *_system(),
        *_parts(),
        *_walls(settings),
        _limits(settings),
        *_containers(settings),
        _network(),
        *_home(settings),
        *_stores(settings),
        *_interpreters(settings),
        *(ray_checks.examine(settings) if "ray" in settings.engines else ()),
    ]


def _system() -> Iterator[Finding]:
    if sys.platform == "linux":
        yield Finding("system", "ok", f"Linux {platform.release()} on {platform.machine()}")
    else:
        yield Finding(
            "system",
            "missing",
            f"Jobs run on Linux; this is {sys.platform}. The SDK works here against a server on Linux.",
        )
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _parts() -> Iterator[Finding]:
    """The packages and programs that come with the extra `server`."""
    if missing := local_server.missing_packages():
        text = f"this Python lacks {', '.join(missing)}"
        yield Finding("server's packages", "missing", text, local_server.INSTALL_SERVER)
    scripts = Path(sys.executable).parent
    for name, purpose in (("weed", "the embedded object store"), ("uv", "environments")):
        found = shutil.which(name, path=str(scripts)) or shutil.which(name)
        if found:
            yield Finding(name, "ok", f"{purpose}: {found}")
        else:
            yield Finding(name, "missing", f"needed for {purpose}", local_server.INSTALL_SERVER)


def _walls(settings: Settings) -> Iterator[Finding]:
    from penstock.runtimes.choose import checks  # noqa: PLC0415 - tries each by starting a program

    found = checks(settings.home if settings.home.is_dir() else None)
    # Only what would be used must work; another that does not is no fault of the machine's.
    fit = [f.runtime for f in found if f.fit]
    used = settings.walls if settings.walls != "auto" else next(iter(fit), None)
    for one in found:
        label = f"walls ({one.runtime})"
        if not one.fit:
            state: Literal["weak", "missing"] = "weak" if used in fit else "missing"
            yield Finding(label, state, one.detail, one.fix)
        elif one.weaker and one.runtime == used:
            yield Finding(label, "weak", " ".join((one.detail, *one.weaker)), one.fix)
        else:
            yield Finding(label, "ok", one.detail + (" It is the one used." if one.runtime == used else ""))


def _limits(settings: Settings) -> Finding:
    from penstock.runtimes.limits import report  # noqa: PLC0415 - only here

    told = report(settings.limits)
    return Finding("limits", "ok" if told.enforced else "weak", told.detail, told.fix)


def _network() -> Finding:
    """Whether programs are kept from the machine's own credentials, where it is one of a cloud's."""
    from penstock.runtimes import guard  # noqa: PLC0415 - tries it

    label = "network of programs"
    if os.geteuid() != 0:
        return Finding(
            label,
            "weak",
            "a job without EnableNetworkIsolation can reach the metadata address, at which a machine in a cloud has "
            "keys. The rule closes it for all that your user starts",
            guard.firewall_rule(getpass.getuser()),
        )
    hindrance = guard.try_out()
    if hindrance:
        return Finding(label, "weak", f"jobs can reach the metadata address of a cloud: {hindrance}")
    return Finding(
        label, "ok", "the metadata address and the object store's inner ports are closed to programs"
    )


def _containers(settings: Settings) -> Iterator[Finding]:
    """The engine that images of one's own run by. Nobody needs one who has none."""
    from penstock.runtimes.containers import sockets  # noqa: PLC0415 - only here

    problem = sockets.lacking()
    if problem is not None:
        wanted = settings.runtime == "container"
        text = problem if wanted else f"{problem} Only images that are not in the catalogue need it."
        yield Finding(
            "containers", "missing" if wanted else "ok", text, sockets.installation() if wanted else None
        )
        return
    try:
        from penstock.runtimes.containers.engine import reach  # noqa: PLC0415 - loads docker-py

        engine = reach()
    except ImportError as error:
        yield Finding("containers", "weak", str(error), local_server.INSTALL_SERVER)
    except JobFailure as error:
        # What else it says is meant for those who have not come here yet.
        told = str(error).partition(" `penstock doctor`")[0]
        yield Finding("containers", "weak", f"{told} `podman info` or `docker info` tells more.")
    else:
        yield _engine(engine)


def _engine(engine: Engine) -> Finding:
    """What the engine is, and what it can't do."""
    from penstock.runtimes.containers import sockets  # noqa: PLC0415 - only here

    kind = "rootless" if engine.rootless else "its root is the machine's"
    unkept = sorted({"cpus", "memory", "processes"} - engine.limits)
    lacks = f"; can't limit {', '.join(unkept)}" if unkept else ""
    where = engine.socket if sockets.listens_by_itself(engine.socket) else "started for each job"
    return Finding(
        "containers", "weak" if unkept else "ok", f"{engine.name} {engine.version}, {kind}, {where}{lacks}"
    )


def _home(settings: Settings) -> Iterator[Finding]:
    nearest = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    if not os.access(nearest, os.W_OK):
        yield Finding(
            "home", "missing", f"{settings.home} can't be written", "export PENSTOCK_HOME=a folder of yours"
        )
        return
    free = shutil.disk_usage(nearest).free
    text = f"{settings.home}, {free / (1 << 30):.0f} GiB free"
    if free < _ROOM:
        yield Finding("home", "weak", f"{text}: large environments (PyTorch) need 5 GiB and more")
    else:
        yield Finding("home", "ok", text)
    record = Home(settings.home).server()
    if record:
        yield Finding("server", "ok", f"runs at {record.endpoint}")
    else:
        yield Finding("server", "ok", "none runs; one is started when it is needed")


def _stores(settings: Settings) -> Iterator[Finding]:
    """The stores of the user's own, each asked for what lies in its bucket."""
    asked = {settings.bucket: settings.s3} if settings.s3 is not None else {}
    for bucket, said in {**asked, **settings.s3_buckets}.items():
        from penstock.objectstore.external import look  # noqa: PLC0415 - loads boto3
        from penstock.objectstore.own import source  # noqa: PLC0415

        try:
            access = source(said, settings.region)()
            look(access, bucket, _STORE_SECONDS, missing="pass" if bucket in asked else "refuse")
        except ConfigurationError as error:
            yield Finding(
                f"s3 ({bucket})", "weak", str(error), f"edit {settings.home / CONFIG}, see docs/s3.md"
            )
        else:
            yield Finding(f"s3 ({bucket})", "ok", f"{access.url}, region {access.region}")


def _interpreters(settings: Settings) -> Iterator[Finding]:
    from penstock.environments.interpreters import at_hand  # noqa: PLC0415 - looks through folders

    versions = sorted(
        {i.minor for i in at_hand(settings.environments)}, key=lambda v: [int(n) for n in v.split(".")]
    )
    alone = len(versions) < 2
    yield Finding(
        "interpreters",
        "weak" if alone else "ok",
        f"Python {', '.join(versions)}: images of other versions are played with the nearest of these",
        "uv python install 3.8 3.9 3.10" if alone else None,
    )
