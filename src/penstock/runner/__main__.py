"""``python -m penstock.runner FOLDER``: one run.

Started by an engine, with the run's lock inherited as an open descriptor: it is held until this process ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from penstock.runner.main import main

main(Path(sys.argv[1]))
