"""What the SDK raises when a job does not end as it should."""

from __future__ import annotations

from collections.abc import Sequence


class UnexpectedStatusException(ValueError):
    """A job ended in a status that is not among the allowed ones.

    Attributes:
        allowed_statuses: The statuses that would have been fine.
        actual_status: The status the job has.
    """

    def __init__(self, message: str, allowed_statuses: Sequence[str], actual_status: str) -> None:
        super().__init__(message)
        self.allowed_statuses = allowed_statuses
        self.actual_status = actual_status


class CapacityError(UnexpectedStatusException):
    """The job failed because there was no machine for it."""
