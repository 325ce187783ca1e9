"""`config.toml` in the home, as far as all of its tables are alike: read, closed to others, without strange members."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import ConfigurationError


@dataclass(frozen=True)
class ConfigFile:
    """The file as it was read."""

    path: Path
    tables: Mapping[str, Any]
    text: str = ""
    open_to_others: bool = False

    @classmethod
    def load(cls, path: Path) -> ConfigFile:
        """Read it; one without tables when there is none.

        Raises:
            ConfigurationError: It can't be read; the message names file and line.
        """
        try:
            with path.open(encoding="utf-8") as file:
                open_to_others = bool(path.stat().st_mode & 0o077)
                text = file.read()
            return cls(path, tomllib.loads(text), text, open_to_others)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path, {})
        except (OSError, ValueError) as error:  # TOMLDecodeError tells the line
            raise ConfigurationError(f"{path} can't be read: {error}") from error

    def must_be_closed(self, secrets: str) -> None:
        """Refuse the file, which holds secrets, when others can read it."""
        if self.open_to_others:
            raise ConfigurationError(
                f"{self.path} holds {secrets}, and others can read it: `chmod 600 {self.path}`."
            )

    def expect(self, table: Mapping[str, Any], place: tuple[str, ...], members: Mapping[str, type]) -> None:
        """Refuse members that are not known, or of another type."""
        title = f"[{'.'.join(place)}]" if place else "the file"
        for name, value in table.items():
            kind = members.get(name)
            if kind is None:
                known = ", ".join(members)
                problem = f"{title} has no member {name!r}. It has: {known}."
            elif not isinstance(value, kind):
                wanted = {bool: "true or false", str: "a text in quotes", dict: "a table"}[kind]
                problem = f"{name} in {title} must be {wanted}."
            else:
                continue
            raise ConfigurationError(f"{self.path}{self._line((*place, name))}: {problem}")

    def _line(self, place: tuple[str, ...]) -> str:
        """`, line N` of a member or table; nothing where it is written in a way that one line does not tell."""
        header: tuple[str, ...] = ()
        for number, line in enumerate(self.text.splitlines(), 1):
            try:
                found = tomllib.loads(line)
            except tomllib.TOMLDecodeError:
                continue
            names: tuple[str, ...] = ()
            inner: Any = found
            while isinstance(inner, dict) and len(inner) == 1:
                ((name, inner),) = inner.items()
                names += (name,)
            if line.lstrip().startswith("["):
                header, names = names, ()
            if (header + names)[: len(place)] == place:
                return f", line {number}"
        return ""
