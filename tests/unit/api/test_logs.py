"""CloudWatch Logs, called as functions over real logs."""

import resource

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_on_record import create, request

from penstock.api import filter_logs, logs
from penstock.api.logs import GROUP
from penstock.job.events import Host
from penstock.job.life import Started, advance
from penstock.wire.faults import Fault


@pytest.fixture
def streams(context):
    create(
        context,
        request(
            ProcessingResources={
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
            }
        ),
    )
    job = context.store.job("job")
    hosts = [Host(job.uid, "job", f"algo-{n}", "d", f"job/algo-{n}-1700000000") for n in (1, 2)]
    context.store.add_hosts(advance(job, Started(), 1), hosts)
    context.logbook.append(job.uid, "algo-1", 0, b"10 a\n10 b\n20 c\n")
    context.logbook.append(job.uid, "algo-2", 0, b"15 x error\n")
    return [h.log_stream for h in hosts]


def test_a_full_page_of_streams_carries_no_token(context, streams):
    page = logs.describe_streams(context, {"logGroupName": GROUP, "logStreamNamePrefix": "job/", "limit": 2})
    assert [s["logStreamName"] for s in page["logStreams"]] == streams
    assert page["nextToken"] is None
    first = logs.describe_streams(context, {"logGroupName": GROUP, "limit": 1})
    rest = logs.describe_streams(
        context, {"logGroupName": GROUP, "limit": 1, "nextToken": first["nextToken"]}
    )
    assert rest["logStreams"][0]["logStreamName"] == streams[1]
    assert rest["nextToken"] is None


def a_job(context, name, instances):
    """A job whose hosts have log streams."""
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": instances, "VolumeSizeInGB": 1}
    create(context, request(name, ProcessingResources={"ClusterConfig": cluster}))
    job = context.store.job(name)
    hosts = [
        Host(job.uid, name, f"algo-{n}", "d", f"{name}/algo-{n}-1700000000") for n in range(1, instances + 1)
    ]
    context.store.add_hosts(advance(job, Started(), 1), hosts)
    return job


def test_the_streams_of_the_largest_job_come_without_a_token(context):
    """SageMaker's SDK asks for 50 and, when a token comes, asks the same again without it, for ever."""
    a_job(context, "big", 100)
    a_job(context, "bigger", 3)
    asked = {"logGroupName": GROUP, "logStreamNamePrefix": "big/", "orderBy": "LogStreamName", "limit": 50}
    page = logs.describe_streams(context, asked)
    assert page["nextToken"] is None
    assert len({s["logStreamName"] for s in page["logStreams"]}) == 100
    # Whoever asks for less, or for more than one job, gets pages as long as asked for.
    for other, total in ({"limit": 40}, 100), ({"logStreamNamePrefix": "big"}, 103):
        told, token = [], {}
        while token is not None:
            page = logs.describe_streams(context, {**asked, **other, **token})
            assert len(page["logStreams"]) <= 50
            told += [s["logStreamName"] for s in page["logStreams"]]
            token = page["nextToken"] and {"nextToken": page["nextToken"]}
        assert told == sorted(set(told))
        assert len(told) == total


@pytest.mark.parametrize("descending", [False, True])
def test_streams_are_ordered_by_their_last_event(context, descending):
    job = a_job(context, "job", 4)
    for host, at in (("algo-1", 30), ("algo-2", 10), ("algo-4", 20)):
        context.logbook.append(job.uid, host, 0, b"5 first\n%d last\n" % at)
    asked = {"logGroupName": GROUP, "orderBy": "LastEventTime", "descending": descending, "limit": 3}
    first = logs.describe_streams(context, asked)
    rest = logs.describe_streams(context, {**asked, "nextToken": first["nextToken"]})
    told = [
        (s["logStreamName"].split("/")[1][:6], s["lastEventTimestamp"])
        for p in (first, rest)
        for s in p["logStreams"]
    ]
    expected = [("algo-3", None), ("algo-2", 10), ("algo-4", 20), ("algo-1", 30)]
    assert told == (expected[::-1] if descending else expected)
    assert rest["nextToken"] is None
    with pytest.raises(Fault, match="Cannot order by LastEventTime with a logStreamNamePrefix"):
        logs.describe_streams(context, {**asked, "logStreamNamePrefix": "job/"})


def test_streams_can_be_told_backwards(context, streams):
    asked = {"logGroupName": GROUP, "descending": True, "limit": 1}
    first = logs.describe_streams(context, asked)
    rest = logs.describe_streams(context, {**asked, "nextToken": first["nextToken"]})
    assert [s["logStreamName"] for page in (first, rest) for s in page["logStreams"]] == streams[::-1]
    assert rest["nextToken"] is None


