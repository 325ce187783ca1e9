"""BatchPutMetrics and BatchGetMetrics, called as functions over a real store."""

import statistics

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_on_record import create, create_part, end, request

from penstock.api import metrics, processing, trial_components
from penstock.api.entities import arn_of
from penstock.job.events import Host, HostEvent
from penstock.job.experiments import Component
from penstock.job.life import Started, Succeeded, advance
from penstock.job.metrics import NOTE, Metric, to_note
from penstock.wire.faults import Fault

#: The test's clock begins here, in milliseconds; a multiple of an hour of seconds comes before it.
NOW = 1_700_000_000_000
HOUR = 3_600_000


def a_job(context, name="Job"):
    """A job that is part of an experiment; its component's name."""
    return create_part(context, name, {"ExperimentName": "e"})


def value(number, at=NOW, name="loss", **more):
    return {"MetricName": name, "Timestamp": at, "Value": float(number), **more}


def put(context, component, *data):
    return metrics.put(context, {"TrialComponentName": component, "MetricData": list(data)})


def ask(context, component="job-aws-processing-job", **changes):
    query = {
        "MetricName": "loss",
        "ResourceArn": arn_of(context, Component, component),
        "MetricStat": "Last",
        "Period": "IterationNumber",
        "XAxisType": "IterationNumber",
        **changes,
    }
    [result] = metrics.get(context, {"MetricQueries": [query]})["MetricQueryResults"]
    return result


def points(result):
    assert result["Status"] == "Complete"
    return list(zip(result["XAxisValues"], result["MetricValues"], strict=True))


def test_values_come_back_by_their_step(context):
    component = a_job(context)
    assert put(context, component, *(value(1 / n, Step=n) for n in (3, 1, 2))) == {"Errors": None}
    put(context, component, value(9, name="other", Step=1), value(7))
    assert points(ask(context)) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert points(ask(context, Start=2, End=2)) == [(2, 0.5)]
    assert points(ask(context, MetricName="other")) == [(1, 9.0)]
    assert points(ask(context, MetricName="never put")) == []


