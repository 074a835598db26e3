"""What conditions are asked of: the metrics of a report, of time, and of what the store counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction

import sqlalchemy as sa

from dagster_contracts.core.circuit import Circuit, CircuitKey
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.metrics import FAILED, OF_LIFE, UNAVAILABLE, needs_asset_history
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.core.service_levels import life_metrics
from dagster_contracts.resilience.wake import AGE, FRESHNESS, REPORTS, clock_metrics
from dagster_contracts.resilience.watched import watched_metrics
from dagster_contracts.store.tables import feedback

Remembered = Callable[[Contract, CircuitKey, datetime], Mapping[str, Fraction | None]]
"""What the store remembers of an asset's service, as metrics of a moment."""


def report_metrics(
    conn: sa.Connection, contract: Contract, report: ContractReport
) -> dict[str, Fraction | None]:
    """The report's metrics, and those that a new materialization settles by itself."""
    metrics = dict(report.metrics)
    if report.rows is not None:
        # Data arrived: nothing failed, and nothing has grown old.
        metrics.setdefault(FAILED, Fraction(0))
        metrics.setdefault(UNAVAILABLE, Fraction(0))
        metrics.setdefault(AGE, Fraction(0))
        if contract.event_time is None:
            metrics.setdefault(FRESHNESS, Fraction(0))
    if REPORTS in watched_metrics(contract):
        metrics.setdefault(REPORTS, _open_reports(conn, contract))
    return metrics


def ticking_metrics(
    conn: sa.Connection,
    contract: Contract,
    circuit: Circuit,
    now: datetime,
    *,
    remembered: Remembered | None,
) -> dict[str, Fraction | None]:
    """The metrics that change though nothing is evaluated, as far as the contract asks for them."""
    metrics = clock_metrics(circuit, contract, now)
    watched = watched_metrics(contract)
    if REPORTS in watched:
        metrics[REPORTS] = _open_reports(conn, contract)
    if not OF_LIFE.isdisjoint(watched):
        metrics |= life_metrics(contract, now)
    if remembered is not None and any(map(needs_asset_history, watched)):
        metrics |= remembered(contract, circuit.key, now)
    return metrics


def _open_reports(conn: sa.Connection, contract: Contract) -> Fraction:
    count = conn.scalar(
        sa.select(sa.func.count())
        .select_from(feedback)
        .where(feedback.c.contract == contract.name, feedback.c.resolved_at.is_(None))
    )
    return Fraction(count or 0)
