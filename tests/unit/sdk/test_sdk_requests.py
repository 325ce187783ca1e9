"""What processors send: the requests were compared, member by member, with those of SageMaker's SDK 2.257."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sdk_fakes import ROLE, FakeBoto

from penstock.dataset_definition.inputs import (
    AthenaDatasetDefinition,
    DatasetDefinition,
    RedshiftDatasetDefinition,
    S3Input,
)
from penstock.huggingface import HuggingFaceProcessor
from penstock.mxnet import MXNet, MXNetProcessor
from penstock.network import NetworkConfig
from penstock.processing import (
    FeatureStoreOutput,
    FrameworkProcessor,
    ProcessingInput,
    ProcessingJob,
    ProcessingOutput,
    Processor,
    ScriptProcessor,
)
from penstock.pytorch import PyTorch, PyTorchProcessor
from penstock.session import Session
from penstock.sklearn import SKLearn, SKLearnProcessor
from penstock.tensorflow import TensorFlow, TensorFlowProcessor
from penstock.xgboost import XGBoost, XGBoostProcessor

pytestmark = pytest.mark.usefixtures("tree")

BASE = {
    "ProcessingJobName": "j",
    "ProcessingResources": {
        "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
    },
    "AppSpecification": {"ImageUri": "r/i:1"},
    "RoleArn": ROLE,
}


def s3(name: str, uri: str, path: str, **more: Any) -> dict[str, Any]:
    return {
        "InputName": name,
        "AppManaged": False,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": path,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        }
        | more,
    }


def plain(session: Session, **more: Any) -> Processor:
    return Processor(ROLE, "r/i:1", 1, "ml.m5.large", sagemaker_session=session, **more)


@pytest.mark.parametrize(
    ("arguments", "members"),
    [
        ({}, {}),
        (
            {"entrypoint": ["a", "b"]},
            {"AppSpecification": {"ImageUri": "r/i:1", "ContainerEntrypoint": ["a", "b"]}},
        ),
        ({"max_runtime_in_seconds": 60}, {"StoppingCondition": {"MaxRuntimeInSeconds": 60}}),
        ({"env": {"A": "1"}}, {"Environment": {"A": "1"}}),
        ({"tags": {"k": 1}}, {"Tags": [{"Key": "k", "Value": "1"}]}),
        ({"tags": [{"Key": "k", "Value": "v"}]}, {"Tags": [{"Key": "k", "Value": "v"}]}),
        ({"network_config": NetworkConfig()}, {"NetworkConfig": {"EnableNetworkIsolation": False}}),
        (
            {"network_config": NetworkConfig(True, ["sg"], ["sn"], True)},
            {
                "NetworkConfig": {
                    "EnableNetworkIsolation": True,
                    "EnableInterContainerTrafficEncryption": True,
                    "VpcConfig": {"SecurityGroupIds": ["sg"], "Subnets": ["sn"]},
                }
            },
        ),
        (
            {"volume_kms_key": "vk", "volume_size_in_gb": 50},
            {
                "ProcessingResources": {
                    "ClusterConfig": {
                        "InstanceType": "ml.m5.large",
                        "InstanceCount": 1,
                        "VolumeSizeInGB": 50,
                        "VolumeKmsKeyId": "vk",
                    }
                }
            },
        ),
    ],
)
def test_a_processor_s_arguments_become_members(
    session: Session, boto: FakeBoto, arguments: dict[str, Any], members: dict[str, Any]
) -> None:
    plain(session, **arguments).run(wait=False, logs=False, job_name="j")
    assert boto.job == BASE | members


@pytest.mark.parametrize(
    ("given", "member"),
    [
        (
            ProcessingInput("s3://b/x", "/opt/ml/processing/a"),
            s3("input-1", "s3://b/x", "/opt/ml/processing/a"),
        ),
        (
            ProcessingInput(
                "s3://b/x", "/opt/ml/processing/a", "q", "ManifestFile", "Pipe", "ShardedByS3Key", "Gzip"
            ),
            s3(
                "q",
                "s3://b/x",
                "/opt/ml/processing/a",
                S3DataType="ManifestFile",
                S3InputMode="Pipe",
                S3DataDistributionType="ShardedByS3Key",
                S3CompressionType="Gzip",
            ),
        ),
        (
            ProcessingInput(input_name="q", s3_input=S3Input("s3://b/x", "/opt/ml/processing/a")),
            {
                "InputName": "q",
                "AppManaged": False,
                "S3Input": {
                    "S3Uri": "s3://b/x",
                    "LocalPath": "/opt/ml/processing/a",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3DataDistributionType": "FullyReplicated",
                },
            },
        ),
        (
            ProcessingInput(
                dataset_definition=DatasetDefinition(
                    local_path="/opt/ml/processing/d",
                    athena_dataset_definition=AthenaDatasetDefinition("c", "db", "select 1", "s3://o/p"),
                )
            ),
            {
                "InputName": "input-1",
                "AppManaged": False,
                "DatasetDefinition": {
                    "DataDistributionType": "ShardedByS3Key",
                    "InputMode": "File",
                    "LocalPath": "/opt/ml/processing/d",
                    "AthenaDatasetDefinition": {
                        "Catalog": "c",
                        "Database": "db",
                        "QueryString": "select 1",
                        "OutputS3Uri": "s3://o/p",
                    },
                },
            },
        ),
        (
            ProcessingInput(
                app_managed=True,
                dataset_definition=DatasetDefinition(
                    redshift_dataset_definition=RedshiftDatasetDefinition("cl", "db", "u", kms_key_id="k")
                ),
            ),
            {
                "InputName": "input-1",
                "AppManaged": True,
                "DatasetDefinition": {
                    "DataDistributionType": "ShardedByS3Key",
                    "InputMode": "File",
                    "RedshiftDatasetDefinition": {
                        "ClusterId": "cl",
                        "Database": "db",
                        "DbUser": "u",
                        "KmsKeyId": "k",
                    },
                },
            },
        ),
    ],
)
def test_inputs(session: Session, boto: FakeBoto, given: ProcessingInput, member: dict[str, Any]) -> None:
    plain(session).run([given], wait=False, logs=False, job_name="j")
    assert boto.job["ProcessingInputs"] == [member]


def test_local_inputs_are_uploaded_and_their_objects_changed(session: Session, boto: FakeBoto) -> None:
    folder = ProcessingInput("data", "/opt/ml/processing/a")
    file = ProcessingInput("data/a.csv", "/opt/ml/processing/b", "named")
    plain(session).run([folder, file], wait=False, logs=False, job_name="j", kms_key="k")
    assert boto.job["ProcessingInputs"] == [
        s3("input-1", "s3://bucket/j/input/input-1", "/opt/ml/processing/a"),
        s3("named", "s3://bucket/j/input/named/a.csv", "/opt/ml/processing/b"),
    ]
    key = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}
    assert boto.uploads == {
        "s3://bucket/j/input/input-1/a.csv": {"Body": b"1,2\n", **key},
        "s3://bucket/j/input/input-1/inner/b.csv": {"Body": b"3,4\n", **key},
        "s3://bucket/j/input/named/a.csv": {"Body": b"1,2\n", **key},
    }
    assert folder.input_name == "input-1"
    assert folder.s3_input is not None
    assert folder.s3_input.s3_uri == "s3://bucket/j/input/input-1"


def test_a_file_url_is_a_local_path(session: Session, boto: FakeBoto, tree: Any) -> None:
    (tree / "with space.csv").write_text("5\n")
    inputs = [
        ProcessingInput(f"file://{tree}/data", "/opt/ml/processing/a"),
        ProcessingInput(f"file://{tree}/with%20space.csv", "/opt/ml/processing/b"),
    ]
    plain(session).run(inputs, wait=False, logs=False, job_name="j")
    assert [each["S3Input"]["S3Uri"] for each in boto.job["ProcessingInputs"]] == [
        "s3://bucket/j/input/input-1",
        "s3://bucket/j/input/input-2/with space.csv",
    ]


def test_outputs(session: Session, boto: FakeBoto) -> None:
    outputs = [
        ProcessingOutput("/opt/ml/processing/o"),
        ProcessingOutput("/opt/ml/processing/p", "s3://b/p", "named", "Continuous"),
        ProcessingOutput("/opt/ml/processing/q", "file:///tmp/q"),
        ProcessingOutput(
            output_name="fs",
            app_managed=True,
            feature_store_output=FeatureStoreOutput(feature_group_name="g"),
        ),
    ]
    plain(session, output_kms_key="ok").run(outputs=outputs, wait=False, logs=False, job_name="j")
    assert boto.job["ProcessingOutputConfig"] == {
        "KmsKeyId": "ok",
        "Outputs": [
            {
                "OutputName": "output-1",
                "AppManaged": False,
                "S3Output": {
                    "S3Uri": "s3://bucket/j/output/output-1",
                    "LocalPath": "/opt/ml/processing/o",
                    "S3UploadMode": "EndOfJob",
                },
            },
            {
                "OutputName": "named",
                "AppManaged": False,
                "S3Output": {
                    "S3Uri": "s3://b/p",
                    "LocalPath": "/opt/ml/processing/p",
                    "S3UploadMode": "Continuous",
                },
            },
            {
                "OutputName": "output-3",
                "AppManaged": False,
                "S3Output": {
                    "S3Uri": "s3://bucket/j/output/output-3",
                    "LocalPath": "/opt/ml/processing/q",
                    "S3UploadMode": "EndOfJob",
                },
            },
            {"OutputName": "fs", "AppManaged": True, "FeatureStoreOutput": {"FeatureGroupName": "g"}},
        ],
    }


def test_arguments_experiment_and_a_role_by_name(session: Session, boto: FakeBoto) -> None:
    processor = Processor("me", "r/i:1", 1, "ml.m5.large", sagemaker_session=session)
    processor.run(
        arguments=["x"], wait=False, logs=False, job_name="j", experiment_config={"ExperimentName": "e"}
    )
    assert boto.job["AppSpecification"]["ContainerArguments"] == ["x"]
    assert boto.job["ExperimentConfig"] == {"ExperimentName": "e"}
    assert boto.job["RoleArn"] == "arn:aws:iam::111122223333:role/path/me"
    assert processor.arguments == ["x"]
    assert [job.name for job in processor.jobs] == ["j"]
    assert isinstance(processor.latest_job, ProcessingJob)


def test_a_script_is_the_last_input_and_ends_the_command(session: Session, boto: FakeBoto) -> None:
    processor = ScriptProcessor(ROLE, "r/i:1", ["python3", "-v"], 1, "ml.m5.large", sagemaker_session=session)
    data = ProcessingInput("s3://b/x", "/opt/ml/processing/a")
    processor.run("script.py", [data], wait=False, job_name="j", kms_key="k")
    assert boto.job["AppSpecification"]["ContainerEntrypoint"] == [
        "python3",
        "-v",
        "/opt/ml/processing/input/code/script.py",
    ]
    assert boto.job["ProcessingInputs"] == [
        s3("input-1", "s3://b/x", "/opt/ml/processing/a"),
        s3("code", "s3://bucket/j/input/code/script.py", "/opt/ml/processing/input/code"),
    ]
    assert boto.uploads == {
        "s3://bucket/j/input/code/script.py": {
            "Body": b"print(1)\n",
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": "k",
        }
    }


def test_a_script_in_s3_is_used_where_it_is(session: Session, boto: FakeBoto) -> None:
    processor = ScriptProcessor(ROLE, "r/i:1", ["python3"], 1, "ml.m5.large", sagemaker_session=session)
    processor.run("s3://b/dir/s.py", wait=False, job_name="j")
    assert boto.job["ProcessingInputs"] == [s3("code", "s3://b/dir/s.py", "/opt/ml/processing/input/code")]
    assert boto.job["AppSpecification"]["ContainerEntrypoint"][-1] == "/opt/ml/processing/input/code/s.py"
    assert boto.uploads == {}


def test_the_default_prefix_comes_before_all_keys(boto: FakeBoto) -> None:
    session = Session(boto_session=boto, default_bucket="bucket", default_bucket_prefix="pre/fix")
    processor = ScriptProcessor(ROLE, "r/i:1", ["python3"], 1, "ml.m5.large", sagemaker_session=session)
    processor.run("script.py", outputs=[ProcessingOutput("/opt/ml/processing/o")], wait=False, job_name="j")
    assert list(boto.uploads) == ["s3://bucket/pre/fix/j/input/code/script.py"]
    (output,) = boto.job["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == "s3://bucket/pre/fix/j/output/output-1"


def test_a_framework_processor_sends_an_archive_and_a_shell_script(session: Session, boto: FakeBoto) -> None:
    processor = FrameworkProcessor(XGBoost, "1.3-1", ROLE, 1, "ml.m5.large", sagemaker_session=session)
    processor.run("eval.py", "src", arguments=["1"], wait=False, job_name="j")
    assert boto.job == BASE | {
        "AppSpecification": {
            "ImageUri": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.3-1",
            "ContainerArguments": ["1"],
            "ContainerEntrypoint": ["/bin/bash", "/opt/ml/processing/input/entrypoint/runproc.sh"],
        },
        "ProcessingInputs": [
            s3("code", "s3://bucket/j/source/sourcedir.tar.gz", "/opt/ml/processing/input/code/"),
            s3("entrypoint", "s3://bucket/j/source/runproc.sh", "/opt/ml/processing/input/entrypoint"),
        ],
    }
    assert set(boto.uploads) == {
        "s3://bucket/j/source/sourcedir.tar.gz",
        "s3://bucket/j/source/runproc.sh",
    }


@pytest.mark.parametrize(
    ("more", "folder", "archive_key", "script_key"),
    [
        ({}, "bucket/j/source", None, None),
        ({"output_kms_key": "ok"}, "bucket/j/source", "ok", "ok"),
        (
            {"output_kms_key": "ok", "code_location": "s3://other/pre/"},
            "other/pre/j/source",
            None,
            "ok",
        ),
        (
            {"output_kms_key": "ok", "code_location": "s3://bucket/pre"},
            "bucket/pre/j/source",
            "ok",
            "ok",
        ),
    ],
)
def test_where_the_source_goes_and_by_which_key(
    session: Session,
    boto: FakeBoto,
    more: dict[str, Any],
    folder: str,
    archive_key: str | None,
    script_key: str | None,
) -> None:
    processor = FrameworkProcessor(
        XGBoost, "1.3-1", ROLE, 1, "ml.m5.large", sagemaker_session=session, **more
    )
    processor.run("eval.py", "src", wait=False, job_name="j")
    archive = boto.uploads[f"s3://{folder}/sourcedir.tar.gz"]
    script = boto.uploads[f"s3://{folder}/runproc.sh"]
    assert archive["ServerSideEncryption"] == "aws:kms"
    assert archive.get("SSEKMSKeyId") == archive_key
    assert script.get("SSEKMSKeyId") == script_key


def test_an_archive_in_s3_gets_its_script_beside_it(session: Session, boto: FakeBoto) -> None:
    processor = FrameworkProcessor(XGBoost, "1.3-1", ROLE, 1, "ml.m5.large", sagemaker_session=session)
    processor.run("eval.py", "s3://z/y/sourcedir.tar.gz", wait=False, job_name="j")
    assert list(boto.uploads) == ["s3://z/y/runproc.sh"]
    assert boto.job["ProcessingInputs"][0]["S3Input"]["S3Uri"] == "s3://z/y/sourcedir.tar.gz"


def test_a_shell_script_in_s3_is_all_there_is(session: Session, boto: FakeBoto) -> None:
    processor = FrameworkProcessor(XGBoost, "1.3-1", ROLE, 1, "ml.m5.large", sagemaker_session=session)
    processor.run("s3://z/y/run.sh", "not looked at", wait=False, job_name="j")
    assert boto.uploads == {}
    assert boto.job["AppSpecification"]["ContainerEntrypoint"] == [
        "/bin/bash",
        "/opt/ml/processing/input/entrypoint/run.sh",
    ]


DLC = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
OWN = "683313688378.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("cls", "arguments", "image", "base"),
    [
        # The sample everybody starts from: no py_version, where SageMaker's SDK asks for one.
        (
            FrameworkProcessor,
            {"estimator_cls": PyTorch, "framework_version": "1.10", "instance_type": "ml.g5.xlarge"},
            f"{DLC}/pytorch-training:1.10-gpu-py38",
            "pytorch",
        ),
        (
            FrameworkProcessor,
            {"estimator_cls": SKLearn, "framework_version": "1.2-1", "instance_type": "local"},
            "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
            "sklearn",
        ),
        (
            FrameworkProcessor,
            {"estimator_cls": TensorFlow, "framework_version": "2.11", "py_version": "py39"},
            f"{DLC}/tensorflow-training:2.11-cpu-py39",
            "tensorflow",
        ),
        (
            FrameworkProcessor,
            {"estimator_cls": MXNet, "framework_version": "1.9", "py_version": "py38"},
            f"{DLC}/mxnet-training:1.9-cpu-py38",
            "mxnet",
        ),
        (
            FrameworkProcessor,
            {"estimator_cls": XGBoost, "framework_version": "", "image_uri": "own:1", "base_job_name": "b"},
            "own:1",
            "b",
        ),
        (PyTorchProcessor, {"framework_version": "1.10"}, f"{DLC}/pytorch-training:1.10-cpu-py38", "pytorch"),
        (
            TensorFlowProcessor,
            {"framework_version": "2.11"},
            f"{DLC}/tensorflow-training:2.11-cpu-py39",
            "tensorflow",
        ),
        (MXNetProcessor, {"framework_version": "1.9"}, f"{DLC}/mxnet-training:1.9-cpu-py38", "mxnet"),
        (XGBoostProcessor, {"framework_version": "1.3-1"}, f"{OWN}/sagemaker-xgboost:1.3-1", "xgboost"),
        (
            HuggingFaceProcessor,
            {
                "transformers_version": "4.26",
                "pytorch_version": "1.13",
                "py_version": "py39",
                "instance_type": "ml.p3.2xlarge",
            },
            f"{DLC}/huggingface-pytorch-training:1.13-transformers4.26-gpu-py39-cu117-ubuntu20.04",
            "huggingface",
        ),
        (
            SKLearnProcessor,
            {"framework_version": "1.2-1"},
            f"{OWN}/sagemaker-scikit-learn:1.2-1-cpu-py3",
            None,
        ),
    ],
)
def test_images_and_job_names_of_frameworks(
    monkeypatch: pytest.MonkeyPatch,
    boto: FakeBoto,
    session: Session,
    cls: Any,
    arguments: dict[str, Any],
    image: str,
    base: str | None,
) -> None:
    monkeypatch.setattr("penstock.local.LocalSession.boto_region_name", "us-east-1")
    arguments = {"role": ROLE, "instance_count": 1, "instance_type": "ml.m5.large"} | arguments
    processor = cls(sagemaker_session=session, **arguments)
    assert processor.image_uri == image
    assert processor.base_job_name == base


@pytest.mark.parametrize(
    ("image", "base", "expected"),
    [
        ("a.b/c/sagemaker-scikit-learn:1.2-1-cpu-py3", None, "sagemaker-scikit-learn"),
        ("r/my_image@sha256:abc", None, "my-image"),
        ("plain", None, "plain"),
        ("plain", "b" * 80, "b" * 39),
        ("plain", "under_score", "under-score"),
    ],
)
def test_job_names(session: Session, image: str, base: str | None, expected: str) -> None:
    processor = Processor(ROLE, image, 1, "ml.m5.large", base_job_name=base, sagemaker_session=session)
    processor.run(wait=False, logs=False)
    assert processor.latest_job is not None
    name = processor.latest_job.job_name
    assert re.fullmatch(rf"{expected}-\d{{4}}(-\d\d){{5}}-\d{{3}}", name)
    assert len(name) <= 63


def test_local_instance_types_become_real_ones(local: FakeBoto) -> None:
    for kind, real in (("local", "ml.m8i.96xlarge"), ("local_gpu", "ml.g6e.48xlarge")):
        local.calls.clear()
        processor = Processor(image_uri="i", instance_count=1, instance_type=kind)
        processor.run(wait=False, logs=False)
        assert processor.sagemaker_session.local_mode
        assert processor.instance_type == kind
        assert local.job["ProcessingResources"]["ClusterConfig"]["InstanceType"] == real


def test_a_local_gpu_takes_no_key_for_its_volume(local: FakeBoto, caplog: pytest.LogCaptureFixture) -> None:
    for kind, key in (("local", "k"), ("local_gpu", None)):
        local.calls.clear()
        Processor(image_uri="i", instance_count=1, instance_type=kind, volume_kms_key="k").run(
            wait=False, logs=False
        )
        assert local.job["ProcessingResources"]["ClusterConfig"].get("VolumeKmsKeyId") == key
        assert ("volume_kms_key is left out" in caplog.text) == (key is None)


def test_a_local_instance_type_keeps_a_session_on_the_local_server_and_no_other(
    local: FakeBoto, boto: FakeBoto
) -> None:
    mine = Session(default_bucket="mine")
    assert Processor(image_uri="i", instance_type="local", sagemaker_session=mine).sagemaker_session is mine
    elsewhere = Session(boto_session=boto)
    kept = Processor(image_uri="i", instance_type="local", sagemaker_session=elsewhere).sagemaker_session
    assert kept is not elsewhere
    assert kept.is_local


def test_the_local_server_needs_no_role_and_gets_no_kms(local: FakeBoto) -> None:
    processor = FrameworkProcessor(XGBoost, "1.3-1", instance_count=1, instance_type="ml.m5.large")
    processor.run("eval.py", "src", wait=False, job_name="j", kms_key="k")
    bucket = "s3://sagemaker-eu-west-1-000000000000"
    assert local.job["RoleArn"] == "arn:aws:iam::000000000000:role/penstock"
    assert {uri: sorted(extra) for uri, extra in local.uploads.items()} == {
        f"{bucket}/j/source/sourcedir.tar.gz": ["Body"],
        f"{bucket}/j/source/runproc.sh": ["Body"],
    }


def test_defaults_from_the_configuration(boto: FakeBoto) -> None:
    config = {
        "SageMaker": {
            "ProcessingJob": {
                "RoleArn": ROLE,
                "Environment": {"E": "1"},
                "Tags": [{"Key": "t", "Value": "v"}, {"Key": "own", "Value": "not this"}],
                "NetworkConfig": {"EnableNetworkIsolation": True, "VpcConfig": {"Subnets": ["s-1"]}},
                "ProcessingOutputConfig": {"KmsKeyId": "okey"},
                "ProcessingResources": {"ClusterConfig": {"VolumeKmsKeyId": "vkey"}},
            },
            "PythonSDK": {"Modules": {"Session": {"DefaultS3Bucket": "configured"}}},
        }
    }
    session = Session(boto_session=boto, sagemaker_config=config)
    processor = Processor(
        image_uri="r/i:1",
        instance_count=1,
        instance_type="ml.m5.large",
        tags={"own": "1"},
        network_config=NetworkConfig(enable_network_isolation=False),
        sagemaker_session=session,
    )
    processor.run(outputs=[ProcessingOutput("/opt/ml/processing/o")], wait=False, logs=False, job_name="j")
    assert boto.job["RoleArn"] == ROLE
    assert boto.job["Environment"] == {"E": "1"}
    assert boto.job["Tags"] == [{"Key": "own", "Value": "1"}, {"Key": "t", "Value": "v"}]
    assert boto.job["NetworkConfig"] == {
        "EnableNetworkIsolation": False,
        "VpcConfig": {"Subnets": ["s-1"]},
    }
    assert boto.job["ProcessingOutputConfig"]["KmsKeyId"] == "okey"
    assert boto.job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"].startswith(
        "s3://configured/"
    )
    assert boto.job["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == "vkey"


def test_a_job_is_found_again(session: Session, boto: FakeBoto) -> None:
    plain(session).run(
        [ProcessingInput("s3://b/x", "/opt/ml/processing/a")], wait=False, logs=False, job_name="j"
    )
    boto.answers["describe_processing_job"] = boto.job | {
        "ProcessingOutputConfig": {
            "KmsKeyId": "ok",
            "Outputs": [
                {
                    "OutputName": "o",
                    "S3Output": {"S3Uri": "s3://b/o", "LocalPath": "/p", "S3UploadMode": "Continuous"},
                },
                {"OutputName": "f", "AppManaged": True, "FeatureStoreOutput": {"FeatureGroupName": "g"}},
            ],
        }
    }
    arn = "arn:aws:sagemaker:us-east-1:111122223333:processing-job/j"
    job = ProcessingJob.from_processing_arn(session, arn)
    assert job.job_name == "j"
    assert job.inputs is not None
    assert job.inputs[0].source == "s3://b/x"
    assert job.outputs is not None
    assert [(each.source, each.destination, each.s3_upload_mode) for each in job.outputs] == [
        ("/p", "s3://b/o", "Continuous"),
        (None, None, "EndOfJob"),
    ]
    assert job.outputs[1].feature_store_output == FeatureStoreOutput(feature_group_name="g")
    assert job.output_kms_key == "ok"
    job.stop()
    assert boto.requests("stop_processing_job") == [{"ProcessingJobName": "j"}]
    assert job.describe()["RoleArn"] == ROLE


def test_queries_are_completed_from_the_configuration(boto: FakeBoto) -> None:
    """By place, and only where it leaves an input of one kind."""
    usual = [
        {"DatasetDefinition": {"AthenaDatasetDefinition": {"KmsKeyId": "key"}}},
        {"DatasetDefinition": {"AthenaDatasetDefinition": {"KmsKeyId": "key"}}},
    ]
    config = {"SageMaker": {"ProcessingJob": {"ProcessingInputs": usual}}}
    session = Session(boto_session=boto, sagemaker_config=config)
    query = DatasetDefinition(athena_dataset_definition=AthenaDatasetDefinition(catalog="c"))
    inputs = [ProcessingInput(dataset_definition=query), ProcessingInput("s3://b/x", "/opt/ml/processing/x")]
    Processor(ROLE, "image", 1, "ml.m5.large", sagemaker_session=session).run(inputs, wait=False, logs=False)
    first, second = boto.job["ProcessingInputs"]
    assert first["DatasetDefinition"]["AthenaDatasetDefinition"] == {"Catalog": "c", "KmsKeyId": "key"}
    assert "DatasetDefinition" not in second


def test_tags_that_are_none_are_left_to_the_client_to_refuse(session: Session, boto: FakeBoto) -> None:
    processor = Processor(ROLE, "image", 1, "ml.m5.large", sagemaker_session=session, tags="team")  # type: ignore[arg-type]
    processor.run(wait=False, logs=False)
    assert boto.job["Tags"] == "team"
