"""What is on record must not make the server slower: 10,000 finished jobs against a million, on SQLite and PostgreSQL.

A server for each size answers the same requests in turn, through HTTP, signed as any client's. `RECORDS=10000,50000`
are other sizes, `RECORDS_TURNS` says how often each is asked. The first run fills the databases, some minutes; the
rest takes a minute or two for each.
"""

import contextlib
import itertools
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert, text

from bench.table import machine, show
from bench.wire import create, new_job, one, penstock, request
from penstock.job.life import Job, Phase
from penstock.store import stretches
from penstock.store.database import open_postgres, open_sqlite
from penstock.store.rows import job_row
from penstock.store.schema import HEAD
from penstock.store.tables import jobs

SIZES = [int(size) for size in os.environ.get("RECORDS", "10000,1000000").split(",")]
TURNS = int(os.environ.get("RECORDS_TURNS", "20"))
#: What must hold: ms at most of the median and of 99 in 100, or how many times what it takes with the fewest jobs; and
#: seconds to start.
MEDIAN, LAST, RATIO, START = 10, 50, 1.3, 2
PORT = 17950
#: Filled databases, by schema and size: each run works on copies.
CACHE = Path(__file__).parents[1] / ".cache" / "bench-records"
MINUTE = 60_000
#: The newest job is one of this time; before it came one every minute.
END = 1_790_000_000_000
SORTS = [(by, order) for by in ("Name", "CreationTime", "Status") for order in ("Ascending", "Descending")]


def main():
    for kind in (sqlite, postgres):
        with contextlib.ExitStack() as stack:
            servers = []
            for place, size in enumerate(SIZES):
                home, more = stack.enter_context(kind(size))
                began = time.perf_counter()
                keys = stack.enter_context(penstock(home, PORT + 200 * place, **more))
                took = time.perf_counter() - began
                pid = json.loads((Path(home) / "server.json").read_text())["pid"]
                servers.append((size, PORT + 200 * place, keys, took, pid))
            # What was filled long ago is on disk: else the first checkpoint waits for all of the copy, half a second.
            os.sync()
            measure(kind.__name__, servers)


def measure(kind, servers):
    times = {}
    for turn in range(TURNS):
        for size, port, keys, *_ in servers:
            for (what, detail), call in calls(size, turn, port, keys):
                began = time.perf_counter()
                answer = one(port, call)
                took = 1000 * (time.perf_counter() - began)
                assert answer.startswith(b"HTTP/1.1 200"), answer
                if turn:  # the first one warms up
                    times.setdefault((what, size), {}).setdefault(detail, []).append(took)
    took = [took for *_, took, _ in servers]
    good = [took[-1] < START]
    rows = [("start-up", *(f"{1000 * t:.0f}" for t in took), "", "yes" if good[0] else "NO")]
    for what in dict.fromkeys(what for what, _ in times):
        found = [figures(times[what, size]) for size, *_ in servers]
        ratio = found[-1][0] / found[0][0]
        holds = (found[-1][0] <= MEDIAN and found[-1][1] <= LAST) or ratio <= RATIO
        good.append(holds)
        cells = [f"{median:.1f} / {last:.1f}" for median, last in found]
        rows.append((what, *cells, f"{ratio:.1f}", "yes" if holds else "NO"))
    rows.append(("memory at most, MiB", *(f"{peak(pid):.0f}" for *_, pid in servers), "", ""))
    show(
        f"{kind}: ms of a request by the number of finished jobs: median of the slowest order / p99 of all orders;"
        f" at most {MEDIAN} / {LAST}, or {RATIO} times the first, and {START} s to start:"
        f" {sum(good)} of {len(good)} hold ({machine()})",
        ("", *(f"{size:,}" for size, *_ in servers), "ratio", "holds"),
        rows,
    )


def figures(by_order):
    """The median of the slowest order, and what 99 of 100 requests of any order need at most."""
    everything = sorted(itertools.chain.from_iterable(by_order.values()))
    return max(map(statistics.median, by_order.values())), everything[int(0.99 * len(everything))]


def peak(pid):
    """The most memory that a process has had, in MiB."""
    [line] = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 1024


