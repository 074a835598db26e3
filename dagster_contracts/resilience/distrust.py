"""Which kept batches may be served while an operator forces a circuit open.

Whoever forces a circuit open distrusts what consumers read at that moment, and what comes after it,
though it passes every check. So neither is served while the override stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, NoteKind, Override
from dagster_contracts.core.metrics import REFUSED
from dagster_contracts.resilience.circuit_rows import of_key, read_circuit
from dagster_contracts.resilience.snapshots import Snapshot
from dagster_contracts.resilience.whole_asset import seen_circuit
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import circuit_events, observations, snapshots


def trusted_snapshots(
    store: Store,
    kept: Sequence[Snapshot],
    key_of: Callable[[str | None], CircuitKey],
    *,
    audited: bool,
) -> tuple[Snapshot, ...]:
    """Those of ``kept``, newest first, that may be served now; all, where nothing is forced open.

    ``key_of`` is the circuit of a partition. ``audited``: a refused batch never became the primary.
    """
    with store.read() as conn:
        now = store.now(conn)
        return tuple(
            snapshot
            for snapshot in kept
            if _is_trusted(conn, snapshot, key_of(snapshot.partition), now, audited=audited)
        )


def _is_trusted(
    conn: sa.Connection, snapshot: Snapshot, key: CircuitKey, now: datetime, *, audited: bool
) -> bool:
    seen = seen_circuit(conn, key, lambda _: now)
    if seen.override is not Override.FORCED_OPEN:
        return True
    stored = read_circuit(conn, key)
    if stored is not None and stored.circuit == seen:
        forced = _forced_open(conn, key)
    else:
        # No event of this partition has met the whole asset's override: all came before it.
        forced = 1 + (stored.version if stored is not None else 0)
    # Versions of the circuit order its events; clocks do not.
    judged = conn.scalar(
        sa.select(sa.func.min(circuit_events.c.version)).where(
            of_key(circuit_events, key), circuit_events.c.evaluation_id == snapshot.evaluation_id
        )
    )
    if forced is None or (judged or 0) > forced:
        return False
    return snapshot.sha256 != _primary_then(conn, snapshot, key, forced, audited=audited)


def _forced_open(conn: sa.Connection, key: CircuitKey) -> int | None:
    """When the override that stands began; saying it again, for longer, does not begin anew."""
    rows = conn.execute(
        sa.select(circuit_events.c.version, circuit_events.c.changes)
        .where(of_key(circuit_events, key), circuit_events.c.kind == "override_set")
        .order_by(circuit_events.c.version.desc())
    )
    for row in rows:
        if row.changes.get("set", {}).get("override") == Override.FORCED_OPEN.value:
            return int(row.version)
    return None


def _primary_then(
    conn: sa.Connection, snapshot: Snapshot, key: CircuitKey, forced: int, *, audited: bool
) -> str | None:
    """The content that the primary had then, if it was kept; the newest where nobody knows."""
    evaluations = conn.execute(
        sa.select(circuit_events.c.kind, observations.c.metrics, snapshots.c.sha256)
        .join(circuit_events, circuit_events.c.evaluation_id == observations.c.evaluation_id)
        .outerjoin(snapshots, snapshots.c.evaluation_id == observations.c.evaluation_id)
        .where(
            of_key(circuit_events, key),
            circuit_events.c.version < forced,
            observations.c.partition == (snapshot.partition or ""),
            # Failures, and checks of others, saw no batch.
            observations.c.rows.is_not(None),
        )
        .order_by(circuit_events.c.version.desc())
    )
    for row in evaluations:
        released = row.kind == NoteKind.BATCH_PUBLISHED.value
        if released or not (audited and row.metrics.get(REFUSED) == "1"):
            return None if row.sha256 is None else str(row.sha256)
    return snapshot.sha256
