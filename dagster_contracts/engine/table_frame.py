"""A table in a database, read whole: what a fallback level serves.

Validation leaves the rows where they are; a consumer needs them.
"""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_contracts.engine.scan import UnreachableDataError, UnreadableDataError, first_line
from dagster_contracts.engine.sql_table import SqlTable

if TYPE_CHECKING:
    import polars as pl
    import sqlalchemy as sa

_SECONDS_TO_CONNECT = 10


def read_table(table: SqlTable) -> pl.DataFrame:
    """All rows of a table, each column in the type that the database declares.

    Nothing is written: the connection may only read.

    Raises
    ------
    UnreadableDataError
        There is no such table or file, or the database is of a kind that is not known here.
    UnreachableDataError
        The database does not answer.
    """
    if not isinstance(table.database, str):
        return _read(table, table.database)
    if table.database.startswith("duckdb"):
        return _read_duckdb(table, table.database)
    try:
        import sqlalchemy as sa
    except ImportError as error:
        raise UnreadableDataError(
            f"tables in databases need dagster-contracts[databases]: {first_line(error)}"
        ) from error
    url = sa.make_url(table.database)
    waits = {}
    if url.get_backend_name() in ("postgresql", "postgres"):
        if "+" not in url.drivername:
            url = url.set(drivername="postgresql+psycopg")
        if "connect_timeout" not in url.query:
            waits = {"connect_timeout": _SECONDS_TO_CONNECT}
    elif url.get_backend_name() == "sqlite":
        _require_file(url.database or "")
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=waits)
    except Exception as error:  # an unknown dialect, or a driver that is not installed
        raise UnreadableDataError(
            f"{table.shown_database} cannot be read: {first_line(error)}"
        ) from None
    try:
        return _read(table, engine)
    finally:
        engine.dispose()


def _read(table: SqlTable, engine: sa.Engine) -> pl.DataFrame:
    import polars as pl
    import sqlalchemy as sa

    schema, name = table.path
    try:
        connection = engine.connect()
    except Exception as error:
        raise UnreachableDataError(
            f"{table.shown_database} cannot be reached: {type(error).__name__}: {first_line(error)}"
        ) from None
    with closing(connection):
        match engine.dialect.name:
            case "postgresql":
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
            case "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = on")
        try:
            reflected = sa.Table(name, sa.MetaData(), schema=schema, autoload_with=connection)
        except sa.exc.NoSuchTableError:
            raise UnreadableDataError(
                f"there is no table {table.table} in {table.shown_database}"
            ) from None
        types = {column.name: _polars_type(column.type) for column in reflected.columns}
        rows = connection.execute(sa.select(reflected)).fetchall()
    known = {column: dtype for column, dtype in types.items() if dtype is not None}
    return pl.DataFrame(
        [tuple(row) for row in rows],
        schema=list(types),
        schema_overrides=known,
        orient="row",
        infer_schema_length=None,
    )


def _read_duckdb(table: SqlTable, url: str) -> pl.DataFrame:
    import duckdb  # late: importing the package must stay cheap

    schema, name = table.path
    path = url.partition("://")[2].removeprefix("/")
    _require_file(path)
    quoted = ['"' + part.replace('"', '""') + '"' for part in (schema, name) if part is not None]
    with closing(duckdb.connect(path, read_only=True)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            frame: pl.DataFrame = connection.sql(f"FROM {'.'.join(quoted)}").pl()
        except duckdb.CatalogException as error:
            raise UnreadableDataError(
                f"there is no table {table.table} in {path}: {first_line(error)}"
            ) from None
        return frame


def _require_file(path: str) -> None:
    if not Path(path).is_file():
        raise UnreadableDataError(f"there is no file {path}")


def _polars_type(held: sa.types.TypeEngine[Any]) -> Any:
    """The type of a column, so that one without values keeps it; ``None`` where Polars decides."""
    import polars as pl
    import sqlalchemy as sa

    match held:
        case sa.Boolean():
            return pl.Boolean()
        case sa.Integer():
            return pl.Int64()
        case sa.Float():
            return pl.Float64()
        case sa.Numeric() if held.python_type is Decimal and held.scale is not None:
            return pl.Decimal(38, held.scale)
        case sa.String():
            return pl.String()
        case sa.DateTime():
            return pl.Datetime("us", "UTC" if held.timezone else None)
        case sa.Date():
            return pl.Date()
        case sa.Time():
            return pl.Time()
        case sa.LargeBinary():
            return pl.Binary()
        case _:
            return None
