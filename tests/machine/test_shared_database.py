"""Real servers on one real database: they share the work, and none of it is lost or done twice when one ends."""

import contextlib
import os
import shutil
import signal
import socket
import time
from urllib.parse import urlsplit

import pytest
from balancer import balancer
from fleet import LEASE, Fleet, all_ended, outcome, submit, until
from machine_home import ENVIRONMENTS
from machine_store import embedded_store
from stranger import stranger

pytestmark = pytest.mark.machine

BUCKET = "sagemaker-us-east-1-000000000000"

#: A namespace of processes is another machine to all that servers know of each other.
needs_namespaces = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root, to make a space of processes"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with embedded_store(tmp_path_factory.mktemp("store"), BUCKET, 22750) as access:
        yield access


@pytest.fixture
def fleet(tmp_path, postgres, store):
    # Below the ports that object stores choose for their parts: some of them live as long as all tests.
    made = Fleet(tmp_path, postgres.new_database(), store, ENVIRONMENTS, 10350)
    yield made
    made.close()


def test_two_servers_share_jobs_and_none_runs_twice(fleet):
    one, two = fleet.start("one", "two")
    clients = [fleet.client("sagemaker", server.url) for server in (one, two)]
    names = [f"shared-{n}" for n in range(24)]
    for number, name in enumerate(names):
        submit(clients[number % 2], name, "import time; print('began'); time.sleep(0.5)")
    outcomes = all_ended(clients[0], names)
    assert set(outcomes.values()) == {("Completed", None)}
    places = dict(fleet.rows("SELECT place, count(*) FROM jobs GROUP BY place"))
    assert set(places) == {one.id, two.id}
    assert min(places.values()) >= 6, places
    for name in names:
        assert messages(fleet, two, name).count("began") == 1, name


def test_when_a_server_is_killed_another_takes_over_and_nothing_is_lost(fleet):
    one, two = fleet.start("one", "two")
    client = fleet.client("sagemaker", two.url)
    names = [f"killed-{n}" for n in range(16)]
    for name in names:
        submit(client, name, "import time; print('began'); time.sleep(4)")
    until(lambda: len(fleet.rows("SELECT 1 FROM jobs WHERE phase = 'running' AND place = %s", one.id)) >= 2)
    carried = [name for (name,) in fleet.rows("SELECT name FROM jobs WHERE server = %s", one.id)]
    began = time.monotonic()
    one.signal(signal.SIGKILL)
    unended = "SELECT 1 FROM jobs WHERE server = %s AND status IN ('InProgress', 'Stopping')"
    until(lambda: not fleet.rows(unended, one.id))
    took = time.monotonic() - began
    assert took < LEASE + 5, f"taken over within {took:.1f} s, with a lease of {LEASE} s"
    assert set(all_ended(client, names).values()) == {("Completed", None)}
    assert carried
    assert fleet.rows("SELECT DISTINCT server FROM jobs") == [(two.id,)]
    for name in names:
        assert messages(fleet, two, name).count("began") == 1
    until(lambda: not list((one.home / "runs").glob("*/*/run.json")))  # the other has cleared up, too
    submit(client, "after", "pass")
    assert all_ended(client, ["after"]) == {"after": ("Completed", None)}


def test_what_a_dead_server_knew_is_done_by_another_on_its_machine(fleet):
    """A stop is delivered, a killed runner is told by its true reason, and its outputs are saved."""
    one = fleet.add("one").start()
    client = fleet.client("sagemaker", one.url)
    submit(client, "stopped", "import time; print('began', flush=True); time.sleep(600)")
    submit(
        client,
        "crashed",
        "import time; open('/opt/ml/processing/out/x', 'w').write('saved'); print('began'); time.sleep(600)",
        **output("crashed"),
    )
    until(lambda: all("began" in messages(fleet, one, name) for name in ("stopped", "crashed")))
    two = fleet.add("two").start()
    one.signal(signal.SIGKILL)
    (uid,) = fleet.rows("SELECT uid FROM jobs WHERE name = 'crashed'")[0]
    os.kill(int((one.home / "runs" / uid / "algo-1" / "pid").read_text()), signal.SIGKILL)
    client = fleet.client("sagemaker", two.url)
    client.stop_processing_job(ProcessingJobName="stopped")
    ended = all_ended(client, ["stopped", "crashed"])
    assert ended["stopped"] == ("Stopped", None)
    status, reason = ended["crashed"]
    assert status == "Failed"
    assert "ended without a report" in reason
    assert stored(fleet, "crashed") == b"saved"


