"""Arrow tables and columns as Polars knows them: shared where that is possible, not copied.

Polars keeps text as views (16 bytes a value), Arrow mostly as offsets. Arrow makes views of offsets
two to four times as fast as Polars does, without the interpreter's lock, and Polars takes them over
as they are. Numbers and moments are shared; so are the chunks, unless there are very many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import narwhals as nw

from dagster_contracts.engine.arrow_types import held_type, standing_in, unheld_types
from dagster_contracts.engine.scan import (
    Scan,
    UnreadableDataError,
    polars_scan,
    refuse_duplicates,
    rows_only,
)

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_Column = TypeVar("_Column")
_Converted = TypeVar("_Converted")

_ROWS_OF_A_CHUNK = 10_000
"""Chunks that are smaller on the average are joined: each costs something in every query."""
_ROWS_FOR_THREADS = 50_000
"""With fewer rows, threads cost more than they save."""


def scan_arrow(data: Any, columns: Collection[str] | None) -> Scan:
    """A scan of a table, a batch or a reader of batches."""
    import pyarrow as pa  # late: importing the package must stay cheap

    if isinstance(data, pa.RecordBatchReader):
        data = read_whole(data)
    elif isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    refuse_duplicates(data.column_names)
    wanted = [name for name in data.column_names if columns is None or name in columns]
    unheld = unheld_types(data.schema)
    chosen = standing_in(data.select(wanted), unheld)
    frame = frame_of(chosen) if wanted else rows_only(data.num_rows)
    scan = polars_scan("pyarrow", frame.lazy())
    return _with_whole_schema(scan, wanted, data.schema, unheld)


def frame_of(table: pa.Table) -> pl.DataFrame:
    """A table of types that Polars holds."""
    import polars as pl  # late: importing the package must stay cheap

    viewed = convert_each(list(table.columns), with_views, table.num_rows)
    # Fields are kept for what they say of themselves: the categories of an enumeration.
    schema = table.schema
    for position, column in enumerate(viewed):
        schema = schema.set(position, schema.field(position).with_type(column.type))
    shared = table.from_arrays(viewed, schema=schema)
    most = max((column.num_chunks for column in viewed), default=0)
    made = pl.from_arrow(shared, rechunk=_too_many(most, table.num_rows))
    assert isinstance(made, pl.DataFrame)
    return made


def series_of(name: str, array: pa.Array | pa.ChunkedArray) -> pl.Series:
    """An Arrow column as a Polars column."""
    import polars as pl  # late: importing the package must stay cheap

    held = held_type(array.type)
    if held is None:
        raise TypeError(f"there are no columns of type {array.type}")
    viewed = with_views(array if held == array.type else array.cast(held, safe=False))
    chunks = getattr(viewed, "num_chunks", 1)
    made = pl.from_arrow(viewed, rechunk=_too_many(chunks, len(viewed)))
    assert isinstance(made, pl.Series)
    return made.alias(name)


def with_views(array: Any) -> Any:
    """The column itself; of text, views, which share the text with it."""
    import pyarrow as pa  # late: importing the package must stay cheap

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return array
    try:
        return array.cast(pa.string_view())
    except pa.ArrowInvalid:  # views reach 2 GiB into a buffer and no further; Polars copies
        return array


def convert_each(
    columns: Sequence[_Column], convert: Callable[[_Column], _Converted], rows: int
) -> list[_Converted]:
    """Convert columns of so many rows, side by side where there is enough to do."""
    workers = min(len(columns), os.cpu_count() or 1)
    if rows < _ROWS_FOR_THREADS or workers < 2:
        return [convert(column) for column in columns]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(convert, columns))


def _too_many(chunks: int, rows: int) -> bool:
    return chunks > 1 and rows < chunks * _ROWS_OF_A_CHUNK


_READ: WeakSet[Any] = WeakSet()


def read_whole(reader: Any) -> Any:
    """All rows of a reader as an Arrow table; it has them once, so a second time is refused."""
    if reader in _READ:
        raise UnreadableDataError(
            "the reader has been read to its end before; pass a table or a new reader"
        )
    _READ.add(reader)
    return reader.read_all()


def _with_whole_schema(
    scan: Scan, wanted: Sequence[str], schema: Any, unheld: Mapping[str, str]
) -> Scan:
    """The scan of some columns, knowing the types of all."""
    import polars as pl  # late: importing the package must stay cheap

    if len(wanted) == len(schema.names) and not unheld:
        return scan
    empty = standing_in(schema.empty_table(), unheld)
    whole = polars_scan(scan.kind, pl.DataFrame(empty).lazy())
    types = {name: scan.schema.get(name, dtype) for name, dtype in whole.schema.items()}
    return replace(
        scan,
        schema={**types, **dict.fromkeys(unheld, nw.Unknown())},
        strange={**whole.strange, **scan.strange},
        untyped=whole.untyped | scan.untyped,
        refused={n: f"values of type {kind} are not measured here" for n, kind in unheld.items()},
    )
