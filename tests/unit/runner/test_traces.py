"""What a run may leave behind in a runner's process is seen, so that no other run meets it."""

import json
import subprocess
import sys

import pytest

#: Each is tried in a process of its own, forked from one that has loaded what it needs.
LEFT = {
    "nothing": "pass",
    "what starts programs": "tree._LAUNCHER.submit(int).result()",
    "what talks to the store": "store()",
    "a thread": "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "a helper at rest": "helpers.start(int).join()",
    "a helper that works": "helpers.start(lambda: time.sleep(60))",
    "a thread of a library": "ctypes.CDLL(None).timer_create(0, ctypes.create_string_buffer(notify, 64), number)",
    "a process": "subprocess.Popen(['sleep', '1'])",
    "many sockets": "globals().update(kept=[socket.socket() for _ in range(70)])",
    "an open file": "os.open('/dev/null', os.O_RDONLY)",
    "a closed file": "os.close(0)",
    "a variable": "os.environ['MINE'] = '1'",
    "another folder": "os.chdir('/')",
    "fewer processors": "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
    "a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))",
    "memory": "globals().update(kept=b'x' * (100 << 20))",
}
TRY = """
import ctypes, json, os, resource, socket, struct, subprocess, sys, threading, time
from penstock.data.storage import open_bucket
from penstock.errors import PenstockError
from penstock.job.run import S3Access
from penstock.runner import helpers
from penstock.runner.traces import Traces
from penstock.runtimes import tree

# struct sigevent: the C library starts a thread for a timer with SIGEV_THREAD.
notify = struct.pack("QiiQ", 0, 0, 2, 0)
number = ctypes.create_string_buffer(8)
os.chdir("/tmp")
told = {}


def store():
    with socket.socket() as nobody:  # it is bound, so nobody else listens there
        nobody.bind(("127.0.0.1", 0))
        access = S3Access("http://127.0.0.1:%d" % nobody.getsockname()[1], "us-east-1")
        try:
            open_bucket(access, "bucket", patience=0).read("key", 1)
        except PenstockError:
            return
    raise AssertionError("somebody has answered")


for name, code in json.load(sys.stdin).items():
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        traces = Traces()
        exec(code)
        os.write(writing, str(traces.left()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        told[name] = said.read()
    os.wait()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    done = subprocess.run(
        [sys.executable, "-c", TRY], input=json.dumps(LEFT), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", LEFT)
def test_traces_are_seen(told, name):
    harmless = {"nothing", "what starts programs", "a helper at rest", "what talks to the store"}
    assert told[name] == str(name not in harmless)
