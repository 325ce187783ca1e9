"""What a client may ask of what is kept, and what Create and the logs say when something is not."""

import json
from dataclasses import replace

import pytest
from jobs_on_record import create, end, request
from wire_client import WireClient

from penstock.api import logs, processing
from penstock.api.prune import serve, serve_nodes
from penstock.job.events import Host
from penstock.job.life import Started, Succeeded, advance
from penstock.retention.policy import Policy, Rule
from penstock.retention.records import Records
from penstock.wire.faults import Fault

KEEP_ALL = Policy(Rule(None), Rule(None), Rule(None), Rule(None), 0)
GROUP = {"logGroupName": logs.GROUP}


@pytest.fixture
def context(context):
    return replace(context, retention=(KEEP_ALL, Records(context.store, context.logbook)))


def ask(context, **asked):
    return serve(context, "POST", json.dumps(asked).encode())


def ended(context, name):
    create(context, request(name))
    job = advance(context.store.job(name), Started(), 1)
    context.store.add_hosts(job, [Host(job.uid, name, "algo-1", "digest", f"{name}/algo-1-1")])
    context.store.save_job(advance(job, Succeeded(), 2))
    context.logbook.append(job.uid, "algo-1", 0, b"1 said\n")


def test_without_anything_nothing_goes(context):
    ended(context, "job")
    assert serve(context, "POST", b"") == {"gone": [], "next": None}
    assert ask(context, jobs=True, logs=True) == {"gone": [], "next": None}


def test_what_the_settings_say_goes_when_no_age_is_asked_for(context):
    ended(context, "job")
    soon = replace(context, retention=(replace(KEEP_ALL, logs=Rule(500)), context.retention[1]))
    told = ask(soon, jobs=True, logs=True)
    assert [(one["kind"], one["name"], one["bytes"]) for one in told["gone"]] == [("log", "job", 7)]
    assert context.logbook.size(context.store.job("job").uid, "algo-1") == 0


def test_a_job_that_went_is_answered_for_as_if_it_had_never_been(context):
    ended(context, "job")
    create(context, request("waits"))
    first = ask(context, jobs=True, older_than=0, dry_run=True)
    assert context.store.job("job")
    assert [one["name"] for one in first["gone"]] == ["job"]
    assert ask(context, jobs=True, older_than=0)["gone"] == first["gone"]
    with pytest.raises(Fault, match="Could not find requested job with name: job") as caught:
        processing.describe(context, {"ProcessingJobName": "job"})
    assert caught.value.code == "ValidationException"
    with pytest.raises(Fault, match="log stream does not exist"):
        logs.get_events(context, {**GROUP, "logStreamName": "job/algo-1-1"})
    assert processing.describe(context, {"ProcessingJobName": "waits"})["ProcessingJobStatus"] == "InProgress"
    create(context, request("job"))


def test_a_log_that_went_is_empty_as_cloudwatchs_and_our_record_says_so(context):
    ended(context, "job")
    ask(context, logs=True, older_than=0)
    (stream,) = logs.describe_streams(context, {**GROUP, "logStreamNamePrefix": "job/"})["logStreams"]
    assert stream["firstEventTimestamp"] is None
    assert logs.get_events(context, {**GROUP, "logStreamName": stream["logStreamName"]})["events"] == []
    assert context.store.job("job").logs_removed_at
    assert processing.describe(context, {"ProcessingJobName": "job"})["ProcessingJobStatus"] == "Completed"


def test_many_go_in_several_requests(context):
    for number in range(60):
        create(context, request(f"job-{number}"))
        end(context, f"job-{number}")
    names, after = [], None
    while after is not None or not names:
        told = ask(context, jobs=True, logs=True, older_than=0, after=after, dry_run=True)
        names += [one["name"] for one in told["gone"]]
        after = told["next"]
    assert len(names) == len(set(names)) == 60


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b'{"job": true}', b'{"jobs": 1}', b'{"older_than": -1}', b'{"older_than": true}',
     b'{"after": "x"}', b'{"after": "WzEsMiwzXQ=="}', b"[" * 10_000],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(context, body):
    with pytest.raises(Fault) as caught:
        serve(context, "POST", body)
    assert caught.value.code == "ValidationException"


def test_it_is_asked_by_signed_requests_and_not_by_jobs(tmp_path):
    client = WireClient(tmp_path)
    try:
        create(client.context, request())
        answer = client.send("POST", "/penstock/prune", b"{}", target="")
        assert answer.status == 400  # this server keeps nothing by rules
        caller = replace(client.context, caller=client.context.store.job("job"))
        with pytest.raises(Fault, match="not for jobs' own") as caught:
            serve(caller, "POST", b"{}")
        assert caught.value.code == "AccessDeniedException"
    finally:
        client.close()


def test_nodes_are_asked_what_was_asked_and_nothing_else(tmp_path):
    client = WireClient(tmp_path)
    try:
        asked = []

        def tidy(what):
            asked.append(what)
            return {"10.0.0.2": {"inputs": [], "environments": [], "bytes": 0}}

        context = replace(client.context, tidy_nodes=tidy)
        told = serve_nodes(context, "POST", b'{"inputs": true, "older_than": 5, "dry_run": true}')
        assert told["nodes"]["10.0.0.2"]["bytes"] == 0
        assert asked == [{"inputs": True, "older_than": 5, "dry_run": True}]
        with pytest.raises(Fault, match="some of: inputs, environments, older_than, dry_run"):
            serve_nodes(context, "POST", b'{"jobs": true}')
        create(client.context, request())
        with pytest.raises(Fault, match="not for jobs' own"):
            serve_nodes(replace(context, caller=client.context.store.job("job")), "POST", b"{}")
        assert len(asked) == 1
        answer = client.send("POST", "/penstock/prune/nodes", b"{}", target="")
        assert (answer.status, answer.json) == (200, {"nodes": {}})
    finally:
        client.close()


def test_no_job_is_taken_while_there_is_no_room(context):
    told = ["The disk is full."]
    full = replace(context, no_room=lambda: told[0])
    with pytest.raises(Fault, match=r"Please try again\. The disk is full\.$") as caught:
        create(full, request())
    assert (caught.value.code, caught.value.status) == ("InternalFailure", 500)
    assert context.store.job("job") is None
    told[0] = None
    create(full, request())
