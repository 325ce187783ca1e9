"""What an environment is, as a value and as the record kept beside it."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock.job.lock import EnvironmentLock

#: Told what is being done, one plain sentence at a time.
Progress = Callable[[str], None]
#: Asked again and again whether the work is still wanted; has to answer quickly, from whatever thread.
Asked = Callable[[], bool]


class Cancelled(PenstockError):
    """An environment was not made, because its caller no longer wanted it."""


def never() -> bool:
    """What work is asked that nobody cancels."""
    return False


def leave_if(cancelled: Asked) -> None:
    """Give up when the work is no longer wanted.

    Raises:
        Cancelled: `cancelled` says so.
    """
    if cancelled():
        raise Cancelled("The environment was not prepared: its preparation was cancelled.")


@dataclass(frozen=True)
class Environment:
    """An interpreter and packages, complete and compiled, that nobody writes to any more."""

    digest: str
    """Hash of the lock, the interpreter and the platform; names the folder."""
    prefix: Path
    """The virtual environment. It is relocatable: inside a job's walls it lies elsewhere."""
    python: str
    """The interpreter's full version, `3.11.7`."""
    interpreter: str
    """Absolute path of the interpreter that the environment was made from, links resolved."""
    visible: tuple[str, ...]
    """Folders that the interpreter needs at the same absolute path inside the walls; none for one under /usr."""
    packages: Mapping[str, str]
    """Name -> version of all that is installed."""
    deviations: tuple[str, ...] = ()
    """Where it differs from the image, one plain sentence each."""
    notes: tuple[str, ...] = ()
    """What else its user should know."""
    lock: str = field(default="", repr=False)
    """Exact versions with hashes, in the form of a requirements file."""
    name: str = ""
    """What it stands for, as `penstock run --framework` takes it."""
    requirements: str = ""
    """SHA-256 (hex) of the requirements file that is part of it; empty when there is none."""

    @property
    def minor(self) -> str:
        """`3.11`."""
        return ".".join(self.python.split(".")[:2])

    @property
    def lock_text(self) -> str:
        """The lock as a file, from which the environment can be made again."""
        return EnvironmentLock(self.lock, self.python, self.name, here(), self.requirements).text

    def to_json(self) -> str:
        """The form kept on disk."""
        return json.dumps({**asdict(self), "prefix": str(self.prefix)}, indent=1)

    def record(self) -> dict[str, Any]:
        """The form kept on a job's record: all but the lock, which is long and kept once for many jobs."""
        return {**{k: v for k, v in vars(self).items() if k != "lock"}, "prefix": str(self.prefix)}

    @classmethod
    def from_json(cls, text: str) -> Environment:
        """Read what `to_json` wrote; members of other versions are ignored.

        Raises:
            ValueError, KeyError, TypeError: The text is no such record.
        """
        known = {f.name for f in fields(cls)}
        data = {k: v for k, v in json.loads(text).items() if k in known}
        data["prefix"] = Path(data["prefix"])
        for name in ("visible", "deviations", "notes"):
            data[name] = tuple(data.get(name, ()))
        return cls(**data)


def here() -> str:
    """This platform: what wheels are chosen by, besides the interpreter."""
    return " ".join((platform.system(), platform.machine(), *platform.libc_ver()))


def normal(name: str) -> str:
    """A package's name in the one form of the many that it may be written in."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version_numbers(version: str) -> tuple[int, ...]:
    """`1.10.2` -> (1, 10, 2), reading up to the first part that is no number; trailing zeros don't count."""
    numbers: list[int] = []
    for part in version.split("+", maxsplit=1)[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
