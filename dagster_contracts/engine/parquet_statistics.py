"""What the footers of Parquet files say of all rows: enough to prove many rules without a row.

A footer has, for each group of rows and each column, how many values are null, the smallest and the
largest. Where the smallest and the largest keep a bound, all values do; so the very expression that
would test the rows tests these two. Nothing is believed that is not exact: floats leave NaN out,
text is cut, unsigned numbers were once ordered as signed, and the nulls within lists are not those
of the column. What one group of rows does not say is not known of any.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import narwhals as nw

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.rules import All, Bound, NotMissing, Required, RuleTest
from dagster_contracts.engine.compiler import (
    BrokenColumnError,
    Columns,
    UncompilableError,
    compile_test,
)
from dagster_contracts.engine.file_list import FileList
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.measurement import Measurement
from dagster_contracts.engine.scan import Scan

if TYPE_CHECKING:
    import polars as pl

_Provable: TypeAlias = Bound | Required | NotMissing

_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


@dataclass(frozen=True, slots=True)
class Proofs:
    """What is known without reading a row.

    ``rules`` are the names of those that no row breaks; ``missing`` counts the missing values of
    columns; ``columns`` are those that have to be read for the rest, all where ``None``.
    """

    rules: frozenset[str] = frozenset()
    missing: Mapping[str, int] = field(default_factory=dict)
    columns: frozenset[str] | None = None

    def left(self, rules: Sequence[PlannedRule]) -> Sequence[PlannedRule]:
        """The rules that are to be measured."""
        return [rule for rule in rules if rule.name not in self.rules] if self.rules else rules

    def added(self, measurement: Measurement) -> Measurement:
        """The measurement of what was left, with what had been known."""
        proven = {name: Finding(tested=measurement.rows, failed=0) for name in self.rules}
        return replace(
            measurement,
            findings={**measurement.findings, **proven},
            missing={**measurement.missing, **self.missing},
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """``missing`` counts the missing values of columns; ``extremes`` has two rows.

    These are the smallest and the largest values of the columns for which they are known, as the
    scan would give them; null where there is no value.
    """

    missing: Mapping[str, int]
    extremes: pl.DataFrame

    def prove(self, rules: Iterable[PlannedRule], columns: Columns) -> Proofs:
        """The rules that hold in every row, of these; those with a filter are not tried."""
        proven: set[str] = set()
        flags: list[tuple[str, nw.Expr]] = []
        for rule in rules:
            parts = self._parts(rule.test) if rule.filter is None else []
            if not parts:
                continue
            try:
                # All parts are compiled: a rule that cannot be measured is not proven either.
                compiled = [(part, compile_test(part, columns)) for part in parts]
            except (BrokenColumnError, UncompilableError):
                continue
            proven.add(rule.name)
            flags += [(rule.name, flag) for part, flag in compiled if isinstance(part, Bound)]
        if flags:
            frame = nw.from_native(self.extremes, eager_only=True)
            asked = [flag.any().alias(str(n)) for n, (_, flag) in enumerate(flags)]
            broken = frame.select(*asked).row(0)
            proven -= {name for (name, _), found in zip(flags, broken, strict=True) if found}
        return Proofs(frozenset(proven), self.missing)

    def _parts(self, test: RuleTest) -> list[_Provable]:
        """The tests that a rule consists of; none where one of them cannot be proven here."""
        parts: list[_Provable] = []
        for part in test.parts if isinstance(test, All) else [test]:
            match part:
                case Bound((name,)) if name in self.extremes.columns:
                    parts.append(part)
                case Required((name,)) | NotMissing((name,), ()) if self.missing.get(name) == 0:
                    parts.append(part)
                case _:
                    return []
        return parts


def read_statistics(files: FileList, scan: Scan) -> Statistics | None:
    """The statistics of all files together, for columns of this scan; ``None`` without a footer."""
    import polars as pl  # late: importing the package must stay cheap
    import pyarrow as pa
    import pyarrow.parquet as pq

    folders = {name for path in files.paths for name in files.folders(path)}
    known = {
        name: _Column(dtype)
        for name, dtype in scan.schema.items()
        # A float may be NaN, which is missing and no null.
        if not (dtype.is_float() or name in folders or name in scan.strange)
    }
    for path in files.paths:
        try:
            footer = pq.read_metadata(path)
        except (pa.ArrowException, OSError):  # what is wrong is told by who reads the rows
            return None
        flat = _flat_columns(footer)
        for name in list(known):
            if name not in flat or not known[name].add(footer, flat[name]):
                del known[name]
    # One made alone costs no other: a value beyond the type's range is no proof.
    extremes = [made for name, one in known.items() if (made := one.extremes(name)) is not None]
    missing = {name: column.nulls for name, column in known.items()}
    return Statistics(missing, pl.DataFrame(extremes))


def _flat_columns(footer: Any) -> dict[str, int]:
    """The columns that hold plain values, with their place; fields and items have longer paths."""
    leaves = [footer.schema.column(place) for place in range(footer.num_columns)]
    return {
        leaf.name: place
        for place, leaf in enumerate(leaves)
        if leaf.path == leaf.name and leaf.max_repetition_level == 0
    }


@dataclass(slots=True)
class _Column:
    """What has been read of one column; ``ordered``: its smallest and largest are known so far."""

    dtype: nw.dtypes.DType
    nulls: int = 0
    ordered: bool = True
    smallest: int | None = None
    largest: int | None = None

    def add(self, footer: Any, place: int) -> bool:
        """Add the groups of a file; ``False`` where one does not count its nulls."""
        self.ordered = self.ordered and _is_ordered(footer.schema.column(place), self.dtype)
        for number in range(footer.num_row_groups):
            group = footer.row_group(number).column(place)
            found = group.statistics
            if found is None or not found.has_null_count:
                return False
            self.nulls += found.null_count
            if found.null_count == group.num_values:
                continue
            self.ordered = self.ordered and found.has_min_max
            if self.ordered:
                low, high = found.min_raw, found.max_raw
                self.smallest = low if self.smallest is None else min(self.smallest, low)
                self.largest = high if self.largest is None else max(self.largest, high)
        return True

    def extremes(self, name: str) -> pl.Series | None:
        """The smallest and the largest value; ``None`` where they are not known."""
        import polars as pl  # late: importing the package must stay cheap

        if not self.ordered:
            return None
        # Days and moments are counted from 1970, as Polars keeps them too.
        counted = pl.Series(name, [self.smallest, self.largest], dtype=pl.Int64)
        dtype: pl.DataType | type[pl.DataType]
        try:
            if isinstance(self.dtype, nw.Datetime):
                dtype = pl.Datetime(self.dtype.time_unit, self.dtype.time_zone)  # type: ignore[arg-type]
            elif self.dtype == nw.Date:
                counted, dtype = counted.cast(pl.Int32), pl.Date
            else:
                dtype = getattr(pl, str(self.dtype))
            return counted.cast(dtype)
        except pl.exceptions.PolarsError:
            return None


def _is_ordered(leaf: Any, dtype: nw.dtypes.DType) -> bool:
    """Whether the smallest and largest of this column are exact, and in the scan's own unit."""
    if leaf.physical_type not in ("INT32", "INT64"):
        return False
    logical = json.loads(leaf.logical_type.to_json())
    kind = logical["Type"]
    if dtype == nw.Date:
        return bool(kind == "Date")
    if isinstance(dtype, nw.Datetime):
        return kind == "Timestamp" and _UNITS.get(logical["timeUnit"]) == dtype.time_unit
    signed = kind == "None" or (kind == "Int" and logical["isSigned"])
    return signed and dtype in (nw.Int8, nw.Int16, nw.Int32, nw.Int64)
