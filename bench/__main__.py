"""Runs the measurements and prints them as tables.

python -m bench [trivial] [start] [imports] [wire] [transfers] [listing] [inputs] [volume]
"""

import sys

from bench import imports, inputs, listing, start, transfers, trivial, volume, wire

ALL = {
    "trivial": trivial.main,
    "start": start.main,
    "imports": imports.main,
    "wire": wire.main,
    "transfers": transfers.main,
    "listing": listing.main,
    "inputs": inputs.main,
    "volume": volume.main,
}

for name in sys.argv[1:] or ALL:
    ALL[name]()
