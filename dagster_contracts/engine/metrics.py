"""The catalogue's metrics, as far as one evaluation of one batch can measure them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from dagster_contracts.core.checks import CheckPlan
from dagster_contracts.core.contract import Contract, LogicalType, SchemaObject
from dagster_contracts.core.outcome import CheckOutcome, OutcomeKind
from dagster_contracts.core.rules import (
    Aggregate,
    Custom,
    Exists,
    NoExtraColumns,
    SqlQuery,
    Unique,
)
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.measurement import Measurement


@dataclass
class Metrics:
    """Values by name, and the reasons of those that are unknown."""

    values: dict[str, Fraction | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def know(self, name: str, value: Fraction | int) -> None:
        """Record a measured value."""
        self.values[name] = Fraction(value)
        self.reasons.pop(name, None)

    def miss(self, name: str, reason: str) -> None:
        """Record that a metric could not be measured, and why."""
        self.values[name] = None
        self.reasons[name] = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the data itself does not say: the time, and what came before."""

    now: datetime
    arrived_at: datetime | None = None
    last_materialized_at: datetime | None = None
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)


def event_time_column(contract: Contract, target: SchemaObject) -> str | None:
    """The column of the event time: named by the contract or an SLA, or the only timestamp."""
    named = [contract.event_time]
    named += [sla.element for sla in contract.sla if sla.property in ("freshness", "latency")]
    for name in named:
        if name is None:
            continue
        # An element may be written as object.property.
        for candidate in (name, name.rpartition(".")[2]):
            prop = target.property_named(candidate)
            if prop is not None:
                return prop.column
    stamps = [p for p in target.properties if p.logical_type is LogicalType.TIMESTAMP]
    return stamps[0].column if len(stamps) == 1 else None


