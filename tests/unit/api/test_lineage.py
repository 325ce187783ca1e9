"""Artifacts, associations and QueryLineage, called as functions over a real store."""

import pytest
from jobs_on_record import an_input, an_output, create_part, end, request
from jobs_on_record import create as create_job
from sqlalchemy import event
from wire_client import WireClient

from penstock.api import artifacts, associations, experiments, lineage, processing, tags, trial_components
from penstock.api.entities import arn_of
from penstock.job.experiments import Component, Experiment
from penstock.wire.faults import Fault


def artifact(context, uri, kind="DataSet", **more):
    return artifacts.create(context, {"Source": {"SourceUri": uri}, "ArtifactType": kind, **more})[
        "ArtifactArn"
    ]


def component(context, name):
    return trial_components.create(context, {"TrialComponentName": name})["TrialComponentArn"]


def associate(context, source, destination, kind="ContributedTo"):
    pair = {"SourceArn": source, "DestinationArn": destination}
    assert associations.add(context, {**pair, "AssociationType": kind}) == pair
    return pair


def listed(context, **given):
    found = associations.list_associations(context, {"SortOrder": "Ascending", **given})[
        "AssociationSummaries"
    ]
    return [(one["SourceArn"], one["DestinationArn"]) for one in found]


def refused(code, words, call, context, **params):
    with pytest.raises(Fault, match=words) as caught:
        call(context, params)
    assert caught.value.code == code


def test_an_artifact_is_what_its_source_is(context):
    ids = [{"SourceIdType": "S3ETag", "Value": "e"}]
    source = {"SourceUri": "s3://b/k", "SourceTypes": ids}
    given = {"ArtifactName": "n", "Properties": {"a": "1", "b": "2"}, "MetadataProperties": {"CommitId": "c"}}
    arn = artifacts.create(context, {"Source": source, "ArtifactType": "t", **given})["ArtifactArn"]
    found = artifacts.describe(context, {"ArtifactArn": arn.upper().replace("ARN:AWS", "arn:aws")})
    assert {name: found[name] for name in given} == given
    assert (found["ArtifactArn"], found["Source"], found["ArtifactType"]) == (arn, source, "t")
    assert found["CreatedBy"]["IamIdentity"]["Arn"].endswith("/penstock")
    refused(
        "ValidationException",
        "already exists",
        artifacts.create,
        context,
        Source=source,
        ArtifactType="other",
    )
    plain = artifact(context, "s3://b/k")
    assert plain != arn
    artifacts.update(
        context,
        {
            "ArtifactArn": arn,
            "ArtifactName": "m",
            "Properties": {"b": "3", "c": "4"},
            "PropertiesToRemove": ["c"],
        },
    )
    changed = artifacts.describe(context, {"ArtifactArn": arn})
    assert (changed["ArtifactName"], changed["Properties"]) == ("m", {"b": "3"})
    assert changed["LastModifiedTime"] > found["LastModifiedTime"]
    tags.add(context, {"ResourceArn": arn, "Tags": [{"Key": "k", "Value": "v"}]})
    assert artifacts.delete(context, {"Source": source}) == {"ArtifactArn": arn}
    assert artifacts.delete(context, {"ArtifactArn": plain}) == {"ArtifactArn": plain}
    for call in (artifacts.describe, artifacts.update, artifacts.delete):
        refused("ResourceNotFound", f"Artifact '{arn}' does not exist", call, context, ArtifactArn=arn)
        refused("ResourceNotFound", "does not exist", call, context, ArtifactArn=arn.replace("1111", "2222"))
    refused("ValidationException", "exactly one", artifacts.delete, context)
    refused("ValidationException", "exactly one", artifacts.delete, context, ArtifactArn=arn, Source=source)


def test_artifacts_are_listed_by_source_and_type(context):
    long = "s3://b/" + "🐟" * 2000
    arns = [artifact(context, uri, kind) for uri, kind in (("s3://b/1", "a"), (long, "b"), ("s3://b/3", "a"))]

    def listed(**given):
        seen, following = [], {}
        while following is not None:
            answer = artifacts.list_artifacts(context, {**given, **following, "MaxResults": 1})
            seen += [one["ArtifactArn"] for one in answer["ArtifactSummaries"]]
            following = answer["NextToken"] and {"NextToken": answer["NextToken"]}
        return seen

    assert listed() == arns[::-1]
    assert listed(ArtifactType="a", SortOrder="Ascending") == [arns[0], arns[2]]
    assert listed(SourceUri=long) == [arns[1]]
    assert listed(SourceUri="s3://b") == []


