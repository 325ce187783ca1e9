"""Rules that AWS's documents state and its model does not hold, each with a request that breaks it alone."""

import pytest
from failure_table import assert_told

from penstock.api.checks import broken_rules, broken_tags
from penstock.api.local_storage import LOCAL_STORAGE
from penstock.wire import model

ATHENA = {"Catalog": "c", "Database": "d", "QueryString": "q", "OutputS3Uri": "s3://b", "OutputFormat": "ORC"}
REDSHIFT = {"ClusterId": "c", "Database": "d", "DbUser": "u", "QueryString": "q", "OutputFormat": "CSV"}
PATH = "/opt/ml/processing/"


def request(**changes):
    return {
        "ProcessingJobName": "job",
        "ProcessingResources": {"ClusterConfig": cluster()},
        "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["python3"]},
        "RoleArn": "arn:aws:iam::111122223333:role/r",
        **changes,
    }


def cluster(**changes):
    return {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30, **changes}


def resources(**changes):
    kept = {k: v for k, v in cluster(**changes).items() if v is not None}
    return {"ProcessingResources": {"ClusterConfig": kept}}


def preferences(*given, **changes):
    return resources(InstanceType=None, InstancePreferences=list(given), **changes)


def inputs(*given):
    return {"ProcessingInputs": [{"InputName": f"in{n}", **one} for n, one in enumerate(given)]}


def s3(path=PATH + "in", **more):
    given = {"S3Uri": "s3://b/k", "S3DataType": "S3Prefix", "S3InputMode": "File", "LocalPath": path, **more}
    return {"S3Input": {k: v for k, v in given.items() if v is not None}}


def dataset(path=PATH + "in", **more):
    return {"DatasetDefinition": {**({"LocalPath": path} if path else {}), **more}}


def outputs(*given):
    listed = [{"OutputName": f"out{n}", **one} for n, one in enumerate(given)]
    return {"ProcessingOutputConfig": {"Outputs": listed}}


def upload(path=PATH + "out"):
    return {
        "S3Output": {
            "S3Uri": "s3://b/o",
            "S3UploadMode": "EndOfJob",
            **({"LocalPath": path} if path else {}),
        }
    }


M5, C5 = {"InstanceType": "ml.m5.large"}, {"InstanceType": "ml.c5.xlarge"}
FEATURES = {"FeatureStoreOutput": {"FeatureGroupName": "g"}}

