import errno
import http.server
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from patience import until
from sealing import answer
from stranger import stranger

from penstock.data.answers import StoreFailing
from penstock.data.meter import Meter
from penstock.errors import ClientFailure, InternalFailure
from penstock.home import Home, ServerRecord
from penstock.job.life import Phase
from penstock.job.run import Run, S3Access
from penstock.job.uploads import read_lines
from penstock.runner import contract, scarcity
from penstock.runner.contract import exit_message
from penstock.runner.folder import RunFolder
from penstock.runner.journal import Journal
from penstock.runner.line import Line
from penstock.runner.logs import LONGEST, LogWriter
from penstock.runner.manifest import Manifest
from penstock.runner.report import Reporter
from penstock.runner.stop import Stop

REQUEST = {
    "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["python3", "x.py"]},
    "ProcessingResources": {
        "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30}
    },
    "RoleArn": "arn:aws:iam::000000000000:role/r",
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    "ProcessingInputs": [
        {
            "InputName": "in",
            "AppManaged": False,
            "S3Input": {"S3Uri": "s3://b/k", "S3DataType": "S3Prefix", "LocalPath": "/opt/ml/processing/in"},
        }
    ],
    "Environment": {"MODE": "fast", "LANG": "de_DE.UTF-8"},
}


def run(report_url="http://127.0.0.1:9", home=None, **request):
    hosts = tuple(sorted(f"algo-{n}" for n in range(1, 12)))
    return Run(
        job_name="j",
        job_uid="j-1",
        job_arn="arn:j",
        host="algo-2",
        hosts=hosts,
        request={**REQUEST, **request},
        region="eu-west-1",
        token="the-token",
        report_url=report_url,
        home=home,
        s3=S3Access(None, "r", "id", "the-key"),
        environments="/e",
    )


class FullFile:
    """A file on a disk that takes five bytes more."""

    def __init__(self, file):
        self.file, self.room = file, 5

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def truncate(self, size):
        self.file.truncate(size)

    def flush(self):
        pass


class TestLogs:
    def write(self, tmp_path, *chunks, clock=lambda: 5):
        log = LogWriter(tmp_path / "log", clock, lambda: None)
        reading, writing = os.pipe()
        pump = threading.Thread(target=log.follow, args=(reading,))
        pump.start()
        for chunk in chunks:
            os.write(writing, chunk)
        os.close(writing)
        pump.join()
        os.close(reading)
        log.close()
        data = (tmp_path / "log").read_bytes()
        assert log.size == len(data)
        return data

    def test_a_line_is_an_event_with_its_time(self, tmp_path):
        assert self.write(tmp_path, b"one\ntw", b"o\r\n\nlast") == b"5 one\n5 two\n5 \n5 last\n"

    def test_bytes_stay_as_they_were_written(self, tmp_path):
        assert self.write(tmp_path, b"\xff\xfe\x00\n") == b"5 \xff\xfe\x00\n"

    def test_a_line_without_end_is_cut_and_memory_stays_bounded(self, tmp_path):
        data = self.write(tmp_path, *[b"x" * 60_000] * 10)
        lines = data.split(b"\n")[:-1]
        assert max(len(line) for line in lines) == LONGEST + 2
        assert sum(len(line) - 2 for line in lines) == 600_000

    def test_time_never_goes_back(self, tmp_path):
        times = iter([9, 4, 12])
        log = LogWriter(tmp_path / "log", lambda: next(times), lambda: None)
        for text in "abc":
            log.note(text)
        log.close()
        stamps = [line.split(b" ")[0] for line in (tmp_path / "log").read_bytes().splitlines()]
        assert stamps == [b"9", b"9", b"12"]


