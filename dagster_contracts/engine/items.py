"""Rules about the items of arrays and the values of maps: a row breaks them where any item does.

Each becomes a flag of the row, beside the data. In Polars the items of a batch of rows are laid out
as one column, the rule is the same expression as for a column, and a row is flagged where one of
its items is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import narwhals as nw

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.rules import (
    VALUES,
    All,
    Path,
    Required,
    RowTest,
    RuleTest,
    is_of_items,
    split_at_items,
)
from dagster_contracts.engine.compiler import (
    BrokenColumnError,
    Columns,
    ItemTest,
    UncompilableError,
    compile_test,
    is_map,
    made,
)
from dagster_contracts.engine.duckdb_items import field_type, flag_in_duckdb, with_flags
from dagster_contracts.engine.scan import Backend, Scan

if TYPE_CHECKING:
    import polars as pl

Flag: TypeAlias = "Callable[[pl.Series], pl.Series]"
"""Rows of a nested value to booleans: whether the row breaks the rule."""

_ITEM = "item"


def flag_items(rules: Iterable[PlannedRule], scan: Scan, columns: Columns) -> Columns:
    """The columns, with a flag for each test of items; or the reason why there is none."""
    tests = dict.fromkeys(test for rule in rules for test in _item_tests(rule.test))
    if not tests or scan.backend not in (Backend.POLARS, Backend.DUCKDB):
        return columns
    native: Any = scan.frame.to_native()
    in_polars = scan.backend is Backend.POLARS
    flags: dict[RowTest, str | Exception] = {}
    added: dict[str, Any] = {}
    for test in tests:
        try:
            columns.require(test.path, only_missing=isinstance(test, Required))
            dtype = columns.type_of(split_at_items(test.path)[0])
            name = f"__contracts_items_{len(added)}"
            if in_polars:
                added[name] = _in_polars(test, dtype, scan)
            else:
                compiled = partial(_compiled, test, scan)
                added[name] = flag_in_duckdb(test, native, dtype, test.path, compiled)
            flags[test] = name
        except (BrokenColumnError, UncompilableError) as error:
            flags[test] = error
    framed = native.with_columns(**added) if in_polars else with_flags(native, added)
    frame = nw.from_native(framed).lazy()
    return replace(columns, scan=replace(scan, frame=frame), item_flags=flags)


def _in_polars(test: ItemTest, dtype: nw.dtypes.DType | None, scan: Scan) -> pl.Expr:
    """The flag as a Polars expression over the column that holds the items."""
    import polars as pl  # late: importing the package must stay cheap

    outer, rest = split_at_items(test.path)
    flag = _flag(test, dtype, rest, scan)
    value = pl.col(outer[0])
    for field in outer[1:]:
        value = value.struct.field(field)
    return value.map_batches(flag, return_dtype=pl.Boolean, is_elementwise=True)


def _compiled(
    test: ItemTest, scan: Scan, name: str, dtype: nw.dtypes.DType, inner: Path
) -> nw.Expr:
    """The flag of items in a column of this name and type; ``inner`` is the path within them."""
    plain = replace(scan, untyped=frozenset(), spelled={}, refused={}, type_flags={})
    columns = Columns(scan=plain, schema={name: dtype})
    return compile_test(replace(test, path=(name, *inner)), columns)


def asks_of_items(test: RuleTest) -> bool:
    """Whether a test is about the items of an array or the values of a map."""
    return any(True for _ in _item_tests(test))


def _item_tests(test: RuleTest) -> Iterator[ItemTest]:
    match test:
        case All(parts):
            for part in parts:
                yield from _item_tests(part)
        case _ if isinstance(test, ItemTest) and is_of_items(test.path):
            yield test
        case _:
            return


def _flag(test: ItemTest, dtype: Any, rest: Path, scan: Scan) -> Flag:
    """The flag of a nested value of this type; ``rest`` begins with the marker."""
    inner = rest[1:]
    if isinstance(dtype, nw.Struct):
        # A map whose keys became fields: what a row has not is null, as a missing value would be.
        if isinstance(test, Required):
            raise UncompilableError(
                "in a map that is kept as fields, missing values look like missing keys"
            )
        fields = {f.name: _of_items(test, made(f.dtype), inner, scan) for f in dtype.fields}
        return lambda series: _any([fields[n](series.struct.field(n)) for n in fields], series)
    item: nw.dtypes.DType = nw.Unknown()
    value_field: str | None = None
    if is_map(dtype):
        item, value_field = made(dtype.value), "value"
    elif isinstance(dtype, nw.List | nw.Array):
        item = made(dtype.inner)
    else:
        raise UncompilableError(f"a column of type {dtype} has no items")
    if rest[0] == VALUES and value_field is None:
        if not isinstance(item, nw.Struct) or len(item.fields) != 2:
            raise UncompilableError(f"a column of type {dtype} is no map")
        value_field, item = item.fields[1].name, made(item.fields[1].dtype)
    of_items = _of_items(test, item, inner, scan)

    def flag(series: pl.Series) -> pl.Series:
        import polars as pl  # late: importing the package must stay cheap

        native: Any = series.dtype
        if isinstance(native, pl.Array):
            series = series.cast(pl.List(native.inner))
        elif is_map(native):
            pair = pl.Struct({"key": native.key, "value": native.value})
            series = series.cast(pl.List(pair))
        lengths = series.list.len().fill_null(0)
        rows = pl.DataFrame({"row": pl.int_range(len(series), eager=True), "items": series})
        laid_out = rows.filter(lengths > 0).explode("items")
        items = laid_out["items"]
        if value_field is not None:
            items = items.struct.field(value_field)
        broken = laid_out["row"].filter(of_items(items).fill_null(False))
        return rows["row"].is_in(broken.unique().implode())

    return flag


def _of_items(test: ItemTest, dtype: nw.dtypes.DType, inner: Path, scan: Scan) -> Flag:
    """The flag of single items, which may hold arrays of their own."""
    if dtype == nw.Unknown and not (isinstance(test, Required) and not inner):
        # All items are null, or there are none: their fields say nothing.
        return lambda series: _any([], series)
    if is_of_items(inner):
        outer, rest = split_at_items(inner)
        for field in outer:
            dtype = field_type(dtype, field)
        deeper = _flag(test, dtype, rest, scan)

        def flag_of_fields(series: pl.Series) -> pl.Series:
            for field in outer:
                series = series.struct.field(field)
            return deeper(series)

        return flag_of_fields
    broken = _compiled(test, scan, _ITEM, dtype, inner).alias("broken")

    def flag(series: pl.Series) -> pl.Series:
        frame = nw.from_native(series.alias(_ITEM).to_frame(), eager_only=True)
        found: pl.Series = frame.select(broken)["broken"].to_native()
        return found

    return flag


def _any(flags: list[pl.Series], series: pl.Series) -> pl.Series:
    import polars as pl  # late: importing the package must stay cheap

    found = pl.repeat(False, len(series), eager=True)
    for flag in flags:
        found = found | flag.fill_null(False)
    return found
