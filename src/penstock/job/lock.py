r"""The lock of an environment: exact versions with hashes, by which the same environment is made again.

Its text is a requirements file (``pip install --require-hashes -r`` takes it), with what else decides on an
environment in comments at its top:

```
# Penstock environment lock 1
# framework: sklearn==1.2-1
# python: 3.9.18
# platform: Linux x86_64 glibc 2.36
# requirements: <SHA-256 of the requirements file that is part of it>
numpy==1.24.1 \
    --hash=sha256:...
```
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from penstock.errors import ClientFailure

#: The variable in a request's Environment by which a job asks for the environment of a lock.
VARIABLE = "PENSTOCK_LOCK"
#: The largest text that is taken for a lock.
LARGEST = 1 << 20

_FIRST = "# Penstock environment lock 1"
_ABOUT = re.compile(r"# (framework|python|platform|requirements): (.*)")
_PIN = re.compile(
    r"[A-Za-z0-9][\w.-]*(?:\[[\w., -]+\])?==[\w.!+-]+(?: ?;(?:(?!--)[\w .<>=!~'\"(),+*-])+?)?(?: --hash=\w+:[0-9a-f]+)+"
)
_PYTHON = re.compile(r"3\.\d+(\.\d+)?")


@dataclass(frozen=True)
class EnvironmentLock:
    """What an environment consists of, to the last byte of its packages."""

    pins: str
    """Requirements with exact versions and hashes, one after the other."""
    python: str
    """The interpreter's version, `3.11.7`."""
    framework: str = ""
    """What the environment stands for, as `penstock run --framework` takes it."""
    platform: str = ""
    requirements: str = ""
    """SHA-256 (hex) of the requirements file that is part of it; empty when there is none."""

    @property
    def text(self) -> str:
        """The lock as a file."""
        about = {
            "framework": self.framework,
            "python": self.python,
            "platform": self.platform,
            "requirements": self.requirements,
        }
        lines = [_FIRST, *(f"# {name}: {value}" for name, value in about.items() if value)]
        return "\n".join((*lines, self.pins))

    @property
    def minor(self) -> str:
        """`3.11`."""
        return ".".join(self.python.split(".")[:2])

    @classmethod
    def read(cls, text: str) -> EnvironmentLock:
        """Read what `text` gave, and nothing else: no options, no URLs, nothing without a hash.

        Raises:
            ClientFailure: It is no such lock; the message names the line.
        """
        first, _, rest = text.partition("\n")
        if first.strip() != _FIRST:
            raise ClientFailure(
                f"This is no lock of an environment: it does not begin with {_FIRST!r}. "
                "`penstock describe JOB --lock` prints one."
            )
        about, pins = {}, []
        for line in rest.splitlines():
            found = _ABOUT.fullmatch(line.rstrip())
            if found:
                about[found[1]] = found[2].strip()
            elif line.strip() and not line.startswith("#"):
                pins.append(line)
        for whole in re.sub(r"\\\s*\n", " ", "\n".join(pins)).splitlines():
            pin = " ".join(whole.split())  # many spaces would take a pattern long
            if not _PIN.fullmatch(pin):
                shown = pin.split(" --hash", maxsplit=1)[0][:120]
                raise ClientFailure(f"The lock says {shown!r}; it may hold exact versions with hashes only.")
        if not _PYTHON.fullmatch(about.get("python", "")):
            raise ClientFailure("The lock does not say which Python it is for ('# python: 3.11.7').")
        return cls(pins="\n".join(pins) + "\n", **about)


def decoded(data: bytes) -> str:
    """The text of a lock's file.

    Raises:
        ClientFailure: It is no text.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ClientFailure("This is no lock of an environment: it is not UTF-8.") from None
    if "\0" in text:  # which not every database can hold
        raise ClientFailure("This is no lock of an environment: it holds a NUL character.")
    return text


def sha256_of(text: str) -> str:
    """The name by which a lock is known (hex)."""
    return hashlib.sha256(text.encode()).hexdigest()
