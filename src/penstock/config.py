"""Settings, read once from the environment and `config.toml` at start and then passed on by value.

`Settings.read()` is the only place of the server, the CLI and the client that looks at environment variables.
Every setting is listed in the README's table, and a test holds the two together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.amounts import read_bytes, read_seconds
from penstock.config_file import ConfigFile
from penstock.errors import ConfigurationError
from penstock.s3_settings import MEMBERS, S3Settings, for_bucket, read

#: Chosen below the ephemeral range (32768 and up on Linux), so that no outgoing connection ever sits on it.
DEFAULT_PORT = 9550

DEFAULT_CACHE_BYTES = 20 << 30

#: In the home; holds what is more than a variable can say.
CONFIG = "config.toml"

#: The names of all engines; the server's own machine comes first.
ENGINES = ("local", "ray")

#: Seconds; less where there are machines that nobody sees: a lost one is noticed with the end of its lease.
_RUNNER_LEASE, _RUNNER_LEASE_FAR = 600, 120


@dataclass(frozen=True)
class Settings:
    """All that a user may set. Fields are described in `SETTINGS`."""

    home: Path
    host: str
    port: int
    region: str
    account: str
    s3: S3Settings | None
    """A store of the user's own; None: the embedded one."""
    s3_buckets: Mapping[str, S3Settings]
    """Of buckets that lie elsewhere, whole."""
    s3_bucket: str | None
    runtime: str
    pull: str
    walls: str
    limits: str
    shm_bytes: int
    """0: half of a job's memory."""
    strict_versions: bool
    stop_grace: int
    slots: int
    cpus: int | None
    """To give out; None: as many as there are. So with memory and graphics cards."""
    memory: int | None
    """Bytes."""
    gpus: int | None
    strict_resources: bool
    environments: Path
    aws_limits: str
    job_experiments: str
    cache_bytes: int
    local_inputs: tuple[str, ...]
    keep_jobs: int | None
    """Milliseconds after its end that a job stays on record; None: for ever. The other three likewise."""
    keep_logs: int | None
    keep_inputs: int | None
    keep_environments: int | None
    logs_bytes: int | None
    """How much of them is kept; None: however much. So with environments."""
    environments_bytes: int | None
    disk_floor: int | None
    """Bytes; None: what suits the disk."""
    database_url: str | None = field(repr=False)
    """A PostgreSQL database, with its password maybe; None: SQLite in the home."""
    report_url: str | None
    server_lease: int
    """Seconds."""
    runner_lease: int
    """Seconds."""
    retries: int
    engines: tuple[str, ...]
    """Their names, in the order of `ENGINES`."""
    default_engine: str | None
    """Of several, the one of jobs that name none; None: by their size."""
    ray_address: str
    ray_autoscaler: bool

    @property
    def bucket(self) -> str:
        """The default bucket, named as SageMaker's SDK names it."""
        return self.s3_bucket or f"sagemaker-{self.region}-{self.account}"

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read all settings from `environ` (the process's own when none is given).

        Raises:
            ConfigurationError: A value can't be used; the message names the variable, or file and line.
        """
        env = os.environ if environ is None else environ
        home = home_folder(env)
        file = ConfigFile.load(home / CONFIG)
        file.expect(file.tables, (), {"s3": dict, "database": dict})
        s3, s3_buckets = _stores(env, file)
        engines = _engines(env)
        default = _choice(env, "PENSTOCK_DEFAULT_ENGINE", ("size", *engines))
        lease = _RUNNER_LEASE if engines == ("local",) else _RUNNER_LEASE_FAR
        return cls(
            home=home,
            host=env.get("PENSTOCK_HOST") or "127.0.0.1",
            port=_integer(env, "PENSTOCK_PORT", DEFAULT_PORT, 0, 65535),
            region=env.get("PENSTOCK_REGION") or "us-east-1",
            account=_account(env.get("PENSTOCK_ACCOUNT") or "000000000000"),
            s3=s3,
            s3_buckets=s3_buckets,
            s3_bucket=env.get("PENSTOCK_BUCKET") or None,
            runtime=_choice(env, "PENSTOCK_RUNTIME", ("auto", "sandbox", "container")),
            pull=_choice(env, "PENSTOCK_PULL", ("missing", "always")),
            walls=_choice(env, "PENSTOCK_WALLS", ("auto", "bubblewrap", "unshare")),
            limits=_choice(env, "PENSTOCK_LIMITS", ("auto", "cgroup", "watch", "off")),
            shm_bytes=_integer(env, "PENSTOCK_SHM_BYTES", 0, 0, 1 << 60),
            strict_versions=_flag(env, "PENSTOCK_STRICT_VERSIONS"),
            stop_grace=_integer(env, "PENSTOCK_STOP_GRACE", 120, 0, 86400),
            slots=_integer(env, "PENSTOCK_SLOTS", max(4, 2 * (os.cpu_count() or 1)), 1, 10_000),
            cpus=_capacity(env, "PENSTOCK_CPUS", 1),
            memory=_bytes(env, "PENSTOCK_MEMORY"),
            gpus=_capacity(env, "PENSTOCK_GPUS", 0),
            strict_resources=_flag(env, "PENSTOCK_STRICT_RESOURCES"),
            environments=Path(env.get("PENSTOCK_ENVIRONMENTS") or home / "environments")
            .expanduser()
            .absolute(),
            aws_limits=_choice(env, "PENSTOCK_AWS_LIMITS", ("strict", "relaxed")),
            job_experiments=_choice(env, "PENSTOCK_JOB_EXPERIMENTS", ("own", "all")),
            cache_bytes=_integer(env, "PENSTOCK_CACHE_BYTES", DEFAULT_CACHE_BYTES, 0, 1 << 60),
            local_inputs=_folders(env, "PENSTOCK_LOCAL_INPUTS"),
            keep_jobs=_age(env, "PENSTOCK_KEEP_JOBS", "ever"),
            keep_logs=_age(env, "PENSTOCK_KEEP_LOGS", "90d"),
            keep_inputs=_age(env, "PENSTOCK_KEEP_INPUTS", "30d"),
            keep_environments=_age(env, "PENSTOCK_KEEP_ENVIRONMENTS", "90d"),
            logs_bytes=_bytes(env, "PENSTOCK_LOGS_BYTES"),
            environments_bytes=_bytes(env, "PENSTOCK_ENVIRONMENTS_BYTES"),
            disk_floor=_bytes(env, "PENSTOCK_DISK_FLOOR"),
            database_url=env.get("PENSTOCK_DATABASE_URL") or _database(file),
            report_url=_url(env, "PENSTOCK_REPORT_URL"),
            server_lease=_integer(env, "PENSTOCK_SERVER_LEASE", 6, 1, 3600),
            runner_lease=_integer(env, "PENSTOCK_RUNNER_LEASE", lease, 10, 86400),
            retries=_integer(env, "PENSTOCK_RETRIES", 0, 0, 30),
            engines=engines,
            default_engine=None if default == "size" else default,
            ray_address=env.get("PENSTOCK_RAY_ADDRESS") or "auto",
            ray_autoscaler=_flag(env, "PENSTOCK_RAY_AUTOSCALER"),
        )


def home_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where all state lies: all that is needed to find a server that runs, whatever else has been set since."""
    env = os.environ if environ is None else environ
    home = Path(env.get("PENSTOCK_HOME") or Path(env.get("HOME") or "~").expanduser() / ".penstock")
    return home.expanduser().absolute()


#: Every variable that `Settings.read` looks at, with what it does: the README's table is held against this.
SETTINGS: Mapping[str, str] = {
    "PENSTOCK_HOME": "where all state lies (default `~/.penstock`)",
    "PENSTOCK_HOST": "address to listen on (default `127.0.0.1`)",
    "PENSTOCK_PORT": f"port to listen on (default {DEFAULT_PORT}; the next free one when it is taken, "
    "unless `PENSTOCK_REPORT_URL` is set)",
    "PENSTOCK_REGION": "region in ARNs and bucket names (default `us-east-1`)",
    "PENSTOCK_ACCOUNT": "the 12-digit account id in ARNs and bucket names (default `000000000000`)",
    "PENSTOCK_S3_ENDPOINT": "an S3 endpoint of your own instead of the embedded store",
    "PENSTOCK_S3_REGION": "its region (default: `PENSTOCK_REGION`)",
    "PENSTOCK_S3_PATH_STYLE": "`0`: the bucket stands in the host's name and not in the path",
    "PENSTOCK_S3_CA_BUNDLE": "a file of certificates to trust at it, beside the system's",
    "PENSTOCK_S3_ANONYMOUS": "`1`: it is used without keys",
    "PENSTOCK_S3_PROFILE": "a profile of AWS's configuration files, for its keys and region",
    "PENSTOCK_S3_ACCESS_KEY_ID": "its access key; without an endpoint, plain AWS S3 is used",
    "PENSTOCK_S3_SECRET_ACCESS_KEY": "its secret key",
    "PENSTOCK_S3_SESSION_TOKEN": "its session token, for temporary keys",
    "PENSTOCK_BUCKET": "the default bucket (default `sagemaker-<region>-<account>`)",
    "PENSTOCK_RUNTIME": "`auto`, `sandbox` or `container` (default `auto`: a container for images the catalogue lacks)",
    "PENSTOCK_PULL": "`missing` or `always`: when the image of a container is pulled (default `missing`)",
    "PENSTOCK_WALLS": "`auto`, `bubblewrap` or `unshare` (default `auto`: bubblewrap where it is installed)",
    "PENSTOCK_LIMITS": "how jobs are kept to their instance type: `auto`, `cgroup`, `watch`, or `off` (default `auto`)",
    "PENSTOCK_SHM_BYTES": "the size of a job's /dev/shm (default half of its memory)",
    "PENSTOCK_STRICT_VERSIONS": "`1`: an environment that differs from its image is an error, not a note",
    "PENSTOCK_STOP_GRACE": "seconds between SIGTERM and SIGKILL when a job is stopped (default 120)",
    "PENSTOCK_SLOTS": "instances that run at once on this machine (default twice the processors, at least 4)",
    "PENSTOCK_CPUS": "processors that the queue gives out (default those of the machine; may be more)",
    "PENSTOCK_MEMORY": "memory that the queue gives out, as `48G` (default that of the machine; may be more)",
    "PENSTOCK_GPUS": "graphics cards that the queue gives out (default those of the machine; may be more)",
    "PENSTOCK_STRICT_RESOURCES": "`1`: a job larger than the machine is refused; else it runs alone on all of it",
    "PENSTOCK_ENVIRONMENTS": "where built environments are kept (default `$PENSTOCK_HOME/environments`)",
    "PENSTOCK_AWS_LIMITS": "`strict`, or `relaxed` for longer arguments, more variables, inputs and the like",
    "PENSTOCK_JOB_EXPERIMENTS": "experiments that a job's program may use: `own` (of its ExperimentConfig) or `all`",
    "PENSTOCK_CACHE_BYTES": "how much of downloaded inputs is kept for later jobs (default 20 GiB; 0: nothing)",
    "PENSTOCK_LOCAL_INPUTS": "folders joined by `:` whose `file://` inputs are mounted, not uploaded (default none)",
    "PENSTOCK_KEEP_JOBS": "how long an ended job stays on record, as `90d`, or `ever` (default `ever`)",
    "PENSTOCK_KEEP_LOGS": "how long its log is kept after its end (default `90d`)",
    "PENSTOCK_KEEP_INPUTS": "how long a downloaded input is kept that no job uses (default `30d`)",
    "PENSTOCK_KEEP_ENVIRONMENTS": "how long an environment is kept that no job uses (default `90d`)",
    "PENSTOCK_LOGS_BYTES": "how much of ended jobs' logs is kept, as `20G` (default however much)",
    "PENSTOCK_ENVIRONMENTS_BYTES": "how much of environments is kept (default however much)",
    "PENSTOCK_DISK_FLOOR": "with less on the home's disk no job is taken or begun (default 1 GiB, of a small one 1 %)",
    "PENSTOCK_DATABASE_URL": "a PostgreSQL database, `postgresql://...` (default: SQLite in the home)",
    "PENSTOCK_REPORT_URL": "where runners of other servers reach this one (default its own address)",
    "PENSTOCK_SERVER_LEASE": "seconds until other servers of the database take over from a silent one (default 6)",
    "PENSTOCK_RUNNER_LEASE": "seconds without any server until a job on a cluster (120) or shared database (600) ends",
    "PENSTOCK_RETRIES": "how often a job that lost a machine or a runner begins anew, 0 to 30 (default 0: it fails)",
    "PENSTOCK_ENGINE": "where jobs run: `local`, this machine, `ray`, a Ray cluster, or `local,ray` (default `local`)",
    "PENSTOCK_DEFAULT_ENGINE": "of several, that of jobs without the tag `penstock:engine` (default `size`: by that)",
    "PENSTOCK_RAY_ADDRESS": "where the cluster is, as `ray.init` has it (default `auto`: this machine is a node of it)",
    "PENSTOCK_RAY_AUTOSCALER": "`1`: the next job that finds no room on the cluster is shown to Ray's autoscaler",
}


def _stores(env: Mapping[str, str], file: ConfigFile) -> tuple[S3Settings | None, Mapping[str, S3Settings]]:
    """The user's own store, by variables first, and the buckets that lie elsewhere."""
    path = file.path
    default, buckets = read(file)
    given = {name: f"PENSTOCK_S3_{name.upper()}" for name in MEMBERS}
    said: dict[str, Any] = {
        n: _flag(env, v) if MEMBERS[n] is bool else env[v] for n, v in given.items() if env.get(v)
    }
    default = S3Settings(**said).over(default)
    if default.names_a_store:
        default.check(f"The table [s3] of {path}" if path.exists() else "A store of your own")
    whole = {name: for_bucket(table, default) for name, table in buckets.items()}
    for name, table in whole.items():
        table.check(f'The table [s3.buckets."{name}"] of {path}')
    return default if default.names_a_store else None, whole


def _database(file: ConfigFile) -> str | None:
    table = file.tables.get("database", {})
    file.expect(table, ("database",), {"url": str})
    if table:
        file.must_be_closed("a database's password")
    return table.get("url") or None


def _integer(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise ConfigurationError(f"{name}={text!r} is not a whole number from {low} to {high}.")
    return value


def _capacity(env: Mapping[str, str], name: str, low: int) -> int | None:
    return _integer(env, name, low, low, 1_000_000) if env.get(name) else None


def _bytes(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name)
    if not text:
        return None
    try:
        return read_bytes(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _age(env: Mapping[str, str], name: str, default: str) -> int | None:
    """Milliseconds."""
    text = env.get(name) or default
    if text == "ever":
        return None
    try:
        return read_seconds(text) * 1000
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error} `ever` keeps all.") from None


def _folders(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    folders = tuple(os.path.normpath(text) for text in (env.get(name) or "").split(os.pathsep) if text)
    for folder in folders:
        if not folder.startswith("/"):
            raise ConfigurationError(f"{name}: {folder!r} is no absolute path. Write it as /data:/srv/other.")
    host = env.get("PENSTOCK_HOST") or "127.0.0.1"
    if folders and not (host.startswith("127.") or host in {"localhost", "::1"}):
        raise ConfigurationError(
            f"{name} opens folders of this machine, so it goes only with a loopback PENSTOCK_HOST, not {host}."
        )
    return folders


def _url(env: Mapping[str, str], name: str) -> str | None:
    text = env.get(name)
    if text and not re.fullmatch(r"https?://[^/?#@\s]+/?", text):
        raise ConfigurationError(f"{name}={text!r} is no address such as http://penstock.example.org:9550.")
    return text.rstrip("/") if text else None


def _choice(env: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name) or allowed[0]
    if value not in allowed:
        raise ConfigurationError(f"{name}={value!r} is not one of: {', '.join(allowed)}.")
    return value


def _engines(env: Mapping[str, str]) -> tuple[str, ...]:
    named = [name.strip() for name in (env.get("PENSTOCK_ENGINE") or ENGINES[0]).split(",")]
    if wrong := [name for name in named if name not in ENGINES]:
        raise ConfigurationError(
            f"PENSTOCK_ENGINE: {wrong[0]!r} is not one of: {', '.join(ENGINES)}. Several are joined by a comma."
        )
    return tuple(name for name in ENGINES if name in named)


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = (env.get(name) or "0").lower()
    if value not in {"0", "1", "true", "false", "yes", "no"}:
        raise ConfigurationError(f"{name}={value!r} is neither 0 nor 1.")
    return value in {"1", "true", "yes"}


def _account(text: str) -> str:
    if len(text) != 12 or not text.isdigit():
        raise ConfigurationError(f"PENSTOCK_ACCOUNT={text!r} is not 12 digits.")
    return text
