"""The freshness that a contract promises, and whether it is about to be broken."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

from dagster_contracts.core.anomaly import BreachForecast, forecast_breach
from dagster_contracts.core.condition import (
    ComparisonOperator,
    demands_of,
)
from dagster_contracts.core.contract import Contract
from dagster_contracts.monitoring.history import Evaluation, MetricHistory

_UPPER = (ComparisonOperator.LT, ComparisonOperator.LE)


def freshness_limit(contract: Contract) -> timedelta | None:
    """The age that the newest data may reach by the contract's SLA; ``None`` where it has none."""
    limits = [
        comparison.quantity.value
        for level in contract.sla
        if level.condition is not None
        for comparison in demands_of(level.condition)
        if comparison.metric in ("data_freshness", "materialization_age")
        and comparison.operator in _UPPER
    ]
    return timedelta(seconds=float(min(limits))) if limits else None


def forecast_freshness(
    history: MetricHistory,
    contract: Contract,
    asset: str,
    latest: Evaluation | None,
    *,
    now: datetime,
) -> BreachForecast | None:
    """Whether the freshness SLA is about to be broken; ``None`` without an SLA or a history."""
    limit = freshness_limit(contract)
    if limit is None:
        return None
    arrivals = history.arrivals(contract.name, asset)
    if not arrivals:
        return None
    newest = latest.event_time if latest is not None and contract.event_time else None
    return forecast_breach(arrivals, limit=limit, now=now, newest=newest)


def freshness(latest: Evaluation | None, contract: Contract, *, now: datetime) -> Fraction | None:
    """The age of the newest data in seconds; ``None`` before the first evaluation."""
    if latest is None:
        return None
    since = latest.event_time if contract.event_time and latest.event_time else latest.observed_at
    return Fraction(max(0, (now - since) // timedelta(microseconds=1)), 1_000_000)