BROKEN = [
    # Local storage
    (resources(InstanceType="ml.g5.xlarge", VolumeSizeInGB=251), "VolumeSizeInGB is 251, and ml.g5.xlarge has 250 GB"),
    (resources(InstanceType="ml.r5d.large", VolumeKmsKeyId="k"), "ml.r5d.large has local storage, for which no VolumeKmsKeyId"),
    (resources(InstanceType="ml.g7.2xlarge", VolumeKmsKeyId="k"), "ml.g7.2xlarge has local storage"),
    (preferences(M5, {"InstanceType": "ml.g4dn.xlarge"}, VolumeSizeInGB=126), "ml.g4dn.xlarge has 125 GB"),
    # InstancePreferences
    (resources(InstancePreferences=[M5]), "InstanceType and InstancePreferences exclude each other"),
    (resources(InstanceType=None), "give InstanceType or InstancePreferences"),
    (preferences(M5, M5), "ml.m5.large is named twice"),
    (preferences({**M5, "InstanceCount": 1}), "give InstanceCount either"),
    (preferences({**M5, "InstanceCount": 1}, C5, InstanceCount=None), "give InstanceCount either"),
    (preferences({**M5, "InstanceCount": 1}, C5), "give InstanceCount either"),
    (preferences(M5, C5, InstanceCount=None), "give InstanceCount either"),
    (resources(SelectedInstanceType="ml.m5.large"), "SelectedInstanceType is set by the service"),
    (resources(SelectedInstanceCount=1), "SelectedInstanceCount is set by the service"),
    # Inputs
    (inputs({}), "exactly one of S3Input and DatasetDefinition"),
    (inputs({**s3(), **dataset(AthenaDatasetDefinition=ATHENA)}), "exactly one of S3Input and DatasetDefinition"),
    (inputs(dataset()), "exactly one of AthenaDatasetDefinition and RedshiftDatasetDefinition"),
    (
        inputs(dataset(AthenaDatasetDefinition=ATHENA, RedshiftDatasetDefinition=REDSHIFT)),
        "exactly one of AthenaDatasetDefinition and RedshiftDatasetDefinition",
    ),
    (inputs(dataset(path=None, AthenaDatasetDefinition=ATHENA)), "needs a LocalPath"),
    (inputs(s3(path=None)), "needs a LocalPath"),
    (inputs(s3(S3InputMode=None)), "needs an S3InputMode"),
    (inputs(s3(S3CompressionType="Gzip")), "Gzip needs the S3InputMode Pipe"),
    (inputs({**s3(S3InputMode=None, S3CompressionType="Gzip"), "AppManaged": True}), "Gzip needs the S3InputMode Pipe"),
    (inputs({**s3(path="/data"), "AppManaged": True}), "is not a folder below"),
    (inputs(s3(path="opt/ml/processing/in")), "is not a folder below"),
    (inputs(s3(path=PATH)), "is not a folder below"),
    (inputs(s3(), s3()), "have the same LocalPath"),
    (inputs(s3(), {**s3(PATH + "b"), "InputName": "in0"}), "the InputName 'in0' is used twice"),
    # Outputs
    (outputs({}), "exactly one of S3Output and FeatureStoreOutput"),
    (outputs({**upload(), **FEATURES, "AppManaged": True}), "exactly one of S3Output and FeatureStoreOutput"),
    (outputs(FEATURES), "FeatureStoreOutput needs AppManaged=true"),
    (outputs(upload(path=None)), "needs a LocalPath"),
    (outputs(upload("/opt/ml/output/data")), "is not a folder below"),
    (outputs(upload(), {**upload(PATH + "b"), "OutputName": "out0"}), "the OutputName 'out0' is used twice"),
    ({**inputs(s3()), **outputs(upload(PATH + "in"))}, "have the same LocalPath"),
    ({**inputs(s3()), **outputs(upload(PATH + "in/deeper"))}, "overlaps"),
    # Application and tags
    ({"AppSpecification": {"ImageUri": "nginx:1", "ContainerEntrypoint": ["x"]}}, "Invalid image URI nginx:1. Please provide"),
    ({"AppSpecification": {"ImageUri": "python:3.11"}}, "give ContainerEntrypoint"),
    ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}, "the key 'a' is used twice"),
    ({"Tags": [{"Key": "aws:mine", "Value": ""}]}, "begins with aws:"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), BROKEN)
def test_each_rule_is_told_alone(changes, words):
    [told] = broken_rules(request(**changes))
    assert words in told


@pytest.mark.parametrize(
    "changes",
    [
        {},
        resources(VolumeKmsKeyId="k", VolumeSizeInGB=16384),
        resources(InstanceType="ml.g5.xlarge", VolumeSizeInGB=250),
        resources(InstanceType="ml.g7e.2xlarge", VolumeSizeInGB=9999),
        preferences(M5, C5),
        preferences({**M5, "InstanceCount": 1}, {**C5, "InstanceCount": 2}, InstanceCount=None),
        inputs(dataset(AthenaDatasetDefinition=ATHENA)),
        inputs({**dataset(path=None, RedshiftDatasetDefinition=REDSHIFT), "AppManaged": True}),
        inputs({**s3(path=None, S3InputMode=None), "AppManaged": True}),
        inputs(s3(S3InputMode="Pipe", S3CompressionType="Gzip")),
        inputs(s3(), s3(PATH + "in/deeper")),
        outputs({**FEATURES, "AppManaged": True}),
        outputs({**upload(path=None), "AppManaged": True}),
        {"Tags": [{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}]},
    ],
)
def test_what_keeps_all_rules_passes(changes):
    assert broken_rules(request(**changes)) == []


def test_all_broken_rules_are_told():
    given = {
        **resources(InstanceType="ml.g5.xlarge", VolumeSizeInGB=999, VolumeKmsKeyId="k"),
        **inputs({}, {}),
    }
    assert len(broken_rules(request(**given))) == 4


