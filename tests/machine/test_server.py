"""The server's life: start, ports, locks, settings, and what clients are told of it. Each test has its own home."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from machine_home import ENVIRONMENTS, stop_server

from penstock.cli.checks import examine
from penstock.config import Settings
from penstock.environments import interpreters
from penstock.home import Home
from penstock.objectstore.weed import EmbeddedStore

pytestmark = pytest.mark.machine

PENSTOCK = str(Path(sys.executable).with_name("penstock"))


@pytest.fixture
def env(tmp_path):
    """The environment of a user with a fresh home."""
    path = tmp_path / "penstock-home"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
    yield {
        **kept,
        "PENSTOCK_HOME": str(path),
        "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
        "PENSTOCK_PORT": "10550",
    }
    if path.exists():
        stop_server(path)


@pytest.fixture
def penstock(env):
    def call(*args, code=0, **more):
        done = subprocess.run(
            [PENSTOCK, *args], capture_output=True, text=True, env={**env, **more}, timeout=120
        )
        assert done.returncode == code, done.stderr
        return done

    return call


def test_up_status_env_down(penstock, env):
    assert json.loads(penstock("status", "--json", code=3).stdout)["running"] is False
    up = penstock("up")
    assert "http://127.0.0.1:10550" in up.stdout
    told = json.loads(penstock("status", "--json").stdout)
    assert told["running"] is True
    assert told["endpoint"] == "http://127.0.0.1:10550"
    assert {"pid", "endpoint", "s3_endpoint", "version", "home"} <= set(told)
    assert told["home"] == env["PENSTOCK_HOME"]
    os.kill(told["pid"], 0)
    # What `env` prints is all that an AWS client needs.
    client = (
        "import boto3; print(boto3.client('sagemaker').list_processing_jobs()['ProcessingJobSummaries'], "
        "boto3.client('sts').get_caller_identity()['Account'], "
        "[b['Name'] for b in boto3.client('s3').list_buckets()['Buckets']])"
    )
    shell = f'eval "$({PENSTOCK} env)" && {sys.executable} -W error -c "{client}"'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == "[] 000000000000 ['sagemaker-us-east-1-000000000000']"
    lines = penstock("env").stdout.splitlines()
    assert all(line.startswith("export ") for line in lines)
    penstock("down")
    assert not Home(Path(env["PENSTOCK_HOME"])).held()
    penstock("status", code=3)
    penstock("down")


def test_env_starts_the_server_when_none_runs(penstock, env):
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:10550" in penstock("env").stdout
    assert Home(Path(env["PENSTOCK_HOME"])).held()


def test_the_first_request_is_answered_well_within_a_second(env):
    """Best of three, for the machine may be busy with other tests."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        server = subprocess.Popen(
            [sys.executable, "-m", "penstock.server"],
            env=env,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:10550/penstock/status", timeout=5) as answer:
                    assert json.loads(answer.read())["store"] in {"starting", "ready"}
                break
            except OSError:
                assert time.monotonic() - began < 20
                time.sleep(0.005)
        took.append(time.monotonic() - began)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert min(took) < 1.0, took


def test_a_taken_port_is_passed_over(penstock):
    with socket.create_server(("127.0.0.1", 10550)):
        told = json.loads(penstock("up", "--json").stdout)
    assert told["endpoint"] != "http://127.0.0.1:10550"
    assert 10550 < int(told["endpoint"].rpartition(":")[2]) < 32768
    assert int(told["s3_endpoint"].rpartition(":")[2]) < 32768


def test_a_home_has_one_server(penstock, env):
    penstock("up")
    second = penstock("serve", code=3)
    assert "already runs" in second.stderr
    assert "Traceback" not in second.stderr


