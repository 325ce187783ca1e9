"""A driver of Ray that runs one piece of code after the other, so that each need not pay for its start.

A line of its standard input is a piece and its arguments, in JSON; a line of its output, what the piece left in `told`,
or the traceback of what it raised.
"""

import json
import os
import sys
import time
import traceback

import ray

_PATIENCE = 300.0


def main():
    # Ray writes to the standard output too.
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        ray.init(address="auto", namespace="penstock", log_to_driver=False, logging_level="ERROR")
        for line in sys.stdin:
            code, arguments = json.loads(line)
            scope = {"ray": ray, "arguments": arguments, "alive": alive, "until_alive": until_alive}
            try:
                exec(code, scope)
                answer = {"told": scope["told"]}
            except Exception:  # noqa: BLE001  # whatever it is, it is told
                answer = {"failed": traceback.format_exc()}
            answers.write(json.dumps(answer) + "\n")


def alive():
    """The names of the machines that Ray takes for alive."""
    return sorted(node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"])


def until_alive(names):
    """Return when it takes those for alive, and no others."""
    deadline = time.monotonic() + _PATIENCE
    while (found := alive()) != sorted(names):
        assert time.monotonic() < deadline, f"Ray takes {found} for alive, not {names}"
        time.sleep(0.05)


main()
