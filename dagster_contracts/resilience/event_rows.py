"""What happened to circuits as rows: appended with each change, replayed, summed up, told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    CircuitState,
    Step,
    changes_between,
    circuit_from_json,
    circuit_to_json,
    fold_changes,
)
from dagster_contracts.core.contract import Json
from dagster_contracts.resilience.circuit_rows import (
    StoredCircuit,
    key_columns,
    key_of,
    of_key,
    update_circuit,
)
from dagster_contracts.resilience.history import TRANSITION, HistoryEntry
from dagster_contracts.store.tables import circuit_events

_APPEND = sa.insert(circuit_events)


def write_step(
    conn: sa.Connection,
    before: StoredCircuit,
    steps: Iterable[tuple[str, Step]],
    *,
    wake_at: datetime | None,
    now: datetime,
    run_id: str | None = None,
    evaluation_id: str | None = None,
    said: str = "",
) -> StoredCircuit:
    """Append what the steps did and update the row, guarded by its version.

    Each step comes with the kind of a line for it where it has neither transitions nor notes;
    ``said`` is what such a line explains. A
    step that changed nothing and says nothing leaves no line.
    """
    circuit, version = before.circuit, before.version
    key = circuit.key
    for kind, step in steps:
        lines = _lines(circuit, step)
        changes = changes_between(circuit, step.circuit)
        if changes and not lines:
            lines = [{"kind": kind, "explanation": said}]
        for index, line in enumerate(lines):
            version += 1
            values = {
                **key_columns(key),
                "version": version,
                "generation": step.circuit.generation,
                "before": step.circuit.state.value,
                "after": step.circuit.state.value,
                "at": now,
                "evaluation_id": evaluation_id,
                "run_id": run_id,
                # The last line of a step carries all that it changed.
                "changes": changes if index == len(lines) - 1 else {},
                "cause": None,
                "actor": None,
            }
            conn.execute(_APPEND, {**values, **line})
        circuit = step.circuit
    if version == before.version and wake_at == before.wake_at:
        return before
    return update_circuit(conn, before, circuit, version=version, wake_at=wake_at, now=now)


def replay_events(conn: sa.Connection, key: CircuitKey) -> StoredCircuit | None:
    """The circuit rebuilt from its events alone; ``None`` where it has none."""
    rows = conn.execute(
        sa.select(circuit_events.c.version, circuit_events.c.changes)
        .where(of_key(circuit_events, key))
        .order_by(circuit_events.c.version)
    ).all()
    if not rows:
        return None
    body = circuit_to_json(Circuit(key=key))
    for row in rows:
        fold_changes(body, row.changes)
    return StoredCircuit(circuit=circuit_from_json(body), version=rows[-1].version)


def forget_events(conn: sa.Connection, older_than: datetime) -> int:
    """Forget old events; the newest old one of each circuit stays and sums up those before it.

    So replaying what is left still rebuilds the row.
    """
    old = circuit_events.c.at < older_than
    keys = conn.execute(
        sa.select(circuit_events.c.contract, circuit_events.c.asset, circuit_events.c.partition)
        .where(old)
        .group_by(circuit_events.c.contract, circuit_events.c.asset, circuit_events.c.partition)
        .having(sa.func.count() > 1)
    ).all()
    forgotten = 0
    for key in map(key_of, keys):
        mine = of_key(circuit_events, key)
        rows = conn.execute(
            sa.select(
                circuit_events.c.id,
                circuit_events.c.version,
                circuit_events.c.at,
                circuit_events.c.changes,
            )
            .where(mine)
            .order_by(circuit_events.c.version)
            .with_for_update()
        ).all()
        # Clocks do not order events; versions do. Only an unbroken beginning may be summed up.
        beginning = []
        for row in rows:
            if row.at >= older_than:
                break
            beginning.append(row)
        if len(beginning) < 2:
            continue
        body: dict[str, Json] = {}
        for row in beginning:
            fold_changes(body, row.changes)
        last = beginning[-1]
        # Before it there is nothing left that could be unset.
        conn.execute(
            sa.update(circuit_events)
            .where(circuit_events.c.id == last.id)
            .values(changes={"set": body})
        )
        conn.execute(sa.delete(circuit_events).where(mine, circuit_events.c.version < last.version))
        forgotten += len(beginning) - 1
    return forgotten


def read_history(
    conn: sa.Connection, key: CircuitKey | None, limit: int, *, transitions_only: bool
) -> list[HistoryEntry]:
    """Lines of the history, newest first; without ``key`` those of all circuits."""
    query = sa.select(circuit_events).limit(limit)
    if key is None:
        query = query.order_by(circuit_events.c.id.desc())
    else:
        query = query.where(of_key(circuit_events, key)).order_by(circuit_events.c.version.desc())
    if transitions_only:
        query = query.where(circuit_events.c.before != circuit_events.c.after)
    return [_entry(row) for row in conn.execute(query)]


def touched_circuits(conn: sa.Connection, since: datetime) -> dict[CircuitKey, bool]:
    """The circuits that anything happened to since a moment, and whether their state changed."""
    events = circuit_events.c
    moved = sa.func.max(sa.case((events.before != events.after, 1), else_=0)).label("moved")
    query = (
        sa.select(events.contract, events.asset, events.partition, moved)
        .where(events.at >= since)
        .group_by(events.contract, events.asset, events.partition)
    )
    return {key_of(row): bool(row.moved) for row in conn.execute(query)}


def _lines(before: Circuit, step: Step) -> list[dict[str, Any]]:
    """Transitions and notes in the order in which they happened."""
    states = {before.generation: before.state}
    lines: list[tuple[int, int, dict[str, Any]]] = []
    for transition in step.transitions:
        states[transition.generation] = transition.after
        line = {
            "kind": TRANSITION,
            "generation": transition.generation,
            "before": transition.before.value,
            "after": transition.after.value,
            "cause": transition.cause.value,
            "explanation": transition.explanation,
            "evaluation_id": transition.evaluation_id,
            "actor": transition.actor,
        }
        lines.append((transition.generation, 0, line))
    for note in step.notes:
        state = states[note.generation].value
        line = {
            "kind": note.kind.value,
            "generation": note.generation,
            "before": state,
            "after": state,
            "explanation": note.explanation,
            "evaluation_id": note.evaluation_id,
            "actor": note.actor,
        }
        # What is noted of a generation was noted after the transition that began it.
        lines.append((note.generation, 1, line))
    return [line for _, _, line in sorted(lines, key=lambda entry: entry[:2])]


def _entry(row: sa.Row[Any]) -> HistoryEntry:
    probe = row.changes.get("set", {}).get("next_probe_at")
    return HistoryEntry(
        key=key_of(row),
        version=row.version,
        generation=row.generation,
        kind=row.kind,
        before=CircuitState(row.before),
        after=CircuitState(row.after),
        at=row.at,
        explanation=row.explanation,
        cause=row.cause,
        evaluation_id=row.evaluation_id,
        run_id=row.run_id,
        actor=row.actor,
        next_probe_at=datetime.fromisoformat(probe) if probe else None,
    )
