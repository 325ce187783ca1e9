"""docs/failures.md: each of its rows is a test, which compares the words."""

import re
from pathlib import Path

import pytest
from failure_table import assert_told, rows

TESTS = Path(__file__).parents[2]


def test_each_row_is_a_test():
    tests = [path.read_text() for kind in ("unit", "machine") for path in (TESTS / kind).rglob("*.py")]
    assert len(rows()) > 25
    for case in rows():
        assert any(f'"{case}"' in text for text in tests), case


def test_other_words_are_noticed():
    assert_told("the program ends with an error", "AlgorithmError: , exit code: 7")
    with pytest.raises(AssertionError):
        assert_told("the program ends with an error", "AlgorithmError: , exit code: 7. More")


def test_every_row_has_words_and_a_remedy():
    text = (TESTS.parent / "docs/failures.md").read_text()
    lines = [line for line in text.splitlines() if re.match(r"\| (?!what went|---)", line)]
    assert len(lines) == len(rows())
