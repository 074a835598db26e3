"""What will be measured: the checks of a contract and the rules that each one shows.

A plan is a pure function of the contract, so that Dagster can be given the specs of the checks when
definitions load, and the engine measures the very same rules when data arrives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    Json,
    LibraryMetric,
    LogicalType,
    QualityRule,
    RuleKind,
    Scalar,
    SchemaObject,
    SchemaProperty,
    Severity,
    SlaProperty,
    Threshold,
    TypeOptions,
)
from dagster_contracts.core.outcome import OutcomeKind

SCHEMA_CHECK = "schema"
"""Name of the check that shows every schema rule."""

# Names that belong to checks of our own; a quality rule of that name gets a suffix.
_RESERVED = frozenset({SCHEMA_CHECK, "circuit"})

Path: TypeAlias = tuple[str, ...]
"""A column, or a column and the fields that lead to a nested value."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRule:
    """One rule, measured on its own and shown within its check.

    ``name`` is unique in the plan (``tailnum.required``). ``threshold`` is ``None`` where a single
    failing row fails the rule. ``filter`` is a row-level expression that picks the rows it is about.
    """

    check: str
    name: str
    kind: OutcomeKind
    test: RuleTest
    description: str
    severity: Severity = Severity.ERROR
    threshold: Threshold | None = None
    warn: Threshold | None = None
    filter: str | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCheck:
    """One Dagster check and the rules that it shows. ``severity`` is its rules' worst."""

    name: str
    kind: OutcomeKind
    description: str
    severity: Severity
    rules: tuple[PlannedRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPlan:
    """All checks of one schema object: ``schema``, one per quality rule, one per service level."""

    contract: str
    version: str
    schema_object: SchemaObject
    checks: tuple[PlannedCheck, ...]

    @property
    def rules(self) -> tuple[PlannedRule, ...]:
        """Every rule, in the order of the checks."""
        return tuple(rule for check in self.checks for rule in check.rules)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the checks."""
        return tuple(check.name for check in self.checks)

    def check(self, name: str) -> PlannedCheck:
        """The check of that name; KeyError where there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)
