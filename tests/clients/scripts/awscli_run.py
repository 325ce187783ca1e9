"""The AWS CLI, one process a command."""

import json
import subprocess


def aws(*command):
    """Run a command; its output, read when it is JSON."""
    ended = subprocess.run(["aws", *command], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (command, ended.stderr)
    return json.loads(ended.stdout) if ended.stdout.startswith("{") else ended.stdout


def refused(*command):
    """Run a command that must fail; what it says."""
    ended = subprocess.run(["aws", *command], capture_output=True, text=True, check=False)
    assert ended.returncode in {254, 255}, ended
    return ended.stderr.strip()