def test_tags_are_looked_at_by_themselves():
    assert list(broken_tags([{"Key": "a", "Value": "1"}])) == []
    assert len(list(broken_tags([{"Key": "AWS:x", "Value": ""}] * 2))) == 3


def test_local_storage_speaks_of_types_that_exist():
    types = model.service("sagemaker").shape_for("ProcessingInstanceType").metadata["enum"]
    assert set(LOCAL_STORAGE) <= set(types)
    families = {name.split(".")[1] for name in LOCAL_STORAGE}
    assert {t for t in types if t.split(".")[1] in families} == set(LOCAL_STORAGE)


def test_a_program_that_no_kernel_would_start_is_refused_with_its_size():
    application = {
        "ImageUri": "python:3.11",
        "ContainerEntrypoint": ["python3"],
        "ContainerArguments": ["x" * 30_000] * 60,
    }
    [told] = broken_rules(request(AppSpecification=application))
    assert_told("arguments and variables that no program can be given", told)


def test_what_says_where_metrics_are_is_sound_or_refused():
    fine = {
        "PENSTOCK_METRIC_DEFINITIONS": '[{"Name": "a", "Regex": "a=(.*)"}]',
        "PENSTOCK_METRICS_FILE": "q.json",
    }
    assert broken_rules(request(Environment=fine)) == []
    bad = {"PENSTOCK_METRIC_DEFINITIONS_2": "[", "PENSTOCK_METRICS_FILE": "../q.json"}
    file, definitions = broken_rules(request(Environment=bad))
    assert "environment.PENSTOCK_METRICS_FILE: '../q.json' is no path of a file within an output" in file
    assert "environment.PENSTOCK_METRIC_DEFINITIONS_2: Expecting value" in definitions


class TestContainers:
    """Of images that the catalogue does not know."""

    def broken(self, image, problem=None, runtime="auto", tag=None, environment=None, **application):
        asked = request()
        asked["Environment"] = environment or {}
        asked["AppSpecification"] = {"ImageUri": image, **application}
        asked["Tags"] = [{"Key": "penstock:runtime", "Value": tag}] if tag else []
        return broken_rules(asked, (), runtime, lambda: problem)

    def test_one_needs_neither_entrypoint_nor_arguments(self):
        assert self.broken("registry/mine:1") == []

    def test_without_an_engine_it_is_refused_with_both_ways_out(self):
        said = " ".join(self.broken("registry/sagemaker-xgbost:1", "There is no engine. To have one: get it"))
        assert "did you mean 'sagemaker-xgboost'?" in said
        assert "To run the image itself: There is no engine. To have one: get it" in said

    def test_a_known_image_in_a_container_without_an_engine(self):
        said = self.broken("python:3.11", "No engine.", tag="container", ContainerEntrypoint=["x"])
        assert said == ["The job asks for a container, and none can be run: No engine."]

    def test_nobody_is_asked_for_an_engine_that_is_not_needed(self):
        assert self.broken("python:3.11", "No engine.", ContainerEntrypoint=["x"]) == []

    def test_the_sandbox_alone_refuses_as_ever(self):
        assert "Invalid image URI" in self.broken("registry/mine:1", runtime="sandbox")[0]

    @pytest.mark.parametrize(
        "image",
        ["../containers/json", "docker-archive:/etc/passwd", "-x", "r/Mine:1", "mine@sha256:12", "mine:"],
    )
    def test_what_can_name_no_image_is_refused_at_once(self, image):
        assert "Invalid image URI" in self.broken(image)[0]

    def test_a_lock_says_nothing_of_a_container(self):
        asked = {"PENSTOCK_LOCK": "0" * 64}
        assert "no lock can say them" in self.broken("registry/mine:1", environment=asked)[0]
        assert self.broken("python:3.11", environment=asked, ContainerEntrypoint=["x"]) == []

    def test_a_tag_that_says_nothing_known(self):
        assert self.broken("python:3.11", tag="vm") == [
            "tags: penstock:runtime is one of sandbox and container, not 'vm'."
        ]
