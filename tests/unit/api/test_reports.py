"""What runners report is taken in an order that a loss of power can't turn around."""

import hashlib
import json
import os

import pytest
from jobs_on_record import create, request

from penstock.api import reports
from penstock.job.events import Host, HostEvent
from penstock.job.life import Started, advance


@pytest.fixture
def report(context):
    """Posts an event of a job's only instance; the first one finds the job begun."""
    create(context, request())
    job = context.store.job("job")
    digest = hashlib.sha256(b"t").hexdigest()
    context.store.add_hosts(
        advance(job, Started(), 1), [Host(job.uid, "job", "algo-1", digest, "job/algo-1-1")]
    )
    context.logbook.append(job.uid, "algo-1", 0, b"1 the last line\n")

    def post(sequence, kind, **data):
        event = HostEvent(sequence, kind, 2, data).to_json()
        host = reports.known(context, job.uid, "algo-1", "t")
        return reports.take_events(context, host, json.dumps({"events": [event]}).encode())

    post.ended = lambda: context.store.host(job.uid, "algo-1").ended
    post.log = os.stat(context.logbook._path(job.uid, "algo-1"))
    return post


def test_the_log_is_on_disk_for_good_before_the_end_is_on_record(report, monkeypatch):
    synced = []
    real = os.fdatasync

    def fdatasync(descriptor):
        synced.append((os.path.samestat(os.fstat(descriptor), report.log), report.ended()))
        real(descriptor)

    monkeypatch.setattr("penstock.store.logbook.os.fdatasync", fdatasync)
    report(1, "phase", phase="running")
    assert synced == []  # it takes a while, and nobody is told of anything final
    assert report(2, "ended", outcome="succeeded") == {"sequence": 2}
    assert synced == [(True, False)]
    assert report.ended()


def test_an_end_whose_log_can_not_be_brought_to_disk_is_not_taken(report, monkeypatch):
    def fdatasync(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("penstock.store.logbook.os.fdatasync", fdatasync)
    with pytest.raises(OSError, match="Input/output"):
        report(1, "ended", outcome="succeeded")
    assert not report.ended()


def test_a_program_that_said_nothing_has_no_log_to_bring_to_disk(context):
    context.logbook.sync("none", "algo-1")
