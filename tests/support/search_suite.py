"""The suite of searches: what the database finds is what an expression means, record by record, in the same order.

Fixtures that a test file gives: context.
"""

import itertools
import random
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_on_record import an_input, an_output, create_part, end

from penstock.api import experiments, metrics, search, tags, trial_components, trials
from penstock.api.entities import arn_of
from penstock.api.search_expression import check_size, compiled
from penstock.api.search_narrow import narrow, order
from penstock.api.search_records import records
from penstock.job.experiments import Component, Experiment, Trial
from penstock.store.conditions import Value
from penstock.store.finding import Order
from penstock.wire import model
from penstock.wire.faults import Fault

#: The test's clock begins here.
NOW = 1_700_000_000_000
RESOURCES = {"Experiment": Experiment, "ExperimentTrial": Trial, "ExperimentTrialComponent": Component}
MEMBERS = {Experiment: "Experiment", Trial: "Trial", Component: "TrialComponent"}

TEXTS = ["a", "A", "b", "c1", "C2", "e", "E2", "t", "Failed", "failed", "x,y", "1", "_", "%", "/"]
TIMES = ["2023-11-14T22:13:20", "2023-11-14T22:13:25.5", "2023-11-14T22:13:40Z", "1969-12-31T23:59:59"]
NUMBERS = [
    "1",
    "2.5",
    "-1",
    "0.1",
    "0.10000000000000000000001",
    "0.09999999999999999999",
    "1e999",
    "-1e999",
    "3",
]
ARTIFACTS = [
    "s3://b/a",
    "s3://b/%_a",
    "s3://b/A",
    "s3://b",
    "",
    "s3://b/é",
    "x,y",
    "s3://b/\0",
    "text/csv",
    "b/",
]
#: PostgreSQL has another character in the place of a 0, which comes last there.
SORTABLE = [text for text in ARTIFACTS if "\0" not in text]
EITHER = [*TEXTS, *NUMBERS, " 1", "2.50", "a, 1 ,2.5", "True", "nan", "x\0", "-0"]
COMMON = {
    "CreationTime": "time", "LastModifiedTime": "time", "Tags.team": "free", "Tags.none": "text", "DisplayName": "free",
    "Tags": "whole", "CreatedBy.IamIdentity.Arn": "by", "LastModifiedBy.IamIdentity.Arn": "by", "CreatedBy.IamIdentity": "whole",
    "LastModifiedBy": "whole", "CreatedBy.IamIdentity.PrincipalId": "text",
}  # fmt: skip
PROPERTIES = {
    Experiment: {**COMMON, "ExperimentName": "text", "Description": "text", "ExperimentArn": "arn"},
    Trial: {
        **COMMON, "TrialName": "text", "ExperimentName": "text", "TrialComponentSummaries.TrialComponentName": "text",
        "TrialComponentSummaries": "whole", "TrialComponentSummaries.CreationTime": "time", "TrialArn": "arn",
        "TrialComponentSummaries.TrialComponentArn": "arn", "TrialComponentSummaries.TrialComponentSource": "whole",
        "TrialComponentSummaries.TrialComponentSource.SourceArn": "arn",
        "TrialComponentSummaries.CreatedBy.IamIdentity.Arn": "by", "TrialComponentSummaries.CreatedBy": "whole",
        "TrialComponentSummaries.TrialComponentSource.SourceType": "text",
        "MetadataProperties.CommitId": "kept", "metadataproperties.repository": "kept", "MetadataProperties": "whole",
    },
    Component: {
        **COMMON, "trialComponentName": "free", "Source.SourceArn": "text", "Status.PrimaryStatus": "text",
        "StartTime": "time", "Parents.TrialName": "text", "Parents.ExperimentName": "text", "RunName": "text",
        "Metrics.m.Max": "number", "metrics.m.avg": "number", "Metrics.m.Count": "number", "Metrics.none.Last": "number",
        "Parameters.p": "number", "parameters.q": "either", "Parameters.a.b": "either", "Parameters.none": "either",
        "Parameters.p.NumberValue": "number", "Parameters.q.StringValue": "text", "Parents": "whole",
        "MetadataProperties.CommitId": "kept", "metadataproperties.generatedby": "kept", "Parameters.é\0": "text", "Metrics.Max": "number", "Metrics.MetricName": "text",
        "Metrics.m.TimeStamp": "time", "Metrics.TimeStamp": "time", "Metrics": "whole", "Parameters": "whole",
        "Parameters.p.StringValue": "text", "Parameters.": "either", "TrialComponentArn": "arn",
        "InputArtifacts.train": "artifact", "InputArtifacts.train.value": "artifact", "InputArtifacts.": "artifact",
        "inputArtifacts.train.MediaType": "artifact", "InputArtifacts.a.b": "artifact", "OutputArtifacts.train": "artifact",
        "OutputArtifacts.model.Value": "artifact", "OutputArtifacts.é\0": "artifact", "InputArtifacts": "whole",
        "InputArtifacts.Value": "artifact", "OutputArtifacts": "whole", "Status.Message": "text", "Source": "whole",
        "Status": "whole", "Source.SourceType": "text", "SourceDetail": "whole", "SourceDetail.SourceArn": "arn",
        "SourceDetail.ProcessingJob": "whole", "SourceDetail.ProcessingJob.ProcessingJobName": "text",
        "SourceDetail.ProcessingJob.ProcessingJobArn": "arn", "SourceDetail.ProcessingJob.ProcessingJobStatus": "text",
        "SourceDetail.ProcessingJob.CreationTime": "time", "SourceDetail.ProcessingJob.ProcessingEndTime": "time",
        "SourceDetail.ProcessingJob.FailureReason": "text", "SourceDetail.ProcessingJob.RoleArn": "arn",
        "SourceDetail.ProcessingJob.ProcessingResources.ClusterConfig.InstanceCount": "number",
        "SourceDetail.ProcessingJob.ProcessingResources.ClusterConfig.VolumeSizeInGB": "number",
        "SourceDetail.ProcessingJob.ProcessingResources.ClusterConfig.InstanceType": "requested",
        "SourceDetail.ProcessingJob.AppSpecification.ImageUri": "requested",
        "SourceDetail.ProcessingJob.ExperimentConfig.TrialName": "text",
        "SourceDetail.ProcessingJob.ExperimentConfig.RunName": "text",
        "SourceDetail.ProcessingJob.StoppingCondition.MaxRuntimeInSeconds": "number",
        "SourceDetail.ProcessingJob.Environment.NAME": "text",
        "SourceDetail.ProcessingJob.ProcessingInputs.InputName": "text",
        "LineageGroupArn": "arn",
    },
}  # fmt: skip
OPERATORS = {
    "text": ["Equals", "NotEquals", "In", "Exists", "NotExists"],
    "time": ["Equals", "NotEquals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo", "Exists"],
    "number": ["Equals", "NotEquals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo", "NotExists"],
    "whole": ["Exists", "NotExists"],
    "either": [
        "Equals", "NotEquals", "In", "Contains", "Exists", "NotExists", "GreaterThan", "GreaterThanOrEqualTo", "LessThan",
        "LessThanOrEqualTo",
    ],
    "arn": ["Equals", "NotEquals", "In", "Exists", "NotExists", "Contains"],
    "artifact": ["Equals", "NotEquals", "In", "Exists", "NotExists", "Contains"],
    "by": ["Equals", "NotEquals", "In", "Exists", "NotExists", "Contains"],
    "kept": ["Equals", "NotEquals", "In", "Exists", "NotExists", "Contains"],
    "requested": ["Equals", "NotEquals", "In", "Exists", "NotExists", "Contains"],
    # Only of these there may be more than one Contains.
    "free": ["Equals", "NotEquals", "Contains", "In"],
}  # fmt: skip
ARNS = [
    "arn:aws:sagemaker:eu-west-1:111122223333:processing-job/Job1", "ARN:aws:sagemaker:eu-west-1:111122223333:experiment/e",
    "experiment-trial", "arn:aws:iam::111122223333:role/r", "c1",
]  # fmt: skip
#: Also such as JSON writes in other words.
KEPT = ["", "c-1", "C-1", "é🐟", '"quoted"', "a\\u0000b", "null", "1", "it's %_", "a, b", "{}", "\ue000"]
WHO = "arn:aws:sts::111122223333:assumed-role/"
BY = [f"{WHO}a", f"{WHO}a u-1", f"{WHO}B u-2", "assumed-role", f"{WHO}é", f"{WHO}é u-1", "u-1", " ", ""]
VALUES = {
    "arn": ARNS,
    "by": BY,
    "kept": KEPT,
    "requested": ["python:3.11", "python:3.12", ":3.1", "ml.m5.large", "ml", "PYTHON:3.11", "x,y"],
    "artifact": ARTIFACTS,
    "text": TEXTS,
    "time": TIMES,
    "number": NUMBERS,
    "whole": TEXTS,
    "free": TEXTS,
    "either": EITHER,
}


