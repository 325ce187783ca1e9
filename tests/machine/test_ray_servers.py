"""Two servers of one PostgreSQL on one Ray cluster: what becomes of the jobs of one that is killed."""

import os
import signal
from pathlib import Path

import pytest
from fleet import all_ended, submit
from patience import until
from penstock_machine import build_environment, client_on, penstock_on

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]


def test_another_server_carries_on_the_jobs_of_one_that_is_killed(cluster, postgres, tmp_path):
    build_environment(tmp_path)
    store = cluster.store("bucket")
    database = postgres.new_database()
    with cluster.out(postgres.port) as door:
        settings = {
            "PENSTOCK_ENGINE": "ray",
            "PENSTOCK_RAY_ADDRESS": cluster.env["RAY_ADDRESS"],
            "PENSTOCK_DATABASE_URL": database.replace(f"127.0.0.1:{postgres.port}", door.address),
            "PENSTOCK_SERVER_LEASE": "5",
            "PENSTOCK_RUNNER_LEASE": "30",
            "PENSTOCK_AWS_LIMITS": "relaxed",
        }
        with penstock_on(cluster, "node1", store, **settings) as first:
            cluster.home("node2").mkdir(mode=0o700, exist_ok=True)
            keys = cluster.home("node2") / "keys.json"
            keys.write_bytes((cluster.home("node1") / "keys.json").read_bytes())
            keys.chmod(0o600)
            with penstock_on(cluster, "node2", store, **settings) as second:
                gang = {"InstanceCount": 4, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}
                code = "import time; print('begun', flush=True); time.sleep(25)"
                with client_on(cluster, "node1", "sagemaker", first) as client:
                    submit(client, "goes-on", code, ProcessingResources={"ClusterConfig": gang})
                with client_on(cluster, "node2", "logs", second) as logs:

                    def begun():
                        told = logs.filter_log_events(
                            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix="goes-on/"
                        )
                        return [one["message"] for one in told["events"]].count("begun") == 4

                    until(begun)
                kill_server(cluster.nodes["node1"])
                with client_on(cluster, "node2", "sagemaker", second) as client:
                    assert all_ended(client, ["goes-on"]) == {"goes-on": ("Completed", None)}
                    submit(client, "next", "pass")
                    assert all_ended(client, ["next"]) == {"next": ("Completed", None)}


def kill_server(machine):
    """The server of a machine, and nothing else there."""
    (pid,) = (
        pid
        for pid in machine.processes()
        if b"penstock.server" in (Path(f"/proc/{pid}") / "cmdline").read_bytes().split(b"\0")
    )
    os.kill(pid, signal.SIGKILL)
