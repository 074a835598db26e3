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
from dagster_contracts.core.contract import Contract, LogicalType, SchemaObject, SlaProperty
from dagster_contracts.core.level_element import NO_MOMENT
from dagster_contracts.core.metrics import RETENTION, THROUGHPUT, needs_asset_history
from dagster_contracts.core.outcome import CheckOutcome, OutcomeKind
from dagster_contracts.core.rules import (
    Aggregate,
    Custom,
    Exists,
    NoExtraColumns,
    SqlQuery,
    Unique,
)
from dagster_contracts.core.service_levels import life_metrics, seconds, wanted_metrics
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.measurement import Measurement
from dagster_contracts.engine.samples import hidden_columns

_AHEAD = timedelta(minutes=5)
"""How far clocks may differ: what happens later than that after now lies in the future."""

_DAY_AHEAD = timedelta(days=1)
"""The same for days without a time: somewhere tomorrow has begun."""

_ELSEWHERE = (
    "it is told by the history of the asset, which Dagster records and "
    "'dagster-contracts status' shows"
)


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
    """What the data itself does not say: the time, and what came before.

    ``measured`` are metrics of the asset's history, ``unmeasured`` why others are not known.
    """

    now: datetime
    arrived_at: datetime | None = None
    last_materialized_at: datetime | None = None
    previous_materialized_at: datetime | None = None
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    measured: Mapping[str, Fraction] = field(default_factory=dict)
    unmeasured: Mapping[str, str] = field(default_factory=dict)

    @property
    def arrival(self) -> datetime | None:
        """When the data was there."""
        return self.arrived_at or self.last_materialized_at


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The oldest and the newest moment of a column, or why there are none."""

    oldest: datetime | None = None
    newest: datetime | None = None
    unknown: str | None = None


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
            # What the contract itself calls its event time is taken at its word.
            of_moments = name == contract.event_time or (
                prop is not None and prop.logical_type not in NO_MOMENT
            )
            if prop is not None and of_moments:
                return prop.column
    stamps = [p for p in target.properties if p.logical_type is LogicalType.TIMESTAMP]
    return stamps[0].column if len(stamps) == 1 else None


def time_columns(contract: Contract, target: SchemaObject) -> tuple[str, ...]:
    """The columns whose age is asked for: the event time, and what service levels name."""
    names = [event_time_column(contract, target)]
    names += [level_column(level, target) for level in contract.sla]
    return tuple(dict.fromkeys(name for name in names if name is not None))


def level_column(level: SlaProperty, target: SchemaObject) -> str | None:
    """The column of an object that a service level about ages speaks of; ``None`` for none."""
    if level.property not in ("freshness", "latency", "retention"):
        return None
    paths = level.elements or ((level.element,) if level.element else ())
    for path in paths:
        owner, _, name = path.rpartition(".")
        if owner and owner not in (target.name, target.physical_name):
            continue
        prop = target.property_named(name)
        if prop is not None:
            return prop.column
    return None


def time_span(
    span: tuple[Any, Any] | None, target: SchemaObject, column: str, now: datetime
) -> TimeSpan:
    """A column's moments; unknown where the newest lies in the future.

    An event that has not happened is a mistake in the data, and it would hide for as long as it is
    ahead that nothing new arrives. Clocks may differ by five minutes, and a day without a time may
    be tomorrow's.
    """
    oldest, newest = (instant(value, target, column) for value in span or (None, None))
    if newest is None or oldest is None:
        return TimeSpan(unknown="the data has no event time to tell its age by")
    assert span is not None
    tolerance = _AHEAD if isinstance(span[1], datetime) else _DAY_AHEAD
    if newest - now > tolerance:
        shown = "" if column in hidden_columns(target) else f" ({newest:%Y-%m-%d %H:%M:%S} UTC)"
        reason = f"the newest {column}{shown} lies in the future"
        return TimeSpan(oldest=oldest, unknown=reason)
    return TimeSpan(oldest, newest)


def instant(value: Any, target: SchemaObject, column: str) -> datetime | None:
    """A time as a moment; a naive one is in the property's zone, else in UTC."""
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
    event_time: TimeSpan | None,
    contract: Contract,
    circumstances: Circumstances,
) -> Metrics:
    """Every metric that this evaluation yields; ``event_time`` is none without such a column."""
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
    _ages(metrics, event_time, circumstances)
    _of_service(metrics, contract, rows, circumstances)
    return metrics


