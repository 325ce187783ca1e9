"""The embedded store's life, with a small program in place of SeaweedFS."""

import json
import os
import sys
from pathlib import Path

import pytest

from penstock.errors import ConfigurationError
from penstock.objectstore import weed
from penstock.objectstore.weed import EmbeddedStore

#: Serves S3's port: a bucket is made once and is there from then on, or every request gets the status it is told.
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
port = int(next(a for a in sys.argv if a.startswith("-s3.port=")).partition("=")[2])
class Handler(BaseHTTPRequestHandler):
    made = set()
    def do_PUT(self):
        status = STATUS or (409 if self.path in self.made else 200)
        self.made.add(self.path)
        self.send_response(status)
        self.end_headers()
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
SECRET = "keep-this-to-yourself"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts a Python program in weed's place."""

    def put(text: str) -> None:
        program = tmp_path / "weed"
        program.write_text(f"#!{sys.executable}\n{text}")
        program.chmod(0o700)
        monkeypatch.setattr(weed, "_program", lambda: program)

    return put


@pytest.fixture
def store(tmp_path):
    store = make(tmp_path)
    yield store
    store.stop()


def make(tmp_path):
    folder = tmp_path / "home" / "store"
    return EmbeddedStore(
        folder, region="us-east-1", access_key_id="id", secret_access_key=SECRET, bucket="mine", port=9700
    )


def test_it_is_ready_when_the_bucket_is_there_and_again_when_found(store, stand_in, tmp_path):
    stand_in(SERVER.replace("STATUS", "0"))
    store.start()
    store.wait_ready(30)
    other = make(tmp_path)
    other.start()
    other.wait_ready(30)
    assert other.access == store.access


def test_stop_ends_it_whoever_asks_and_twice_is_no_harm(store, stand_in, tmp_path):
    stand_in(SERVER.replace("STATUS", "0"))
    store.start()
    store.wait_ready(30)
    make(tmp_path).stop()
    store.stop()
    store.stop()
    with pytest.raises(ConfigurationError, match="has ended by itself"):
        store.wait_ready(30)


def test_what_the_process_gets(store, stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("WEED_JWT_SIGNING_KEY", "of-the-user")
    stand_in(
        "import json, os, sys\n"
        "print(json.dumps([sys.argv, dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), sys.stdin.read()]))"
    )
    store.start()
    with pytest.raises(ConfigurationError, match="has ended by itself"):
        store.wait_ready(30)
    folder = tmp_path / "home" / "store"
    argv, environ, where, leads_session, told = json.loads((folder / "log").read_text())
    assert SECRET not in str(argv)
    assert "-master.telemetry=false" in argv
    assert "-ip.bind=127.0.0.1" in argv
    assert "-disableHttp" in argv
    assert environ["AWS_SECRET_ACCESS_KEY"] == SECRET
    assert environ["HOME"] == str(folder)
    assert "WEED_JWT_SIGNING_KEY" not in environ
    assert (where, leads_session, told) == (str(folder), True, "")


def test_an_early_end_is_told_with_the_end_of_the_log(store, stand_in):
    stand_in("for n in range(100): print('line', n)\nraise SystemExit('no space left')")
    store.start()
    with pytest.raises(
        ConfigurationError, match=r"(?s)has ended by itself.*/log:\nline 86\n.*line 99\nno space left$"
    ):
        store.wait_ready(30)


def test_the_log_before_is_kept(store, stand_in, tmp_path):
    for n in range(2):
        stand_in(f"print('start {n}')")
        store.start()
        with pytest.raises(ConfigurationError):
            store.wait_ready(30)
    folder = tmp_path / "home" / "store"
    assert (folder / "log").read_text() == "start 1\n"
    assert (folder / "log.previous").read_text() == "start 0\n"


def test_one_that_never_answers_well_is_told_in_time(store, stand_in):
    stand_in(SERVER.replace("STATUS", "500"))
    store.start()
    with pytest.raises(ConfigurationError, match=r"is not ready after 0\.5 s"):
        store.wait_ready(0.5)


def test_one_with_other_keys_is_told(store, stand_in):
    stand_in(SERVER.replace("STATUS", "403"))
    store.start()
    with pytest.raises(ConfigurationError, match="runs with other keys"):
        store.wait_ready(30)


def test_one_whose_ports_are_lost_is_told(store, stand_in, tmp_path):
    stand_in(SERVER.replace("STATUS", "0"))
    store.start()
    (tmp_path / "home" / "store" / "ports.json").unlink()
    with pytest.raises(ConfigurationError, match=r"ports\.json, which tells its ports, can't be read"):
        make(tmp_path).start()


def test_a_folder_that_cant_be_used_is_told(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"can't use its folder .*home/store"):
        make(tmp_path).start()


def test_options_of_the_last_start_are_forgotten(store, stand_in, tmp_path):
    stand_in("import os; print(os.listdir('data'))")
    data = tmp_path / "home" / "store" / "data"
    data.mkdir(parents=True)
    (data / "mini.options").write_text("s3.iam=true")
    store.start()
    with pytest.raises(ConfigurationError, match=r"\n\[\]$"):
        store.wait_ready(30)


def test_the_program_is_found_beside_the_interpreter_or_by_its_package(tmp_path, monkeypatch):
    found = weed._program()
    assert os.access(found, os.X_OK)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert weed._program().samefile(found)
    (tmp_path / "weed").touch()
    assert weed._program() == tmp_path / "weed"


def test_a_missing_program_is_told(tmp_path, monkeypatch):
    def nothing(name):
        raise weed.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(weed.metadata, "files", nothing)
    with pytest.raises(ConfigurationError, match=r"penstock\[server\].*PENSTOCK_S3_ENDPOINT"):
        make(tmp_path).start()
    assert not Path(tmp_path, "home", "store", "ports.json").exists()