@pytest.mark.parametrize("order", ["LogStreamName", "LastEventTime"])
@pytest.mark.parametrize("bad", ["x", "MQ==", "W10="])
def test_a_token_of_nobody_is_refused(context, order, bad):
    with pytest.raises(Fault, match="not one that"):
        logs.describe_streams(context, {"logGroupName": GROUP, "orderBy": order, "nextToken": bad})
    with pytest.raises(Fault, match="not one that"):
        filter_logs.filter_events(context, {"logGroupName": GROUP, "nextToken": bad})
    with pytest.raises(Fault, match="nextToken is invalid"):
        logs.get_events(
            context, {"logGroupName": GROUP, "logStreamName": a_stream(context), "nextToken": bad}
        )


def test_a_group_is_named_in_one_way(context):
    stream = a_stream(context)
    for named in ({}, {"logGroupName": GROUP, "logGroupIdentifier": GROUP}):
        with pytest.raises(Fault, match="either logGroupName or"):
            logs.describe_streams(context, named)
        with pytest.raises(Fault, match="either logGroupName or"):
            logs.get_events(context, {**named, "logStreamName": stream})
        with pytest.raises(Fault, match="either logGroupName or"):
            filter_logs.filter_events(context, named)
    with pytest.raises(Fault, match="either logGroupNamePrefix or"):
        logs.describe_groups(context, {"logGroupNamePrefix": "/", "logGroupNamePattern": "aws"})


def a_stream(context):
    a_job(context, "job", 1)
    return "job/algo-1-1700000000"


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=25),
    limit=st.integers(1, 7),
    start=st.integers(0, 30),
)
def test_every_line_is_printed_once_however_the_log_grows(context, steps, limit, start):
    """The loop of SageMaker's SDK: it remembers a time and how many lines it has printed of it, and no token."""
    name = f"j{context.clock()}"
    job = a_job(context, name, 1)
    asked = {
        "logGroupName": GROUP,
        "logStreamName": f"{name}/algo-1-1700000000",
        "startFromHead": True,
        "limit": limit,
    }
    at, size, written, printed = 0, 0, [], []
    last, count = 0, 0
    for step, lines in [*steps, (0, 0)]:
        for _ in range(lines):
            at += step
            written.append((at, f"line {len(written)}"))
            size = context.logbook.append(job.uid, "algo-1", size, b"%d %s\n" % (at, written[-1][1].encode()))
        skip, token = count, {}
        while True:
            page = logs.get_events(context, {**asked, "startTime": last, **token})
            for event in page["events"]:
                if skip:
                    skip -= 1
                    continue
                printed.append((event["timestamp"], event["message"]))
                count = count + 1 if event["timestamp"] == last else 1
                last = event["timestamp"]
            if not page["events"]:
                break
            token = {"nextToken": page["nextForwardToken"]}
    assert printed == written
    # From any time on, forward and back again.
    forward, token = [], {}
    while True:
        page = logs.get_events(context, {**asked, "startTime": start, **token})
        if not page["events"]:
            break
        forward += [(e["timestamp"], e["message"]) for e in page["events"]]
        token = {"nextToken": page["nextForwardToken"]}
    assert forward == [line for line in written if line[0] >= start]
    backward, token = [], {"nextToken": page["nextForwardToken"].replace("f", "b")}
    while True:
        page = logs.get_events(context, {**asked, "startTime": start, **token})
        if not page["events"]:
            break
        backward = [(e["timestamp"], e["message"]) for e in page["events"]] + backward
        token = {"nextToken": page["nextBackwardToken"]}
    assert backward == forward


def test_events_from_the_head_until_an_empty_page_with_the_same_token(context, streams):
    asked = {"logGroupName": GROUP, "logStreamName": streams[0], "startFromHead": True, "limit": 2}
    first = logs.get_events(context, asked)
    second = logs.get_events(context, {**asked, "nextToken": first["nextForwardToken"]})
    last = logs.get_events(context, {**asked, "nextToken": second["nextForwardToken"]})
    assert [[e["message"] for e in page["events"]] for page in (first, second, last)] == [
        ["a", "b"],
        ["c"],
        [],
    ]
    assert last["nextForwardToken"] == second["nextForwardToken"]
    back = logs.get_events(context, {**asked, "nextToken": second["nextBackwardToken"]})
    assert [e["message"] for e in back["events"]] == ["a", "b"]


def test_a_start_time_is_inclusive_and_an_end_time_is_not(context, streams):
    asked = {"logGroupName": GROUP, "logStreamName": streams[0], "startFromHead": True}
    assert [e["message"] for e in logs.get_events(context, {**asked, "startTime": 10})["events"]] == [
        "a",
        "b",
        "c",
    ]
    assert [e["message"] for e in logs.get_events(context, {**asked, "startTime": 11})["events"]] == ["c"]
    assert [e["message"] for e in logs.get_events(context, {**asked, "endTime": 20})["events"]] == [
        "a",
        "b",
    ]


def test_without_more_the_tail_comes(context, streams):
    asked = {"logGroupName": GROUP, "logStreamName": streams[0], "limit": 1}
    assert [e["message"] for e in logs.get_events(context, asked)["events"]] == ["c"]