def fill(context):
    """Three experiments with trials and components of all sorts."""
    drawn = random.Random(5)
    for name in ("e", "E2", "A"):
        experiments.create(context, {"ExperimentName": name, "Description": drawn.choice(TEXTS)})
        for number in range(2):
            trial = {"TrialName": f"{name}-t{number}", "ExperimentName": name}
            trials.create(context, {**trial, "MetadataProperties": kept(drawn)})
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
            sorted_ = [
                drawn.choice([{"NumberValue": 2.5}, {"NumberValue": -1e300}, {"StringValue": "Z"}, mixed[0]])
            ]
            more["r"] = {k: v for k, v in sorted_[0].items() if v != "x\0"} or {"StringValue": "é"}
            more[""] = drawn.choice(mixed)
            given_.setdefault("Parameters", {}).update(more)
        for side in ("InputArtifacts", "OutputArtifacts"):
            names = [one for one in ("train", "model", "a.b", "é\0", "Value", "") if drawn.random() < 0.5]
            given_[side] = {
                one: {"Value": drawn.choice(ARTIFACTS if one in {"a.b", "é\0"} else SORTABLE)}
                for one in names
            }
            for one in names:
                if drawn.random() < 0.5:
                    given_[side][one]["MediaType"] = drawn.choice(["text/csv", "Text/csv"])
        if number % 6 == 1:
            given_.setdefault("Status", {})["Message"] = drawn.choice(["a", "Failed", "é"])
        if number % 2:
            given_["MetadataProperties"] = kept(drawn)
        trial_components.create(context, given_)
        for _ in range(number % 3):
            trial = drawn.choice(["t", "e-t0", "E2-t1"])
            trials.associate(context, {"TrialComponentName": name, "TrialName": trial})
        data = [
            {
                "MetricName": drawn.choice("mn"),
                "Timestamp": NOW + drawn.randrange(30_000),
                "Value": drawn.choice([1.0, 2.5, 0.1, -1.0]),
            }
            for _ in range(number % 4)
        ]
        metrics.put(context, {"TrialComponentName": name.lower(), "MetricData": data})
    for kind, names in ((Experiment, ["e", "A"]), (Trial, ["t"]), (Component, ["c0", "C5", "c8"])):
        for name in names:
            team = [{"Key": "team", "Value": drawn.choice(["a", "b", "A"])}]
            tags.add(context, {"ResourceArn": arn_of(context, kind, name), "Tags": team})
    for number in range(4):
        given_ = {"ProcessingInputs": [an_input(drawn.choice(["train", "model"]))]}
        given_["ProcessingOutputConfig"] = {"Outputs": [an_output("train")]}
        given_["Environment"] = {"EVEN": "x"}
        if number % 2:
            large = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": number}
            given_["ProcessingResources"] = {"ClusterConfig": large}
            given_["AppSpecification"] = {"ImageUri": "python:3.12", "ContainerEntrypoint": ["true"]}
            given_["StoppingCondition"] = {"MaxRuntimeInSeconds": 60}
            given_["Environment"] = {"NAME": "a"}
        config = {"ExperimentName": "e", "TrialName": "t", **({"RunName": "A"} if number % 2 else {})}
        create_part(context, f"Job{number}", config, **given_)
        if number > 1:
            end(context, f"Job{number}")
    context.store.delete_job(context.store.job("Job3"))
    for kind in RESOURCES.values():
        for one in context.store.experiments.every(kind, []):
            by = {"created_by": drawn.choice([None, *BY]), "modified_by": drawn.choice([None, *BY])}
            context.store.experiments.change(kind, one.name, partial(replace, **by))
    return context


