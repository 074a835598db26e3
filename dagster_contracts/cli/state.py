"""The state store as the command line opens it: a command that reads never creates one."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from dagster_contracts.cli.places import Places
from dagster_contracts.errors import StoreError
from dagster_contracts.store.database import Store, open_store, reading_engine, store_error
from dagster_contracts.store.schema import stored_revision


def open_existing(places: Places) -> Store | None:
    """The store, or ``None`` where nothing was ever recorded.

    ``StoreError`` where a file was named that is not there or is no state store: silence would pass
    for health.
    """
    url = places.store_url()
    if has_state(url):
        return open_store(url)
    if places.store is not None and (path := _sqlite_file(url)) is not None:
        raise StoreError(
            "there is no state store",
            where=shown_url(places),
            why=f"{_what_is_there(path)}; it was named by --store or DAGSTER_CONTRACTS_STORE",
            hint="check the path; `dagster-contracts --store URL db upgrade` creates one there",
        )
    return None


def _what_is_there(path: Path) -> str:
    """What a SQLite file is that holds none of our tables."""
    if not path.exists():
        return "no such file"
    if not path.stat().st_size:
        return "the file is empty"
    engine = reading_engine(sa.URL.create("sqlite", database=str(path)))
    try:
        with engine.connect() as conn:
            tables = sorted(sa.inspect(conn).get_table_names())
    finally:
        engine.dispose()
    if not tables:
        return "the file is a database without tables"
    more = f" and {len(tables) - 3} more" if len(tables) > 3 else ""
    return f"the file is another database: its tables are {', '.join(tables[:3])}{more}"


def open_for_change(places: Places, *, create: bool = False) -> Store:
    """The store; ``StoreError`` where there is none, because a wrong place is a likely mistake.

    ``create`` makes the embedded one beside the contracts, if no store was named.
    """
    store = open_existing(places)
    if store is None and create and places.store is None:
        return open_store(places.store_url())
    if store is None:
        raise StoreError(
            "there is no state store",
            where=shown_url(places),
            why="no asset under a contract was materialized here, or it stands somewhere else",
            hint="name it with --store or DAGSTER_CONTRACTS_STORE; "
            "`dagster-contracts db upgrade` creates one here",
        )
    return store


def has_state(url: str) -> bool:
    """Whether the database is there and has our tables; nothing is created by asking.

    True also for a URL that cannot be right: opening it will say what is wrong with it.
    """
    try:
        parsed = sa.make_url(url)
        file = _sqlite_file(url)
        if file is not None and not file.exists():
            return False
        if file is not None and file.is_dir():
            return True
        if file is None and parsed.get_backend_name() != "postgresql":
            return True
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = (
            sa.create_engine(parsed, poolclass=sa.pool.NullPool)
            if file is None
            else reading_engine(parsed)
        )
    except (sa.exc.ArgumentError, ModuleNotFoundError):
        return True
    try:
        with engine.connect() as conn:
            return stored_revision(conn) is not None
    except sa.exc.DBAPIError as error:
        raise store_error(error, parsed.render_as_string(hide_password=True)) from error
    finally:
        engine.dispose()


def _sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def shown_url(places: Places) -> str:
    """The store's URL without its password."""
    try:
        return sa.make_url(places.store_url()).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "the given URL"
