"""How a runner tells the answer of a server that has its run on record from any other.

Of a run's token the record has a digest, by which a server seals what it answers: whoever else listens at an address
where a server was, or is a server of another database, can't.
"""

from __future__ import annotations

import hashlib
import hmac

#: What a runner has its answer sealed with, new each time.
NONCE = "penstock-nonce"
#: The seal of an answer.
SEAL = "penstock-seal"


def digest_of(token: str) -> str:
    """What is on record of a run's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def seal(digest: str, nonce: str, status: int, body: bytes) -> str:
    """The seal of the answer with that HTTP status and body.

    Args:
        digest: Of the run's token.
        nonce: The one of the request; empty when it had none.
        status: HTTP's.
        body: All of it.
    """
    return hmac.new(digest.encode(), f"{nonce} {status} ".encode() + body, hashlib.sha256).hexdigest()
