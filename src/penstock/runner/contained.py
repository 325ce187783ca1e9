"""A program in a container of the job's own image, by Docker or Podman."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from penstock.data.inputs import Fetched
from penstock.environments import Cancelled
from penstock.job.run import Run
from penstock.runner import contract
from penstock.runner.folder import RunFolder
from penstock.runner.records import Records
from penstock.runtimes.base import Limits, Mount, Program, Runtime
from penstock.runtimes.containers.engine import Engine, reach
from penstock.runtimes.containers.image import Image, obtain
from penstock.runtimes.containers.runtime import Container


@dataclass(frozen=True)
class Contained:
    """See `Ground`."""

    run: Run
    folder: RunFolder
    engine: Engine
    image: Image

    @classmethod
    def prepare(cls, run: Run, folder: RunFolder, records: Records, due: Callable[[], bool]) -> Self:
        """The job's image, pulled if need be."""
        notes = Path(run.home or folder.path, "containers")
        engine = reach(notes)
        image = obtain(
            engine,
            run.request["AppSpecification"]["ImageUri"],
            always=run.pull == "always",
            notes=notes,
            progress=records.log.note,
            cancelled=due,
        )
        if image is None:
            raise Cancelled("The image was not pulled to its end: its pull was cancelled.")
        records.journal.note(
            image={
                "uri": image.uri,
                "id": image.id,
                "digest": image.digest,
                "architecture": image.architecture,
                "engine": f"{engine.name} {engine.version}",
                "rootless": engine.rootless,
            }
        )
        return cls(run, folder, engine, image)

    def install(self) -> None:
        """Nothing: what an image holds is its author's, and a job's own pip works in it as on AWS."""

    def program(self, extra: Mapping[str, str], limits: Limits) -> Program:
        """See `Ground.program`."""
        run, folder = self.run, self.folder
        application = run.request["AppSpecification"]
        (folder.ml / "output").mkdir(parents=True, exist_ok=True)
        return Program(
            argv=self.image.argv(
                application.get("ContainerEntrypoint") or (), application.get("ContainerArguments") or ()
            ),
            environment=contract.own_variables(run, extra),
            mounts=(Mount(folder.ml, "/opt/ml", writable=True),),
            working_directory=self.image.working_directory,
            hostname=run.host,
            hosts=contract.addresses(run),
            network=not contract.isolated(run),
            limits=limits,
            closed=contract.closed(run),
        )

    def check(self, program: Program, fetched: Sequence[Fetched]) -> str:  # noqa: ARG002 - what an image holds shows in it
        """See `Ground.check`."""
        return ""

    def runtime(self, *, overlays: bool) -> Runtime:  # noqa: ARG002 - containers have none
        """See `Ground.runtime`."""
        return Container(self.engine, self.image, self.folder.path)
