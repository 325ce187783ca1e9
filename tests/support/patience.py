"""Waiting for what other processes do."""

import time


def until(true, seconds=90.0, pause=0.02):
    """What `true` gives, as soon as it gives something. Other processes can't signal a test, so they are asked."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(pause)
    return found
