"""The suite of upgrades: a database of every schema that there has been, with rows in it, is brought up and used."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from penstock.errors import ConfigurationError
from penstock.job.claim import claim_of
from penstock.job.experiments import Component
from penstock.job.life import Phase, StopAsked, advance
from penstock.job.metrics import Metric
from penstock.job.uploads import Upload
from penstock.store import schema
from penstock.store.conditions import Condition, Value
from penstock.store.database import JobQuery
from penstock.store.tables import metadata
from penstock.testing.stores import StoreBase, new_job, open_store


def alembic():
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    return config


REVISIONS = sorted(step.revision for step in ScriptDirectory.from_config(alembic()).walk_revisions())

#: Indexes of expressions are looked at in the databases' own words, see `shape`.
REFLECTION = pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")

_COMPONENT = "part-aws-processing-job"
_CONFIG = {"ExperimentName": "E", "TrialName": "T", "RunName": "r"}
_TWO_LARGE = {"ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2}}}
_USES = {
    "AppSpecification": {"ImageUri": "python:3.11"},
    "ProcessingOutputConfig": {"Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": "s3://b/o"}}]},
}
_LOCK = "5" * 64
#: What each schema has had first; all of it must outlive the way up.
_ROWS = {
    "0001": (
        *(
            (
                ("INSERT INTO jobs (name, uid, arn, request, created_at, modified_at, phase, status, version, phases)"
                " VALUES (:name, :uid, :arn, :request, 5, 7, :phase, :status, 3, '{}')"),
                {
                    "name": name, "uid": f"{name}-u", "arn": f"arn:{name}", "request": json.dumps(given),
                    "phase": phase, "status": status,
                },
            )
            for name, given, phase, status in (
                ("Plain", {}, "completed", "Completed"),
                ("Part", {"ExperimentConfig": _CONFIG, **_TWO_LARGE, **_USES}, "queued", "InProgress"),
                ("None", {"ExperimentConfig": {}}, "failed", "Failed"),
                ("ab", {}, "stopping", "Stopping"),
            )
        ),
        (
            ("INSERT INTO hosts (job_uid, name, job_name, token_digest, log_stream, phase, sequence, phases, notes)"
            " VALUES ('Plain-u', 'algo-1', 'Plain', 'd', 'Plain/algo-1-1', 'completed', 2, '{}', '{}')"),
            {},
        ),
        ("INSERT INTO tags (arn, key, value) VALUES ('arn:Plain', 'k', 'v')", {}),
        ("INSERT INTO tags (arn, key, value) VALUES ('arn:Part', 'part', 'v')", {}),
    ),
    "0002": (
        (f"UPDATE jobs SET trial_component = '{_COMPONENT}' WHERE name = 'Part'", {}),
        (f"INSERT INTO metrics (trial_component, name, at, value) VALUES ('{_COMPONENT}', 'm', 1, 2.5)", {}),
    ),
    "0003": (
        (
            ("INSERT INTO uploads (job_uid, uri, host, output, size, sha256, at)"
            " VALUES ('Plain-u', 's3://b/k', 'algo-1', 'o', 5, '00', 1)"),
            {},
        ),
    ),
    "0005": (
        (f"INSERT INTO locks (sha256, text) VALUES ('{_LOCK}', 'lock'), ('{'0' * 64}', 'unused')", {}),
        ("UPDATE hosts SET notes = :notes WHERE job_uid = 'Plain-u'", {"notes": json.dumps({"lock": _LOCK})}),
    ),
    "0006": (
        (f"UPDATE jobs SET cpus = 4, memory = {16 << 30}, instances = 2 WHERE name = 'Part'", {}),
    ),
    "0008": (
        (f"UPDATE hosts SET lock = '{_LOCK}' WHERE job_uid = 'Plain-u'", {}),
        ("UPDATE jobs SET logs_removed_at = 9 WHERE name = 'None'", {}),
    ),
}  # fmt: skip


def engine_of(address):
    if address.startswith("postgresql://"):
        return create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
    with closing(sqlite3.connect(address)) as c:
        c.execute("PRAGMA journal_mode=WAL")  # as every Penstock has had it
    return create_engine(f"sqlite:///{address}")


def make(address, revision):
    """A database that has come to that schema step by step, and was given at each what that one knew first."""
    engine = engine_of(address)
    with engine.begin() as c:
        config = alembic()
        config.attributes["connection"] = c
        for step in REVISIONS[: REVISIONS.index(revision) + 1]:
            command.upgrade(config, step)
            for statement, values in _ROWS.get(step, ()):
                c.execute(text(statement), values)
    engine.dispose()


class UpgradeSuite(StoreBase):
    """Fixtures that a subclass gives: address, bare_address: of a database without any tables."""

    @pytest.mark.parametrize("revision", REVISIONS)
    def test_a_database_of_every_schema_is_brought_up_with_all_that_it_has(self, bare_address, revision):
        make(bare_address, revision)
        with closing(open_store(bare_address)) as store:
            assert [j.name for j in store.list_jobs(JobQuery(sort_by="Name"), 9)[0]] == [
                "None",
                "Part",
                "Plain",
                "ab",
            ]
            assert store.active_count() == 2
            assert [j.name for j in store.begun_jobs()] == ["ab"]
            assert store.waiting() == store.waiting(1) == [claim_of(store.job("Part"))]
            assert [j.name for j in store.list_jobs(JobQuery(name_contains="lai"), 9)[0]] == ["Plain"]
            plain = store.job("Plain")
            assert (plain.phase, plain.created_at, plain.modified_at, plain.version) == (
                Phase.COMPLETED,
                5,
                7,
                3,
            )
            assert store.tags(plain.arn) == {"k": "v"}
            assert store.host_of_stream("Plain/algo-1-1").sequence == 2
            component = store.experiments.get(Component, _COMPONENT)
            assert (component.job_uid, component.source, component.run_name) == ("Part-u", "arn:Part", "r")
            assert (component.status, component.modified_at) == ("InProgress", 7)
            assert component.parameters["SageMaker.InstanceCount"] == {"NumberValue": 2.0}
            two = Condition(Value("number", "parameter", "SageMaker.InstanceCount"), "=", 2.0)
            assert store.experiments.count(Component, [two]) == 1
            image = Condition(Value("value", "input", "SageMaker.ImageUri"), "=", "python:3.11")
            assert store.experiments.count(Component, [image]) == 1
            requested = {"appspecification.imageuri": "python:3.11", "experimentconfig.runname": "r"}
            for name, wanted in requested.items():
                assert (
                    store.experiments.count(Component, [Condition(Value("text", "part", name), "=", wanted)])
                    == 1
                )
            instances = "processingresources.clusterconfig.instancecount"
            assert (
                store.experiments.count(Component, [Condition(Value("number", "part", instances), "=", 2.0)])
                == 1
            )
            output = Condition(Value("value", "output", "o"), "contains", "s3://")
            assert store.experiments.count(Component, [output]) == 1
            assert store.experiments.parents([_COMPONENT]) == {_COMPONENT: [("T", "E")]}
            assert store.tags(component.arn) == {"part": "v"}
            kept = [Metric("m", 1, None, 2.5)] if revision >= "0002" else []
            assert store.metrics.of(_COMPONENT, "m") == kept
            assert [s.last for s in store.metrics.summaries().get(_COMPONENT, ())] == [m.value for m in kept]
            store.metrics.put(_COMPONENT, [Metric("m", 2, None, 3.5)])
            assert store.metrics.of(_COMPONENT, "m") == [*kept, Metric("m", 2, None, 3.5)]
            kept = [("algo-1", Upload("o", "s3://b/k", 5, "00", 1))] if revision >= "0003" else []
            assert store.uploads.page("Plain-u", None, 9) == kept
            store.uploads.add("Plain-u", "algo-1", [Upload("o", "s3://b/k", 6, "00", 1)])
            if revision >= "0005":
                assert store.locks.remove_unused(9) == 1
                assert store.locks.get(_LOCK) == "lock"
            assert plain.logs_removed_at is None
            assert store.job("None").logs_removed_at == (9 if revision >= "0008" else None)
            assert plain in store.ended.page((0, 9), 9)
            store.save_job(advance(store.job("Part"), StopAsked(), 9))
            store.delete_job(plain)
            store.add_job(new_job("Plain"), {})
            assert store.active_count() == 2
            assert [claim.name for claim in store.waiting()] == ["Plain"]

    @REFLECTION
    def test_the_migrations_make_the_tables_that_the_code_expects(self, address, bare_address):
        open_store(address).close()
        plain, migrated = engine_of(bare_address), engine_of(address)
        with plain.begin() as c:
            if plain.dialect.name == "postgresql":
                c.execute(text("CREATE EXTENSION pg_trgm"))
            metadata.create_all(c)
        assert shape(migrated) == shape(plain)
        with migrated.connect() as c:
            assert schema.revision(c) == schema.HEAD == REVISIONS[-1]
        plain.dispose()
        migrated.dispose()

    @REFLECTION
    def test_a_way_down_leads_back_up(self, bare_address):
        make(bare_address, schema.HEAD)
        engine = engine_of(bare_address)
        before = shape(engine)
        for revision in reversed(REVISIONS[:-1]):
            with engine.begin() as c:
                config = alembic()
                config.attributes["connection"] = c
                command.downgrade(config, revision)
        engine.dispose()
        with closing(open_store(bare_address)) as store:
            assert store.job("Plain").version == 3
        assert shape(engine) == before
        engine.dispose()

    def test_a_database_of_a_newer_version_is_left_alone(self, address):
        open_store(address).close()
        engine = engine_of(address)
        with engine.begin() as c:
            c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        engine.dispose()
        with pytest.raises(ConfigurationError, match="newer Penstock"):
            open_store(address)


class StartSuite:
    """Fixtures that a subclass gives: bare_address."""

    def test_servers_that_start_at_once_migrate_once(self, bare_address):
        make(bare_address, REVISIONS[0])
        program = (
            "import sys; from penstock.testing.stores import new_job, open_store\n"
            "address, name = sys.stdin.readline().split(); print('ready', flush=True); sys.stdin.readline()\n"
            "store = open_store(address); store.add_job(new_job(name), {}); store.close()\n"
        )
        servers = [
            subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        for n, server in enumerate(servers):
            server.stdin.write(f"{bare_address} server-{n}\n")
            server.stdin.flush()
            assert server.stdout.readline() == "ready\n"
        for server in servers:
            server.stdin.write("go\n")
            server.stdin.flush()
        said = [server.communicate(timeout=60)[1] for server in servers]
        assert [server.returncode for server in servers] == [0] * 4, "".join(said)
        with closing(open_store(bare_address)) as store:
            assert len(store.list_jobs(JobQuery(name_contains="server"), 9)[0]) == 4


def shape(engine):
    """Tables with their columns and keys, and all indexes as the database has them written down."""
    look = inspect(engine)
    tables = {
        table: (
            [
                (c["name"], str(c["type"]), getattr(c["type"], "collation", None), c["nullable"])
                for c in look.get_columns(table)
            ],
            look.get_pk_constraint(table)["constrained_columns"],
            sorted(u["column_names"] for u in look.get_unique_constraints(table)),
        )
        for table in metadata.tables
    }
    written = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " AND tablename != 'alembic_version'",
    }[engine.dialect.name]  # fmt: skip
    with engine.connect() as c:
        return tables, {name: " ".join(sql.split()) for name, sql in c.execute(text(written))}
