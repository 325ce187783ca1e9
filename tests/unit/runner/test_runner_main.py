import json
import subprocess
import sys

from penstock.job.run import Run, S3Access
from penstock.runner.folder import RunFolder


def test_where_a_program_has_been_nothing_is_fetched_even_if_the_journal_is_lost(tmp_path):
    """Its links would lead what is fetched to other places of the machine."""
    folder = RunFolder(tmp_path / "run")
    (folder.ml / "processing").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder.ml / "config").symlink_to(elsewhere)
    run = Run(
        job_name="j",
        job_uid="u",
        job_arn="arn",
        host="algo-1",
        hosts=("algo-1",),
        request={"AppSpecification": {"ImageUri": "none"}, "StoppingCondition": {"MaxRuntimeInSeconds": 60}},
        region="us-east-1",
        token="token",
        report_url="http://127.0.0.1:1",
        home=None,
        s3=S3Access("http://127.0.0.1:1", "us-east-1"),
        environments=str(tmp_path / "environments"),
        patience=0.0,
    )
    folder.run.write_text(run.to_json())
    subprocess.run([sys.executable, "-m", "penstock.runner", str(folder.path)], check=True)
    events = [json.loads(line) for line in folder.journal.read_text().splitlines()]
    assert "ended without a report" in events[-1]["data"]["reason"]
    assert list(elsewhere.iterdir()) == []
