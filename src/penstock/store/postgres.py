"""PostgreSQL 15 or newer: a database that several machines can reach. Loaded only where it is used."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    bindparam,
    create_engine,
    event,
    func,
    literal_column,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ArgumentError, DBAPIError

from penstock.errors import ConfigurationError
from penstock.store.dialect import Dialect
from penstock.store.tables import jobs

try:
    import psycopg
    from psycopg.types.string import StrDumperUnknown
except ImportError:
    raise ConfigurationError(
        "PENSTOCK_DATABASE_URL names a PostgreSQL database, and its driver is not installed: "
        "pip install 'penstock[postgres]'"
    ) from None

_log = logging.getLogger(__name__)

_OLDEST = 15

#: So many letters of a stretch are asked for; a name has less than 64.
_ASKED = (1, 4, 8, 16, 32, 64)
#: Parts of names that are looked for by their trigrams.
_WORD = re.compile(r"[^\W_]{5,}")

#: Advisory locks are numbers that all users of a database share: these are the letters PENS and what they are for.
_SCHEMA_LOCK = 0x50454E53_00000001

#: What the URL's own parameters may change. A server that is gone without a word is noticed within half a minute.
_CONNECT = {"application_name": "penstock", "connect_timeout": "10", "tcp_user_timeout": "30000"}


def connect(address: str) -> Dialect:
    """The database at a `postgresql://` URL. Tables are made in the first schema of its search path.

    Raises:
        ConfigurationError: It can't be reached or used; the message says why, and holds no password.
    """
    url = _url(address)
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={k: v for k, v in _CONNECT.items() if k not in url.query},
        isolation_level="READ COMMITTED",  # whatever the database's default: locks are ours, by row
        pool_size=8,
        max_overflow=32,
        pool_pre_ping=True,  # the database may have been started again since a connection was last used
        hide_parameters=True,  # an error's text is logged, and a job's request may hold secrets
    )
    event.listen(engine, "connect", _prepare)
    _check(engine, url)
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    return Dialect(
        engine=engine,
        reader=reader,
        searching=lambda: _searching(reader),
        in_process=False,
        insert=insert,
        lock_schema=_lock_schema,
        # Not now(), which is when the transaction began: it may have waited for a lock since.
        now=literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)", BigInteger),
        names_with=_names_with,
        position=func.strpos,
        has_bits=_has_bits,
        bits=_bits,
        give_back=lambda: None,  # autovacuum does
        lateral=True,
    )


@contextmanager
def _searching(reader: Engine) -> Iterator[Connection]:
    """A connection without prepared statements: their plans are made for any values, and cost four times as much.

    Numbers come in binary: to read thousands of them as texts takes four times as long.
    """
    with reader.connect() as c:
        driver = c.connection.driver_connection
        assert driver is not None  # it is open
        before = driver.prepare_threshold, driver.cursor_factory
        driver.prepare_threshold, driver.cursor_factory = None, _BinaryCursor
        try:
            yield c
        finally:
            driver.prepare_threshold, driver.cursor_factory = before


class _BinaryCursor(psycopg.Cursor[Any]):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.format = psycopg.pq.Format.BINARY


class _Texts(StrDumperUnknown):
    """Texts as PostgreSQL can hold them: it has no character 0, so it gets the one for what can't be shown."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)


def _prepare(connection: psycopg.Connection[Any], _: object) -> None:
    connection.adapters.register_dumper(str, _Texts)
    # What was acknowledged is on the server's disk, whatever its default; who has chosen more keeps it.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        # The locks of a server whose machine is gone without a word are let go of within half a minute.
        cursor.execute(
            "SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),"
            " set_config('tcp_keepalives_count', '3', false),"
            # Compiled are statements of which many rows are expected: here the page is full after a few.
            " set_config('jit', 'off', false)"
        )
    connection.commit()


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        # Not `from` the error: its text may hold the password.
        raise ConfigurationError("PENSTOCK_DATABASE_URL is no URL: write postgresql://...") from None
    if url.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ConfigurationError(
            f"PENSTOCK_DATABASE_URL begins with {url.drivername}://, and only postgresql:// is known. "
            "SQLite is used when it is not set."
        )
    return url


def _check(engine: Engine, url: URL) -> None:
    where = (
        f"The PostgreSQL database {url.database or ''} at {url.host or url.query.get('host') or 'its socket'}"
    )
    try:
        with engine.connect() as c:
            version = int(c.execute(text("SHOW server_version_num")).scalar_one())
            encoding = c.execute(text("SHOW server_encoding")).scalar_one()
            syncs = c.execute(text("SHOW fsync")).scalar_one()
    except DBAPIError as error:
        engine.dispose()
        raise ConfigurationError(f"{where} can't be used: {error.orig}") from None
    problem = None
    if version < _OLDEST * 10_000:
        problem = f"is of version {version // 10_000}; Penstock needs {_OLDEST} or newer"
    elif encoding != "UTF8":
        problem = f"has the encoding {encoding}; Penstock needs UTF8 (createdb --encoding=UTF8 --template=template0)"
    if problem is not None:
        engine.dispose()
        raise ConfigurationError(f"{where} {problem}.")
    if syncs == "off":
        _log.warning("%s runs with fsync off: a power cut may cost it all that is on record", where)


def _lock_schema(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})


def _has_bits(value: ColumnElement[bytes], parameters: int) -> ColumnElement[bool]:
    asked = (bindparam(f"bit_{number}", type_=BigInteger) for number in range(parameters))
    return and_(*(func.get_bit(value, bit) == literal_column("1") for bit in asked))


def _bits(wanted: Mapping[int, int]) -> dict[str, Any]:
    set_ones = [8 * at + n for at, bits in wanted.items() for n in range(8) if bits >> n & 1]
    # Some are asked twice, so that there are few numbers of them, and as few statements.
    asked = next((count for count in _ASKED if count >= len(set_ones)), _ASKED[-1])
    return {f"bit_{n}": bit for n, bit in enumerate(islice(cycle(set_ones), asked))}


def _names_with(part: str) -> Select[Any] | None:
    # Its trigrams are those of words. Many jobs have each word of a date, and to read all of these takes longer than to
    # walk; what has several words, the letters of stretches tell apart.
    if _WORD.fullmatch(part) is None:
        return None
    return select(jobs.c.name).where(jobs.c.name.contains(part, autoescape=True))