class TestContract:
    def test_the_job_as_the_program_reads_it(self):
        told = contract.job_config(run())
        assert told["ProcessingJobArn"] == "arn:j"
        assert told["AppSpecification"]["ContainerArguments"] is None
        assert told["ProcessingInputs"][0]["S3Input"]["S3DownloadMode"] == "StartOfJob"
        assert told["ProcessingResources"]["ClusterConfig"] == {
            "InstanceCount": 2,
            "InstanceType": "ml.m5.xlarge",
            "VolumeSizeInGB": 30,
            "VolumeKmsKeyId": None,
        }
        assert told["ProcessingOutputConfig"] is None
        assert "S3DownloadMode" not in REQUEST["ProcessingInputs"][0]["S3Input"]

    def test_the_cluster_as_a_host_sees_it(self):
        told = contract.resource_config(run())
        assert told["current_host"] == "algo-2"
        assert told["hosts"][:3] == ["algo-1", "algo-10", "algo-11"]

    def test_the_requests_variables_win_and_no_secret_is_among_them(self):
        told = contract.environment(run(), ["/opt/venv/bin"], {"VIRTUAL_ENV": "/opt/venv"})
        assert told["MODE"] == "fast"
        assert told["LANG"] == "de_DE.UTF-8"
        assert told["AWS_REGION"] == "eu-west-1"
        assert told["PATH"].startswith("/opt/venv/bin:/usr/local/sbin:")
        assert "the-token" not in told.values()
        assert "the-key" not in told.values()

    def test_every_host_has_a_loopback_address_of_its_own(self):
        addresses = contract.addresses(run())
        assert len(set(addresses.values())) == 11
        assert all(a.startswith("127.") for a in addresses.values())

    def test_the_files_are_where_programs_look(self, tmp_path):
        contract.write_config(run(), tmp_path)
        assert json.loads((tmp_path / "config/resourceconfig.json").read_text())["current_host"] == "algo-2"
        assert (tmp_path / "output").is_dir()


class TestExitMessage:
    @pytest.fixture
    def output(self, tmp_path):
        (tmp_path / "output").mkdir()
        return tmp_path / "output"

    def message(self, output, data):
        (output / "message").write_bytes(data)
        return exit_message(output.parent)

    def test_its_first_kilobyte(self, output):
        assert exit_message(output.parent) is None
        assert self.message(output, b"all well") == "all well"
        assert self.message(output, b"x" * 2000) == "x" * 1024
        assert self.message(output, b"") is None

    def test_a_character_cut_in_two_at_the_limit_is_left_out(self, output):
        assert self.message(output, b"x" * 1023 + "é".encode()) == "x" * 1023

    def test_what_is_not_text_fails_the_job(self, output):
        with pytest.raises(ClientFailure, match="not UTF-8"):
            self.message(output, b"\xff\xff")

    def test_links_folders_and_pipes_are_no_message(self, output):
        (output / "secret").write_text("secret")
        (output / "message").symlink_to(output / "secret")
        assert exit_message(output.parent) is None
        (output / "message").unlink()
        (output / "message").mkdir()
        assert exit_message(output.parent) is None
        (output / "message").rmdir()
        os.mkfifo(output / "message")
        assert exit_message(output.parent) is None

    def test_a_link_in_the_place_of_its_folder_is_not_followed(self, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "message").write_text("secret")
        (tmp_path / "ml").mkdir()
        (tmp_path / "ml" / "output").symlink_to(tmp_path / "elsewhere")
        assert exit_message(tmp_path / "ml") is None


class TestStop:
    def test_it_is_due_when_asked_for_or_when_the_time_is_over(self):
        stop = Stop()
        assert not stop.due()
        stop.deadline = 0
        stop.wait()
        assert (stop.due(), stop.asked) == (True, False)
        asked = Stop()
        threading.Timer(0.01, asked.ask).start()
        asked.wait()
        assert (asked.due(), asked.asked) == (True, True)

    def test_it_may_be_asked_for_while_it_is_being_asked_for(self):
        """As by signals, which a thread gets between any two lines of its own."""
        done = subprocess.run([sys.executable, "-c", ASKED_AT_EVERY_LINE], timeout=60, check=False)
        assert done.returncode == 0


