"""The state store: one SQL database, opened, migrated and asked in transactions."""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dagster_contracts.errors import StoreError
from dagster_contracts.store.columns import UtcTime
from dagster_contracts.store.schema import SCHEMA_REVISION, stored_revision, upgrade_schema

BUSY_TIMEOUT_SECONDS = 30.0
_READ_ONLY = "dagster_contracts_read_only"

# In microseconds since 1970; SQLite's clock has milliseconds.
_CLOCK = {
    "sqlite": sa.literal_column(
        "strftime('%s', 'now') * 1000000"
        " + CAST(round((strftime('%f', 'now') - strftime('%S', 'now')) * 1000) AS INTEGER) * 1000",
        UtcTime,
    ),
    "postgresql": sa.literal_column(
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", UtcTime
    ),
}


class Store:
    """An open state store. Cheap to keep; every thread may use it, and a forked process too."""

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], datetime] | None = None) -> None:
        self._engine = engine
        # Options make an engine anew each time that they are given, so they are given once.
        self._reading = engine.execution_options(**{_READ_ONLY: True})
        self._file = Path(str(engine.url.database)) if engine.dialect.name == "sqlite" else None
        self._read_only = bool(engine.get_execution_options().get(_READ_ONLY, False))
        self._clock = clock
        self._clock_column = (
            None if clock is None else sa.bindparam("clock", callable_=clock, type_=UtcTime)
        )
        self._pid = os.getpid()

    @property
    def url(self) -> str:
        """The URL with its password hidden."""
        return self._engine.url.render_as_string(hide_password=True)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction that writes: ``BEGIN IMMEDIATE`` on SQLite, READ COMMITTED elsewhere.

        Commits when the block ends, rolls back when it raises. ``StoreError`` for what the
        database refuses, and where the file may only be read.
        """
        if self._read_only:
            raise StoreError(
                "the state store is read-only",
                where=self.url,
                why=f"this user may not write {self._file} or its folder",
                hint="run it as a user who may; commands that only read work as they are",
            )
        with self._connection(self._engine) as conn:
            yield conn

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: on SQLite it waits for no writer."""
        with self._connection(self._reading) as conn:
            yield conn

    @contextmanager
    def _connection(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        if self._pid != os.getpid():
            # A forked child must not speak on its parent's sockets, nor close them.
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        self._restore()
        try:
            with engine.begin() as conn:
                yield conn
        except sa.exc.DBAPIError as error:
            raise store_error(error, self.url) from error

    def _restore(self) -> None:
        """Begin anew where somebody deleted the SQLite file under this process.

        An open connection would go on with the deleted file, and every other process with another.
        """
        if self._file is None or self._read_only or self._file.exists():
            return
        self._engine.dispose()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._engine.begin() as conn:
            upgrade_schema(conn, where=self.url)

    def now(self, conn: sa.Connection) -> datetime:
        """The database's clock in UTC (the ``clock`` given to :func:`open_store` in tests).

        Processes on several machines then agree on waits and leases.
        """
        if self._clock is not None:
            return self._clock()
        if self.dialect == "sqlite":
            text = conn.exec_driver_sql("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')").scalar_one()
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        # now() would stand still at the start of a transaction that then waited for a lock.
        moment: datetime = conn.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return moment.astimezone(UTC)

    def clock(self) -> sa.ColumnElement[Any]:
        """The database's clock as a column, for a query that needs it beside its row.

        The same one each time, so that a query with it can be kept.
        """
        return _CLOCK[self.dialect] if self._clock_column is None else self._clock_column

    def lock(self, conn: sa.Connection, name: str) -> None:
        """Hold ``name`` until the transaction ends: one holder over all processes.

        On SQLite a writing transaction already is alone.
        """
        if self.dialect == "postgresql":
            advisory_lock(conn, name)

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()


def open_store(url: str, *, clock: Callable[[], datetime] | None = None) -> Store:
    """Open the store at ``url``, and create or upgrade its schema under a lock.

    ``url`` is ``sqlite:///path`` (the caller makes the path absolute) or
    ``postgresql+psycopg://...``. ``StoreError`` with a hint where it cannot be opened,
    ``SchemaTooNewError`` where a newer release wrote it. A SQLite file that this user may not
    write is opened for reading alone, if its schema is ours.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite" and (path := Path(str(parsed.database))).is_dir():
        raise _unopenable(path, "it is a folder")
    reading = _is_read_only(parsed)
    if reading:
        engine = reading_engine(parsed)
    else:
        is_file = parsed.get_backend_name() == "sqlite"
        engine = _sqlite_engine(parsed) if is_file else _engine(parsed)
    shown = parsed.render_as_string(hide_password=True)
    try:
        _bring_up(engine, shown, reading=reading)
    except sa.exc.DBAPIError as error:
        engine.dispose()
        raise store_error(error, shown) from error
    except StoreError:
        engine.dispose()
        raise
    return Store(engine, clock=clock)


def _bring_up(engine: sa.Engine, shown: str, *, reading: bool) -> None:
    """Bring the schema to ours, or refuse where that may only be looked at."""
    with engine.execution_options(**{_READ_ONLY: True}).begin() as conn:
        current = stored_revision(conn)
    if current == SCHEMA_REVISION:
        return
    if reading:
        raise StoreError(
            "the state store cannot be read by this release, and may not be upgraded",
            where=shown,
            why=f"it has schema {current}, not {SCHEMA_REVISION}, and is read-only",
            hint="`dagster-contracts db upgrade` as a user who may write it",
        )
    with engine.begin() as conn:
        if engine.dialect.name == "postgresql":
            advisory_lock(conn, "schema")
        upgrade_schema(conn, where=shown)


def advisory_lock(conn: sa.Connection, name: str) -> None:
    """Take PostgreSQL's advisory lock of that name until the transaction ends."""
    number = zlib.crc32(f"dagster_contracts:{name}".encode())
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def store_error(error: sa.exc.DBAPIError, where: str) -> StoreError:
    """The database's complaint as a :class:`StoreError` that says how to mend it."""
    why = str(error.orig).strip() or type(error.orig).__name__
    lowered = why.lower()
    hint = "look at the database's own log; the transaction was rolled back"
    if "unable to open database file" in lowered or "readonly" in lowered:
        hint = "the folder must exist and be writable for this user; set `store` to another path"
    elif "not a database" in lowered:
        hint = "the file is no SQLite database; set `store` to another path or move the file away"
    elif "no such table" in lowered or ("relation" in lowered and "not exist" in lowered):
        hint = "the store is not whole: restore the whole backup, or begin anew in another place"
    elif "malformed" in lowered:
        hint = "the file is damaged: restore it from a backup, or move it away and begin anew"
    elif "locked" in lowered:
        hint = f"another process held a write lock for more than {BUSY_TIMEOUT_SECONDS:g} s"
    elif "disk is full" in lowered or "no space" in lowered:
        hint = "free space on the disk; nothing of this transaction was kept"
    elif "password" in lowered or "authentication" in lowered or "role" in lowered:
        hint = "check user and password in `store`; write the password as ${env:NAME}"
    elif isinstance(error, sa.exc.OperationalError):
        hint = "check that the database runs and that host, port and name in `store` are right"
    return StoreError("the state store refused an operation", where=where, why=why, hint=hint)


def check_url(url: str) -> None:
    """``StoreError`` where ``url`` can never be opened; nothing is connected to or created."""
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return
    path = Path(str(parsed.database))
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if existing == path:
        wrong = "it is a folder" if path.is_dir() else None
    elif not existing.is_dir():
        wrong = f"{existing} is no folder"
    else:
        wrong = None if os.access(existing, os.W_OK) else f"{existing} may not be written"
    if wrong is not None:
        raise _unopenable(path, wrong)


def _unopenable(path: Path, why: str) -> StoreError:
    return StoreError(
        "the store cannot be opened",
        where=str(path),
        why=why,
        hint="set `store` to a file that this user may write"
        if path.is_dir()
        else "set `store` to a path that this user may write",
    )


def _parse(url: str) -> sa.URL:
    hint = "write sqlite:////absolute/path/state.db or postgresql+psycopg://user@host/name"
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except sa.exc.ArgumentError as error:
        # The text may hold a password: it is not repeated.
        raise StoreError("the store's URL cannot be read", hint=hint) from error
    if backend == "postgresql" and parsed.drivername == "postgresql":
        # Without a driver SQLAlchemy would ask for psycopg2, which we do not depend on.
        parsed = parsed.set(drivername="postgresql+psycopg")
    if backend not in ("sqlite", "postgresql"):
        raise StoreError(f"the store cannot be kept in {backend}", hint=hint)
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(
            "an in-memory store would forget every circuit and is not shared by processes",
            hint=hint,
        )
    return parsed


def _engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")
    except ModuleNotFoundError as error:
        raise StoreError(
            f"the database driver {error.name} is not installed",
            where=url.render_as_string(hide_password=True),
            hint="pip install 'psycopg[binary]'",
        ) from error


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {path.parent} cannot be created",
            where=url.render_as_string(),
            why=str(error),
            hint="set `store` to a path that this user may write",
        ) from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _is_read_only(url: sa.URL) -> bool:
    """Whether ``url`` is a SQLite file that is there and that this user may not write."""
    if url.get_backend_name() != "sqlite":
        return False
    path = Path(str(url.database))
    return path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def reading_engine(url: sa.URL) -> sa.Engine:
    """An engine on a SQLite file that changes nothing, not even how the file is kept."""
    path = Path(str(url.database)).absolute()
    engine = sa.create_engine(
        url,
        creator=lambda: _connect_to_read(path),
        poolclass=sa.pool.QueuePool,
        execution_options={_READ_ONLY: True},
    )
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_to_read(path: Path) -> sqlite3.Connection:
    place = f"{path.as_uri()}?mode=ro"

    def connect(uri: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        return connection

    try:
        return connect(place)
    except sqlite3.OperationalError:
        # Where the folder takes no files, WAL cannot be read, and need not be while there is none.
        log = Path(f"{path}-wal")
        if log.exists() and log.stat().st_size:
            raise
        return connect(f"{place}&immutable=1")


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    # The driver must begin no transactions of its own: _begin_sqlite does.
    connection.isolation_level = None
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # The change to WAL does not honour busy_timeout when processes meet at a new file.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    # A transition that was reported must survive a power cut, not only a killed process.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(conn: sa.Connection) -> None:
    # IMMEDIATE: a transaction that reads first and then writes cannot be refused half way.
    read_only = conn.get_execution_options().get(_READ_ONLY, False)
    conn.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
