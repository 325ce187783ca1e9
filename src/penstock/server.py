"""The composition root: the one file that names concrete classes, starts them and ends them in order.

``python -m penstock.server`` serves in the foreground, without the command line's imports.
"""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import uvicorn

from penstock._version import __version__
from penstock.api.admission import Admission
from penstock.api.app import Application
from penstock.api.callers import Callers, Lender
from penstock.api.context import Context
from penstock.api.gateway import S3Gateway
from penstock.api.news import News
from penstock.api.protocol import BoundedProtocol
from penstock.clock import now
from penstock.config import Settings
from penstock.data.listing import is_loopback
from penstock.dispatch.lease import Alone
from penstock.dispatch.loop import Dispatcher
from penstock.dispatch.outlook import nodes, outlook
from penstock.engines.base import part_of
from penstock.engines.choose import choice, has_far_runs
from penstock.engines.choose import choose as choose_engine
from penstock.errors import ConfigurationError, PenstockError
from penstock.home import AlreadyServed, Home, ServerRecord
from penstock.job.claim import Resources
from penstock.job.life import Job
from penstock.job.lock import VARIABLE
from penstock.job.run import Run, S3Access
from penstock.objectstore.choose import choose
from penstock.objectstore.own import bucket_sources
from penstock.retention import files
from penstock.retention.keeper import Keeper
from penstock.retention.policy import Policy
from penstock.retention.records import Records
from penstock.runtimes.containers import sockets
from penstock.shared import open_shared
from penstock.store.local_ports import local_ports
from penstock.wire import model, signature

_log = logging.getLogger("penstock")

#: The store is asked for below the API's port range; both lie below the ephemeral ports (32768).
_PORTS_TRIED = 200
_STORE_SECONDS = 60.0
_WATCH_SECONDS = 1.0
#: What a job may take beside its program's time: its environment, its inputs and its outputs.
_BEFORE_AND_AFTER = 86_400
#: The exit code of `serve` when the home is served already.
ALREADY_SERVED = 3


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        AlreadyServed: Another server holds the home.
        ConfigurationError: Something is not as it must be; the message says what.
    """
    os.umask(0o077)
    home = Home(settings.home)
    home.make()
    with home.hold(), _Server(settings, home) as server:
        server.run()


class _Web(uvicorn.Server):
    """Answers all who still wait for news before it ends."""

    def __init__(self, config: uvicorn.Config, end_waits: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_waits = end_waits

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close connections, the waiting ones first."""
        self._end_waits()
        await super().shutdown(sockets)


