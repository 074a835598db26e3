"""pandas frames: the columns that are asked for become Polars columns; the index is left alone.

Numbers, moments and Arrow-backed text are shared or viewed (:mod:`arrow_source`), columns at a time
in threads. Python objects are read one by one under the interpreter's lock; where a column repeats
a few of them, as frames read from files do, and as columns of ``True``, ``False`` and ``None``
must, only those few are read.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.arrow_source import convert_each, series_of
from dagster_contracts.engine.scan import Scan, polars_scan, refuse_duplicates, rows_only

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    Column = pd.Series[Any]

_LOOKED_AT = 1_000
"""So many objects of a column tell whether it repeats a few."""
_FEW = 100
_VERY_FEW = 12
"""So many addresses are sooner compared one by one than by a table of hashes."""


def scan_pandas(
    data: Any, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of a pandas frame."""
    import polars as pl  # late: importing the package must stay cheap

    names = [str(name) for name in data.columns]
    refuse_duplicates(names)
    held = {name: data.iloc[:, position] for position, name in enumerate(names)}
    wanted = [name for name in names if columns is None or name in columns]
    dense = dict(
        zip(wanted, convert_each([held[n] for n in wanted], _dense, len(data)), strict=True)
    )
    converted, strange = _from_pandas(dense, len(data))
    untyped = frozenset(
        name
        for name, column in converted.items()
        if dense[name].dtype == object and column.null_count() == len(column)
    )
    polars_frame = pl.DataFrame(
        {
            name: column.cast(pl.Null) if name in untyped else column
            for name, column in converted.items()
        }
    )
    scan = polars_scan("pandas", (polars_frame if converted else rows_only(len(data))).lazy())
    schema: dict[str, nw.dtypes.DType] = dict.fromkeys(names, nw.Unknown())
    for name in names:
        if name in scan.schema:
            schema[name] = scan.schema[name]
        elif name not in strange:
            schema[name] = _type_of(held[name])
    return replace(
        scan,
        schema=schema,
        strange={**strange, **scan.strange},
        untyped=untyped | scan.untyped,
        type_flags=_pandas_flags(dense, scan.schema, declared),
    )


def _dense(column: Column) -> Column:
    """The column as most are kept: every value in its place, the bytes in this machine's order."""
    import numpy as np  # here already: the data is pandas
    import pandas as pd

    if isinstance(column.dtype, pd.SparseDtype):
        sparse: Any = column.sparse
        column = sparse.to_dense()
    if isinstance(column.dtype, np.dtype) and not column.dtype.isnative:
        column = column.astype(column.dtype.newbyteorder("="))
    return column


def _type_of(column: Column) -> nw.dtypes.DType:
    """The type of a column that is not converted."""
    import pandas as pd  # here already: the data is pandas

    if isinstance(column.dtype, pd.SparseDtype):
        column = _dense(column)
    return nw.from_native(column.to_frame("column"), eager_only=True).schema["column"]


def _from_pandas(
    columns: Mapping[str, Column], rows: int
) -> tuple[dict[str, pl.Series], dict[str, str]]:
    """Columns as Polars series, and the types of those that it cannot hold."""
    # Threads that read objects would only wait for each other.
    objects = [item for item in columns.items() if item[1].dtype == object]
    others = [item for item in columns.items() if item[1].dtype != object]
    answers = dict(convert_each(others, _series_or_type, rows))
    answers.update(map(_series_or_type, objects))
    converted, strange = {}, {}
    for name in columns:
        answer = answers[name]
        if isinstance(answer, str):
            strange[name] = answer
        else:
            converted[name] = answer
    return converted, strange


def _series_or_type(named: tuple[str, Column]) -> tuple[str, pl.Series | str]:
    name, column = named
    try:
        return name, _series(name, column)
    except Exception:  # objects of several kinds, or a kind that Polars lacks, fail in many ways
        return name, "mixed objects" if column.dtype == object else str(column.dtype)


def _series(name: str, column: Column) -> pl.Series:
    import pyarrow as pa  # late: importing the package must stay cheap

    if column.dtype == object:
        return _from_objects(name, column.to_numpy())
    gapless = _gapless(column)
    return series_of(name, pa.array(column, from_pandas=True) if gapless is None else gapless)


