"""The errors of Penstock, as one tree.

PenstockError
├── ConfigurationError      a setting or this machine is not as it must be
├── ServerUnavailable       no server answers and none could be started
├── JobFailure              a job can't go on; becomes its FailureReason
│   ├── ClientFailure       ... for a cause on the user's side (``ClientError: ...`` on the wire)
│   ├── AlgorithmFailure    ... since its program can't be started (``AlgorithmError: , exit code: ...``)
│   └── InternalFailure     ... for a cause on Penstock's side (``InternalServerError: ...``)
├── IllegalMove             a phase was asked to move where it may not
├── Conflict                a guarded write met a newer version
│   └── LockGone            ... or names a lock that was removed meanwhile
├── UnknownImage            an image URI that names no environment
└── wire.faults.Fault       an error as the wire tells it: code, message, HTTP status

The message of each is one or two full sentences: what failed, where, and what to do.
"""

from __future__ import annotations


class PenstockError(Exception):
    """Base of all errors that Penstock raises on purpose."""


class ConfigurationError(PenstockError):
    """A setting, or the machine, is not as it must be; the message says what to change."""


class ServerUnavailable(PenstockError):
    """No server answers, and none could be started."""


class JobFailure(PenstockError):
    """A job can't go on. The text becomes the job's FailureReason (at most 1024 characters)."""

    prefix = ""

    @property
    def reason(self) -> str:
        """The FailureReason as AWS words it: a prefix that says whose fault it is, then the text."""
        return f"{self.prefix}{self}"[:1024]


class ClientFailure(JobFailure):
    """The cause lies with the job: its data, its script's requirements, its arguments."""

    prefix = "ClientError: "


class AlgorithmFailure(JobFailure):
    """The program can't be started; `exit_code` is what a shell would have given."""

    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        # AWS's wording, with the empty text before the comma.
        self.prefix = f"AlgorithmError: , exit code: {exit_code}. "


class InternalFailure(JobFailure):
    """The cause lies with Penstock or this machine."""

    prefix = "InternalServerError: "


class IllegalMove(PenstockError):
    """An event met a phase that does not allow it."""


class Conflict(PenstockError):
    """A guarded write found a newer version than the one read, or a name already taken."""


class LockGone(Conflict):
    """A new job asks for an environment whose lock was removed since it was looked for."""


class UnknownImage(PenstockError):
    """The image URI names no environment that Penstock can build."""
