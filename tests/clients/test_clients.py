"""Clients of SageMaker Processing, unmodified, against a real server: `make test-clients` prints what works."""

import json
import os

import pytest
from cases import CASES, CLIENTS, cases_of
from interpreters import version
from matrix import RESULTS

# Each case has a limit of its own; a test also waits for those that began before its own.
pytestmark = [pytest.mark.machine, pytest.mark.timeout(0)]


def test_client(client, case, runs, record_property):
    outcome = runs[client, case].result()
    for name, value in (("client", client), ("case", case), ("outcome", outcome)):
        record_property(name, value)
    assert outcome.result != "fails", f"{outcome.why}\n{outcome.said}"


def test_the_published_results_are_these(runs, request):
    """`make client-results` writes them anew."""
    if request.config.getoption("publish"):
        pytest.skip("they are being written")
    published = json.loads(RESULTS.read_text())
    for (client, case), run in runs.items():
        outcome = run.result()
        assert published[client]["version"] == version(client, CLIENTS[client][0])
        assert published[client]["cases"][case] == {"result": outcome.result} | (
            {"why": outcome.why} if outcome.why else {}
        )


def test_every_case_has_its_row():
    had = {case for client in CLIENTS for case in cases_of(client)}
    assert had == set(CASES)


def test_the_hook_can_be_left_out_and_keeps_the_users_path(export, exports):
    assert "PYTHONPATH" not in export("--no-hook")
    assert set(export("--no-hook")) == set(exports) - {"PYTHONPATH"}
    assert export(PYTHONPATH="/mine")["PYTHONPATH"] == f"{exports['PYTHONPATH']}{os.pathsep}/mine"
