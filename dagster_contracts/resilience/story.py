"""A line in a circuit's history for what happened around it, while its state stays as it is."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, Note, NoteKind, Step
from dagster_contracts.resilience.circuit_rows import lock_circuit
from dagster_contracts.resilience.event_rows import write_step


def tell(
    conn: sa.Connection,
    key: CircuitKey,
    kind: NoteKind,
    said: str,
    *,
    now: datetime,
    evaluation_id: str | None = None,
    actor: str | None = None,
    run_id: str | None = None,
) -> None:
    """Append ``said`` to the history of the circuit, in the transaction of what it tells of."""
    stored = lock_circuit(conn, key, lambda _: now)
    note = Note(
        kind=kind,
        key=key,
        generation=stored.circuit.generation,
        at=now,
        explanation=said,
        evaluation_id=evaluation_id,
        actor=actor,
    )
    steps = [(kind.value, Step(stored.circuit, notes=(note,)))]
    write_step(conn, stored, steps, wake_at=stored.wake_at, now=now, run_id=run_id)