def calls(size, turn, port, keys):
    yield ("Create", ""), create(port, keys, f"new-{turn}-{random.randrange(1 << 30)}")
    name = name_of(random.Random(turn).randrange(size), size)
    yield ("Describe", ""), request(port, keys, "DescribeProcessingJob", {"ProcessingJobName": name})
    first, middle = END / 1000 - size * 60, END / 1000 - size * 30
    filters = {
        "no filter": {},
        "created, last hour": {"CreationTimeAfter": END / 1000 - 3600},
        "created, newer half": {"CreationTimeAfter": middle},
        "created, older half": {"CreationTimeBefore": middle},
        "created, first hour": {"CreationTimeBefore": first + 3600},
        "modified, last hour": {"LastModifiedTimeAfter": END / 1000 - 3600},
        "modified, newer half": {"LastModifiedTimeAfter": middle},
        "modified, older half": {"LastModifiedTimeBefore": middle},
        "name, frequent part": {"NameContains": "train"},
        "name, rare part": {"NameContains": f"-{random.randrange(1000):03}-x"},
        "name, one day": {"NameContains": when(random.randrange(size), size)[:10]},
        "name, part of none": {"NameContains": "none-such"},
        "name, whole": {"NameContains": name_of(random.randrange(size), size)},
        "name, two letters": {"NameContains": "q-"},
        **{f"status {status}": {"StatusEquals": status} for status in ("Completed", "Failed", "InProgress")},
        "status and name": {"StatusEquals": "Failed", "NameContains": "train"},
        "status and rare part": {"StatusEquals": "Failed", "NameContains": f"-{random.randrange(1000):03}-x"},
        "status and last hour": {"StatusEquals": "Failed", "CreationTimeAfter": END / 1000 - 3600},
        "status and newer half": {"StatusEquals": "Failed", "CreationTimeAfter": middle},
        "status, modified later": {"StatusEquals": "Failed", "LastModifiedTimeAfter": middle},
        "name and newer half": {"NameContains": "train", "CreationTimeAfter": middle},
        "name and last hour": {"NameContains": "train", "LastModifiedTimeAfter": END / 1000 - 3600},
        "rare part, newer half": {
            "NameContains": f"-{random.randrange(1000):03}-x",
            "LastModifiedTimeAfter": middle,
        },
        "created and modified": {
            "CreationTimeAfter": middle - 86400,
            "CreationTimeBefore": middle,
            "LastModifiedTimeAfter": middle - 3600,
        },
    }
    for (label, given), (by, order) in itertools.product(filters.items(), SORTS):
        asked = {"SortBy": by, "SortOrder": order, **given}
        yield (label, by + order), request(port, keys, "ListProcessingJobs", asked)


def name_of(number, size):
    """As SageMaker's SDK names jobs: by what they do and when."""
    kind = ("train", "prep", "sagemaker-scikit-learn")[number % 3]
    return f"{kind}-{when(number, size)}-{number * 7919 % 1000:03}-x"


def when(number, size):
    return time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime((END - (size - number) * MINUTE) / 1000))


def finished(size):
    """Rows of that many jobs."""
    drawn = random.Random(size)
    phases = [Phase.COMPLETED] * 90 + [Phase.FAILED] * 7 + [Phase.STOPPED] * 3
    for number in range(size):
        name = name_of(number, size)
        created = END - (size - number) * MINUTE
        modified = created + drawn.randrange(2, 7200) * 1000
        yield job_row(
            Job(
                name=name,
                uid=f"{name}-{number:x}",
                arn=f"arn:aws:sagemaker:us-east-1:000000000000:processing-job/{name}",
                request=new_job(name),
                created_at=created,
                modified_at=modified,
                phase=drawn.choice(phases),
                version=6,
                phases={"preparing": created, "running": created + 900, "completed": modified},
                started_at=created + 900,
                ended_at=modified,
            )
        )


def fill(store, size):
    """Put them on record. Indexes and triggers are dropped and made again after, which takes a tenth of the time."""
    began, rows = time.perf_counter(), finished(size)
    with store._engine.begin() as c:
        bulk = _bulk_sqlite if store.in_process else _bulk_postgres
        bulk(c, rows)
        stretches.make(c)
    print(f"{size:,} jobs filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def _bulk_sqlite(c, rows):
    found = c.exec_driver_sql(
        "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'jobs' AND type IN ('index', 'trigger')"
        " AND sql IS NOT NULL"
    ).all()
    for kind, name, _ in found:
        c.exec_driver_sql(f"DROP {kind} {name}")
    while batch := list(itertools.islice(rows, 20_000)):
        c.execute(insert(jobs), batch)
    c.exec_driver_sql("INSERT INTO job_names (name) SELECT name FROM jobs ORDER BY rowid")
    for *_, sql in found:
        c.exec_driver_sql(sql)


def _bulk_postgres(c, rows):
    found = c.exec_driver_sql(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'jobs' AND schemaname = current_schema()"
        " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    ).all()
    for name, _ in found:
        c.exec_driver_sql(f"DROP INDEX {name}")
    names = jobs.columns.keys()
    with c.connection.cursor() as cursor, cursor.copy(f"COPY jobs ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])
    for _, sql in found:
        c.exec_driver_sql(sql)


@contextlib.contextmanager
def sqlite(size):
    kept = CACHE / f"{HEAD}-{size}.db"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = kept.with_suffix(".part")
        made.unlink(missing_ok=True)
        with contextlib.closing(open_sqlite(made)) as store:
            fill(store, size)
        made.rename(kept)
    with tempfile.TemporaryDirectory() as home:
        shutil.copy(kept, Path(home) / "penstock.db")
        yield home, {}


@contextlib.contextmanager
def postgres(size):
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from postgres_server import PostgresServer

    kept = CACHE / f"{HEAD}-{size}-postgres"
    if not kept.exists():
        server = PostgresServer(fsync=True)
        try:
            with contextlib.closing(open_postgres(server.url())) as store:
                fill(store, size)
                # As autovacuum does within minutes of so many new rows.
                with store._dialect.reader.connect() as c:
                    c.execute(text("VACUUM ANALYZE"))
            server.keep(kept)
        finally:
            server.close()
    server = PostgresServer(fsync=True, kept=kept)
    try:
        with tempfile.TemporaryDirectory() as home:
            yield home, {"PENSTOCK_DATABASE_URL": server.url()}
    finally:
        server.close()
