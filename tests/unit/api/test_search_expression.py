"""What an expression finds: held against a plain reading of the rules, and each rule by itself."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.api.properties import elements, resolve
from penstock.api.search_expression import check_size, compiled
from penstock.wire import model
from penstock.wire.faults import Fault

SHAPE = model.service("sagemaker").shape_for("TrialComponent")
DAY = 1_704_067_200_000  # 2024-01-01T00:00:00Z

RECORD = {
    "TrialComponentName": "job-aws-processing-job",
    "DisplayName": "Nice",
    "RunName": None,
    "Source": {"SourceArn": "arn:aws:sagemaker:eu-west-1:111122223333:processing-job/Job"},
    "Status": {"PrimaryStatus": "Completed", "Message": None},
    "CreationTime": DAY + 500,
    "Parameters": {"rate": {"NumberValue": 0.1}, "kind.of": {"StringValue": "big"}},
    "InputArtifacts": {"train": {"Value": "s3://b/train", "MediaType": "text/csv"}},
    "OutputArtifacts": {},
    "Parents": [{"TrialName": "T1", "ExperimentName": "E1"}, {"TrialName": "T2", "ExperimentName": "E2"}],
    "Tags": [{"Key": "team", "Value": "blue"}, {"Key": "a.b", "Value": "1"}],
    "Metrics": [
        {"MetricName": "test:loss", "Max": 2.0, "Last": 0.5, "Count": 3, "TimeStamp": DAY},
        {"MetricName": "acc.top", "Max": 0.9, "Count": 1},
    ],
    "SourceDetail": {
        "ProcessingJob": {
            "ProcessingJobName": "Job",
            "Environment": {"LEVEL": "high"},
            "NetworkConfig": {"EnableNetworkIsolation": True},
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": 2}},
        }
    },
}


def finds(*filters, **expression):
    given_ = {"Filters": [dict(zip(("Name", "Operator", "Value"), f, strict=False)) for f in filters]}
    return compiled({**(given_ if filters else {}), **expression}, SHAPE)(RECORD)


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        # Text
        (("DisplayName", "Equals", "Nice"), ("DisplayName", "Equals", "Nic")),
        (("DisplayName", "NotEquals", "Other"), ("DisplayName", "NotEquals", "Nice")),
        (("DisplayName", "Contains", "ic"), ("DisplayName", "Contains", "x")),
        (("DisplayName", "In", "Other, Nice"), ("DisplayName", "In", "Other,Nic")),
        (("Status.PrimaryStatus", "Equals", "Completed"), ("Status.PrimaryStatus", "Equals", "completed")),
        # Names in experiments and ARNs don't mind the letters' case, and no property's own name does.
        (("trialcomponentname", "Equals", "JOB-AWS-processing-job"), ("TRIALCOMPONENTNAME", "Contains", "training")),
        (("source.sourcearn", "Equals", RECORD["Source"]["SourceArn"].lower()), ("Source.SourceArn", "Equals", "arn")),
        # What is there and what is not
        (("DisplayName", "Exists"), ("DisplayName", "NotExists")),
        (("RunName", "NotExists"), ("RunName", "Exists")),
        (("OutputArtifacts", "NotExists"), ("OutputArtifacts", "Exists")),
        (("RunName", "NotEquals", "x"), ("RunName", "Equals", "x")),
        (("Status", "Exists"), ("MetadataProperties.CommitId", "Exists")),
        # Times, in whole seconds or finer
        (("CreationTime", "Equals", "2024-01-01T00:00:00"), ("CreationTime", "Equals", "2024-01-01T00:00:01")),
        (("CreationTime", "Equals", "2024-01-01T00:00:00.5Z"), ("CreationTime", "Equals", "2024-01-01T00:00:00.25Z")),
        (("CreationTime", "GreaterThan", "2023-12-31T23:59:59"), ("CreationTime", "GreaterThan", "2024-01-01T00:00:00")),
        (("CreationTime", "LessThanOrEqualTo", "2024-01-01T00:00:00"), ("CreationTime", "LessThan", "2024-01-01T00:00:00")),
        (("CreationTime", "LessThan", "2024-01-01T01:00:00"), ("CreationTime", "LessThan", "2024-01-01T01:00:00+02:00")),
        # Numbers
        (("SourceDetail.ProcessingJob.ProcessingResources.ClusterConfig.InstanceCount", "GreaterThanOrEqualTo", "2"),
         ("SourceDetail.ProcessingJob.ProcessingResources.ClusterConfig.InstanceCount", "GreaterThan", "2.0")),
        (("Metrics.test:loss.Max", "Equals", "2"), ("Metrics.test:loss.Max", "Equals", "0.9")),
        (("metrics.test:loss.last", "LessThan", "0.6"), ("metrics.acc.top.last", "LessThan", "9")),
        (("Metrics.acc.top.Max", "Equals", "0.9"), ("Metrics.none.Max", "Equals", "0.9")),
        (("Metrics.Max", "Equals", "0.9"), ("Metrics.Max", "Equals", "0.8")),
        (("Metrics.MetricName", "Equals", "acc.top"), ("Metrics.MetricName", "Equals", "acc")),
        # A parameter is a number or a text.
        (("Parameters.rate", "Equals", "0.10"), ("Parameters.rate", "Equals", "rate")),
        (("Parameters.rate", "LessThan", "0.2"), ("Parameters.kind.of", "LessThan", "0.2")),
        (("Parameters.kind.of", "Equals", "big"), ("Parameters.kind.of", "In", "small")),
        (("Parameters.rate", "In", "0.2,0.1"), ("Parameters.rate.StringValue", "Exists")),
        (("Parameters.rate.NumberValue", "GreaterThan", "0"), ("Parameters.nothing", "Exists")),
        # Maps, lists, true or false
        (("InputArtifacts.train", "Equals", "s3://b/train"), ("InputArtifacts.test", "Exists")),
        (("InputArtifacts.train.MediaType", "Contains", "csv"), ("InputArtifacts.train.Value", "Contains", "csv")),
        (("SourceDetail.ProcessingJob.Environment.LEVEL", "Equals", "high"), ("SourceDetail.ProcessingJob.Environment.level", "Exists")),
        (("SourceDetail.ProcessingJob.NetworkConfig.EnableNetworkIsolation", "Equals", "true"),
         ("SourceDetail.ProcessingJob.NetworkConfig.EnableNetworkIsolation", "NotEquals", "True")),
        (("Tags.team", "Equals", "blue"), ("Tags.Team", "Exists")),
        (("Tags.a.b", "Equals", "1"), ("Tags.a", "Exists")),
        (("Parents.TrialName", "Equals", "t2"), ("Parents.TrialName", "NotEquals", "T1")),
    ],
)  # fmt: skip
def test_a_filter(found, missed):
    assert finds(found)
    assert not finds(missed)


def test_without_an_operator_it_is_equality():
    assert compiled({"Filters": [{"Name": "DisplayName", "Value": "Nice"}]}, SHAPE)(RECORD)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (("Nothing", "Equals", "x"), "no property 'Nothing'"),
        (("DisplayName.x", "Equals", "x"), "no property"),
        (("Source.Nothing", "Exists"), "no property"),
        (("DisplayName", "GreaterThan", "x"), "not for 'DisplayName', which is a text"),
        (("DisplayName", "Equals"), "needs a Value"),
        (("CreationTime", "Contains", "2024"), "which is a time"),
        (("CreationTime", "Equals", "yesterday"), "must be written as"),
        (("Metrics.loss.Max", "In", "1,2"), "which is a number"),
        (("Metrics.loss.Max", "Equals", "much"), "'much' is none"),
        (("Metrics.loss.Max", "Equals", "nan"), "'nan' is none"),
        (("Parameters.rate", "GreaterThan", "much"), "'much' is none"),
        (("Source", "Equals", "x"), "has parts"),
        (("Parents", "Contains", "x"), "has parts"),
        (
            ("SourceDetail.ProcessingJob.NetworkConfig.EnableNetworkIsolation", "LessThan", "true"),
            "true or false",
        ),
    ],
)
def test_what_can_not_be_asked_is_refused(given_, words):
    with pytest.raises(Fault, match=words) as caught:
        finds(given_)
    assert caught.value.code == "ValidationException"


def nested(name, *filters):
    return {
        "NestedFilters": [
            {"NestedPropertyName": name, "Filters": [dict(zip(("Name", "Operator", "Value"), f, strict=False)) for f in filters]}
        ]
    }  # fmt: skip


def test_a_nested_filter_asks_one_element_for_all():
    both = [("Parents.TrialName", "Equals", "T1"), ("Parents.ExperimentName", "Equals", "E2")]
    assert finds(*both)  # of two different parents
    assert not finds(**nested("Parents", *both))
    assert finds(**nested("Parents", both[0], ("ExperimentName", "Equals", "E1")))
    assert finds(**nested("parents", ("parents.trialname", "NotEquals", "T1")))
    assert finds(**nested("Tags", ("Key", "Equals", "team"), ("Value", "Contains", "lu")))
    assert not finds(**nested("SourceDetail.ProcessingJob.ProcessingInputs", ("InputName", "Exists")))
    for name in ("DisplayName", "Source", "Nothing", "Parents.TrialName", "InputArtifacts"):
        with pytest.raises(Fault, match="not that of a list"):
            finds(**nested(name, ("TrialName", "Exists")))
    with pytest.raises(Fault, match="no property"):
        finds(**nested("Parents", ("Nothing", "Exists")))


def test_the_operator_holds_for_all_lists_of_its_expression():
    no, yes = ("RunName", "Exists"), ("DisplayName", "Exists")
    assert not finds(no, yes)
    assert finds(no, yes, Operator="Or")
    assert finds(no, Operator="Or", **nested("Parents", ("TrialName", "Equals", "T1")))
    inner = [{"Filters": [{"Name": "RunName", "Operator": "Exists"}]}]
    assert not finds(yes, SubExpressions=inner)
    assert finds(yes, SubExpressions=inner, Operator="Or")


def test_an_expression_has_conditions_and_not_too_many():
    one = {"Filters": [{"Name": "DisplayName", "Operator": "Exists"}]}
    check_size(one)
    for empty in ({}, {"Operator": "Or"}, {"SubExpressions": [one, {}]}):
        with pytest.raises(Fault, match="at least one"):
            check_size(empty)
    check_size({"SubExpressions": [one] * 20})  # 40 conditions
    check_size({"SubExpressions": [one] * 20, "Filters": one["Filters"] * 10})
    with pytest.raises(Fault, match="50 conditions at most; this one has 51"):
        check_size({"SubExpressions": [one] * 20, "Filters": one["Filters"] * 11})
    many = {"NestedPropertyName": "Parents", "Filters": [{"Name": "TrialName", "Operator": "Exists"}] * 20}
    with pytest.raises(Fault, match="has 63"):
        check_size({"NestedFilters": [many] * 3})


def test_contains_is_bounded_but_for_some_names():
    def asked(*names):
        return {"Filters": [{"Name": n, "Operator": "Contains", "Value": "x"} for n in names]}

    check_size(asked("DisplayName", "TrialComponentName", "Tags.a", "InputArtifacts.b", "DisplayName"))
    check_size(asked("DisplayName", "RunName"))
    with pytest.raises(Fault, match="'CONTAINS' operator usage limit of 1 exceeded"):
        check_size({"SubExpressions": [asked("RunName"), asked("Source.SourceType")]})


def test_every_property_of_a_record_can_be_asked_for():
    """Whatever the model has: each member resolves, and is there exactly when a record has it."""

    def walk(shape, path, depth):
        for name, member in shape.members.items():
            where = [*path, name]
            assert resolve(SHAPE, ".".join(where)) is not None, where
            if member.type_name == "structure" and depth:
                walk(member, where, depth - 1)
            if member.type_name == "list" and member.member.type_name == "structure":
                assert elements(SHAPE, ".".join(where))[0] is member.member or path, where

    walk(SHAPE, [], 4)


# The same rules, read plainly, for records of four properties.

TEXT = st.sampled_from(["a", "B", "ab", "Ab", ""])
NUMBER = st.sampled_from([0.0, 0.1, 1.0, -2.5, 1e300])
TIME = st.integers(0, 5).map(lambda n: DAY + n * 500)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "Status": st.fixed_dictionaries({}, optional={"Message": TEXT}),
        "DisplayName": TEXT,
        "CreationTime": TIME,
        "Metrics": st.lists(st.fixed_dictionaries({"MetricName": TEXT, "Max": NUMBER}), max_size=3),
    },
)
ORDERS = ["GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"]
EITHER = ["Equals", "NotEquals", "Exists", "NotExists"]


def filters(name, operators, value):
    return st.fixed_dictionaries(
        {"Name": st.just(name), "Operator": st.sampled_from(operators), "Value": value}
    )


def iso(at):
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


FILTERS = st.one_of(
    filters("Status.Message", [*EITHER, "Contains", "In"], TEXT | st.just("ab,B")),
    filters("DisplayName", [*EITHER, "Contains", "In"], TEXT | st.just("ab,B")),
    filters("CreationTime", [*EITHER, *ORDERS], TIME.map(iso)),
    filters("Metrics.Max", [*EITHER, *ORDERS], NUMBER.map(repr)),
)
EXPRESSIONS = st.recursive(
    st.fixed_dictionaries(
        {"Filters": st.lists(FILTERS, min_size=1, max_size=3)},
        optional={"Operator": st.sampled_from(["And", "Or"])},
    ),
    lambda inner: st.fixed_dictionaries(
        {"SubExpressions": st.lists(inner, min_size=1, max_size=3)},
        optional={
            "Filters": st.lists(FILTERS, min_size=1, max_size=2),
            "Operator": st.sampled_from(["And", "Or"]),
        },
    ),
    max_leaves=6,
)


def plainly(expression, record):
    told = [plainly_one(f, record) for f in expression.get("Filters", [])]
    told += [plainly(e, record) for e in expression.get("SubExpressions", [])]
    return any(told) if expression.get("Operator") == "Or" else all(told)


def plainly_one(given_, record):
    value = given_["Value"]
    match given_["Name"]:
        case "Status.Message":
            there = [record.get("Status", {}).get("Message")]
        case "DisplayName":
            there, value = (
                [record.get("DisplayName", "").lower() if "DisplayName" in record else None],
                value.lower(),
            )
        case "CreationTime":
            there = [
                iso(record["CreationTime"]) if "CreationTime" in record else None
            ]  # such texts order as times do
        case "Metrics.Max":
            there, value = [m["Max"] for m in record.get("Metrics", [])], float(value)
    there = [v for v in there if v is not None]
    return {
        "Equals": lambda: value in there,
        "NotEquals": lambda: value not in there,
        "Exists": lambda: there != [],
        "NotExists": lambda: there == [],
        "Contains": lambda: any(value in v for v in there),
        "In": lambda: any(v in value.split(",") for v in there),
        "GreaterThan": lambda: any(v > value for v in there),
        "GreaterThanOrEqualTo": lambda: any(v >= value for v in there),
        "LessThan": lambda: any(v < value for v in there),
        "LessThanOrEqualTo": lambda: any(v <= value for v in there),
    }[given_["Operator"]]()


@settings(deadline=None, max_examples=300)
@given(record=RECORDS, expression=EXPRESSIONS)
def test_any_expression_finds_what_a_plain_reading_finds(record, expression):
    assert compiled(expression, SHAPE)(record) is plainly(expression, record)
