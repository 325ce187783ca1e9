"""SageMaker's SDK v2, and Penstock's own, which has the same names: jobs."""

from botocore.exceptions import ClientError
from case import main, raised, unique
from sagemaker import Session
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.processing import ProcessingInput, ProcessingJob, ProcessingOutput, Processor

IMAGE = "python:3.11"
ROLE = "arn:aws:iam::000000000000:role/any"
ONE = {"instance_count": 1, "instance_type": "ml.m5.xlarge"}


def stop():
    """ProcessingJob: from_processing_name, from_processing_arn, stop, wait, describe"""
    session = Session()
    made = Processor(
        role=ROLE, image_uri=IMAGE, entrypoint=["sleep", "600"], base_job_name=unique("job"), **ONE
    )
    given = session.upload_data(__file__, key_prefix=unique("input"))
    made.run(
        inputs=[ProcessingInput(source=given, destination="/opt/ml/processing/in", input_name="in")],
        outputs=[ProcessingOutput(source="/opt/ml/processing/out", output_name="out")],
        wait=False,
        logs=False,
    )
    found = ProcessingJob.from_processing_name(session, made.latest_job.job_name)
    assert [(one.input_name, one.source) for one in found.inputs] == [("in", given)]
    assert [one.destination for one in found.outputs] == [made.latest_job.outputs[0].destination]
    again = ProcessingJob.from_processing_arn(session, found.describe()["ProcessingJobArn"])
    assert again.job_name == made.latest_job.job_name
    again.stop()
    found.wait(logs=False)
    assert found.describe()["ProcessingJobStatus"] == "Stopped"


def failure():
    """run(wait, logs) raises UnexpectedStatusException; ExitMessage"""
    code = "open('/opt/ml/output/message', 'w').write('no such column: x'); raise SystemExit(5)"
    made = Processor(
        role=ROLE, image_uri=IMAGE, entrypoint=["python3", "-c", code], base_job_name=unique("job"), **ONE
    )
    error = raised(UnexpectedStatusException, made.run)
    assert error.actual_status == "Failed"
    assert error.allowed_statuses == ["Completed", "Stopped"]
    assert "Reason: AlgorithmError: " in str(error), error
    assert "exit code: 5" in str(error), error
    assert made.latest_job.describe()["ExitMessage"] == "no such column: x"


def errors():
    """The ClientError of a job that is not there, through Session.describe_processing_job"""
    error = raised(ClientError, lambda: Session().describe_processing_job("no-such-job"))
    assert error.response["Error"]["Code"] == "ValidationException"


def waiters():
    """wait_for_processing_job, logs_for_processing_job(wait=False) of an ended job"""
    session = Session()
    made = Processor(role=ROLE, image_uri=IMAGE, entrypoint=["true"], base_job_name=unique("job"), **ONE)
    made.run(wait=False, logs=False)
    assert (
        session.wait_for_processing_job(made.latest_job.job_name, poll=1)["ProcessingJobStatus"]
        == "Completed"
    )
    session.logs_for_processing_job(made.latest_job.job_name, wait=False)


if __name__ == "__main__":
    main(globals())
