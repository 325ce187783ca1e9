"""Runs the measurements and prints them as tables.

python -m bench [NAME ...], with names of `ALL`
"""

import sys

from bench import (
    environments,
    experiments,
    imports,
    inputs,
    limits,
    listing,
    load,
    local_mode,
    ray,
    records,
    restart,
    start,
    transfers,
    trivial,
    volume,
    walls,
    wire,
)

ALL = {
    "trivial": trivial.main,
    "start": start.main,
    "restart": restart.main,
    "imports": imports.main,
    "wire": wire.main,
    "transfers": transfers.main,
    "listing": listing.main,
    "inputs": inputs.main,
    "environments": environments.main,
    "limits": limits.main,
    "volume": volume.main,
    "records": records.main,
    "experiments": experiments.main,
    "load": load.main,
    "walls": walls.main,
    "local-mode": local_mode.main,
    "ray": ray.main,
}

for name in sys.argv[1:] or ALL:
    ALL[name]()
