"""What is refused on this side, by the words that users of SageMaker's SDK know, and before any upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sdk_fakes import ROLE, FakeBoto

from penstock.exceptions import CapacityError, UnexpectedStatusException
from penstock.huggingface import HuggingFaceProcessor
from penstock.image_uris import retrieve
from penstock.processing import FrameworkProcessor, ProcessingInput, Processor, ScriptProcessor
from penstock.s3 import parse_s3_url
from penstock.session import Session
from penstock.xgboost import XGBoost

pytestmark = pytest.mark.usefixtures("tree")

INPUT = ProcessingInput("s3://b/x", "/opt/ml/processing/a")


def processor(session: Session) -> Processor:
    return Processor(ROLE, "r/i:1", 1, "ml.m5.large", sagemaker_session=session)


def script(session: Session, command: list[str] | None = None) -> ScriptProcessor:
    return ScriptProcessor(ROLE, "r/i:1", command or ["python3"], 1, "ml.m5.large", sagemaker_session=session)


def framework(session: Session) -> FrameworkProcessor:
    return FrameworkProcessor(XGBoost, "1.3-1", ROLE, 1, "ml.m5.large", sagemaker_session=session)


def no_command(session: Session) -> None:
    ScriptProcessor(ROLE, "r/i:1", None, 1, "ml.m5.large", sagemaker_session=session).run(
        "script.py", wait=False
    )


CASES: dict[str, tuple[Callable[[Session], Any], type[Exception], str]] = {
    "logs without wait": (
        lambda s: processor(s).run(wait=False),
        ValueError,
        "Logs can only be shown if wait is set to True. Please either set wait to True or set logs to False.",
    ),
    "no role": (
        lambda s: Processor(image_uri="i", sagemaker_session=s),
        ValueError,
        "An AWS IAM role is required to create a Processing job.",
    ),
    "an input that is none": (
        lambda s: processor(s).run(["x"], wait=False, logs=False),  # type: ignore[list-item]
        TypeError,
        "Your inputs must be provided as ProcessingInput objects.",
    ),
    "an input without files": (
        lambda s: processor(s).run(
            [ProcessingInput("empty", "/opt/ml/processing/a", "one")], wait=False, logs=False
        ),
        ValueError,
        "The source of the input one: the folder empty holds no files.",
    ),
    "an output that is none": (
        lambda s: processor(s).run(outputs=["x"], wait=False, logs=False),  # type: ignore[list-item]
        TypeError,
        "Your outputs must be provided as ProcessingOutput objects.",
    ),
    "gzip in a file": (
        lambda s: processor(s).run(
            [ProcessingInput("s3://b/x", "/opt/ml/processing/a", s3_compression_type="Gzip")],
            wait=False,
            logs=False,
        ),
        ValueError,
        "Data can only be gzipped when the input mode is Pipe.",
    ),
    "an input without destination": (
        lambda s: processor(s).run([ProcessingInput("s3://b/x")], wait=False, logs=False),
        ValueError,
        "The input input-1 needs both a source and a destination (given: source='s3://b/x', destination=None).",
    ),
    "an input of another scheme": (
        lambda s: processor(s).run(
            [ProcessingInput("hdfs://b/x", "/opt/ml/processing/a")], wait=False, logs=False
        ),
        ValueError,
        (
            "source hdfs://b/x of the input input-1: url scheme hdfs is not recognized. "
            "Please pass a file path or S3 url"
        ),
    ),
    "a script that is missing": (
        lambda s: script(s).run("nope.py", wait=False),
        ValueError,
        "code nope.py wasn't found. Please make sure that the file exists.",
    ),
    "a script that is a folder": (
        lambda s: script(s).run("src", wait=False),
        ValueError,
        "code src must be a file, not a directory. Please pass a path to a file.",
    ),
    "a script of another scheme": (
        lambda s: script(s).run("http://x/y.py", wait=False),
        ValueError,
        "code http://x/y.py url scheme http is not recognized. Please pass a file path or S3 url",
    ),
    "no command": (
        no_command,
        TypeError,
        "The processor has no command to run the script with, such as ['python3'].",
    ),
    "a script that is not in its folder": (
        lambda s: framework(s).run("nope.py", "src", wait=False),
        ValueError,
        'No file named "nope.py" was found in directory "src".',
    ),
    "a folder that is missing": (
        lambda s: framework(s).run("eval.py", "nowhere", wait=False),
        ValueError,
        'No file named "eval.py" was found in directory "nowhere".',
    ),
    "a framework's script that is missing": (
        lambda s: framework(s).run("nope.py", wait=False),
        FileNotFoundError,
        "code nope.py wasn't found. Please make sure that the file exists.",
    ),
    "a framework's script that is a folder without a start": (
        lambda s: framework(s).run("src", wait=False),
        ValueError,
        "code src must be a file, or a folder with a __main__.py.",
    ),
    "a dependency that is missing": (
        lambda s: framework(s).run("script.py", dependencies=["nowhere"], wait=False),
        FileNotFoundError,
        "The dependency nowhere wasn't found. Please make sure that it exists.",
    ),
    "an archive of another name": (
        lambda s: framework(s).run("x.py", "s3://a/b.tar.gz", wait=False),
        RuntimeError,
        "S3 source_dir file must be named `sourcedir.tar.gz.`",
    ),
    "an ARN that is none of CodeArtifact": (
        lambda s: framework(s).run("script.py", wait=False, codeartifact_repo_arn="bad"),
        ValueError,
        "invalid CodeArtifact repository arn bad",
    ),
    "an S3 URL that is none": (
        lambda s: parse_s3_url("http://x"),
        ValueError,
        "Expecting 's3' scheme, got: http in http://x.",
    ),
    "hugging face on nothing": (
        lambda s: HuggingFaceProcessor(
            ROLE, 1, "ml.p3.2xlarge", "4.26", py_version="py39", sagemaker_session=s
        ),
        ValueError,
        (
            "tensorflow_version and pytorch_version are both None. "
            "Specify either tensorflow_version or pytorch_version."
        ),
    ),
    "hugging face on both": (
        lambda s: HuggingFaceProcessor(ROLE, 1, "ml.p3.2xlarge", "4.26", "2.6", "1.13", sagemaker_session=s),
        ValueError,
        (
            "tensorflow_version and pytorch_version are both not None. "
            "Specify only tensorflow_version or pytorch_version."
        ),
    ),
    "an image for inference": (
        lambda s: retrieve("sklearn", "us-east-1", "1.2-1", image_scope="inference"),
        ValueError,
        "Penstock runs processing jobs, so it has no images for inference. Use image_scope='processing'.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, session: Session, boto: FakeBoto) -> None:
    act, kind, text = CASES[name]
    with pytest.raises(kind) as caught:
        act(session)
    assert str(caught.value) == text
    assert boto.uploads == {}
    assert boto.requests("create_processing_job") == []


def test_a_missing_local_input_is_named_before_any_upload(
    session: Session, boto: FakeBoto, tree: Any
) -> None:
    inputs = [
        ProcessingInput("data", "/opt/ml/processing/a"),
        ProcessingInput("nope.csv", "/opt/ml/processing/b", "late"),
    ]
    for act in (
        lambda: script(session).run("script.py", inputs, wait=False),
        lambda: framework(session).run("eval.py", "src", inputs=inputs, wait=False),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            act()
        assert str(caught.value) == f"The source nope.csv of the input late does not exist ({tree}/nope.csv)."
    assert boto.uploads == {}


def test_an_unknown_version_lists_the_known_ones(session: Session) -> None:
    with pytest.raises(ValueError, match=r"Unsupported xgboost version: 9\..*1\.3-1"):
        FrameworkProcessor(XGBoost, "9", ROLE, 1, "ml.m5.large", sagemaker_session=session)


def test_the_exceptions_are_value_errors_with_statuses() -> None:
    error = CapacityError("text", ["Completed"], "Failed")
    assert isinstance(error, UnexpectedStatusException)
    assert isinstance(error, ValueError)
    assert (str(error), error.allowed_statuses, error.actual_status) == ("text", ["Completed"], "Failed")


def test_training_is_refused_with_what_to_do_in_its_place() -> None:
    with pytest.raises(NotImplementedError, match="Run the training script as a processing job"):
        XGBoost(entry_point="train.py", framework_version="1.3-1").fit({"train": "s3://b/train"})
