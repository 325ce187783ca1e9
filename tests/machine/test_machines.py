"""Simulated machines are machines: to each other, and in that nothing of them is left."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest
from fleet import all_ended, submit
from machine_store import s3_client
from machines import HOME, Machines, lacking
from patience import until
from penstock_machine import build_environment, client_on, penstock_on

pytestmark = [pytest.mark.machine, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]

#: Says what it is told, to everybody, and who has said it.
_SERVER = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(socket.gethostname().encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
_ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())"


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    with Machines(tmp_path_factory.mktemp("machines")) as several:
        for _ in range(3):
            several.switch_on()
        yield several


def serve(machines, name):
    """Start a server on a machine, and return when it answers there."""
    server = machines.run(name, [sys.executable, "-c", _SERVER])
    until(lambda: ask(machines, name, f"http://{name}:8000") == name)
    return server


def ask(machines, name, url, seconds=30):
    """What a machine is told at an address; None: nothing."""
    asked = machines.run(
        name,
        [sys.executable, "-c", _ASK, url, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said, _ = asked.communicate(timeout=90)
    return said.strip() if asked.returncode == 0 else None


def output(machines, name, script):
    program = machines.run(name, ["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    said, _ = program.communicate(timeout=90)
    return said.strip()


def test_machines_see_each_other_and_nothing_else(machines):
    server = serve(machines, "node2")
    assert ask(machines, "node1", "http://node2:8000") == "node2"
    assert ask(machines, "node3", f"http://{machines.address('node2')}:8000") == "node2"
    with socket.socket() as outside:
        outside.bind(("", 0))
        outside.listen()
        for address in ("127.0.0.1", "192.0.2.1"):
            assert ask(machines, "node1", f"http://{address}:{outside.getsockname()[1]}") is None
    assert output(machines, "node1", "ip -brief link | cut -d' ' -f1 | cut -d@ -f1").split() == ["lo", "eth0"]
    assert (
        output(machines, "node1", "ip route")
        == "10.213.47.0/24 dev eth0 proto kernel scope link src 10.213.47.1"
    )
    server.terminate()
    assert server.wait(30) == -signal.SIGTERM


def test_each_has_its_own_files_processes_and_name(machines):
    assert output(machines, "node1", "hostname; echo $PENSTOCK_HOME").split() == ["node1", str(HOME)]
    assert output(machines, "node1", "echo mine >/tmp/file; touch /dev/shm/file; ls /dev/shm") == "file"
    assert output(machines, "node2", "ls /tmp /dev/shm | grep -x file") == ""
    assert output(machines, "node2", f"ls -d {machines.folder}/node1") == ""
    assert (machines.folder / "node1/tmp/file").read_text() == "mine\n"
    assert output(machines, "node1", "mkdir $PENSTOCK_HOME") == ""
    assert machines.home("node1").is_dir()
    assert not machines.home("node2").exists()
    assert output(machines, "node1", f"kill -0 {os.getpid()} || echo unknown") == "unknown"
    assert output(machines, "node1", "cat /proc/1/comm") == "sleep"


def test_the_test_reaches_a_machine_and_a_machine_what_the_test_serves(machines):
    server = serve(machines, "node2")
    with (
        machines.to("node2", 8000) as door,
        urllib.request.urlopen(f"http://{door.address}", timeout=30) as answer,
    ):
        assert answer.read() == b"node2"
    with (
        machines.inside(),
        urllib.request.urlopen(f"http://{machines.address('node2')}:8000", timeout=30) as answer,
    ):
        assert answer.read() == b"node2"
    with socket.create_server(("127.0.0.1", 0)) as own, machines.out(own.getsockname()[1]) as door:
        host, port = door.address.split(":")
        greeting = machines.run(
            "node3",
            [
                sys.executable,
                "-c",
                f"import socket; socket.create_connection(({host!r}, {port})).send(b'hello')",
            ],
        )
        connection, _ = own.accept()
        with connection:
            assert connection.recv(10) == b"hello"
        assert greeting.wait(30) == 0
    server.kill()
    server.wait(30)


def test_one_that_is_killed_is_gone_and_comes_back_as_it_was(machines):
    serve(machines, "node2")
    output(machines, "node2", "echo kept >/tmp/kept; setsid sleep 1000 >/dev/null 2>&1 &")
    pids = list(machines.nodes["node2"].processes())
    assert len(pids) >= 3
    with machines.inside(), socket.create_connection((machines.address("node2"), 8000)) as open_connection:
        machines.kill("node2")
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        open_connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            open_connection.recv(1)  # no word of farewell
    assert ask(machines, "node1", "http://node2:8000", 1) is None
    machines.switch_on("node2")
    assert output(machines, "node2", "hostname; cat /tmp/kept; ls /dev/shm").split() == ["node2", "kept"]
    serve(machines, "node2")
    assert ask(machines, "node1", "http://node2:8000") == "node2"
    machines.kill("node2")
    machines.switch_on("node2")


def test_one_that_is_cut_off_runs_on_and_comes_back(machines):
    server = serve(machines, "node3")
    with machines.inside(), socket.create_connection((machines.address("node3"), 8000)) as connection:
        machines.cut("node3")
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert ask(machines, "node1", "http://node3:8000", 1) is None
        assert ask(machines, "node3", "http://node1:8000", 1) is None
        assert ask(machines, "node3", "http://localhost:8000") == "node3"
        assert "NO-CARRIER" not in output(machines, "node3", "ip link show eth0")
        machines.heal("node3")
        connection.settimeout(60)
        assert connection.recv(8) == b"HTTP/1.0"  # nothing was lost: TCP sends again
    # Who has just asked in vain for its hardware address may be refused once more.
    until(lambda: ask(machines, "node1", "http://node3:8000") == "node3")
    assert server.poll() is None
    server.kill()
    server.wait(30)


def test_all_reach_one_object_store(machines):
    store = machines.store("bucket")
    with machines.inside(), s3_client(store) as client:
        client.put_object(Bucket="bucket", Key="key", Body=b"value")
    keys = {name: getattr(store, name) for name in ("endpoint", "access_key_id", "secret_access_key")}
    code = textwrap.dedent(
        """
        import json, sys
        from machine_store import client_of
        with client_of("s3", **json.loads(sys.argv[1])) as client:
            sys.stdout.buffer.write(client.get_object(Bucket="bucket", Key="key")["Body"].read())
        """
    )
    for name in ("node1", "node3"):
        support = str(Path(__file__).parents[1] / "support")
        reader = machines.run(
            name,
            [sys.executable, "-c", code, json.dumps(keys)],
            {"PYTHONPATH": support},
            stdout=subprocess.PIPE,
        )
        assert reader.communicate(timeout=90)[0] == b"value"
    machines.kill("store")


def test_penstock_on_a_machine_runs_a_job_within_its_walls(machines, tmp_path):
    build_environment(tmp_path)
    store = machines.store("bucket")
    with (
        penstock_on(machines, "node1", store) as url,
        client_on(machines, "node1", "sagemaker", url) as client,
    ):
        submit(client, "job", "import os, socket; assert not os.path.exists('/tmp/penstock')")
        assert all_ended(client, ["job"]) == {"job": ("Completed", None)}
    machines.kill("store")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_them_when_the_test_is_ended(tmp_path, number):
    code = textwrap.dedent(
        f"""
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
        sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
        from machines import Machines
        with Machines({str(tmp_path)!r}) as machines:
            machine = machines.switch_on()
            machine.run(["sh", "-c", "setsid sleep 1001 & exec sleep 1001"])
            machines.store("bucket")
            print(*(pid for each in machines.nodes.values() for pid in each.processes()), flush=True)
            input()
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as test:
        pids = test.stdout.readline().split()
        assert len(pids) >= 5
        assert traces(tmp_path) == []
        test.send_signal(number)
        test.wait(90)
    until(lambda: not [pid for pid in pids if Path(f"/proc/{int(pid)}").exists()])
    assert traces(tmp_path) == []


def traces(folder):
    """What there is of machines where the test runs."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    return mounts + [link for link in os.listdir("/sys/class/net") if link.startswith(("bridge", "to-"))]
