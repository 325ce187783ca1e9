"""Instance types that come with local disks, which SageMaker mounts instead of a volume of the size asked for.

So no larger volume can be asked for, and no key to encrypt it (API reference of ProcessingClusterConfig). Sizes
are those of EC2's instance types; a type whose size is not known here is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

_SIZES: Mapping[str, Mapping[str, int]] = {
    "r5d": {
        "large": 75, "xlarge": 150, "2xlarge": 300, "4xlarge": 600,
        "8xlarge": 1200, "12xlarge": 1800, "16xlarge": 2400, "24xlarge": 3600,
    },
    "p5": {"4xlarge": 3800},
    "g4dn": {
        "xlarge": 125, "2xlarge": 225, "4xlarge": 225, "8xlarge": 900, "12xlarge": 900, "16xlarge": 900,
    },
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
}  # fmt: skip

#: Instance type (`ml.g5.xlarge`) -> the size of its local disks in GB.
LOCAL_STORAGE_GB: Mapping[str, int] = {
    f"ml.{family}.{size}": gigabytes for family, sizes in _SIZES.items() for size, gigabytes in sizes.items()
}
