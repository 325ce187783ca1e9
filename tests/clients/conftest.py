"""One real server; clients unmodified, each in an environment of its own; nothing between them but `penstock env`.

Each case is a function of a file in `scripts/`, run by the client's interpreter in a process and a folder of its own.
All of them are started at once, a few at a time, since most of what they do is wait.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cases import CLIENTS, cases_of
from interpreters import ROOT, interpreter, version
from matrix import RESULTS, Outcome, as_json, as_text

BIN = Path(sysconfig.get_path("scripts"))
_AT_ONCE = 12
_SECONDS = 600  # what takes one minute may take several on a busy machine


def pytest_addoption(parser):
    parser.addoption(
        "--publish", action="store_true", help=f"write the results of all clients to {RESULTS.name}"
    )


def pytest_ignore_collect(collection_path, config):
    """Only for who asks for this folder: it installs what its locks name."""
    del collection_path
    return None if any("clients" in argument for argument in config.args) else True


def pytest_generate_tests(metafunc):
    if metafunc.function.__name__ == "test_client":
        metafunc.parametrize(("client", "case"), [(c, case) for c in CLIENTS for case in cases_of(c)])


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
        "PENSTOCK_RUNTIME": "sandbox",
        "PENSTOCK_CPUS": "256",
        "PENSTOCK_MEMORY": "4T",
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
def runs(request, exports, tmp_path_factory):
    """(client, case) -> a future of its outcome, of all that were chosen by `-k` and the like."""
    own = [item for item in request.session.items if item.originalname == "test_client"]
    asked = [(item.callspec.params["client"], item.callspec.params["case"]) for item in own]
    asked.sort(
        key=lambda one: list(CLIENTS).index(one[0]), reverse=True
    )  # the SDKs wait longest, so they begin
    for client in dict(asked):  # one after the other: they share uv's cache
        interpreter(client)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = {}
        for client, case in asked:
            folder = tmp_path_factory.mktemp(f"{client}-{case.replace('_', '-')}", numbered=False)
            futures[client, case] = pool.submit(_run, client, case, exports, folder)
        yield futures


def _run(client, case, exports, folder):
    python = interpreter(client)
    try:
        ended = subprocess.run(
            [python, cases_of(client)[case], case],
            env={"PATH": f"{python.parent}:{os.defpath}", "HOME": str(folder), **exports},
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Outcome("fails", f"it had not ended after {_SECONDS} s", (error.stdout or b"").decode())
    said, _, last = ended.stdout.rstrip().rpartition("\n")
    try:
        told = json.loads(last)
        return Outcome(told["result"], told["why"], said)
    except (ValueError, KeyError):  # it ended before it could tell
        return Outcome("fails", f"it ended with code {ended.returncode}", ended.stdout)


def pytest_terminal_summary(terminalreporter, config):
    """The table of what was tried, and what there is to say of some."""
    outcomes = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            told = dict(getattr(report, "user_properties", ()))
            if "outcome" in told:
                outcomes[told["client"], told["case"]] = told["outcome"]
    if not outcomes:
        return
    results = as_json(outcomes, {client: version(client, CLIENTS[client][0]) for client, _ in outcomes})
    terminalreporter.section("clients, unmodified")
    terminalreporter.write_line(as_text(results))
    if config.getoption("publish"):
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        terminalreporter.write_line(f"written: {RESULTS.relative_to(ROOT)}")
