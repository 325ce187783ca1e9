"""Whole jobs on a real server, with real walls, environments and objects."""

import gzip
import io
import json
import os
import signal
import socket
import tarfile
import threading
import time
from pathlib import Path

import boto3
import pytest
from machine_home import descendants, stop_server
from patience import until

from penstock.exceptions import UnexpectedStatusException
from penstock.home import Home
from penstock.network import NetworkConfig
from penstock.processing import FrameworkProcessor, ProcessingInput, ProcessingOutput
from penstock.sklearn import SKLearn

pytestmark = pytest.mark.machine

OUT = "/opt/ml/processing/out"


def output(destination=None, name="out", source=OUT):
    return ProcessingOutput(source=source, output_name=name, destination=destination)


def log_lines(session, name):
    client = session.boto_session.client("logs")
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
    )
    return [e["message"] for page in pages for e in page["events"]]


def test_a_job_takes_inputs_runs_and_puts_outputs(processor, session, script, objects, s3, told, capsys):
    s3.put_object(Bucket=session.default_bucket(), Key="data/a/x.csv", Body=b"1,2\n")
    job = processor(env={"MODE": "fast"}, tags=[{"Key": "team", "Value": "a"}])
    code = script(
        """
        import json, os, pathlib, sys
        print("args", sys.argv[1:], os.environ["MODE"], os.environ["AWS_REGION"])
        print("to stderr", file=sys.stderr)
        out = pathlib.Path("/opt/ml/processing/out")
        data = pathlib.Path("/opt/ml/processing/in/x.csv").read_bytes()
        (out / "nested").mkdir()
        (out / "nested" / "copy.csv").write_bytes(data)
        config = json.load(open("/opt/ml/config/processingjobconfig.json"))
        (out / "config.json").write_text(json.dumps([config, json.load(open("/opt/ml/config/resourceconfig.json"))]))
        pathlib.Path("/opt/ml/output/message").write_text("all well")
        """
    )
    job.run(
        code=code,
        inputs=[
            ProcessingInput(
                source=f"s3://{session.default_bucket()}/data/a/", destination="/opt/ml/processing/in"
            )
        ],
        outputs=[output()],
        arguments=["--flag", "a b"],
    )
    name = job.latest_job.job_name
    shown = capsys.readouterr().out
    assert "args ['--flag', 'a b'] fast us-east-1" in shown
    assert "to stderr" in shown
    description = job.latest_job.describe()
    assert description["ProcessingJobStatus"] == "Completed"
    assert description["ExitMessage"] == "all well"
    assert (
        description["CreationTime"] <= description["ProcessingStartTime"] <= description["ProcessingEndTime"]
    )
    found = objects(description["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"])
    assert found["nested/copy.csv"] == b"1,2\n"
    config, resources = json.loads(found["config.json"])
    assert config["ProcessingJobName"] == name
    assert config["ProcessingInputs"][0]["S3Input"]["S3DownloadMode"] == "StartOfJob"
    assert resources["hosts"] == ["algo-1"]
    assert list(told(name)["phases"]) == [
        "queued", "preparing", "downloading", "running", "uploading", "completed",
    ]  # fmt: skip
    assert told(name)["tags"] == {"team": "a"}


