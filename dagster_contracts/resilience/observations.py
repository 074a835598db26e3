"""Evaluations as rows: each counts once, with its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction

import sqlalchemy as sa

from dagster_contracts.core.circuit import CLOCK_SKEW, CircuitKey
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import metric_points, observations

_POINTS = sa.insert(metric_points)


def record_report(
    conn: sa.Connection,
    key: CircuitKey,
    report: ContractReport,
    metrics: Mapping[str, Fraction | None],
    *,
    run_id: str | None,
    backfill: bool,
    now: datetime,
) -> bool:
    """Write one evaluation down; False where its id was there already."""
    return _record(
        conn,
        {
            "evaluation_id": report.evaluation_id,
            "contract": key.contract,
            "contract_version": report.version,
            "asset": key.asset,
            "partition": report.partition or key.partition or "",
            "run_id": run_id,
            "observed_at": now,
            "evaluated_at": report.evaluated_at,
            "event_time": report.event_time,
            "status": report.status.value,
            "rows": report.rows,
            "backfill": backfill,
            "unknown_because": dict(report.unknown_because),
        },
        metrics,
    )


def record_failure(
    conn: sa.Connection,
    key: CircuitKey,
    contract: Contract,
    *,
    evaluation_id: str,
    what: str,
    count: Fraction,
    explanation: str,
    partition: str | None,
    run_id: str | None,
    late: bool,
    now: datetime,
) -> bool:
    """Write a failure down, the ``count``-th in a row; False where it was there already.

    ``late``: of a backfill, or of an older partition.
    """
    return _record(
        conn,
        {
            "evaluation_id": evaluation_id,
            "contract": key.contract,
            "contract_version": contract.version,
            "asset": key.asset,
            "partition": partition or key.partition or "",
            "run_id": run_id,
            "observed_at": now,
            "evaluated_at": now,
            "event_time": None,
            "status": OutcomeStatus.NOT_EVALUATED.value,
            "rows": None,
            "backfill": late,
            "unknown_because": {"": explanation} if explanation else {},
        },
        {what: count},
    )


def newer_report(
    conn: sa.Connection, report: ContractReport, key: CircuitKey, metric: str
) -> datetime | None:
    """When a newer result of ``metric`` was made that somebody else reported and that counted.

    ``None`` where there is none. Only those of one check are compared: whoever reports another one
    may have another clock.
    """
    points = metric_points.c
    newest: datetime | None = conn.scalar(
        sa.select(observations.c.evaluated_at)
        .join(metric_points, points.evaluation_id == observations.c.evaluation_id)
        .where(
            points.contract == key.contract,
            points.asset == key.asset,
            points.metric == metric,
            # What is newer arrived later, as far as clocks agree: a piece of the index is read.
            points.at > report.evaluated_at - CLOCK_SKEW,
            points.partition == (report.partition or key.partition or ""),
            observations.c.rows.is_(None),
            observations.c.evaluated_at > report.evaluated_at,
        )
        .order_by(observations.c.evaluated_at.desc())
        .limit(1)
    )
    return newest


def forget_observations(conn: sa.Connection, older_than: datetime) -> int:
    """Forget evaluations and their metrics that are older; how many."""
    conn.execute(sa.delete(metric_points).where(metric_points.c.at < older_than))
    gone = conn.execute(sa.delete(observations).where(observations.c.observed_at < older_than))
    return gone.rowcount


def _record(
    conn: sa.Connection, row: dict[str, object], metrics: Mapping[str, Fraction | None]
) -> bool:
    exact = {name: None if value is None else str(value) for name, value in metrics.items()}
    if not insert_once(conn, observations, {**row, "metrics": exact}):
        return False
    points = [
        {
            "evaluation_id": row["evaluation_id"],
            "metric": name,
            "contract": row["contract"],
            "asset": row["asset"],
            "partition": row["partition"],
            "at": row["observed_at"],
            "value": float(value),
            "backfill": row["backfill"],
        }
        for name, value in metrics.items()
        if value is not None
    ]
    if points:
        conn.execute(_POINTS, points)
    return True
