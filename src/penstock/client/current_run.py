"""The runs whose `with` blocks this process is in: jobs that are started there belong to the innermost."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.experiments.run import Run

logger = logging.getLogger("penstock")

ENTERED: list[Run] = []


def experiment_config(given: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """What a job's ExperimentConfig is to be: what was given, else that of the run."""
    if not ENTERED:
        return given
    if not given:
        return ENTERED[-1].experiment_config
    logger.warning(
        "The job is started within the run %s, and yet belongs to what experiment_config= says: %s.",
        ENTERED[-1].run_name,
        dict(given),
    )
    return given
