"""A table in a database, read whole: what a fallback level serves.

Validation leaves the rows where they are; a consumer needs them.
"""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dagster_contracts.engine.database import (
    duckdb_relation,
    engine_of,
    is_in_duckdb,
    require_file,
)
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
    if is_in_duckdb(table):
        connection, relation = duckdb_relation(table)
        with closing(connection):
            frame: pl.DataFrame = relation.pl()
            return frame
    engine, owned = engine_of(table, seconds_to_connect=_SECONDS_TO_CONNECT)
    if owned and engine.dialect.name == "sqlite":
        require_file(engine.url.database or "")
    try:
        return _read(table, engine)
    finally:
        if owned:
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
