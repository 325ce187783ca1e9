"""Arguments of processors, as data: each combination is given to two SDKs, which must ask for the same job.

Nothing here imports an SDK: `Made` only notes which class is made with which arguments.
`record_requests.py` makes the objects, with the one SDK or the other. Local paths mean the folder that
`test_same_requests.py` prepares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Made:
    """What `path` (`module:name`, relative to the SDK) makes of these arguments."""

    path: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Named:
    """What `path` (`module:name`, relative to the SDK) is: a class that is passed as such."""

    path: str


@dataclass(frozen=True)
class Here:
    """A text in which `{here}` means the prepared folder."""

    text: str


@dataclass(frozen=True)
class Call:
    """A processor, the arguments of its method, and the method."""

    processor: Made
    arguments: Mapping[str, Any] = field(default_factory=dict)
    method: str = "run"
    times: int = 1


def _maker(path: str) -> Callable[..., Made]:
    return lambda *args, **kwargs: Made(path, args, kwargs)


Session = _maker("session:Session")
Boto = _maker("boto3:Session")
Network = _maker("network:NetworkConfig")
Input = _maker("processing:ProcessingInput")
Output = _maker("processing:ProcessingOutput")
Features = _maker("processing:FeatureStoreOutput")
S3Input = _maker("dataset_definition.inputs:S3Input")
Dataset = _maker("dataset_definition.inputs:DatasetDefinition")
Athena = _maker("dataset_definition.inputs:AthenaDatasetDefinition")
Redshift = _maker("dataset_definition.inputs:RedshiftDatasetDefinition")

ROLE = "arn:aws:iam::111122223333:role/team/runner"
IMAGE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/image:1"
SKLEARN, XGBOOST, PYTORCH = Named("sklearn:SKLearn"), Named("xgboost:XGBoost"), Named("pytorch:PyTorch")
TENSORFLOW, MXNET, HUGGINGFACE = (
    Named("tensorflow:TensorFlow"),
    Named("mxnet:MXNet"),
    Named("huggingface:HuggingFace"),
)
IN, OUT = "/opt/ml/processing/in", "/opt/ml/processing/out"
VPC: dict[str, Any] = {"security_group_ids": ["sg-1"], "subnets": ["subnet-1", "subnet-2"]}


def session(**given: Any) -> Made:
    """A session of the user's own, to AWS."""
    return Session(boto_session=Boto(region_name="us-east-1"), **given)


def _processor(path: str, **usual: Any) -> Callable[..., Made]:
    """A class with arguments that every combination has unless it says otherwise; None leaves one out."""
    usual = {
        "role": ROLE,
        "instance_count": 1,
        "instance_type": "ml.m5.large",
        "sagemaker_session": session(),
        **usual,
    }

    def make(**given: Any) -> Made:
        arguments = {name: value for name, value in (usual | given).items() if value is not None}
        return Made(path, (), arguments)

    return make


Plain = _processor("processing:Processor", image_uri=IMAGE)
Script = _processor("processing:ScriptProcessor", image_uri=IMAGE, command=["python3"])
Framework = _processor("processing:FrameworkProcessor", estimator_cls=XGBOOST, framework_version="1.3-1")
SKLearn = _processor("sklearn.processing:SKLearnProcessor", framework_version="1.2-1")
PyTorch = _processor("pytorch.processing:PyTorchProcessor", framework_version="1.13.1", py_version="py39")
XGBoost = _processor("xgboost.processing:XGBoostProcessor", framework_version="1.7-1")
TensorFlow = _processor(
    "tensorflow.processing:TensorFlowProcessor", framework_version="2.11", py_version="py39"
)
MXNet = _processor("mxnet.processing:MXNetProcessor", framework_version="1.9", py_version="py38")
HuggingFace = _processor(
    "huggingface.processing:HuggingFaceProcessor",
    transformers_version="4.26",
    pytorch_version="1.13",
    py_version="py39",
    instance_type="ml.p3.2xlarge",
)


