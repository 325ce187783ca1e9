"""docs/conformance.md is what its generator writes, and says something of every operation and member."""

import copy
import tomllib

import pytest

from penstock.api.operations import OPERATIONS


@pytest.fixture
def lines(conformance):
    return tomllib.loads(conformance.LINES.read_text())


def test_everything_has_a_line(conformance, lines):
    assert list(conformance.mistakes(lines)) == []


def test_the_page_is_what_is_so(conformance, lines):
    assert conformance.page(lines) == conformance.PAGE.read_text(), "run `make conformance`"


def test_every_operation_and_its_members_are_on_the_page(conformance):
    page = conformance.PAGE.read_text()
    for service, name in OPERATIONS:
        assert f"| {service} | {name} |" in page
    assert "| ProcessingS3Input | S3InputMode |" in page
    assert "| ProcessingJobSummary | ExitMessage |" in page


@pytest.mark.parametrize(
    ("section", "table", "name", "words"),
    [
        ("operations", "sagemaker", "StopProcessingJob", "[operations.sagemaker] has no line for StopProcessingJob"),
        ("sagemaker", "ProcessingS3Input", "S3Uri", "[sagemaker.ProcessingS3Input] has no line for S3Uri"),
        ("logs", "OutputLogEvent", "*", "[logs.OutputLogEvent] has no line for timestamp"),
    ],
)  # fmt: skip
def test_what_has_no_line_is_told(conformance, lines, section, table, name, words):
    changed = copy.deepcopy(lines)
    del changed[section][table][name]
    assert words in list(conformance.mistakes(changed))


def test_lines_that_say_nothing_sound_are_told(conformance, lines):
    lines["sagemaker"]["Tag"]["Colour"] = ["works", "", "reference"]
    lines["sagemaker"]["VpcConfig"]["Subnets"] = ["perhaps", "", "reference"]
    lines["operations"]["sts"]["GetCallerIdentity"] = ["not there", "", "sts"]
    told = list(conformance.mistakes(lines))
    assert "[sagemaker.Tag] has no member Colour" in told
    assert any("'perhaps' is no state" in line for line in told)
    assert any("GetCallerIdentity is served" in line for line in told)
