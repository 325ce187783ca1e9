"""Several real stores at once, as config.toml describes them: for jobs, for clients, and for what a job's boto3 sees."""

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from machine_home import ENVIRONMENTS, stop_server
from tls_door import make_certificates, tls_door

from penstock.home import Home
from penstock.objectstore.weed import EmbeddedStore

pytestmark = pytest.mark.machine

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
#: What the second store lets everybody read.
OPEN = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": ["arn:aws:s3:::open", "arn:aws:s3:::open/*"],
        }
    ],
}


def client(access):
    return boto3.Session().client(
        "s3",
        endpoint_url=access.endpoint,
        region_name=access.region,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two stores that know nothing of each other: of the first's keys, region and buckets the second has none."""
    made = []
    for name, region, port in (("first", "eu-west-1", 13750), ("second", "eu-north-1", 13850)):
        folder = tmp_path_factory.mktemp(name)
        keys = {"access_key_id": f"{name}-id", "secret_access_key": f"{name}-secret-key"}
        made.append(EmbeddedStore(folder, region=region, bucket=f"{name}-bucket", port=port, **keys))
        made[-1].start()
    try:
        for store in made:
            store.wait_ready(60)
        second = client(made[1].access)
        second.create_bucket(Bucket="open")
        second.put_object(Bucket="open", Key="data/x", Body=b"for all")
        second.put_bucket_policy(Bucket="open", Policy=json.dumps(OPEN))
        second.put_object(Bucket="second-bucket", Key="in/x", Body=b"from the second")
        yield [store.access for store in made]
    finally:
        for store in made:
            store.stop()


@pytest.fixture
def penstock(tmp_path):
    """Writes config.toml and runs a command with it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
    env = {
        **kept,
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
        "PENSTOCK_PORT": "13950",
    }

    def call(*args, config=None, code=0, shell=None, **more):
        if config is not None:
            (home / "config.toml").write_text(config)
            (home / "config.toml").chmod(0o600)
        command = ["bash", "-c", shell] if shell else [PENSTOCK, *args]
        done = subprocess.run(command, capture_output=True, text=True, env={**env, **more}, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    call.home = home
    yield call
    stop_server(home)


def table(access, name="s3", **changes):
    members = {
        "endpoint": access.endpoint,
        "region": access.region,
        "access_key_id": access.access_key_id,
        "secret_access_key": access.secret_access_key,
        **changes,
    }
    lines = [f"{k} = {json.dumps(v)}" for k, v in members.items() if v is not None]
    return "\n".join((f"[{name}]", *lines, ""))


ANONYMOUS = {"access_key_id": None, "secret_access_key": None, "anonymous": True}
COPIES = """
import pathlib, shutil
for name in ("second", "open"):
    shutil.copytree(f"/opt/ml/processing/input/{name}", f"/opt/ml/processing/output/o/{name}")
"""
THROUGH = (
    "import boto3; s3 = boto3.client('s3'); "
    "s3.put_object(Bucket='first-bucket', Key='c', Body=b'x' * 100000, ServerSideEncryption='aws:kms'); "
    "s3.upload_file('/etc/hostname', 'second-bucket', 'through/host', ExtraArgs={'ServerSideEncryption': 'aws:kms'}); "
    "print(len(s3.get_object(Bucket='first-bucket', Key='c')['Body'].read()), "
    "[o['Key'] for o in s3.list_objects_v2(Bucket='second-bucket', Prefix='in/')['Contents']], "
    "s3.get_object(Bucket='open', Key='data/x')['Body'].read())"
)


def test_inputs_and_outputs_in_several_stores(penstock, stores, tmp_path):
    first, second = stores
    config = (
        table(first)
        + table(second, 's3.buckets."second-bucket"')
        + table(second, "s3.buckets.open", **ANONYMOUS)
    )
    script = tmp_path / "s.py"
    script.write_text(COPIES)
    penstock(
        "run",
        "--input", "s3://second-bucket/in/=/opt/ml/processing/input/second",
        "--input", "s3://open/data/=/opt/ml/processing/input/open",
        "--output", "o=s3://first-bucket/out",
        str(script),
        config=config,
        PENSTOCK_BUCKET="first-bucket",
    )  # fmt: skip
    copied = client(first)
    assert copied.get_object(Bucket="first-bucket", Key="out/second/x")["Body"].read() == b"from the second"
    assert copied.get_object(Bucket="first-bucket", Key="out/open/x")["Body"].read() == b"for all"

    # And the other way round, into the second store; its clients go through the server with the home's own keys.
    script.write_text("open('/opt/ml/processing/output/o/x', 'w').write('there')")
    penstock("run", "--output", "o=s3://second-bucket/out", str(script))
    assert client(second).get_object(Bucket="second-bucket", Key="out/x")["Body"].read() == b"there"
    done = penstock(shell=f'eval "$({PENSTOCK} env)" && {sys.executable} -c "{THROUGH}"')
    assert done.stdout.strip() == "100000 ['in/x'] b'for all'", done.stderr
    client(second).head_object(Bucket="second-bucket", Key="through/host")
    told = json.loads(penstock("status", "--json").stdout)
    assert told["s3_endpoint"] == first.endpoint
    assert told["s3_buckets"] == {"second-bucket": second.endpoint, "open": second.endpoint}
    assert second.endpoint in penstock("status").stdout.replace("\n", "")
    found = json.loads(penstock("doctor", "--json", PENSTOCK_BUCKET="first-bucket").stdout)
    states = {f["what"]: f["state"] for f in found if f["what"].startswith("s3 ")}
    assert states == {"s3 (first-bucket)": "ok", "s3 (second-bucket)": "ok", "s3 (open)": "ok"}

    # Nobody's keys are in what clients are given, nor in a log.
    environment = penstock("env").stdout
    logs = "".join(p.read_text(errors="replace") for p in penstock.home.rglob("*.log"))
    for access in stores:
        assert access.secret_access_key not in environment + logs
    assert Home(penstock.home).keys().secret_access_key in environment


WRITES = """
import pathlib
pathlib.Path("/opt/ml/processing/output/o/x").write_bytes(
    pathlib.Path("/opt/ml/processing/input/second/x").read_bytes())
pathlib.Path("/opt/ml/processing/output/o/large").write_bytes(bytes(20_000_000))
"""


@pytest.mark.parametrize("where", ["default", "bucket"])
def test_a_store_with_certificates_of_its_own(penstock, stores, tmp_path, where):
    """By TLS, with an authority that only config.toml names: as the one store, or beside the embedded one."""
    authority, chain = make_certificates(tmp_path)
    (penstock.home / "authority.pem").write_bytes(authority.read_bytes())
    _, second = stores
    with tls_door(chain, int(second.endpoint.rpartition(":")[2])) as endpoint:
        name = "s3" if where == "default" else 's3.buckets."second-bucket"'
        script = tmp_path / "s.py"
        script.write_text(WRITES)
        run = (
            "run",
            "--input", "s3://second-bucket/in/=/opt/ml/processing/input/second",
            "--output", f"o=s3://second-bucket/{where}",
            str(script),
        )  # fmt: skip
        bucket = {"PENSTOCK_BUCKET": "second-bucket"} if where == "default" else {}
        penstock(*run, config=table(second, name, endpoint=endpoint, ca_bundle="authority.pem"), **bucket)
        written = client(second)
        assert (
            written.get_object(Bucket="second-bucket", Key=f"{where}/x")["Body"].read() == b"from the second"
        )
        assert (
            written.head_object(Bucket="second-bucket", Key=f"{where}/large")["ContentLength"] == 20_000_000
        )
        reads = (
            "import boto3; s3 = boto3.client('s3'); "
            "print(s3.get_object(Bucket='second-bucket', Key='in/x')['Body'].read())"
        )
        done = penstock(shell=f'eval "$({PENSTOCK} env)" && {sys.executable} -c "{reads}"')
        assert done.stdout.strip() == "b'from the second'", done.stderr
        penstock("down")

        # Without the bundle nobody is trusted, and that is said.
        (penstock.home / "config.toml").write_text(table(second, name, endpoint=endpoint))
        if where == "default":
            done = penstock("up", code=1, **bucket)
            assert "certificate verify failed" in done.stderr
            assert second.secret_access_key not in done.stderr
        doctor = json.loads(penstock("doctor", "--json", **bucket).stdout)
        (found,) = (f for f in doctor if f["what"] == "s3 (second-bucket)")
        assert found["state"] == "weak"
        assert "certificate" in found["text"]


def test_a_jobs_boto3_reaches_every_store_and_no_key_of_theirs(penstock, stores, tmp_path):
    _, second = stores
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "requirements.txt").write_text("boto3\n")
    (folder / "main.py").write_text(
        "import boto3, os\n"
        "s3 = boto3.client('s3')\n"
        "got = s3.get_object(Bucket='second-bucket', Key='in/x')['Body'].read().decode()\n"
        "s3.put_object(Bucket='second-bucket', Key='by-a-job', Body=got.upper())\n"
        "print('secrets', [n for n, v in os.environ.items() if 'secret-key' in v])\n"
    )
    done = penstock(
        "run",
        "--source-dir", str(folder),
        "main.py",
        config=table(second, 's3.buckets."second-bucket"'),
    )  # fmt: skip
    assert "secrets []" in done.stdout
    written = client(second).get_object(Bucket="second-bucket", Key="by-a-job")["Body"].read()
    assert written == b"FROM THE SECOND"


def test_what_everybody_may_read_nobody_may_write(penstock, stores, tmp_path):
    _, second = stores
    script = tmp_path / "s.py"
    script.write_text("open('/opt/ml/processing/output/o/x', 'w').write('there')")
    done = penstock(
        "run", "--output", "o=s3://open/out", str(script),
        config=table(second, "s3.buckets.open", **ANONYMOUS), code=1,
    )  # fmt: skip
    assert "s3://open/out/x: the store refuses access" in done.stderr
    with pytest.raises(ClientError, match="NoSuchKey"):
        client(second).get_object(Bucket="open", Key="out/x")


def test_a_file_that_can_not_be_used_is_named(penstock):
    done = penstock("up", config='[s3]\nbucket = "x"\n', code=1)
    assert f"{penstock.home / 'config.toml'}, line 2: [s3] has no member 'bucket'" in done.stderr
    assert "Traceback" not in done.stderr
    (penstock.home / "config.toml").write_text('[s3]\naccess_key_id = "a"\nsecret_access_key = "b"\n')
    (penstock.home / "config.toml").chmod(0o644)
    assert "chmod 600" in penstock("up", code=1).stderr
