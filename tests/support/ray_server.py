"""A server whose jobs run on a Ray cluster, as a process with a home of its own."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import boto3
from machine_home import ENVIRONMENTS
from patience import until

from penstock.home import Home

_PATIENCE = 90.0


class RayServer:
    """One server."""

    def __init__(self, folder, address, **settings):
        self.home = folder
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PENSTOCK_", "RAY_"))},
            "PENSTOCK_HOME": str(folder),
            "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
            "PENSTOCK_STOP_GRACE": "5",
            "PENSTOCK_PORT": "12550",
            "PENSTOCK_RUNTIME": "sandbox",
            "PENSTOCK_AWS_LIMITS": "relaxed",  # programs of some lines
            "PENSTOCK_ENGINE": "ray",
            "PENSTOCK_RAY_ADDRESS": address,
            **settings,
        }
        self.process = None

    def start(self):
        """Run it, and return when it takes jobs."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "penstock.server"], env=self.env, stdout=log, stderr=log, cwd="/"
            )
        until(lambda: Home(self.home).server() is not None or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()
        with urllib.request.urlopen(f"{self.url}/penstock/ready", timeout=_PATIENCE) as answer:
            assert json.loads(answer.read())["ready"]
        return self

    @property
    def url(self):
        return Home(self.home).server().endpoint

    def log(self):
        return (self.home / "server.log").read_text()

    def end(self, number=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(_PATIENCE)

    def client(self, service):
        keys = Home(self.home).keys()
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
        )

    def hosts(self, name):
        """A job's hosts as they are on record: name -> phase."""
        return {host["host"]: host["phase"] for host in self.record(name)["hosts"]}

    def record(self, name):
        """What Penstock itself tells of a job."""
        from penstock.client import local_server, record

        home = Home(self.home)
        return record.fetch(local_server.address(home, home.server()), name)

    def logged(self, name):
        """The lines of all hosts of a job."""
        logs = self.client("logs")
        group = "/aws/sagemaker/ProcessingJobs"
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]