@pytest.mark.parametrize(("period", "seconds"), [("OneMinute", 60), ("FiveMinute", 300), ("OneHour", 3600)])
def test_values_are_gathered_by_periods_of_time(context, period, seconds):
    component = a_job(context)
    base = NOW // HOUR * HOUR
    for n in range(4):
        put(context, component, value(n, at=base + n * seconds * 500))
    asked = {"XAxisType": "Timestamp", "Period": period, "MetricStat": "Avg"}
    begin = base // 1000
    assert points(ask(context, **asked)) == [(begin, 0.5), (begin + seconds, 2.5)]
    assert points(ask(context, **asked, Start=begin + 1, End=begin + seconds)) == [(begin, 1.0), (begin + seconds, 2.0)]  # fmt: skip


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12))
def test_every_statistic_of_any_values(context, values):
    component = a_job(context, f"j{context.clock()}")
    for n, number in enumerate(values):
        put(context, component, value(number, at=NOW + n // 3, Step=4))  # some of one time: as they came
    told = {stat: points(ask(context, component, MetricStat=stat))[0][1] for stat in metrics.STATISTICS}
    assert told == {
        "Min": min(values),
        "Max": max(values),
        "Count": len(values),
        "Last": values[-1],
        "Avg": statistics.mean(values),
        "StdDev": statistics.pstdev(values),
    }


def test_the_last_value_is_the_latest_and_not_the_one_that_came_last(context):
    component = a_job(context)
    put(context, component, value(2, at=NOW + 2, Step=1), value(1, at=NOW + 1, Step=1))
    assert points(ask(context)) == [(1, 2.0)]


def test_times_that_can_not_be_are_told_by_their_index_and_the_others_kept(context):
    component = a_job(context)
    data = [
        value(n, at=NOW + off, Step=n)
        for n, off in enumerate((0, -15 * 24 * HOUR, -13 * 24 * HOUR, 3 * HOUR))
    ]
    assert put(context, component, *data) == {
        "Errors": [
            {"Code": "VALIDATION_ERROR", "MetricIndex": 1},
            {"Code": "VALIDATION_ERROR", "MetricIndex": 3},
        ]
    }
    assert [x for x, _ in points(ask(context))] == [0, 2]


def begin(context, name):
    job = context.store.job(name)
    host = Host(job.uid, name, "algo-1", "d", f"{name}/a-1")
    context.store.add_hosts(advance(job, Started(), 1), [host])
    return job


def tell(context, job, sequence, *values):
    """A host of a job tells values of metrics."""
    told = {NOTE: to_note([Metric("loss", NOW, None, value) for value in values])}
    context.store.apply_events(job.uid, "algo-1", [HostEvent(sequence, "note", 1, told)])


def test_a_job_tells_its_metrics_by_its_arn_and_in_its_record_with_or_without_an_experiment(context):
    a_job(context, "part")
    create(context, request("plain"))
    for name in ("part", "plain"):
        job = begin(context, name)
        for _ in range(2):
            tell(context, job, 1, 1.0, 3.0)
        tell(context, job, 2, 2.0)
        asked = {"XAxisType": "Timestamp", "Period": "OneHour", "ResourceArn": job.arn}
        assert [y for _, y in points(ask(context, **asked))] == [2.0]
        assert [y for _, y in points(ask(context, **asked, MetricStat="Count"))] == [3.0]
        [told] = metrics.of_job(context, job)
        assert (told.name, told.last, told.minimum, told.maximum, told.size) == ("loss", 2.0, 1.0, 3.0, 3)
        # Both are on record by the name that clients look for, and take what is put to them.
        put(context, f"{name}-aws-processing-job", value(5, Step=1))
        assert metrics.of_job(context, job)[0].size == 4


def test_a_job_has_no_part_in_what_one_before_it_of_its_name_has_left(context):
    create(context, request("plain"))
    tell(context, begin(context, "plain"), 1, 1.0)
    context.store.save_job(advance(context.store.job("plain"), Succeeded(), 2))
    processing.delete(context, {"ProcessingJobName": "plain"})
    create(context, request("plain"))
    again = context.store.job("plain")
    assert metrics.of_job(context, again) == ()
    result = ask(context, ResourceArn=again.arn)
    assert (result["Status"], "neither an ExperimentConfig" in result["Message"]) == ("ValidationError", True)
    tell(context, begin(context, "plain"), 1, 7.0)
    assert [s.last for s in metrics.of_job(context, again)] == [7.0]


def test_only_a_component_that_is_there_takes_values(context):
    create(context, request("plain"))
    create(context, request("empty", ExperimentConfig={}))
    for name in ("plain", "empty", "nobody"):
        with pytest.raises(Fault, match="does not exist") as caught:
            put(context, f"{name}-aws-processing-job", value(1))
        assert (caught.value.code, caught.value.status) == ("ValidationException", 400)
    with pytest.raises(Fault, match="does not exist"):
        put(context, "nobody", value(1, at=0))  # also when no value is worth keeping


def test_values_stay_when_their_job_goes_until_the_next_of_its_name_comes(context):
    component = a_job(context)
    put(context, component, value(1, Step=1))
    end(context, "Job")
    processing.delete(context, {"ProcessingJobName": "Job"})
    assert points(ask(context)) == [(1, 1.0)]
    a_job(context)
    assert points(ask(context)) == []


def test_a_component_made_by_hand_takes_values_and_loses_them_with_itself(context):
    trial_components.create(context, {"TrialComponentName": "By-Hand"})
    put(context, "by-hand", value(1, Step=1), value(3, Step=2, at=NOW + 1))
    assert points(ask(context, "by-hand")) == [(1, 1.0), (2, 3.0)]
    [told] = trial_components.describe(context, {"TrialComponentName": "BY-hand"})["Metrics"]
    assert (told["SourceArn"], told["TimeStamp"]) == (arn_of(context, Component, "by-hand"), NOW + 1)
    assert [told[n] for n in ("MetricName", "Min", "Max", "Last", "Count", "Avg", "StdDev")] == [
        "loss", 1.0, 3.0, 3.0, 2, 2.0, 1.0,
    ]  # fmt: skip
    trial_components.delete(context, {"TrialComponentName": "by-hand"})
    with pytest.raises(Fault, match="does not exist"):
        put(context, "by-hand", value(1))


def test_a_job_can_be_asked_for_by_its_own_arn(context):
    put(context, a_job(context), value(1, Step=1))
    assert points(ask(context, ResourceArn=context.job_arn("Job"))) == [(1, 1.0)]
    assert points(ask(context, ResourceArn=context.job_arn("Job").lower())) == [(1, 1.0)]


def test_a_query_that_makes_no_sense_says_so_and_spoils_no_other(context):
    put(context, a_job(context), value(1, Step=1))
    create(context, request("plain"))
    good = {
        "MetricName": "loss", "ResourceArn": arn_of(context, Component, "job-aws-processing-job"),
        "MetricStat": "Max", "Period": "IterationNumber", "XAxisType": "IterationNumber",
    }  # fmt: skip
    bad = [
        ({**good, "Period": "OneHour"}, "goes with"),
        ({**good, "XAxisType": "Timestamp"}, "goes with"),
        ({**good, "ResourceArn": arn_of(context, Component, "nobody")}, "does not exist"),
        ({**good, "ResourceArn": good["ResourceArn"].replace("1111", "9999")}, "does not exist"),
        ({**good, "ResourceArn": context.job_arn("nobody")}, "does not exist"),
        ({**good, "ResourceArn": context.job_arn("plain")}, "neither an ExperimentConfig nor metrics"),
    ]
    results = metrics.get(context, {"MetricQueries": [*(query for query, _ in bad), good]})[
        "MetricQueryResults"
    ]
    for result, (_, words) in zip(results, bad, strict=False):
        assert result["Status"] == "ValidationError"
        assert words in result["Message"]
        assert result["XAxisValues"] == result["MetricValues"] == []
    assert points(results[-1]) == [(1, 1.0)]
