"""Metrics of real jobs that call nobody: by their log and their outputs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.exceptions import UnexpectedStatusException
from penstock.network import NetworkConfig
from penstock.processing import ProcessingJob, ProcessingOutput

pytestmark = pytest.mark.machine

PENSTOCK = str(Path(sys.executable).with_name("penstock"))

EVALUATION = ProcessingOutput(source="/opt/ml/processing/evaluation", output_name="evaluation")
DEFINITIONS = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}, {"Name": "epoch", "Regex": "epoch ([0-9]+)"}]
REPORT = {
    "regression_metrics": {
        "mse": {"value": 4.5, "standard_deviation": 0.25},
        "confusion_matrix": {"0": {"0": 1}},
    }
}


def test_an_isolated_job_has_its_metrics_by_its_log_and_its_evaluation(processor, session, script, capsys):
    job = processor(
        env={"PENSTOCK_METRIC_DEFINITIONS": json.dumps(DEFINITIONS)},
        network_config=NetworkConfig(enable_network_isolation=True),
    )
    code = script(
        f"""
        import json, pathlib
        for n in range(1, 5):
            print(f"epoch {{n}}: loss={{1 / n}}")
        print("loss=unknown")
        pathlib.Path("/opt/ml/processing/evaluation/evaluation.json").write_text(json.dumps({REPORT!r}))
        """
    )
    job.run(code=code, outputs=[EVALUATION])
    told = {"epoch": 4.0, "loss": 0.25, "mse": 4.5, "mse:standard_deviation": 0.25}
    name = job.latest_job.job_name
    assert "Output 'evaluation': evaluation.json gives 2 metrics." in capsys.readouterr().out
    assert job.latest_job.metrics == told
    again = ProcessingJob.from_processing_name(session, name)
    assert "loss = 0.25" in str(again)
    assert "mse = 4.5" in again._repr_html_()
    shown = subprocess.run([PENSTOCK, "describe", name], capture_output=True, text=True, check=True).stdout
    assert ["loss", "0.25", "0.25", "1", "4"] in [line.split() for line in shown.splitlines()]

    client = session.boto_session.client("sagemaker")
    found = client.search(
        Resource="ExperimentTrialComponent",
        SearchExpression={
            "Filters": [
                {"Name": "Metrics.loss.Max", "Operator": "Equals", "Value": "1"},
                {
                    "Name": "Source.SourceArn",
                    "Operator": "Equals",
                    "Value": again.describe()["ProcessingJobArn"],
                },
            ]
        },
    )["Results"]
    [component] = [one["TrialComponent"] for one in found]
    assert component["TrialComponentName"] == f"{name}-aws-processing-job"
    assert component["Status"]["PrimaryStatus"] == "Completed"
    assert {m["MetricName"]: m["Last"] for m in component["Metrics"]} == told
    query = {
        "MetricName": "loss",
        "ResourceArn": again.describe()["ProcessingJobArn"],
        "MetricStat": "Count",
        "Period": "OneHour",
        "XAxisType": "Timestamp",
    }
    [answer] = session.boto_session.client("sagemaker-metrics").batch_get_metrics(MetricQueries=[query])[
        "MetricQueryResults"
    ]
    assert sum(answer["MetricValues"]) == 4


def test_a_failed_job_of_an_experiment_keeps_its_metrics_and_no_trick_does_harm(
    processor, session, script, capsys
):
    client = session.boto_session.client("sagemaker")
    client.create_experiment(ExperimentName="told-metrics")
    client.create_trial(TrialName="told", ExperimentName="told-metrics")
    job = processor()
    code = script(
        """
        import os, pathlib
        base = pathlib.Path("/opt/ml/processing")
        (base / "good" / "evaluation.json").write_text('{"accuracy": 0.5}')
        (base / "deep" / "evaluation.json").write_text('{"a":' * 100_000)
        os.mkfifo(base / "pipe" / "evaluation.json")
        os.symlink("/proc/self/environ", base / "link" / "evaluation.json")
        raise SystemExit(3)
        """
    )
    outputs = [
        ProcessingOutput(source=f"/opt/ml/processing/{name}", output_name=name)
        for name in ("deep", "pipe", "link", "good")
    ]
    config = {"ExperimentName": "told-metrics", "TrialName": "told"}
    with pytest.raises(UnexpectedStatusException, match="exit code: 3"):
        job.run(code=code, outputs=outputs, experiment_config=config)
    assert job.latest_job.metrics == {"accuracy": 0.5}
    said = capsys.readouterr().out
    for words in (
        "Output 'deep': evaluation.json gives no metrics: it is nested too deeply.",
        "Output 'pipe': evaluation.json gives no metrics: it is no file.",
        "Output 'link': evaluation.json gives no metrics: ",
        "Output 'good': evaluation.json gives 1 metric.",
    ):
        assert words in said
    [listed] = client.list_trial_components(TrialName="told")["TrialComponentSummaries"]
    described = client.describe_trial_component(TrialComponentName=listed["TrialComponentName"])
    assert described["Status"]["PrimaryStatus"] == "Failed"
    assert [(m["MetricName"], m["Last"]) for m in described["Metrics"]] == [("accuracy", 0.5)]


def test_a_metric_of_the_command_line(address, script):
    code = script("print('auc', 0.75, 'acc', 0.5)")
    given = [
        "--metric",
        "auc=auc ([0-9.]+)",
        "--metric",
        "test:acc=acc (.*)",
        "--metric",
        "f1=F1=(.*)",
        "--json",
    ]
    done = subprocess.run([PENSTOCK, "run", code, *given], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert {m["name"]: m["last"] for m in told["metrics"]} == {"auc": 0.75, "test:acc": 0.5}
    assert told["untold_metrics"] == [{"name": "f1", "regex": "F1=(.*)"}]
    for given, words in (
        ("auc", "--metric auc: give NAME=REGEX"),
        ("auc=b", "Regex 'b' of 'auc' has no group"),
    ):
        done = subprocess.run([PENSTOCK, "run", code, "--metric", given], capture_output=True, text=True)
        assert done.returncode == 1
        assert words in done.stderr
