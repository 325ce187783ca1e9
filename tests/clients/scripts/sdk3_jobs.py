"""SageMaker's SDK v3: the resource ProcessingJob."""

from botocore.exceptions import ClientError
from case import differs, main, raised, unique
from sagemaker.core.exceptions import UnexpectedStatusException
from sagemaker.core.processing import Processor
from sagemaker.core.resources import ProcessingJob
from sagemaker.core.resources import Tag as Tags
from sagemaker.core.shapes import (
    AppSpecification,
    ProcessingClusterConfig,
    ProcessingResources,
    Tag,
)
from sagemaker.core.utils.exceptions import FailedStatusError

IMAGE = "python:3.11"
ROLE = "arn:aws:iam::000000000000:role/any"
ONE = {"instance_count": 1, "instance_type": "ml.m5.xlarge"}


def stop():
    """run(wait=False); ProcessingJob.get, stop, wait"""
    made = Processor(
        role=ROLE, image_uri=IMAGE, entrypoint=["sleep", "600"], base_job_name=unique("job"), **ONE
    )
    made.run(wait=False, logs=False)
    job = ProcessingJob.get(made.latest_job.processing_job_name)
    job.stop()
    job.wait(poll=1)
    assert job.processing_job_status == "Stopped"


def failure():
    """run(wait, logs) and ProcessingJob.wait raise; exit_message"""
    code = "open('/opt/ml/output/message', 'w').write('no such column: x'); raise SystemExit(5)"
    made = Processor(
        role=ROLE, image_uri=IMAGE, entrypoint=["python3", "-c", code], base_job_name=unique("job"), **ONE
    )
    error = raised((UnexpectedStatusException, AttributeError), made.run)
    if isinstance(error, AttributeError):  # its code looks for the class in botocore.exceptions
        differs(f"run raises {error!r} where it means UnexpectedStatusException, with any server")
    else:
        assert "exit code: 5" in str(error), error
    error = raised(FailedStatusError, lambda: made.latest_job.wait(poll=1, logs=True))
    assert "exit code: 5" in str(error), error
    assert made.latest_job.exit_message == "no such column: x"


def waiters():
    """ProcessingJob.create, refresh, wait(logs=True)"""
    job = _create(unique("job"))
    job.wait(poll=1, logs=True)
    assert job.processing_job_status == "Completed"
    assert job.refresh().app_specification.container_entrypoint == ["true"]


def lists():
    """ProcessingJob.get_all: name_contains, sort_by, sort_order"""
    names = [unique(f"job{n}") for n in range(3)]
    for name in names:
        _create(name)
    found = ProcessingJob.get_all(name_contains=unique(""), sort_by="Name", sort_order="Descending")
    assert [one.processing_job_name for one in found] == names[::-1]


def tags():
    """Tag.add_tags, get_all, delete_tags"""
    job = _create(unique("job"), tags=[Tag(key="a", value="1")])
    Tags.add_tags(resource_arn=job.processing_job_arn, tags=[Tag(key="b", value="2")])
    Tags.delete_tags(resource_arn=job.processing_job_arn, tag_keys=["a"])
    assert [(t.key, t.value) for t in Tags.get_all(resource_arn=job.processing_job_arn)] == [("b", "2")]


def delete():
    """ProcessingJob.delete"""
    job = _create(unique("job"))
    job.wait(poll=1)
    job.delete()
    raised(ClientError, lambda: ProcessingJob.get(job.processing_job_name))
    _create(job.processing_job_name)


def errors():
    """The ClientError of a job that is not there, and of a name that is taken"""
    error = raised(ClientError, lambda: ProcessingJob.get("no-such-job"))
    assert error.response["Error"]["Code"] == "ValidationException"
    name = unique("job")
    _create(name)
    error = raised(ClientError, lambda: _create(name))
    assert error.response["Error"]["Code"] == "ResourceInUse"


def _create(name, **more):
    return ProcessingJob.create(
        processing_job_name=name,
        processing_resources=ProcessingResources(
            cluster_config=ProcessingClusterConfig(
                instance_count=1, instance_type="ml.m5.xlarge", volume_size_in_gb=1
            )
        ),
        app_specification=AppSpecification(image_uri=IMAGE, container_entrypoint=["true"]),
        role_arn=ROLE,
        **more,
    )


if __name__ == "__main__":
    main(globals())
