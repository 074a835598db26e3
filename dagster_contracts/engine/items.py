"""Rules about the items of arrays and the values of maps: a row breaks them where any item does.

Each becomes a flag of the row, computed by Polars beside the data. The items of a batch of rows are
laid out as one column, the rule is the same expression as for a column, and a row is flagged where
one of its items is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import narwhals as nw

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.rules import (
    ITEMS,
    VALUES,
    All,
    Path,
    Required,
    RowTest,
    RuleTest,
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
from dagster_contracts.engine.scan import Backend, Scan

if TYPE_CHECKING:
    import polars as pl

Flag: TypeAlias = "Callable[[pl.Series], pl.Series]"
"""Rows of a nested value to booleans: whether the row breaks the rule."""

_ITEM = "item"


def flag_items(rules: Iterable[PlannedRule], scan: Scan, columns: Columns) -> Columns:
    """The columns, with a flag for each test of items; or the reason why there is none."""
    tests = dict.fromkeys(test for rule in rules for test in _item_tests(rule.test))
    if not tests or scan.backend is not Backend.POLARS:
        return columns
    import polars as pl  # late: importing the package must stay cheap

    flags: dict[RowTest, str | Exception] = {}
    added: list[pl.Expr] = []
    for test in tests:
        try:
            columns.require(test.path, only_missing=isinstance(test, Required))
            outer, rest = _split(test.path)
            flag = _flag(test, columns.type_of(outer), rest, scan)
        except (BrokenColumnError, UncompilableError) as error:
            flags[test] = error
            continue
        name = f"__contracts_items_{len(added)}"
        value = pl.col(outer[0])
        for field in outer[1:]:
            value = value.struct.field(field)
        added.append(
            value.map_batches(flag, return_dtype=pl.Boolean, is_elementwise=True).alias(name)
        )
        flags[test] = name
    frame = nw.from_native(scan.frame.to_native().with_columns(added))
    return replace(columns, scan=replace(scan, frame=frame), item_flags=flags)


def _item_tests(test: RuleTest) -> Iterator[ItemTest]:
    match test:
        case All(parts):
            for part in parts:
                yield from _item_tests(part)
        case _ if isinstance(test, ItemTest) and (ITEMS in test.path or VALUES in test.path):
            yield test
        case _:
            return


def _split(path: Path) -> tuple[Path, Path]:
    """The path to the first array or map, and what follows, the marker first."""
    at = next(place for place, name in enumerate(path) if name in (ITEMS, VALUES))
    return path[:at], path[at:]


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
    if ITEMS in inner or VALUES in inner:
        outer, rest = _split(inner)
        for field in outer:
            dtype = _field(dtype, field)
        deeper = _flag(test, dtype, rest, scan)

        def flag_of_fields(series: pl.Series) -> pl.Series:
            for field in outer:
                series = series.struct.field(field)
            return deeper(series)

        return flag_of_fields
    of_item = Columns(scan=replace(scan, untyped=frozenset(), spelled={}), schema={_ITEM: dtype})
    broken = compile_test(replace(test, path=(_ITEM, *inner)), of_item).alias("broken")

    def flag(series: pl.Series) -> pl.Series:
        frame = nw.from_native(series.alias(_ITEM).to_frame(), eager_only=True)
        found: pl.Series = frame.select(broken)["broken"].to_native()
        return found

    return flag


def _field(dtype: nw.dtypes.DType, name: str) -> nw.dtypes.DType:
    fields: Mapping[str, Any] = (
        {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, nw.Struct) else {}
    )
    if name not in fields:
        raise UncompilableError(f"there is no field {name}")
    return made(fields[name])


def _any(flags: list[pl.Series], series: pl.Series) -> pl.Series:
    import polars as pl  # late: importing the package must stay cheap

    found = pl.repeat(False, len(series), eager=True)
    for flag in flags:
        found = found | flag.fill_null(False)
    return found
