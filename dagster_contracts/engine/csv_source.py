"""CSV, which has no types: every value is text, read as the contract declares it.

Guessing would turn ``007`` into 7; so a value that cannot be read as declared breaks the rule about
the type, row by row. What the contract leaves open is found in the text once it has been read:
whether its times have a zone, and whether its integers are longer than most.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.declared_types import DeclaredTypes
from dagster_contracts.engine.scan import Scan, polars_scan

if TYPE_CHECKING:
    import polars as pl

RAW_PREFIX = "__raw__"
"""Text columns of a CSV file keep their text under this prefix beside the parsed value."""
ZONED_PREFIX = "__zoned__"
"""The instants of those texts that have a time zone, until it is known whether the column has."""
_OF_TEXT = tuple(
    kind
    for kind in LogicalType
    if kind not in (LogicalType.OBJECT, LogicalType.ARRAY, LogicalType.MAP)
)
_HAS_ZONE = r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})$"


def source_name(name: str) -> str:
    """The column of the file that a column of the scan was made from."""
    return name.removeprefix(RAW_PREFIX).removeprefix(ZONED_PREFIX)


def scan_csv(
    lazy: pl.LazyFrame, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of text columns, parsed where the contract declares another type.

    It is to be read once, and then to be settled by :func:`settled`.
    """
    import polars as pl  # late: importing the package must stay cheap

    names = lazy.collect_schema().names()
    values, flags = [], {}
    for name in names:
        expression = parsed(pl.col(name), declared.get(name))
        if expression is not None and (columns is None or name in columns):
            values += [pl.col(name).alias(RAW_PREFIX + name), expression.alias(name)]
            if declared[name] is LogicalType.TIMESTAMP:
                values.append(_zoned(pl.col(name)).alias(ZONED_PREFIX + name))
            flags[name] = nw.col(name).is_null() & ~nw.col(RAW_PREFIX + name).is_null()
    scan = polars_scan("csv", lazy.with_columns(values))
    schema = {name: scan.schema[name] for name in names}
    return replace(scan, schema=schema, type_flags=flags, nulls_misfits=True)


