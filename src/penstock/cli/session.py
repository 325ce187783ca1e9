"""The session of the command line: always the local server of PENSTOCK_HOME."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

from penstock.client.connection import Connection
from penstock.exceptions import UnexpectedStatusException
from penstock.session import Session

#: Exit codes of commands that wait for a job. 2 is that of wrong arguments, 3 that of `status` without a server.
EXIT_CODES = {"Completed": 0, "Failed": 1, "Stopped": 4}


class HomeSession(Session):
    """A session on the local server, whatever AWS variables say: `penstock env` sets them for others."""

    def __init__(self) -> None:
        super().__init__()
        self._connection = Connection(environment=False)
        logging.getLogger("penstock").setLevel(logging.WARNING)

    @property
    def quick_client(self) -> Any:
        """A client for the SageMaker API with the operations that Penstock has, made more quickly."""
        return self._connection.sagemaker

    @property
    def logs_client(self) -> Any:
        """The client for log events."""
        return self._connection.logs

    def follow(self, job: str, *, quiet: bool = False) -> UnexpectedStatusException | None:
        """Wait for the job, printing its log unless `quiet`; the error of a failed one."""
        try:
            if quiet:
                # stdout is for the JSON alone.
                with contextlib.redirect_stdout(sys.stderr):
                    self.wait_for_processing_job(job)
            else:
                self.logs_for_processing_job(job, wait=True)
        except UnexpectedStatusException as error:
            return error
        return None