def test_streams_are_searched_together_by_time(context, streams):
    asked = {"logGroupName": GROUP, "logStreamNamePrefix": "job/"}
    found = filter_logs.filter_events(context, {**asked, "limit": 3})
    more = filter_logs.filter_events(context, {**asked, "nextToken": found["nextToken"]})
    assert [e["message"] for page in (found, more) for e in page["events"]] == ["a", "b", "x error", "c"]
    assert [
        e["message"]
        for e in filter_logs.filter_events(context, {**asked, "filterPattern": "error"})["events"]
    ] == ["x error"]


def test_both_ends_of_a_searched_time_are_inclusive(context, streams):
    asked = {"logGroupName": GROUP, "startTime": 15, "endTime": 20}
    assert [e["message"] for e in filter_logs.filter_events(context, asked)["events"]] == ["x error", "c"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", ["an error here", "a warning", "all is well"]),
        ("error here", ["an error here"]),
        ("here error", ["an error here"]),
        ('"here error"', []),
        ('"error here"', ["an error here"]),
        ("?error ?warning", ["an error here", "a warning"]),
        ("-error", ["a warning", "all is well"]),
        ("a -warning", ["an error here", "all is well"]),
        ('-"is well" ?error ?well', ["an error here"]),
        ("warning ?error", ["a warning"]),
        ("ERROR", []),
        ("a - ?", ["an error here", "a warning", "all is well"]),
    ],
)
def test_a_pattern_of_words(pattern, found):
    fits = filter_logs.matcher(pattern)
    assert [text for text in ("an error here", "a warning", "all is well") if fits(text)] == found


@pytest.mark.parametrize("pattern", ["{ $.x = 1 }", "[a, b]", " %AUTH%"])
def test_a_pattern_of_another_kind_is_refused_rather_than_taken_for_words(pattern):
    with pytest.raises(Fault, match="not supported"):
        filter_logs.matcher(pattern)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(st.lists(st.integers(0, 6), max_size=8).map(sorted), min_size=1, max_size=4),
    limit=st.integers(1, 5),
    start=st.integers(0, 7),
)
def test_streams_are_merged_the_same_in_pages_of_any_size(context, times, limit, start):
    name = f"j{context.clock()}"
    job = a_job(context, name, len(times))
    for number, stream in enumerate(times, 1):
        lines = b"".join(b"%d %d:%d\n" % (at, number, n) for n, at in enumerate(stream))
        context.logbook.append(job.uid, f"algo-{number}", 0, lines)
    asked = {"logGroupName": GROUP, "logStreamNamePrefix": f"{name}/", "limit": limit, "startTime": start}
    told, token = [], {}
    while token is not None:
        page = filter_logs.filter_events(context, {**asked, **token})
        told += [(e["timestamp"], e["message"]) for e in page["events"]]
        token = page["nextToken"] and {"nextToken": page["nextToken"]}
    expected = sorted(
        (at, number, n)
        for number, stream in enumerate(times, 1)
        for n, at in enumerate(stream)
        if at >= start
    )
    assert told == [(at, f"{number}:{n}") for at, number, n in expected]


@pytest.mark.parametrize("bound", ["_SCANNED", "PAGE_BYTES"])
def test_a_search_that_takes_long_answers_what_it_has_and_a_token(context, monkeypatch, bound):
    monkeypatch.setattr(filter_logs, bound, 40)
    job = a_job(context, "job", 1)
    context.logbook.append(job.uid, "algo-1", 0, b"".join(b"%d line %d\n" % (n, n) for n in range(50)))
    asked = {"logGroupName": GROUP, "filterPattern": "?7 ?8"}
    told, pages, token = [], 0, {}
    while token is not None:
        page = filter_logs.filter_events(context, {**asked, **token})
        pages += 1
        told += [e["message"] for e in page["events"]]
        token = page["nextToken"] and {"nextToken": page["nextToken"]}
    assert told == [f"line {n}" for n in range(50) if {"7", "8"} & set(str(n))]
    assert 1 < pages < 20


def test_more_streams_are_searched_than_files_can_be_open(context):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for n in range(3):
        job = a_job(context, f"job{n}", 100)
        for host in range(1, 101):
            context.logbook.append(job.uid, f"algo-{host}", 0, b"%d x\n" % host)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        found = filter_logs.filter_events(context, {"logGroupName": GROUP})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(found["events"]) == 300
    assert len({e["eventId"] for e in found["events"]}) == 300


def test_what_is_not_there(context):
    with pytest.raises(Fault, match="log group") as caught:
        logs.get_events(context, {"logGroupName": "/x", "logStreamName": "y"})
    assert caught.value.code == "ResourceNotFoundException"
    with pytest.raises(Fault, match="log stream"):
        logs.get_events(context, {"logGroupName": GROUP, "logStreamName": "y"})
    assert logs.describe_groups(context, {"logGroupNamePrefix": "/no"}) == {"logGroups": []}
