"""A program on an environment of this machine, within the sandbox's walls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from penstock.environments import (
    Environment,
    NeedsBuilding,
    add_requirements,
    job_layer,
    pip_environment,
)
from penstock.environments import prepare as prepare_environment
from penstock.errors import ClientFailure
from penstock.job.run import Run
from penstock.runner import contract, requirements
from penstock.runner.folder import RunFolder
from penstock.runner.records import Records
from penstock.runtimes.base import Closed, Mount, Program, Runtime
from penstock.runtimes.choose import choose
from penstock.runtimes.guard import METADATA


@dataclass
class Sandboxed:
    """See `Ground`."""

    run: Run
    folder: RunFolder
    records: Records
    due: Callable[[], bool]
    environment: Environment
    variables: Mapping[str, str] = field(default_factory=dict)
    """By which the SDK's script knows that it may skip pip."""

    @classmethod
    def prepare(cls, run: Run, folder: RunFolder, records: Records, due: Callable[[], bool]) -> Self:
        """The environment that stands in for the job's image."""
        environment = prepare_environment(
            run.request["AppSpecification"]["ImageUri"],
            Path(run.environments),
            strict=run.strict_versions,
            progress=records.log.note,
            cancelled=due,
        )
        for text in (*environment.deviations, *environment.notes):
            records.log.note(f"Note: {text}")
        records.journal.note(environment=json.loads(environment.to_json()))
        return cls(run, folder, records, due, environment)

    def install(self) -> None:
        """A source folder's requirements, once per content, where no code has to be run for it."""
        found = requirements.find(self.run.request, self.folder.ml)
        if found is None:
            return
        note = self.records.log.note
        if not found.self_contained:
            note("requirements.txt names more than packages of an index: the job's own pip installs it.")
            return
        try:
            self.environment = add_requirements(
                self.environment,
                found.save(self.folder.path / "requirements"),
                Path(self.run.environments),
                progress=note,
                cancelled=self.due,
            )
        except NeedsBuilding:
            note("requirements.txt names what has no wheel: the job's own pip builds it, within its walls.")
            return
        self.records.journal.note(environment=json.loads(self.environment.to_json()))
        self.variables = {"PENSTOCK_REQUIREMENTS_SHA256": found.sha256}

    def program(self) -> Program:
        """See `Ground.program`."""
        run, folder = self.run, self.folder
        application = run.request["AppSpecification"]
        argv = (
            *(application.get("ContainerEntrypoint") or ()),
            *(application.get("ContainerArguments") or ()),
        )
        if not argv:
            raise ClientFailure(
                "The job names no program, and the environment of "
                f"{application['ImageUri']} has none of its own. Give ContainerEntrypoint."
            )
        layer = job_layer(self.environment, folder.layer)
        variables, visible = pip_environment()
        folder.scratch.mkdir(exist_ok=True)
        (folder.ml / "output").mkdir(parents=True, exist_ok=True)
        return Program(
            argv=argv,
            environment=contract.environment(
                run, layer.path_entries, {**layer.variables, **variables, **self.variables}
            ),
            mounts=(
                *layer.mounts,
                *(Mount(Path(path), path) for path in visible),
                Mount(folder.scratch, "/tmp", writable=True),  # noqa: S108 - the job's own
                Mount(folder.ml, "/opt/ml", writable=True),
            ),
            hostname=run.host,
            hosts=contract.addresses(run),
            network=not contract.isolated(run),
            closed=Closed() if contract.isolated(run) else Closed(METADATA, run.s3.inner_ports),
        )

    def runtime(self, *, overlays: bool) -> Runtime:
        """See `Ground.runtime`."""
        return choose(self.run.walls, overlays=overlays)
