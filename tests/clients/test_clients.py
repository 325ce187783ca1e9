"""AWS's own clients, unmodified, against a real server: `pytest tests/clients` prints what works."""

import os

import pytest

pytestmark = pytest.mark.machine


def test_client(client, case, runs, record_property):
    record_property("client", client)
    record_property("case", case)
    ended = runs[client, case].result()
    differs = [
        line.removeprefix("DIFFERS ") for line in ended.stdout.splitlines() if line.startswith("DIFFERS ")
    ]
    record_property("differs", "; ".join(f"differs: {text}" for text in differs))
    assert ended.returncode == 0, ended.stdout


def test_the_hook_can_be_left_out_and_keeps_the_users_path(export, exports):
    assert "PYTHONPATH" not in export("--no-hook")
    assert set(export("--no-hook")) == set(exports) - {"PYTHONPATH"}
    assert export(PYTHONPATH="/mine")["PYTHONPATH"] == f"{exports['PYTHONPATH']}{os.pathsep}/mine"
