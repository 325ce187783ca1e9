"""SageMaker's SDK v2, and Penstock's own, which has the same names: runs, inside of jobs and outside."""

import importlib.util
import json
import shutil
from pathlib import Path

from case import main, raised, unique
from sagemaker.analytics import ExperimentAnalytics
from sagemaker.experiments import Experiment, Run, SortByType, SortOrderType, list_runs, load_run
from sagemaker.processing import FrameworkProcessor, Processor
from sagemaker.s3 import S3Downloader
from sagemaker.session import Session
from sagemaker.sklearn.estimator import SKLearn

ROLE = "arn:aws:iam::000000000000:role/any"
ONE = {"instance_count": 1, "instance_type": "ml.m5.xlarge"}
CLIENTS = Path(__file__).parents[1]


def runs():
    """Run: parameters, metrics, files; load_run, list_runs; a job that is started within; a run that fails"""
    experiment = unique("runs")
    Path("made.csv").write_text("1,2\n")
    with Run(experiment_name=experiment, run_name="first", tags=[{"Key": "team", "Value": "a"}]) as run:
        run.log_parameters({"rate": 0.1, "text": "a"})
        for step in range(12):
            run.log_metric("loss", 1 / (step + 1), step=step)
        run.log_file("made.csv", name="made", is_output=False)
        run.log_artifact("model", "s3://bucket/model")
        with load_run() as same:
            assert same is run
        processor = Processor(
            role=ROLE, image_uri="python:3.11", entrypoint=["true"], base_job_name=unique("job"), **ONE
        )
        processor.run(logs=False)
        told = processor.latest_job.describe()["ExperimentConfig"]
        assert told == run.experiment_config
    raised(ZeroDivisionError, lambda: _fail(experiment))
    listed = list_runs(experiment, sort_by=SortByType.NAME, sort_order=SortOrderType.ASCENDING)
    assert [one.run_name for one in listed] == ["first", "second"]
    with load_run(run_name="first", experiment_name=experiment) as again:
        again.log_parameter("added", 1)
    found = ExperimentAnalytics(experiment, sort_by="TrialComponentName", sort_order="Ascending").dataframe()
    rows = found.set_index("TrialComponentName").to_dict("index")
    first = rows[f"{experiment}-first"]
    assert (first["rate"], first["text"], first["added"]) == (0.1, "a", 1.0)
    assert (first["loss - Count"], first["loss - Max"], first["loss - Last"]) == (12, 1.0, 1 / 12)
    assert first["made - MediaType"] == "text/csv"
    assert first["Trials"] == [run.experiment_config["TrialName"]]
    assert f"{processor.latest_job.job_name}-aws-processing-job" in rows
    assert Experiment.load(experiment).experiment_name == experiment


def _fail(experiment):
    with Run(experiment_name=experiment, run_name="second"):
        _ = 1 / 0


