"""Attempts to escape from the walls or to peek through them: for each a test, which holds when the attempt fails.

`docs/security.md` lists them. A runtime's author subclasses `AttemptsSuite` as `WallsSuite`, for root and for an
ordinary user. Attempts are made by real programs, from within. What they would do if they got through is harmless:
files are opened and not written to, calls get arguments that change nothing.
"""

from __future__ import annotations

from penstock.testing.attempts_files import FileAttempts
from penstock.testing.attempts_kernel import KernelAttempts
from penstock.testing.attempts_network import NetworkAttempts
from penstock.testing.attempts_processes import ProcessAttempts


class AttemptsSuite(KernelAttempts, ProcessAttempts, FileAttempts, NetworkAttempts):
    """All attempts. Subclasses give a fixture `runtime`."""
