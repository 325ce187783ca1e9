"""The start-up hook that `penstock env` puts on PYTHONPATH, in Pythons of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.client import alias

LOCAL = "http://127.0.0.1:1"
STORE = "http://127.0.0.1:2"


def run(code, python=sys.executable, *, path=(), **environ):
    """A Python with the hook; its output. `path` stands behind the hook on PYTHONPATH."""
    return subprocess.run(
        [python, "-c", code],
        env={
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join([str(alias.HOOK), *map(str, path)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_ENDPOINT_URL": LOCAL,
            "AWS_ENDPOINT_URL_S3": STORE,
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
    )


ENDPOINTS = """
import boto3
for endpoint in (
    "https://sts.eu-west-1.amazonaws.com",
    "https://sts.amazonaws.com",
    "https://sts.cn-north-1.amazonaws.com.cn/",
    None,
    "https://sts.example.com",
    "https://sts.eu-west-1.amazonaws.com.example.com",
    "http://127.0.0.1:3",
):
    print(boto3.client("sts", endpoint_url=endpoint).meta.endpoint_url)
"""


def test_sts_goes_where_the_environment_leads_instead_of_to_aws():
    ended = run(ENDPOINTS)
    others = [
        "https://sts.example.com",
        "https://sts.eu-west-1.amazonaws.com.example.com",
        "http://127.0.0.1:3",
    ]
    assert ended.stdout.split() == [*[LOCAL] * 4, *others], ended.stderr


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PENSTOCK_HOOK": "0"}, "https://sts.eu-west-1.amazonaws.com"),
        ({"AWS_ENDPOINT_URL": ""}, "https://sts.eu-west-1.amazonaws.com"),
        ({"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
    ],
    ids=["turned off", "no endpoint", "one for STS"],
)
def test_sts_when(environ, expected):
    code = (
        "import boto3; aws = 'https://sts.eu-west-1.amazonaws.com'\n"
        "print(boto3.client('sts', endpoint_url=aws).meta.endpoint_url)"
    )
    ended = run(code, **environ)
    assert ended.stdout.strip() == expected, ended.stderr


SENT = """
import boto3
from urllib.parse import urlsplit

def show(request, **others):
    names = [n for n in request.headers if n.lower().startswith("x-amz-server-side")]
    print(urlsplit(request.url).hostname, *sorted(names))
    raise SystemExit

for endpoint in ({endpoints}):
    s3 = boto3.client("s3", endpoint_url=endpoint)
    s3.meta.events.register("before-send.s3", show)
    for more in ({{}}, {{"SSEKMSKeyId": "k", "BucketKeyEnabled": True}}):
        try:
            s3.put_object(Bucket="b", Key="k", Body=b"", ServerSideEncryption="{kind}", **more)
        except SystemExit:
            pass
