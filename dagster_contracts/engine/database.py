"""Databases, opened so that a table of theirs can be read and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_contracts.engine.scan import UnreadableDataError, first_line
from dagster_contracts.engine.sql_table import SqlTable

if TYPE_CHECKING:
    import duckdb
    import sqlalchemy as sa


def is_in_duckdb(table: SqlTable) -> bool:
    """Whether DuckDB reads the table, which has no engine of SQLAlchemy."""
    return isinstance(table.database, str) and table.database.startswith("duckdb")


def duckdb_relation(
    table: SqlTable,
) -> tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyRelation]:
    """A table in a DuckDB file, and the connection, to be closed after it is read.

    Raises :class:`UnreadableDataError` where there is no such file or table.
    """
    import duckdb  # late: importing the package must stay cheap

    assert isinstance(table.database, str)
    schema, name = table.path
    path = table.database.partition("://")[2].removeprefix("/")
    require_file(path)
    connection = duckdb.connect(path, read_only=True)
    connection.execute("SET TimeZone = 'UTC'")
    quoted = ['"' + part.replace('"', '""') + '"' for part in (schema, name) if part is not None]
    try:
        return connection, connection.sql(f"FROM {'.'.join(quoted)}")
    except duckdb.CatalogException as error:
        connection.close()
        raise UnreadableDataError(
            f"there is no table {table.table} in {path}: {first_line(error)}"
        ) from None
    except BaseException:
        connection.close()
        raise


def engine_of(table: SqlTable, *, seconds_to_connect: int | None = None) -> tuple[sa.Engine, bool]:
    """The engine of a table's database, and whether it was made here and is to be disposed.

    PostgreSQL gives up connecting after ``seconds_to_connect``, where the URL does not say it.
    Raises :class:`UnreadableDataError` where the database is of a kind that is not known here.
    """
    try:
        import sqlalchemy as sa
    except ImportError as error:
        raise without_packages(error) from error
    if not isinstance(table.database, str):
        return table.database, False
    waits: dict[str, Any] = {}
    try:
        url = sa.make_url(table.database)
        if url.get_backend_name() in ("postgresql", "postgres"):
            if "+" not in url.drivername:
                url = url.set(drivername="postgresql+psycopg")
            if seconds_to_connect is not None and "connect_timeout" not in url.query:
                waits = {"connect_timeout": seconds_to_connect}
        return sa.create_engine(url, poolclass=sa.NullPool, connect_args=waits), True
    except Exception as error:  # no URL, an unknown dialect, or a driver that is not installed
        raise UnreadableDataError(
            f"{table.shown_database} cannot be read: {first_line(error)}"
        ) from None


def without_packages(error: ImportError) -> UnreadableDataError:
    """What is to be installed where a table in a database is read."""
    return UnreadableDataError(
        "tables in databases need dagster-contracts[databases], and PostgreSQL also "
        f"dagster-contracts[postgres]: {first_line(error)}"
    )


def require_file(path: str) -> None:
    """Refuse a path where no file is: opening it would make an empty database."""
    if not Path(path).is_file():
        raise UnreadableDataError(f"there is no file {path}")
