"""What a table holds, as far as a contract can speak of it: counts, bounds, shapes and keys.

The engine measures these values; :mod:`dagster_contracts.core.inference` draws conclusions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from dagster_contracts.core.contract import LogicalType


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column, or a field of a nested one.

    ``logical_type`` is ``None`` where no logical type fits; ``physical_type`` is the engine's word
    for the type. ``missing`` counts null and NaN, of a nested field within its parent; ``None``
    where it could not be counted. ``minimum`` and ``maximum`` are finite numbers, or moments;
    lengths count characters. ``values`` are all distinct texts with their counts, where they are
    few. ``pattern`` and ``format`` hold for every value; ``varieties`` is the number of distinct
    values among the first rows, the evidence for them. ``remark`` is for people.
    """

    name: str
    physical_type: str
    logical_type: LogicalType | None = None
    missing: int | None = None
    minimum: int | float | Decimal | None = None
    maximum: int | float | Decimal | None = None
    newest: datetime | None = None
    zoned: bool | None = None
    shortest: int | None = None
    longest: int | None = None
    values: tuple[tuple[str, int], ...] = ()
    pattern: str | None = None
    format: str | None = None
    varieties: int = 0
    fields: tuple[ColumnProfile, ...] = ()
    items: ColumnProfile | None = None
    remark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProfile:
    """A table.

    ``rows`` were looked at, ``all_rows`` exist (``None`` where they were not counted). ``keys`` are
    sets of columns that never repeat and are never missing, the most likely primary key first.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]
    all_rows: int | None = None
    keys: tuple[tuple[str, ...], ...] = ()

    @property
    def is_sample(self) -> bool:
        """Whether only a part of the table was looked at."""
        return self.all_rows is None or self.all_rows > self.rows

    def column(self, name: str) -> ColumnProfile:
        """The column of that name; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
