"""The instances of a job, each in walls of its own, and the network between them and to the machine."""

import json
import os

import pytest

from penstock.network import NetworkConfig
from penstock.processing import ProcessingOutput
from penstock.runtimes import guard

pytestmark = pytest.mark.machine

#: Every instance listens on the same port, tells it by connecting to all, and writes who answered and who called.
MEET = """
import json, os, pathlib, socket, threading, time

with open("/opt/ml/config/resourceconfig.json") as file:
    told = json.load(file)
here, hosts = told["current_host"], told["hosts"]
server = socket.create_server((here, 8042))
called = []

def answer():
    for _ in hosts:
        connection, _ = server.accept()
        with connection, connection.makefile() as lines:
            called.append(lines.readline().strip())
            connection.sendall(here.encode())

answering = threading.Thread(target=answer)
answering.start()
answered = []
for host in hosts:
    while True:
        try:
            connection = socket.create_connection((host, 8042), timeout=60)
            break
        except ConnectionRefusedError:  # it is not there yet
            time.sleep(0.01)
    with connection:
        connection.sendall(here.encode() + b"\\n")
        answered.append(connection.recv(99).decode())
answering.join()
text = json.dumps({"answered": answered, "called": sorted(called)})
pathlib.Path("/opt/ml/processing/out", here + ".json").write_text(text)
"""


def test_instances_reach_each_other_by_name_on_the_same_port(run):
    found = run(MEET, instance_count=3)
    hosts = ["algo-1", "algo-2", "algo-3"]
    assert found == {f"{host}.json": {"answered": hosts, "called": hosts} for host in hosts}


ALONE = """
import json, os, pathlib, socket

here = os.uname().nodename
other = {"algo-1": "algo-2", "algo-2": "algo-1"}[here]
server = socket.create_server((here, 8042))
own = socket.create_connection((here, 8042))
try:
    socket.create_connection((other, 8042), timeout=10)
    said = "met"
except OSError as error:
    said = type(error).__name__
pathlib.Path("/opt/ml/processing/out", here + ".json").write_text(json.dumps(said))
"""


def test_isolated_instances_have_each_a_network_of_its_own(run):
    """The name of the other one leads to loopback, at which nobody but the instance itself could listen."""
    alone = NetworkConfig(enable_network_isolation=True)
    found = run(ALONE, instance_count=2, network_config=alone)
    assert found == {"algo-1.json": "ConnectionRefusedError", "algo-2.json": "ConnectionRefusedError"}


LOOK = """
import json, os, pathlib, socket, sys

def reach(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        return "reached"
    except OSError as error:
        return type(error).__name__

said = {port: reach(port) for port in map(int, sys.argv[1:])}
pathlib.Path("/opt/ml/processing/out", "said.json").write_text(
    json.dumps([said, os.environ.get("AWS_EC2_METADATA_DISABLED")])
)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can guard a program")
def test_a_job_of_roots_can_not_reach_the_stores_inner_ports(run, home):
    if guard.try_out():
        pytest.skip("this kernel can't guard a program")
    ports = json.loads((home / "store" / "ports.json").read_text())
    s3, inner = ports.pop("s3"), sorted(ports.values())
    found = run(LOOK, arguments=[str(port) for port in (s3, *inner)])
    said, metadata = found["said.json"]
    assert said == {str(s3): "reached", **{str(port): "PermissionError" for port in inner}}
    assert metadata == "true"


def test_a_jobs_own_word_on_the_metadata_address_wins(run):
    found = run(LOOK, env={"AWS_EC2_METADATA_DISABLED": "false"})
    assert found["said.json"] == [{}, "false"]


@pytest.fixture
def run(processor, script, session, objects, request):
    """Runs a script in a job, and reads what its instances wrote."""

    def go(text, arguments=None, **changes):
        bucket = session.default_bucket()
        target = f"s3://{bucket}/instances/{os.urandom(4).hex()}"
        processor(**changes).run(
            code=script(text),
            arguments=arguments,
            outputs=[
                ProcessingOutput(source="/opt/ml/processing/out", destination=target, output_name="out")
            ],
            logs=False,
        )
        return {name: json.loads(content) for name, content in objects(target).items()}

    return go
