"""``python -m penstock.engines.ray.examine ADDRESS URL``: what a cluster and its nodes are like, for `penstock doctor`.

It prints one JSON object: `problem`, why the cluster can't be used (else null), and `nodes`, for each its `address`,
whether this speaks by it (`here`), and `failed`, why it could not be asked, or what `look` found there.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import urllib.error
import urllib.request
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from penstock._version import __version__
from penstock.engines.ray.driver import connect, last_line

#: Seconds for a node to tell how it is, and for a server to answer it.
_ANSWERED, _REACHED = 60.0, 5.0


def look(url: str) -> dict[str, Any]:
    """On a node: versions, walls, and why the server at `url` is not reached from it (None: it is)."""
    return {
        "penstock": __version__,
        "python": platform.python_version(),
        "ray": ray.__version__,
        "bubblewrap": shutil.which("bwrap"),
        "token": os.environ.get("RAY_AUTH_MODE") == "token",
        "unreached": _unreached(url) if url else None,
    }


def _unreached(url: str) -> str | None:
    try:
        urllib.request.urlopen(url, timeout=_REACHED).close()  # noqa: S310 - the user's own setting
    except urllib.error.HTTPError:
        return None  # it has answered
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None


def examine(address: str, url: str) -> dict[str, Any]:
    """Join the cluster and ask each of its nodes."""
    try:
        connect(address)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return {"problem": last_line(error), "nodes": []}
    here = ray.get_runtime_context().get_node_id()
    asked = {
        ray.remote(look)
        .options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(one["NodeID"], soft=False),
        )
        .remote(url): one
        for one in sorted(ray.nodes(), key=lambda one: str(one["NodeManagerAddress"]))
        if one["Alive"]
    }
    done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWERED)
    nodes = []
    for answer, one in asked.items():
        node = {"address": one["NodeManagerAddress"], "here": one["NodeID"] == here}
        if answer not in done:
            node["failed"] = f"it does not answer within {_ANSWERED:.0f} s"
        else:
            try:
                found: dict[str, Any] = ray.get(answer)
                node |= found
            except RayError as error:
                node["failed"] = last_line(error)
        nodes.append(node)
    return {"problem": None, "nodes": nodes}


if __name__ == "__main__":
    json.dump(examine(*sys.argv[1:]), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # an orderly end may wait for a cluster that is away
