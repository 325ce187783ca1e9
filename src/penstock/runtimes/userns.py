"""Whether this process may make user namespaces, by what the kernel's switches say, and how to allow it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import InternalFailure


@dataclass(frozen=True)
class Obstacle:
    """A switch of the kernel that forbids user namespaces, and the command that turns it."""

    setting: str
    value: str
    fix: str


#: setting, the value that forbids, the value that allows, and whether root is exempt from it.
_SWITCHES = (
    ("user.max_user_namespaces", "0", "15000", False),
    ("kernel.unprivileged_userns_clone", "0", "1", True),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0", True),
)


def wanted() -> bool:
    """Whether the walls shall have a user namespace: always, but root can do without where none is to be had.

    The program is then the machine's own user 0, though without any capability.

    Raises:
        InternalFailure: None is to be had, and this process needs one.
    """
    hindrance = obstacle()
    if hindrance is not None and os.geteuid() != 0:
        raise InternalFailure(
            f"The walls around the program can't be built: {hindrance.setting}={hindrance.value} forbids it to users "
            f"other than root. To allow it: {hindrance.fix}"
        )
    return hindrance is None


def obstacle(switches: Path = Path("/proc/sys"), *, root: bool | None = None) -> Obstacle | None:
    """The first switch that forbids this process a user namespace, or None.

    Args:
        switches: The folder of the kernel's switches; another one only in tests.
        root: Whether to ask for the machine's root; by default, whether this process is.
    """
    root = os.geteuid() == 0 if root is None else root
    for setting, forbids, allows, root_exempt in _SWITCHES:
        try:
            value = (switches / setting.replace(".", "/")).read_text().strip()
        except OSError:
            continue  # a kernel without this switch
        if value == forbids and not (root and root_exempt):
            fix = f"echo {setting}={allows} | sudo tee /etc/sysctl.d/60-penstock.conf && sudo sysctl --system"
            return Obstacle(setting, value, fix)
    return None
