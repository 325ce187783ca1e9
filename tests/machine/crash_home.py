"""A home whose jobs are each held at one moment of their lives, then a victim is killed, then all may go on."""

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from crash_gate import Gate, Holds, until
from machine_home import descendants, stop_server
from machine_store import client_of

from penstock.client import local_server, record
from penstock.environments import Uses, prepare
from penstock.home import Home

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
#: A bucket that lies behind the proxy, in the very store that the server keeps.
BUCKET = "held"
SMALL, LARGE = 100_000, 9 << 20  # the larger one goes to the store in two parts
VICTIMS = ("server", "nursery", "runner", "store", "all")

#: Where each job is when the victim is killed.
MOMENTS = (
    "queued",
    "prepared",  # its folder is there, nothing is on record of its instance
    "intended",  # the intent is on record, and nothing has been started
    "asked-for",  # the nursery has been asked for its runner, and has not forked it
    "preparing",
    "downloading",
    "running",
    "half-ended",  # one of two instances has ended
    "stopping",  # its program has been asked to end, and has not
    "uploading",  # in the middle of a large object
    "failing",  # the same, of a program that has failed
    "uploaded",  # the store has the last object, the runner does not know
    "ended",  # its runner has written the end down, and no server has been told
    "reported",  # its runner's end is on record, the job's is not
    "salvaging",  # its runner was killed while its program ran, and another one uploads what is there
)

PROGRAM = """
import os, pathlib, signal, socket
who = os.environ["PROCESSING_JOB_NAME"] + "/" + socket.gethostname()
gate = socket.create_connection(("127.0.0.1", int(os.environ["GATE"])))
signal.signal(signal.SIGTERM, lambda *_: gate.sendall(b"asked to end"))
out = pathlib.Path("/opt/ml/processing/out") / socket.gethostname()
out.mkdir()
def put(name, size):
    (out / name).write_bytes((f"{who} {name}|".encode() * size)[:size])
put("early", 1000)
print("early is there", flush=True)
gate.sendall(who.encode() + b"\\n")
gate.recv(1)
put("late", int(os.environ["SIZE"]))
print("late is there", flush=True)
raise SystemExit(int(os.environ["CODE"]))
"""


def content(who, name, size):
    """What the program of an instance writes to an output."""
    return (f"{who} {name}|".encode() * size)[:size]


def make_environments(folder):
    """Build what the jobs need, and return the folder of the one that is locked to hold a job that prepares."""
    with Uses() as uses:
        made = [
            prepare(
                image,
                folder=folder,
                strict=False,
                progress=print,
                cancelled=lambda: False,
                who="tests",
                uses=uses,
            )
            for image in ("python:3.11", "python:3.12")
        ]
    return [one.prefix.parent for one in made]


@dataclass(frozen=True)
class Aftermath:
    """A job that has ended."""

    status: str
    reason: str | None
    objects: dict[str, bytes]
    """What the store holds of its output."""
    manifest: dict[str, str]
    """The SHA-256 sums by `penstock outputs`."""
    starts: dict[str, int]
    """How often each instance's program was started."""
    twice: list[str]
    """Instances of which two programs lived at the same time."""
    log: dict[str, str]
    """By instance."""


