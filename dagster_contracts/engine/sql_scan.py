"""Scans of tables in databases: Ibis writes the statements, our own connection runs them.

Each statement selects from the table through one subquery, which gives every column a short name of
its own and the meaning that the engine relies on: text is ordered by character, the NaN of exact
numbers is null. All statements of a scan run in one read-only transaction, in UTC.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.database import engine_of, require_file, without_packages
from dagster_contracts.engine.literal import AnyDecimal
from dagster_contracts.engine.scan import (
    MISFIT,
    Backend,
    Row,
    Scan,
    UnreachableDataError,
    UnreadableDataError,
    first_line,
    refuse_duplicates,
)
from dagster_contracts.engine.sql_table import SqlTable
from dagster_contracts.engine.sqlite_dialect import (
    for_sqlite,
    prepare_sqlite,
    read_sqlite,
    sqlite_column,
)
from dagster_contracts.engine.structure import is_of_type

if TYPE_CHECKING:
    import ibis
    import ibis.expr.datatypes as dt
    import sqlalchemy as sa

_QUERY_CANCELED = "57014"
_SOURCE = re.compile('"(contracts_[0-9a-f]{32}_[0-9]+)"')
_IBIS_DIALECTS = {Backend.POSTGRESQL: "postgres", Backend.SQLITE: "sqlite"}


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """A column as the statements see it.

    ``value`` is SQL; ``dtype`` its Ibis type, ``None`` where the column cannot be measured, for
    ``refusal``. ``misfit`` is SQL, true for a value that is not of the column's own type. It
    is ``empty`` where it holds nothing that would tell its type.
    """

    name: str
    value: str
    dtype: dt.DataType | None
    refusal: str = ""
    misfit: str | None = None
    empty: bool = False


@dataclass(frozen=True, slots=True)
class SqlRunner:
    """Runs queries of Narwhals over Ibis on one connection.

    ``sources`` are the subqueries by the name that stands for them in what Ibis writes.
    """

    connection: sa.Connection
    backend: Backend
    database: str
    table: str
    sources: dict[str, str] = field(default_factory=dict)

    def __call__(self, frame: nw.LazyFrame[Any]) -> list[Row]:
        """One statement; an error leaves the transaction usable."""
        native = frame.to_native()
        with self.connection.begin_nested():
            found = self._executed(self.statement(native))
            names = list(native.columns)
            rows = [dict(zip(names, row, strict=True)) for row in found]
        if self.backend is Backend.SQLITE:
            types = dict(native.schema().items())
            rows = [{n: read_sqlite(value, types[n]) for n, value in row.items()} for row in rows]
        return rows

    def query(self, text: str) -> list[Any]:
        """Up to two rows of a query that a contract brings."""
        wrapped = f"SELECT * FROM ({text}\n) AS asked LIMIT "  # noqa: S608 - allowed by the caller
        with self.connection.begin_nested():
            if self.backend is Backend.SQLITE:
                return list(self.connection.exec_driver_sql(f"{wrapped}2"))
            # With a parameter the server takes one statement and no more.
            bound = wrapped.replace("%", "%%") + "%s"
            return list(self.connection.exec_driver_sql(bound, (2,)))

    def _executed(self, statement: str) -> Any:
        import sqlalchemy as sa

        try:
            return self.connection.exec_driver_sql(
                statement, execution_options={"no_parameters": True}
            )
        except sa.exc.DBAPIError as error:
            stopped = getattr(error.orig, "sqlstate", None) == _QUERY_CANCELED
            if stopped or error.connection_invalidated:
                raise UnreachableDataError(first_line(error)) from None
            raise

    def statement(self, native: ibis.Table) -> str:
        """The SQL of a query."""
        import ibis

        if self.backend is Backend.SQLITE:
            native = for_sqlite(native)
        text = str(ibis.to_sql(native, dialect=_IBIS_DIALECTS[self.backend]))
        return _SOURCE.sub(lambda found: f"({self.sources[found[1]]})", text)


def share_connection(near: Scan, far: Scan) -> bool:
    """Let queries over ``near`` read ``far`` as well, if both are tables of one database."""
    ours, theirs = near.run, far.run
    if not isinstance(ours, SqlRunner) or not isinstance(theirs, SqlRunner):
        return False
    if ours.database != theirs.database:
        return False
    ours.sources.update(theirs.sources)
    return True


def scan_sql(
    table: SqlTable, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of a table in PostgreSQL or SQLite; raises :class:`UnreadableDataError`."""
    try:
        import ibis  # noqa: F401 - late: only tables in databases need it
        import sqlalchemy as sa
    except ImportError as error:
        raise without_packages(error) from error
    schema, name = table.path
    engine, owned = engine_of(table)
    try:
        backend = Backend(engine.dialect.name)
        connection = _connect(engine, backend, table.timeout)
    except ValueError:
        raise UnreadableDataError(
            f"tables in {engine.dialect.name} are not known here, only in PostgreSQL, SQLite "
            "and DuckDB"
        ) from None
    except Exception as error:
        raise UnreachableDataError(
            f"{table.shown_database} cannot be reached: {type(error).__name__}: {first_line(error)}"
        ) from None

    def close() -> None:
        connection.rollback()
        connection.close()
        if owned:
            engine.dispose()

    try:
        quote = _unformatted(engine).identifier_preparer.quote_identifier
        source = ".".join(quote(part) for part in (schema, name) if part is not None)
        found = _reflected(connection, backend, schema, name, source, declared)
        runner = SqlRunner(connection, backend, table.shown_database, source)
        scan = _scan_columns(found, source, runner, columns, declared)
    except sa.exc.NoSuchTableError:
        close()
        raise UnreadableDataError(
            f"there is no table {table.table} in {table.shown_database}"
        ) from None
    except BaseException:
        close()
        raise
    return replace(scan, close=close)


