"""Both samples of the tutorials, unchanged but for names and places, on Penstock's SDK. One takes PyTorch 1.10."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.processing import ProcessingInput, ProcessingOutput
from penstock.sklearn.processing import SKLearnProcessor
from penstock.xgboost.processing import XGBoostProcessor

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1200)]

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
SEED = Path(__file__).parents[2] / "examples" / "seed"


@pytest.fixture(scope="module")
def work(home):
    """The folder in S3 that the samples share."""
    from penstock.session import Session

    return f"s3://{Session().default_bucket()}/samples"


@pytest.fixture(scope="module")
def dataset(work):
    processor = SKLearnProcessor(
        "1.2-1", role="arn:aws:iam::000000000000:role/r", instance_type="ml.m5.large", instance_count=1
    )
    processor.run(
        code=str(SEED / "dataset.py"),
        outputs=[ProcessingOutput(source="/opt/ml/processing/output", destination=f"{work}/raw")],
        logs=False,
    )
    return f"{work}/raw"


@pytest.fixture(scope="module")
def preprocessed(dataset, work):
    """The first sample, run as the script that it is."""
    return run_sample("preprocessing_sample.py", dataset, f"{work}/train", f"{work}/validation")


def run_sample(name, *args, **env):
    done = subprocess.run(
        [PENSTOCK, "python", str(SEED / name), *args],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_preprocessing_sample(preprocessed, work, objects, told, session):
    assert "train: (353, 11)" in preprocessed
    assert set(objects(f"{work}/train")) == {"train.csv"}
    assert objects(f"{work}/validation")["validation.csv"].count(b"\n") == 89
    (name,) = [
        j["ProcessingJobName"]
        for j in session.sagemaker_client.list_processing_jobs(NameContains="pytorch")[
            "ProcessingJobSummaries"
        ]
    ]
    environment = told(name)["hosts"][0]["environment"]
    # The framework's version is the image's wherever a wheel exists; what differs is said.
    assert environment["packages"]["torch"].startswith("1.10") or any(
        "torch" in d for d in environment["deviations"]
    )
    assert "pytorch-training:1.10" in told(name)["request"]["AppSpecification"]["ImageUri"]


@pytest.mark.parametrize("instance_type", ["ml.m5.large", "local"])
def test_the_evaluation_sample(preprocessed, work, objects, tmp_path, told, instance_type):
    trainer = XGBoostProcessor(
        "1.3-1", role="arn:aws:iam::000000000000:role/r", instance_type="ml.m5.large", instance_count=1
    )
    trainer.run(
        code=str(SEED / "train.py"),
        inputs=[ProcessingInput(source=f"{work}/train", destination="/opt/ml/processing/train")],
        outputs=[ProcessingOutput(source="/opt/ml/processing/model", destination=f"{work}/model")],
        logs=False,
    )
    test = tmp_path / "test.csv"
    test.write_bytes(objects(f"{work}/validation")["validation.csv"])
    from penstock.s3 import S3Uploader

    S3Uploader.upload(str(test), f"{work}/data")
    bucket = work.removeprefix("s3://").partition("/")[0]
    shown = run_sample(
        "evaluation_sample.py",
        bucket,
        f"{work}/model/model.tar.gz",
        f"{work}/data",
        f"diabetes-{instance_type.replace('.', '-')}",
        INSTANCE_TYPE=instance_type,
        LOCAL_TEST_PATH=str(test),
        WAIT="1",
    )
    trial = next(line for line in shown.splitlines() if line.startswith("trial: ")).removeprefix("trial: ")
    report = json.loads(objects(f"s3://{bucket}/xgboost/processing/{trial}")["evaluation.json"])
    metrics = report["regression_metrics"]["mse"]
    assert 1000 < metrics["value"] < 8000  # a real model on real data: a constant guess gives some 5,900
    assert 10 < metrics["standard_deviation"] < 100
    assert told(trial)["request"]["ExperimentConfig"]["TrialName"] == trial
    environment = told(trial)["hosts"][0]["environment"]
    assert environment["packages"]["xgboost"] == "1.3.3"