def test_boto3_alone(address, home):
    """Nothing of ours but the address and the keys that `penstock env` prints."""
    client = boto3.Session(
        aws_access_key_id=address.access_key_id,
        aws_secret_access_key=address.secret_access_key,
        region_name=address.region,
    ).client
    s3 = client("s3", endpoint_url=address.endpoint)  # through the one endpoint
    sagemaker = client("sagemaker", endpoint_url=address.endpoint)
    logs = client("logs", endpoint_url=address.endpoint)
    bucket = address.bucket
    code = (
        b"import shutil; shutil.copy('/opt/ml/processing/in/d', '/opt/ml/processing/out/d'); print('copied')"
    )
    s3.put_object(Bucket=bucket, Key="b3/code/run.py", Body=code)
    s3.put_object(Bucket=bucket, Key="b3/d", Body=b"the data")

    def given(name, uri, path):
        kind = {"S3DataType": "S3Prefix", "S3InputMode": "File"}
        return {
            "InputName": name,
            "S3Input": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{path}", **kind},
        }

    arn = sagemaker.create_processing_job(
        ProcessingJobName="boto3-alone",
        ProcessingResources={
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        AppSpecification={
            "ImageUri": "python:3.11",
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/run.py"],
        },
        RoleArn="arn:aws:iam::000000000000:role/any",
        ProcessingInputs=[
            given("code", f"s3://{bucket}/b3/code/run.py", "code"),
            given("in", f"s3://{bucket}/b3/d", "in"),
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": f"s3://{bucket}/b3/out/",
                        "LocalPath": OUT,
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    )["ProcessingJobArn"]
    assert arn.endswith(":processing-job/boto3-alone")
    sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName="boto3-alone", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert s3.get_object(Bucket=bucket, Key="b3/out/d")["Body"].read() == b"the data"
    streams = logs.describe_log_streams(
        logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix="boto3-alone/"
    )["logStreams"]
    events = logs.get_log_events(
        logGroupName="/aws/sagemaker/ProcessingJobs",
        logStreamName=streams[0]["logStreamName"],
        startFromHead=True,
    )["events"]
    assert "copied" in [e["message"] for e in events]
    listed = sagemaker.list_processing_jobs(NameContains="boto3-alone")["ProcessingJobSummaries"]
    assert [j["ProcessingJobStatus"] for j in listed] == ["Completed"]
    sagemaker.delete_processing_job(ProcessingJobName="boto3-alone")
    assert sagemaker.list_processing_jobs(NameContains="boto3-alone")["ProcessingJobSummaries"] == []


def test_three_instances_share_the_objects_by_key(processor, session, script, objects, s3):
    bucket = session.default_bucket()
    for n in range(10):
        s3.put_object(Bucket=bucket, Key=f"shards/{n:02}.txt", Body=b"x")
    job = processor(instance_count=3)
    job.run(
        code=script(
            """
            import json, os, pathlib, socket
            told = json.load(open("/opt/ml/config/resourceconfig.json"))
            here = told["current_host"]
            assert socket.gethostname() == here, socket.gethostname()
            addresses = {h: socket.gethostbyname(h) for h in told["hosts"]}
            keys = sorted(os.listdir("/opt/ml/processing/in"))
            text = json.dumps({"keys": keys, "addresses": addresses})
            pathlib.Path("/opt/ml/processing/out", here + ".json").write_text(text)
            """
        ),
        inputs=[
            ProcessingInput(
                source=f"s3://{bucket}/shards/",
                destination="/opt/ml/processing/in",
                s3_data_distribution_type="ShardedByS3Key",
            )
        ],
        outputs=[output(f"s3://{bucket}/shards-out")],
        logs=False,
    )
    found = {k: json.loads(v) for k, v in objects(f"s3://{bucket}/shards-out").items()}
    assert sorted(found) == ["algo-1.json", "algo-2.json", "algo-3.json"]
    keys = [key for told in found.values() for key in told["keys"]]
    assert sorted(keys) == [f"{n:02}.txt" for n in range(10)]
    assert sorted(len(told["keys"]) for told in found.values()) == [3, 3, 4]
    addresses = found["algo-1.json"]["addresses"]
    assert len(set(addresses.values())) == 3
    assert all(told["addresses"] == addresses for told in found.values())


def test_a_failing_script_fails_the_job_and_loses_nothing(processor, script, objects):
    job = processor()
    code = script(
        """
        import pathlib, sys
        pathlib.Path("/opt/ml/processing/out/partial.txt").write_text("kept")
        pathlib.Path("/opt/ml/output/message").write_text("why it failed")
        print("about to fail")
        raise SystemExit(7)
        """
    )
    with pytest.raises(UnexpectedStatusException) as caught:
        job.run(code=code, outputs=[output()])
    assert "AlgorithmError: , exit code: 7" in str(caught.value)
    assert "about to fail" in str(caught.value)
    assert caught.value.actual_status == "Failed"
    description = job.latest_job.describe()
    assert description["FailureReason"] == "AlgorithmError: , exit code: 7"
    assert description["ExitMessage"] == "why it failed"
    uri = description["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert objects(uri) == {"partial.txt": b"kept"}


@pytest.mark.parametrize("handler", [True, False], ids=["handles SIGTERM", "does not handle SIGTERM"])
def test_a_stop_ends_the_program_and_loses_nothing(processor, session, script, objects, handler):
    job = processor()
    code = script(
        f"""
        import pathlib, signal, sys, time
        out = pathlib.Path("/opt/ml/processing/out")
        def leave(*_):
            (out / "last.txt").write_text("on the way out")
            sys.exit(0)
        if {handler}:
            signal.signal(signal.SIGTERM, leave)
        (out / "first.txt").write_text("before")
        print("ready")
        time.sleep(600)
        """
    )
    job.run(code=code, outputs=[output()], wait=False)
    name = job.latest_job.job_name
    until(lambda: "ready" in log_lines(session, name))
    began = time.monotonic()
    job.latest_job.stop()
    assert job.latest_job.describe()["ProcessingJobStatus"] in {"Stopping", "Stopped"}
    job.latest_job.wait(logs=False)
    assert time.monotonic() - began < 4  # well within the time of grace
    description = job.latest_job.describe()
    assert description["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in description
    uri = description["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert set(objects(uri)) == ({"first.txt", "last.txt"} if handler else {"first.txt"})


def test_a_transfer_is_seen_while_it_goes_on(processor, script, told, capsys):
    job = processor()
    code = script(
        """
        import os
        with open("/opt/ml/processing/out/big", "wb") as file:
            os.truncate(file.fileno(), 1 << 30)
        """
    )
    job.run(code=code, outputs=[output()], wait=False)
    name = job.latest_job.job_name
    seen = []

    def over():
        record = told(name)
        seen.append(record["progress"])
        assert record["hosts"] == [] or record["hosts"][0]["progress"] == record["progress"]
        return record["status"] != "InProgress"

    until(over, seconds=200)
    moving = [one for one in seen if one and one["way"] == "upload"]
    assert [one["bytes"] for one in moving] == sorted(one["bytes"] for one in moving)
    assert 0 < moving[-1]["bytes"] <= 1 << 30
    assert moving[-1]["bytes_per_second"] > 0
    assert moving[-1]["total_bytes"] in {None, 1 << 30}  # counted when it takes more than a second
    assert seen[-1] is None


def test_a_program_that_ignores_a_stop_is_killed_after_its_grace(processor, session, script):
    job = processor()
    code = script("import signal, time; signal.signal(15, signal.SIG_IGN); print('ready'); time.sleep(600)")
    job.run(code=code, wait=False)
    name = job.latest_job.job_name
    until(lambda: "ready" in log_lines(session, name))
    job.latest_job.stop()
    job.latest_job.wait(logs=False)
    assert job.latest_job.describe()["ProcessingJobStatus"] == "Stopped"
    assert any("killed" in line for line in log_lines(session, name))


def test_the_time_limit_stops_the_job_without_a_reason(processor, session, script):
    job = processor(max_runtime_in_seconds=1)
    job.run(code=script("import time; time.sleep(600)"), logs=False)
    description = job.latest_job.describe()
    assert description["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in description
    assert any("time limit of 1 s" in line for line in log_lines(session, job.latest_job.job_name))


def test_two_jobs_at_once_never_meet(processor, script, session, objects):
    code = script(
        """
        import os, pathlib, sys, time
        mine = sys.argv[1]
        pathlib.Path("/opt/ml/processing/out", mine).write_text(mine)
        pathlib.Path("/tmp", mine).write_text(mine)
        # Both run now: each waits for the other's sign, which comes by S3's way, not by the disk's.
        print("ready")
        sys.stdout.flush()
        time.sleep(2)
        seen = os.listdir("/opt/ml/processing/out") + os.listdir("/tmp") + os.listdir("/dev/shm")
        processes = [p for p in os.listdir("/proc") if p.isdigit()]
        pathlib.Path("/opt/ml/processing/out/seen").write_text(repr((seen, len(processes))))
        """
    )
    jobs = [processor() for _ in range(2)]
    for number, job in enumerate(jobs):
        job.run(
            code=code,
            arguments=[f"job{number}"],
            outputs=[output()],
            job_name=f"together-{number}",
            wait=False,
        )
    until(lambda: all("ready" in log_lines(session, f"together-{n}") for n in (0, 1)))
    assert all(j.latest_job.describe()["ProcessingJobStatus"] == "InProgress" for j in jobs)
    for number, job in enumerate(jobs):
        job.latest_job.wait(logs=False)
        uri = job.latest_job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
        seen, processes = eval(objects(uri)["seen"])  # our own script's text
        assert seen == [f"job{number}", f"job{number}"]
        assert processes == 2  # the reaper and the program


def test_a_job_sees_neither_home_nor_keys_nor_other_runs(processor, script, home, address, objects):
    """The program looks for the server's secrets wherever it can."""
    job = processor()
    code = script(
        """
        import os, pathlib, sys
        secret, home = sys.argv[1:]
        found = [home] if os.path.exists(home) else []
        for folder, _, names in os.walk("/"):
            if folder.startswith(("/proc", "/sys")):
                continue
            for name in names:
                path = os.path.join(folder, name)
                if name in {"keys.json", "run.json", "penstock.db", "server.json", "security.toml"}:
                    found.append(path)
        others = [one for one in os.listdir("/proc") if one.isdigit() and os.listdir(f"/proc/{one}")]
        for process in others:  # process 1 of the walls is an empty folder
            for what in ("environ", "cmdline"):
                text = open(f"/proc/{process}/{what}", "rb").read()
                if secret[::-1].encode() in text:
                    found.append(f"{process}/{what}")
        assert str(os.getpid()) in others
        if secret[::-1] in str(dict(os.environ)):
            found.append("environment")
        pathlib.Path("/opt/ml/processing/out/found").write_text(repr(found))
        """
    )
    job.run(code=code, arguments=[address.secret_access_key[::-1], str(home)], outputs=[output()], logs=False)
    uri = job.latest_job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert objects(uri)["found"] == b"[]"


def test_a_job_can_not_read_objects_around_the_key_check(
    processor, script, session, address, home, s3, objects
):
    """From within its walls a program asks every listening port of the server and its store for an object."""
    bucket = session.default_bucket()
    s3.put_object(Bucket=bucket, Key="secret/object.txt", Body=b"the secret of another job")
    ports = sorted(_listening(home))
    assert len(ports) > 2  # the store's inner ones are among them
    assert int(address.endpoint.rpartition(":")[2]) in ports
    job = processor()
    code = script(
        """
        import http.client, pathlib, socket, ssl, sys
        bucket, *ports = sys.argv[1:]
        paths = [f"/{bucket}/secret/object.txt", f"/buckets/{bucket}/secret/object.txt", f"/buckets/{bucket}/secret/",
                 f"/{bucket}?list-type=2", "/", "/dir/status?pretty=y", f"/col/delete?collection={bucket}",
                 "/dir/assign", "/vol/status", "/status", "/metrics", "/debug/pprof/cmdline"]
        answers, leaks = 0, []
        plain = ssl.create_default_context(); plain.check_hostname = False; plain.verify_mode = ssl.CERT_NONE
        for port in ports:
            for path in paths:
                for tls in (False, True):
                    make = http.client.HTTPSConnection if tls else http.client.HTTPConnection
                    more = {"context": plain} if tls else {}
                    try:
                        connection = make("127.0.0.1", int(port), timeout=3, **more)
                        connection.request("GET", path)
                        response = connection.getresponse()
                        body = response.read()
                        answers += 1
                        # The store's health page says 200 to anyone, and nothing else.
                        told = body or path != "/status"
                        if b"the secret of another job" in body or (response.status < 300 and told):
                            leaks.append((port, tls, path, response.status, body[:80]))
                    except (OSError, http.client.HTTPException):
                        pass
        pathlib.Path("/opt/ml/processing/out/result").write_text(repr((answers, leaks)))
        """
    )
    job.run(code=code, arguments=[bucket, *map(str, ports)], outputs=[output()], logs=False)
    uri = job.latest_job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    answers, leaks = eval(objects(uri)["result"])  # our own script's text
    assert answers > 0  # it could ask
    assert leaks == []
    assert (
        s3.get_object(Bucket=bucket, Key="secret/object.txt")["Body"].read() == b"the secret of another job"
    )


def _listening(home):
    """Loopback ports of the server of this home and of its store's processes, which work within it."""
    server = str(Home(home).server().pid)
    found = set()
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if process != server and not Path(f"/proc/{process}/cwd").readlink().is_relative_to(home):
                continue
            links = {os.readlink(f"/proc/{process}/fd/{fd}") for fd in os.listdir(f"/proc/{process}/fd")}
        except OSError:
            continue
        inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def test_an_isolated_job_has_no_network_but_its_inputs_and_outputs(processor, script, address, objects):
    port = int(address.endpoint.rpartition(":")[2])
    code = script(
        f"""
        import pathlib, socket
        try:
            socket.create_connection(("127.0.0.1", {port}), 2)
            told = "connected"
        except OSError as error:
            told = "refused"
        pathlib.Path("/opt/ml/processing/out/told").write_text(told)
        """
    )
    for isolated, expected in ((True, b"refused"), (False, b"connected")):
        job = processor(network_config=NetworkConfig(enable_network_isolation=isolated))
        job.run(code=code, outputs=[output()], logs=False)
        uri = job.latest_job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
        assert objects(uri)["told"] == expected


def test_an_input_that_is_not_there_fails_the_job_with_its_uri(processor, script):
    job = processor()
    missing = "s3://sagemaker-us-east-1-000000000000/no/such/prefix"
    with pytest.raises(UnexpectedStatusException, match="no/such/prefix"):
        job.run(
            code=script("pass"),
            inputs=[ProcessingInput(source=missing, destination="/opt/ml/processing/in")],
        )
    assert job.latest_job.describe()["FailureReason"].startswith("ClientError: Failed to download data.")


def test_an_output_that_can_not_be_uploaded_fails_the_job(processor, script):
    job = processor()
    code = script("open(b'/opt/ml/processing/out/\\xff', 'w').write('x')")
    with pytest.raises(UnexpectedStatusException, match="its name is not UTF-8"):
        job.run(code=code, outputs=[output()])
    assert job.latest_job.describe()["FailureReason"].startswith(
        "ClientError: Failed to upload data. Output 'out'"
    )


def test_an_output_without_a_bucket_fails_the_job_before_its_program_starts(processor, script, capsys):
    job = processor()
    code = script("print('in vain')")
    with pytest.raises(
        UnexpectedStatusException,
        match=r"Output 'out': s3://no-such-bucket-anywhere/x: the bucket .* does not exist",
    ):
        job.run(code=code, outputs=[output("s3://no-such-bucket-anywhere/x")])
    assert job.latest_job.describe()["FailureReason"].startswith("ClientError: ")
    assert "in vain" not in capsys.readouterr().out


def test_links_are_not_followed_out_of_an_output(processor, script, objects):
    job = processor()
    code = script(
        """
        import os
        os.symlink("/etc/passwd", "/opt/ml/processing/out/link")
        os.symlink("/etc", "/opt/ml/processing/out/folder")
        open("/opt/ml/processing/out/real", "w").write("real")
        """
    )
    job.run(code=code, outputs=[output()], logs=False)
    uri = job.latest_job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert objects(uri) == {"real": b"real"}


def test_a_script_may_install_what_it_likes_in_its_own_job(processor, script, tmp_path, session):
    """pip works within a job, and the next job in the same environment does not see what it installed."""
    package = tmp_path / "pkg"
    (package / "inside_only").mkdir(parents=True)
    (package / "inside_only" / "__init__.py").write_text("value = 42\n")
    wheel = _wheel(tmp_path)
    install = script(
        """
        import glob, subprocess, sys
        wheel = glob.glob("/opt/ml/processing/wheel/*.whl")[0]
        subprocess.run([sys.executable, "-m", "pip", "install", "--no-index", wheel], check=True)
        subprocess.run([sys.executable, "-c", "import inside_only; print('value', inside_only.value)"], check=True)
        """,
        "install.py",
    )
    job = processor()
    job.run(
        code=install,
        inputs=[ProcessingInput(source=str(wheel), destination="/opt/ml/processing/wheel")],
        logs=False,
    )
    assert "value 42" in log_lines(session, job.latest_job.job_name)
    other = processor()
    other.run(
        code=script("import importlib.util as u; assert u.find_spec('inside_only') is None"), logs=False
    )


def _wheel(folder):
    """The smallest wheel there can be."""
    import zipfile

    path = folder / "inside_only-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("inside_only/__init__.py", "value = 42\n")
        info = "inside_only-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: inside-only\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def test_requirements_of_a_source_folder_are_installed_once_per_content(session, tmp_path, told):
    source = tmp_path / "src"
    source.mkdir()
    (source / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (source / "helper.py").write_text("word = 'helped'\n")
    (source / "main.py").write_text("import helper, iniconfig; print(helper.word, iniconfig.__file__)\n")

    def run():
        job = FrameworkProcessor(
            SKLearn,
            framework_version="1.2-1",
            image_uri="python:3.11",
            instance_count=1,
            instance_type="ml.m5.large",
            command=["python3"],
            sagemaker_session=session,
        )
        job.run(code="main.py", source_dir=str(source), logs=False)
        lines = log_lines(session, job.latest_job.job_name)
        assert any(line.startswith("helped ") for line in lines), lines
        return told(job.latest_job.job_name)["hosts"][0]["environment"]["digest"]

    first = run()
    assert run() == first
    (source / "requirements.txt").write_text("iniconfig==2.1.0\n")
    assert run() != first


def framework_job(session, **changes):
    return FrameworkProcessor(
        SKLearn,
        **{
            "framework_version": "1.2-1",
            "image_uri": "python:3.11",
            "instance_count": 1,
            "instance_type": "ml.m5.large",
            "command": ["python3"],
            "sagemaker_session": session,
            **changes,
        },
    )


def test_requirements_beside_the_script_are_installed_by_its_own_pip_within_the_walls(session, tmp_path):
    """What would have to be built, or lies beside the file, is never run outside the walls, and works all the same."""
    source = tmp_path / "src"
    (source / "reqs").mkdir(parents=True)
    (source / "requirements.txt").write_text("-r reqs/base.txt\n")
    (source / "reqs" / "base.txt").write_text("iniconfig==2.0.0\n")
    (source / "main.py").write_text("import iniconfig; print('at', iniconfig.__file__)\n")
    job = framework_job(session)
    job.run(code="main.py", source_dir=str(source), logs=False)
    lines = log_lines(session, job.latest_job.job_name)
    assert any("the job's own pip installs it" in line for line in lines)
    assert any(line.startswith("at /opt/venv/") for line in lines)


@pytest.mark.parametrize("limit", [None, 2])
def test_a_stop_and_the_time_limit_reach_an_installation_that_hangs(session, tmp_path, limit):
    """An index that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = tmp_path / "src"
        source.mkdir()
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        (source / "requirements.txt").write_text(f"--index-url {index}\nnosuchpackage\n")
        (source / "main.py").write_text("")
        job = framework_job(session, max_runtime_in_seconds=limit)
        job.run(code="main.py", source_dir=str(source), wait=False)
        connection, _ = silent.accept()
        if limit is None:
            job.latest_job.stop()
        job.latest_job.wait(logs=False)
        connection.close()
    description = job.latest_job.describe()
    assert description["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in description
    assert any("before the program was started" in x for x in log_lines(session, job.latest_job.job_name))


def test_requirements_that_can_not_be_had_fail_the_job_with_their_name(session, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "requirements.txt").write_text("iniconfig==0.0.0.1\n")
    (source / "main.py").write_text("")
    job = FrameworkProcessor(
        SKLearn,
        framework_version="1.2-1",
        image_uri="python:3.11",
        instance_count=1,
        instance_type="ml.m5.large",
        sagemaker_session=session,
    )
    with pytest.raises(UnexpectedStatusException, match=r"requirements\.txt"):
        job.run(code="main.py", source_dir=str(source))
    assert "iniconfig" in job.latest_job.describe()["FailureReason"]


def test_a_job_outlives_its_server(processor, session, script, objects, home):
    """kill -9 of the server while the program runs: the job goes on and is told when a server is back."""
    job = processor()
    code = script(
        """
        import pathlib, time
        print("ready")
        time.sleep(3)
        pathlib.Path("/opt/ml/processing/out/done").write_text("done")
        print("after the crash")
        """
    )
    job.run(code=code, outputs=[output()], wait=False)
    name = job.latest_job.job_name
    until(lambda: "ready" in log_lines(session, name))
    os.kill(Home(home).server().pid, signal.SIGKILL)
    until(lambda: not Home(home).held())
    from penstock.client import local_server

    local_server.ensure()
    job.latest_job.wait(logs=False)
    description = job.latest_job.describe()
    assert description["ProcessingJobStatus"] == "Completed"
    uri = description["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert objects(uri) == {"done": b"done"}
    assert "after the crash" in log_lines(session, name)


def test_a_job_that_ends_while_no_server_runs_is_told_by_the_next_one(processor, session, script, home):
    job = processor()
    job.run(code=script("import time; print('ready'); time.sleep(1)"), wait=False)
    name = job.latest_job.job_name
    until(lambda: "ready" in log_lines(session, name))
    stop_server(home)
    until(lambda: any("ended" in p.read_text() for p in home.glob("runs/*/*/journal")))
    from penstock.client import local_server

    local_server.ensure()
    job.latest_job.wait(logs=False)
    assert job.latest_job.describe()["ProcessingJobStatus"] == "Completed"


def test_a_runner_that_is_killed_fails_its_job_leaves_no_process_and_loses_no_output(
    processor, session, script, home, objects
):
    job = processor()
    code = script(
        "import time; open('/opt/ml/processing/out/x', 'w').write('x'); print('ready'); time.sleep(600)"
    )
    job.run(code=code, outputs=[output()], wait=False)
    name = job.latest_job.job_name
    until(lambda: "ready" in log_lines(session, name))
    (pid,) = [int(p.read_text()) for p in home.glob(f"runs/{name}-*/*/pid")]
    children = descendants(pid)
    assert children
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(UnexpectedStatusException, match="ended without a report"):
        job.latest_job.wait(logs=False)
    until(lambda: not any(os.path.exists(f"/proc/{child}") for child in children))
    uri = job.latest_job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert objects(uri) == {"x": b"x"}


def test_a_store_that_dies_is_started_again_and_nothing_is_lost(processor, session, script, objects, home):
    """kill -9 of the object store while a program runs."""
    job = processor()
    code = script(
        """
        import pathlib, time
        print("ready")
        time.sleep(2)
        pathlib.Path("/opt/ml/processing/out/x").write_text("x")
        """
    )
    job.run(code=code, outputs=[output()], wait=False)
    name = job.latest_job.job_name
    until(lambda: "ready" in log_lines(session, name))
    weed = [
        int(p)
        for p in filter(str.isdigit, os.listdir("/proc"))
        if str(home / "store").encode() in _command(p) and b"weed" in _command(p)
    ]
    assert weed
    for pid in weed:
        os.kill(pid, signal.SIGKILL)
    job.latest_job.wait(logs=False)
    description = job.latest_job.describe()
    assert description["ProcessingJobStatus"] == "Completed", description.get("FailureReason")
    uri = description["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert objects(uri) == {"x": b"x"}


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_nothing_is_left_of_a_run_but_its_record(processor, script, home):
    job = processor()
    job.run(code=script("import os; os.chmod('/opt/ml/processing', 0o500)"), logs=False)
    name = job.latest_job.job_name
    until(lambda: not list(home.glob(f"runs/{name}-*")))


def test_a_log_line_is_there_within_half_a_second(processor, session, script):
    job = processor()
    code = script("import time\nfor _ in range(20): print(time.time(), flush=True); time.sleep(0.2)")
    job.run(code=code, wait=False)
    name = job.latest_job.job_name
    delays, seen = [], 0
    while len(delays) < 10:
        lines = [line for line in log_lines(session, name) if not line.startswith("[penstock]")]
        delays += [time.time() - float(line) for line in lines[seen:]]
        seen = len(lines)
    job.latest_job.wait(logs=False)
    assert sorted(delays)[len(delays) // 2] < 0.5


def test_a_job_without_a_script_runs_its_entrypoint(session, objects):
    from penstock.processing import Processor

    job = Processor(
        image_uri="python:3.11",
        entrypoint=["sh", "-c", 'echo "$0 $1" > /opt/ml/processing/out/told; id -un; pwd; echo $HOME'],
        instance_count=1,
        instance_type="ml.t3.medium",
        sagemaker_session=session,
    )
    job.run(arguments=["one", "two"], outputs=[output()], logs=False)
    uri = job.latest_job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert objects(uri) == {"told": b"one two\n"}
    lines = [
        line for line in log_lines(session, job.latest_job.job_name) if not line.startswith("[penstock]")
    ]
    assert lines == ["root", "/", "/root"]


def test_the_port_of_a_listener_of_ours_is_reached_from_a_job(processor, script, session):
    """Without isolation a job shares the machine's network, as its user expects of a local tool."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        got = []

        def take():
            connection, _ = listener.accept()
            with connection:
                got.append(connection.recv(5))

        thread = threading.Thread(target=take)
        thread.start()
        job = processor()
        port = listener.getsockname()[1]
        job.run(
            code=script(f"import socket; socket.create_connection(('127.0.0.1', {port})).sendall(b'hello')"),
            logs=False,
        )
        thread.join()
    assert got == [b"hello"]


def test_a_source_archive_that_is_broken_is_named(session, script, tmp_path, s3):
    bucket = session.default_bucket()
    s3.put_object(Bucket=bucket, Key="broken/sourcedir.tar.gz", Body=b"no archive")
    job = FrameworkProcessor(
        SKLearn,
        framework_version="1.2-1",
        image_uri="python:3.11",
        instance_count=1,
        instance_type="ml.m5.large",
        sagemaker_session=session,
    )
    with pytest.raises(UnexpectedStatusException, match=r"sourcedir\.tar\.gz"):
        job.run(code="main.py", source_dir=f"s3://{bucket}/broken/sourcedir.tar.gz")


def test_an_archive_as_input_arrives_byte_by_byte(processor, session, script, s3, objects):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    bucket = session.default_bucket()
    s3.put_object(Bucket=bucket, Key="models/model.tar.gz", Body=data.getvalue())
    job = processor()
    job.run(
        code=script(
            "import shutil; shutil.copy('/opt/ml/processing/model/model.tar.gz', '/opt/ml/processing/out/m')"
        ),
        inputs=[
            ProcessingInput(
                source=f"s3://{bucket}/models/model.tar.gz", destination="/opt/ml/processing/model"
            )
        ],
        outputs=[output(f"s3://{bucket}/models-out")],
        logs=False,
    )
    assert objects(f"s3://{bucket}/models-out") == {"m": data.getvalue()}


def test_a_continuous_output_is_in_s3_while_the_program_runs(processor, session, script, objects, s3):
    """The program goes on only when its first file has been seen in S3: `go` is put there as its answer."""
    bucket = session.default_bucket()
    job = processor()
    job.run(
        code=script(
            f"""
            import pathlib, time
            out = pathlib.Path("{OUT}")
            (out / "part").mkdir()
            (out / "part/1.csv").write_text("early")
            (out / "again").write_text("first")
            go = pathlib.Path("{OUT}/../other/go")
            while not go.exists():
                time.sleep(0.05)
            (out / "again").write_text("last")
            (out / "late").write_text("late")
            """
        ),
        outputs=[
            ProcessingOutput(
                source=OUT,
                output_name="out",
                destination=f"s3://{bucket}/while-it-runs",
                s3_upload_mode="Continuous",
            ),
            output(f"s3://{bucket}/beside-it", name="other", source="/opt/ml/processing/other"),
        ],
        wait=False,
    )
    early = until(lambda: len(found := objects(f"s3://{bucket}/while-it-runs")) == 2 and found)
    assert early == {"part/1.csv": b"early", "again": b"first"}
    assert job.latest_job.describe()["ProcessingJobStatus"] == "InProgress"
    (run,) = (Path(os.environ["PENSTOCK_HOME"]) / "runs").glob(f"{job.latest_job.job_name}-*/algo-1")
    (run / "ml/processing/other/go").touch()
    job.latest_job.wait(logs=False)
    assert objects(f"s3://{bucket}/while-it-runs") == {
        "part/1.csv": b"early",
        "again": b"last",
        "late": b"late",
    }
    lines = [line for line in log_lines(session, job.latest_job.job_name) if "Output 'out'" in line]
    assert "1 of them had been uploaded while the program ran" in lines[-1]


def test_a_stop_loses_nothing_of_a_continuous_output(processor, session, script, objects):
    uri = f"s3://{session.default_bucket()}/stopped-amid-it"
    job = processor()
    job.run(
        code=script(
            f"""
            import pathlib, signal, sys, time
            out = pathlib.Path("{OUT}")
            def end(*_):
                (out / "at-the-end").write_text("2")
                half.write("and this")
                sys.exit(0)
            signal.signal(signal.SIGTERM, end)
            half = open(out / "open", "w")
            half.write("this ")
            (out / "early").write_text("1")
            while True:
                time.sleep(60)
            """
        ),
        outputs=[
            ProcessingOutput(source=OUT, output_name="out", destination=uri, s3_upload_mode="Continuous")
        ],
        wait=False,
    )
    until(lambda: objects(uri) == {"early": b"1"})
    job.latest_job.stop()
    until(lambda: job.latest_job.describe()["ProcessingJobStatus"] == "Stopped")
    assert objects(uri) == {"early": b"1", "open": b"this and this", "at-the-end": b"2"}


def piped(uri, name="in", **more):
    return ProcessingInput(
        source=uri, destination=f"/opt/ml/processing/{name}", input_name=name, s3_input_mode="Pipe", **more
    )


def test_piped_inputs_flow_through_the_walls(processor, session, script, objects, s3, told):
    bucket = session.default_bucket()
    for n in range(5):
        s3.put_object(Bucket=bucket, Key=f"piped/{n}.gz", Body=gzip.compress(f"{n} ".encode() * 100_000))
    manifest = json.dumps([{"prefix": f"s3://{bucket}/piped/"}, "3.gz", "1.gz"]).encode()
    s3.put_object(Bucket=bucket, Key="piped-manifest", Body=manifest)
    job = processor(instance_count=2)
    job.run(
        code=script(
            """
            import json, os, pathlib
            here = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
            folder = "/opt/ml/processing/"
            told = {}
            for name in ("all_0", "all_1", "some_0", "shard_0"):
                told[name] = open(folder + name).read()[::100_000 * 2]
            raw = open(folder + "raw_0", "rb")
            told["raw_0"] = raw.read(2).hex()
            raw.close()
            told["left"] = sorted(os.listdir(folder))
            pathlib.Path("/opt/ml/processing/out", here + ".json").write_text(json.dumps(told))
            """
        ),
        inputs=[
            piped(f"s3://{bucket}/piped/", "all", s3_compression_type="Gzip"),
            piped(
                f"s3://{bucket}/piped-manifest",
                "some",
                s3_compression_type="Gzip",
                s3_data_type="ManifestFile",
            ),
            piped(
                f"s3://{bucket}/piped/",
                "shard",
                s3_compression_type="Gzip",
                s3_data_distribution_type="ShardedByS3Key",
            ),
            piped(f"s3://{bucket}/piped/", "raw"),
            piped(f"s3://{bucket}/piped/", "unread"),
        ],
        outputs=[output(f"s3://{bucket}/piped-out")],
        logs=False,
    )
    found = {k: json.loads(v) for k, v in objects(f"s3://{bucket}/piped-out").items()}
    assert set(found) == {"algo-1.json", "algo-2.json"}
    for seen in found.values():
        assert seen["all_0"] == seen["all_1"] == "01234"
        assert (seen["some_0"], seen["raw_0"]) == ("13", "1f8b")
        assert {"all_2", "raw_1", "unread_0"} < set(seen["left"])
        assert not {"all_0", "raw_0"} & set(seen["left"])
    assert [found[f"algo-{n}.json"]["shard_0"] for n in (1, 2)] == ["024", "13"]
    name = job.latest_job.job_name
    lines = log_lines(session, name)
    assert any("the program did not open /opt/ml/processing/unread_0" in line for line in lines)
    streams = {one["name"]: one["epochs"] for one in told(name)["hosts"][0]["streams"]}
    assert streams == {"all": 2, "some": 1, "shard": 1, "raw": 1, "unread": 0}


def test_a_broken_stream_fails_the_job_and_its_program_never_sees_an_end(
    processor, session, script, objects, s3
):
    bucket = session.default_bucket()
    whole = gzip.compress(os.urandom(3_000_000))
    s3.put_object(Bucket=bucket, Key="cut/1.gz", Body=whole)
    s3.put_object(Bucket=bucket, Key="cut/2.gz", Body=whole[:-1000])
    job = processor()
    with pytest.raises(UnexpectedStatusException, match="Failed"):
        job.run(
            code=script(
                f"""
                import pathlib
                out = pathlib.Path("{OUT}")
                (out / "begun").touch()
                open("/opt/ml/processing/in_0", "rb").read()
                (out / "seen-as-complete").touch()
                """
            ),
            inputs=[piped(f"s3://{bucket}/cut/", s3_compression_type="Gzip")],
            outputs=[output(f"s3://{bucket}/cut-out")],
            logs=False,
        )
    reason = job.latest_job.describe()["FailureReason"]
    expected = (
        f"ClientError: Failed to download data. Input 'in': s3://{bucket}/cut/2.gz: it is no sound gzip file"
    )
    assert reason.startswith(expected)
    assert objects(f"s3://{bucket}/cut-out") == {"begun": b""}


def test_a_stop_ends_a_job_that_reads_slowly(processor, session, script, s3):
    bucket = session.default_bucket()
    s3.put_object(Bucket=bucket, Key="slow/big", Body=bytes(20 << 20))
    job = processor()
    job.run(
        code=script(
            """
            import time
            file = open("/opt/ml/processing/in_0", "rb", 0)
            print("read", len(file.read(10)), flush=True)
            time.sleep(600)
            """
        ),
        inputs=[piped(f"s3://{bucket}/slow/")],
        wait=False,
    )
    until(lambda: "read 10" in log_lines(session, job.latest_job.job_name))
    job.latest_job.stop()
    until(lambda: job.latest_job.describe()["ProcessingJobStatus"] == "Stopped")