def charts():
    """Charts by scikit-learn: what is stored, to the last digit, and where the lineage has it"""
    true, scores = [0, 0, 1, 1, 1, 0], [0.1, 0.4, 0.35, 0.8, 0.9, 0.4]
    with Run(experiment_name=unique("charts"), run_name="r") as run:
        run.log_confusion_matrix([0, 1, 2, 2], [0, 2, 2, 1], title="Matrix")
        run.log_confusion_matrix(["a", "b"], ["a", "a"], title="Labels", is_output=False)
        run.log_roc_curve(true, scores, title="Curve")
        run.log_precision_recall(true, scores, title="Recall", no_skill=0.5)
        run.log_precision_recall(["y", "n"], [0.2, 0.1], positive_label="y", title="Named")
        error = raised(ValueError, lambda: run.log_roc_curve([0, 1], [0.5]))
        assert "1" in str(error)
    session = Session()
    folder = f"s3://{session.default_bucket()}/trial-component-artifacts/{unique('charts')}-r"
    told = {
        name: json.loads(S3Downloader.read_file(f"{folder}/{name}.json"))
        for name in ("Matrix", "Labels", "Curve", "Recall", "Named")
    }
    assert told == {
        "Matrix": {
            "type": "ConfusionMatrix",
            "version": 0,
            "title": "Matrix",
            "confusionMatrix": [[1, 0, 0], [0, 0, 1], [0, 1, 1]],
        },
        "Labels": {
            "type": "ConfusionMatrix",
            "version": 0,
            "title": "Labels",
            "confusionMatrix": [[1, 0], [1, 0]],
        },
        "Curve": {
            "type": "ROCCurve",
            "version": 0,
            "title": "Curve",
            "falsePositiveRate": [0.0, 0.0, 0.0, 2 / 3, 2 / 3, 1.0],
            "truePositiveRate": [0.0, 1 / 3, 2 / 3, 2 / 3, 1.0, 1.0],
            "areaUnderCurve": 7 / 9,
        },
        "Recall": {
            "type": "PrecisionRecallCurve",
            "version": 0,
            "title": "Recall",
            "precision": [0.5, 0.6, 0.5, 1.0, 1.0, 1.0],
            "recall": [1.0, 1.0, 2 / 3, 2 / 3, 1 / 3, 0.0],
            "averagePrecisionScore": 0.8666666666666667,
            "noSkill": 0.5,
        },
        "Named": {
            "type": "PrecisionRecallCurve",
            "version": 0,
            "title": "Named",
            "precision": [0.5, 1.0, 1.0],
            "recall": [1.0, 1.0, 0.0],
            "averagePrecisionScore": 1.0,
            "noSkill": None,
        },
    }
    client = session.sagemaker_client
    arn = client.describe_trial_component(TrialComponentName=f"{unique('charts')}-r")["TrialComponentArn"]
    made = client.list_associations(SourceArn=arn)["AssociationSummaries"]
    used = client.list_associations(DestinationArn=arn)["AssociationSummaries"]
    assert {one["DestinationName"]: one["DestinationType"] for one in made} == {
        "Matrix": "ConfusionMatrix",
        "Curve": "ROCCurve",
        "Recall": "PrecisionRecallCurve",
        "Named": "PrecisionRecallCurve",
    }
    assert [one["SourceName"] for one in used] == ["Labels"]


def run_in_job():
    """load_run in a job's script, which has this SDK by its requirements.txt; Run of another name"""
    source = Path("source")
    source.mkdir()
    # SageMaker's own SDK asks STS for the default bucket's name, past any endpoint.
    (source / "train.py").write_text(_IN_JOB.replace("BUCKET", Session().default_bucket()))
    _require_this_sdk(source)
    made = FrameworkProcessor(
        estimator_cls=SKLearn,
        framework_version="1.2-1",
        image_uri="python:3.11",
        role=ROLE,
        base_job_name=unique("job"),
        **ONE,
    )
    with Run(experiment_name=unique("in"), run_name="job") as run:
        run.log_parameter("outside", 1)
    # Not within the block: its end would say once more what it knows of the run.
    made.run(code="train.py", source_dir="source", experiment_config=run.experiment_config)
    found = ExperimentAnalytics(unique("in")).dataframe()
    row = found.set_index("TrialComponentName").loc[f"{unique('in')}-job"]
    assert (row["outside"], row["inside"], row["score - Last"]) == (1.0, "yes", 0.5)
    row = found.set_index("TrialComponentName").loc[f"{unique('in')}-new"]
    assert (row["made"], row["score - Last"], row["told.txt - MediaType"]) == ("there", 0.25, "text/plain")
    assert row["Trials"] == [f"Default-Run-Group-{unique('in')}"]


_IN_JOB = """
try:
    from sagemaker.experiments import Run, load_run
except ImportError:
    from penstock.experiments import Run, load_run
with load_run() as run:
    run.log_parameter("inside", "yes")
    run.log_metric("score", 0.5)
for _ in range(2):  # the second goes on with the first
    with Run(experiment_name=run.experiment_name, run_name="new", artifact_bucket="BUCKET") as other:
        other.log_parameter("made", "there")
        other.log_metric("score", 0.25)
        with open("/tmp/told.txt", "w") as file:
            file.write("the same")
        other.log_file("/tmp/told.txt")
try:
    Run(experiment_name="of-somebody-else", run_name="new")
except Exception as error:
    assert "AccessDenied" in str(error), error
else:
    raise AssertionError("a run of another experiment was made")
"""


def _require_this_sdk(folder):
    """What the client's own environment has, so that nothing new is fetched."""
    own = importlib.util.find_spec("penstock")
    client = "sagemaker-v2" if own is None else "penstock"
    shutil.copy(CLIENTS / "locks" / f"{client}.lock", folder / "requirements.txt")
    if own is not None:  # no index has it, so it lies beside the script
        shutil.copytree(Path(own.origin).parent, folder / "penstock")


if __name__ == "__main__":
    main(globals())