def test_associations_have_an_artifact_at_one_end_and_are_there_once(context):
    data, model, step = (
        artifact(context, "s3://b/d"),
        artifact(context, "s3://b/m", "Model", ArtifactName="M"),
        component(context, "Step"),
    )
    experiments.create(context, {"ExperimentName": "E"})
    pair = associate(context, data, step)
    associate(context, step, model, "Produced")
    refused("ValidationException", "already exists", associations.add, context, **pair)
    refused(
        "ValidationException",
        "needs an artifact",
        associations.add,
        context,
        SourceArn=step,
        DestinationArn=arn_of(context, Experiment, "e"),
    )
    refused("ValidationException", "itself", associations.add, context, SourceArn=data, DestinationArn=data)
    none = arn_of(context, Component, "none")
    refused(
        "ResourceNotFound", "does not exist", associations.add, context, SourceArn=data, DestinationArn=none
    )
    refused(
        "ResourceNotFound",
        "does not exist",
        associations.add,
        context,
        SourceArn=none.replace("experiment-trial-component", "action"),
        DestinationArn=data,
    )
    assert listed(context) == [(data, step), (step, model)]
    assert listed(context, SourceArn=step.upper().replace("ARN:AWS", "arn:aws")) == [(step, model)]
    assert listed(context, DestinationArn=step) == [(data, step)]
    assert (
        listed(context, SourceType="DataSet")
        == listed(context, AssociationType="ContributedTo")
        == [(data, step)]
    )
    assert listed(context, DestinationType="Model") == [(step, model)]
    first, second = associations.list_associations(context, {"SortOrder": "Ascending"})[
        "AssociationSummaries"
    ]
    assert (first["SourceName"], first["DestinationName"], first["DestinationType"]) == (None, "Step", None)
    assert (second["DestinationName"], second["DestinationType"], second["AssociationType"]) == (
        "M",
        "Model",
        "Produced",
    )
    assert (
        listed(context, CreatedAfter=second["CreationTime"])
        == listed(context, CreatedBefore=second["CreationTime"])[1:]
    )
    refused(
        "ValidationException", "linked to 1 or more associations", artifacts.delete, context, ArtifactArn=data
    )
    assert associations.delete(context, pair) == pair
    refused("ResourceNotFound", "does not exist", associations.delete, context, **pair)
    artifacts.delete(context, {"ArtifactArn": data})
    trial_components.delete(context, {"TrialComponentName": "step"})
    assert listed(context) == []


@pytest.mark.parametrize(
    "by", ["SourceArn", "DestinationArn", "SourceType", "DestinationType", "CreationTime"]
)
def test_pages_of_associations_show_each_once_in_order(context, by):
    steps = [component(context, f"c{n}") for n in range(3)]
    for n in range(4):
        one = artifact(context, f"s3://b/{n}", "ab"[n % 2])
        for step in steps[: n + 1]:
            associate(context, *((one, step) if n % 2 else (step, one)))
    for order in ("Ascending", "Descending"):
        asked = {"SortBy": by, "SortOrder": order}
        whole = associations.list_associations(context, {**asked, "MaxResults": 100})["AssociationSummaries"]
        keys = [(one[by] or "", one["SourceArn"], one["DestinationArn"]) for one in whole]
        assert keys == sorted(keys, reverse=order == "Descending")
        seen, following = [], {}
        while following is not None:
            answer = associations.list_associations(context, {**asked, **following, "MaxResults": 2})
            seen += answer["AssociationSummaries"]
            following = answer["NextToken"] and {"NextToken": answer["NextToken"]}
        assert seen == whole
        assert len(whole) == 9
    refused(
        "ValidationException",
        "NextToken",
        associations.list_associations,
        context,
        SortBy=by,
        NextToken="WzFd",
    )