#: Each call and each line of Python within `rest` and `ask` gets a SIGTERM.
ASKED_AT_EVERY_LINE = """
import signal, sys
from penstock.runner.stop import Stop

stop = Stop()
signal.signal(signal.SIGTERM, lambda *_: stop.ask())


def at_each(*_):
    sys.settrace(None)
    signal.raise_signal(signal.SIGTERM)
    sys.settrace(at_each)
    return at_each


sys.settrace(at_each)
stop.rest()
stop.ask()
sys.settrace(None)
assert stop.wait()
"""


class Server:
    """Takes reports; `refuse` answers that many requests with an error first."""

    def __init__(self):
        self.log = b""
        self.uploads: list = []
        self.largest = 0
        self.events = []
        self.progress = queue.SimpleQueue()
        self.failures = 0
        self.tokens = set()
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.largest = max(outer.largest, len(body))
                outer.asked.append(self.path)
                outer.tokens.add(self.headers["Authorization"])
                if outer.failures > 0:
                    outer.failures -= 1
                    return self.answer(500, {})
                if "/log?" in self.path:
                    offset = int(self.path.partition("offset=")[2])
                    outer.log = outer.log[:offset] + body
                    return self.answer(200, {"size": len(outer.log)})
                if self.path.endswith("/progress"):
                    outer.progress.put(json.loads(body))
                    return self.answer(200, {})
                if self.path.endswith("/uploads"):
                    outer.uploads += read_lines(body)
                    return self.answer(200, {"taken": len(read_lines(body))})
                events = json.loads(body)["events"]
                # An event must never be told before the log that came before it.
                outer.events += [(e["kind"], e["data"], len(outer.log)) for e in events]
                return self.answer(200, {"sequence": events[-1]["sequence"]})

            def answer(self, code, data):
                answer(self, code, json.dumps(data).encode(), "the-token")

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


