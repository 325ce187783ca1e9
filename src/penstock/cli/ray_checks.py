"""What `penstock doctor` looks at where jobs run on a Ray cluster: its nodes, and the way back from them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from penstock import units
from penstock._version import __version__
from penstock.cli.finding import Finding
from penstock.config import Settings

_PATIENCE = 180.0
_INSTALL = "pip install 'penstock[server,ray]'"
_SECURED = "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=... for `ray start` on all nodes and for the server; docs/ray.md"


def examine(settings: Settings) -> Iterator[Finding]:
    """Ray itself, the cluster, whether it asks for a token, each node, and whether nodes reach the server."""
    try:
        version = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("ray", "missing", "PENSTOCK_ENGINE is ray, and this Python lacks it", _INSTALL)
        return
    yield Finding("ray", "ok", version)
    found = _ask(settings)
    where = f"ray cluster ({settings.ray_address})"
    if found["problem"] is not None:
        yield Finding(where, "missing", found["problem"], _remedy(found["problem"], settings.ray_address))
        return
    nodes = found["nodes"]
    yield _reached(where, nodes)
    yield _token(nodes)
    for node in nodes:
        yield _node(node, version)
    yield _way_back(settings, nodes)


def _ask(settings: Settings) -> Mapping[str, Any]:
    command = [sys.executable, "-P", "-m", "penstock.engines.ray.examine"]
    try:
        done = subprocess.run(
            [*command, settings.ray_address, settings.report_url or ""],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            cwd="/",
        )
        told: Mapping[str, Any] = json.loads(done.stdout.rpartition("\n")[2])
    except subprocess.TimeoutExpired:
        return {"problem": f"it does not answer within {_PATIENCE:.0f} s"}
    except ValueError:  # Ray has ended the process
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"problem": f"Ray can't be used: {last}"}
    return told


def _remedy(problem: str, address: str) -> str | None:
    """What mends a cluster that can't be joined, unless that has said it."""
    if "ray start" in problem or "PENSTOCK_RAY_ADDRESS" in problem:
        return None
    if "mismatch" in problem.lower() or "version" in problem.lower():
        return "have the same Ray and the same Python minor version here and on all nodes"
    if "token" in problem.lower() or "auth" in problem.lower():
        return _SECURED
    return f"see that the cluster runs (`ray status --address={address}`), and set PENSTOCK_RAY_ADDRESS to its address"


def _reached(where: str, nodes: Sequence[Mapping[str, Any]]) -> Finding:
    here = [node["address"] for node in nodes if node["here"]]
    return Finding(
        where,
        "ok",
        f"{units.count(len(nodes), 'node')}, spoken to by {', '.join(here) or 'its client server'}",
    )


def _token(nodes: Sequence[Mapping[str, Any]]) -> Finding:
    without = [node["address"] for node in nodes if not node.get("token", True)]
    if not without and os.environ.get("RAY_AUTH_MODE") == "token":
        return Finding("ray token", "ok", "who has none is refused")
    text = "none is asked for: the programs of jobs, and whoever reaches the cluster's ports, can run code on its nodes"
    return Finding("ray token", "weak", text, _SECURED)


def _node(node: Mapping[str, Any], ray: str) -> Finding:
    """One node: whether its parts are there, and are those of this machine."""
    label = f"ray node ({node['address']})"
    if "failed" in node:
        remedy = (
            None if node["failed"].startswith("it does not answer") else f"on it: {_INSTALL}, and Ray anew"
        )
        return Finding(label, "missing", node["failed"], remedy)
    minor = platform.python_version_tuple()[:2]
    wanted = {"Penstock": (node["penstock"], __version__), "Ray": (node["ray"], ray)}
    others = [f"{what} {its} and not {ours}" for what, (its, ours) in wanted.items() if its != ours]
    if tuple(node["python"].split(".")[:2]) != minor:
        others.append(f"Python {node['python']} and not {'.'.join(minor)}")
    if others:
        return Finding(
            label,
            "weak",
            f"it has {', '.join(others)}, as here",
            f"on it: {_INSTALL}, in the versions of this machine",
        )
    if node["bubblewrap"] is None:
        text = "bubblewrap is not installed: other walls are used, or none can be"
        return Finding(label, "weak", text, "on it: apt-get install bubblewrap (or your distribution's)")
    return Finding(label, "ok", f"Penstock {node['penstock']}, Python {node['python']}, bubblewrap")


def _way_back(settings: Settings, nodes: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether runners on nodes reach the server."""
    label = "way to the server"
    if settings.report_url is None:
        if all(node["here"] for node in nodes):
            return Finding(label, "ok", "the cluster has no node but this machine")
        return Finding(
            label,
            "missing",
            "nodes are not told where the server is",
            "export PENSTOCK_HOST=0.0.0.0 PENSTOCK_REPORT_URL=http://(this machine's address there):9550",
        )
    failed = [f"{node['address']}: {node['unreached']}" for node in nodes if node.get("unreached")]
    if not failed:
        return Finding(label, "ok", f"{settings.report_url}, from all nodes that answer")
    return Finding(
        label,
        "missing",
        f"{settings.report_url} is not reached from {'; '.join(failed)}",
        "start the server with PENSTOCK_HOST=0.0.0.0, and let nodes through to its port "
        f"({urlsplit(settings.report_url).port or 80})",
    )
