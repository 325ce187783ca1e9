"""Whole jobs in containers: a server of their own, and the tests' Podman behind DOCKER_HOST."""

import os
import signal
import time

import pytest
from machine_home import stop_server
from podman import IMAGE, lacking, podman

from penstock.client import local_server, record
from penstock.session import Session

pytestmark = [
    pytest.mark.machine,
    pytest.mark.timeout(300),
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]


@pytest.fixture(scope="module")
def engine():
    with podman() as one:
        yield one


@pytest.fixture(scope="module")
def home(engine, tmp_path_factory):
    path = tmp_path_factory.mktemp("home")
    kept = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_", "DOCKER_", "CONTAINER_")):
            del os.environ[name]
    os.environ.update(
        PENSTOCK_HOME=str(path),
        PENSTOCK_STOP_GRACE="2",
        PENSTOCK_AWS_LIMITS="relaxed",
        PENSTOCK_PORT="11850",
        DOCKER_HOST=f"unix://{engine.socket}",
    )
    yield path
    stop_server(path)
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def client(home):
    local_server.ensure()
    return Session().sagemaker_client


@pytest.fixture
def run(client):
    """Creates a job of shell words in an image; its name."""
    numbers = iter(range(100))

    begun = time.monotonic_ns()

    def create(words=None, image=IMAGE, **more):
        name = f"c{os.getpid()}-{begun}-{next(numbers)}"
        application = {"ImageUri": image, **more.pop("application", {})}
        if words is not None:
            application["ContainerEntrypoint"] = [
                "/bin/sh",
                "-c",
                "; ".join(line.strip() for line in words.strip().splitlines()),
            ]
        client.create_processing_job(
            ProcessingJobName=name,
            RoleArn="arn:aws:iam::000000000000:role/r",
            AppSpecification=application,
            ProcessingResources={
                "ClusterConfig": {
                    "InstanceCount": more.pop("count", 1),
                    "InstanceType": "ml.m5.xlarge",
                    "VolumeSizeInGB": 1,
                }
            },
            **more,
        )
        return name

    return create


@pytest.fixture
def ended(client):
    """Waits for a job's end and describes it."""

    def wait(name):
        while True:
            told = client.describe_processing_job(ProcessingJobName=name)
            if told["ProcessingJobStatus"] not in {"InProgress", "Stopping"}:
                return told
            time.sleep(0.05)

    return wait


@pytest.fixture
def log(client):
    """All lines of a job's log."""

    def read(name):
        logs = Session().boto_session.client("logs")
        group = "/aws/sagemaker/ProcessingJobs"
        found = logs.filter_log_events(logGroupName=group, logStreamNamePrefix=f"{name}/")
        return [event["message"] for event in found["events"]]

    return read


def outputs(bucket, name="out"):
    return {
        "Outputs": [
            {
                "OutputName": name,
                "S3Output": {
                    "S3Uri": f"s3://{bucket}/out",
                    "LocalPath": "/opt/ml/processing/output",
                    "S3UploadMode": "EndOfJob",
                },
            }
        ]
    }


def test_an_unknown_image_runs_in_a_container(run, ended, log, told_by_record, engine):
    bucket = Session().default_bucket()
    name = run(
        """
        echo from the program
        grep -c current_host /opt/ml/config/resourceconfig.json
        test -f /opt/ml/config/processingjobconfig.json && echo configured
        echo $PROCESSING_JOB_NAME $GIVEN
        echo result > /opt/ml/processing/output/file
        echo well > /opt/ml/output/message
        """,
        Environment={"GIVEN": "by the request"},
        ProcessingOutputConfig=outputs(bucket),
    )
    told = ended(name)
    assert told["ProcessingJobStatus"] == "Completed", told
    assert told["ExitMessage"] == "well\n"
    lines = log(name)
    assert [line for line in lines if not line.startswith("[penstock]")] == [
        "from the program",
        "1",
        "configured",
        f"{name} by the request",
    ]
    assert (
        Session().boto_session.client("s3").get_object(Bucket=bucket, Key="out/file")["Body"].read()
        == b"result\n"
    )
    image = told_by_record(name)["hosts"][0]["image"]
    assert image["uri"] == IMAGE
    assert image["id"].startswith("sha256:")
    assert image["engine"].startswith("Podman ")
    assert wait_for(lambda: engine.containers() == [])


def test_the_images_own_rules_hold(run, ended, log, engine):
    image = engine.variant(
        "ruled",
        'ENTRYPOINT ["/bin/sh", "-c", "echo $0 $@ in $PWD $SAID"]',
        'CMD ["one", "two"]',
        "WORKDIR /mnt",
        "ENV SAID=by-the-image",
    )
    both = run(None, image)
    arguments = run(None, image, application={"ContainerArguments": ["three"]})
    environment = run(None, image, Environment={"SAID": "by-the-job"})
    entrypoint = run(None, image, application={"ContainerEntrypoint": ["/bin/sh", "-c", "echo $0 alone"]})
    said = {}
    for name in (both, arguments, environment, entrypoint):
        assert ended(name)["ProcessingJobStatus"] == "Completed"
        said[name] = [line for line in log(name) if not line.startswith("[penstock]")]
    assert said[both] == ["one two in /mnt by-the-image"]
    assert said[arguments] == ["three in /mnt by-the-image"]
    assert said[environment] == ["one two in /mnt by-the-job"]
    assert said[entrypoint] == ["/bin/sh alone"]


