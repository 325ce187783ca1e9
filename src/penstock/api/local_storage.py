"""Instance types with disks of their own, which take the place of the volume that is asked for.

Sizes in GB from EC2's instance store tables; None where the disks are known to be there and their size is not.
"""

from __future__ import annotations

from collections.abc import Mapping

_FAMILIES: Mapping[str, Mapping[str, int | None]] = {
    "g4dn": {"xlarge": 125, "2xlarge": 225, "4xlarge": 225, "8xlarge": 900, "12xlarge": 900, "16xlarge": 900},
    "g5": {
        "xlarge": 250, "2xlarge": 450, "4xlarge": 600, "8xlarge": 900,
        "12xlarge": 3800, "16xlarge": 1900, "24xlarge": 3800, "48xlarge": 7600,
    },
    "g6": {
        "xlarge": 250, "2xlarge": 450, "4xlarge": 600, "8xlarge": 900,
        "12xlarge": 3760, "16xlarge": 1880, "24xlarge": 3760, "48xlarge": 7520,
    },
    "g6e": {
        "xlarge": 250, "2xlarge": 450, "4xlarge": 600, "8xlarge": 900,
        "12xlarge": 3800, "16xlarge": 1900, "24xlarge": 3800, "48xlarge": 7600,
    },
    "g7": dict.fromkeys(("2xlarge", "4xlarge", "8xlarge", "12xlarge", "24xlarge", "48xlarge")),
    "g7e": dict.fromkeys(("2xlarge", "4xlarge", "8xlarge", "12xlarge", "24xlarge", "48xlarge")),
    "p5": {"4xlarge": 3800},
    "r5d": {
        "large": 75, "xlarge": 150, "2xlarge": 300, "4xlarge": 600,
        "8xlarge": 1200, "12xlarge": 1800, "16xlarge": 2400, "24xlarge": 3600,
    },
}  # fmt: skip

#: Instance type -> the size of its disks together.
LOCAL_STORAGE: Mapping[str, int | None] = {
    f"ml.{family}.{size}": total for family, sizes in _FAMILIES.items() for size, total in sizes.items()
}
