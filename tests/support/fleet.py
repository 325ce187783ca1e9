"""Several servers on one database, each a process with a home of its own, and one object store for all of them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
import psycopg
from botocore.config import Config
from patience import until

from penstock.home import Home

_PATIENCE = 90.0
#: Seconds; short, so that a take-over is soon.
LEASE = 3


class Member:
    """One server."""

    def __init__(self, fleet, name, port, settings):
        self.fleet = fleet
        self.home = fleet.folder / name
        self.port = port
        self.env = {
            **fleet.env,
            "PENSTOCK_HOME": str(self.home),
            "PENSTOCK_PORT": str(port),
            **settings,
        }
        if "PENSTOCK_REPORT_URL" in settings:
            self.env["PENSTOCK_REPORT_URL"] += f":{port}"
        self.process = None
        self.elsewhere = False

    def start(self, *, code=None, elsewhere=False):
        """Run it, and return when it takes jobs; with `code`, what it says before it ends with that.

        With `elsewhere` it runs in a space of processes of its own, whose first process is a shell, beside the server.
        """
        self.home.mkdir(mode=0o700, exist_ok=True)
        if self.fleet.keys is not None and not (self.home / "keys.json").exists():
            shutil.copy(self.fleet.keys, self.home / "keys.json")
        log = (self.home / "server.log").open("ab")
        self.elsewhere = elsewhere
        command = [sys.executable, "-P", "-m", "penstock.server"]
        if elsewhere:
            shell = '"$@" & wait; while :; do sleep 1; done'
            space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", shell]
            command = [*space, "space", *command]
        self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, cwd="/")
        log.close()
        if code is not None:
            assert self.process.wait(_PATIENCE) == code
            return self.log()
        self.fleet.keys = self.fleet.keys or self.home / "keys.json"
        until(lambda: Home(self.home).server() is not None or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()
        with urllib.request.urlopen(f"{self.url}/penstock/ready", timeout=_PATIENCE) as answer:
            assert json.loads(answer.read())["ready"]
        return self

    @property
    def url(self):
        return Home(self.home).server().endpoint

    @property
    def id(self):
        return Home(self.home).server_id()

    def log(self):
        return (self.home / "server.log").read_text()

    def signal(self, number):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(_PATIENCE)

    def kill_server_alone(self):
        """The server of a machine of its own, whose runners live on."""
        (server,) = (pid for pid in _children(self._first()) if b"penstock.server" in _command(pid))
        os.kill(server, signal.SIGKILL)

    def power_off(self):
        """End all processes of a machine of its own at once, as the loss of power would."""
        os.kill(self._first(), signal.SIGKILL)
        self.process.wait(_PATIENCE)

    def _first(self):
        (first,) = _children(self.process.pid)
        return first

    def end(self):
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            # Its space of processes ends with `unshare`: nobody in it has a handler for SIGTERM.
            self.process.send_signal(signal.SIGKILL if self.elsewhere else signal.SIGTERM)
            self.process.wait(_PATIENCE)


class Fleet:
    """Servers by their names."""

    def __init__(self, folder, database, s3, environments, port):
        self.folder = folder
        self.database = database
        self.s3 = s3
        self.keys = None
        self.members = {}
        self._port = port
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
        self.env = {
            **kept,
            "PENSTOCK_DATABASE_URL": database,
            "PENSTOCK_ENVIRONMENTS": str(environments),
            "PENSTOCK_S3_ENDPOINT": s3.endpoint,
            "PENSTOCK_S3_REGION": s3.region,
            "PENSTOCK_S3_ACCESS_KEY_ID": s3.access_key_id,
            "PENSTOCK_S3_SECRET_ACCESS_KEY": s3.secret_access_key,
            "PENSTOCK_SERVER_LEASE": str(LEASE),
            "PENSTOCK_STOP_GRACE": "5",
            "PENSTOCK_CPUS": "8",  # four jobs of the smallest type with two processors
            "PENSTOCK_MEMORY": "4T",
            "PENSTOCK_SLOTS": "4",
            "PENSTOCK_RUNTIME": "sandbox",
        }

    def add(self, name, **settings):
        """A server that does not run yet."""
        self.members[name] = Member(self, name, self._port, settings)
        self._port += 10
        return self.members[name]

    def start(self, *names):
        return [self.add(name).start() for name in names]

    def close(self):
        for name, member in self.members.items():
            member.end()
            sys.stdout.write(f"--- {name}\n{member.log()[-5000:]}\n")  # shown when the test has failed

    def client(self, service, url):
        """An ordinary client of boto3, with nothing but its own ways to try again."""
        keys = json.loads(self.keys.read_text())
        return boto3.client(
            service,
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=keys["access_key_id"],
            aws_secret_access_key=keys["secret_access_key"],
            config=Config(retries={"mode": "standard", "max_attempts": 10}, read_timeout=20),
        )

    def store_client(self):
        """Of the object store itself."""
        return boto3.client(
            "s3",
            endpoint_url=self.s3.endpoint,
            region_name=self.s3.region,
            aws_access_key_id=self.s3.access_key_id,
            aws_secret_access_key=self.s3.secret_access_key,
        )

    def rows(self, statement, *values):
        with psycopg.connect(self.database, autocommit=True) as c:
            cursor = c.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def submit(client, name, code, **more):
    """A job that runs a piece of Python."""
    client.create_processing_job(
        **{
            "ProcessingJobName": name,
            "RoleArn": "arn:aws:iam::000000000000:role/any",
            "AppSpecification": {
                "ImageUri": "python:3.11",
                "ContainerEntrypoint": ["python3", "-u", "-c", code],
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}
            },
            **more,
        }
    )


def outcome(client, name):
    told = client.describe_processing_job(ProcessingJobName=name)
    return told["ProcessingJobStatus"], told.get("FailureReason")


def all_ended(client, names, seconds=180):
    """What has become of jobs, once all have ended."""

    def ended():
        outcomes = {name: outcome(client, name) for name in names}
        return (
            outcomes if all(s in {"Completed", "Failed", "Stopped"} for s, _ in outcomes.values()) else None
        )

    return until(ended, seconds, 0.2)
