"""CSV, which has no types: every value is text, read as the contract declares it.

Guessing would turn ``007`` into 7; so a value that cannot be read as declared breaks the rule about
the type, row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.scan import Scan, polars_scan

if TYPE_CHECKING:
    import polars as pl

RAW_PREFIX = "__raw__"
"""Text columns of a CSV file keep their text under this prefix beside the parsed value."""


def scan_csv(
    lazy: pl.LazyFrame, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of text columns, parsed where the contract declares another type."""
    import polars as pl  # late: importing the package must stay cheap

    names = lazy.collect_schema().names()
    values, flags = [], {}
    for name in names:
        expression = parsed(pl.col(name), declared.get(name))
        if expression is not None and (columns is None or name in columns):
            values += [pl.col(name).alias(RAW_PREFIX + name), expression.alias(name)]
            flags[name] = nw.col(name).is_null() & ~nw.col(RAW_PREFIX + name).is_null()
    scan = polars_scan("csv", lazy.with_columns(values))
    schema = {name: scan.schema[name] for name in names}
    return replace(scan, schema=schema, type_flags=flags, nulls_misfits=True)


def scan_json(
    lazy: pl.LazyFrame, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of JSON rows, which have no type for times: text is read as the contract declares."""
    import polars as pl  # late: importing the package must stay cheap

    timed = (LogicalType.DATE, LogicalType.TIME, LogicalType.TIMESTAMP)
    text = {name for name, dtype in lazy.collect_schema().items() if dtype == pl.String}
    times = {n: dtype for n, dtype in declared.items() if n in text and dtype in timed}
    return replace(scan_csv(lazy, columns, times), kind="json")


def parsed(column: pl.Expr, logical_type: LogicalType | None) -> pl.Expr | None:
    """The value that the text stands for, null where it stands for none; ``None``: it is text."""
    import polars as pl  # late: importing the package must stay cheap

    match logical_type:
        case LogicalType.INTEGER:
            return column.str.strip_chars().cast(pl.Int64, strict=False)
        case LogicalType.NUMBER:
            return column.str.strip_chars().cast(pl.Float64, strict=False)
        case LogicalType.BOOLEAN:
            lowered = column.str.strip_chars().str.to_lowercase()
            words = {"true": True, "false": False, "1": True, "0": False}
            return lowered.replace_strict(words, default=None, return_dtype=pl.Boolean)
        case LogicalType.DATE:
            return column.str.to_date("%Y-%m-%d", strict=False)
        case LogicalType.TIME:
            return column.str.to_time("%H:%M:%S%.f", strict=False)
        case LogicalType.TIMESTAMP:
            text = column.str.replace("T", " ", literal=True)
            # A text is tried in the one form that it can have: each costs as much as all else.
            has_zone = text.str.contains(r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})$")
            with_zone = pl.when(has_zone).then(text).str.replace(r"[Zz]$", "+00:00")
            zoned = with_zone.str.to_datetime(
                "%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
            )
            naive = (
                pl.when(~has_zone)
                .then(text)
                .str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
            )
            return pl.coalesce(zoned, naive.dt.replace_time_zone("UTC"))
        case _:
            return None
