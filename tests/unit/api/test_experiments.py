"""Operations on experiments, trials and trial components, called as functions over a real store."""

import pytest
from jobs_on_record import create as create_job
from jobs_on_record import create_part, end, make_parents, request

from penstock.api import experiments, processing, tags, trial_components, trials
from penstock.api.entities import arn_of
from penstock.job.experiments import Component, Experiment, Trial
from penstock.wire.faults import Fault

ME = "arn:aws:sts::111122223333:assumed-role/penstock/penstock"
BY_ME = {"IamIdentity": {"Arn": ME, "PrincipalId": "AROAPENSTOCK00000000:penstock"}}

#: Kind -> (its operations' module, the member that names it, and what else its Create needs).
KINDS = {
    Experiment: (experiments, "ExperimentName", {}),
    Trial: (trials, "TrialName", {"ExperimentName": "Parent"}),
    Component: (trial_components, "TrialComponentName", {}),
}
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def _parent(context):
    make_parents(context, {"ExperimentName": "Parent"})


def make(context, kind, name="Name", **more):
    module, member, needed = KINDS[kind]
    return module.create(context, {member: name, **needed, **more})


def told(context, kind, name="Name"):
    module, member, _ = KINDS[kind]
    return {k: v for k, v in module.describe(context, {member: name}).items() if v not in (None, [], {})}


def refused(code, words, call, *args, **given):
    with pytest.raises(Fault, match=words) as caught:
        call(*args, **given)
    assert (caught.value.code, caught.value.status) == (code, 400)


@each_kind
def test_what_is_made_is_told_by_its_name_in_any_letters(context, kind):
    member = f"{KINDS[kind][1].removesuffix('Name')}Arn"
    arn = arn_of(context, kind, "name")
    assert make(context, kind) == {member: arn}
    assert arn.endswith("/name")  # ARNs are in lower case
    found = told(context, kind, "nAME")
    assert found[KINDS[kind][1]] == found["DisplayName"] == "Name"
    assert found[member] == arn
    assert found["CreatedBy"] == found["LastModifiedBy"] == BY_ME
    assert found["CreationTime"] == found["LastModifiedTime"]


@each_kind
def test_a_name_is_taken_in_any_letters_in_the_words_that_the_sdk_looks_for(context, kind):
    make(context, kind)
    words = rf"names must be unique within an AWS account and region\. {'Trial Component' if kind is Component else kind.__name__} with name \(NAME\) already exists\."
    refused("ValidationException", words, make, context, kind, "NAME")


@each_kind
def test_what_is_not_there_is_told_by_its_arn(context, kind):
    module, member, _ = KINDS[kind]
    arn = arn_of(context, kind, "none")
    word = {Component: "TrialComponent"}.get(kind, kind.__name__)
    for operation in (module.describe, module.update, module.delete):
        refused("ResourceNotFound", f"^{word} '{arn}' does not exist.$", operation, context, {member: "None"})


@each_kind
def test_an_update_changes_what_is_given_and_the_time(context, kind):
    module, member, _ = KINDS[kind]
    make(context, kind, DisplayName="before")
    before = told(context, kind)
    assert before["DisplayName"] == "before"
    module.update(context, {member: "NAME", "DisplayName": "after"})
    after = told(context, kind)
    assert after.pop("LastModifiedTime") > before.pop("LastModifiedTime")
    assert after == {**before, "DisplayName": "after"}
    module.update(context, {member: "Name"})
    assert told(context, kind)["DisplayName"] == "after"