def kept(drawn):
    """Some MetadataProperties."""
    names = [name for name in ("CommitId", "Repository", "GeneratedBy", "ProjectId") if drawn.random() < 0.6]
    return {name: drawn.choice(KEPT) for name in names}


def filters(kind, properties=None):
    properties = properties or PROPERTIES[kind]

    def one(name):
        type_ = properties[name]
        return st.fixed_dictionaries(
            {
                "Name": st.just(name),
                "Operator": st.sampled_from(OPERATORS[type_]),
                # The service model has no empty ones.
                "Value": st.sampled_from([value for value in VALUES[type_] if value]),
            }
        )

    return st.sampled_from(sorted(properties)).flatmap(one)


#: List -> what its elements have, by kind.
ELEMENTS = {
    Experiment: {"Tags": {"Key": "text", "Tags.Value": "text"}},
    Trial: {
        "Tags": {"tags.key": "text", "Value": "text"},
        "TrialComponentSummaries": {"TrialComponentName": "text", "CreationTime": "time"},
    },
    Component: {
        "Parents": {"TrialName": "text", "parents.ExperimentName": "text"},
        "Metrics": {"MetricName": "text", "Max": "number", "TimeStamp": "time", "SourceArn": "arn"},
        "SourceDetail.ProcessingJob.ProcessingInputs": {"InputName": "text"},
    },
}