def scan_json(
    lazy: pl.LazyFrame, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of JSON rows, which have no type for times: text is read as the contract declares.

    A column of nothing but null has the declared type as well.
    """
    import polars as pl  # late: importing the package must stay cheap

    timed = (LogicalType.DATE, LogicalType.TIME, LogicalType.TIMESTAMP)
    held = lazy.collect_schema()
    times = {n: t for n, t in declared.items() if held.get(n) == pl.String and t in timed}
    nothing = {n: t for n, t in declared.items() if held.get(n) == pl.Null and t in _OF_TEXT}
    lazy = lazy.with_columns(pl.col(name).cast(pl.String) for name in nothing)
    times |= {n: t for n, t in nothing.items() if t is not LogicalType.STRING}
    return replace(scan_csv(lazy, columns, times), kind="json")


def parsed(column: pl.Expr, logical_type: LogicalType | None) -> pl.Expr | None:
    """The value that the text stands for, null where it stands for none; ``None``: it is text."""
    import polars as pl  # late: importing the package must stay cheap

    match logical_type:
        case LogicalType.INTEGER:
            return _whole(column, pl.Int64)
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
        case LogicalType.TIMESTAMP:  # without a zone; those with one are for :func:`_zoned`
            # A text is tried in the one form that it can have: each costs as much as all else.
            text = column.str.replace("T", " ", literal=True)
            naive = pl.when(~text.str.contains(_HAS_ZONE)).then(text)
            return naive.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
        case _:
            return None


def is_written(column: pl.Expr, logical_type: LogicalType) -> pl.Expr:
    """Whether all texts of a column are values of this type, in one and the same form of it."""
    import polars as pl  # late: importing the package must stay cheap

    value = parsed(column, logical_type)
    if value is None:
        return pl.lit(True)
    if logical_type is LogicalType.TIMESTAMP:
        return value.is_not_null().all() | _zoned(column).is_not_null().all()
    return value.is_not_null().all()


def _zoned(column: pl.Expr) -> pl.Expr:
    """The instants of the texts that have a time zone."""
    import polars as pl  # late: importing the package must stay cheap

    text = column.str.replace("T", " ", literal=True)
    with_zone = pl.when(text.str.contains(_HAS_ZONE)).then(text).str.replace(r"[Zz]$", "+00:00")
    return with_zone.str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    )


def settled(scan: Scan, declared: Mapping[str, LogicalType]) -> Scan:
    """The scan with the types that its text has, now that it can be asked at little cost.

    Times are zoned where their texts have zones, and naive where none has. Where some have one, the
    contract decides; where it says nothing, they are zoned. The others are not of the type.
    """
    import polars as pl  # late: importing the package must stay cheap

    lazy: pl.LazyFrame = scan.frame.to_native()
    held = lazy.collect_schema()
    times = [name for name in scan.type_flags if ZONED_PREFIX + name in held]
    whole = [name for name in scan.type_flags if name in held and held[name] == pl.Int64]
    wide = [name for name, dtype in held.items() if dtype == pl.Int128]
    if not times and not whole and not wide:
        return scan
    facts = _facts(lazy, times, whole, wide)
    zones = declared.zones if isinstance(declared, DeclaredTypes) else {}
    changed: list[pl.Expr] = []
    for name in times:
        naive, zoned = facts[f"naive {name}"], facts[f"zoned {name}"]
        if zones.get(name, True) if naive and zoned else zoned or (not naive and zones.get(name)):
            changed.append(pl.col(ZONED_PREFIX + name).alias(name))
    for name in (*whole, *wide):
        low, high = facts[f"low {name}"], facts[f"high {name}"]
        value = pl.col(name)
        if name in whole:
            if high is None:
                continue
            value = _whole(pl.col(RAW_PREFIX + name), pl.Int128)
        # No engine but Polars has whole numbers of 128 bits.
        is_short = low is not None and low >= 0 and high < 2**64
        changed.append(value.cast(pl.UInt64 if is_short else pl.Int128).alias(name))
    lazy = lazy.with_columns(changed).drop([ZONED_PREFIX + name for name in times])
    frame = nw.from_native(lazy)
    found = frame.collect_schema()
    # Of times that are not there, nobody can tell whether they have a zone.
    empty = {n for n in times if not facts[f"naive {n}"] and not facts[f"zoned {n}"]}
    return replace(
        scan,
        frame=frame,
        schema={name: found.get(name, dtype) for name, dtype in scan.schema.items()},
        untyped=scan.untyped | {name for name in empty if zones.get(name) is None},
    )


def _facts(
    lazy: pl.LazyFrame, times: Collection[str], whole: Collection[str], wide: Collection[str]
) -> dict[str, Any]:
    """What there is of times with a zone and without, and of integers longer than 64 bits."""
    import polars as pl  # late: importing the package must stay cheap

    asked: list[pl.Expr] = []
    for name in times:
        asked.append(pl.col(name).is_not_null().any().alias(f"naive {name}"))
        asked.append(pl.col(ZONED_PREFIX + name).is_not_null().any().alias(f"zoned {name}"))
    for name in (*whole, *wide):
        value = pl.col(name)
        if name in whole:
            unread = pl.col(RAW_PREFIX + name).filter(pl.col(name).is_null())
            value = _whole(unread, pl.Int128)
        asked += [value.min().alias(f"low {name}"), value.max().alias(f"high {name}")]
    facts = lazy.select(asked).collect(engine="streaming").to_dicts()[0]
    long = [name for name in whole if facts[f"high {name}"] is not None]
    if long:
        least = lazy.select(pl.col(long).min()).collect(engine="streaming").to_dicts()[0]
        for name in long:
            known = [n for n in (least[name], facts[f"low {name}"]) if n is not None]
            facts[f"low {name}"] = min(known)
    return facts


def _whole(column: pl.Expr, dtype: Any) -> pl.Expr:
    return column.str.strip_chars().cast(dtype, strict=False)
