"""A dispatcher whose passes a test makes."""

import itertools

from penstock.dispatch.lease import Alone
from penstock.dispatch.loop import Dispatcher
from penstock.job.claim import Resources
from penstock.job.events import HostEvent
from penstock.job.life import Job
from penstock.job.run import Run, S3Access
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook
from penstock.testing.fake_engine import FakeEngine


class World:
    """A dispatcher over a real database and a fake engine, stepped by hand."""

    def __init__(self, folder):
        self.store = open_sqlite(folder / "p.db")
        self.logbook = FileLogbook(folder / "logs")
        self.engine = FakeEngine(Resources(cpus=64, memory=1 << 50, instances=4))
        self.time = itertools.count(10_000, 7)
        self.restart()

    def restart(self, runner_ms=None, **more):
        """As after a crash: nothing survives but the store and the engine's runs."""
        self.dispatcher = Dispatcher(
            self.store,
            self.logbook,
            self.engine,
            self.make_run,
            lambda: next(self.time),
            right=Alone(runner_ms),
            **more,
        )

    def make_run(self, job, host, hosts, token):
        s3 = S3Access(None, "us-east-1")
        return Run(
            job.name, job.uid, job.arn, host, hosts, job.request, "r", token, "http://x", None, s3, "/e"
        )

    def submit(self, name, instances=1, kind="", **more):
        at = next(self.time)
        cluster = {"InstanceCount": instances, "InstanceType": kind}
        request = {"ProcessingResources": {"ClusterConfig": cluster}}
        job = Job(name, f"{name}-uid", f"arn:{name}", request, at, at, phases={"queued": at}, **more)
        self.store.add_job(job, {})
        return job

    def report(self, name, host="algo-1", *, kind="ended", sequence=1, **data):
        self.store.apply_events(f"{name}-uid", host, [HostEvent(sequence, kind, next(self.time), data)])

    def phase(self, name):
        return self.store.job(name).phase

    def run(self, name, host="algo-1"):
        return self.engine.runs[f"{name}-uid/{host}"]
