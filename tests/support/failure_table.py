"""What docs/failures.md says that a job's FailureReason is."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"


def rows():
    """What went wrong -> what is said."""
    found = re.findall(r"^\| ([^|`]+) \| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(dict(found)) == len(found)
    return dict(found)


def assert_told(case, reason):
    """The reason is what the page says of the case, where `...` may be anything."""
    pattern = ".*".join(re.escape(part) for part in rows()[case].split("..."))
    assert re.fullmatch(pattern if case_is_whole(case) else f".*{pattern}.*", reason, re.DOTALL), reason


def case_is_whole(case):
    """Whether what is said begins with one of AWS's prefixes, and so is all of a FailureReason."""
    return rows()[case].startswith(("ClientError", "AlgorithmError", "InternalServerError"))