def test_a_server_that_was_held_up_writes_nothing_to_what_was_taken_over(fleet):
    one = fleet.add("one").start()
    client = fleet.client("sagemaker", one.url)
    submit(client, "short", "import time; print('began'); time.sleep(3)")
    submit(client, "long", "import time; print('began'); time.sleep(25)")
    until(lambda: all("began" in messages(fleet, one, name) for name in ("short", "long")))
    two = fleet.add("two").start()
    one.signal(signal.SIGSTOP)
    client = fleet.client("sagemaker", two.url)
    until(lambda: fleet.rows("SELECT 1 FROM jobs WHERE name = 'long' AND server = %s", two.id))
    assert all_ended(client, ["short"]) == {"short": ("Completed", None)}
    (before,) = fleet.rows("SELECT version, modified_at, phases FROM jobs WHERE name = 'short'")
    one.signal(signal.SIGCONT)
    # It has a lease again, with another epoch, and has taken back what still runs in its home.
    until(lambda: fleet.rows("SELECT 1 FROM jobs WHERE name = 'long' AND server = %s", one.id))
    assert "lease was over" in one.log()
    assert fleet.rows("SELECT epoch FROM servers WHERE id = %s", one.id) == [(2,)]
    assert all_ended(client, ["long"]) == {"long": ("Completed", None)}
    assert fleet.rows("SELECT version, modified_at, phases FROM jobs WHERE name = 'short'") == [before]
    for name in ("short", "long"):
        assert messages(fleet, two, name).count("began") == 1


def test_clients_behind_a_load_balancer_notice_nothing_of_a_servers_death(fleet, tmp_path):
    """Beyond botocore's own retries: they submit, describe, wait and read a log that goes on meanwhile."""
    servers = fleet.start("one", "two")
    with balancer(tmp_path, [server.url for server in servers]) as url:
        client, logs = fleet.client("sagemaker", url), fleet.client("logs", url)
        submit(client, "streams", "import time; [(print('line', n), time.sleep(0.1)) for n in range(120)]")
        until(lambda: "line 3" in messages(fleet, url, "streams"))
        (carrier,) = fleet.rows("SELECT server FROM jobs WHERE name = 'streams'")[0]
        victim = next(server for server in servers if server.id == carrier)
        names = []

        def submit_more(until_count):
            while len(names) < until_count:
                names.append(f"behind-{len(names)}")
                submit(client, names[-1], "print('began')")
                assert outcome(client, names[-1])[0] == "InProgress"

        submit_more(5)
        victim.signal(signal.SIGKILL)
        submit_more(15)
        (stream,) = logs.describe_log_streams(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix="streams/"
        )["logStreams"]
        read, token = [], None
        while "line 119" not in read:  # page by page, as the SDK does
            page = logs.get_log_events(
                logGroupName="/aws/sagemaker/ProcessingJobs",
                logStreamName=stream["logStreamName"],
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            read += [event["message"] for event in page["events"]]
            token = page["nextForwardToken"]
            time.sleep(0.1)
        assert [line for line in read if line.startswith("line")] == [f"line {n}" for n in range(120)]
        waiter = client.get_waiter("processing_job_completed_or_stopped")
        for name in ("streams", *names):
            waiter.wait(ProcessingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 90})
            assert outcome(client, name) == ("Completed", None)
        for name in names:
            assert messages(fleet, url, name).count("began") == 1


def test_servers_that_do_not_agree_are_refused_and_told_what_to_do(fleet):
    one = fleet.add("one").start()
    kept, fleet.keys = fleet.keys, None
    said = fleet.add("strange").start(code=1)
    assert "with keys: AKIAPENSTOCK" in said
    assert "Copy keys.json from that home to this one." in said
    assert str(one.home) in said
    fleet.keys = kept
    assert "Set PENSTOCK_ACCOUNT" in fleet.add("account", PENSTOCK_ACCOUNT="111111111111").start(code=1)
    alone = fleet.add(
        "alone", PENSTOCK_S3_ENDPOINT="", PENSTOCK_S3_ACCESS_KEY_ID="", PENSTOCK_S3_SECRET_ACCESS_KEY=""
    )
    said = alone.start(code=1)
    assert "set PENSTOCK_S3_ENDPOINT on each" in said
    assert not (alone.home / "store").exists()


def test_a_copied_home_is_refused_and_told_what_to_do(fleet):
    one = fleet.add("one", PENSTOCK_SERVER_LEASE="15").start()  # it must not lapse on a machine that is busy
    copied = fleet.add("copied")
    copied.home.mkdir(mode=0o700)
    shutil.copy(one.home / "server.id", copied.home)
    said = copied.start(code=1)
    assert "remove the file server.id in the copy" in said
    assert str(one.home) in said
    assert fleet.rows("SELECT home, epoch FROM servers") == [(str(one.home), 1)]


def open_to_all():
    """Settings of a server that others than this machine could reach: none believes another machine's loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing, and chooses the address that would be sent from
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return {"PENSTOCK_HOST": "0.0.0.0", "PENSTOCK_REPORT_URL": f"http://{probe.getsockname()[0]}"}


def output(name):
    """The one output of a job, below a prefix of that name."""
    uri, path = f"s3://{BUCKET}/{name}", "/opt/ml/processing/out"
    s3 = {"S3Uri": uri, "LocalPath": path, "S3UploadMode": "EndOfJob"}
    return {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": s3}]}}


def stored(fleet, name):
    with contextlib.closing(fleet.store_client()) as s3:
        return s3.get_object(Bucket=BUCKET, Key=f"{name}/x")["Body"].read()


def messages(fleet, where, name):
    """All lines of a job's log, from that server or address."""
    logs = fleet.client("logs", getattr(where, "url", where))
    found, token = [], {}
    while True:
        page = logs.filter_log_events(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/", **token
        )
        found += [event["message"] for event in page["events"]]
        if "nextToken" not in page:
            return found
        token = {"nextToken": page["nextToken"]}