def _connect(engine: sa.Engine, backend: Backend, timeout: float | None) -> sa.Connection:
    if backend is Backend.POSTGRESQL:
        connection = engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        for setting in ("TIME ZONE 'UTC'", "standard_conforming_strings = on"):
            connection.exec_driver_sql(f"SET LOCAL {setting}")
        if timeout is not None:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(timeout * 1000)}")
        return connection
    database = engine.url.database
    if database and database != ":memory:" and not database.startswith("file:"):
        require_file(database)
    connection = engine.connect()
    prepare_sqlite(connection.connection.dbapi_connection)
    connection.exec_driver_sql("PRAGMA query_only = on")
    return connection


def _unformatted(engine: sa.Engine) -> sa.Dialect:
    """The dialect as it writes statements without parameters, where a % is only a %."""
    dialect: Any = type(engine.dialect)
    made: sa.Dialect = dialect(paramstyle="named")
    return made


def _reflected(
    connection: sa.Connection,
    backend: Backend,
    schema: str | None,
    name: str,
    source: str,
    declared: Mapping[str, LogicalType],
) -> list[SqlColumn]:
    import sqlalchemy as sa

    quote = _unformatted(connection.engine).identifier_preparer.quote_identifier
    collation = _collation(connection) if backend is Backend.POSTGRESQL else ""
    columns = []
    for reflected in sa.inspect(connection).get_columns(name, schema=schema):
        column, quoted = str(reflected["name"]), quote(reflected["name"])
        if backend is Backend.SQLITE:
            first = partial(_first_value, connection, quoted, source)
            made = sqlite_column(quoted, reflected["type"], declared.get(column), first)
            columns.append(SqlColumn(column, **made))
        else:
            columns.append(_postgresql_column(column, quoted, reflected["type"], collation))
    return columns


def _first_value(connection: sa.Connection, quoted: str, source: str) -> Any:
    """A column's first value that is there."""
    text = f"SELECT {quoted} FROM {source} WHERE {quoted} IS NOT NULL LIMIT 1"  # noqa: S608 - quoted
    return connection.exec_driver_sql(text).scalar()


def _collation(connection: sa.Connection) -> str:
    """One that orders by character and knows upper and lower case beyond ASCII, if there is one."""
    import sqlalchemy as sa

    for known in ("pg_unicode_fast", "pg_c_utf8"):
        asked = sa.text(
            "SELECT 1 FROM pg_collation WHERE collname = :known AND getdatabaseencoding() = 'UTF8'"
        )
        if connection.execute(asked, {"known": known}).first():
            return known
    return "C"


