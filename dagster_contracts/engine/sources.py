"""Open data of any kind as a scan.

Local data (polars, pandas, Arrow, files) is queried by Polars; a DuckDB relation, a table in a
database and a Spark frame are queried where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.core.uri import is_database_uri
from dagster_contracts.engine.arrow_source import scan_arrow
from dagster_contracts.engine.database import duckdb_relation, is_in_duckdb
from dagster_contracts.engine.dataset_source import scan_dataset
from dagster_contracts.engine.file_list import file_kind
from dagster_contracts.engine.file_source import Prove, scan_files
from dagster_contracts.engine.literal import of_session
from dagster_contracts.engine.pandas_source import scan_pandas
from dagster_contracts.engine.scan import (
    Backend,
    Scan,
    UnreadableDataError,
    first_line,
    is_panic,
    polars_scan,
    refuse_duplicates,
)
from dagster_contracts.engine.spark_source import scan_spark
from dagster_contracts.engine.sql_scan import scan_sql
from dagster_contracts.engine.sql_table import SqlTable, table_at


def open_scan(
    data: Any,
    columns: Collection[str] | None = None,
    declared: Mapping[str, LogicalType] | None = None,
    prove: Prove | None = None,
) -> Scan:
    """A scan of ``data``.

    ``columns`` are those that will be queried (all where ``None``): others are not converted.
    ``declared`` are the contract's types, which tell how the text of a CSV file is to be read.
    ``prove`` is asked what need not be read at all, where files have statistics of their rows.
    Raises :class:`UnreadableDataError`.
    """
    kind = kind_of(data)
    if kind is None:
        raise _no_table(data)
    try:
        return _open(kind, data, columns, declared or {}, prove)
    except UnreadableDataError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise UnreadableDataError(
            f"the data cannot be read: {type(error).__name__}: {first_line(error)}"
        ) from error


def _no_table(data: object) -> UnreadableDataError:
    if not isinstance(data, str | Path):
        return UnreadableDataError(f"the asset returned no table but {type(data).__name__}")
    text = str(data).removeprefix("file://")
    path = Path(text)
    if path.is_dir():
        return UnreadableDataError(
            f"the folder {data} holds no Parquet, CSV, JSON or Arrow file",
            hint="name the file, or a glob of files, where they are of another kind",
        )
    if not path.exists() and not path.suffix:
        # The text itself is not shown: it may be anything, a database's URL with its password too.
        return UnreadableDataError(
            f"the asset returned no table but {type(data).__name__}",
            hint="no file or folder has that name",
        )
    if "://" in text:
        scheme = text.partition("://")[0]
        return UnreadableDataError(
            f"{scheme}:// names neither a database nor a kind of file that is known",
            hint="databases: postgresql, sqlite, duckdb; files: .parquet, .csv, .json, .arrow",
        )
    return UnreadableDataError(
        f"{text} is no file that can be read by its name",
        hint="known: .parquet, .csv, .tsv, .json, .jsonl, .arrow, .feather, and URLs of databases",
    )


def _open(
    kind: str,
    data: Any,
    columns: Collection[str] | None,
    declared: Mapping[str, LogicalType],
    prove: Prove | None,
) -> Scan:
    match kind:
        case "polars":
            return polars_scan(kind, data.lazy())
        case "polars_lazy":
            return polars_scan(kind, data)
        case "pandas":
            return scan_pandas(data, columns, declared)
        case "pyarrow" | "pyarrow_batch" | "pyarrow_reader":
            return scan_arrow(data, columns)
        case "pyarrow_dataset":
            return scan_dataset(kind, data)
        case _ if kind in _FILES:
            return scan_files(str(data), columns, declared, prove)
        case "narwhals":
            return open_scan(data.to_native(), columns, declared)
        case "sql_table":
            return _scan_table(table_at(data) if isinstance(data, str) else data, columns, declared)
        case "pyspark":
            return scan_spark(data, columns)
        case "ibis":
            return _scan_ibis(data, columns)
        case _:
            return _scan_duckdb(data, columns)


def kind_of(data: object) -> str | None:
    """Name the kind of data, or ``None`` where it is no table. Imports nothing heavy."""
    if isinstance(data, str) and is_database_uri(data):
        return "sql_table"
    if isinstance(data, str | Path):
        return file_kind(str(data))
    for cls in type(data).__mro__:
        found = _KINDS.get((cls.__module__.split(".")[0], cls.__name__))
        if found is not None:
            return found
    return None


_KINDS = {
    ("polars", "DataFrame"): "polars",
    ("polars", "LazyFrame"): "polars_lazy",
    ("pandas", "DataFrame"): "pandas",
    ("pyarrow", "Table"): "pyarrow",
    ("pyarrow", "RecordBatch"): "pyarrow_batch",
    ("pyarrow", "RecordBatchReader"): "pyarrow_reader",
    ("pyarrow", "Dataset"): "pyarrow_dataset",
    ("duckdb", "DuckDBPyRelation"): "duckdb",
    ("_duckdb", "DuckDBPyRelation"): "duckdb",
    ("ibis", "Table"): "ibis",
    ("dagster_contracts", "SqlTable"): "sql_table",
    ("pyspark", "DataFrame"): "pyspark",
    ("narwhals", "DataFrame"): "narwhals",
    ("narwhals", "LazyFrame"): "narwhals",
}
_FILES = ("parquet", "csv", "json", "arrow_file", "files")


def _scan_duckdb(data: Any, columns: Collection[str] | None) -> Scan:
    """A scan of a relation, which DuckDB runs."""
    refuse_duplicates(list(data.columns))
    types = {
        name: str(dtype).strip('"') for name, dtype in zip(data.columns, data.types, strict=True)
    }
    if "UUID" in types.values():
        data = data.project(", ".join(_uuid_as_text(name, types[name]) for name in types))
    frame = nw.from_native(data).lazy()
    schema = {name: of_session(dtype) for name, dtype in frame.collect_schema().items()}
    wanted = [name for name in schema if columns is None or name in columns]
    if wanted and len(wanted) < len(schema):
        frame = frame.select(wanted)
    floats = [name for name in wanted if schema[name].is_float()]
    if floats:
        # DuckDB takes the range that a Parquet file states for a proof that there is no NaN, but
        # NaN stands in no such range. What a condition gives has no range.
        frame = frame.with_columns(
            *[nw.when(~nw.col(n).is_null()).then(nw.col(n)).alias(n) for n in floats]
        )
    untyped = frozenset(name for name, dtype in types.items() if dtype == "NULL")
    refused = {
        name: f"values of type {types[name]} are not measured here"
        for name, dtype in schema.items()
        if dtype == nw.Unknown and name not in untyped
    }
    return Scan("duckdb", Backend.DUCKDB, frame, schema, untyped=untyped, refused=refused)


def _uuid_as_text(name: str, dtype: str) -> str:
    """A column of DuckDB, quoted; UUIDs as the text that contracts know them by."""
    quoted = '"' + name.replace('"', '""') + '"'
    return f"CAST({quoted} AS VARCHAR) AS {quoted}" if dtype == "UUID" else quoted


def _scan_table(
    table: SqlTable, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of a table in a database."""
    if not is_in_duckdb(table):
        return scan_sql(table, columns, declared)
    connection, relation = duckdb_relation(table)
    try:
        scan = _scan_duckdb(relation, columns)
    except BaseException:
        connection.close()
        raise
    return replace(scan, close=connection.close)


def _scan_ibis(data: Any, columns: Collection[str] | None) -> Scan:
    """A scan of an Ibis table, by the engine that we know for its backend."""
    import ibis

    backend = ibis.get_backend(data)
    if backend.name != "duckdb":
        raise UnreadableDataError(
            f"an Ibis table of {backend.name} is not known here; name a table of PostgreSQL or "
            "SQLite with SqlTable(url, table), or pass table.to_polars()"
        )
    return _scan_duckdb(backend.con.sql(str(ibis.to_sql(data, dialect="duckdb"))), columns)
