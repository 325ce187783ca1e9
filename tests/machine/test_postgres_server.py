"""A server whose jobs are on record in PostgreSQL: a whole job, no password anywhere, and none that does not agree."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from machine_home import ENVIRONMENTS, stop_server

pytestmark = pytest.mark.machine

PENSTOCK = Path(sys.executable).with_name("penstock")


@pytest.fixture
def penstock(tmp_path, postgres):
    url = postgres.new_database()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}

    def run(*args, home="home", code=0):
        env = {
            **kept,
            "PENSTOCK_HOME": str(tmp_path / home),
            "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
            "PENSTOCK_PORT": "21550",
            "PENSTOCK_DATABASE_URL": url,
        }
        done = subprocess.run([PENSTOCK, *args], env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.url = url
    yield run
    stop_server(tmp_path / "home")


def test_a_whole_job_and_no_server_with_a_store_of_its_own(penstock, postgres, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os; print('the url is', os.environ.get('PENSTOCK_DATABASE_URL'))")
    assert "the url is None" in penstock("run", "--name", "on-postgres", str(script))
    with psycopg.connect(penstock.url) as c:
        assert c.execute("SELECT name, status FROM jobs").fetchall() == [("on-postgres", "Completed")]
        assert c.execute("SELECT phase FROM hosts").fetchall() == [("completed",)]
    assert "on-postgres" in penstock("jobs")
    # Another home's server would start jobs whose objects lie in this one's.
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "other" / "keys.json").write_text((tmp_path / "home" / "keys.json").read_text())
    said = penstock("up", home="other", code=1)
    assert "set PENSTOCK_S3_ENDPOINT on each" in said
    assert not (tmp_path / "other" / "store").exists()  # nor has it left an object store behind
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size < 1 << 20]
    assert not [p for p in files if postgres.password.encode() in p.read_bytes()]
    assert not (tmp_path / "home" / "penstock.db").exists()
    penstock("down")
    penstock("up")
    assert "on-postgres" in penstock("jobs")