def _postgresql_column(name: str, quoted: str, reflected: Any, collation: str) -> SqlColumn:
    import ibis.expr.datatypes as dt

    dtype = _postgresql_type(reflected)
    if dtype is None:
        return SqlColumn(name, quoted, None, f"values of type {reflected} are not measured here")
    match dtype:
        case dt.String():
            return SqlColumn(name, f'CAST({quoted} AS TEXT) COLLATE "{collation}"', dtype)
        case dt.Decimal():
            return SqlColumn(name, f"NULLIF({quoted}, 'NaN')", dtype)
        case _:
            return SqlColumn(name, quoted, dtype)


def _postgresql_type(reflected: Any) -> dt.DataType | None:
    """The Ibis type of a reflected column; ``None`` where it has none that is measured."""
    import ibis.expr.datatypes as dt
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql as pg

    match reflected:
        case pg.DOMAIN():
            return _postgresql_type(reflected.data_type)
        case pg.ARRAY():
            inner = _postgresql_type(reflected.item_type)
            return None if inner is None else dt.Array(inner)
        case sa.SmallInteger():
            return dt.int16
        case sa.BigInteger():
            return dt.int64
        case sa.Integer():
            return dt.int32
        case sa.REAL():
            return dt.float32
        case sa.Float():
            return dt.float64
        case sa.Numeric():
            precision, scale = reflected.precision, reflected.scale or 0
            if precision is None or not 0 <= scale <= precision <= 38:
                return dt.Decimal(None, None)
            return dt.Decimal(precision, scale)
        case sa.Boolean():
            return dt.boolean
        case sa.Date():
            return dt.date
        case sa.DateTime():
            return dt.Timestamp(timezone="UTC" if reflected.timezone else None, scale=6)
        case sa.Time() if not reflected.timezone:
            return dt.time
        case sa.String() | sa.Uuid() | pg.CITEXT():
            return dt.string
        case sa.LargeBinary():
            return dt.binary
        case _:
            return None


def _scan_columns(
    found: list[SqlColumn],
    source: str,
    runner: SqlRunner,
    columns: Collection[str] | None,
    declared: Mapping[str, LogicalType],
) -> Scan:
    import ibis
    import ibis.expr.datatypes as dt

    refuse_duplicates([column.name for column in found])
    selected: dict[str, list[tuple[str, str, dt.DataType]]] = {}
    spelled, schema, flags = {}, {}, {}
    for number, column in enumerate(found):
        spelled[column.name] = short = f"c{number}"
        schema[column.name] = dtype = _narwhals_type(column.dtype)
        if columns is not None and column.name not in columns:
            continue
        held = column.dtype if column.dtype is not None else dt.unknown
        selected[column.name] = [(column.value, short, held)]
        logical_type = declared.get(column.name)
        if column.misfit is not None and logical_type and is_of_type(dtype, logical_type):
            selected[column.name].append((column.misfit, short + MISFIT, dt.boolean))
            flags[column.name] = nw.col(short + MISFIT)
    prefix = f"contracts_{uuid.uuid4().hex}"

    def narrow(names: Collection[str]) -> nw.LazyFrame[Any]:
        parts = [part for name in names for part in selected[name]] or [
            ("NULL", "nothing", dt.string)
        ]
        name = f"{prefix}_{len(runner.sources)}"
        # Every identifier is quoted, and named by the reflected table.
        values = ", ".join(f'{value} AS "{short}"' for value, short, _ in parts)
        runner.sources[name] = f"SELECT {values} FROM {source}"  # noqa: S608
        types = {short: held for _, short, held in parts}
        made: nw.LazyFrame[Any] = nw.from_native(ibis.table(ibis.schema(types), name=name)).lazy()
        return made

    return Scan(
        kind="sql_table",
        backend=runner.backend,
        frame=narrow(selected),
        schema=schema,
        spelled=spelled,
        untyped=frozenset(c.name for c in found if c.empty),
        refused={c.name: c.refusal for c in found if c.refusal},
        type_flags=flags,
        nulls_misfits=True,
        folds_case=runner.backend is Backend.POSTGRESQL and 'COLLATE "C"' not in str(selected),
        narrow=narrow,
        run=runner,
    )


def _narwhals_type(dtype: dt.DataType | None) -> nw.dtypes.DType:
    import ibis

    if dtype is None:
        return nw.Unknown()
    if dtype.is_decimal() and dtype.precision is None:
        return AnyDecimal()
    typed = nw.from_native(ibis.table(ibis.schema({"c": dtype}), name="typed")).lazy()
    found: nw.dtypes.DType = typed.collect_schema()["c"]
    return found
