"""Inputs and outputs of a job that was started: found by their names, and their files to be read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, SupportsIndex, TypeVar, overload

from penstock import units
from penstock.client import transfer
from penstock.client.io import ProcessingInput, ProcessingOutput
from penstock.client.names import is_s3, parse_s3_url
from penstock.exceptions import UnexpectedStatusException

if TYPE_CHECKING:
    from penstock.client.job import ProcessingJob

#: How many names an error and how many rows a table shows.
_NAMES, _ROWS = 10, 50


D = TypeVar("D", bound="JobFiles")

#: An object: its key, and its size in bytes.
_Stored = tuple[str, int]


class File(NamedTuple):
    """A file of an input or an output."""

    name: str
    """Relative to the input's or output's URI; the last part of that if it is an object."""
    size: int
    """In bytes."""


class JobFiles:
    """What the inputs and outputs of a job have in common: files in S3."""

    kind: ClassVar[str]
    _job: ProcessingJob

    @property
    def name(self) -> str:
        """Its name."""
        raise NotImplementedError

    @property
    def uri(self) -> str:
        """Where it lies.

        Raises:
            ValueError: Nowhere that is known: the job's program handles it by itself.
        """
        raise NotImplementedError

    def list(self) -> Sequence[File]:
        """All its files, sorted by name.

        Raises:
            ValueError: It is not in S3.
            UnexpectedStatusException: An output of a job that has not ended, or that failed before it was stored.
        """
        return [File(name, size) for name, (_, size) in self._files().items()]

    def read_bytes(self, name: str | None = None) -> bytes:
        """The bytes of one file: of the only one there is, or of that name.

        Raises:
            ValueError: There are several, and none was named; or as `list`.
            FileNotFoundError: There is none (of that name).
            UnexpectedStatusException: As `list`.
        """
        return self._read(self._one(name)[1])

    def read_text(self, name: str | None = None, encoding: str = "utf-8") -> str:
        """The text of one file. Which one, and what it raises, is as in `read_bytes`."""
        return self.read_bytes(name).decode(encoding)

    def read_json(self, name: str | None = None) -> Any:
        """What a JSON file says: the only one whose name ends in `.json`, the only one there is, or that of the name.

        Raises:
            ValueError: It is no JSON; or as `read_bytes`.
            FileNotFoundError: As `read_bytes`.
            UnexpectedStatusException: As `list`.
        """
        chosen, file = self._one(name, ending=".json")
        try:
            return json.loads(self._read(file))
        except ValueError as error:
            raise ValueError(f"{chosen} of the {self._title} is no JSON: {error}") from error

    def download(self, folder: str | os.PathLike[str]) -> Sequence[str]:
        """Bring all files to `folder`, which is made when missing; the paths written. Raises as `list` does."""
        return self._fetch(self._files(), folder)

    def to_pandas(self, name: str | None = None, **options: Any) -> Any:
        """A DataFrame of one file, or of all files of one kind, one after the other.

        CSV, TSV, Parquet, JSON and JSON Lines are read, by the ends of the names, also compressed ones
        (`.csv.gz`). Folders `column=value` of Parquet files become columns.

        Args:
            name: The one file to read.
            options: For pandas' own reader, e.g. `header=None` for `pandas.read_csv`.

        Raises:
            ImportError: pandas is not installed.
            ValueError: No file, or files of several kinds, and none was named; or as `list`.
            FileNotFoundError: There is none (of that name).
            UnexpectedStatusException: As `list`.
        """
        from penstock.client import frames  # noqa: PLC0415 - for few

        files = dict([self._one(name)]) if name is not None else self._files()
        if not files:
            raise FileNotFoundError(self._empty)
        return frames.read(files, self._title, self._fetch, options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._job.job_name}>"

    def __str__(self) -> str:
        """Its files, for a terminal."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - comes with boto3

        try:
            files = self._files()
        except (ValueError, OSError, BotoCoreError, ClientError) as error:
            return f"{self.kind} {self.name}: {error}"
        rows = [f"  {units.size(size):>11}  {name}" for name, (_, size) in [*files.items()][:_ROWS]]
        rows += [f"  and {len(files) - _ROWS:,} more"] if len(files) > _ROWS else []
        return "\n".join([f"{self.kind} {self.name}: {self.uri} ({self._amount(files)})", *rows])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self) if cycle else str(self))

    def _repr_html_(self) -> str:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - comes with boto3

        from penstock.client import card  # noqa: PLC0415 - for notebooks

        title = f"{self.kind} {self.name}"
        try:
            files = self._files()
        except (ValueError, OSError, BotoCoreError, ClientError) as error:
            return card.message(title, str(error))
        rows = [(name, size) for name, (_, size) in [*files.items()][:_ROWS]]
        return card.files(f"{title}: {self._amount(files)}", self.uri, rows, len(files))

    def _files(self) -> dict[str, _Stored]:
        """All files by their names."""
        if not is_s3(self.uri):
            raise ValueError(
                f"The {self._title} is not in S3: the job sees {self.uri} where it lies. Read it there."
            )
        _, prefix = parse_s3_url(self.uri)
        folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        found = {}
        for key, size in self._objects():
            if key == prefix and not key.endswith("/"):
                found[key.rpartition("/")[2]] = key, size
            # A neighbour is left out (`train-old/x` for `train`), and a folder as consoles make them.
            elif key.startswith(folder) and not (key.endswith("/") and size == 0):
                found[key.removeprefix(folder)] = key, size
        return dict(sorted(found.items()))

    def _objects(self) -> Iterable[_Stored]:
        bucket, prefix = parse_s3_url(self.uri)
        return self._job.sagemaker_session._objects(bucket, prefix)  # noqa: SLF001 - of this package

    def _one(self, name: str | None, ending: str | None = None) -> tuple[str, _Stored]:
        """The one file that is meant, with its name."""
        files = self._files()
        if name is not None:
            if name in files:
                return name, files[name]
            there = f"It holds {_some([*files])}." if files else "It holds no files."
            raise FileNotFoundError(f"The {self._title} holds no file {name!r}. {there}")
        names = [one for one in files if ending is not None and one.endswith(ending)] or [*files]
        if not names:
            raise FileNotFoundError(self._empty)
        if len(names) > 1:
            raise ValueError(f"The {self._title} holds {len(names)} files: name one of {_some(names)}.")
        return names[0], files[names[0]]

    def _read(self, file: _Stored) -> bytes:
        bucket, _ = parse_s3_url(self.uri)
        return self._job.sagemaker_session.get_object(bucket, file[0])

    def _fetch(self, files: dict[str, _Stored], folder: str | os.PathLike[str]) -> Sequence[str]:
        session = self._job.sagemaker_session
        bucket, _ = parse_s3_url(self.uri)
        return transfer.download_these(
            session.s3_client, os.fspath(folder), bucket, [(key, name) for name, (key, _) in files.items()]
        )

    def _amount(self, files: dict[str, _Stored]) -> str:
        count = f"{len(files):,} {'file' if len(files) == 1 else 'files'}"
        return f"{count}, {units.size(sum(size for _, size in files.values()))}"

    @property
    def _title(self) -> str:
        return f"{self.kind} {self.name!r} of the job {self._job.job_name}"

    @property
    def _empty(self) -> str:
        return f"The {self._title} holds no files: nothing lies at {self.uri}."


