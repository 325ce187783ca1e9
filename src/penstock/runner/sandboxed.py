"""A program on an environment of this machine, within the sandbox's walls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from penstock.data.inputs import Fetched
from penstock.environments import Environment, Uses, job_layer, pip_environment
from penstock.errors import ClientFailure
from penstock.job.run import Run
from penstock.runner import contract, entrypoint, surroundings
from penstock.runner.folder import RunFolder
from penstock.runner.records import Records
from penstock.runtimes.base import Limits, Mount, Program, Runtime
from penstock.runtimes.choose import choose


@dataclass
class Sandboxed:
    """See `Ground`."""

    run: Run
    folder: RunFolder
    records: Records
    due: Callable[[], bool]
    uses: Uses
    environment: Environment
    variables: Mapping[str, str] = field(default_factory=dict)
    """By which the SDK's script knows that it may skip pip."""

    @classmethod
    def prepare(
        cls, run: Run, folder: RunFolder, records: Records, due: Callable[[], bool], uses: Uses
    ) -> Self:
        """The environment that stands in for the job's image."""
        environment = surroundings.prepare_for(run, records, due, uses)
        entrypoint.check_early(run, environment)
        return cls(run, folder, records, due, uses, environment)

    def install(self) -> None:
        """A source folder's requirements, once per content, where no code has to be run for it."""
        self.environment, self.variables = surroundings.with_requirements(
            self.run, self.folder, self.environment, self.records, self.due, self.uses
        )

    def program(self, extra: Mapping[str, str], limits: Limits) -> Program:
        """See `Ground.program`."""
        run, folder = self.run, self.folder
        argv = entrypoint.argv_of(run.request)
        if not argv:
            raise ClientFailure(
                "The job names no program, and the environment of "
                f"{run.request['AppSpecification']['ImageUri']} has none of its own. Give ContainerEntrypoint."
            )
        layer = job_layer(self.environment, folder.layer)
        variables, visible = pip_environment()
        folder.scratch.mkdir(exist_ok=True)
        (folder.ml / "output").mkdir(parents=True, exist_ok=True)
        return Program(
            argv=argv,
            environment=contract.environment(
                run, layer.path_entries, {**layer.variables, **variables, **self.variables, **extra}
            ),
            mounts=(
                *layer.mounts,
                *(Mount(Path(path), path) for path in visible),
                Mount(folder.scratch, "/tmp", writable=True),  # noqa: S108 - the job's own
                Mount(folder.ml, "/opt/ml", writable=True),
            ),
            files=layer.files,
            hostname=run.host,
            hosts=contract.addresses(run),
            network=not contract.isolated(run),
            limits=limits,
            closed=contract.closed(run),
        )

    def check(self, program: Program, fetched: Sequence[Fetched]) -> str:
        """See `Ground.check`."""
        view = entrypoint.View(self.environment, self.folder.ml, fetched)
        return entrypoint.check(program.argv, program.environment["PATH"], view)

    def runtime(self, *, overlays: bool) -> Runtime:
        """See `Ground.runtime`."""
        return choose(self.run.walls, overlays=overlays, limits=self.run.limits)