"""


def test_the_local_store_is_asked_for_no_kms():
    ended = run(SENT.format(endpoints="None, ", kind="aws:kms"))
    assert ended.stdout.splitlines() == ["127.0.0.1", "127.0.0.1"], ended.stderr
    assert ended.stderr.strip() == "No KMS here: s3://b does not encrypt by a key."


def test_other_stores_and_other_encryption_are_left_alone():
    with_key = [
        "X-Amz-Server-Side-Encryption",
        "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id",
        "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled",
    ]

    def sent(ended):
        return [[n.lower() for n in line.split()[1:]] for line in ended.stdout.splitlines()]

    both = [with_key[:1], with_key]
    expected = [[n.lower() for n in names] for names in both]
    elsewhere = run(SENT.format(endpoints="'http://127.0.0.1:4', ", kind="aws:kms"))
    assert sent(elsewhere) == expected, elsewhere.stderr
    aws = run(
        SENT.format(endpoints="None, ", kind="aws:kms"),
        AWS_ENDPOINT_URL_S3="https://s3.eu-west-1.amazonaws.com",
    )
    assert sent(aws) == expected, aws.stderr
    through = run(SENT.format(endpoints="None, ", kind="aws:kms"), AWS_ENDPOINT_URL_S3=LOCAL)
    assert sent(through) == expected, through.stderr
    plain = run(SENT.format(endpoints="None, ", kind="AES256"))
    assert sent(plain)[0] == expected[0], plain.stderr


def test_a_botocore_that_is_there_already_is_changed_as_well():
    code = (
        "import sys; sys.path.pop(0); import botocore.session, runpy\n"
        f"before = botocore.session.Session.create_client\n"
        f"runpy.run_path({str(alias.HOOK / 'sitecustomize.py')!r})['install']()\n"
        "print(botocore.session.Session.create_client is not before)"
    )
    ended = run(code, PYTHONPATH="")
    assert ended.stdout.strip() == "True", ended.stderr


def test_another_sitecustomize_runs_as_it_would_alone(tmp_path):
    other = tmp_path / "sitecustomize.py"
    other.write_text("import os; seen = __file__; os.environ['OTHER'] = __name__\n")
    ended = run(
        "import os, sys, sitecustomize; print(os.environ['OTHER'], sitecustomize.seen)", path=[tmp_path]
    )
    assert ended.stdout.split() == ["sitecustomize", str(other)], ended.stderr
    assert ended.stderr == ""


def test_an_error_of_another_sitecustomize_is_told_as_python_tells_it(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('its own')\n")
    ended = run("print('goes on')", path=[tmp_path])
    assert ended.stdout == "goes on\n"
    assert "ValueError: its own" in ended.stderr


def test_python_starts_without_botocore_and_without_a_word():
    bare = os.path.realpath(sys.executable)
    code = (
        "import json, sys; sys.path = [p for p in sys.path if 'site-packages' not in p]\n"
        "try: import botocore.session\n"
        "except ImportError as error: print(error.name)"
    )
    ended = run(code, bare)
    assert (ended.stdout.strip(), ended.stderr) == ("botocore", "")


@pytest.mark.parametrize("minor", [8, 9, 10, 12, 13, 14])
def test_other_pythons_start_with_it(minor):
    kept = sorted(
        Path(sys.base_prefix).parent.glob(f"*3.{minor}.*/bin/python3")
    )  # beside ours, as pyenv and uv do
    python = next((str(p) for p in [Path(f"/usr/bin/python3.{minor}"), *kept] if p.exists()), None)
    if python is None:
        pytest.skip(f"no Python 3.{minor} here")
    ended = run("import sitecustomize; print(sitecustomize.__file__)", python)
    assert ended.stdout.strip() == str(alias.HOOK / "sitecustomize.py"), ended.stderr
    assert ended.stderr == ""


def test_the_path_keeps_what_the_user_has_and_the_hook_once(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert alias.hooked_path() == str(alias.HOOK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/mine", str(alias.HOOK), "/too"]))
    assert alias.hooked_path() == os.pathsep.join([str(alias.HOOK), "/mine", "/too"])


def test_penstock_python_leads_the_official_sdk_and_its_children(tmp_path):
    (tmp_path / "sagemaker.py").touch()
    script = tmp_path / "script.py"
    script.write_text(
        "import os, subprocess, sys\n"
        'code = \'import boto3; aws = "https://sts.eu-west-1.amazonaws.com"; '
        'print(boto3.client("sts", endpoint_url=aws).meta.endpoint_url, flush=True)\'\n'
        "exec(code)\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
    )
    code = (
        "from penstock.client import alias, local_server\n"
        f"there = local_server.Address({LOCAL!r}, {STORE!r}, 'eu-west-1', 'eu-west-1', '0' * 12, 'b', 'a', 's')\n"
        f"alias.run_script({str(script)!r}, [], there)"
    )
    ended = run(code, PYTHONPATH=str(tmp_path))
    assert ended.stdout.split() == [LOCAL, LOCAL], ended.stderr
