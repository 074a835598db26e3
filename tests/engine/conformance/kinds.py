"""Every kind of data that is validated, made from one Arrow table."""

from __future__ import annotations

import json
import math
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet

from dagster_contracts.engine.sql_table import SqlTable
from tests.engine.builders import KINDS as EMBEDDED
from tests.engine.builders import as_kind


@dataclass(frozen=True)
class Places:
    """Where data can be put: a folder, and what starts a server only where it is asked for."""

    folder: Path
    postgresql: Callable[[], str]
    spark: Callable[[], Any]

    def new_file(self, ending: str) -> Path:
        return self.folder / f"{uuid.uuid4().hex}{ending}"


def _reader(table: pa.Table, places: Places) -> pa.RecordBatchReader:
    return table.to_reader(max_chunksize=2)


def _dataset(table: pa.Table, places: Places) -> pyarrow.dataset.Dataset:
    return pyarrow.dataset.dataset(table)


def _chunks(table: pa.Table, places: Places) -> pa.Table:
    """Text as short and as long offsets, in chunks that begin in the midst of a buffer."""
    padded = pa.concat_tables([table, table]).combine_chunks() if table.num_rows else table
    rows = padded.slice(table.num_rows)
    for position, column in enumerate(table.schema):
        if pa.types.is_string(column.type) and position % 2:
            rows = rows.set_column(
                position, column.name, rows.column(position).cast(pa.large_string())
            )
    return pa.concat_tables(
        [rows.slice(start, 2) for start in range(0, table.num_rows, 2)] or [rows]
    )


def _sparse(table: pa.Table, places: Places) -> Any:
    """A pandas frame of which numbers are kept only where they differ from the most usual one."""
    import pandas as pd

    frame = table.to_pandas()
    for name in frame.columns:
        if frame[name].dtype.kind in "ifb":
            fill = np.nan if frame[name].dtype.kind == "f" else frame[name].dtype.type(0)
            frame[name] = frame[name].astype(pd.SparseDtype(frame[name].dtype, fill))
    return frame


def _categories(table: pa.Table, places: Places) -> Any:
    """A pandas frame whose texts are categories."""
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    return table.to_pandas(categories=texts)


def _parquet_folder(table: pa.Table, places: Places) -> Path:
    folder = places.new_file("")
    folder.mkdir()
    half = (table.num_rows + 1) // 2
    pyarrow.parquet.write_table(table.slice(0, half), folder / "a.parquet")
    pyarrow.parquet.write_table(table.slice(half), folder / "b.parquet")
    return folder


def _arrow_file(table: pa.Table, places: Places) -> Path:
    path = places.new_file(".arrow")
    pyarrow.feather.write_feather(table, path)
    return path


def _memory_url(table: pa.Table, places: Places) -> str:
    import fsspec

    url = f"memory://conformance/{uuid.uuid4().hex}.parquet"
    with fsspec.open(url, "wb") as opened:
        pyarrow.parquet.write_table(table, opened)
    return url


