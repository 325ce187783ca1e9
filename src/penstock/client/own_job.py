"""The job whose program this process is."""

from __future__ import annotations

import json
from pathlib import Path

#: What a processing job finds about itself.
CONFIG = Path("/opt/ml/config/processingjobconfig.json")


def arn() -> str | None:
    """Its ARN; None where this is no job."""
    return str(json.loads(CONFIG.read_text())["ProcessingJobArn"]) if CONFIG.exists() else None