class CrashHome:
    """One home, one server, one job for each moment."""

    def __init__(self, path, port, environments):
        self._home = Home(path)
        self._home.make()
        self._gate = Gate(
            {f"{job}/algo-1" for job in ("running", "stopping", "salvaging")} | {"half-ended/algo-2"}
        )
        self._holds = Holds(
            before=(
                f"GET /{BUCKET}/in/downloading/x",
                f"PUT /{BUCKET}/uploading/algo-1/late?partNumber=2",
                f"PUT /{BUCKET}/failing/algo-1/late?partNumber=2",
                f"PUT /{BUCKET}/salvaging/algo-1/early",
            ),
            after=(f"PUT /{BUCKET}/uploaded/algo-1/late",),
        )
        self._exit = contextlib.ExitStack()
        self._proxy = self._exit.enter_context(self._holds.behind(self._store))
        self._environments = environments
        self._server = None
        self._frozen = None
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
        self._env = {
            **kept,
            "PENSTOCK_HOME": str(path),
            "PENSTOCK_PORT": str(port),
            "PENSTOCK_ENVIRONMENTS": str(environments[0].parent),
            "PENSTOCK_CPUS": "64",
            "PENSTOCK_MEMORY": "4T",
            "PENSTOCK_SLOTS": "64",
            "PENSTOCK_RUNTIME": "sandbox",
        }
        keys = self._home.keys()
        config = path / "config.toml"
        config.touch(0o600)
        config.write_text(
            f'[s3.buckets."{BUCKET}"]\nendpoint = "{self._proxy.url}"\n'
            f'access_key_id = "{keys.access_key_id}"\nsecret_access_key = "{keys.secret_access_key}"\n'
        )

    def close(self):
        self.let_all_go()
        self._exit.close()
        self._gate.close()
        stop_server(self._home.path)
        if self._server is not None:
            self._server.wait()

    # The server and its processes

    def serve(self):
        """`penstock serve`, until it can take jobs."""
        with (self._home.path / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [PENSTOCK, "serve"], env=self._env, stdout=log, stderr=log, start_new_session=True
            )
        told = until(self._home.server, "a server")
        with urllib.request.urlopen(f"{told.endpoint}/penstock/ready", timeout=60) as answer:
            assert answer.status == 200
        self._address = local_server.address(self._home, told)

    def _store(self):
        where = urlsplit(json.loads((self._home.path / "server.json").read_text())["s3_endpoint"])
        return where.hostname, where.port

    def kill(self, victim):
        """SIGKILL, to all that belongs to the victim within one moment."""
        server = self._server.pid
        store, nursery, runners = self._holders("store/lock"), self._nurseries(), self._runners()
        if victim == "runner":
            doomed = runners
        else:
            every = {server, *descendants(server), *store, *nursery, *runners, *map_descendants(runners)}
            doomed = {"server": {server}, "nursery": nursery, "store": store, "all": every}[victim]
        assert doomed
        programs = map_descendants(doomed & runners)
        for pid in sorted(doomed):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if server in doomed:
            self._server.wait()
            self._server = None
        until(lambda: not any(map(alive, programs)), "the end of what the killed runners ran")

    def _holders(self, name):
        """The processes that have a file of the home open."""
        wanted = str(self._home.path / name)
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if any(os.readlink(link) == wanted for link in (entry / "fd").iterdir()):
                        found.add(int(entry.name))
        return found

    def _runners(self):
        """The living ones, by the locks of their runs; the nursery may hold one that it has not passed on yet."""
        return {
            int(path.read_text())
            for path in self._home.path.glob("runs/*/*/pid")
            if self._lives(path.parent / "lock")
        }

    def _lives(self, lock):
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _nurseries(self):
        return {
            pid
            for pid in descendants(self._server.pid)
            if b"penstock.runner.nursery" in Path(f"/proc/{pid}/cmdline").read_bytes()
            and int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1]) == self._server.pid
        }

    # Jobs at their moments

    def fill(self):
        """One job for each moment, and return when each has come there."""
        keys = self._home.keys()
        pair = keys.access_key_id, keys.secret_access_key
        host, port = self._store()
        self.s3 = self._exit.enter_context(client_of("s3", f"http://{host}:{port}", *pair))
        self.sagemaker = self._exit.enter_context(client_of("sagemaker", self._address.endpoint, *pair))
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_object(Bucket=BUCKET, Key="code/program.py", Body=PROGRAM.encode())
        self.s3.put_object(Bucket=BUCKET, Key="in/downloading/x", Body=b"x")
        self._locked = os.open(self._environments[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._locked, fcntl.LOCK_EX)
        # A write that the database refuses again and again is a moment that lasts.
        self._refuse("prepared", "INSERT ON hosts", "NEW.job_name IN ('prepared', 'intended')")
        self._refuse("ended", "UPDATE ON hosts", "NEW.job_name = 'ended' AND NEW.outcome IS NOT NULL")
        self._refuse("reported", "UPDATE ON jobs", "NEW.name = 'reported' AND NEW.status = 'Completed'")
        for job in MOMENTS:
            if job not in {"queued", "asked-for"}:
                self._create(job)
        self._set_intended()
        self._set_salvaging()
        self._set_half_ended()
        self._set_stopping()
        self._create("queued")
        for moment in MOMENTS:
            if moment != "asked-for":
                until(lambda: self._there(moment), f"{moment} ({self.told(moment)})")  # noqa: B023 - called at once
        (nursery,) = self._nurseries()
        os.kill(nursery, signal.SIGSTOP)
        self._frozen = nursery
        self._create("asked-for")
        until(lambda: self._there("asked-for"), "asked-for")

    def _set_intended(self):
        """Where its lock should be, there is a folder: no runner can be started, nor be found dead."""
        run = until(lambda: self._run("intended"), "the run of intended")
        (run / "lock").mkdir()
        self._refuse("prepared", "INSERT ON hosts", "NEW.job_name = 'prepared'")

    def _set_salvaging(self):
        until(lambda: self._gate.starts.get("salvaging/algo-1"), "the program of salvaging")
        until(lambda: self._phase("salvaging") == "running", "salvaging running")
        until(lambda: self._logged("salvaging"), "the words of salvaging")
        os.kill(int((self._run("salvaging") / "pid").read_text()), signal.SIGKILL)

    def _set_half_ended(self):
        until(lambda: self._gate.starts.get("half-ended/algo-2"), "the second program of half-ended")

    def _set_stopping(self):
        until(lambda: self._gate.starts.get("stopping/algo-1"), "the program of stopping")
        self.sagemaker.stop_processing_job(ProcessingJobName="stopping")

    def _there(self, moment):
        match moment:
            case "queued":
                return self._phase("queued") == "queued"
            case "prepared":
                run = self._run("prepared")
                return run and (run / "run.json").exists() and not self._outcomes("prepared")
            case "intended":
                return self._phase("intended") == "preparing" and self._outcomes("intended") == [None]
            case "asked-for":
                run = self._run("asked-for")
                return run and (run / "lock").exists() and self._lives(run / "lock")
            case "preparing":
                return self._phase(moment) == moment
            case "running":
                return self._phase(moment) == moment and self._logged(moment)
            case "downloading":
                return self._holds.reached(f"GET /{BUCKET}/in/downloading/x")
            case "half-ended":
                there = [bool(one) for one in self._outcomes("half-ended")] == [True, False]
                return there and self._logged("half-ended", "algo-2")
            case "stopping":
                return b"asked to end" in self._gate.said("stopping/algo-1") and self._logged("stopping")
            case "uploading" | "failing":
                return self._holds.reached(f"PUT /{BUCKET}/{moment}/algo-1/late?partNumber=2")
            case "uploaded":
                return self._holds.reached(f"PUT /{BUCKET}/uploaded/algo-1/late")
            case "ended":
                run = self._run("ended")
                return run and '"ended"' in (run / "journal").read_text()
            case "reported":
                return all(self._outcomes("reported")) and self._outcomes("reported")
            case "salvaging":
                return self._holds.reached(f"PUT /{BUCKET}/salvaging/algo-1/early")

    def let_all_go(self):
        """Nothing is held any longer."""
        if self._frozen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._frozen, signal.SIGCONT)
            self._frozen = None
            os.close(self._locked)
            with self._database() as database:
                for (name,) in database.execute(
                    "SELECT name FROM sqlite_master WHERE name LIKE 'refuse_%'"
                ).fetchall():
                    database.execute(f"DROP TRIGGER {name}")
            (self._run("intended") / "lock").rmdir()
        self._holds.free()
        self._gate.let_all_go()

    def _create(self, job):
        image = "python:3.12" if job == "preparing" else "python:3.11"
        self.sagemaker.create_processing_job(
            ProcessingJobName=job,
            RoleArn="arn:aws:iam::000000000000:role/r",
            AppSpecification={
                "ImageUri": image,
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/program.py"],
            },
            Environment={
                "GATE": str(self._gate.port),
                "SIZE": str(self.size(job)),
                "CODE": "3" if job == "failing" else "0",
            },
            ProcessingResources={
                "ClusterConfig": {
                    "InstanceCount": self.instances(job),
                    # Larger than the machine: it waits until all others have ended.
                    "InstanceType": "ml.m5.24xlarge" if job == "queued" else "ml.m5.large",
                    "VolumeSizeInGB": 1,
                }
            },
            ProcessingInputs=[
                _input("code", f"s3://{BUCKET}/code/program.py"),
                *([_input("in", f"s3://{BUCKET}/in/{job}/x")] if job == "downloading" else []),
            ],
            ProcessingOutputConfig={
                "Outputs": [
                    {
                        "OutputName": "out",
                        "S3Output": {
                            "S3Uri": f"s3://{BUCKET}/{job}",
                            "LocalPath": "/opt/ml/processing/out",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
        )

    @staticmethod
    def size(job):
        return LARGE if job in {"uploading", "failing"} else SMALL

    @staticmethod
    def instances(job):
        return 2 if job == "half-ended" else 1

    # What is on record, past the server

    @contextlib.contextmanager
    def _database(self):
        with contextlib.closing(sqlite3.connect(self._home.path / "penstock.db", timeout=30)) as database:
            database.isolation_level = None
            yield database

    def _refuse(self, name, what, when):
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(f"DROP TRIGGER IF EXISTS refuse_{name}")
            database.execute(
                f"CREATE TRIGGER refuse_{name} BEFORE {what} WHEN {when} "
                f"BEGIN SELECT RAISE(ABORT, 'held at: {name}'); END"
            )
            database.execute("COMMIT")

    def _phase(self, job):
        with self._database() as database:
            found = database.execute("SELECT phase FROM jobs WHERE name = ?", (job,)).fetchone()
        return found and found[0]

    def _logged(self, job, host="algo-1"):
        """Whether the runner has taken its program's words: those in the pipe between the two are lost with it."""
        log = self._home.path / "runs" / self._uid(job) / host / "log"
        return log.exists() and "early is there" in log.read_text()

    def _outcomes(self, job):
        with self._database() as database:
            query = "SELECT outcome FROM hosts WHERE job_name = ? ORDER BY name"
            return [outcome for (outcome,) in database.execute(query, (job,))]

    def _run(self, job):
        folder = self._home.path / "runs" / self._uid(job) / "algo-1"
        return folder if folder.exists() else None

    def _uid(self, job):
        with self._database() as database:
            (uid,) = database.execute("SELECT uid FROM jobs WHERE name = ?", (job,)).fetchone()
        return uid

    # What has become of them

    def told(self, job):
        return record.fetch(self._address, job)

    def wait_for_ends(self):
        """Return when all jobs have ended."""

        def ended():
            page = self.sagemaker.list_processing_jobs(MaxResults=100)["ProcessingJobSummaries"]
            return all(one["ProcessingJobStatus"] in {"Completed", "Failed", "Stopped"} for one in page)

        until(ended, "the ends of all jobs")

    def aftermath(self, job):
        """What is on record of a job, and in the store."""
        described = self.sagemaker.describe_processing_job(ProcessingJobName=job)
        keys = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{job}/").get("Contents", [])
        objects = {o["Key"]: self.s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read() for o in keys}
        return Aftermath(
            status=described["ProcessingJobStatus"],
            reason=described.get("FailureReason"),
            objects={key.removeprefix(f"{job}/"): body for key, body in objects.items()},
            manifest={
                one["uri"].removeprefix(f"s3://{BUCKET}/{job}/"): one["sha256"]
                for one in record.uploads(self._address, job)
            },
            starts={who: n for who, n in self._gate.starts.items() if who.startswith(f"{job}/")},
            twice=[who for who in self._gate.twice if who.startswith(f"{job}/")],
            log=self._log(job),
        )

    def shown(self, jobs):
        """What `penstock describe` prints of each, by the command line's own code in one process."""
        calls = "import sys; from penstock.cli.main import app\n"
        calls += (
            "for job in sys.argv[1:]: app(['describe', job], standalone_mode=False); print('\\0', end='')"
        )
        said = subprocess.run(
            [sys.executable, "-c", calls, *jobs], env=self._env, capture_output=True, text=True, check=True
        )
        return dict(zip(jobs, said.stdout.split("\0"), strict=False))

    def _log(self, job):
        folder = self._home.path / "logs" / self._uid(job)
        return {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else {}

    def last_words(self):
        """The end of the server's log."""
        return (self._home.path / "server.log").read_text()[-4000:]

    def left(self):
        """What is left of runs once all has ended."""
        return [str(path) for path in self._home.path.glob("runs/*/*")]


def map_descendants(pids):
    return {one for pid in pids for one in descendants(pid)}


def alive(pid):
    """Whether a process is there, and is more than what its parent has not asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _input(name, uri):
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"/opt/ml/processing/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }
