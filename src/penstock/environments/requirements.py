"""A job's requirements.txt on top of an environment, made once for each content.

As with `pip install -r` in the image: what the environment has is kept unless the requirements ask otherwise, and
what they don't reach is not touched. The new environment starts as hard links to the old one, bytecode included, so
only what is added costs time. Only wheels are installed here: to build a source archive is to run its code, and
that is done within a job's walls or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from penstock.environments.build import installed
from penstock.environments.cache import cached, digest_of, prefix_of
from penstock.environments.conflicts import conflicts, replaced
from penstock.environments.model import Asked, Environment, Progress, here, leave_if, never, normal
from penstock.environments.resolve import locked
from penstock.environments.settings import fingerprint
from penstock.environments.uses import Uses
from penstock.environments.uv import UvError, finish, only_wheels, uv
from penstock.errors import ClientFailure

#: One requirement of a lock: its first line names it, its hashes follow.
_ENTRY = re.compile(r"^(?![ \t#])(?P<name>[A-Za-z0-9][\w.-]*)?.*(?:\n[ \t]+\S.*)*\n?", re.MULTILINE)
#: Options of a requirements file that name another file or folder.
_NAMES_PATH = re.compile(r"^(-r|-c|-e|-f|--requirement|--constraint|--editable|--find-links)[ =]*")
_NESTS = ("-r", "-c", "--requirement", "--constraint")
_FOLDERS = ("-f", "--find-links")
_NAMED = {**dict.fromkeys(_NESTS, "file"), **dict.fromkeys(_FOLDERS, "folder")}
#: Characters that some take for the end of a line, and others that no text has.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_NESTED = re.compile(r"(?:-[rc]\s*|--(?:requirement|constraint)(?:\s+|\s*=\s*))([\w.][\w./-]*)")
#: Options that name no local path, one on a line.
_HARMLESS = re.compile(
    r"(?:-i\s*|-f\s*|--(?:index-url|extra-index-url|find-links)(?:\s+|=))https?://[^\s$'\"\\]+"
    r"|--(?:no-index|pre|prefer-binary|require-hashes)"
    r"|--(?:only-binary|trusted-host)(?:\s+|=)[\w.:,-]+"
)
#: Options that say where packages come from.
_SOURCES = re.compile(r"(-i|-f|--index-url|--extra-index-url|--find-links|--no-index)(?:\s*=\s*|\s*|$)")
#: A name with extras, versions, a marker and hashes.
_REQUIREMENT = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[\w.,\s-]*\])?"
    r"\s*\(?\s*(?:(?:===|[<>=!~]=|[<>])\s*[\w.*+!-]+\s*,?\s*)*\)?"
    r"\s*(?:;[\w\s.<>=!~'\"(),+*-]+?)?(?:\s+--hash[=\s]\w+:[0-9a-fA-F]+)*"
)
#: How uv says that it would have to build.
_NO_WHEEL = "building from source is disabled"
#: A name that ends like this is taken for a file.
_ARCHIVES = (
    ".whl",
    ".zip",
    ".egg",
    ".tar",
    ".tgz",
    ".tbz",
    ".txz",
    ".tlz",
    ".gz",
    ".bz2",
    ".xz",
    ".lz",
    ".lzma",
)


class NeedsBuilding(ClientFailure):
    """A requirement has no wheel that fits: it can only be built from source, by the job itself."""


def add_requirements(
    environment: Environment,
    requirements: Path,
    folder: Path,
    *,
    progress: Progress,
    cancelled: Asked = never,
    exact: bool = False,
    who: str = "",
    uses: Uses | None = None,
) -> Environment:
    """The environment with `requirements` installed on top, from the cache or built.

    Args:
        environment: What to start from; it is not changed. Its user keeps it from being removed meanwhile.
        requirements: A requirements file. What it names by path (`-r`, `-c`, `./package`) has to lie in its folder.
        folder: Where environments are cached.
        progress: Told what is done when it takes time.
        cancelled: Polled at least every 0.2 s while uv runs and while another builder is waited for.
        exact: The file is a whole lock: nothing is added to it, and packages must have the hashes it says.
        who: For whom it is built, told to those who wait for it.
        uses: Takes the environment, so that it is not removed before its user is done.

    Raises:
        NeedsBuilding: A requirement has no wheel that fits.
        ClientFailure: The file can't be read, names a path that is not there, or a requirement can't be met or
            fetched; with uv's reason.
        Cancelled: `cancelled` said True. Nothing is left of what was begun, and no uv or build script runs.
    """
    root = requirements.parent.resolve()
    content = _content(requirements, root)
    file_digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    key = f"requirements-{digest_of(environment.digest, content, fingerprint(), str(exact))}"

    def build(work: Path, hold: int, progress: Progress) -> Environment:
        progress(f"Installing {requirements.name} on top of the environment")
        began = time.monotonic()
        try:
            asked = _entries(
                _compile(environment, requirements, work, hold, progress, cancelled, exact=exact)
            )
            if exact:
                asked = _with_hashes(asked, content)
            had = _entries(environment.lock)
            added = {name: text for name, text in asked.items() if _head(text) != _head(had.get(name, ""))}
            if not added:
                return replace(environment, requirements=file_digest)
            merged = _text({**had, **added})
            _link_tree(environment.prefix, work / "venv")
            _install(
                _options(content, root) + _text(added), work / "venv", requirements, hold, progress, cancelled
            )
        except UvError as error:
            kind = NeedsBuilding if _NO_WHEEL in str(error) else ClientFailure
            raise kind(_explained(requirements, error)) from error
        # Made of pins alone, it is what its lock says, from wherever it comes; of a path the lock tells too little.
        whole = _entries(merged).keys() == locked(merged).keys()
        interpreter = f"{environment.interpreter} {environment.python}"
        parts = (merged, interpreter, here()) if whole else (environment.digest, merged, content)
        digest = digest_of(*parts)
        packages = installed(work / "venv")
        said = [
            *replaced(requirements.name, environment.packages, packages),
            *conflicts(requirements.name, work / "venv", hold=hold, cancelled=cancelled),
        ]
        progress(f"{requirements.name} is installed after {time.monotonic() - began:.1f} s")
        return replace(
            environment,
            digest=digest,
            prefix=prefix_of(folder, digest),
            packages=packages,
            notes=(*environment.notes, *said),
            lock=merged,
            requirements=file_digest,
        )

    return cached(folder, key, build, progress=progress, cancelled=cancelled, who=who, uses=uses)


def self_contained(text: str, beside: Collection[str]) -> bool:
    """Whether a requirements file can be installed without what lies beside it.

    Args:
        text: The file's content.
        beside: Names, as `-r` and `-c` lines of this file give them, of files that come along with it. Their own
            content is for the caller to look at in the same way.

    Returns:
        True when every line is a requirement from an index, an option that names no local path, or a `-r` or `-c`
        of a name in `beside`. Requirements by URL or path, `-e`, variables (`${NAME}`) and everything that is not
        understood make it False.
    """
    lines = _logical_lines(text.removeprefix("\ufeff"))
    return lines is not None and all(_from_index(line, beside) for line in lines)


def is_nonsense(line: str) -> bool:
    """Whether a line can be nothing that pip or uv takes: no requirement, option, path, URL, or part of a longer line.

    What is in doubt is not nonsense: pip and uv have the last word.
    """
    text = re.sub(r"(^|\s)#.*", "", line).strip()
    doubtful = (
        text.startswith((".", "-")) or text.lower().endswith(_ARCHIVES) or re.search(r"[\\/@$;]| --", text)
    )
    return bool(text) and not doubtful and _REQUIREMENT.fullmatch(text) is None


def _logical_lines(text: str) -> list[str] | None:
    """Lines without comments, continued ones joined; None where pip and uv might not read them alike."""
    if _CONTROL.search(text):
        return None
    lines: list[str] = []
    begun = ""
    for raw in re.split(r"\r\n|\r|\n", text):
        line = re.sub(r"(^|\s)#.*", "", raw)
        # Does a comment end what was begun, and does a backslash in it go on? Alone on its line, it does neither.
        if line != raw and (begun or (line.strip() and raw.endswith("\\"))):
            return None
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        lines.append(" ".join((begun + line).split()))
        begun = ""
    return None if begun else [line for line in lines if line]


def _from_index(line: str, beside: Collection[str]) -> bool:
    nested = _NESTED.fullmatch(line)
    if nested:
        return nested[1].removeprefix("./") in beside
    if line.startswith("-"):
        return _HARMLESS.fullmatch(line) is not None
    named = _REQUIREMENT.fullmatch(line)
    return named is not None and not named[1].lower().endswith(_ARCHIVES)


def _compile(
    environment: Environment,
    requirements: Path,
    work: Path,
    hold: int,
    progress: Progress,
    cancelled: Asked,
    *,
    exact: bool,
) -> str:
    """What the requirements come to. uv prefers the versions that the output file already has."""
    output = work / "asked.lock"
    output.write_text(environment.lock, "utf-8")
    uv(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--no-sources"),
        *(("--no-deps",) if exact else ()),
        *only_wheels(),
        *("--python", environment.interpreter, "--output-file", output, requirements.resolve()),
        # Paths in the file are meant from the folder it lies in, where a job's script starts.
        folder=requirements.resolve().parent,
        progress=progress,
        hold=hold,
        cancelled=cancelled,
    )
    return output.read_text("utf-8")


def _install(
    added: str, venv: Path, requirements: Path, hold: int, progress: Progress, cancelled: Asked
) -> None:
    lock = venv.parent / "added.lock"
    lock.write_text(added, "utf-8")
    uv(
        *(
            "pip",
            "install",
            "--python",
            venv / "bin/python",
            "--no-deps",
            "--no-editable",
            "--requirements",
            lock,
        ),
        *only_wheels(),
        folder=requirements.resolve().parent,
        progress=progress,
        hold=hold,
        cancelled=cancelled,
    )
    # It may name an index with a password, and the folder stays.
    lock.unlink()
    leave_if(cancelled)
    progress("Compiling bytecode")
    # Compiles what has no bytecode yet. A file that can't be compiled (a template, say) is no failure.
    sites = venv.glob("lib/python3*/site-packages")
    compiling = subprocess.Popen(
        # Without site: it would run the .pth files of what was just installed.
        [venv / "bin/python", "-I", "-S", "-m", "compileall", "-q", "-j", "0", *sites],
        env={"PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(hold,),
        start_new_session=True,
        text=True,
    )
    finish(compiling, cancelled=cancelled)


def _link_tree(source: Path, target: Path) -> None:
    """Make `target` a copy of `source` by hard links, or real copies where links aren't allowed.

    uv and compileall replace files and never write into them, so the source stays as it is.
    """

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other, follow_symlinks=False)
        except OSError:
            shutil.copy2(one, other)

    shutil.copytree(source, target, symlinks=True, copy_function=link)


def _options(content: str, root: Path) -> str:
    """Where the requirements say that packages come from, which their lock does not."""
    said = []
    for line in _logical_lines(content.replace("\0", "\n")) or ():
        found = _SOURCES.match(line)
        if found and found[1] in _FOLDERS and "://" not in line:
            said.append(f"--find-links {(root / line[found.end() :]).as_uri()}\n")
        elif found:
            said.append(f"{line}\n")
    return "".join(said)


def _with_hashes(entries: Mapping[str, str], lock: str) -> dict[str, str]:
    """The same versions, each with the hashes that `lock` gives for it, and not with those that an index tells."""
    given: dict[str, str] = {}
    for match in _ENTRY.finditer(lock):
        head = _head(match[0]).partition(";")[0].replace(" ", "")
        given[head] = given.get(head, "") + "".join(
            f" \\\n    {one}" for one in re.findall(r"--hash=\w+:[0-9a-f]+", match[0])
        )
    return {name: f"{_head(text)}{given[_head(text)]}\n" for name, text in entries.items()}


def _text(entries: Mapping[str, str]) -> str:
    return "".join(text if text.endswith("\n") else text + "\n" for text in entries.values())


def _head(entry: str) -> str:
    """Name and version, without the hashes that follow."""
    return entry.split(" \\\n", maxsplit=1)[0].strip()


def _entries(lock: str) -> dict[str, str]:
    """Normalised name (or the whole line, for a path) -> the requirement with its hashes."""
    found = (match for match in _ENTRY.finditer(lock) if match[0].strip())
    return {normal(match["name"] or match[0]): match[0] for match in found}


def _content(requirements: Path, root: Path) -> str:
    """All that the requirements say and refer to, as a text to be hashed.

    Raises:
        NeedsBuilding: A file asks for it.
        ClientFailure: A file can't be read, or lies outside the folder of the requirements.
    """
    said: list[str] = []
    waiting, seen = [requirements.resolve()], set[Path]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        try:
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise ClientFailure(f"The requirements file {path.name} can't be read: {reason}.") from error
        if "--no-binary" in text:  # it would win over what uv is told here
            raise NeedsBuilding(f"{path.name} asks for builds from source (--no-binary).")
        said.append(text)
        for line in text.replace("\\\n", " ").splitlines():
            for kind, named in _paths(line, path, root):
                if kind in _NESTS:
                    waiting.append(named)
                else:
                    said += _tree(named)
    return "\0".join(said)


def _paths(line: str, file: Path, root: Path) -> list[tuple[str, Path]]:
    """Files and folders that a line names, with the option it names them by."""
    line = re.sub(r"(^|\s)#.*", "", line).strip()
    option = _NAMES_PATH.match(line)
    kind = option[1] if option else ""
    named = line[option.end() :] if option else re.sub(r"^[\w.\[\], -]+@\s*", "", line)
    try:
        text = next(iter(shlex.split(named)), "")
    except ValueError:
        return []
    text = re.sub(r"^file:(//(localhost)?(?=/))?", "", text)
    text = re.sub(r"\[[^]]*\]$", "", text)
    local = kind or "/" in text or text in {".", ".."} or text.lower().endswith(_ARCHIVES)
    local = local and not text.startswith("-")
    if not text or "://" in text or not local:
        return []
    # A nested file is named from the file that names it, a package from where pip would run.
    path = ((file.parent if kind in _NESTS else root) / text).resolve()
    if kind not in _FOLDERS and not path.is_relative_to(root):
        raise ClientFailure(
            f"{file.name} names {text}, which lies outside the folder of the requirements file; "
            f"put it beside the file."
        )
    if not _there(path, kind):
        raise ClientFailure(
            f"{file.name} says '{line}', which names something outside the requirements file, and there is no such "
            f"{_NAMED.get(kind, 'package')}. Put it beside the file, or have the script install it from its folder."
        )
    return [(kind, path)]


def _there(path: Path, kind: str) -> bool:
    """Whether the path is what its option means: a file, a folder of wheels, or by default a package."""
    if kind in _NESTS:
        return path.is_file()
    if kind in _NAMED or path.is_file():
        return path.exists()
    return any((path / name).is_file() for name in ("pyproject.toml", "setup.py"))


def _tree(path: Path) -> list[str]:
    """Names and hashes of the files of a local package."""
    files = sorted(one for one in path.rglob("*") if ".git" not in one.parts) if path.is_dir() else [path]
    said = []
    for one in files:
        if one.is_file() and not one.is_symlink():
            with one.open("rb") as file:
                said.append(f"{one.relative_to(path)} {hashlib.file_digest(file, 'sha256').hexdigest()}")
    return said


def _explained(requirements: Path, error: UvError) -> str:
    advice = (
        "Mend the requirement" if error.unsatisfiable else "Mend it, or the network and index settings of pip"
    )
    return f"{requirements.name} can't be installed: {error} {advice}, then run the job again."
