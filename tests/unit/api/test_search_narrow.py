"""What the database finds is what an expression means, record by record, in the same order."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.api import experiments, metrics, search, tags, trial_components, trials
from penstock.api.entities import arn_of
from penstock.api.search_expression import compiled
from penstock.api.search_narrow import narrow, order
from penstock.api.search_records import records
from penstock.job.experiments import Component, Experiment, Trial
from penstock.store.conditions import Value
from penstock.store.finding import Order
from penstock.wire import model

#: The test's clock begins here.
NOW = 1_700_000_000_000
RESOURCES = {"Experiment": Experiment, "ExperimentTrial": Trial, "ExperimentTrialComponent": Component}
MEMBERS = {Experiment: "Experiment", Trial: "Trial", Component: "TrialComponent"}

TEXTS = ["a", "A", "b", "c1", "C2", "e", "E2", "t", "Failed", "failed", "x,y", "1"]
TIMES = ["2023-11-14T22:13:20", "2023-11-14T22:13:25.5", "2023-11-14T22:13:40Z", "1969-12-31T23:59:59"]
NUMBERS = ["1", "2.5", "-1", "0.1", "0.10000000000000000000001", "1e999", "3"]
EITHER = [*TEXTS, *NUMBERS, " 1", "2.50", "a, 1 ,2.5", "True", "nan", "x\0", "-0"]
COMMON = {
    "CreationTime": "time", "LastModifiedTime": "time", "Tags.team": "free", "Tags.none": "text", "DisplayName": "free",
}  # fmt: skip
PROPERTIES = {
    Experiment: {**COMMON, "ExperimentName": "text", "Description": "text"},
    Trial: {**COMMON, "TrialName": "text", "ExperimentName": "text", "TrialComponentSummaries.TrialComponentName": "text"},
    Component: {
        **COMMON, "trialComponentName": "free", "Source.SourceArn": "text", "Status.PrimaryStatus": "text",
        "StartTime": "time", "Parents.TrialName": "text", "Parents.ExperimentName": "text", "RunName": "text",
        "Metrics.m.Max": "number", "metrics.m.avg": "number", "Metrics.m.Count": "number", "Metrics.none.Last": "number",
        "Parameters.p": "number", "parameters.q": "either", "Parameters.a.b": "either", "Parameters.none": "either",
        "Parameters.p.NumberValue": "number", "Parameters.q.StringValue": "text", "Tags": "whole", "Parents": "whole",
        "MetadataProperties.CommitId": "text", "Parameters.é\0": "text",
    },
}  # fmt: skip
OPERATORS = {
    "text": ["Equals", "NotEquals", "In", "Exists", "NotExists"],
    "time": ["Equals", "NotEquals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo", "Exists"],
    "number": ["Equals", "NotEquals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo", "NotExists"],
    "whole": ["Exists", "NotExists"],
    "either": ["Equals", "NotEquals", "In", "Exists", "NotExists"],
    # Only of these there may be more than one Contains.
    "free": ["Equals", "NotEquals", "Contains", "In"],
}  # fmt: skip
VALUES = {"text": TEXTS, "time": TIMES, "number": NUMBERS, "whole": TEXTS, "free": TEXTS, "either": EITHER}


@pytest.fixture
def filled(context):
    """Three experiments with trials and components of all sorts."""
    drawn = random.Random(5)
    for name in ("e", "E2", "A"):
        experiments.create(context, {"ExperimentName": name, "Description": drawn.choice(TEXTS)})
        for number in range(2):
            trials.create(context, {"TrialName": f"{name}-t{number}", "ExperimentName": name})
    trials.create(context, {"TrialName": "t", "ExperimentName": "e"})
    for number in range(12):
        name = f"{'cC'[number % 2]}{number}"
        given_ = {"TrialComponentName": name, "DisplayName": drawn.choice(["a", "A", "b"])}
        if number % 3:
            given_ |= {
                "Status": {"PrimaryStatus": drawn.choice(["Failed", "Completed"])},
                "StartTime": NOW + number * 500,
            }
        if number % 4:
            given_ |= {"Parameters": {"p": {"NumberValue": drawn.choice([1.0, 2.5])}}}
        if number % 5:
            mixed = [
                {"StringValue": drawn.choice([*TEXTS, "", "2.5", "x\0"])},
                {"NumberValue": drawn.choice([0.0, 0.1, 1.0, 2.5, 1e308, 5e-324])},
            ]
            more = {"q": drawn.choice(mixed), "a.b": drawn.choice(mixed), "é\0": mixed[0]}
            given_.setdefault("Parameters", {}).update(more)
        trial_components.create(context, given_)
        for _ in range(number % 3):
            trial = drawn.choice(["t", "e-t0", "E2-t1"])
            trials.associate(context, {"TrialComponentName": name, "TrialName": trial})
        data = [
            {"MetricName": "m", "Timestamp": NOW, "Value": drawn.choice([1.0, 2.5, 0.1, -1.0])}
            for _ in range(number % 4)
        ]
        metrics.put(context, {"TrialComponentName": name.lower(), "MetricData": data})
    for kind, names in ((Experiment, ["e", "A"]), (Trial, ["t"]), (Component, ["c0", "C5", "c8"])):
        for name in names:
            team = [{"Key": "team", "Value": drawn.choice(["a", "b", "A"])}]
            tags.add(context, {"ResourceArn": arn_of(context, kind, name), "Tags": team})
    return context


def filters(kind):
    def one(name):
        type_ = PROPERTIES[kind][name]
        return st.fixed_dictionaries(
            {
                "Name": st.just(name),
                "Operator": st.sampled_from(OPERATORS[type_]),
                "Value": st.sampled_from(VALUES[type_]),
            }
        )

    return st.sampled_from(sorted(PROPERTIES[kind])).flatmap(one)


def expressions(kind, depth=2):
    inner = (
        {"SubExpressions": st.lists(expressions(kind, depth - 1), min_size=1, max_size=2)} if depth else {}
    )
    return st.fixed_dictionaries(
        {"Filters": st.lists(filters(kind), min_size=1, max_size=2)},
        optional={"Operator": st.sampled_from(["And", "Or"]), **inner},
    )


@pytest.mark.parametrize("resource", RESOURCES)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_database_leaves_all_that_fit_and_no_others_where_it_says_so(filled, resource, data):
    kind = RESOURCES[resource]
    expression = data.draw(expressions(kind))
    everything, _ = filled.store.experiments.find(kind, [], Order(Value("key"), descending=False))
    fits = compiled(expression, model.service("sagemaker").shape_for(MEMBERS[kind]))
    wanted = [one.name for one, r in zip(everything, records(filled, everything), strict=True) if fits(r)]
    conditions, whole = narrow(kind, expression)
    left, _ = filled.store.experiments.find(kind, conditions, Order(Value("key"), descending=False))
    assert set(wanted) <= {one.name for one in left}
    if whole:
        assert [one.name for one in left] == wanted
    sort_by = data.draw(st.sampled_from([name for name, t in PROPERTIES[kind].items() if t != "whole"]))
    asked = {"Resource": resource, "SearchExpression": expression, "SortBy": sort_by, "MaxResults": 5}
    seen, following = [], {}
    while following is not None:
        answer = search.search(filled, {**asked, **following})
        assert answer["TotalHits"]["Value"] == len(wanted)
        seen += [r[MEMBERS[kind]][f"{MEMBERS[kind]}Name"] for r in answer["Results"]]
        following = answer["NextToken"] and {"NextToken": answer["NextToken"]}
    assert sorted(seen, key=str.lower) == wanted


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "TrialComponentName", "DisplayName", "CreationTime", "LastModifiedTime", "StartTime", "Status.PrimaryStatus",
        "Metrics.m.Max", "Metrics.m.Avg", "RunName",
    ],
)  # fmt: skip
def test_the_order_of_the_database_is_that_of_the_records(filled, name, descending):
    assert order(Component, name) is not None
    direction = {"SortBy": name, "SortOrder": "Descending" if descending else "Ascending"}
    # What only records can tell is true of all.
    judged = {"Filters": [{"Name": "SourceDetail.SourceArn", "Operator": "NotExists"}]}
    assert not narrow(Component, judged)[1]

    def names(**more):
        found = search.search(
            filled, {"Resource": "ExperimentTrialComponent", "MaxResults": 100, **direction, **more}
        )
        return [r["TrialComponent"]["TrialComponentName"] for r in found["Results"]]

    assert names() == names(SearchExpression=judged)


def test_what_analytics_asks_needs_no_record_to_be_judged():
    asked = {
        "Filters": [
            {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "E"},
            {"Name": "Metrics.loss.Last", "Operator": "LessThan", "Value": "0.5"},
            {"Name": "Parameters.rate", "Operator": "GreaterThan", "Value": "0.1"},
            {"Name": "Parameters.optimizer", "Value": "adam"},
        ],
        "SubExpressions": [
            {"Filters": [{"Name": "TrialComponentName", "Operator": "Contains", "Value": "x"}]}
        ],
    }
    conditions, whole = narrow(Component, asked)
    assert (len(conditions), whole) == (5, True)
    assert order(Component, "metrics.loss.max") == Value("maximum", "metric", "loss")
    assert narrow(Component, {**asked, "Operator": "Or"}) == ([], False)
