"""Runs the measurements and prints them as tables.

python -m bench [trivial] [start] [imports] [wire] [transfers] [listing] [inputs] [limits]
"""

import sys

from bench import imports, inputs, limits, listing, start, transfers, trivial, wire

ALL = {
    "trivial": trivial.main,
    "start": start.main,
    "imports": imports.main,
    "wire": wire.main,
    "transfers": transfers.main,
    "listing": listing.main,
    "inputs": inputs.main,
    "limits": limits.main,
}

for name in sys.argv[1:] or ALL:
    ALL[name]()
