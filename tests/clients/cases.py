"""What is tried with each client: the rows of the table. The functions of `scripts/` have these names."""

from __future__ import annotations

import ast
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"

#: Name of a case -> what it tries; what exactly each client does is said where it does it.
CASES = {
    "arguments": "Arguments, environment, tags, time limit; wait with the log",
    "script": "A script and its input uploaded, the output fetched",
    "framework_image": "The image of a framework",
    "source_folder": "FrameworkProcessor: source_dir, requirements.txt, the SDK's own runproc.sh",
    "network": "NetworkConfig: isolation holds, VPC settings are shown",
    "stop": "Stop; the job found again by name and by ARN",
    "failure": "A job that fails: the documented exception, reason and exit message",
    "waiters": "Waiters",
    "lists": "Lists: filters, order, pages",
    "tags": "AddTags, ListTags, DeleteTags",
    "delete": "DeleteProcessingJob; its name is free again",
    "errors": "Error codes, statuses and messages",
    "log_pages": "DescribeLogStreams and GetLogEvents: tokens, order, the last page",
    "upload_helpers": "S3Uploader, S3Downloader",
    "session_data": "upload_data, download_data, default_bucket, a bucket that is made",
    "kms": "SSE-KMS asked for, with a key and without",
    "checksums": "Checksums: CRC32 in headers, aws-chunked bodies with a trailer",
    "multipart": "Uploads in parts, ranges",
    "presigned": "Presigned URLs",
    "experiments": "An experiment, a trial and a job in it, as in the tutorials",
    "trackers": "A tracker: parameters, files, tables, the lineage",
    "searches": "Experiments found and removed",
    "runs": "Runs: metrics, files, jobs that belong to one; their DataFrame",
    "charts": "Charts of a run, by scikit-learn: what is stored",
    "run_in_job": "The run of a job, loaded by the job's own script, and another that the script makes",
    "identity": "get_execution_role, roles by name, the account's number",
}

#: Client -> the package whose version is shown, the files with its cases.
CLIENTS = {
    "boto3-oldest": ("boto3", ("boto3_jobs.py", "boto3_logs.py", "boto3_storage.py")),
    "boto3-latest": ("boto3", ("boto3_jobs.py", "boto3_logs.py", "boto3_storage.py")),
    "awscli": ("awscli", ("awscli_jobs.py", "awscli_storage.py")),
    "smexperiments": ("sagemaker-experiments", ("smexperiments_tracking.py",)),
    "sagemaker-v2": (
        "sagemaker",
        ("sdk2_processors.py", "sdk2_jobs.py", "sdk2_experiments.py", "sdk_session.py"),
    ),
    "sagemaker-v3": ("sagemaker", ("sdk3_processors.py", "sdk3_jobs.py", "sdk_session.py")),
    "penstock": (
        "penstock",
        (
            "sdk2_processors.py",
            "sdk2_jobs.py",
            "sdk2_experiments.py",
            "smexperiments_tracking.py",
            "sdk_session.py",
        ),
    ),
}


def cases_of(client: str) -> dict[str, Path]:
    """The cases that a client has -> the file of each: the public functions of its files."""
    files = [SCRIPTS / name for name in CLIENTS[client][1]]
    return {
        function.name: file
        for file in files
        for function in ast.parse(file.read_text()).body
        if isinstance(function, ast.FunctionDef) and not function.name.startswith("_")
    }
