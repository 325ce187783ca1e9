"""A run on a machine that is not its server's: where its hosts are, where it reports, which cards it has."""

import json
from dataclasses import replace

from penstock import machine
from penstock.job.run import Run, S3Access
from penstock.machine import Machine
from penstock.runner import contract
from penstock.runner.claims import Claims
from penstock.runner.folder import RunFolder
from penstock.runner.limits import share
from penstock.runner.line import Line

REQUEST = {
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.p3.8xlarge", "InstanceCount": 2}},
}
RUN = Run(
    job_name="j",
    job_uid="j-1",
    job_arn="arn",
    host="algo-2",
    hosts=("algo-1", "algo-2"),
    request=REQUEST,
    region="us-east-1",
    token="t",
    report_url="http://penstock.example.org:9550",
    home="/home",
    s3=S3Access(None, "us-east-1"),
    environments="/e",
)


def test_hosts_are_where_the_engine_has_them_else_on_loopback():
    far = replace(RUN, addresses={"algo-1": "10.0.0.1", "algo-2": "10.0.0.2"})
    assert contract.addresses(far) == far.addresses
    near = contract.addresses(RUN)
    assert all(address.startswith("127.") for address in near.values())
    assert len(set(near.values())) == 2


def test_the_network_interface_is_that_of_the_hosts_address(monkeypatch):
    assert machine.interface_of("127.0.0.1") == "lo"
    assert machine.interface_of("192.0.2.254") is None
    assert contract.resource_config(RUN)["network_interface_name"] == "lo"
    monkeypatch.setattr(machine, "interface_of", {"10.0.0.2": "eth7"}.get)
    far = replace(RUN, addresses={"algo-1": "10.0.0.1", "algo-2": "10.0.0.2"})
    assert contract.resource_config(far)["network_interface_name"] == "eth7"


def test_reports_go_where_the_run_says_though_there_is_a_home(tmp_path):
    near = replace(RUN, home=str(tmp_path))
    assert Line(near, RunFolder(tmp_path))._addresses() == []
    assert Line(replace(near, far=True), RunFolder(tmp_path))._addresses() == [RUN.report_url]


def test_the_cards_are_those_that_the_engine_gives(tmp_path):
    there = Machine((0, 1), 2, 1 << 34, 4096, (0, 1, 2, 3, 4, 5, 6, 7))
    with Claims(tmp_path / "claims") as claims:
        given = share(replace(RUN, gpus=(2, 5, 6, 7)), there, claims)
        taken = share(RUN, there, claims)
    assert given.limits.gpus == (2, 5, 6, 7)
    assert given.variables["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    assert taken.limits.gpus == (0, 1, 2, 3)


def test_what_is_new_in_a_run_survives_its_file_and_is_missing_in_an_old_one():
    far = replace(RUN, far=True, addresses={"algo-1": "10.0.0.1"}, gpus=(1,))
    assert Run.from_json(far.to_json()) == far
    old = {k: v for k, v in json.loads(RUN.to_json()).items() if k not in {"far", "addresses", "gpus"}}
    assert Run.from_json(json.dumps(old)) == RUN
