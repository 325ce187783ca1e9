"""The main job, end to end, on this machine: data, preprocessing, a model, its evaluation.

Runs both code samples that people know from SageMaker Processing tutorials, on scikit-learn's diabetes data (442
patients; Efron et al., 2004), with Penstock's own SDK: the same code as on SageMaker, but for the import.
Run it with `make demo`.
"""

import itertools
import json
import sys
import time
from pathlib import Path

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table

from penstock.client import local_server, record
from penstock.processing import FrameworkProcessor, ProcessingInput, ProcessingOutput
from penstock.pytorch import PyTorch
from penstock.s3 import S3Downloader
from penstock.session import Session
from penstock.sklearn.processing import SKLearnProcessor
from penstock.xgboost import XGBoost

SEED = Path(__file__).parent / "seed"
PHASES = ("queued", "preparing", "downloading", "running", "uploading")
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def main():
    began = time.monotonic()
    console.print("[bold]Penstock demo[/]: both samples, on scikit-learn's diabetes data\n")
    with console.status("starting the server"):
        address = local_server.ensure()
    console.print(f"server   {address.endpoint}  (up after {time.monotonic() - began:.1f} s)")
    console.print(f"S3       {address.s3_endpoint}\n")

    session = Session()
    role = "arn:aws:iam::000000000000:role/penstock"
    bucket = session.default_bucket()
    home = f"s3://{bucket}/demo/{time.strftime('%Y%m%d-%H%M%S')}"
    jobs = []

    # The data: a job that writes what ships inside scikit-learn.
    dataset = SKLearnProcessor("1.2-1", role=role, instance_type="ml.m5.large", instance_count=1)
    dataset.run(
        code=str(SEED / "dataset.py"),
        outputs=[ProcessingOutput(source="/opt/ml/processing/output", destination=f"{home}/raw")],
        wait=False,
        logs=False,
    )
    jobs.append(("dataset", watch(dataset, "dataset (scikit-learn 1.2-1)")))

    # The first sample: preprocessing into train and validation.
    processor = FrameworkProcessor(
        PyTorch, framework_version="1.10", role=role, instance_type="ml.g5.xlarge", instance_count=1
    )
    processor.run(
        code=str(SEED / "preprocessing.py"),
        inputs=[ProcessingInput(source=f"{home}/raw", destination="/opt/ml/processing/input")],
        outputs=[
            ProcessingOutput(source="/opt/ml/processing/output/train", destination=f"{home}/train"),
            ProcessingOutput(source="/opt/ml/processing/output/validation", destination=f"{home}/validation"),
        ],
        wait=False,
    )
    jobs.append(("preprocessing", watch(processor, "preprocessing (PyTorch 1.10)")))

    # What a training job would leave behind: model.tar.gz.
    common = {"framework_version": "1.3-1", "role": role, "instance_type": "ml.m5.large", "instance_count": 1}
    trainer = FrameworkProcessor(XGBoost, **common)
    trainer.run(
        code=str(SEED / "train.py"),
        inputs=[ProcessingInput(source=f"{home}/train", destination="/opt/ml/processing/train")],
        outputs=[ProcessingOutput(source="/opt/ml/processing/model", destination=f"{home}/model")],
        wait=False,
    )
    jobs.append(("training", watch(trainer, "training (XGBoost 1.3-1)")))

    # The second sample: evaluation of the trained model, as a part of a trial.
    make_trial(session, "demo")
    evaluation = FrameworkProcessor(XGBoost, **common)
    evaluation.run(
        code="evaluation.py",
        source_dir=str(SEED / "src"),
        inputs=[
            ProcessingInput(
                source=f"{home}/validation", input_name="test_data", destination="/opt/ml/processing/test"
            ),
            ProcessingInput(
                source=f"{home}/model/model.tar.gz",
                input_name="model_weight",
                destination="/opt/ml/processing/model",
            ),
        ],
        outputs=[
            ProcessingOutput(
                source="/opt/ml/processing/output", output_name="evaluation", destination=f"{home}/evaluation"
            )
        ],
        experiment_config={"TrialName": "demo", "TrialComponentDisplayName": "demo"},
        wait=False,
    )
    jobs.append(("evaluation", watch(evaluation, "evaluation (XGBoost 1.3-1)")))

    show_phases(jobs)
    show_objects(session, bucket, home)
    show_metrics(f"{home}/evaluation/evaluation.json", session)
    console.print(
        f"\nall of it took {time.monotonic() - began:.1f} s; the server stays up at {address.endpoint}"
    )
    console.print(
        "next: .venv/bin/penstock jobs | .venv/bin/penstock describe NAME | .venv/bin/penstock down"
    )


def make_trial(session, name):
    """An experiment and its trial of that name, unless an earlier run has made them."""
    client = session.sagemaker_client
    for create, names in (
        (client.create_experiment, {"ExperimentName": name}),
        (client.create_trial, {"TrialName": name, "ExperimentName": name}),
    ):
        try:
            create(**names)
        except ClientError as error:
            if "already exists" not in str(error):
                raise


def watch(processor, title):
    """Wait for the processor's job, showing its phase; the job's record. A failure ends the demo with its log."""
    name = processor.latest_job.job_name
    address = local_server.ensure()
    with console.status(title) as status:
        while True:
            told = record.fetch(address, name)
            if told["ended_at"]:
                break
            status.update(f"{title}: {told['phase']}")
            time.sleep(0.05)
    took = (told["ended_at"] - told["created_at"]) / 1000
    console.print(f"[green]{told['status']:10}[/] {title}  {took:.2f} s")
    for host in told["hosts"]:
        for deviation in host.get("environment", {}).get("deviations", []):
            console.print(f"           note: {deviation}", style="dim")
    if told["status"] != "Completed":
        console.print(f"[red]{told['failure_reason']}[/]\n")
        processor.sagemaker_session.logs_for_processing_job(name)
        sys.exit(1)
    return told


def show_phases(jobs):
    table = Table("job", *PHASES, "total", title="\nSeconds in each phase", title_justify="left", box=None)
    for name, told in jobs:
        reached = sorted(told["phases"].items(), key=lambda item: item[1])
        took = {p: (end - at) / 1000 for (p, at), (_, end) in itertools.pairwise(reached)}
        total = (told["ended_at"] - told["created_at"]) / 1000
        table.add_row(name, *(f"{took.get(p, 0):.2f}" for p in PHASES), f"{total:.2f}")
    console.print(table)


def show_objects(session, bucket, home):
    table = Table("object", "bytes", title="\nIn S3", title_justify="left", box=None)
    prefix = home.removeprefix(f"s3://{bucket}/")
    pages = (
        session.boto_session.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=bucket, Prefix=prefix)
    )
    for item in sorted((o for page in pages for o in page["Contents"]), key=lambda o: o["Key"]):
        table.add_row(f"s3://{bucket}/{item['Key']}", str(item["Size"]))
    console.print(table)


def show_metrics(uri, session):
    report = json.loads(S3Downloader.read_file(uri, sagemaker_session=session))
    table = Table(
        "metric", "value", "standard deviation", title="\nevaluation.json", title_justify="left", box=None
    )
    for group in report.values():
        for name, metric in group.items():
            table.add_row(name, f"{metric['value']:.2f}", f"{metric['standard_deviation']:.2f}")
    console.print(table)


main()