def test_a_job_of_an_experiment_leaves_its_lineage(context):
    outputs = {"Outputs": [an_output()]}
    create_part(
        context, "Job", {"RunName": "r"}, ProcessingInputs=[an_input()], ProcessingOutputConfig=outputs
    )
    create_job(context, request("plain", ProcessingInputs=[an_input()]))
    step = arn_of(context, Component, "job-aws-processing-job")
    found = associations.list_associations(context, {})["AssociationSummaries"]
    uris = {
        one["ArtifactArn"]: one["Source"]["SourceUri"]
        for one in artifacts.list_artifacts(context, {})["ArtifactSummaries"]
    }
    told = {
        (
            uris.get(one["SourceArn"], one["SourceArn"]),
            uris.get(one["DestinationArn"], one["DestinationArn"]),
            one["AssociationType"],
            one["SourceType"],
            one["DestinationType"],
        )
        for one in found
    }
    assert told == {
        ("python:3.11", step, "ContributedTo", "Image", "SageMakerProcessingJob"),
        ("s3://b/k", step, "ContributedTo", "DataSet", "SageMakerProcessingJob"),
        (step, "s3://b/o", "Produced", "SageMakerProcessingJob", "DataSet"),
    }
    chained = {**an_input(), "S3Input": {**an_input()["S3Input"], "S3Uri": "s3://b/o"}}
    create_part(context, "next", {"RunName": "r"}, ProcessingInputs=[chained])
    assert (
        len(artifacts.list_artifacts(context, {})["ArtifactSummaries"]) == 3
    )  # the same sources are there once
    after = arn_of(context, Component, "next-aws-processing-job")
    reached = lineage.query(context, {"StartArns": [step], "Direction": "Descendants"})["Vertices"]
    assert [(v["LineageType"], v["Type"]) for v in reached] == [
        ("Artifact", "DataSet"),
        ("TrialComponent", "SageMakerProcessingJob"),
    ]
    assert reached[1]["Arn"] == after
    end(context, "Job")
    processing.delete(context, {"ProcessingJobName": "Job"})
    create_part(context, "Job", {"RunName": "r"})
    assert listed(context, DestinationArn=step) == [
        (a, step) for a, uri in uris.items() if uri == "python:3.11"
    ]


def test_lineage_is_walked_by_direction_depth_and_filters(context):
    raw, clean, model, other = (
        artifact(context, f"s3://b/{n}", kind, Properties={"n": n})
        for n, kind in (("raw", "DataSet"), ("clean", "DataSet"), ("model", "Model"), ("other", "DataSet"))
    )
    prepare, train = component(context, "prepare"), component(context, "train")
    for pair in (
        (raw, prepare),
        (prepare, clean),
        (clean, train),
        (other, train),
        (train, model),
        (model, prepare),
    ):
        associate(context, *pair)  # the last one closes a circle

    def arns(start, **given):
        return [v["Arn"] for v in lineage.query(context, {"StartArns": [start], **given})["Vertices"]]

    assert set(arns(clean)) == {raw, prepare, train, model, other}
    assert arns(clean, Direction="Descendants", MaxDepth=2) == [train, model]
    assert arns(clean, Direction="Descendants") == [train, model, prepare]
    assert set(arns(clean, Direction="Ascendants", MaxDepth=1)) == {prepare}
    assert arns(clean, Filters={"LineageTypes": ["TrialComponent"]}, Direction="Descendants") == [
        train,
        prepare,
    ]
    assert (
        arns(raw, Filters={"Types": ["Model"]})
        == arns(raw, Filters={"Properties": {"n": "model"}})
        == [model]
    )
    at = artifacts.describe(context, {"ArtifactArn": clean})["CreationTime"]
    assert set(arns(train, Filters={"CreatedBefore": at})) == {raw, clean}
    assert set(arns(train, Filters={"ModifiedAfter": at + 1})) == {model, other, prepare}
    seen, following = [], {}
    while following is not None:
        answer = lineage.query(context, {"StartArns": [clean], "MaxResults": 2, **following})
        seen += [v["Arn"] for v in answer["Vertices"]]
        following = answer["NextToken"] and {"NextToken": answer["NextToken"]}
    assert seen == arns(clean)
    way = lineage.query(
        context,
        {
            "StartArns": [raw],
            "Direction": "Descendants",
            "IncludeEdges": True,
            "Filters": {"Types": ["Model"]},
        },
    )
    assert [v["Arn"] for v in way["Vertices"]] == [prepare, clean, train, model]
    assert {(e["SourceArn"], e["DestinationArn"]) for e in way["Edges"]} >= {
        (raw, prepare),
        (prepare, clean),
        (clean, train),
        (train, model),
    }
    assert lineage.query(context, {"StartArns": [raw]})["Edges"] == []
    for none in ([], [arn_of(context, Component, "none")]):
        code = "ResourceNotFound" if none else "ValidationException"
        refused(code, "does not exist|needs one ARN", lineage.query, context, StartArns=none)
    for name in ("MaxDepth", "MaxResults"):
        refused(
            "ValidationException",
            f"{name} must be 1",
            lineage.query,
            context,
            **{"StartArns": [raw], name: 0},
        )
    refused("ValidationException", "NextToken", lineage.query, context, StartArns=[raw], NextToken="WzFd")


