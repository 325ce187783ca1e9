"""What a real server keeps and what goes, on both databases; killed in the midst of it; and on a disk with a floor."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from machine_home import ENVIRONMENTS, stop_server
from patience import until

from penstock.job.events import Host
from penstock.job.life import Halted, Phase, advance
from penstock.job.uploads import Upload
from penstock.store.job_query import JobQuery
from penstock.store.logbook import FileLogbook
from penstock.store.rows import host_row
from penstock.store.tables import hosts, uploads
from penstock.testing.stores import new_job, open_store

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]

PENSTOCK = Path(sys.executable).with_name("penstock")
FLOOR_DRIVER = Path(__file__).with_name("disk_floor.py")
COUNT = 700


class Machine:
    """A home with settings of its own, and the command line on it."""

    def __init__(self, home, **settings):
        self.home = home
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
        self.env = {
            **kept,
            "PENSTOCK_HOME": str(home),
            "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
            "PENSTOCK_PORT": "15750",
            "PENSTOCK_KEEP_ENVIRONMENTS": "ever",
            "PENSTOCK_CPUS": "64",
            **settings,
        }

    def __call__(self, *args, code=0):
        done = subprocess.run([PENSTOCK, *args], env=self.env, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def asked(self, *args):
        done = subprocess.run(
            [PENSTOCK, *args, "--json"], env=self.env, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def machine(tmp_path):
    made = []

    def make(**settings):
        made.append(Machine(tmp_path / "home", **settings))
        return made[-1]

    yield make
    stop_server(tmp_path / "home")


@pytest.fixture(params=["sqlite", "postgres"])
def on_either(request, machine):
    if request.param == "sqlite":
        return machine()
    return machine(PENSTOCK_DATABASE_URL=request.getfixturevalue("postgres").new_database())


def test_logs_and_jobs_go_when_asked_and_what_runs_stays(on_either, tmp_path):
    penstock = on_either
    script, waits = tmp_path / "script.py", tmp_path / "waits.py"
    script.write_text("print('said by the program')")
    waits.write_text("import time; print('it works', flush=True); time.sleep(600)")
    assert "said by the program" in penstock("run", "--name", "ended", str(script))
    penstock("run", "--name", "works", "--no-wait", str(waits))
    shown = penstock("prune", "--older-than", "0s", "--logs", "--dry-run")
    assert "1 log would go" in shown
    assert "said by" in penstock("logs", "ended")
    assert penstock.asked("prune", "--older-than", "0s", "--logs")["bytes"] > 0
    said = penstock("logs", "ended")
    assert "The log of ended was removed on" in said
    assert "PENSTOCK_KEEP_LOGS" in said
    assert "was removed on" in penstock("describe", "ended")
    assert "Completed" in penstock("jobs")
    told = penstock.asked("prune", "--older-than", "0s", "--jobs", "--logs")
    assert [one["name"] for one in told["jobs"]] == ["ended"]
    for command in ("describe", "logs"):
        assert "Could not find requested job with name: ended" in penstock(command, "ended", code=1)
    assert [job["ProcessingJobName"] for job in penstock.asked("jobs")] == ["works"]
    penstock("stop", "works")
    penstock("logs", "-f", "works", code=4)
    assert "said by the program" in penstock("run", "--name", "ended", str(script))  # the name is free


def test_a_job_that_is_stopped_at_once_leaves_no_folder(machine, tmp_path):
    penstock = machine()
    (tmp_path / "script.py").write_text("import time; time.sleep(600)")
    penstock("up")
    for number in range(3):
        penstock("run", "--name", f"j{number}", "--no-wait", str(tmp_path / "script.py"))
        penstock("stop", f"j{number}")
        penstock("logs", "-f", f"j{number}", code=4)
    until(lambda: not list((penstock.home / "runs").glob("*")))


@pytest.mark.parametrize("keep", ["PENSTOCK_KEEP_JOBS", "PENSTOCK_KEEP_LOGS"])
def test_a_server_killed_in_the_midst_of_it_leaves_nothing_half(machine, keep):
    """And goes on where it was, by itself; requests are answered meanwhile."""
    penstock = machine(**{"PENSTOCK_KEEP_JOBS": "ever", "PENSTOCK_KEEP_LOGS": "ever", keep: "1h"})
    penstock.home.mkdir(mode=0o700)
    fill(penstock.home)
    try:
        for _ in range(2):
            before = left(penstock.home, keep)
            penstock("up")
            slowest = until_fewer(penstock, keep, before - 150)
            record = json.loads((penstock.home / "server.json").read_text())
            os.kill(record["pid"], signal.SIGKILL)
            assert slowest < 5.0  # it never waits for the database to be free
            check_whole(penstock.home)
        assert 0 < left(penstock.home, keep) < COUNT
        penstock("up")
        until(lambda: left(penstock.home, keep) == 0 and folders(penstock.home) == {"young-u", "works-u"})
        check_whole(penstock.home)
        with closing(open_store(str(penstock.home / "penstock.db"))) as store:
            assert store.job("young").logs_removed_at is store.job("works").logs_removed_at is None
    finally:
        # Else the object store would stay up for it.
        with closing(open_store(str(penstock.home / "penstock.db"))) as store:
            store.save_job(advance(store.job("works"), Halted(), int(time.time() * 1000)))


def fill(home):
    """Old jobs that have all that a job may have, one that has just ended, and one that seems to work."""
    now = int(time.time() * 1000)
    old, logbook = now - 7_200_000, FileLogbook(home / "logs")
    with closing(open_store(str(home / "penstock.db"))) as store:
        jobs = [new_job(f"j{n:04}", old, phase=Phase.COMPLETED, ended_at=old) for n in range(COUNT)]
        jobs.append(new_job("young", now, phase=Phase.COMPLETED, ended_at=now))
        jobs.append(new_job("works", old, phase=Phase.STOPPING))
        store.add_jobs([(job, {"k": "v"}) for job in jobs])
        for job in jobs:
            logbook.append(job.uid, "algo-1", 0, b"1 said\n")
        rows = [host_row(Host(job.uid, job.name, "algo-1", "d", f"{job.name}/algo-1-1")) for job in jobs]
        one = Upload("o", "s3://b/k", 1, "00", 1)
        with store._engine.begin() as c:
            c.execute(hosts.insert(), rows)
            c.execute(
                uploads.insert(), [{"job_uid": job.uid, "host": "algo-1", **asdict(one)} for job in jobs]
            )


def left(home, keep):
    """How many of the old jobs there are that have what is to go."""
    with closing(open_store(str(home / "penstock.db"))) as store:
        jobs = store.list_jobs(JobQuery(name_contains="j0"), COUNT)[0]
    return len([job for job in jobs if keep == "PENSTOCK_KEEP_JOBS" or job.logs_removed_at is None])


def until_fewer(penstock, keep, count):
    """Ask the server for a job again and again until fewer of them are left; the longest that an answer took."""
    from penstock.client import record
    from penstock.client.local_server import address
    from penstock.home import Home

    home = Home(penstock.home)
    door, slowest = address(home, home.server()), 0.0
    deadline = time.monotonic() + 100
    while left(penstock.home, keep) > count:
        for _ in range(5):
            began = time.monotonic()
            record.fetch(door, "young")
            slowest = max(slowest, time.monotonic() - began)
        assert time.monotonic() < deadline
    return slowest


def check_whole(home):
    """Each job on record has all of its own or says what it has not; nothing on record is of a job that is not."""
    known = folders(home)
    with closing(open_store(str(home / "penstock.db"))) as store:
        jobs, after = [], None
        while True:
            page, after = store.list_jobs(JobQuery(), 500, after)
            jobs += page
            if after is None:
                break
        for job in jobs:
            assert [host.name for host in store.hosts(job.uid)] == ["algo-1"]
            assert store.tags(job.arn) == {"k": "v"}
            assert len(store.uploads.page(job.uid, None, 9)) == 1
            if job.logs_removed_at is None:
                assert job.uid in known
        with store._engine.begin() as c:
            for table in ("hosts", "uploads", "tags"):
                assert c.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == len(jobs)


def folders(home):
    return {path.name for path in (home / "logs").iterdir()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_below_its_floor_a_server_makes_room_refuses_jobs_and_takes_them_again(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    env = Machine(home, PENSTOCK_PORT="15850", PENSTOCK_DISK_FLOOR="100M", PENSTOCK_CPUS="64").env
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=400M none "$2" && exec "$0" "$1" "$2" "$3"',
    ]
    done = subprocess.run(
        [*command, sys.executable, FLOOR_DRIVER, home, work],
        env=env,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["with room"] == "Completed"
    assert told["kept before"] == 2
    # Without the inputs that were kept there would be less than the floor: they go, and jobs are taken again.
    assert told["made room"]
    assert told["after room was made"] == "Completed"
    # When nothing more can go, jobs are refused.
    assert "InternalFailure" in told["refused"]
    assert "disk that Penstock's home lies on is full" in told["refused"]
    assert "PENSTOCK_DISK_FLOOR" in told["refused"]
    assert told["of the refused"] == 0
    # Nor does one begin that was taken before, and it tells why.
    assert list(told["waits"]) == ["waits"]
    assert told["waits"]["waits"].startswith("needs 100.0 MiB of free disk (PENSTOCK_DISK_FLOOR), and ")
    assert told["waited"] == "Completed"
    assert told["while full"] == "Completed"  # the record is read all the same
    assert told["with room again"] == "Completed"
    assert "has room again" in told["log"]
