"""What is inside an image: the Python and the packages that its environment should hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import UnknownImage
from penstock.images.catalog import catalog, frameworks
from penstock.images.uris import Image, by_nearness


@dataclass(frozen=True)
class Contents:
    """Packages as name -> specifier; `==` is a pin, anything else a bound of the time."""

    python: str
    """The minor version, `3.8`."""
    framework: Mapping[str, str] = field(default_factory=dict)
    """What the image is about; kept exactly wherever that can be."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Its companions."""
    sources: tuple[str, ...] = ()
    """Packages that are built from source, because no wheel of them was ever published."""
    notes: tuple[str, ...] = ()
    """Sentences for whoever uses the environment."""


def contents(image: Image) -> Contents:
    """What the environment of `image` should hold.

    A version newer than the catalogue is taken at its word: its framework as the tag says, its companions as
    those of the nearest older version, and a note that says so.

    Raises:
        UnknownImage: The image is known and can't be had (Spark; Python 2).
    """
    if image.framework == "python":
        return Contents(python=image.version)
    about = frameworks()[image.framework]
    if "unavailable" in about:
        raise UnknownImage(
            f"Penstock has no environment for {image.framework} images: {about['unavailable']}."
        )
    if image.py_version == "py2":
        raise UnknownImage(
            f"The {image.framework} {image.version} image with py2 needs Python 2, which uv can't build."
        )
    known, entry = _entry(image, about)
    python = _python(image, about, entry)
    packages = {**about.get("packages", {}), **entry.get("packages", {})}
    sources = list(entry.get("sources", ()))
    wanted = {about["package"]: packages.pop(about["package"], f"=={known or image.version}")}
    if image.base is not None:
        under, version = image.base
        below = frameworks()[under]
        full = below["aliases"].get(version, version)
        wanted[below["package"]] = f"=={full}"
        packages.update(below["versions"].get(full, {}).get("packages", {}))
        sources += below["versions"].get(full, {}).get("sources", ())
    if "scikit-learn" not in {**packages, **wanted}:
        packages = {**_era(python), **packages}
    notes = [entry["note"]] if "note" in entry else []
    if known is None:
        wanted[about["package"]] = _at_its_word(image.version)
        notes.append(
            f"The catalogue does not know {image.framework} {image.version}; "
            f"its companion packages are those of an older version."
        )
    return Contents(python, wanted, packages, tuple(sources), tuple(notes))


def unknown_version(image: Image) -> str:
    """A sentence with the versions that the catalogue knows, the nearest first, when it knows not the image's own.

    Empty when it does.
    """
    about = frameworks().get(image.framework)
    if about is None or _entry(image, about)[0] is not None:
        return ""
    nearest = by_nearness(image.version, [*about["versions"], *about.get("aliases", {})])
    return (
        f"{image.framework} {image.version} is no version that Penstock knows; these are, the nearest first: "
        f"{', '.join(nearest[:12])}{', ...' if len(nearest) > 12 else ''}."
    )


def _entry(image: Image, about: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The version's own entry under its full name, or None and the entry of the nearest older version."""
    versions = about["versions"]
    full = about.get("aliases", {}).get(image.version, image.version)
    if full in versions:
        return full, versions[full]
    older = [name for name in versions if _numbers(name) <= _numbers(image.version)]
    nearest = max(older, key=_numbers, default=next(iter(versions)))
    return None, {k: v for k, v in versions[nearest].items() if k in {"python", "packages", "py", "bases"}}


def _python(image: Image, about: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if image.py_version not in {None, "py3"}:
        digits = str(image.py_version).removeprefix("py")
        return f"{digits[0]}.{digits[1:]}"
    tagged = re.search(r"-py(\d)(\d+)$", image.version)
    if tagged:
        return f"{tagged[1]}.{tagged[2]}"
    return str(entry.get("python") or about["py3"])


def _era(python: str) -> Mapping[str, str]:
    """Libraries of the time of `python`; of the nearest known Python where it is newer or older than all."""
    eras: Mapping[str, Mapping[str, str]] = catalog()["eras"]
    minor = int(python.split(".")[1])
    return eras[min(eras, key=lambda name: abs(int(name.split(".")[1]) - minor))]


def _at_its_word(version: str) -> str:
    """`2.9.0` is itself; `1.5-1` is some 1.5 in its first build; `2.9` is any 2.9."""
    numbers = version.split("-", maxsplit=1)[0]
    return f"=={numbers}" if numbers.count(".") >= 2 else f"=={numbers}.*"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("-py", maxsplit=1)[0]))