def test_an_image_with_a_user_of_its_own(run, ended, log, engine, home):
    image = engine.variant("worked", "USER worker")
    bucket = Session().default_bucket()
    name = run(
        "id -u; echo mine > /opt/ml/processing/output/of-worker",
        image,
        ProcessingOutputConfig=outputs(bucket),
    )
    assert ended(name)["ProcessingJobStatus"] == "Completed"
    assert "1000" in log(name)
    read = Session().boto_session.client("s3").get_object(Bucket=bucket, Key="out/of-worker")
    assert read["Body"].read() == b"mine\n"
    assert wait_for(lambda: not list((home / "runs").glob(f"{name}*")))


def test_a_failed_program_and_one_that_is_not_there(run, ended):
    failed, absent = run("exit 7"), run(None, application={"ContainerEntrypoint": ["/not/there"]})
    assert "exit code: 7" in ended(failed)["FailureReason"]
    assert "exit code: 127" in ended(absent)["FailureReason"]


def test_a_stop_reaches_the_program(run, ended, client, log):
    name = run("trap 'echo asked; exit 0' TERM; echo up; while true; do sleep 0.1; done")
    assert wait_for(lambda: "up" in log(name))
    client.stop_processing_job(ProcessingJobName=name)
    assert ended(name)["ProcessingJobStatus"] == "Stopped"
    assert "asked" in log(name)


def test_a_stop_kills_what_does_not_end(run, ended, client, log, engine):
    name = run("trap '' TERM; echo up; while true; do sleep 0.1; done")
    assert wait_for(lambda: "up" in log(name))
    client.stop_processing_job(ProcessingJobName=name)
    assert ended(name)["ProcessingJobStatus"] == "Stopped"
    assert wait_for(lambda: engine.containers() == [])


def test_instances_know_each_other(run, ended, log):
    name = run(
        """
        grep algo- /etc/hosts | sed 's/.* //' | sed -n '1,2p'
        cat /etc/hostname
        """,
        count=2,
    )
    assert ended(name)["ProcessingJobStatus"] == "Completed"
    said = [line for line in log(name) if line.startswith("algo-")]
    assert sorted(said) == ["algo-1", "algo-1", "algo-1", "algo-2", "algo-2", "algo-2"]


def test_credentials_reach_the_program_and_isolation_takes_all(run, ended, log):
    source = """
        import os, urllib.request
        token = os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        where = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        request = urllib.request.Request(where, headers={"Authorization": token})
        print("AccessKeyId" in urllib.request.urlopen(request).read().decode())
    """
    entry = {
        "ContainerEntrypoint": [
            "/usr/bin/python3",
            "-c",
            "; ".join(line.strip() for line in source.strip().splitlines()),
        ]
    }
    name = run(None, application=entry)
    assert ended(name)["ProcessingJobStatus"] == "Completed", log(name)
    assert "True" in log(name)
    alone = run(
        "env | grep AWS_CONTAINER; ls /sys/class/net",
        NetworkConfig={"EnableNetworkIsolation": True},
    )
    assert ended(alone)["ProcessingJobStatus"] == "Completed"
    assert [line for line in log(alone) if not line.startswith("[penstock]")] == ["lo"]


def test_a_tag_decides(run, ended, told_by_record):
    name = run("true", image=IMAGE, Tags=[{"Key": "penstock:runtime", "Value": "container"}])
    assert ended(name)["ProcessingJobStatus"] == "Completed"
    with pytest.raises(Exception, match="names no environment"):
        run("true", image=IMAGE, Tags=[{"Key": "penstock:runtime", "Value": "sandbox"}])


def test_a_killed_runner_leaves_no_container(run, ended, log, engine, home):
    name = run(
        "echo up > /opt/ml/processing/output/before; echo up; sleep 300",
        ProcessingOutputConfig=outputs(Session().default_bucket()),
    )
    assert wait_for(lambda: "up" in log(name))
    (pid,) = (home / "runs").glob(f"{name}*/algo-1/pid")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    told = ended(name)
    assert told["ProcessingJobStatus"] == "Failed"
    assert "ended without a report" in told["FailureReason"]
    assert wait_for(lambda: engine.containers() == [])
    read = Session().boto_session.client("s3").get_object(Bucket=Session().default_bucket(), Key="out/before")
    assert read["Body"].read() == b"up\n"


@pytest.fixture
def told_by_record(client):
    address = local_server.ensure()
    return lambda name: record.fetch(address, name)


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
