"""One real server; AWS's own clients, each in an environment of its own; nothing between them but `penstock env`.

Each case is a function of a file in `scripts/`, run by the client's interpreter in a process and a folder of its own.
All of them are started at once, a few at a time, since most of what they do is wait.
"""

import ast
import os
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
KEPT = ROOT / ".cache" / "clients"
BIN = Path(sysconfig.get_path("scripts"))

#: Client -> what is installed, the package whose version is shown, the file with its cases.
CLIENTS = {
    "boto3-oldest": ("boto3==1.34.0", "boto3", "boto3_client.py"),
    "boto3-latest": ("boto3", "boto3", "boto3_client.py"),
    "awscli": ("awscli", "awscli", "aws_cli.py"),
    "sagemaker-v2": ("sagemaker<3", "sagemaker", "sagemaker_v2.py"),
    "sagemaker-v3": ("sagemaker>=3", "sagemaker", "sagemaker_v3.py"),
}
_AT_ONCE = 8
_SECONDS = 280

_versions = {}


def pytest_ignore_collect(collection_path, config):
    """Only for who asks for this folder: it installs what the package index has today."""
    del collection_path
    return None if any("clients" in argument for argument in config.args) else True


def pytest_generate_tests(metafunc):
    if metafunc.function.__name__ == "test_client":
        metafunc.parametrize(("client", "case"), [(c, case) for c in CLIENTS for case in _cases(c)])


def _cases(client):
    """The public functions of the client's file: name -> what it shows."""
    tree = ast.parse((SCRIPTS / CLIENTS[client][2]).read_text())
    functions = [f for f in tree.body if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")]
    return {f.name: ast.get_docstring(f) for f in functions}


@pytest.fixture(scope="session")
def environ(tmp_path_factory):
    """The environment of a user of Penstock's, whose server has a home of its own and ends with the session."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
    kept.pop("PYTHONPATH", None)
    environ = {
        **kept,
        "PENSTOCK_HOME": str(tmp_path_factory.mktemp("home")),
        "PENSTOCK_ENVIRONMENTS": os.environ.get("PENSTOCK_ENVIRONMENTS") or str(ROOT / ".cache/environments"),
        "PENSTOCK_PORT": "11560",
        "PENSTOCK_SLOTS": "16",
        "PENSTOCK_STOP_GRACE": "5",
    }
    yield environ
    subprocess.run([BIN / "penstock", "down"], env=environ, check=True, capture_output=True)


@pytest.fixture(scope="session")
def export(environ):
    """Runs `penstock env` and reads what it prints, as a shell would."""

    def run(*options, **more):
        command = [BIN / "penstock", "env", *options]
        told = subprocess.run(command, env={**environ, **more}, capture_output=True, text=True, check=True)
        words = [shlex.split(line) for line in told.stdout.splitlines()]
        assert {(len(line), line[0]) for line in words} == {(2, "export")}, told.stdout
        return dict(line[1].split("=", 1) for line in words)

    return run


@pytest.fixture(scope="session")
def exports(export):
    return export()


@pytest.fixture(scope="session")
def interpreters(request):
    """Client -> its interpreter, for the clients that are asked for; installed once and kept."""
    wanted = {client for client, _ in _asked(request)}
    return {client: _installed(client) for client in CLIENTS if client in wanted}


def _installed(client):
    requirement, package, _ = CLIENTS[client]
    folder = KEPT / client
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([BIN / "uv", "venv", "-q", "-p", sys.executable, folder], check=True)
    # Upgraded each time: what is latest changes.
    subprocess.run([BIN / "uv", "pip", "install", "-qU", "--python", python, requirement], check=True)
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    _versions[client] = subprocess.check_output([python, "-c", ask], text=True).strip()
    return python


@pytest.fixture(scope="session")
def runs(request, exports, interpreters, tmp_path_factory):
    """(client, case) -> a future of its finished process."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {
            (client, case): pool.submit(
                _run,
                interpreters[client],
                SCRIPTS / CLIENTS[client][2],
                case,
                exports,
                tmp_path_factory.mktemp(case),
            )
            for client, case in _asked(request)
        }


def _asked(request):
    """The clients and cases of this session, after pytest's own choice by `-k` and the like."""
    own = [item for item in request.session.items if item.originalname == "test_client"]
    return [(item.callspec.params["client"], item.callspec.params["case"]) for item in own]


def _run(python, script, case, exports, folder):
    environ = {"PATH": f"{python.parent}:{os.defpath}", "HOME": str(folder), **exports}
    return subprocess.run(
        [python, script, case],
        env=environ,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        check=False,
    )


def pytest_terminal_summary(terminalreporter):
    """A table of what was shown: client and version, what, whether it works."""
    rows = []
    for outcome, word in (("passed", "works"), ("failed", "FAILS"), ("error", "FAILS")):
        for report in terminalreporter.stats.get(outcome, []):
            told = dict(getattr(report, "user_properties", ()))
            if "case" in told:
                client, case = told["client"], told["case"]
                text = told.get("differs", "") or word
                rows.append((f"{client} {_versions.get(client, '')}", _cases(client)[case], text))
    if rows:
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        terminalreporter.section("clients, unmodified")
        for client, what, result in sorted(rows):
            terminalreporter.write_line(f"{client:{widths[0]}}  {what:{widths[1]}}  {result}")