def test_many_clients_that_start_a_server_at_once_get_the_same_one(env):
    ups = [
        subprocess.Popen([PENSTOCK, "up", "--json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    told = [up.communicate(timeout=120) for up in ups]
    assert [up.returncode for up in ups] == [0] * 4, told
    assert len({json.loads(out)["pid"] for out, _ in told}) == 1


def test_what_a_killed_server_left_behind_blocks_nothing(penstock, env):
    first = json.loads(penstock("up", "--json").stdout)
    os.kill(first["pid"], signal.SIGKILL)
    home = Home(Path(env["PENSTOCK_HOME"]))
    while home.held():
        time.sleep(0.01)
    assert (home.path / "server.json").exists()
    assert json.loads(penstock("status", "--json", code=3).stdout)["running"] is False
    again = json.loads(penstock("up", "--json").stdout)
    assert again["pid"] != first["pid"]
    assert again["endpoint"] == first["endpoint"]
    assert again["s3_endpoint"] == first["s3_endpoint"]


def test_a_home_is_closed_to_others(penstock, env):
    penstock("up")
    home = Path(env["PENSTOCK_HOME"])
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    open_to_others = [
        str(p)
        for p in home.rglob("*")
        if p.is_file() and stat.S_IMODE(p.stat().st_mode) & 0o077 and "store/data" not in str(p)
    ]
    assert open_to_others == []


def test_the_log_holds_no_secret(penstock, env):
    penstock("up")
    home = Path(env["PENSTOCK_HOME"])
    secret = json.loads((home / "keys.json").read_text())["secret_access_key"]
    logs = [p for p in home.rglob("*.log") if p.is_file()]
    assert logs
    assert not [p for p in logs if secret in p.read_text(errors="replace")]


def test_a_home_that_can_not_be_used_is_named(penstock, tmp_path):
    path = tmp_path / "a-file"
    path.write_text("")
    for command in ("up", "status", "jobs"):
        done = penstock(command, code=1, PENSTOCK_HOME=str(path))
        assert f"The home folder {path} can't be used" in done.stderr
        assert "Traceback" not in done.stderr


def test_one_interpreter_alone_is_weak(monkeypatch):
    one = SimpleNamespace(minor="3.11")
    monkeypatch.setattr(interpreters, "at_hand", lambda folder: [one])
    found = {f.what: f for f in examine(Settings.read())}["interpreters"]
    assert found.state == "weak"
    assert "uv python install" in str(found.remedy)
    monkeypatch.setattr(interpreters, "at_hand", lambda folder: [one, SimpleNamespace(minor="3.9")])
    found = {f.what: f for f in examine(Settings.read())}["interpreters"]
    assert (found.state, found.remedy) == ("ok", None)


def test_doctor_says_what_this_machine_has(penstock):
    found = json.loads(penstock("doctor", "--json").stdout)
    assert {"weed", "uv", "walls (bubblewrap)", "walls (unshare)", "home"} <= {f["what"] for f in found}
    assert all(f["state"] in {"ok", "weak"} for f in found)
    assert "ok" in penstock("doctor").stdout


@pytest.mark.parametrize(
    ("name", "value"), [("PENSTOCK_PORT", "many"), ("PENSTOCK_WALLS", "paper"), ("PENSTOCK_ACCOUNT", "12")]
)
def test_a_setting_that_can_not_be_used_is_named(penstock, name, value):
    done = penstock("up", code=1, **{name: value})
    assert name in done.stderr
    assert value in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_of_ones_own(penstock, env, tmp_path):
    """Another S3 endpoint: jobs read and write there, and requests through the one endpoint reach it, too."""
    store = EmbeddedStore(
        tmp_path / "other",
        region="eu-west-1",
        access_key_id="OWNKEY",
        secret_access_key="own-secret-key",
        bucket="unused",
        port=12750,
    )
    store.start()
    try:
        store.wait_ready(60)
        own = {
            "PENSTOCK_S3_ENDPOINT": store.access.endpoint,
            "PENSTOCK_S3_REGION": "eu-west-1",
            "PENSTOCK_S3_ACCESS_KEY_ID": "OWNKEY",
            "PENSTOCK_S3_SECRET_ACCESS_KEY": "own-secret-key",
            "PENSTOCK_BUCKET": "mine",
        }
        script = tmp_path / "s.py"
        script.write_text("open('/opt/ml/processing/output/o/x', 'w').write('there')")
        penstock("run", "--output", "o=s3://mine/out", str(script), **own)
        told = json.loads(penstock("status", "--json", **own).stdout)
        assert told["s3_endpoint"] == store.access.endpoint
        client = (
            "import boto3, sys; s3 = boto3.client('s3', endpoint_url=sys.argv[1]); "
            "s3.put_object(Bucket='mine', Key='a b/+é', Body=b'x' * 100000); "
            "print(len(s3.get_object(Bucket='mine', Key='a b/+é')['Body'].read()), "
            "s3.get_object(Bucket='mine', Key='out/x')['Body'].read())"
        )
        shell = f'eval "$({PENSTOCK} env)" && {sys.executable} -c "{client}" "$AWS_ENDPOINT_URL"'
        done = subprocess.run(
            ["bash", "-c", shell], capture_output=True, text=True, env={**env, **own}, check=False
        )
        assert done.stdout.strip() == "100000 b'there'", done.stderr
        assert not (Path(env["PENSTOCK_HOME"]) / "store").exists()
    finally:
        stop_server(Path(env["PENSTOCK_HOME"]))
        store.stop()


def test_a_store_that_does_not_answer_is_named(penstock):
    done = penstock(
        "up",
        code=1,
        PENSTOCK_S3_ENDPOINT="http://127.0.0.1:9",
        PENSTOCK_S3_ACCESS_KEY_ID="k",
        PENSTOCK_S3_SECRET_ACCESS_KEY="a-secret",
    )
    assert "http://127.0.0.1:9" in done.stderr
    assert "a-secret" not in done.stderr


def test_the_other_walls(penstock, tmp_path):
    """Where bubblewrap is not installed, or not wanted, unshare gives a job the same paths."""
    script = tmp_path / "s.py"
    script.write_text(
        "import os; print(sorted(os.listdir('/opt/ml')), os.getpid() != 1, os.listdir('/root'))\n"
        "open('/opt/ml/processing/output/o/x', 'w').write('there')\n"
    )
    done = penstock("run", "--output", f"o={tmp_path}/out", str(script), PENSTOCK_WALLS="unshare")
    assert "['config', 'output', 'processing'] True []" in done.stdout
    assert (tmp_path / "out" / "x").read_text() == "there"


def test_an_environment_that_differs_is_an_error_when_versions_are_strict(penstock, tmp_path):
    script = tmp_path / "s.py"
    script.write_text("print('ran')")
    lenient = penstock("run", "--image", "python:3.14", str(script))
    assert "image has Python 3.14" in lenient.stdout
    assert "ran" in lenient.stdout
    penstock("down")
    strict = penstock("run", "--image", "python:3.14", str(script), code=1, PENSTOCK_STRICT_VERSIONS="1")
    assert "3.14" in strict.stderr
    assert "ran" not in strict.stdout


@pytest.mark.parametrize("walls", ["bubblewrap", "unshare"])
def test_long_arguments_and_variables_run_where_limits_are_relaxed(penstock, tmp_path, walls):
    script = tmp_path / "s.py"
    script.write_text("import os, sys; print('got', len(sys.argv[1]), len(os.environ['LONG']))")
    long = ("--env", f"LONG={'v' * 5000}", str(script), "a" * 5000)
    refused = penstock("run", *long, code=1)
    assert "4744 more than AWS's limit of 256" in refused.stderr.replace("\n", " ")
    assert "PENSTOCK_AWS_LIMITS=relaxed" in refused.stderr.replace("\n", " ")
    penstock("down")
    relaxed = {"PENSTOCK_AWS_LIMITS": "relaxed", "PENSTOCK_WALLS": walls}
    assert "got 5000 5000" in penstock("run", *long, **relaxed).stdout
    most = ("--env", f"LONG={'ü' * 32_000}", str(script), "🐍" * 32_000)
    assert "got 32000 32000" in penstock("run", *most, **relaxed).stdout


def test_a_head_without_end_is_cut_off(penstock):
    penstock("up")
    with socket.create_connection(("127.0.0.1", 10550), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")

        def send_without_end():
            for _ in range(1000):
                connection.sendall(b"x" * 10_000)

        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as the kernel likes
            send_without_end()
    assert json.loads(penstock("status", "--json").stdout)["running"]


def test_who_has_no_key_takes_no_place_from_others(penstock, env):
    """Unsigned uploads that never send their body hold nothing back."""
    penstock("up")
    idle = [socket.create_connection(("127.0.0.1", 10550), 10) for _ in range(300)]
    try:
        for connection in idle:
            connection.sendall(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        client = "import boto3; print(len(boto3.client('s3').list_buckets()['Buckets']))"
        shell = f'eval "$({PENSTOCK} env)"; unset AWS_ENDPOINT_URL_S3; {sys.executable} -c "{client}"'
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=env, timeout=30)
        assert done.stdout.strip() == "1", done.stderr
    finally:
        for connection in idle:
            connection.close()


def test_the_store_takes_what_sagemakers_sdk_sends_through_the_one_endpoint(penstock, env):
    """Encryption by a KMS that is not there, checksums in trailers, large bodies, a bucket of any name."""
    penstock("up")
    client = (
        "import boto3, io, os; s3 = boto3.client('s3'); data = os.urandom(20_000_000); b = 'penstock'; "
        "s3.create_bucket(Bucket=b); "
        "s3.put_object(Bucket=b, Key='runs/kms', Body=b'x', ServerSideEncryption='aws:kms'); "
        "s3.upload_fileobj(io.BytesIO(data), b, 'status', ExtraArgs={'ServerSideEncryption': 'aws:kms'}); "
        "s3.put_object(Bucket=b, Key='crc', Body=b'x', ChecksumAlgorithm='CRC32'); "
        "print(s3.get_object(Bucket=b, Key='status')['Body'].read() == data, "
        "s3.get_object(Bucket=b, Key='runs/kms', Range='bytes=0-0')['Body'].read())"
    )
    shell = f'eval "$({PENSTOCK} env)"; unset AWS_ENDPOINT_URL_S3; {sys.executable} -c "{client}"'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=env, timeout=60)
    assert done.stdout.strip() == "True b'x'", done.stderr