def nested(kind):
    return st.sampled_from(sorted(ELEMENTS[kind])).flatmap(
        lambda name: st.fixed_dictionaries(
            {
                "NestedPropertyName": st.just(name),
                "Filters": st.lists(filters(kind, ELEMENTS[kind][name]), min_size=1, max_size=2),
            }
        )
    )


def expressions(kind, depth=2):
    inner = (
        {"SubExpressions": st.lists(expressions(kind, depth - 1), min_size=1, max_size=2)} if depth else {}
    )
    return st.fixed_dictionaries(
        {"Filters": st.lists(filters(kind), min_size=1, max_size=2)},
        optional={
            "Operator": st.sampled_from(["And", "Or"]),
            "NestedFilters": st.lists(nested(kind), max_size=1),
            **inner,
        },
    )


def sound(kind, expression):
    """Whether such a search is taken: of Contains there may be one in most properties, and an order is one of numbers."""
    try:
        check_size(expression)
        compiled(expression, shape_of(kind))
    except Fault:
        return False
    return True


def shape_of(kind):
    return model.service("sagemaker").shape_for(MEMBERS[kind])


def paged(context, asked, total=None):
    """The names that a search finds, page by page."""
    member = MEMBERS[RESOURCES[asked["Resource"]]]
    seen, following = [], {}
    while following is not None:
        answer = search.search(context, {**asked, **following})
        hits = answer["TotalHits"]
        exact = hits["Relation"] == "EqualTo"
        assert total is None or (
            hits["Value"] == total if exact else len(answer["Results"]) <= hits["Value"] <= total
        )
        seen += [r[member][f"{member}Name"] for r in answer["Results"]]
        following = answer["NextToken"] and {"NextToken": answer["NextToken"]}
    return seen


SORTED = [
    "TrialComponentName", "DisplayName", "CreationTime", "LastModifiedTime", "StartTime", "Status.PrimaryStatus",
    "Metrics.m.Max", "Metrics.m.Avg", "Metrics.m.TimeStamp", "RunName", "Parameters.p", "Parameters.r",
    "Parameters.r.NumberValue", "Parameters.r.StringValue", "Parameters.none", "InputArtifacts.train",
    "InputArtifacts.train.MediaType", "OutputArtifacts.model.Value", "Parents.TrialName", "Parents.ExperimentName",
    "Tags.team", "Status.Message", "SourceDetail.ProcessingJob.ProcessingJobName", "TrialComponentArn",
    "SourceDetail.ProcessingJob.ProcessingJobArn", "SourceDetail.ProcessingJob.ProcessingEndTime",
    "MetadataProperties.CommitId", "MetadataProperties.ProjectId", "CreatedBy.IamIdentity.Arn",
    "LastModifiedBy.IamIdentity.Arn", "SourceDetail.ProcessingJob.AppSpecification.ImageUri",
    "SourceDetail.ProcessingJob.ProcessingResources.ClusterConfig.InstanceCount",
    "SourceDetail.ProcessingJob.ProcessingResources.ClusterConfig.InstanceType", "SourceDetail.ProcessingJob.RoleArn",
    "SourceDetail.ProcessingJob.ExperimentConfig.RunName",
]  # fmt: skip