def _gapless(column: Column) -> pa.Array | None:
    """Floats or moments of numpy without a gap, which Arrow would copy to look for one.

    ``None`` where there is a gap, or another kind of column.
    """
    import numpy as np  # here already: the data is pandas
    import pyarrow as pa  # late: importing the package must stay cheap

    dtype = column.dtype
    if not isinstance(dtype, np.dtype) or not len(column):
        return None
    values = column.to_numpy()
    if dtype in (np.float64, np.float32):
        return None if np.isnan(values.min()) else pa.array(values)
    unit = dtype.str[4:-1]  # of <M8[ns]
    if dtype.kind != "M" or unit not in ("s", "ms", "us", "ns"):
        return None
    ticks = values.view(np.int64)
    if ticks.min() == np.iinfo(np.int64).min:  # how numpy keeps that there is no moment
        return None
    return pa.array(ticks).cast(pa.timestamp(unit))


def _from_objects(name: str, values: np.ndarray[Any, Any]) -> pl.Series:
    import polars as pl  # late: importing the package must stay cheap

    repeated = _repeated(values)
    if repeated is None:
        return _one_by_one(name, values)
    few, places = repeated
    return _one_by_one(name, few).gather(pl.Series(places))  # four times as fast as of an array


def _one_by_one(name: str, values: np.ndarray[Any, Any]) -> pl.Series:
    import polars as pl  # late: importing the package must stay cheap
    import pyarrow as pa

    if isinstance(next((value for value in values if value is not None), None), str):
        # The fastest way, but it knows no gap but None, and none in front.
        with suppress(Exception):
            return pl.Series(name, values, dtype=pl.String)
    array = pa.array(values, from_pandas=True)
    if pa.types.is_binary(array.type) and any(isinstance(value, str) for value in values):
        raise TypeError("text among bytes")
    return series_of(name, array)


def _repeated(
    values: np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """The few objects of which a column is made, and for each row which it is, from 0.

    ``None`` where they are not few. It is the object's address that is compared: equal objects in
    two places are two, which is right, only slower.
    """
    import numpy as np  # here already: the data is pandas
    import pandas as pd

    if len(values) < 10 * _LOOKED_AT:
        return None
    values = np.ascontiguousarray(values)
    cells = (ctypes.c_ssize_t * len(values)).from_address(values.ctypes.data)
    addresses = np.ctypeslib.as_array(cells)
    seen, where = np.unique(addresses[:: (step := len(values) // _LOOKED_AT)], return_index=True)
    if len(seen) > _FEW:
        return None
    if len(seen) <= _VERY_FEW:
        found = [addresses == address for address in seen]
        if sum(map(np.count_nonzero, found)) == len(values):
            places = sum(place * each.view(np.uint8) for place, each in enumerate(found))
            return values[where * step], places
    places, different = pd.factorize(addresses)
    if len(different) > len(values) // 10:
        return None
    # Numbered in the order in which they first occur: a new highest number is a first.
    firsts = np.flatnonzero(np.diff(np.maximum.accumulate(places), prepend=-1))
    return values[firsts], places


def _pandas_flags(
    columns: Mapping[str, Column],
    schema: Mapping[str, nw.dtypes.DType],
    declared: Mapping[str, LogicalType],
) -> dict[str, nw.Expr]:
    flags: dict[str, nw.Expr] = {}
    for name, logical_type in declared.items():
        if name not in schema or name not in columns:
            continue
        dtype, column = schema[name], nw.col(name)
        numpy_held = type(columns[name].dtype).__module__.startswith("numpy")
        if logical_type is LogicalType.INTEGER and dtype.is_float() and numpy_held:
            # numpy integers have no null, so pandas turns them into floats.
            flags[name] = (column != column.round(0)) & ~column.is_nan()
        elif logical_type is LogicalType.DATE and dtype == nw.Datetime:
            # pandas has no dates of its own but timestamps at midnight.
            flags[name] = column.dt.date().cast(dtype) != column
    return flags
