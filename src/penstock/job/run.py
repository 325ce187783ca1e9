"""A run: one instance's piece of one job, as handed from the server to a runner in `run.json`.

The runner outlives the server and may be older than it, so the form is versioned and read leniently: unknown
members are ignored, missing ones get their defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import quote, urlsplit

from penstock.job.life import key_of

VERSION = 1


@dataclass(frozen=True)
class S3Access:
    """How to reach the object store. `endpoint` None means AWS itself."""

    endpoint: str | None
    region: str
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    path_style: bool = True
    """Whether the bucket stands in the path; else in the host's name."""
    ca_bundle: str | None = None
    """A file of certificates (PEM) to trust beside the system's."""
    own: bool = False
    """Whether it is Penstock's own store on this machine, with nothing between that could change bytes."""
    inner_ports: tuple[int, ...] = ()
    """Of this machine's loopback, at which the parts of Penstock's own store talk to each other."""
    buckets: tuple[tuple[str, S3Access], ...] = ()
    """How to reach the buckets that lie in other stores."""

    def at(self, bucket: str) -> S3Access:
        """How to reach the store in which a bucket lies."""
        return dict(self.buckets).get(bucket, self)

    @property
    def url(self) -> str:
        """The store's address, without a closing slash; AWS's own when none is set."""
        if self.endpoint:
            return self.endpoint.rstrip("/")
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return f"https://s3.{self.region}.{suffix}"

    def url_of(self, bucket: str) -> str:
        """A bucket's address, without a closing slash."""
        if self.path_style:
            return f"{self.url}/{quote(bucket)}"
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{bucket}.{parts.netloc}"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> S3Access:
        """Read what `Run.to_json` made of one; unknown members are passed over."""
        names = {f.name for f in fields(cls)}
        known = {k: v for k, v in data.items() if k in names}
        buckets = tuple((name, cls.from_dict(one)) for name, one in data.get("buckets", ()))
        return cls(**{**known, "buckets": buckets, "inner_ports": tuple(data.get("inner_ports", ()))})


@dataclass(frozen=True)
class Run:
    """All that a runner is told. Written with mode 0600: it holds the token and the store's keys."""

    job_name: str
    job_uid: str
    job_arn: str
    host: str
    hosts: tuple[str, ...]
    request: Mapping[str, Any]
    region: str
    token: str = field(repr=False)
    report_url: str
    """Where reports go, when the server is `far` or there is no `home` to tell."""
    home: str | None
    """The home folder on this machine. The server's own tells whether that runs, and where."""
    s3: S3Access
    environments: str
    """The folder of cached environments."""
    cache: str | None = None
    """The folder of cached inputs; None: nothing is cached."""
    cache_bytes: int = 0
    local_inputs: tuple[str, ...] = ()
    """Folders of this machine that may be inputs as they lie."""
    closed_ports: tuple[int, ...] = ()
    """Of this machine's loopback, which the program is to be kept from, beside the store's inner ones."""
    walls: str = "auto"
    runtime: str = "auto"
    """"sandbox", "container", or "auto": in a container what the catalogue does not know (`images.kinds`)."""
    pull: str = "missing"
    """"always": the registry is asked for each image."""
    limits: str = "auto"
    """By what means programs are kept to their instance type; "off": not at all."""
    shm_bytes: int = 0
    """The size of /dev/shm; 0: half of the memory."""
    strict_versions: bool = False
    lock: str | None = None
    """The environment's lock (`job/lock.py`), for a job that is to run in the environment of an earlier one."""
    stop_grace: int = 120
    patience: float = 3600.0
    """Seconds for which a run that has ended waits for a server to take its last words."""
    far: bool = False
    """Whether the server is on another machine."""
    others: tuple[str, ...] = ()
    """Where other servers of its database are, which take its reports should that one be gone; for a `far` run."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Of each host, its own among them, where they are on several machines; none: all are on this one."""
    gpus: tuple[int, ...] | None = None
    """The graphics cards that the engine gives it, by the numbers of /dev/nvidia*; None: the runner takes free ones."""
    leased: bool = False
    """Whether the run may go on only as long as a server says so (`runner/lease.py`)."""
    notes: tuple[str, ...] = ()
    """Lines that the job's log begins with."""
    attempt: int = 1
    spent: float = 0.0
    """Seconds of the job's time limit that earlier attempts have used."""
    aws: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that lead the program's own AWS clients to the server, with a token of this job's."""
    version: int = VERSION

    @property
    def key(self) -> str:
        """By which it is known beside the runs of other hosts and attempts of its job."""
        return key_of(self.host, self.attempt)

    @property
    def handle(self) -> str:
        """By which an engine finds it."""
        return f"{self.job_uid}/{self.key}"

    @property
    def index(self) -> int:
        """This host's place in the list of hosts, from 0."""
        return self.hosts.index(self.host)

    def to_json(self) -> str:
        """The form written to disk."""
        # `dataclasses.asdict` would copy all of the request first.
        return json.dumps(vars(self), default=vars)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read what `to_json` wrote, also of another version."""
        known = {f.name for f in fields(cls)}
        data = {k: v for k, v in json.loads(text).items() if k in known}
        data["hosts"] = tuple(data["hosts"])
        data["local_inputs"] = tuple(data.get("local_inputs", ()))
        data["closed_ports"] = tuple(data.get("closed_ports", ()))
        data["others"] = tuple(data.get("others", ()))
        data["notes"] = tuple(data.get("notes", ()))
        data["gpus"] = None if data.get("gpus") is None else tuple(data["gpus"])
        data["s3"] = S3Access.from_dict(data["s3"])
        return cls(**data)
