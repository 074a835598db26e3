"""References to another table: keys that do not occur there, found by an anti join of the keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.contract import Contract, SchemaObject
from dagster_contracts.core.rules import Exists
from dagster_contracts.engine.compiler import BrokenColumnError, Columns, missing
from dagster_contracts.engine.declared_types import DeclaredTypes
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.keys import COUNT, places
from dagster_contracts.engine.literal import all_of, is_text
from dagster_contracts.engine.samples import SampleSource
from dagster_contracts.engine.scan import Backend, Scan, UnreadableDataError, first_line
from dagster_contracts.engine.sources import open_scan
from dagster_contracts.engine.sql_scan import share_connection

if TYPE_CHECKING:
    import polars as pl


def find_target(target: str, references: Mapping[str, object]) -> object | None:
    """The data of a reference: under its whole path, its object's or its contract's name."""
    for name in (target, target.rpartition(".")[2], target.partition(".")[0]):
        if name in references:
            return references[name]
    return None


def referred_types(test: Exists, contract: Contract, referring: SchemaObject) -> DeclaredTypes:
    """The types of the columns that a reference names.

    They are those that the other object declares, or, where the contract does not know it, those of
    the columns that refer to them.
    """
    for other in contract.objects:
        names = {name for name in (other.name, other.physical_name) if name is not None}
        if test.target in names | {f"{contract.name}.{name}" for name in names}:
            return DeclaredTypes.of(other.properties)
    near = DeclaredTypes.of(referring.properties)
    return near.renamed(dict(zip(test.columns, test.to, strict=True)))


def measure_reference(
    rule: PlannedRule,
    test: Exists,
    source: SampleSource,
    columns: Columns,
    references: Mapping[str, object],
    declared: DeclaredTypes,
    rows: int,
    samples: int,
) -> Finding:
    """Count the rows whose key, if it has one, is not in the other table."""
    data = find_target(test.target, references)
    if isinstance(data, UnreadableDataError):
        return Finding(unmeasured=str(data))
    if data is None:
        return Finding(unmeasured=f"the data of {test.target} was not given")
    try:
        types = [columns.require((name,)) for name in test.columns]
    except BrokenColumnError as error:
        return Finding(broken=str(error))
    try:
        other = open_scan(data, test.to, declared)
    except UnreadableDataError as error:
        return Finding(unmeasured=f"{test.target}: {error}")
    with closing(other):
        return _measured(rule, test, source, columns, other, types, rows, samples)


def _measured(
    rule: PlannedRule,
    test: Exists,
    source: SampleSource,
    columns: Columns,
    other: Scan,
    types: Sequence[nw.dtypes.DType],
    rows: int,
    samples: int,
) -> Finding:
    for name in test.to:
        if name not in other.schema or name in other.strange or name in other.refused:
            return Finding(unmeasured=f"{test.target} has no column {name} that can be compared")
    common = [
        _common_type(near, other.schema[far]) for near, far in zip(types, test.to, strict=True)
    ]
    for near, far, shared in zip(test.columns, test.to, common, strict=True):
        if shared is None:
            pair = f"{near} ({columns.schema[near]}) and {far} ({other.schema[far]})"
            return Finding(unmeasured=f"{pair} cannot be compared")
    try:
        absent = _absent_keys(test, source.scan, other, [t for t in common if t is not None])
    except Exception as error:  # engines raise what they like
        reason = f"the rule failed to run: {type(error).__name__}"
        return Finding(unmeasured=reason, quoted=first_line(error))
    failed = sum(row[COUNT] for row in absent)
    shown = absent[:samples]
    cleaned = source.clean([{k: v for k, v in row.items() if k != COUNT} for row in shown])
    return Finding(
        tested=rows,
        failed=failed,
        samples=tuple(
            {**sample, "rows": row[COUNT]} for sample, row in zip(cleaned, shown, strict=True)
        ),
        note=f"{len(absent):,} keys of {rule.column or 'the data'} are not in {test.target}"
        if absent
        else None,
    )


def distinct_keys(
    data: object, columns: Mapping[str, str], declared: DeclaredTypes | None = None
) -> pl.DataFrame:
    """The keys that occur in a table, each once; ``columns`` are the table's by their new names.

    ``declared`` are the types of its columns, by which the text of a file is read. Raises
    :class:`UnreadableDataError`.
    """
    with closing(open_scan(data, columns.values(), declared)) as scan:
        lacking = [name for name in columns.values() if name not in scan.schema]
        if lacking:
            raise UnreadableDataError(f"the other table has no column {', '.join(lacking)}")
        wanted = [scan.column(column).alias(name) for name, column in columns.items()]
        keys = _in_polars(scan, scan.frame.select(*wanted).unique())
        found: pl.DataFrame = keys.collect("polars").to_native()
        return found


def _common_type(near: nw.dtypes.DType, far: nw.dtypes.DType) -> nw.dtypes.DType | None:
    """A type that holds the keys of both sides exactly."""
    if is_text(near) and is_text(far):
        return nw.String()
    if near.is_integer() and far.is_integer():
        return nw.Int128() if nw.UInt64 in (near, far) else nw.Int64()
    if all(dtype.is_integer() or dtype.is_float() for dtype in (near, far)):
        # pandas keeps integers with gaps as floats.
        return nw.Float64()
    if near == nw.Datetime and far == nw.Datetime:
        zones = {getattr(t, "time_zone", None) is None for t in (near, far)}
        return near if len(zones) == 1 else None
    return near if near == far else None


def _absent_keys(
    test: Exists, scan: Scan, other: Scan, common: list[nw.dtypes.DType]
) -> list[dict[str, Any]]:
    """The keys that the other table lacks, with their number of rows, the most frequent first."""
    key = places(test.columns)
    there = [~missing(scan.column(name), scan.schema[name]) for name in test.columns]
    near = _cast_keys(scan, test.columns, common)
    counted = scan.frame.filter(all_of(there)).select(*near).group_by(*key)
    keys = counted.agg(nw.len().alias(COUNT))
    targets = other.frame.select(*_cast_keys(other, test.to, common)).unique()
    engine = scan
    if not _meet(scan, other):
        # Two engines, or two connections: the distinct keys, which are few, meet in Polars.
        keys, targets = _in_polars(scan, keys), _in_polars(other, targets)
        engine = Scan(kind="polars", backend=Backend.POLARS, frame=keys, schema={})
    absent = keys.join(targets, on=key, how="anti")
    most = [True, *[False] * len(key)]
    found = engine.collect([absent.sort(COUNT, *key, descending=most)])[0]
    return [
        {**{n: row[k] for n, k in zip(test.columns, key, strict=True)}, COUNT: row[COUNT]}
        for row in found
    ]


def _cast_keys(scan: Scan, columns: Sequence[str], common: list[nw.dtypes.DType]) -> list[nw.Expr]:
    named = zip(columns, common, places(columns), strict=True)
    return [scan.column(name).cast(dtype).alias(place) for name, dtype, place in named]


def _meet(scan: Scan, other: Scan) -> bool:
    """Whether one query can read both."""
    if scan.backend is not other.backend:
        return False
    if scan.backend in (Backend.POLARS, Backend.PYSPARK):
        return True
    return share_connection(scan, other)


def _in_polars(scan: Scan, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The rows of a query in memory."""
    if scan.backend is Backend.POLARS:
        return frame
    if scan.run is None:
        return frame.collect("polars").lazy()
    import polars as pl  # late: importing the package must stay cheap

    found = scan.collect([frame])[0]
    names = list(frame.collect_schema())
    # Columns of Python values: Polars finds their type, whole numbers as wide as their key is cast.
    columns = {name: pl.Series([row[name] for row in found], strict=False) for name in names}
    return nw.from_native(pl.DataFrame(columns).lazy())
