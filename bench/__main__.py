"""Runs the measurements and prints them as tables.

python -m bench [trivial] [imports] [start]
"""

import sys

from bench import imports, start, trivial, wire

ALL = {"trivial": trivial.main, "start": start.main, "imports": imports.main, "wire": wire.main}

for name in sys.argv[1:] or ALL:
    ALL[name]()
