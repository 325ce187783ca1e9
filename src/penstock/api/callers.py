"""Who calls: whoever has the home's key pair, or the program of a job with temporary credentials.

A job's credentials are made from the home's secret, the job's uid and attempt, and a time; nothing is kept. boto3
fetches them by the container credentials protocol ("Container credential provider" in AWS's SDK reference) from
``/penstock/credentials/<job uid>``, with a token that only this job is given, and again before they expire. They are
good while that attempt of the job is its last, and has not ended. What they are good for stands in `permissions.py`.
"""

from __future__ import annotations

import hmac
from base64 import b32encode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from penstock.job.life import Job, from_key
from penstock.wire import faults, signature
from penstock.wire.claims import Claim

#: Seconds that credentials are good for; boto3 fetches new ones a quarter of an hour before.
LIFETIME = 3600

PATH = "/penstock/credentials/"


@dataclass(frozen=True)
class Lent:
    """Temporary credentials of a job's attempt, good until `expires` (seconds since the epoch)."""

    of: str
    """`Job.key`."""
    expires: int
    key: signature.Key
    """With its session token."""

    def to_json(self) -> dict[str, str]:
        """As the container credentials protocol has it."""
        return {
            "AccessKeyId": self.key.access_key_id,
            "SecretAccessKey": self.key.secret,
            "Token": self.key.token or "",
            "Expiration": datetime.fromtimestamp(self.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@dataclass(frozen=True)
class Known:
    """Who is said to have sent a request."""

    key: signature.Key = field(repr=False)
    job: Job | None
    """The job whose program it is; None for whoever has the home's keys."""
    at: int
    """When it came, in milliseconds since the epoch."""


class Lender:
    """Makes and recognises jobs' credentials."""

    def __init__(self, secret: str) -> None:
        """`secret` is the home's: who has it may do all that a job may do, and more."""
        self._root = hmac.digest(secret.encode(), b"penstock job credentials", "sha256")

    def lend(self, of: str, expires: int) -> Lent:
        """The credentials of an attempt until a time; the same for the same."""
        what = f"{of}/{expires}"
        identifier = "ASIA" + b32encode(self._digest("id", what)).decode()[:16]
        secret = b64encode(self._digest("secret", what)).decode()[:40]
        token = urlsafe_b64encode(f"{what}/{self._digest('session', what).hex()}".encode()).decode()
        return Lent(of, expires, signature.Key(identifier, secret, token))

    def recognise(self, session_token: str) -> Lent | None:
        """The credentials that a session token belongs to; None when it is none of ours, to the last letter."""
        try:
            of, expires, _ = urlsafe_b64decode(session_token).decode("ascii").split("/")
            lent = self.lend(of, int(expires))
        except ValueError:
            return None
        same = hmac.compare_digest((lent.key.token or "").encode(), session_token.encode())
        return lent if same else None

    def token(self, of: str) -> str:
        """What a job's program shows to be given its credentials."""
        return self._digest("container", of).hex()

    def variables(self, of: str, endpoint: str) -> Mapping[str, str]:
        """What leads the AWS clients of a job's program to `endpoint`, an address on loopback: boto3 wants that."""
        return {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoint}{PATH}{of}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token(of),
        }

    def fixed(self, of: str, endpoint: str, expires: int) -> Mapping[str, str]:
        """The same on a machine where no server listens on loopback: credentials until a time, not to be renewed."""
        lent = self.lend(of, expires).key
        return {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": lent.access_key_id,
            "AWS_SECRET_ACCESS_KEY": lent.secret,
            "AWS_SESSION_TOKEN": lent.token or "",
        }

    def _digest(self, purpose: str, what: str) -> bytes:
        return hmac.digest(self._root, f"{purpose}/{what}".encode(), "sha256")


@dataclass(frozen=True)
class Callers:
    """All who may call."""

    key: signature.Key = field(repr=False)
    """The home's."""
    lender: Lender
    job_of_uid: Callable[[str], Job | None]
    clock: Callable[[], int]

    def know(self, claim: Claim) -> Known:
        """Whose key a request claims to be signed with. All is seen to that needs no body, but for the signature.

        Raises:
            Fault: As `signature.secret_for`; ExpiredTokenException when a job's credentials are good no more.
        """
        at, job = self.clock(), None
        lent = self.lender.recognise(claim.token) if claim.token else None
        if lent is not None and lent.key.access_key_id == claim.scope.access_key_id:
            key, job = lent.key, self._running(lent.of)
            if job is None or at >= lent.expires * 1000:
                raise faults.expired_token()
        else:  # any other key, and any other token, is refused below
            key = self.key
        signature.secret_for(claim, {key.access_key_id: key.secret}.get, at, token=key.token)
        return Known(key, job, at)

    def verify(self, request: signature.SignedRequest, claim: Claim, known: Known) -> signature.Caller:
        """See that whom `know` has found has signed `request`.

        Raises:
            Fault: As `signature.compare`.
        """
        return signature.compare(request, claim, known.key.secret)

    def lend(self, of: str, token: str) -> Lent | None:
        """Credentials for an attempt, by `Job.key`; None when the token is not its own, or when it is over."""
        genuine = hmac.compare_digest(self.lender.token(of).encode(), token.encode())
        if not genuine or self._running(of) is None:
            return None
        return self.lender.lend(of, self.clock() // 1000 + LIFETIME)

    def _running(self, of: str) -> Job | None:
        uid, attempt = from_key(of)
        job = self.job_of_uid(uid)
        return None if job is None or job.phase.final or job.attempt != attempt else job
