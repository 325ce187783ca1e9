"""Files of a job as a pandas DataFrame. pandas is the user's own: it is loaded here alone, and may be absent."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

#: The end of a file's name -> which reader of pandas takes it, with what options.
_READERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".csv": ("read_csv", {}),
    ".tsv": ("read_csv", {"sep": "\t"}),
    ".parquet": ("read_parquet", {}),
    ".json": ("read_json", {}),
    ".jsonl": ("read_json", {"lines": True}),
    ".ndjson": ("read_json", {"lines": True}),
}
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip")

#: By their names key and size of files.
Files = dict[str, tuple[str, int]]


def read(
    files: Files, title: str, fetch: Callable[[Files, str], Sequence[str]], options: Mapping[str, Any]
) -> Any:
    """A DataFrame of all `files`, one after the other in the order of their names.

    Args:
        files: The files; of several, those whose name begins with `_` or `.` are left out (`_SUCCESS`).
        title: Whose files they are, for errors.
        fetch: Brings files to a folder.
        options: For pandas' reader.

    Raises:
        ImportError: pandas is not installed.
        ValueError: The files are of several kinds, or of none that can be read.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - the user's own
    except ImportError as error:
        raise ImportError(
            "to_pandas() needs pandas, which is not installed here. Run: pip install pandas "
            "(and pyarrow for Parquet); read_text() and download() need nothing."
        ) from error
    if len(files) > 1:
        files = {name: file for name, file in files.items() if not _is_hidden(name)}
    ending = _ending(files, title)
    reader, more = _READERS[ending]
    options = {**more, **options}
    with tempfile.TemporaryDirectory() as folder:
        paths = sorted(fetch(files, folder))
        if ending == ".parquet" and len(paths) > 1:  # folders `column=value` are known to the reader alone
            return pd.read_parquet(folder, **options)
        frames = [getattr(pd, reader)(path, **options) for path in paths]
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _ending(files: Files, title: str) -> str:
    """The one end that all names have, without that of a compression."""
    endings = sorted({_kind(name) for name in files})
    if len(endings) > 1:
        raise ValueError(
            f"The {title} holds files of several kinds ({', '.join(endings)}): name one of them."
        )
    if not endings or endings[0] not in _READERS:
        found = ", ".join(repr(name) for name in [*files][:5]) or "nothing"
        raise ValueError(
            f"The {title} holds {found}, which to_pandas() can't read: it knows {', '.join(_READERS)}, also "
            f"compressed ({', '.join(_COMPRESSIONS)}). read_bytes() and download() take all."
        )
    return endings[0]


def _kind(name: str) -> str:
    path = PurePosixPath(name.lower())
    return (path.with_suffix("") if path.suffix in _COMPRESSIONS else path).suffix or path.name


def _is_hidden(name: str) -> bool:
    return Path(name).name.startswith(("_", "."))
