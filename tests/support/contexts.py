"""What operations are called with, over a real store."""

from penstock.api.admission import Admission
from penstock.api.context import Context
from penstock.store.logbook import FileLogbook


def context_of(store, folder):
    """A context whose clock goes on by a second whenever it is asked. `woken` tells how often it woke the dispatcher."""
    clock = iter(range(1_700_000_000_000, 1_800_000_000_000, 1000))
    woken = []
    made = Context(
        store,
        FileLogbook(folder / "logs"),
        "eu-west-1",
        "111122223333",
        lambda: next(clock),
        lambda **_: woken.append(1),
        Admission(store.add_jobs),
    )
    made.__dict__["woken"] = woken
    return made
