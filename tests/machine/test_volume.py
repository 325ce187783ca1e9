"""VolumeSizeInGB as a quota: programs that write more than it, in all the ways there are, and inputs that are larger."""

import re

import pytest
from failure_table import assert_told

from penstock.exceptions import UnexpectedStatusException
from penstock.processing import ProcessingOutput

pytestmark = pytest.mark.machine

OUT = "/opt/ml/processing/out"
#: What a program that never stops writing leaves in the end.
WRITERS = {
    "one file": ("open('/tmp/big', 'wb')", "/tmp/big"),
    "an output": ("open('/opt/ml/processing/out/big', 'wb')", f"{OUT}/big"),
    "its environment": ("open('/opt/venv/lib/big', 'wb')", "/opt/venv/lib/big"),
    "a deleted file": ("tempfile.TemporaryFile(dir='/tmp')", "deleted, but held open"),
}


def limited(processor, **changes):
    return processor(volume_size_in_gb=1, **changes)


@pytest.mark.parametrize("where", WRITERS)
def test_a_program_that_writes_more_than_its_volume_is_ended(processor, script, objects, where):
    opened, named = WRITERS[where]
    job = limited(processor)
    code = script(
        f"""
        import os, pathlib, tempfile
        pathlib.Path("{OUT}/kept").write_text("kept")
        if os.fork():
            os.wait()  # what is written by another process counts as well
        file = {opened}
        block = os.urandom(1 << 20)
        while True:
            file.write(block)
        """
    )
    with pytest.raises(UnexpectedStatusException, match="VolumeSizeInGB is 1"):
        job.run(code=code, outputs=[ProcessingOutput(source=OUT, output_name="out")], logs=False)
    told = job.latest_job.describe()
    if where == "one file":
        assert_told("the program writes more than its volume has", told["FailureReason"])
    assert told["FailureReason"].startswith("ClientError: The volume is full: the job's files take ")
    assert named in told["FailureReason"]
    assert "Ask for a larger VolumeSizeInGB" in told["FailureReason"]
    taken = float(re.search(r"take ([\d.]+) GiB", told["FailureReason"])[1])
    assert 1 <= taken < 2  # how far it gets is for `make bench` to tell
    assert "kept" in objects(told["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"])


def test_what_takes_no_room_does_not_count(processor, script):
    """A sparse file, a file of many names, and what was removed again."""
    code = script(
        """
        import os
        with open("/tmp/sparse", "wb") as file:
            os.truncate(file.fileno(), 8 << 30)
        with open("/tmp/one", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 300 << 20)
        for number in range(8):
            os.link("/tmp/one", f"/tmp/name-{number}")
        for _ in range(8):
            with open("/tmp/again", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 300 << 20)
            os.unlink("/tmp/again")
        """
    )
    job = limited(processor)
    job.run(code=code, logs=False)
    assert job.latest_job.describe()["ProcessingJobStatus"] == "Completed"
