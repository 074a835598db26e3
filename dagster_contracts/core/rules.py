"""The tests that rules make: a closed set of values, each saying what must hold.

``engine/`` turns them into expressions over the data; nothing here knows how they are measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from dagster_contracts.core.contract import (
    Json,
    LibraryMetric,
    LogicalType,
    Scalar,
    SlaProperty,
)

Path: TypeAlias = tuple[str, ...]
"""A column, or a column and the fields that lead to a nested value.

:data:`ITEMS` and :data:`VALUES` stand for every item of an array and every value of a map.
"""

ITEMS = "[]"
VALUES = "{}"


def path_text(path: Path) -> str:
    """A path as people write it: ``lines[].sku``."""
    return "".join(
        name if place == 0 or name in (ITEMS, VALUES) else f".{name}"
        for place, name in enumerate(path)
    )


def is_of_items(path: Path) -> bool:
    """Whether the path leads into an array or a map."""
    return ITEMS in path or VALUES in path


def split_at_items(path: Path) -> tuple[Path, Path]:
    """The path to the first array or map, and what follows, the marker first."""
    at = next(place for place, name in enumerate(path) if name in (ITEMS, VALUES))
    return path[:at], path[at:]


class BoundOperator(StrEnum):
    """How a value must stand to its limit."""

    AT_LEAST = ">="
    MORE_THAN = ">"
    AT_MOST = "<="
    LESS_THAN = "<"


@dataclass(frozen=True, slots=True)
class Presence:
    """The column exists."""

    path: Path


@dataclass(frozen=True, slots=True)
class TypeMatch:
    """The column has the declared type, as the data's own schema gives it."""

    path: Path
    logical_type: LogicalType
    timezone: bool | None = None


@dataclass(frozen=True, slots=True)
class NoExtraColumns:
    """No column but these exists."""

    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ColumnOrder:
    """These columns stand in this order; others may stand between."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Required:
    """The value is neither null nor NaN."""

    path: Path


@dataclass(frozen=True, slots=True)
class Enumerated:
    """The value is one of these."""

    path: Path
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """The value keeps its distance to a limit."""

    path: Path
    operator: BoundOperator
    limit: Scalar
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Length:
    """The text has between these many characters (or the list these many items)."""

    path: Path
    minimum: int | None = None
    maximum: int | None = None
    items: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """The pattern is found in the text: searched, not anchored."""

    path: Path
    pattern: str


@dataclass(frozen=True, slots=True)
class Format:
    """The text has a named format such as ``email``."""

    path: Path
    format: str


@dataclass(frozen=True, slots=True)
class MultipleOf:
    """The value is a whole multiple."""

    path: Path
    divisor: Decimal


@dataclass(frozen=True, slots=True)
class UniqueItems:
    """No item of the list repeats."""

    path: Path


@dataclass(frozen=True, slots=True)
class NotMissing:
    """The value is not null, not NaN and none of these stand-ins."""

    path: Path
    values: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; a row that breaks several is counted once."""

    parts: tuple[RowTest, ...]


@dataclass(frozen=True, slots=True)
class RowExpression:
    """A row-level expression such as ``ended_at >= started_at`` is not false."""

    text: str


@dataclass(frozen=True, slots=True)
class Unique:
    """No two rows share the values of these columns; nulls are no duplicates."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """Every key that is not null occurs in another table: ``to`` columns of ``target``."""

    columns: tuple[str, ...]
    target: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One number over the rows: ``mean``, ``sum``, ... of a column, or the row count."""

    metric: LibraryMetric
    column: str | None = None
    quantile: Fraction | None = None


@dataclass(frozen=True, slots=True)
class SqlQuery:
    """The number that a query of the contract returns."""

    query: str
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Custom:
    """Code of the team's own: a Python function, a pandera schema or check."""

    engine: str
    implementation: Json
    column: str | None = None

    def __hash__(self) -> int:
        # The implementation may be a mapping, which has no hash.
        return hash((self.engine, self.column))


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """A service level's condition holds over the metrics of the report."""

    sla: SlaProperty


@dataclass(frozen=True, slots=True)
class Unmeasurable:
    """A rule that nothing here can measure; ``reason`` says why."""

    reason: str


RowTest: TypeAlias = (
    Required
    | Enumerated
    | Bound
    | Length
    | Pattern
    | Format
    | MultipleOf
    | UniqueItems
    | NotMissing
    | All
    | RowExpression
)
RuleTest: TypeAlias = (
    Presence
    | TypeMatch
    | NoExtraColumns
    | ColumnOrder
    | RowTest
    | Unique
    | Exists
    | Aggregate
    | SqlQuery
    | Custom
    | ServiceLevel
    | Unmeasurable
)


def columns_of(test: RuleTest) -> tuple[str, ...]:
    """Top-level columns that a test names itself; row expressions name theirs in their text."""
    match test:
        case (
            Presence(path)
            | TypeMatch(path)
            | Required(path)
            | Enumerated(path)
            | Bound(path)
            | Length(path)
            | Pattern(path)
            | Format(path)
            | MultipleOf(path)
            | UniqueItems(path)
            | NotMissing(path)
        ):
            return (path[0],)
        case All(parts):
            return tuple(dict.fromkeys(name for part in parts for name in columns_of(part)))
        case Unique(columns) | Exists(columns):
            return columns
        case Aggregate(column=str(name)) | SqlQuery(column=str(name)) | Custom(column=str(name)):
            return (name,)
        case _:
            return ()
