"""Files as a DataFrame: by the ends of their names, compressed or not, several as one."""

from __future__ import annotations

import builtins
import gzip
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.client import frames

Read = Callable[..., Any]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read all files that were written below `tmp_path`."""

    def read(**options: Any) -> Any:
        found = {
            path.relative_to(tmp_path).as_posix(): (str(path), path.stat().st_size)
            for path in sorted(tmp_path.rglob("*"))
            if path.is_file()
        }

        def fetch(files: frames.Files, folder: str) -> Sequence[str]:
            for name, (source, _) in files.items():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
            return [str(Path(folder, name)) for name in files]

        return frames.read(found, "output 'o' of the job j", fetch, options)

    return read


def test_csv_files_follow_each_other(read: Read, tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/2.csv").write_text("a,b\n3,4\n")
    (tmp_path / "_SUCCESS").touch()
    found = read()
    assert found.to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    assert list(found.index) == [0, 1]


def test_options_are_those_of_pandas(read: Read, tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("1,2\n")
    assert read(header=None, names=["x", "y"]).to_dict("list") == {"x": [1], "y": [2]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "a,b\n1,2\n"),
        ("x.CSV", "a,b\n1,2\n"),
        ("x.tsv", "a\tb\n1\t2\n"),
        ("x.json", '[{"a": 1, "b": 2}]'),
        ("x.jsonl", '{"a": 1, "b": 2}\n'),
        ("x.ndjson", '{"a": 1, "b": 2}\n'),
    ],
)
def test_each_kind_also_compressed(read: Read, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read().to_dict("list") == {"a": [1], "b": [2]}
    (tmp_path / name).unlink()
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    assert read().to_dict("list") == {"a": [1], "b": [2]}


def test_partitions_of_parquet_become_columns(read: Read, tmp_path: Path) -> None:
    import pandas as pd

    for year in (2024, 2025):
        (tmp_path / f"year={year}").mkdir()
        pd.DataFrame({"a": [year - 2000]}).to_parquet(tmp_path / f"year={year}" / "part.parquet")
    found = read()
    assert list(found["a"]) == [24, 25]
    assert [int(year) for year in found["year"]] == [2024, 2025]


def test_files_of_several_kinds_are_not_mixed(read: Read, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "y.json").write_text("[]")
    with pytest.raises(ValueError, match=r"files of several kinds \(\.csv, \.json\): name one"):
        read()


def test_what_pandas_is_not_asked_to_read_is_named(read: Read, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").touch()
    with pytest.raises(ValueError, match=r"'o' of the job j holds 'model.tar.gz', which to_pandas\(\) can't"):
        read()


def test_without_pandas_it_says_what_to_install(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install pandas"):
        read()