def level_metrics(
    level: SlaProperty,
    target: SchemaObject,
    metrics: Metrics,
    spans: Mapping[str, TimeSpan],
    circumstances: Circumstances,
) -> Metrics:
    """The metrics as a service level sees them that speaks of a column of its own."""
    column = level_column(level, target)
    if column is not None and column in spans:
        own = Metrics(dict(metrics.values), dict(metrics.reasons))
        if level.property == "retention":
            _retention(own, spans[column], circumstances)
        else:
            _freshness_and_latency(own, spans[column], circumstances)
        return own
    if level.property == "completeness" and level.element:
        prop = target.property_named(level.element)
        name = f"null_ratio.{prop.column if prop is not None else level.element}"
        own = Metrics(dict(metrics.values), dict(metrics.reasons))
        missing = metrics.values.get(name)
        if missing is not None:
            own.know("completeness", 1 - missing)
        elif prop is not None:
            # A declared column that is not there has no value in any row.
            own.know("completeness", 0)
        else:
            own.miss("completeness", f"there is no column {level.element}")
        return own
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

    Those are the required ones and the key, or all where the contract requires none. A declared
    column that the data lacks altogether counts as empty, required or not: what nobody delivers is
    not complete.
    """
    key = target.primary_key
    demanded = [p.column for p in target.properties if p.required or p.column in key]
    if not demanded:
        demanded = [p.column for p in target.properties]
    demanded += [
        p.column
        for p in target.properties
        if p.column not in measurement.missing and p.column not in demanded
    ]
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


def _ages(metrics: Metrics, event_time: TimeSpan | None, circumstances: Circumstances) -> None:
    now, arrival = circumstances.now, circumstances.arrival
    if arrival is not None:
        metrics.know("materialization_age", seconds(max(now - arrival, timedelta(0))))
        metrics.know("evaluation_delay", seconds(max(now - arrival, timedelta(0))))
    else:
        reason = "when the data was materialized is not known here; Dagster knows it"
        metrics.miss("materialization_age", reason)
    if event_time is not None:
        _freshness_and_latency(metrics, event_time, circumstances)
        _retention(metrics, event_time, circumstances)
        return
    if arrival is not None:
        metrics.know(
            "data_freshness", seconds(now - (circumstances.last_materialized_at or arrival))
        )
    else:
        reason = "the contract names no event time, and no materialization is known"
        metrics.miss("data_freshness", reason)
    metrics.miss("data_latency", "there is no event time to count from")
    metrics.miss(RETENTION, "there is no event time to tell the age of the oldest data by")


def _freshness_and_latency(metrics: Metrics, span: TimeSpan, circumstances: Circumstances) -> None:
    if span.newest is None:
        metrics.miss("data_freshness", span.unknown or "not measured")
        metrics.miss("data_latency", span.unknown or "not measured")
        return
    metrics.know("data_freshness", seconds(circumstances.now - span.newest))
    if circumstances.arrival is None:
        metrics.miss("data_latency", "when the data arrived is not known")
    else:
        metrics.know("data_latency", seconds(circumstances.arrival - span.newest))


def _retention(metrics: Metrics, span: TimeSpan, circumstances: Circumstances) -> None:
    """The age of the oldest data, which events of the future do not hide."""
    if span.oldest is None:
        metrics.miss(RETENTION, span.unknown or "not measured")
    else:
        metrics.know(RETENTION, seconds(circumstances.now - span.oldest))


def _of_service(
    metrics: Metrics, contract: Contract, rows: int, circumstances: Circumstances
) -> None:
    """What the clock and the asset's history tell, as far as the contract speaks of it."""
    for name, away in life_metrics(contract, circumstances.now).items():
        metrics.know(name, away)
    wanted = wanted_metrics(contract)
    if THROUGHPUT in wanted:
        _throughput(metrics, rows, circumstances)
    for name in sorted(wanted):
        if name in circumstances.measured:
            metrics.know(name, circumstances.measured[name])
        elif needs_asset_history(name):
            metrics.miss(name, circumstances.unmeasured.get(name, _ELSEWHERE))


def _throughput(metrics: Metrics, rows: int, circumstances: Circumstances) -> None:
    """Rows per second since the materialization before this one."""
    before, arrival = circumstances.previous_materialized_at, circumstances.arrival
    if before is None:
        reason = "no earlier materialization is known to count the time from"
        metrics.miss(THROUGHPUT, circumstances.unmeasured.get(THROUGHPUT, reason))
    elif arrival is None or arrival <= before:
        metrics.miss(THROUGHPUT, "no time has passed since the materialization before this one")
    else:
        metrics.know(THROUGHPUT, rows / seconds(arrival - before))