def plain(processor: Made | None = None, /, **run: Any) -> Call:
    """A run of a plain processor that nobody waits for."""
    return Call(processor or Plain(), {"wait": False, "logs": False, "job_name": "job", **run})


def script(processor: Made | None = None, /, **run: Any) -> Call:
    """A run of a script."""
    return plain(processor or Script(), **{"code": "script.py", **run})


def framework(processor: Made | None = None, /, **run: Any) -> Call:
    """A run of a script in a framework's image."""
    return script(processor or Framework(), **run)


def git(**config: Any) -> Call:
    """A run whose source comes from a repository."""
    return framework(git_config=config)


def config(**job: Any) -> Made:
    """A session with defaults for jobs."""
    return session(sagemaker_config={"SchemaVersion": "1.0", "SageMaker": {"ProcessingJob": job}})


CONFIGURED = config(
    RoleArn=ROLE,
    Environment={"FROM": "config"},
    Tags=[{"Key": "team", "Value": "config"}, {"Key": "own", "Value": "config"}],
    NetworkConfig={
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "VpcConfig": {"Subnets": ["subnet-c"], "SecurityGroupIds": ["sg-c"]},
    },
    ProcessingInputs=[
        {"DatasetDefinition": {"AthenaDatasetDefinition": {"KmsKeyId": "a-key"}}},
        {"DatasetDefinition": {"RedshiftDatasetDefinition": {"KmsKeyId": "r-key"}}},
    ],
    ProcessingOutputConfig={"KmsKeyId": "config-output-key"},
    ProcessingResources={"ClusterConfig": {"VolumeKmsKeyId": "config-volume-key"}},
)

ATHENA = Athena("catalog", "db", "SELECT 1", "s3://results/athena", output_format="PARQUET")
REDSHIFT = Redshift("cluster", "db", "user", "SELECT 2", ROLE, "s3://results/redshift", output_format="CSV")