@pytest.fixture
def asked(context):
    """The queries that the database is asked, as they come."""
    said = []

    def note(_connection, _cursor, statement, *_):
        if statement.startswith("SELECT"):
            said.append(statement)

    event.listen(context.store._engine, "before_cursor_execute", note)
    return said


def test_lineage_is_walked_step_by_step_as_far_as_a_page_needs(context, asked):
    """With a hub at its beginning and a chain behind it: what a query costs follows from its steps, not its size."""
    image = artifact(context, "image")
    steps = [component(context, f"c{n:03}") for n in range(120)]
    for step in steps:
        associate(context, image, step)
    last = steps[-1]
    for n in range(4):
        data, step = artifact(context, f"s3://b/{n}"), component(context, f"next-{n}")
        associate(context, last, data, "Produced")
        associate(context, data, step)
        last = step

    def told(**given):
        asked.clear()
        answer = lineage.query(context, {"StartArns": [image], **given})
        return [v["Arn"] for v in answer["Vertices"]], answer["NextToken"], len(asked)

    page, more, cost = told()
    assert page == sorted(steps)[:50]
    assert cost <= 1 + 3
    assert told(MaxDepth=9)[0] == page
    _, third, _ = told(NextToken=told(NextToken=more)[1])
    assert third is None
    everything, _, cost = told(Filters={"LineageTypes": ["Artifact"]}, MaxDepth=10)
    assert len(everything) == 4
    assert cost <= 1 + 10 * 3
    edges = lineage.query(context, {"StartArns": [image], "IncludeEdges": True, "MaxResults": 10})
    assert [e["DestinationArn"] for e in edges["Edges"]] == [v["Arn"] for v in edges["Vertices"]]


def test_pages_with_edges_are_those_of_a_single_walk(context):
    """Also where things of the same distance are associated with each other."""
    start = artifact(context, "s3://b/start")
    steps = [component(context, f"c{n}") for n in range(6)]
    data = [artifact(context, f"s3://b/{n}") for n in range(6)]
    for n in range(6):
        associate(context, start, steps[n])
        associate(context, steps[n], data[n])
        associate(context, data[n], steps[(n + 1) % 6])
    for filters in ({}, {"Types": ["DataSet"]}):
        asked = {"StartArns": [start], "IncludeEdges": True, "Filters": filters}
        whole = lineage.query(context, asked)
        vertices, edges, following = [], [], {}
        while following is not None:
            answer = lineage.query(context, {**asked, "MaxResults": 1, **following})
            vertices += answer["Vertices"]
            edges += answer["Edges"]
            following = answer["NextToken"] and {"NextToken": answer["NextToken"]}
        assert vertices == whole["Vertices"]
        assert len(whole["Edges"]) == 18
        assert sorted(map(str, edges)) == sorted(map(str, whole["Edges"]))


@pytest.fixture
def client(tmp_path):
    made = WireClient(tmp_path)
    yield made
    made.close()


def test_an_artifact_may_be_named_as_its_file_or_its_chart_is(client):
    """smexperiments and SageMaker's SDK name it so, which the service model refuses."""
    for name in ("made.csv", "Confusion Matrix", "Ä" * 120):
        source = {"SourceUri": f"s3://b/{name}"}
        made = client.call("CreateArtifact", {"ArtifactName": name, "Source": source, "ArtifactType": "t"})
        assert made.status == 200, made.text
        told = client.call("DescribeArtifact", {"ArtifactArn": made.json["ArtifactArn"]}).json
        assert told["ArtifactName"] == name
        other = {"ArtifactArn": made.json["ArtifactArn"], "ArtifactName": f"{name[:9]}_2"}
        assert client.call("UpdateArtifact", other).status == 200
    for name in ("", "x" * 121, "a\nb", "a\0b"):
        source = {"SourceUri": "s3://b/refused"}
        made = client.call("CreateArtifact", {"ArtifactName": name, "Source": source, "ArtifactType": "t"})
        assert made.json["__type"] == "ValidationException", name