class _Server:
    """All parts of one server, started and ended together."""

    def __init__(self, settings: Settings, home: Home) -> None:
        self._settings = settings
        self._home = home
        self._keys = home.keys()
        # Others are told the address of PENSTOCK_REPORT_URL: another port would leave them with nobody there.
        self._sockets = [_listen(settings.host, settings.port, 1 if settings.report_url else _PORTS_TRIED)]
        host, port = self._sockets[0].getsockname()[:2]
        shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
        self._endpoint = _url(shown, port)
        #: Where runners reach it.
        self._report_url = settings.report_url or self._endpoint
        #: Whether they may be on other machines.
        self._far = has_far_runs(settings)
        # Before anything runs: other servers of the database may not agree.
        self._shared = open_shared(settings, home, self._endpoint)
        self._store, self._logbook = self._shared.store, self._shared.logbook
        self._bucket_sources = bucket_sources(settings)
        self._objects = choose(settings, self._keys.access_key_id, self._keys.secret_access_key, port + 1)
        # Started early and side by side: it takes a second, the rest of the server a third of that.
        self._objects.start()
        #: For jobs' programs: boto3 asks for credentials on loopback alone.
        self._inner_endpoint = self._endpoint
        if not ipaddress.ip_address(shown).is_loopback:
            self._sockets.append(_listen("127.0.0.1", port))
            self._inner_endpoint = _url("127.0.0.1", self._sockets[1].getsockname()[1])
        reachable = not is_loopback(self._report_url)
        self._engine = choose_engine(settings, home, reachable, self._look_again)
        self._choice = choice(settings)
        self._store.assign(self._choice)
        policy, records = Policy.of(settings), Records(self._store, self._logbook)
        shelves = files.inputs(home.cache), files.environments(settings.environments)
        self._keeper = Keeper(policy, records, settings.home, shelves, now, elsewhere=self._tidy_nodes)
        self._news = News(others=not self._store.in_process)
        self._dispatcher = Dispatcher(
            self._store,
            self._logbook,
            self._engine,
            self._make_run,
            now,
            right=self._shared.lease or Alone(settings.runner_lease * 1000 if self._far else None),
            tell=self._news.tell,
            hindrance=self._keeper.hindrance,
            retries=settings.retries,
            choice=self._choice,
        )
        self._ready = threading.Event()
        self._ending = threading.Event()
        self._not_ready: str | None = None
        self._beginning = threading.Thread(target=self._begin_work, name="begin", daemon=True)
        context = Context(
            store=self._store,
            logbook=self._logbook,
            region=settings.region,
            account=settings.account,
            clock=now,
            wake=self._dispatcher.wake,
            admission=Admission(self._store.add_jobs),
            news=self._news,
            local_inputs=settings.local_inputs,
            signer=self._keys.access_key_id,
            most=self._most if settings.strict_resources else None,
            choice=self._choice,
            queue=self._outlook,
            nodes=lambda: nodes(self._store, self._engine, self._shared.known()),
            runner_ms=settings.runner_lease * 1000,
            server_urls=self._shared.urls,
            runtime=settings.runtime,
            # On nodes it is theirs, and their runners tell.
            no_engine=sockets.lacking if "local" in settings.engines else lambda: None,
            tidy_nodes=self._engine.tidy,
            no_room=self._keeper.lacking,
            all_experiments=settings.job_experiments == "all",
            retention=(policy, records),
        )
        self._lender = Lender(self._keys.secret_access_key)
        key = signature.Key(self._keys.access_key_id, self._keys.secret_access_key)
        callers = Callers(key, self._lender, self._store.job_of_uid, now)
        gateway = S3Gateway(self._access, settings.s3 is None, callers, settings.account)
        self._application = Application(
            context,
            callers,
            gateway,
            self._status,
            self._wait_ready,
            relaxed_limits=settings.aws_limits == "relaxed",
        )

    def __enter__(self) -> Self:
        self._home.announce(self._record())
        self._shared.start()
        self._beginning.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._dispatcher.close()
        self._keeper.close()
        self._engine.close()
        alive = [job for job in self._store.begun_jobs() if job.place == self._shared.place]
        if alive:
            _log.warning("%d job(s) go on without the server; the object store stays up for them", len(alive))
        self._beginning.join(_STORE_SECONDS if alive else 0)
        if not alive:
            self._objects.stop()
            self._beginning.join()
            self._objects.stop()  # should it have been started anew in just this moment
        self._shared.close()

    def run(self) -> None:
        """Answer requests until a signal comes."""
        config = uvicorn.Config(
            self._application,
            loop="uvloop",
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,
        )
        _log.info("Penstock %s serves at %s (home %s)", __version__, self._endpoint, self._settings.home)
        server = _Web(config, self._news.end)
        # Before uvicorn has taken the signals over, and after, when it raises those again that it has obeyed.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        server.run(sockets=self._sockets)

    def _begin_work(self) -> None:
        """Start jobs only once the store can take their bytes."""
        model.service("sagemaker")  # while the store starts, so that the first request need not load it
        try:
            self._objects.wait_ready(_STORE_SECONDS)
        except PenstockError as error:
            if self._ending.is_set():
                return  # it was stopped before it was ready
            self._not_ready = str(error)
            _log.error("%s", error)
            self._ready.set()
            return
        _log.info("objects are kept at %s", self._objects.access.endpoint or "AWS S3")
        self._home.announce(self._record())  # the store may have had to move to other ports
        self._engine.warm_up()
        self._dispatcher.start()
        self._keeper.start()
        gc.freeze()  # what is loaded stays: to look for garbage among it took 50 ms, at every tenth large answer
        self._ready.set()
        self._watch_store()

    def _watch_store(self) -> None:
        """Start the object store anew when it dies, until the server ends. Transfers under way wait for it."""
        while not self._ending.wait(_WATCH_SECONDS):
            if self._objects.alive():
                continue
            _log.warning("The object store has died; it is started again")
            self._ready.clear()
            try:
                self._objects.start()
                self._objects.wait_ready(_STORE_SECONDS)
            except PenstockError as error:
                _log.error("%s", error)
                continue
            self._home.announce(self._record())
            self._ready.set()

    def _wait_ready(self) -> None:
        ready = self._ready.wait(_STORE_SECONDS)
        if self._not_ready is not None:
            raise ConfigurationError(self._not_ready)
        if not ready:
            raise PenstockError("The object store has not come back yet; the server's log says why.")

    def _status(self) -> Mapping[str, Any]:
        state = "failed" if self._not_ready else "ready" if self._ready.is_set() else "starting"
        return {"version": __version__, "store": state, "active_jobs": self._store.active_count()}

    def _look_again(self) -> None:
        self._dispatcher.wake()

    def _tidy_nodes(self) -> None:
        for address, told in self._engine.tidy({"inputs": True, "environments": True}).items():
            if "failed" in told:
                _log.warning("What is kept on %s can't be cleared up: %s", address, told["failed"])
            elif gone := [one["name"] for kind in ("inputs", "environments") for one in told[kind]]:
                _log.info("Removed on %s: %s", address, ", ".join(gone))

    def _outlook(self) -> Mapping[str, Any]:
        servers, held_up = self._shared.known(), self._keeper.hindrance()
        return outlook(self._store, self._engine, now(), servers, self._dispatcher.hindrance, held_up)

    def _most(self, engine: str) -> Resources:
        """What there is for jobs that wait for an engine."""
        part = part_of(self._engine, engine)
        return Resources() if part is None else part.capacity()

    def _access(self) -> S3Access:
        """How to reach the store at this moment: it may move to other ports, and keys may be new ones."""
        return replace(self._objects.access, buckets=self._bucket_sources())

    def _make_run(self, job: Job, host: str, hosts: tuple[str, ...], token: str) -> Run:
        far = job.engine != "local"
        return Run(
            job_name=job.name,
            job_uid=job.uid,
            job_arn=job.arn,
            host=host,
            hosts=hosts,
            request=job.request,
            region=self._settings.region,
            token=token,
            report_url=self._report_url if far else self._endpoint,
            home=str(self._settings.home),
            s3=self._far_access(job) if far else self._access(),
            environments=str(self._settings.environments),
            cache=str(self._home.cache) if self._settings.cache_bytes else None,
            cache_bytes=self._settings.cache_bytes,
            local_inputs=self._settings.local_inputs,
            closed_ports=local_ports(self._settings.database_url),
            walls=self._settings.walls,
            runtime=self._settings.runtime,
            pull=self._settings.pull,
            limits=self._settings.limits,
            shm_bytes=self._settings.shm_bytes,
            strict_versions=self._settings.strict_versions,
            lock=self._lock(job),
            stop_grace=self._settings.stop_grace,
            attempt=job.attempt,
            spent=job.spent_ms / 1000,
            far=far,
            others=tuple(url for url in self._shared.urls().values() if not is_loopback(url)) if far else (),
            leased=far or self._shared.lease is not None,
            aws=self._lender.fixed(job.key, self._report_url, _until(job))
            if far
            else self._lender.variables(job.key, self._inner_endpoint),
        )

    def _far_access(self, job: Job) -> S3Access:
        """The same for another machine: to the embedded store by this server, with the job's own credentials."""
        access = self._access()
        if not access.own:
            return access
        key = self._lender.lend(job.key, _until(job)).key
        return replace(
            access,
            endpoint=self._report_url,
            access_key_id=key.access_key_id,
            secret_access_key=key.secret,
            session_token=key.token,
            own=False,
        )

    def _lock(self, job: Job) -> str | None:
        """The lock that a job's Environment names; that there is one was looked at when the job was made."""
        if job.lock is None:
            return None
        text = self._store.locks.get(job.lock)
        if text is None:
            raise ConfigurationError(f"The lock {job.lock} ({VARIABLE}) is no longer there.")
        return text

    def _record(self) -> ServerRecord:
        access = self._objects.access
        return ServerRecord(
            pid=os.getpid(),
            endpoint=self._endpoint,
            s3_endpoint=access.endpoint,
            version=__version__,
            home=str(self._settings.home),
            region=self._settings.region,
            account=self._settings.account,
            bucket=self._settings.bucket,
            started_at=now(),
            s3_region=access.region,
            own_s3=self._settings.s3 is None,
            s3_buckets={name: said.endpoint for name, said in self._settings.s3_buckets.items()},
            local_inputs=self._settings.local_inputs,
        )


