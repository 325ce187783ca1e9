"""pytest collects all tests in one run: two files of one name would be one module."""

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[2]


def test_each_file_has_a_name_of_its_own():
    names = Counter(
        path.name for path in TESTS.rglob("*.py") if path.name not in {"conftest.py", "__init__.py"}
    )
    assert len(names) > 100
    assert [name for name, count in names.items() if count > 1] == []
