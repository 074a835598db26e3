"""The one alert of a released batch that is not published: raised, and taken back when settled."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dagster_contracts.store.outbox import Outbox

if TYPE_CHECKING:
    from dagster_contracts.resilience.quarantine import QuarantinedBatch

BATCH_UNPUBLISHED = "circuit.batch_unpublished"
BATCH_SETTLED = "circuit.batch_settled"


def alert_unpublished(
    conn: sa.Connection,
    outbox: Outbox,
    batch: QuarantinedBatch,
    because: str,
    *,
    tries_left: int | None,
    now: datetime,
) -> None:
    """Append, once for each reason of a try, why the batch is not the primary yet.

    ``tries_left`` is 0 where it is held again, and ``None`` where no run could be tried so far.
    """
    decided = batch.decided_at.isoformat() if batch.decided_at else ""
    reason = hashlib.sha256(because.encode()).hexdigest()[:16]
    key = f"batch:{batch.id}:{decided}:{batch.publish_attempts}:{tries_left}:{reason}"
    payload = _place(batch) | {
        "explanation": because,
        "tries_left": tries_left,
        "actor": batch.decided_by,
        "reason": batch.decision_reason,
    }
    outbox.append(conn, BATCH_UNPUBLISHED, payload, dedupe_key=key, now=now)


def alert_settled(
    conn: sa.Connection, outbox: Outbox, batch: QuarantinedBatch, became: str, *, now: datetime
) -> None:
    """Append that nobody waits for the batch any more, because it ``became`` something else."""
    if batch.decided_at is None:
        return  # Nobody ever said that it be published.
    payload = _place(batch) | {"became": became}
    outbox.append(conn, BATCH_SETTLED, payload, dedupe_key=f"batch:{batch.id}:settled", now=now)


def _place(batch: QuarantinedBatch) -> dict[str, str | int | None]:
    return {
        "contract": batch.contract,
        "version": batch.contract_version,
        "asset": batch.asset,
        "partition": batch.partition,
        "batch": batch.id,
    }
