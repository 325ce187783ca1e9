"""VolumeSizeInGB as a quota: programs that write more than it, in all the ways there are, and inputs that are larger."""

import re

import pytest

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
            os.wait()
        file = {opened}
        block = os.urandom(1 << 20)
        while True:
            file.write(block)
        """
    )
    with pytest.raises(UnexpectedStatusException, match="VolumeSizeInGB is 1"):
        job.run(code=code, outputs=[ProcessingOutput(source=OUT, output_name="out")], logs=False)
    told = job.latest_job.describe()
    assert told["FailureReason"].startswith("ClientError: The volume is full: the job's files take ")
    assert named in told["FailureReason"]
    assert "Ask for a larger VolumeSizeInGB" in told["FailureReason"]
    taken = float(re.search(r"take ([\d.]+) GiB", told["FailureReason"])[1])
    assert 1 <= taken < 2  # how far it gets is for `make bench` to tell
    assert "kept" in objects(told["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"])