def test_without_any_server_a_program_ends_in_time_and_its_outputs_are_kept(fleet):
    """Its runner can't know whether servers elsewhere live on, so it does not go on for longer than its lease."""
    one = fleet.add("one", PENSTOCK_RUNNER_LEASE="10").start()
    client = fleet.client("sagemaker", one.url)
    code = "import time; open('/opt/ml/processing/out/x', 'w').write('kept'); print('began'); time.sleep(600)"
    submit(client, "orphan", code, **output("orphan"))
    until(lambda: "began" in messages(fleet, one, "orphan"))
    (uid,) = fleet.rows("SELECT uid FROM jobs WHERE name = 'orphan'")[0]
    one.signal(signal.SIGKILL)
    journal = one.home / "runs" / uid / "algo-1" / "journal"
    until(lambda: '"ended"' in journal.read_text())
    one.start()
    client = fleet.client("sagemaker", one.url)
    status, reason = all_ended(client, ["orphan"])["orphan"]
    assert status == "Failed"
    assert "No server has answered the runner for" in reason
    assert stored(fleet, "orphan") == b"kept"


def test_a_stranger_at_the_address_of_a_dead_server_stops_no_job(fleet):
    """Nor does a server of another database, which would know as little of the run."""
    one = fleet.add("one").start()
    client = fleet.client("sagemaker", one.url)
    submit(client, "goes-on", "import time; print('began'); time.sleep(15)")
    until(lambda: "began" in messages(fleet, one, "goes-on"))
    port, asked = urlsplit(one.url).port, []
    one.signal(signal.SIGKILL)
    with stranger(404, b'{"error": "there is no such run"}', port, asked):
        until(lambda: sum(path.endswith("/lease") for path in asked) >= 2)
    one.start()  # at once, though the lease of its earlier life may still run
    client = fleet.client("sagemaker", one.url)
    assert all_ended(client, ["goes-on"]) == {"goes-on": ("Completed", None)}


def test_a_taken_port_is_refused_where_others_were_told_the_address(fleet):
    """Else runners of other machines would look for the server where it is not."""
    one = fleet.add("one", PENSTOCK_REPORT_URL="http://127.0.0.1")
    with socket.create_server(("127.0.0.1", one.port)):
        assert f"With PENSTOCK_REPORT_URL no port but {one.port} will do" in one.start(code=1)
    one.start()


@needs_namespaces
def test_runners_whose_server_has_died_go_on_under_one_of_another_machine(fleet):
    """That can't see them: it hears from them, and a stop reaches them with their lease."""
    one, two = (fleet.add(name, PENSTOCK_RUNNER_LEASE="30", **open_to_all()) for name in ("one", "two"))
    one.start(elsewhere=True)
    client = fleet.client("sagemaker", one.url)
    submit(client, "goes-on", "import time; print('began'); time.sleep(20); print('ends')")
    submit(client, "stopped", "import time; print('began'); time.sleep(600)")
    until(lambda: len(fleet.rows("SELECT 1 FROM jobs WHERE phase = 'running' AND place = %s", one.id)) == 2)
    two.start()  # not before: it would take its share of them
    until(lambda: two.env["PENSTOCK_REPORT_URL"] in (one.home / "runs" / "servers").read_text())
    one.kill_server_alone()
    client = fleet.client("sagemaker", two.url)
    until(lambda: fleet.rows("SELECT count(*) FROM jobs WHERE server = %s", two.id) == [(2,)])
    client.stop_processing_job(ProcessingJobName="stopped")
    assert all_ended(client, ["goes-on", "stopped"]) == {
        "goes-on": ("Completed", None),
        "stopped": ("Stopped", None),
    }
    assert messages(fleet, two, "goes-on").count("ends") == 1


@needs_namespaces
def test_a_machine_that_is_gone_loses_its_jobs_once_their_runners_must_have_ended(fleet):
    one = fleet.add("one", PENSTOCK_RUNNER_LEASE="10").start(elsewhere=True)
    two = fleet.add("two", PENSTOCK_RUNNER_LEASE="10").start()
    client = fleet.client("sagemaker", one.url)
    submit(client, "lost", "import time; print('began'); time.sleep(600)")
    until(lambda: "began" in messages(fleet, two, "lost"))
    began = time.monotonic()
    one.power_off()
    client = fleet.client("sagemaker", two.url)
    status, reason = all_ended(client, ["lost"])["lost"]
    took = time.monotonic() - began
    assert status == "Failed"
    assert "algo-1 is lost: its machine is out of reach" in reason
    assert 9 < took < 10 + LEASE + 5, took
    one.start()  # back, with another boot as it were: what lies there is cleared up
    until(lambda: not list((one.home / "runs").glob("*/*/run.json")))
