"""What Create, the tags and our own record have to do with the queue."""

import json
from dataclasses import replace

import pytest
from botocore.credentials import Credentials
from jobs_on_record import create, request
from wire_client import LENDER, WireClient

from penstock.api import processing, tags
from penstock.clock import now
from penstock.dispatch.outlook import outlook
from penstock.job.claim import Choice, Resources, claim_of
from penstock.job.life import Started, StopAsked, advance
from penstock.testing.fake_engine import FakeEngine
from penstock.wire.faults import Fault

MACHINE = Resources(4, 16 << 30, 0, 4)


def tagged(name="job", **given):
    return request(name, Tags=[{"Key": f"penstock:{k}", "Value": v} for k, v in given.items()])


def test_a_job_claims_what_its_instances_have_for_whom_its_tags_say(context):
    create(context, tagged(priority="-7", owner="ann"))
    (claim,) = context.store.waiting()
    assert claim == claim_of(context.store.job("job"))
    assert (claim.owner, claim.priority, claim.resources) == ("ann", -7, Resources(4, 16 << 30, 0, 1))


def test_without_tags_it_is_whose_key_has_signed(context):
    create(replace(context, signer="AKIATEST"), tagged(owner=""))
    assert [(one.owner, one.priority) for one in context.store.waiting()] == [("AKIATEST", 0)]


def test_the_first_preference_counts(context):
    kinds = [{"InstanceType": kind, "InstanceCount": 3} for kind in ("ml.m5.large", "ml.m5.4xlarge")]
    create(
        context,
        request(ProcessingResources={"ClusterConfig": {"InstancePreferences": kinds, "VolumeSizeInGB": 1}}),
    )
    assert [one.resources for one in context.store.waiting()] == [Resources(6, 24 << 30, 0, 3)]


@pytest.mark.parametrize("value", ["", "high", "101", "-101", "1.5", "+1", "--1", "1000", "٣", " 1"])
def test_a_priority_that_is_none_is_refused(context, value):
    words = r"tags: penstock:priority: .* is no whole number from -100 to 100\."
    with pytest.raises(Fault, match=words):
        create(context, tagged(priority=value))
    create(context, request())
    with pytest.raises(Fault, match=words):
        put(context, value)
    assert [one.priority for one in context.store.waiting()] == [0]


def put(context, value):
    tag = {"Key": "penstock:priority", "Value": value}
    tags.add(context, {"ResourceArn": context.job_arn("job"), "Tags": [tag]})


def test_a_tag_changes_the_priority_of_a_job_that_waits(context):
    create(context, tagged(owner="ann"))
    context.woken.clear()
    put(context, "9")
    assert [one.priority for one in context.store.waiting()] == [9]
    tags.delete(context, {"ResourceArn": context.job_arn("job"), "TagKeys": ["penstock:priority"]})
    assert [(one.priority, one.owner) for one in context.store.waiting()] == [(0, "ann")]
    assert context.woken == [1, 1]


def test_a_priority_that_changes_while_the_job_is_moved_is_kept(context):
    create(context, request())
    read = context.store.job("job")
    put(context, "9")
    context.store.save_job(advance(read, Started(), 5))
    assert context.store.job("job").priority == 9


def test_a_tag_sends_a_job_to_an_engine_that_the_server_has(context):
    both = replace(context, choice=Choice(("local", "ray"), None, MACHINE))
    words = "tags: penstock:engine: 'slurm' is no engine of this server, which has local and ray."
    with pytest.raises(Fault, match=words) as caught:
        create(both, tagged(engine="slurm"))
    assert caught.value.code == "ValidationException"
    with pytest.raises(Fault, match="'ray' is no engine of this server, which has local"):
        create(context, tagged(engine="ray"))
    create(both, tagged(engine="ray"))
    create(both, request("small"))
    assert {one.name: one.engine for one in context.store.waiting()} == {"job": "ray", "small": "local"}
    context.woken.clear()
    named = {"ResourceArn": context.job_arn("job")}
    with pytest.raises(Fault, match=words):
        tags.add(both, {**named, "Tags": [{"Key": "penstock:engine", "Value": "slurm"}]})
    tags.delete(both, {**named, "TagKeys": ["penstock:engine"]})
    assert context.store.job("job").engine == "local"
    tags.add(both, {**named, "Tags": [{"Key": "penstock:engine", "Value": "ray"}]})
    assert context.store.job("job").engine == "ray"
    assert context.woken == [1, 1]


def test_what_is_larger_than_the_machine_is_refused_where_that_is_said(context):
    strict = replace(context, most=lambda _: MACHINE)
    create(strict, request("fits"))
    large = {"InstanceType": "ml.g4dn.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    with pytest.raises(Fault) as caught:
        create(strict, request("large", ProcessingResources={"ClusterConfig": large}))
    assert str(caught.value) == (
        "The job asks for 8 CPUs, 32 GiB of memory, 1 GPU, and this machine has 4 CPUs, 16 GiB of memory, 4 instances "
        "to give. (PENSTOCK_STRICT_RESOURCES refuses it; else it would run alone on all of it.)"
    )
    assert caught.value.code == "ValidationException"
    assert context.store.job("large") is None


@pytest.fixture
def client(tmp_path):
    client = WireClient(tmp_path)
    store = client.store
    told = replace(client.context, queue=lambda: outlook(store, FakeEngine(MACHINE), now()))
    client.context = client.application._context = told
    yield client
    client.close()


def test_our_own_record_tells_the_place_in_the_queue_until_the_job_is_started(client):
    for name in ("first", "second"):
        create(client.context, request(name))
    store = client.store
    store.save_job(advance(store.job("first"), Started(), 1))

    def record(name):
        answer = client.send("GET", f"/penstock/jobs/{name}", b"", target="")
        return answer.json

    assert record("first")["queue"] is None
    assert record("second")["queue"] == {
        "position": 1,
        "reason": "needs 4 CPUs (0 of 4 are free) and 16 GiB of memory (0 GiB of 16 GiB are free); "
        "held by first (4 CPUs, 16 GiB of memory)",
    }
    processing.stop(client.context, {"ProcessingJobName": "second"})
    assert record("second")["queue"] is None


def test_the_queue_is_told_to_whoever_has_the_key_and_to_no_job(client):
    create(client.context, request())
    answer = client.send("GET", "/penstock/queue", b"", target="")
    assert answer.status == 200
    assert [one["name"] for one in answer.json["waiting"]] == ["job"]
    assert client.send("GET", "/penstock/queue", b"", target="", key=None).status != 200
    job = client.store.job("job")
    lent = LENDER.lend(job.uid, now() // 1000 + 60).key
    key = Credentials(lent.access_key_id, lent.secret, lent.token)
    refused = client.send("GET", "/penstock/queue", b"", target="", key=key)
    assert json.loads(refused.body)["__type"] == "AccessDeniedException"
    client.store.save_job(advance(job, StopAsked(), 1))
    assert client.send("GET", "/penstock/queue", b"", target="").json["waiting"] == []
