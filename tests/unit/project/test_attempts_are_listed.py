"""docs/security.md lists every attempt that is tested, and nothing that is not."""

import re
from pathlib import Path

import pytest

from penstock.testing.attempts import AttemptsSuite
from penstock.testing.attempts_kernel import CALLS, SOCKETS
from penstock.testing.attempts_processes import ON_PROCESS_1

ROOT = Path(__file__).parents[3]
LIST = (ROOT / "docs/security.md").read_text().partition("\n## What is tried\n")[2].partition("\n## ")[0]
TABLES = {"test_call": CALLS, "test_socket": SOCKETS, "test_on_process_1_of_its_walls": ON_PROCESS_1}
ELSEWHERE = re.findall(r"`(tests/[\w/]+\.py)`:\s+`(test_\w+)`", LIST)


def test_each_test_of_the_suite_has_its_line_and_each_line_its_test():
    tests = {name for name in dir(AttemptsSuite) if name.startswith("test_")}
    named = set(re.findall(r"`(test_\w+)`", LIST)) - {name for _, name in ELSEWHERE}
    assert named == tests


@pytest.mark.parametrize("table", TABLES)
def test_what_stands_in_a_table_has_a_line_each(table):
    below = LIST.partition(f"(`{table}`)\n\n")[2].partition("\n\n")[0]
    assert [line.removeprefix("- ") for line in below.splitlines()] == list(TABLES[table])


@pytest.mark.parametrize(("file", "name"), ELSEWHERE)
def test_tests_of_other_files_are_there(file, name):
    assert f"def {name}(" in (ROOT / file).read_text()