def _until(job: Job) -> int:
    """For how long credentials must do that are not renewed, in seconds since the epoch."""
    return now() // 1000 + int(job.request["StoppingCondition"]["MaxRuntimeInSeconds"]) + _BEFORE_AND_AFTER


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen(host: str, port: int, tried: int = _PORTS_TRIED) -> socket.socket:
    """A listening socket on `port` or the next free one, of `tried` in all.

    Raises:
        ConfigurationError: The address is not this machine's, or no port is free.
    """
    last: OSError | None = None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + tried, 65536)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(1024)
        except OSError as error:
            listener.close()
            last = error
            continue
        return listener
    which = (
        f"No port from {port} on"
        if tried > 1
        else f"With PENSTOCK_REPORT_URL no port but {port} will do, and none"
    )
    raise ConfigurationError(f"{which} could be had on {host} ({last}). Set PENSTOCK_PORT or PENSTOCK_HOST.")


def main() -> None:
    """Serve with the settings of the environment; the log goes to stderr."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Not in our format, and found out for each line all the same.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        serve(Settings.read())
    except AlreadyServed as error:
        print(f"penstock: {error}", file=sys.stderr)  # noqa: T201 - this is a command
        sys.exit(ALREADY_SERVED)
    except ConfigurationError as error:
        print(f"penstock: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