def _text(value: Any) -> str | None:
    """A value as files without types have it: numbers in full, and times in ISO 8601."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case date() | time():
            return value.isoformat()
    return str(value)


def _csv(table: pa.Table, places: Places) -> Path:
    """A field without quotes and characters is null, one with quotes alone an empty text."""
    path = places.new_file(".csv")

    def field(value: Any) -> str:
        text = _text(value)
        if text is None:
            return ""
        return '"' + text.replace('"', '""') + '"' if isinstance(value, str) else text

    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    lines = [",".join(map(field, row)) for row in (table.column_names, *rows)]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def _json_value(value: Any) -> Any:
    """A value of JSON, which has no NaN: it is missing, as null is."""
    if isinstance(value, float) and math.isnan(value):
        return None
    match value:
        case list():
            return [_json_value(item) for item in value]
        case dict():
            return {name: _json_value(item) for name, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return float(value)
    return _text(value)


def _json_lines(table: pa.Table, places: Places) -> Path:
    path = places.new_file(".jsonl")
    rows = [json.dumps(_json_value(row), allow_nan=False) for row in table.to_pylist()]
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def _duckdb_file(table: pa.Table, places: Places) -> SqlTable:
    import duckdb

    path = places.new_file(".duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.register("source", table)
        connection.execute('CREATE TABLE "the table" AS FROM source')
    return SqlTable(f"duckdb:///{path}", "the table")


def _ibis(table: pa.Table, places: Places) -> Any:
    import ibis

    backend = ibis.duckdb.connect()
    backend.con.register("source", table)
    backend.con.execute("CREATE TABLE t AS FROM source")
    return backend.table("t")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _created(table: pa.Table, name: str, type_of: Callable[[pa.DataType], str]) -> str:
    columns = ", ".join(f"{_quoted(f.name)} {type_of(f.type)}" for f in table.schema)
    return f"CREATE TABLE {name} ({columns})"


def _postgresql_type(dtype: pa.DataType) -> str:
    match dtype:
        case pa.Decimal128Type():
            return f"numeric({dtype.precision}, {dtype.scale})"
        case pa.TimestampType():
            return "timestamptz" if dtype.tz else "timestamp"
        case pa.ListType():
            return _postgresql_type(dtype.value_type) + "[]"
    return {
        pa.int8(): "smallint",
        pa.int32(): "integer",
        pa.int64(): "bigint",
        pa.float32(): "real",
        pa.float64(): "double precision",
        pa.string(): "text",
        pa.null(): "text",
        pa.bool_(): "boolean",
        pa.date32(): "date",
        pa.time64("us"): "time",
    }[dtype]


def _postgresql(table: pa.Table, places: Places) -> SqlTable:
    import psycopg

    url = places.postgresql()
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(url.replace("+psycopg", "")) as connection, connection.cursor() as cursor:
        cursor.execute('CREATE SCHEMA IF NOT EXISTS "the schema"')
        qualified = f'"the schema".{name}'
        cursor.execute(_created(table, qualified, _postgresql_type).encode())
        with cursor.copy(f"COPY {qualified} FROM STDIN") as copy:
            for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                copy.write_row(row)
    return SqlTable(url, qualified)


def _sqlite_type(dtype: pa.DataType) -> str:
    if pa.types.is_integer(dtype):
        return "INTEGER"
    if pa.types.is_floating(dtype):
        return "REAL"
    if pa.types.is_decimal(dtype):
        return f"NUMERIC({dtype.precision}, {dtype.scale})"
    if pa.types.is_timestamp(dtype):
        return "TIMESTAMP"
    return {
        pa.string(): "TEXT",
        pa.null(): "TEXT",
        pa.bool_(): "BOOLEAN",
        pa.date32(): "DATE",
        pa.time64("us"): "TIME",
    }[dtype]


def _sqlite(table: pa.Table, places: Places) -> SqlTable:
    def plain(value: Any) -> Any:
        known = value is None or isinstance(value, int | float | str)
        return value if known else str(value)

    path = places.new_file(".sqlite")
    connection = sqlite3.connect(path)
    connection.execute(_created(table, "t", _sqlite_type))
    marks = ", ".join("?" * table.num_columns)
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    connection.executemany(
        f"INSERT INTO t VALUES ({marks})", [tuple(map(plain, row)) for row in rows]
    )
    connection.commit()
    connection.close()
    return SqlTable(f"sqlite:///{path}", "t")


def _spark_type(dtype: pa.DataType) -> Any:
    from pyspark.sql import types as T  # noqa: N812 - its customary name

    match dtype:
        case pa.Decimal128Type():
            return T.DecimalType(dtype.precision, dtype.scale)
        case pa.TimestampType():
            return T.TimestampType() if dtype.tz else T.TimestampNTZType()
        case pa.ListType():
            return T.ArrayType(_spark_type(dtype.value_type))
        case pa.StructType():
            return T.StructType([T.StructField(f.name, _spark_type(f.type)) for f in dtype])
    return {
        pa.int8(): T.ByteType(),
        pa.int32(): T.IntegerType(),
        pa.int64(): T.LongType(),
        pa.float32(): T.FloatType(),
        pa.float64(): T.DoubleType(),
        pa.string(): T.StringType(),
        pa.null(): T.NullType(),
        pa.bool_(): T.BooleanType(),
        pa.date32(): T.DateType(),
    }[dtype]


def _pyspark(table: pa.Table, places: Places) -> Any:
    session = places.spark()  # first: where Spark or Java is absent, the test is skipped here
    from pyspark.sql import types as T  # noqa: N812 - its customary name

    schema = T.StructType([T.StructField(f.name, _spark_type(f.type)) for f in table.schema])
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return session.createDataFrame(rows, schema)


_MAKERS: dict[str, Callable[[pa.Table, Places], Any]] = {
    "pyarrow_reader": _reader,
    "pyarrow_chunks": _chunks,
    "pandas_sparse": _sparse,
    "pandas_categories": _categories,
    "pyarrow_dataset": _dataset,
    "parquet_folder": _parquet_folder,
    "arrow_file": _arrow_file,
    "csv": _csv,
    "json": _json_lines,
    "memory_url": _memory_url,
    "duckdb_file": _duckdb_file,
    "ibis": _ibis,
    "postgresql": _postgresql,
    "sqlite": _sqlite,
    "pyspark": _pyspark,
}
KINDS = (*EMBEDDED, *_MAKERS)


def make(table: pa.Table, kind: str, places: Places) -> Any:
    """The same rows as another kind of data."""
    if kind in _MAKERS:
        return _MAKERS[kind](table, places)
    folder = places.new_file("")
    folder.mkdir()
    return as_kind(table, kind, folder)
