"""What FrameworkProcessor sends: the source as a tar file, and the shell script that starts it."""

from __future__ import annotations

import gzip
import io
import logging
import re
import shlex
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("penstock")

#: Set by Penstock for a job whose requirements it has installed before the start: their file's SHA-256.
PREPARED_VARIABLE = "PENSTOCK_REQUIREMENTS_SHA256"

_REPOSITORY = re.compile(
    r"arn:(?P<partition>[^:]+):codeartifact:(?P<region>[^:]+):(?P<account>[^:]+)"
    r":repository/(?P<domain>[^/]+)/(?P<repository>.+)"
)


@dataclass(frozen=True)
class Source:
    """A script with what belongs to it, by local paths.

    Attributes:
        script: The script: relative to `directory` if there is one.
        directory: The folder whose contents come along.
        dependencies: More files and folders, which come along under their last name.
    """

    script: str
    directory: str | None = None
    dependencies: tuple[str, ...] = ()

    @property
    def entry(self) -> str:
        """The script's path in the archive."""
        return self.script if self.directory else Path(self.script).name

    def check(self) -> None:
        """Look whether everything is there.

        Raises:
            ValueError: The script is not in the folder, or can't be run.
            FileNotFoundError: The script, or a dependency, does not exist.
        """
        if self.directory is not None:
            if not Path(self.directory, self.script).is_file():
                raise ValueError(f'No file named "{self.script}" was found in directory "{self.directory}".')
        elif not Path(self.script).exists():
            raise FileNotFoundError(
                f"code {self.script} wasn't found. Please make sure that the file exists."
            )
        elif Path(self.script).is_dir() and not Path(self.script, "__main__.py").is_file():
            raise ValueError(f"code {self.script} must be a file, or a folder with a __main__.py.")
        for path in self.dependencies:
            if not Path(path).exists():
                raise FileNotFoundError(
                    f"The dependency {path} wasn't found. Please make sure that it exists."
                )


def pack(source: Source) -> bytes:
    """The source as a gzipped tar file; equal files in give equal bytes out.

    Links are replaced by what they mean, as a job elsewhere could not follow them. Owners are left out.
    """
    directory = source.directory
    paths = [Path(source.script)] if directory is None else sorted(Path(directory).iterdir())
    paths += [Path(path).absolute() for path in source.dependencies]
    buffer = io.BytesIO()
    # mtime=0: the moment of packing is no part of the source.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", dereference=True) as tar,
    ):
        for path in paths:
            tar.add(path, arcname=path.name, filter=_without_owner)
    return buffer.getvalue()


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def start_script(
    script: str,
    command: Sequence[str],
    code_artifact_arn: str | None = None,
    requirements: str = "requirements.txt",
) -> str:
    """The shell script that unpacks the source, installs its requirements and runs `command script`.

    Raises:
        ValueError: `code_artifact_arn` is not the ARN of a CodeArtifact repository.
    """
    if code_artifact_arn:
        login = _login(code_artifact_arn)
    else:
        login = "echo 'CodeArtifact repository not specified. Skipping login.'"
    # The program takes the shell's place, and so gets its signals. What only a shell understands stays one.
    plain = all(shlex.quote(word) == word for word in command) and "=" not in command[0]
    return _START.format(
        login=login,
        variable=PREPARED_VARIABLE,
        requirements=shlex.quote(requirements),
        run=f"{'exec ' if plain else ''}{' '.join(command)} {shlex.quote(script)}",
    )


_START = """\
#!/bin/bash
# Starts a script of a Processing job: unpacks its source, installs what it requires, runs it.

cd /opt/ml/processing/input/code/
tar -xzf sourcedir.tar.gz

set -e

digest() {{
    if command -v sha256sum >/dev/null; then
        sha256sum "$1" | cut -d ' ' -f 1
    else
        python -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1"
    fi
}}

if [[ -f {requirements} ]]; then
    if [[ -n "${variable}" && "${variable}" == "$(digest {requirements})" ]]; then
        echo "The packages of" {requirements} "are installed already."
    else
        if command -v aws >/dev/null; then
            {login}
        else
            echo "AWS CLI is not installed. Skipping CodeArtifact login."
        fi
        # An old backport of this name, found in some images, breaks pip.
        python -m pip uninstall --yes typing
        python -m pip install -r {requirements}
    fi
fi

{run} "$@"
"""


def _login(arn: str) -> str:
    found = _REPOSITORY.fullmatch(arn)
    if found is None:
        raise ValueError(f"invalid CodeArtifact repository arn {arn}")
    parts = {name: shlex.quote(value) for name, value in found.groupdict().items()}
    logger.info("configuring pip to use codeartifact (%s)", arn)
    return (
        f"aws codeartifact login --tool pip --domain {parts['domain']} --domain-owner {parts['account']} "
        f"--repository {parts['repository']} --region {parts['region']}"
    )