@each_kind
def test_tags_are_given_at_create_or_later_and_go_with_it(context, kind):
    module, member, _ = KINDS[kind]
    make(context, kind, Tags=[{"Key": "a", "Value": "1"}])
    arn = arn_of(context, kind, "Name")
    assert tags.add(context, {"ResourceArn": arn, "Tags": [{"Key": "b", "Value": "2"}]}) == {
        "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    }
    tags.delete(context, {"ResourceArn": arn.upper().replace("ARN:AWS", "arn:aws"), "TagKeys": ["a"]})
    assert tags.list_tags(context, {"ResourceArn": arn}) == {"Tags": [{"Key": "b", "Value": "2"}]}
    twice = [{"Key": "a", "Value": "1"}] * 2
    refused("ValidationException", "used twice", make, context, kind, "other", Tags=twice)
    many = [{"Key": f"k{n}", "Value": ""} for n in range(50)]
    refused("ValidationException", "at most 50", tags.add, context, {"ResourceArn": arn, "Tags": many})
    module.delete(context, {member: "Name"})
    for operation, more in ((tags.add, {"Tags": []}), (tags.list_tags, {}), (tags.delete, {"TagKeys": []})):
        refused("ValidationException", "does not exist", operation, context, {"ResourceArn": arn, **more})
    make(context, kind)
    assert tags.list_tags(context, {"ResourceArn": arn}) == {"Tags": []}


@each_kind
@pytest.mark.parametrize("by", ["Name", "CreationTime"])
def test_lists_come_in_pages_newest_first(context, kind, by):
    _, member, _ = KINDS[kind]
    names = ["b", "A", "d", "C"]
    times = {}
    for name in names:
        make(context, kind, name)
        times[name] = told(context, kind, name)["CreationTime"]
    call = {Experiment: experiments.list_experiments, Trial: trials.list_trials}.get(
        kind, trial_components.list_components
    )
    [kept] = [k for k in call(context, {}) if k.endswith("Summaries")]

    def listed(**given):
        seen, following = [], {}
        while following is not None:
            answer = call(context, {**given, **following})
            seen += [one[member] for one in answer[kept]]
            following = answer["NextToken"] and {"NextToken": answer["NextToken"]}
        return [name for name in seen if name != "Parent"]

    order = {"Name": ["A", "b", "C", "d"], "CreationTime": names}[by]
    assert listed(SortBy=by, SortOrder="Ascending", MaxResults=1) == order
    assert listed(SortBy=by, MaxResults=3) == order[::-1]
    assert listed() == names[::-1]
    span = {"CreatedAfter": times["A"], "CreatedBefore": times["d"]}
    assert sorted(listed(SortBy=by, **span)) == ["A", "d"]
    others = {"Name": "WzEsICJhIl0=", "CreationTime": "WyJhIiwgImEiXQ=="}[by]  # [1, "a"] and ["a", "a"]
    refused("ValidationException", "NextToken", call, context, {"SortBy": by, "NextToken": others})


def test_experiments_hold_trials_and_these_hold_components(context):
    make(context, Trial, "t1", MetadataProperties={"CommitId": "c"})
    make(context, Trial, "t2")
    make(context, Component, "c1")
    make(context, Component, "c2")
    pair = {"TrialComponentName": "C1", "TrialName": "T1"}
    both = {"TrialComponentArn": arn_of(context, Component, "c1"), "TrialArn": arn_of(context, Trial, "t1")}
    assert trials.associate(context, pair) == trials.associate(context, pair) == both
    trials.associate(context, {"TrialComponentName": "c2", "TrialName": "t1"})
    trials.associate(context, {"TrialComponentName": "c1", "TrialName": "t2"})
    assert told(context, Trial, "T1")["ExperimentName"] == "Parent"
    assert told(context, Trial, "T1")["MetadataProperties"] == {"CommitId": "c"}

    def listed(call, member, **given):
        [found] = [
            v
            for k, v in call(context, {"SortBy": "Name", "SortOrder": "Ascending", **given}).items()
            if k != "NextToken"
        ]
        return [one[member] for one in found]

    assert listed(trials.list_trials, "TrialName", ExperimentName="PARENT") == ["t1", "t2"]
    assert listed(trials.list_trials, "TrialName", TrialComponentName="c2") == ["t1"]
    assert listed(trial_components.list_components, "TrialComponentName", TrialName="T1") == ["c1", "c2"]
    assert listed(trial_components.list_components, "TrialComponentName", ExperimentName="parent") == [
        "c1",
        "c2",
    ]
    for call, member in (
        (trials.list_trials, "ExperimentName"),
        (trials.list_trials, "TrialComponentName"),
        (trial_components.list_components, "TrialName"),
        (trial_components.list_components, "ExperimentName"),
    ):
        refused("ResourceNotFound", "does not exist", call, context, {member: "none"})
    two = {"TrialName": "t1", "ExperimentName": "Parent"}
    refused("ValidationException", "exclude each other", trial_components.list_components, context, two)
    for kind, name, parts in (
        (Experiment, "parent", "trials"),
        (Trial, "t1", "trial components"),
        (Component, "c1", "trials"),
    ):
        module, member, _ = KINDS[kind]
        words = f"'{arn_of(context, kind, name)}' is linked to 1 or more {parts} and cannot be deleted."
        refused("ValidationException", words, module.delete, context, {member: name})
    assert trials.disassociate(context, pair) == trials.disassociate(context, pair) == both
    for missing in (
        {"TrialComponentName": "none", "TrialName": "t1"},
        {"TrialComponentName": "c1", "TrialName": "none"},
    ):
        for operation in (trials.associate, trials.disassociate):
            refused("ResourceNotFound", "/none' does not exist", operation, context, missing)
    refused(
        "ResourceNotFound",
        "Experiment '.*/none' does not exist",
        make,
        context,
        Trial,
        "t",
        ExperimentName="none",
    )


def test_a_component_keeps_all_that_is_given(context):
    given = {
        "DisplayName": "Shown",
        "Status": {"PrimaryStatus": "InProgress", "Message": "half"},
        "StartTime": 5,
        "EndTime": 7,
        "Parameters": {"rate": {"NumberValue": 0.1}, "kind": {"StringValue": "big"}},
        "InputArtifacts": {"train": {"Value": "s3://b/k", "MediaType": "text/csv"}},
        "OutputArtifacts": {"model": {"Value": "s3://b/m"}},
        "MetadataProperties": {"Repository": "r"},
    }
    make(context, Component, **given)
    assert {k: v for k, v in told(context, Component).items() if k in given} == given
    assert told(context, Component, arn_of(context, Component, "Name")) == told(context, Component)
    [summary] = trial_components.list_components(context, {})["TrialComponentSummaries"]
    assert summary["Status"] == given["Status"]
    assert (summary["StartTime"], summary["EndTime"], summary["CreatedBy"]) == (5, 7, BY_ME)


def test_an_update_of_a_component_adds_replaces_and_removes_by_name(context):
    make(
        context,
        Component,
        Parameters={"a": {"NumberValue": 1.0}, "b": {"NumberValue": 2.0}},
        Status={"PrimaryStatus": "InProgress", "Message": "m"},
    )
    trial_components.update(
        context,
        {
            "TrialComponentName": "Name",
            "Parameters": {"b": {"StringValue": "x"}, "c": {"NumberValue": 3.0}},
            "ParametersToRemove": ["a", "none"],
            "InputArtifacts": {"i": {"Value": "v"}},
            "OutputArtifactsToRemove": ["none"],
            "Status": {"PrimaryStatus": "Completed"},
            "EndTime": 9,
        },
    )
    found = told(context, Component)
    assert found["Parameters"] == {"b": {"StringValue": "x"}, "c": {"NumberValue": 3.0}}
    assert found["InputArtifacts"] == {"i": {"Value": "v"}}
    assert (found["Status"], found["EndTime"]) == ({"PrimaryStatus": "Completed", "Message": None}, 9)


@pytest.mark.parametrize(
    ("member", "value", "most"),
    [
        ("Parameters", {"NumberValue": 1.0}, 300),
        ("InputArtifacts", {"Value": "v"}, 60),
        ("OutputArtifacts", {"Value": "v"}, 60),
    ],
)
def test_updates_together_can_not_exceed_what_a_component_can_have(context, member, value, most):
    make(context, Component, **{member: {f"k{n}": value for n in range(most)}})
    one_more = {"TrialComponentName": "Name", member: {"k": value}}
    refused(
        "ValidationException",
        f"would have {most + 1} {member}; it can have {most}",
        trial_components.update,
        context,
        one_more,
    )
    assert len(told(context, Component)[member]) == most


@pytest.mark.parametrize("value", [{}, {"StringValue": "x", "NumberValue": 1.0}])
def test_a_parameter_is_a_number_or_a_text(context, value):
    words = "parameters.p: give exactly one of StringValue and NumberValue"
    refused("ValidationException", words, make, context, Component, Parameters={"p": value})


def test_a_job_can_be_part_only_of_what_is_there(context):
    make(context, Trial, "t")
    make_parents(context, {"ExperimentName": "Other"})
    for config, words in (
        ({"ExperimentName": "none"}, "^Experiment '.*:experiment/none' does not exist.$"),
        (
            {"ExperimentName": "none", "TrialName": "none"},
            "^Experiment '.*:experiment/none' does not exist.$",
        ),
        (
            {"ExperimentName": "Parent", "TrialName": "none"},
            "^Trial '.*:experiment-trial/none' does not exist.$",
        ),
        ({"TrialName": "none"}, "^Trial '.*:experiment-trial/none' does not exist.$"),
        (
            {"ExperimentName": "Other", "TrialName": "t"},
            "The trial t is not in the experiment Other, but in parent",
        ),
    ):
        refused("ResourceNotFound", words, create_job, context, request(ExperimentConfig=config))
    assert context.store.job("job") is None
    create_job(context, request(ExperimentConfig={"TrialName": "T", "ExperimentName": "PARENT"}))
    [found] = trial_components.list_components(context, {"TrialName": "t"})["TrialComponentSummaries"]
    assert found["TrialComponentSource"] == {
        "SourceArn": context.job_arn("job"),
        "SourceType": "SageMakerProcessingJob",
    }


def test_a_job_without_a_trial_gets_a_new_one_of_its_experiment(context):
    create_part(context, "Job", {"ExperimentName": "Parent"})
    [trial] = trials.list_trials(context, {"ExperimentName": "Parent"})["TrialSummaries"]
    assert trial["TrialName"] == f"{context.store.job('Job').uid}-aws-trial"
    [found] = trial_components.list_components(context, {"TrialName": trial["TrialName"]})[
        "TrialComponentSummaries"
    ]
    assert found["TrialComponentName"] == "job-aws-processing-job"


def test_a_jobs_component_is_found_by_the_jobs_arn_in_lower_case(context):
    create_part(context, "Job", {"ExperimentName": "Parent"})
    source = {"SourceArn": context.job_arn("Job").lower()}
    [found] = trial_components.list_components(context, source)["TrialComponentSummaries"]
    assert found["Status"] == {"PrimaryStatus": "InProgress", "Message": None}
    end(context, "Job")
    [found] = trial_components.list_components(context, source)["TrialComponentSummaries"]
    assert found["Status"]["PrimaryStatus"] == "Completed"
    assert found["EndTime"] == context.store.job("Job").ended_at
    assert told(context, Component, "job-aws-processing-job")["Sources"] == [found["TrialComponentSource"]]
    assert trial_components.list_components(context, {"SourceArn": ""})["TrialComponentSummaries"] == []


def test_a_component_in_the_way_refuses_a_job_in_words_of_its_own(context):
    make(context, Component, "job-aws-processing-job")
    words = "The trial component job-aws-processing-job of another source is there already. Delete it"
    refused("ResourceInUse", words, create_job, context, request(ExperimentConfig={"RunName": "r"}))
    assert context.store.job("job") is None
    trial_components.delete(context, {"TrialComponentName": "job-aws-processing-job"})
    create_job(context, request(ExperimentConfig={"RunName": "r"}))
    refused(
        "ResourceInUse",
        "a job with this name already exists",
        create_job,
        context,
        request(ExperimentConfig={"RunName": "r"}),
    )


def test_a_component_can_be_deleted_while_its_job_goes_on(context):
    component = create_part(context, "job", {"RunName": "r"})
    trial_components.delete(context, {"TrialComponentName": component})
    end(context)
    assert processing.describe(context, {"ProcessingJobName": "job"})["ProcessingJobStatus"] == "Completed"
    refused(
        "ResourceNotFound",
        "does not exist",
        trial_components.describe,
        context,
        {"TrialComponentName": component},
    )