def newest_event(value: Any, target: SchemaObject, column: str) -> datetime | None:
    """The newest event time as an instant; naive ones are in the property's zone, else in UTC."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            return None
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    moment: datetime = value
    if moment.tzinfo is None:
        prop = target.property_named(column)
        zone = prop.options.default_timezone if prop is not None else None
        moment = moment.replace(tzinfo=ZoneInfo(zone) if zone else UTC)
    return moment.astimezone(UTC)


def measured_metrics(
    plan: CheckPlan,
    measurement: Measurement,
    findings: Mapping[str, Finding],
    outcomes: Sequence[CheckOutcome],
    event_time: datetime | None,
    has_event_time: bool,
    circumstances: Circumstances,
) -> Metrics:
    """Every metric that this evaluation yields."""
    metrics = Metrics()
    rows = measurement.rows
    assert rows is not None
    metrics.know("row_count", rows)
    _row_count_change(metrics, rows, circumstances.history.get("row_count", ()))
    for kind, name in (
        (OutcomeKind.SCHEMA, "schema_validation_errors"),
        (OutcomeKind.QUALITY, "quality_errors"),
    ):
        metrics.know(name, _broken_ratio(kind, plan, measurement, findings, rows))
    _missing_values(metrics, plan.schema_object, measurement, rows)
    _duplicates(metrics, plan, findings)
    for outcome in outcomes:
        if outcome.rows_tested is not None and outcome.failed_rows is not None:
            metrics.know(
                f"failed_ratio.{outcome.rule}", ratio(outcome.failed_rows, outcome.rows_tested)
            )
    _ages(metrics, event_time, has_event_time, circumstances)
    return metrics


def ratio(part: int, whole: int) -> Fraction:
    """``part / whole``, and 0 of nothing."""
    return Fraction(part, whole) if whole else Fraction(0)


def _broken_ratio(
    kind: OutcomeKind,
    plan: CheckPlan,
    measurement: Measurement,
    findings: Mapping[str, Finding],
    rows: int,
) -> Fraction:
    """Rows that break at least one rule of the kind, over all rows.

    Each row counts once; those of keys and references, which are found by other queries, are added
    and the sum is capped. A schema that is broken as such breaks every row, even of none.
    """
    broken = measurement.broken_rows.get(kind, 0)
    for rule in plan.rules:
        if rule.kind is not kind:
            continue
        finding = findings[rule.name]
        about_rows = not isinstance(rule.test, Aggregate | SqlQuery | Custom)
        if finding.broken is not None and about_rows:
            return Fraction(1)
        match rule.test:
            case NoExtraColumns() if finding.value and rule.threshold is not None:
                return Fraction(1)
            case Unique() | Exists():
                broken += finding.failed or 0
            case _ if rule.name not in measurement.row_rules:
                broken += finding.failed or 0
            case _:
                continue
    return ratio(min(broken, rows), rows)


def _missing_values(
    metrics: Metrics, target: SchemaObject, measurement: Measurement, rows: int
) -> None:
    """``null_ratio`` of each column, and ``completeness`` over the columns that must be filled.

    Those are the required ones and the key, or all where the contract requires none.
    """
    key = target.primary_key
    demanded = [p.column for p in target.properties if p.required or p.column in key]
    if not demanded:
        demanded = [p.column for p in target.properties]
    filled = Fraction(0)
    for prop in target.properties:
        name = prop.column
        if name in measurement.missing:
            share = ratio(measurement.missing[name], rows)
            metrics.know(f"null_ratio.{name}", share)
        else:
            share = Fraction(1)
            metrics.miss(f"null_ratio.{name}", f"the column {name} is missing or cannot be read")
        if name in demanded:
            filled += 1 - share
    if demanded:
        metrics.know("completeness", filled / len(demanded))
    else:
        metrics.miss("completeness", "the contract declares no columns")


def _duplicates(metrics: Metrics, plan: CheckPlan, findings: Mapping[str, Finding]) -> None:
    """Rows beyond the first of their key, over all rows; the worst where there are several keys."""
    found: list[Fraction] = []
    reasons: list[str] = []
    for rule in plan.rules:
        if not isinstance(rule.test, Unique):
            continue
        finding = findings[rule.name]
        if finding.failed is not None and finding.tested is not None:
            found.append(ratio(finding.failed, finding.tested))
        else:
            reasons.append(finding.broken or finding.unmeasured or "not measured")
    if found:
        metrics.know("duplicates", max(found))
    else:
        reason = reasons[0] if reasons else "the contract declares no key and no unique column"
        metrics.miss("duplicates", reason)


def _row_count_change(metrics: Metrics, rows: int, history: Sequence[float]) -> None:
    if not history:
        metrics.miss("row_count_change", "there is no earlier row count to compare with")
        return
    usual = Fraction(statistics.median(history))
    if usual == 0:
        if rows == 0:
            metrics.know("row_count_change", 0)
        else:
            metrics.miss("row_count_change", "the recent median row count is 0")
        return
    metrics.know("row_count_change", Fraction(rows) / usual - 1)


def _ages(
    metrics: Metrics,
    event_time: datetime | None,
    has_event_time: bool,
    circumstances: Circumstances,
) -> None:
    now = circumstances.now
    if event_time is not None:
        metrics.know("data_freshness", _seconds(now - event_time))
    elif has_event_time:
        metrics.miss("data_freshness", "the data has no event time to tell its age by")
    elif circumstances.last_materialized_at is not None:
        metrics.know("data_freshness", _seconds(now - circumstances.last_materialized_at))
    else:
        reason = "the contract names no event time, and no materialization is known"
        metrics.miss("data_freshness", reason)
    arrival = circumstances.arrived_at or circumstances.last_materialized_at
    if event_time is None:
        metrics.miss("data_latency", "there is no event time to count from")
    elif arrival is None:
        metrics.miss("data_latency", "when the data arrived is not known")
    else:
        metrics.know("data_latency", _seconds(arrival - event_time))


def _seconds(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1), 1_000_000)
