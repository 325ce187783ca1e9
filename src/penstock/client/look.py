"""A look at a job: its view, read from its server."""

from __future__ import annotations

from penstock.client import record, view
from penstock.client.connection import Connection
from penstock.client.job_log import tail
from penstock.clock import now


def look(connection: Connection, job: str, lines: int = 0) -> view.View:
    """What is to be seen of `job` at this moment, with at most so many of its last log lines.

    Raises:
        PenstockError: The local server has no such job, or does not answer.
        botocore.exceptions.BotoCoreError: Another server does not answer.
        botocore.exceptions.ClientError: Another server refuses.
    """
    if connection.is_local:
        told = record.fetch(connection.address, job)
        return view.of_record(told, now(), tail(connection, job, lines) if lines else None)
    described = connection.sagemaker.describe_processing_job(ProcessingJobName=job)
    return view.of_description(described, now(), tail(connection, job, lines) if lines else None)
