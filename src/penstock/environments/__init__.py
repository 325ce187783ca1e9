"""Image URI -> Python environment on disk, built by uv and cached by content.

Read in this order: `build.py` (the flow), `resolve.py` (which interpreter, which versions), `cache.py` (one
builder at a time, nothing half-built), `requirements.py` (what a job adds), `layer.py` (what a script may change),
`exact.py` (again from a lock), `inventory.py` (what there is, and removing it).
"""

from penstock.environments.build import prepare
from penstock.environments.exact import prepare_exact
from penstock.environments.layer import Layer, job_layer
from penstock.environments.model import Cancelled, Environment
from penstock.environments.project import dependencies
from penstock.environments.requirements import NeedsBuilding, add_requirements, is_nonsense, self_contained
from penstock.environments.settings import pip_environment
from penstock.environments.uses import Uses

__all__ = [
    "Cancelled",
    "Environment",
    "Layer",
    "NeedsBuilding",
    "Uses",
    "add_requirements",
    "dependencies",
    "is_nonsense",
    "job_layer",
    "pip_environment",
    "prepare",
    "prepare_exact",
    "self_contained",
]
