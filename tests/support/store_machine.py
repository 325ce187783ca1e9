"""The embedded object store as a program on a machine of its own: `python store_machine.py FOLDER BUCKET ADDRESS`.

The store listens on loopback alone, as it should; a door beside it lets the other machines in. It says how to reach it
in one line of JSON, and ends with whoever has its standard input.
"""

import json
import sys
from pathlib import Path

from machine_store import KEYS, embedded_store
from networks import Door


def main(folder, bucket, address):
    with embedded_store(Path(folder), bucket, 18333) as access:
        host, port = access.endpoint.removeprefix("http://").split(":")
        with Door(address, (host, int(port))) as door:
            told = {"endpoint": f"http://{door.address}", "region": access.region, **KEYS}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
            sys.stdin.read()


main(*sys.argv[1:])
