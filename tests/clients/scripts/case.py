"""How a script runs one of its cases: `python SCRIPT CASE`. The last line of its output is the result, as JSON.

    {"case": "kms", "result": "works" | "differs" | "fails", "why": "..."}

Needs nothing but the standard library, as each client's environment has only what the client needs. Where
SageMaker's SDK is not installed and Penstock is, `import sagemaker` means Penstock's own SDK.
"""

import importlib.util
import json
import sys
import time
import traceback
from pathlib import Path

if importlib.util.find_spec("sagemaker") is None and importlib.util.find_spec("penstock") is not None:
    from penstock.client import alias

    alias.install()

_differences = []


def main(cases):
    """Run the case that the command line names, out of a module's names."""
    name = sys.argv[1]
    result, why = "works", ""
    try:
        cases[name]()
    except Exception as error:  # noqa: BLE001 - a case may fail in any way
        traceback.print_exc()
        result, why = "fails", f"{type(error).__name__}: {error}"
    else:
        if _differences:
            result, why = "differs", "; ".join(_differences)
    # On a line of its own, whatever was printed before it.
    sys.stdout.write("\n" + json.dumps({"case": name, "result": result, "why": why}) + "\n")
    sys.exit(result == "fails")


def differs(text):
    """Note that the client does something else here than on AWS, or can't do it with any server."""
    _differences.append(text)


def unique(name):
    """`name` made one that no other case of no other client uses: all have one server."""
    return f"{name}-{Path.cwd().name}"


def raised(kind, call):
    """The exception of `kind` that `call` must raise."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


def until(holds, seconds=120):
    """Ask again and again until `holds()` is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never was so"
        time.sleep(0.2)
    return found