class JobInput(JobFiles, ProcessingInput):
    """An input of a job."""

    kind = "input"

    @classmethod
    def of(cls, job: ProcessingJob, given: ProcessingInput) -> Self:
        """`given` as an input of `job`."""
        return _of(cls, job, given)

    @property
    def name(self) -> str:
        """Its name."""
        return self.input_name or ""

    @property
    def uri(self) -> str:
        """The S3 URI, or the `file://` URL of what the job sees where it lies."""
        if self.s3_input is None:
            raise ValueError(f"The {self._title} has no S3 URI: it is a DatasetDefinition.")
        return self.s3_input.s3_uri


class JobOutput(JobFiles, ProcessingOutput):
    """An output of a job."""

    kind = "output"

    @classmethod
    def of(cls, job: ProcessingJob, given: ProcessingOutput) -> Self:
        """`given` as an output of `job`."""
        return _of(cls, job, given)

    @property
    def name(self) -> str:
        """Its name."""
        return self.output_name or ""

    @property
    def uri(self) -> str:
        """The S3 URI."""
        if not self.destination:
            raise ValueError(f"The {self._title} has no S3 URI: the program itself stores it.")
        return self.destination

    def _objects(self) -> Iterable[_Stored]:
        """What this very job has stored, as far as its server knows that: others may have written to the same place."""
        job, session = self._job, self._job.sagemaker_session
        told = job.describe()
        status = told["ProcessingJobStatus"]
        goes_on = status in {"InProgress", "Stopping"}
        if goes_on and self.s3_upload_mode != "Continuous" and not self.app_managed:
            raise UnexpectedStatusException(
                f"The {self._title} is not there yet: the job is {status}, and stores its outputs when its program "
                "has ended. job.wait() waits for that.",
                allowed_statuses=["Completed", "Stopped", "Failed"],
                actual_status=status,
            )
        # The record has them when they all are stored.
        is_on_record = session.is_local and not self.app_managed and not goes_on
        found = job._stored(self.name) if is_on_record else [*super()._objects()]  # noqa: SLF001 - of this package
        if status == "Failed" and not found:
            reason = told.get("FailureReason", "(No reason provided)")
            raise UnexpectedStatusException(
                f"The {self._title} holds no files, since the job has failed: {reason} job.logs() prints its log.",
                allowed_statuses=["Completed", "Stopped"],
                actual_status=status,
            )
        return found


class ByName(list[D]):
    """A list whose items are also found by their names: `job.outputs["train"]`."""

    @overload
    def __getitem__(self, key: SupportsIndex | str, /) -> D: ...
    @overload
    def __getitem__(self, key: slice, /) -> list[D]: ...
    def __getitem__(self, key: Any, /) -> Any:
        """The item at a place, those of a slice, or the one of that name."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        for item in self:
            if item.name == key:
                return item
        there = f"These are there: {_some(self.keys())}." if self else "It has none at all."
        kind = self[0].kind if self else "input or output"
        raise NoSuchName(f"The job has no {kind} {key!r}. {there}")

    def __contains__(self, key: object) -> bool:
        return key in self.keys() if isinstance(key, str) else super().__contains__(key)

    def keys(self) -> list[str]:
        """The names, in the order of the list."""
        return [item.name for item in self]

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()


class NoSuchName(KeyError):
    """A job has no input or output of that name; the message tells which there are."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would show it in quotation marks


def _of(kind: type[D], job: ProcessingJob, given: object) -> D:
    # A copy: what a user has made may be given to several jobs.
    made = kind.__new__(kind)
    vars(made).update(vars(given), _job=job)
    return made


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMES])
    return f"{shown} and {len(names) - _NAMES:,} more" if len(names) > _NAMES else shown
