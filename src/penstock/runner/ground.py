"""What a program stands on: an environment within the sandbox, or its image in a container."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from penstock.data.inputs import Fetched
from penstock.environments import Uses
from penstock.images.kinds import in_container
from penstock.job.run import Run
from penstock.runner.folder import RunFolder
from penstock.runner.records import Records
from penstock.runner.sandboxed import Sandboxed  # here, so that forked runners have it loaded
from penstock.runtimes.base import Limits, Program, Runtime


class Ground(Protocol):
    """Prepared, and ready to carry a program once the inputs are there."""

    def install(self) -> None:
        """Install what the job's code asks for, now that it is there, where this is done beforehand."""
        ...

    def program(self, extra: Mapping[str, str], limits: Limits) -> Program:
        """What is to be run, with `extra` variables and within `limits`.

        Raises:
            ClientFailure: Nothing is.
        """
        ...

    def check(self, program: Program, fetched: Sequence[Fetched]) -> str:
        """Refuse a program that can't be executed, as far as that can be seen beforehand.

        Returns:
            What to add to the FailureReason should it fail; empty: nothing.

        Raises:
            AlgorithmFailure: It can't.
        """
        ...

    def runtime(self, *, overlays: bool) -> Runtime:
        """By what it is to be run; see `runtimes.choose.choose`."""
        ...


def prepare(run: Run, folder: RunFolder, records: Records, due: Callable[[], bool], uses: Uses) -> Ground:
    """Build the environment or pull the image, and note on the record what it is.

    Args:
        run: What to do.
        folder: The run's.
        records: The journal, and the log, which is told what takes time.
        due: Asked again and again whether the run must end.
        uses: Takes an environment for as long as the run needs it.

    Raises:
        Cancelled: It must end.
        ClientFailure, InternalFailure: It can't be had.
    """
    if in_container(run.request, run.runtime):
        from penstock.runner.contained import Contained  # noqa: PLC0415 - its packages take a while to load

        return Contained.prepare(run, folder, records, due)
    return Sandboxed.prepare(run, folder, records, due, uses)