COMBINATIONS: dict[str, Call] = {
    # A processor's own arguments
    "nothing but what is required": plain(),
    "entrypoint": plain(Plain(entrypoint=["python3", "/opt/main.py"])),
    "role by name": plain(Plain(role="runner")),
    "instances and volume": plain(
        Plain(instance_count=3, instance_type="ml.r5.4xlarge", volume_size_in_gb=200)
    ),
    "keys": plain(Plain(volume_kms_key="volume-key", output_kms_key="output-key"), outputs=[Output(OUT)]),
    "output key without outputs": plain(Plain(output_kms_key="output-key")),
    "max runtime": plain(Plain(max_runtime_in_seconds=60)),
    "max runtime of zero": plain(Plain(max_runtime_in_seconds=0)),
    "environment": plain(Plain(env={"A": "1", "EMPTY": ""})),
    "empty environment": plain(Plain(env={})),
    "environment of numbers": plain(Plain(env={"A": 1})),
    "tags as list": plain(Plain(tags=[{"Key": "team", "Value": "a"}, {"Key": "x", "Value": ""}])),
    "tags as dict": plain(Plain(tags={"team": "a", "x": "y"})),
    "tags as dict of numbers": plain(Plain(tags={"team": 1})),
    "no tags in a list": plain(Plain(tags=[])),
    "no tags in a dict": plain(Plain(tags={})),
    "everything": plain(
        Plain(
            entrypoint=["a", "b"],
            volume_size_in_gb=50,
            volume_kms_key="volume-key",
            output_kms_key="output-key",
            max_runtime_in_seconds=3600,
            base_job_name="base",
            env={"A": "1"},
            tags={"k": "v"},
            network_config=Network(True, ["sg-1"], ["subnet-1"], True),
        ),
        inputs=[Input("s3://b/x", IN), Input("data", "/opt/ml/processing/data")],
        outputs=[Output(OUT), Output("/opt/ml/processing/o2", "s3://b/o2", "named", "Continuous")],
        arguments=["--x", "1"],
        experiment_config={"ExperimentName": "e", "TrialName": "t", "TrialComponentDisplayName": "d"},
        kms_key="upload-key",
    ),
    # The network
    "network by default": plain(Plain(network_config=Network())),
    "network isolated": plain(Plain(network_config=Network(enable_network_isolation=True))),
    "network not isolated": plain(Plain(network_config=Network(enable_network_isolation=False))),
    "network in a VPC": plain(Plain(network_config=Network(**VPC))),
    "network with subnets only": plain(Plain(network_config=Network(subnets=["subnet-1"]))),
    "network with groups only": plain(Plain(network_config=Network(security_group_ids=["sg-1"]))),
    "network not encrypted": plain(Plain(network_config=Network(encrypt_inter_container_traffic=False))),
    "network with empty lists": plain(Plain(network_config=Network(security_group_ids=[], subnets=[]))),
    # Names
    "name from the image": plain(job_name=None),
    "name from an image without registry": plain(Plain(image_uri="image"), job_name=None),
    "name from an image of many parts": plain(
        Plain(image_uri="host:5000/a.b/c/scikit-learn:1.2-1-py3"), job_name=None
    ),
    "name from an image by digest": plain(Plain(image_uri=f"host/image@sha256:{'0' * 64}"), job_name=None),
    "name from an image with underscores": plain(Plain(image_uri="host/my_image:1"), job_name=None),
    "name from a base": plain(Plain(base_job_name="base"), job_name=None),
    "name from a base that is too long": plain(Plain(base_job_name="b" * 80), job_name=None),
    "name from a base with underscores": plain(Plain(base_job_name="my_base"), job_name=None),
    "name that is empty": plain(job_name=""),
    "name from a base, of a script": script(Script(base_job_name="base"), job_name=None),
    "name from the framework": framework(job_name=None),
    "name from a base, of a framework": framework(Framework(base_job_name="base"), job_name=None),
    "two runs": Call(Plain(), {"wait": False, "logs": False}, times=2),
    # Arguments of a run
    "arguments": plain(arguments=["--a", "1", ""]),
    "no arguments": plain(arguments=[]),
    "arguments of numbers": plain(arguments=["--a", 1]),
    "experiment": plain(experiment_config={"ExperimentName": "e"}),
    "experiment that is empty": plain(experiment_config={}),
    # Inputs
    "no inputs, no outputs": plain(inputs=[], outputs=[]),
    "input in S3": plain(inputs=[Input("s3://bucket/prefix/", IN)]),
    "input in S3, by upper case": plain(inputs=[Input("S3://bucket/prefix", IN)]),
    "inputs without names": plain(
        inputs=[Input("s3://b/1", f"{IN}/1"), Input("s3://b/2", f"{IN}/2", "x"), Input("s3://b/3", f"{IN}/3")]
    ),
    "input with all options": plain(
        inputs=[Input("s3://b/x", IN, "name", "ManifestFile", "Pipe", "ShardedByS3Key", "Gzip")]
    ),
    "input as FastFile": plain(inputs=[Input("s3://b/x", IN, s3_input_mode="FastFile")]),
    "input without compression": plain(inputs=[Input("s3://b/x", IN, s3_compression_type=None)]),
    "input as S3Input": plain(inputs=[Input(input_name="a", s3_input=S3Input("s3://b/x", IN))]),
    "input as S3Input with options": plain(
        inputs=[Input(s3_input=S3Input("s3://b/x", IN, "ManifestFile", "File", "ShardedByS3Key", "None"))]
    ),
    "input as S3Input without place": plain(inputs=[Input(s3_input=S3Input("s3://b/x"), app_managed=True)]),
    "input as local S3Input": plain(inputs=[Input(s3_input=S3Input("data/a.csv", IN))]),
    "input of the program's own": plain(inputs=[Input("s3://b/x", IN, app_managed=True)]),
    "input from a file": plain(inputs=[Input("data/a.csv", IN)]),
    "input from a folder": plain(inputs=[Input("data", IN)]),
    "input from a folder with slash": plain(inputs=[Input("data/", IN, "named")]),
    "input from an absolute path": plain(inputs=[Input(Here("{here}/data"), IN)]),
    "input from a file URL": plain(inputs=[Input(Here("file://{here}/data/a.csv"), IN)]),
    "input from a folder's URL": plain(inputs=[Input(Here("file://{here}/data"), IN)]),
    "input from names with spaces": plain(inputs=[Input("with space", IN)]),
    "input encrypted": plain(inputs=[Input("data", IN)], kms_key="upload-key"),
    "input in a session's bucket": plain(
        Plain(sagemaker_session=session(default_bucket="mine", default_bucket_prefix="pre/fix")),
        inputs=[Input("data", IN)],
        outputs=[Output(OUT)],
    ),
    "input from Athena": plain(
        inputs=[Input(dataset_definition=Dataset(local_path=IN, athena_dataset_definition=ATHENA))]
    ),
    "input from Redshift": plain(
        inputs=[
            Input(
                input_name="r",
                app_managed=True,
                dataset_definition=Dataset(
                    "FullyReplicated", "Pipe", IN, redshift_dataset_definition=REDSHIFT
                ),
            )
        ]
    ),
    # Outputs
    "output": plain(outputs=[Output(OUT)]),
    "outputs without names": plain(
        outputs=[Output(f"{OUT}/1"), Output(f"{OUT}/2", output_name="x"), Output(f"{OUT}/3")]
    ),
    "output in S3": plain(outputs=[Output(OUT, "s3://b/out", "name", "Continuous")]),
    "output in S3, by upper case": plain(outputs=[Output(OUT, "S3://b/out")]),
    "output of the program's own": plain(outputs=[Output(OUT, "s3://b/out", app_managed=True)]),
    "output to a feature group": plain(
        outputs=[
            Output(
                output_name="f", app_managed=True, feature_store_output=Features(feature_group_name="group")
            )
        ]
    ),
    "output to a feature group and S3": plain(
        outputs=[Output(OUT, feature_store_output=Features(feature_group_name="group"))]
    ),
    "output to a local folder": plain(outputs=[Output(OUT, "folder")]),
    "output to a file URL": plain(outputs=[Output(OUT, Here("file://{here}/folder"))]),
    "output without source": plain(outputs=[Output(destination="s3://b/out")]),
    # Scripts
    "script": script(),
    "script with arguments": script(arguments=["--a"], inputs=[Input("s3://b/x", IN)], outputs=[Output(OUT)]),
    "script with a longer command": script(Script(command=["python3", "-u", "-W", "error"])),
    "script by another command": script(Script(command=["bash"])),
    "script in S3": script(code="s3://bucket/dir/script.py"),
    "script by an absolute path": script(code=Here("{here}/script.py")),
    "script by a file URL": script(code=Here("file://{here}/script.py")),
    "script in a folder": script(code="src/eval.py"),
    "script with a space": script(code="with space/my script.py"),
    "script encrypted": script(kms_key="upload-key"),
    "script in a session's bucket": script(
        Script(sagemaker_session=session(default_bucket="mine", default_bucket_prefix="p"))
    ),
    "script with named, everything": script(
        Script(
            volume_size_in_gb=5,
            volume_kms_key="v",
            output_kms_key="o",
            max_runtime_in_seconds=9,
            env={"A": "1"},
            tags=[{"Key": "a", "Value": "b"}],
            network_config=Network(False, **VPC),
        ),
        inputs=[Input("data", IN)],
        outputs=[Output(OUT)],
        experiment_config={"TrialName": "t"},
    ),
    # Frameworks
    "SKLearn": script(SKLearn()),
    "SKLearn, older": script(SKLearn(framework_version="0.20.0", command=["python3", "-v"])),
    "SKLearn, without job name": script(SKLearn(), job_name=None),
    "XGBoost": framework(XGBoost()),
    "PyTorch": framework(PyTorch()),
    "PyTorch on a GPU": framework(PyTorch(instance_type="ml.g5.xlarge")),
    "PyTorch with a command": framework(PyTorch(command=["python", "-u"])),
    "PyTorch 1.10 with py3": framework(PyTorch(framework_version="1.10", py_version="py3")),
    "TensorFlow": framework(TensorFlow()),
    "MXNet": framework(MXNet()),
    "HuggingFace": framework(HuggingFace()),
    "HuggingFace on TensorFlow": framework(
        HuggingFace(
            pytorch_version=None, tensorflow_version="2.6", transformers_version="4.17", py_version="py38"
        )
    ),
    "framework of SKLearn": framework(Framework(estimator_cls=SKLEARN, framework_version="1.2-1")),
    "framework of SKLearn, other region": framework(
        Framework(
            estimator_cls=SKLEARN,
            framework_version="1.0-1",
            sagemaker_session=Session(boto_session=Boto(region_name="eu-central-1")),
        )
    ),
    "framework of PyTorch": framework(
        Framework(estimator_cls=PYTORCH, framework_version="1.10", py_version="py38")
    ),
    "framework of PyTorch, default Python": framework(
        Framework(estimator_cls=PYTORCH, framework_version="1.10")
    ),
    "framework of TensorFlow": framework(
        Framework(estimator_cls=TENSORFLOW, framework_version="2.9", py_version="py39")
    ),
    "framework of MXNet": framework(
        Framework(estimator_cls=MXNET, framework_version="1.8.0", py_version="py37")
    ),
    "framework with an image": framework(Framework(image_uri=IMAGE)),
    "framework with image and base": framework(Framework(image_uri=IMAGE, base_job_name="b"), job_name=None),
    "framework with file URLs": framework(code="eval.py", source_dir=Here("file://{here}/src")),
    "framework with a script's URL": framework(code=Here("file://{here}/script.py")),
    "framework with a script in a folder": framework(code="src/eval.py"),
    "framework with a folder": framework(code="eval.py", source_dir="src"),
    "framework with a folder's script below": framework(code="sub/helper.py", source_dir="src"),
    "framework with dependencies": framework(dependencies=["dep", "data/a.csv"]),
    "framework with folder and dependencies": framework(
        code="eval.py", source_dir="src", dependencies=["dep"]
    ),
    "framework with no dependencies": framework(dependencies=[]),
    "framework with everything": framework(
        Framework(
            volume_size_in_gb=5,
            volume_kms_key="v",
            output_kms_key="o",
            max_runtime_in_seconds=9,
            env={"A": "1"},
            tags={"a": "b"},
            network_config=Network(True, **VPC),
            command=["python", "-m", "pdb"],
        ),
        code="eval.py",
        source_dir="src",
        inputs=[Input("data", IN)],
        outputs=[Output(OUT)],
        arguments=["--a"],
        experiment_config={"TrialName": "t"},
        kms_key="upload-key",
    ),
    "framework with an output key": framework(Framework(output_kms_key="output-key")),
    "framework with an upload key": framework(kms_key="upload-key"),
    "framework with a code location": framework(Framework(code_location="s3://place/pre/fix/")),
    "framework with code location and key": framework(
        Framework(code_location="s3://place", output_kms_key="o")
    ),
    "framework with code location in its bucket": framework(
        Framework(
            code_location="s3://mine/x", output_kms_key="o", sagemaker_session=session(default_bucket="mine")
        )
    ),
    "framework in a session's bucket": framework(
        Framework(sagemaker_session=session(default_bucket="mine", default_bucket_prefix="p"))
    ),
    "framework with a folder in S3": framework(code="eval.py", source_dir="s3://b/x/sourcedir.tar.gz"),
    "framework with a script in S3": framework(code="s3://b/x/start.sh", source_dir="not looked at"),
    "framework with CodeArtifact": framework(
        codeartifact_repo_arn="arn:aws:codeartifact:us-west-2:111122223333:repository/domain/repository"
    ),
    "framework from Git": framework(code="eval.py", git_config={"repo": "https://git.invalid/repo.git"}),
    "framework from Git's folder": framework(
        code="helper.py",
        source_dir="sub",
        dependencies=["eval.py"],
        git_config={"repo": "https://git.invalid/repo.git", "branch": "side"},
    ),
    # Defaults from the configuration
    "configured": plain(Plain(role=None, sagemaker_session=CONFIGURED), outputs=[Output(OUT)]),
    "configured, but given": plain(
        Plain(
            role="arn:aws:iam::111122223333:role/own",
            env={"MY": "own"},
            tags={"own": "own"},
            volume_kms_key="own-v",
            output_kms_key="own-o",
            network_config=Network(False, ["sg-own"], ["subnet-own"], False),
            sagemaker_session=CONFIGURED,
        ),
        outputs=[Output(OUT)],
    ),
    "configured in part": plain(
        Plain(
            network_config=Network(subnets=["subnet-own"]),
            sagemaker_session=config(NetworkConfig={"EnableNetworkIsolation": True}),
        )
    ),
    "configured queries": plain(
        Plain(sagemaker_session=CONFIGURED),
        inputs=[
            Input(dataset_definition=Dataset(local_path=f"{IN}/1", athena_dataset_definition=ATHENA)),
            Input(dataset_definition=Dataset(local_path=f"{IN}/2", redshift_dataset_definition=REDSHIFT)),
            Input("s3://b/x", f"{IN}/3"),
        ],
    ),
    "configured queries in another order": plain(
        Plain(sagemaker_session=CONFIGURED),
        inputs=[
            Input(dataset_definition=Dataset(local_path=f"{IN}/2", redshift_dataset_definition=REDSHIFT)),
            Input(dataset_definition=Dataset(local_path=f"{IN}/1", athena_dataset_definition=ATHENA)),
        ],
    ),
    "configured bucket": framework(
        Framework(
            sagemaker_session=session(
                sagemaker_config={
                    "SchemaVersion": "1.0",
                    "SageMaker": {
                        "PythonSDK": {
                            "Modules": {
                                "Session": {"DefaultS3Bucket": "mine", "DefaultS3ObjectKeyPrefix": "c"}
                            }
                        }
                    },
                }
            )
        ),
        inputs=[Input("data", IN)],
        outputs=[Output(OUT)],
    ),
    "configured framework": framework(Framework(role=None, sagemaker_session=CONFIGURED)),
    # Without a session, and local
    "no session": plain(Plain(sagemaker_session=None), inputs=[Input("data", IN)], outputs=[Output(OUT)]),
    "no session, with a key": script(Script(sagemaker_session=None), kms_key="upload-key"),
    "no session, framework": framework(Framework(sagemaker_session=None)),
    "local": plain(
        Plain(instance_type="local", sagemaker_session=None),
        inputs=[Input("data", IN)],
        outputs=[Output(OUT)],
    ),
    "local with GPU": plain(Plain(instance_type="local_gpu", sagemaker_session=None)),
    "local script": script(Script(instance_type="local", sagemaker_session=None)),
    "local framework": framework(Framework(instance_type="local", sagemaker_session=None)),
    "local, with another session": plain(Plain(instance_type="local")),
    # What is refused
    "logs without wait": plain(logs=True),
    "no role": plain(Plain(role=None)),
    "input of a wrong type": plain(inputs=["data"]),
    "input after a wrong one": plain(inputs=[Input("data", IN), "data"]),
    "input without destination": plain(inputs=[Input("s3://b/x")]),
    "input that is empty": plain(inputs=[Input()]),
    "input that does not exist": plain(inputs=[Input("nowhere", IN)]),
    "input with another scheme": plain(inputs=[Input("https://host/x", IN)]),
    "input from an empty folder": plain(inputs=[Input("empty", IN)]),
    "input gzipped as a file": plain(inputs=[Input("s3://b/x", IN, s3_compression_type="Gzip")]),
    "inputs as a string": plain(inputs="data"),
    "output of a wrong type": plain(outputs=["out"]),
    "output of a wrong type after an upload": plain(inputs=[Input("data", IN)], outputs=["out"]),
    "run with an argument it does not have": plain(nothing=1),
    "processor with an argument it does not have": plain(Plain(nothing=1)),
    "no image": plain(Plain(image_uri=None)),
    "no image and no name": plain(Plain(image_uri=None), job_name=None),
    "no instance count": plain(Plain(instance_count=None)),
    "instance count as text": plain(Plain(instance_count="1")),
    "tags as text": plain(Plain(tags="team")),
    "arguments as text": plain(arguments="--a"),
    "script without code": plain(Script()),
    "script that is None": script(code=None),
    "script that does not exist": script(code="nowhere.py"),
    "script that is a folder": script(code="src"),
    "script with another scheme": script(code="https://host/x.py"),
    "script without command": script(Script(command=None)),
    "script with an input of a wrong type": script(inputs=["data"]),
    "framework without code": plain(Framework()),
    "framework without version": framework(Framework(framework_version=None)),
    "framework of no such version": framework(Framework(framework_version="9")),
    "framework of no such Python": framework(
        Framework(estimator_cls=PYTORCH, framework_version="1.10", py_version="py27")
    ),
    "framework without estimator": framework(Framework(estimator_cls=None)),
    "SKLearn of no such version": script(SKLearn(framework_version="9")),
    "SKLearn on a GPU": script(SKLearn(instance_type="ml.p3.2xlarge")),
    "HuggingFace without framework": framework(HuggingFace(pytorch_version=None)),
    "HuggingFace with two frameworks": framework(HuggingFace(tensorflow_version="2.6")),
    "framework's script does not exist": framework(code="nowhere.py"),
    "framework's script is a folder": framework(code="src"),
    "framework's script is a package": framework(code="package"),
    "framework's script is a package in a folder": framework(code="sub", source_dir="src"),
    "framework's script is not in the folder": framework(code="nowhere.py", source_dir="src"),
    "framework's folder does not exist": framework(code="eval.py", source_dir="nowhere"),
    "framework's folder is a file": framework(code="eval.py", source_dir="script.py"),
    "framework's dependency does not exist": framework(dependencies=["nowhere"]),
    "framework's folder in S3 has another name": framework(code="eval.py", source_dir="s3://b/x.tar.gz"),
    "framework's CodeArtifact is none": framework(codeartifact_repo_arn="repository"),
    "framework's code location is none": framework(Framework(code_location="place")),
    "Git without repository": git(branch="main"),
    "Git with a wrong type": git(repo="https://git.invalid/x", branch=1),
    "Git with a wrong 2FA": git(repo="https://git.invalid/x", **{"2FA_enabled": "yes"}),
    "Git with another scheme": git(repo="ftp://git.invalid/x"),
    "Git without encryption": git(repo="http://git.invalid/x"),
    "Git with two users": git(repo="https://a@b@git.invalid/x"),
    "Git with two users by SSH": git(repo="git@a@git.invalid:x"),
    "Git with a wrong SSH address": git(repo="git@git.invalid"),
    "Git by ssh:// with two users": git(repo="ssh://a@b@git.invalid/x"),
    "Git without a host": git(repo="https:///x"),
    "Git with another user name": git(repo="https://a:b:c@git.invalid/x"),
    "Git with a path that climbs": git(repo="https://git.invalid/../x"),
    "Git with a percent sign": git(repo="https://git%40.invalid/x"),
    "Git lacks the script": framework(code="nowhere.py", git_config={"repo": "https://git.invalid/repo.git"}),
    "Git lacks the folder": framework(
        code="x.py", source_dir="nowhere", git_config={"repo": "https://git.invalid/repo.git"}
    ),
    "Git lacks the dependency": framework(
        code="eval.py", dependencies=["nowhere"], git_config={"repo": "https://git.invalid/repo.git"}
    ),
    # Older pipelines' way
    "run arguments of a script": Call(Script(), {"code": "script.py", "arguments": ["a"]}, "get_run_args"),
    "run arguments of a framework": Call(
        Framework(),
        {"code": "eval.py", "source_dir": "src", "inputs": [Input("s3://b/x", IN)], "job_name": "job"},
        "get_run_args",
    ),
}