class TestReporter:
    @pytest.fixture
    def server(self):
        made = Server()
        yield made
        made.close()

    def report(self, tmp_path, given, refused=lambda: None):
        reporter = Reporter(given, RunFolder(tmp_path), refused)
        clock = itertools.count(1)
        log = LogWriter(tmp_path / "log", lambda: next(clock), reporter.changed)
        journal = Journal((tmp_path / "journal").open("a+b"), lambda: next(clock), reporter.changed)
        meter = Meter(reporter.changed)
        reporter.start(journal, meter)
        journal.phase(Phase.RUNNING)
        log.note("hello")
        journal.ended("succeeded", None, 0, None)
        reporter.finish()
        journal.close()
        log.close()

    def test_log_and_events_arrive_and_the_end_comes_last(self, tmp_path, server):
        self.report(tmp_path, run(server.url))
        assert server.log == (tmp_path / "log").read_bytes()
        kind, data, log_before = server.events[-1]
        assert (kind, data["outcome"], log_before) == ("ended", "succeeded", len(server.log))
        assert server.tokens == {"Bearer the-token"}
        assert len((tmp_path / "journal").read_text().splitlines()) == 2

    def test_what_happens_in_a_moment_is_told_at_once_and_the_end_waits_for_nothing(
        self, tmp_path, server, monkeypatch
    ):
        monkeypatch.setattr("penstock.runner.report._GATHER", 3600)
        self.report(tmp_path, run(server.url))
        assert [path.rpartition("/")[2] for path in server.asked] == ["log?offset=0", "events"]
        assert [e[0] for e in server.events] == ["phase", "ended"]

    def test_a_run_that_follows_another_one_is_told_in_fewer_reports(self, tmp_path, server, monkeypatch):
        monkeypatch.setattr("penstock.runner.report._GATHER", 0)
        monkeypatch.setattr("penstock.runner.report._GATHER_IN_ROW", 3600)
        monkeypatch.setattr(Reporter, "_last_at", float("-inf"))
        told = []
        for name in ("first", "next"):
            (tmp_path / name).mkdir()
            reporter = Reporter(run(server.url), RunFolder(tmp_path / name), lambda: None)
            journal = Journal((tmp_path / name / "journal").open("a+b"), lambda: 1, reporter.changed)
            reporter.start(journal, Meter())
            before = len(server.asked)
            journal.phase(Phase.PREPARING)
            if name == "first":
                until(lambda: server.events)
            journal.ended("succeeded", None, 0, None)
            reporter.finish()
            journal.close()
            told.append(len(server.asked) - before)
        assert told == [2, 1]

    def test_many_events_are_told_in_order_in_bounded_batches(self, tmp_path, server, monkeypatch):
        monkeypatch.setattr("penstock.runner.report._GATHER", 3600)
        reporter = Reporter(run(server.url), RunFolder(tmp_path), lambda: None)
        journal = Journal((tmp_path / "journal").open("a+b"), lambda: 1, reporter.changed)
        reporter.start(journal, Meter())
        for number in range(30):
            journal.note(number=number, text="x" * 100_000)
        journal.ended("succeeded", None, 0, None)
        reporter.finish()
        journal.close()
        assert [data.get("number") for _, data, _ in server.events] == [*range(30), None]
        assert len(server.asked) == 3
        assert server.largest < (1 << 20) + 1000

    def test_the_manifest_arrives_in_bounded_batches_before_the_end(self, tmp_path, server):
        """Also when the server takes a batch and its answer is lost: then the batch comes twice."""
        folder = RunFolder(tmp_path)
        reporter = Reporter(run(server.url), folder, lambda: None)
        clock = itertools.count(1)
        manifest = Manifest(folder.manifest, lambda: next(clock), reporter.changed)
        journal = Journal(folder.journal.open("a+b"), lambda: next(clock), reporter.changed)
        reporter.start(journal, Meter())
        uris = [f"s3://b/{'k' * 200}{n}" for n in range(12_000)]  # more than two batches of a MiB
        for uri in uris:
            manifest.add("out", uri, 1, "00")
        manifest.check()
        journal.ended("succeeded", None, 0, None)
        reporter.finish()
        journal.close()
        manifest.close()
        assert [one.uri for one in server.uploads] == uris
        assert server.events[-1][0] == "ended"
        assert server.largest <= 1 << 20

    def test_a_manifest_that_can_not_be_kept_is_a_failure(self, tmp_path):
        manifest = Manifest(Path("/dev/full"), lambda: 1, lambda: None)
        manifest.add("out", "s3://b/k", 1, "00")
        with pytest.raises(InternalFailure, match="No space left"):
            manifest.check()
        manifest.close()

    def test_events_that_a_full_disk_does_not_take_are_reported_and_written_later(self, tmp_path, server):
        reporter = Reporter(run(server.url), RunFolder(tmp_path), lambda: None)
        journal = Journal((tmp_path / "journal").open("a+b", buffering=0), lambda: 1, reporter.changed)
        reporter.start(journal, Meter())
        journal.phase(Phase.PREPARING)
        real, journal._file = journal._file, FullFile(journal._file)
        journal.phase(Phase.RUNNING)
        assert len((tmp_path / "journal").read_bytes().splitlines()) == 1  # no half of a line
        journal._file = real
        journal.ended("succeeded", None, 0, None)
        reporter.finish()
        journal.close()
        assert [kind for kind, _, _ in server.events] == ["phase", "phase", "ended"]
        assert len((tmp_path / "journal").read_bytes().splitlines()) == 3

    def test_what_follows_a_loss_of_power_does_not_look_like_what_the_server_knows(self, tmp_path):
        """The server was told of three events, of which the disk kept one."""
        path = tmp_path / "journal"
        journal = Journal(path.open("a+b"), lambda: 1, lambda: None)
        for phase in (Phase.PREPARING, Phase.DOWNLOADING, Phase.RUNNING):
            journal.phase(phase)
        known = journal.after(0)
        journal.close()
        first, rest = path.read_bytes().split(b"\n", 1)
        path.write_bytes(first + b"\n" + rest[:20])
        journal = Journal(path.open("a+b"), lambda: 1, lambda: None)
        assert journal.after(0) == known[:1]
        journal.skip()
        journal.ended("failed", "why", None, None)
        [ended] = journal.after(known[-1].sequence)
        assert ended.kind == "ended"
        journal.close()
        journal = Journal(path.open("a+b"), lambda: 1, lambda: None)
        assert journal.after(0) == [known[0], ended], "the cut line is gone, the next one whole"
        journal.close()

    def test_an_unwell_server_is_asked_again(self, tmp_path, server):
        server.failures = 3
        self.report(tmp_path, run(server.url))
        assert [e[0] for e in server.events] == ["phase", "ended"]

    def test_a_server_that_moved_is_found_and_none_is_trusted_that_does_not_hold_the_home(
        self, tmp_path, server
    ):
        home = Home(tmp_path / "home")
        home.make()
        record = record_of(home, server.url)
        home.announce(record)  # left behind by a server that is dead
        line = Line(run("http://127.0.0.1:9", str(home.path)), RunFolder(tmp_path))
        with pytest.raises(ConnectionError, match="no server runs"):
            line.post("log?offset=0", b"")
        with home.hold():
            home.announce(record)
            self.report(tmp_path, run("http://127.0.0.1:9", str(home.path)))
        assert server.events[-1][0] == "ended"

    def test_a_transfer_is_told_again_and_again_while_it_lasts(self, tmp_path, server):
        reporter = Reporter(run(server.url), RunFolder(tmp_path), lambda: None)
        journal = Journal((tmp_path / "journal").open("a+b"), lambda: 1, reporter.changed)
        meter = Meter(reporter.changed)
        reporter.start(journal, meter)
        with meter.moving("download"):
            assert server.progress.get(timeout=30)["bytes"] == 0
            meter.add(7)
            while server.progress.get(timeout=30)["bytes"] != 7:
                pass
            told = server.progress.get(timeout=30)
        assert (told["way"], told["bytes"]) == ("download", 7)
        reporter.finish()
        journal.close()

    @pytest.mark.parametrize("status", [403, 404])
    def test_a_homes_own_server_that_knows_the_run_no_more_ends_it(self, tmp_path, status):
        """It holds the home's lock, so it is nobody else, and there is no other to ask."""
        home = Home(tmp_path / "home")
        home.make()
        told = threading.Event()
        with home.hold(), stranger(status, b"{}") as url:
            home.announce(record_of(home, url))
            self.report(tmp_path, run(home=str(home.path)), told.set)
        assert told.is_set()

    def test_a_run_without_lease_asks_no_server_that_once_shared_a_database(self, tmp_path, server):
        home = Home(tmp_path / "home")
        home.make()
        folder = RunFolder(home.path / "runs" / "j-1" / "algo-2")
        folder.path.mkdir(parents=True)
        (home.path / "runs" / "servers").write_text(f"{server.url}\n")
        with pytest.raises(ConnectionError, match="no server runs"):
            Line(run(home=str(home.path)), folder).post("log?offset=0", b"")
        assert server.asked == []


def record_of(home, url):
    return ServerRecord(1, url, None, "1", str(home.path), "r", "a", "b", 0, "r", own_s3=True)


@pytest.mark.parametrize(
    ("own", "left", "told"), [(True, 1 << 20, True), (True, 1 << 30, False), (False, 0, False)]
)
def test_a_full_disk_is_named_where_the_own_store_only_fails(monkeypatch, tmp_path, own, left, told):
    monkeypatch.setattr("penstock.disk.free", lambda _: left)
    access = S3Access("http://127.0.0.1:1", "us-east-1", "AKID", "secret", own=own)
    said = str(scarcity.uploading(StoreFailing("it fails."), access, RunFolder(tmp_path)))
    assert ("The store's disk is full, probably. The disk of" in said) is told
    assert said.startswith("it fails.")