class SearchSuite:
    @pytest.fixture
    def filled(self, context):
        return fill(context)

    @pytest.mark.parametrize("resource", RESOURCES)
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_the_database_leaves_all_that_fit_and_no_others_where_it_says_so(self, filled, resource, data):
        kind = RESOURCES[resource]
        expression = data.draw(expressions(kind).filter(partial(sound, kind)))
        everything, _ = filled.store.experiments.find(kind, [], Order(Value("key"), descending=False))
        fits = compiled(expression, shape_of(kind))
        wanted = [one.name for one, r in zip(everything, records(filled, everything), strict=True) if fits(r)]
        conditions, rest = narrow(kind, expression)
        left, _ = filled.store.experiments.find(kind, conditions, Order(Value("key"), descending=False))
        assert set(wanted) <= {one.name for one in left}
        judged = compiled(rest, shape_of(kind)) if rest is not None else None
        if judged is not None:
            assert [
                one.name for one, r in zip(left, records(filled, left), strict=True) if judged(r)
            ] == wanted
        else:
            assert [one.name for one in left] == wanted
        sort_by = data.draw(st.sampled_from([name for name, t in PROPERTIES[kind].items() if t != "whole"]))
        asked = {"Resource": resource, "SearchExpression": expression, "SortBy": sort_by, "MaxResults": 5}
        whole = paged(filled, asked, len(wanted))
        assert sorted(whole, key=str.lower) == wanted
        # However few are judged for a page, all pages together are the same.
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(search, "JUDGED", data.draw(st.integers(1, 6)))
            for step in ("_STEP", "_STEP_OF_TRIALS"):
                patched.setattr(search, step, data.draw(st.integers(1, 4)))
            assert paged(filled, asked, len(wanted)) == whole

    def test_the_order_of_the_database_is_that_of_the_records(self, filled):
        # What only records can tell is true of all.
        judged = {"Filters": [{"Name": "LineageGroupArn", "Operator": "NotExists"}]}
        assert narrow(Component, judged) == ([], judged)
        for name, direction in itertools.product(SORTED, ("Ascending", "Descending")):
            assert order(Component, name) is not None
            asked = {"Resource": "ExperimentTrialComponent", "SortBy": name, "MaxResults": 3}
            asked["SortOrder"] = direction
            whole = paged(filled, asked, 16)
            asked["SearchExpression"] = judged
            assert paged(filled, asked, 16) == whole, asked
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(search, "JUDGED", 5)
                patched.setattr(search, "_STEP", 2)
                assert paged(filled, asked, 16) == whole, asked

    def test_a_page_has_what_is_found_among_so_many_and_a_place_to_go_on_from(self, filled, monkeypatch):
        monkeypatch.setattr(search, "JUDGED", 6)
        monkeypatch.setattr(search, "_STEP", 4)
        # Of 16 the last but one and the last but three have it.
        even = {"Name": "SourceDetail.ProcessingJob.Environment.EVEN", "Operator": "Exists"}
        asked = {
            "Resource": "ExperimentTrialComponent", "SearchExpression": {"Filters": [even]},
            "SortBy": "TrialComponentName", "SortOrder": "Ascending", "MaxResults": 2,
        }  # fmt: skip
        assert narrow(Component, asked["SearchExpression"])[1] is not None
        pages = []
        while len(pages) < 5 and (not pages or asked.get("NextToken")):
            answer = search.search(filled, asked)
            names = [one["TrialComponent"]["TrialComponentName"] for one in answer["Results"]]
            pages.append((names, *answer["TotalHits"].values()))
            asked["NextToken"] = answer["NextToken"]
        assert pages == [
            ([], 0, "GreaterThanOrEqualTo"),
            ([], 0, "GreaterThanOrEqualTo"),
            (["job0-aws-processing-job", "job2-aws-processing-job"], 2, "GreaterThanOrEqualTo"),
            ([], 0, "GreaterThanOrEqualTo"),
        ]
        monkeypatch.setattr(search, "JUDGED", 16)
        whole = search.search(filled, {**asked, "NextToken": None})
        assert whole["TotalHits"] == {"Value": 2, "Relation": "EqualTo"}
