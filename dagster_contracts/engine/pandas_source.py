"""pandas frames: the columns that are asked for become Polars columns; the index is left alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.scan import Scan, polars_scan, refuse_duplicates, rows_only

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def scan_pandas(
    data: Any, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of a pandas frame."""
    import polars as pl  # late: importing the package must stay cheap

    names = [str(name) for name in data.columns]
    refuse_duplicates(names)
    frame: pd.DataFrame = data.set_axis(names, axis="columns") if names else data
    wanted = [name for name in names if columns is None or name in columns]
    converted, strange = _from_pandas(frame, wanted)
    untyped = frozenset(
        name
        for name, column in converted.items()
        if frame[name].dtype == object and column.null_count() == len(column)
    )
    polars_frame = pl.DataFrame(
        {
            name: column.cast(pl.Null) if name in untyped else column
            for name, column in converted.items()
        }
    )
    scan = polars_scan("pandas", (polars_frame if converted else rows_only(len(frame))).lazy())
    schema: dict[str, nw.dtypes.DType] = dict.fromkeys(names, nw.Unknown())
    for name in names:
        if name in scan.schema:
            schema[name] = scan.schema[name]
        elif name not in strange:
            schema[name] = nw.from_native(frame[[name]], eager_only=True).schema[name]
    return replace(
        scan,
        schema=schema,
        strange={**strange, **scan.strange},
        untyped=untyped | scan.untyped,
        type_flags=_pandas_flags(frame, scan.schema, declared),
    )


def _from_pandas(
    frame: pd.DataFrame, wanted: Sequence[str]
) -> tuple[dict[str, pl.Series], dict[str, str]]:
    """The wanted columns as Polars series, and the types of those that it cannot hold."""
    import polars as pl  # late: importing the package must stay cheap

    try:
        texts = {name: text for name in wanted if (text := _text(frame[name])) is not None}
        others = [name for name in wanted if name not in texts]
        whole = pl.from_pandas(frame[others]) if others else pl.DataFrame()
        return {n: texts[n] if n in texts else whole[n] for n in wanted}, {}
    except Exception:  # some column holds what Polars cannot: find out which
        converted, strange = {}, {}
        for name in wanted:
            try:
                converted[name] = pl.from_pandas(frame[[name]])[name]
            except Exception:  # a column of mixed objects fails in many ways
                dtype = str(frame[name].dtype)
                strange[name] = "mixed objects" if dtype == "object" else dtype
        return converted, strange


def _text(column: pd.Series[Any]) -> pl.Series | None:
    """A column of Python strings and ``None``, faster than the usual way.

    ``None`` where it is no such column.
    """
    import polars as pl  # late: importing the package must stay cheap

    if column.dtype != object:
        return None
    values = column.to_numpy()
    if not isinstance(next((v for v in values if v is not None), None), str):
        return None
    try:
        return pl.Series(str(column.name), values, dtype=pl.String)
    except TypeError:  # gaps of another kind, or no strings only
        return None


def _pandas_flags(
    frame: pd.DataFrame,
    schema: Mapping[str, nw.dtypes.DType],
    declared: Mapping[str, LogicalType],
) -> dict[str, nw.Expr]:
    flags: dict[str, nw.Expr] = {}
    for name, logical_type in declared.items():
        if name not in schema or name not in frame:
            continue
        dtype, column = schema[name], nw.col(name)
        numpy_held = type(frame[name].dtype).__module__.startswith("numpy")
        if logical_type is LogicalType.INTEGER and dtype.is_float() and numpy_held:
            # numpy integers have no null, so pandas turns them into floats.
            flags[name] = (column != column.round(0)) & ~column.is_nan()
        elif logical_type is LogicalType.DATE and dtype == nw.Datetime:
            # pandas has no dates of its own but timestamps at midnight.
            flags[name] = column.dt.date().cast(dtype) != column
    return flags
