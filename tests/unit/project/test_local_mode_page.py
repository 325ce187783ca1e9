"""docs/local-mode.md: every limitation of SageMaker's local mode has its line, and every line a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROWS = {
    int(number): cells.split(" | ")
    for number, cells in re.findall(
        r"^\| (\d+) \| (.*) \|$", (ROOT / "docs/local-mode.md").read_text(), re.MULTILINE
    )
}
#: Where tests lie, those of the conformance suites and of the official clients among them.
FILES = [path for folder in ("tests", "src/penstock/testing") for path in (ROOT / folder).rglob("*.py")]


def test_all_44_have_their_line():
    assert sorted(ROWS) == list(range(1, 45))
    for number, cells in ROWS.items():
        assert len(cells) == 3, number
        assert all(cells), number


def test_every_line_names_tests_that_exist():
    for number, (_, _, tests) in ROWS.items():
        named = re.findall(r"`([\w.]+)::(\w+)`", tests)
        assert ", ".join(f"`{file}::{name}`" for file, name in named) == tests, number
        assert named, number
        for file, name in named:
            [path] = [path for path in FILES if path.name == file]
            assert re.search(rf"^ *def {name}\(", path.read_text(), re.MULTILINE), f"{number}: {file}::{name}"
