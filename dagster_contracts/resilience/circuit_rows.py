"""Circuits as rows: read under a lock, changed only with an event beside the change."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    CircuitState,
    Override,
    Step,
    advance,
    changes_between,
    circuit_from_json,
    circuit_to_json,
    fold_changes,
    inherited_from,
    obeys,
)
from dagster_contracts.core.contract import Json
from dagster_contracts.errors import StoreError
from dagster_contracts.resilience.history import TRANSITION, HistoryEntry
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import circuit_events, circuits


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCircuit:
    """A circuit with the version of its row."""

    circuit: Circuit
    version: int
    wake_at: datetime | None = None


def of_key(table: sa.Table, key: CircuitKey) -> sa.ColumnElement[bool]:
    """The rows of one circuit."""
    return sa.and_(
        table.c.contract == key.contract,
        table.c.asset == key.asset,
        table.c.partition == (key.partition or ""),
    )


def of_named(table: sa.Table) -> sa.ColumnElement[bool]:
    """The rows of the circuit that a statement is run with, by :func:`named`.

    Such a statement is built once; to build it anew takes longer than to run it.
    """
    return sa.and_(
        table.c.contract == sa.bindparam("of_contract"),
        table.c.asset == sa.bindparam("of_asset"),
        table.c.partition == sa.bindparam("of_partition"),
    )


def named(key: CircuitKey) -> dict[str, str]:
    """The parameters of :func:`of_named`."""
    return {
        "of_contract": key.contract,
        "of_asset": key.asset,
        "of_partition": key.partition or "",
    }


_ONE = sa.select(circuits).where(of_named(circuits))
_HELD = _ONE.with_for_update()
_APPEND = sa.insert(circuit_events)
_GUARDED = sa.update(circuits).where(
    of_named(circuits), circuits.c.version == sa.bindparam("known_version")
)


def read_circuit(conn: sa.Connection, key: CircuitKey) -> StoredCircuit | None:
    """The circuit as it is; ``None`` where nothing ever happened to it."""
    row = conn.execute(_ONE, named(key)).one_or_none()
    return None if row is None else _stored(row)


Troubled = Callable[[CircuitKey, Exception], None]
"""Is told which circuit something went wrong with, where the others are to go on."""


def read_circuits(
    conn: sa.Connection,
    keys: Iterable[CircuitKey] | None = None,
    *,
    contracts: Iterable[str] | None = None,
    troubled: Troubled | None = None,
) -> list[StoredCircuit]:
    """Every circuit, or those of ``keys`` or of ``contracts`` that exist, ordered by key.

    A row that cannot be read is an error, or with ``troubled`` is told there and left out.
    """
    wanted = None if keys is None else set(keys)
    named_ones = contracts if wanted is None else {key.contract for key in wanted}
    chosen = [] if named_ones is None else [circuits.c.contract.in_(list(named_ones))]
    try:
        found = [_stored(row) for row in conn.execute(sa.select(circuits).where(*chosen))]
    except (ValueError, TypeError, LookupError, AttributeError):
        if troubled is None:
            raise
        found = list(_one_by_one(conn, chosen, wanted, troubled))
    mine = [s for s in found if wanted is None or s.circuit.key in wanted]
    return sorted(mine, key=lambda stored: stored.circuit.key)


def _one_by_one(
    conn: sa.Connection,
    chosen: Iterable[sa.ColumnElement[bool]],
    wanted: Container[CircuitKey] | None,
    troubled: Troubled,
) -> Iterator[StoredCircuit]:
    """The circuits that can be read."""
    names = sa.select(circuits.c.contract, circuits.c.asset, circuits.c.partition).where(*chosen)
    for contract, asset, partition in conn.execute(names).all():
        key = CircuitKey(contract, asset, partition or None)
        if wanted is not None and key not in wanted:
            continue
        try:
            stored = read_circuit(conn, key)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            troubled(key, error)
            continue
        if stored is not None:
            yield stored


def of_asset(key: CircuitKey) -> CircuitKey:
    """The key of the whole asset, whose override the partitions obey."""
    return CircuitKey(key.contract, key.asset)


def read_whole(conn: sa.Connection, key: CircuitKey) -> Circuit | None:
    """The circuit of the whole asset that a partition belongs to, if it has a row."""
    stored = read_circuit(conn, of_asset(key))
    return None if stored is None else stored.circuit


def read_overridden(conn: sa.Connection, contracts: Iterable[str]) -> dict[CircuitKey, Circuit]:
    """The circuits of whole assets that have an override, which partitions may have to obey."""
    query = sa.select(circuits.c.body).where(
        circuits.c.contract.in_(sorted(set(contracts))),
        circuits.c.partition == "",
        circuits.c.override != Override.NONE.value,
    )
    found = (circuit_from_json(row.body) for row in conn.execute(query))
    return {circuit.key: circuit for circuit in found}


def as_obeyed(circuit: Circuit, whole: Circuit | None, now: datetime) -> Circuit:
    """A partition's circuit as it is under the whole asset's override, written down or not yet."""
    said = inherited_from(whole, now)
    if circuit.key.partition is None or obeys(circuit, said, now):
        return circuit
    return advance(circuit, said, policy=None, now=now, random=0.0).circuit


def parts_of(conn: sa.Connection, key: CircuitKey) -> list[CircuitKey]:
    """The circuits of an asset's partitions, in order; a partition has none."""
    if key.partition is not None:
        return []
    named_ones = sa.select(circuits.c.partition).where(
        circuits.c.contract == key.contract,
        circuits.c.asset == key.asset,
        circuits.c.partition != "",
    )
    return sorted(CircuitKey(key.contract, key.asset, part) for part in conn.scalars(named_ones))


def wake_partitions(conn: sa.Connection, key: CircuitKey, now: datetime) -> None:
    """Let the next tick look at every partition of an asset: its override has changed."""
    conn.execute(
        sa.update(circuits)
        .where(
            circuits.c.contract == key.contract,
            circuits.c.asset == key.asset,
            circuits.c.partition != "",
        )
        .values(wake_at=now)
    )


def has_newer(conn: sa.Connection, key: CircuitKey, time: datetime) -> bool:
    """Whether a partition of the asset was evaluated that begins after ``time``.

    One look at an index, however many partitions there are.
    """
    newer = sa.select(sa.literal(1)).where(
        circuits.c.contract == key.contract,
        circuits.c.asset == key.asset,
        circuits.c.partition_time > time,
    )
    return conn.execute(newer.limit(1)).first() is not None


def lock_circuit(conn: sa.Connection, key: CircuitKey, now: datetime) -> StoredCircuit:
    """The circuit, held against every other writer until the transaction ends; new if needed."""
    row = conn.execute(_HELD, named(key)).one_or_none()
    if row is None:
        circuit = Circuit(key=key)
        insert_once(conn, circuits, {**_key_columns(key), **_columns(circuit, 0, None, now)})
        row = conn.execute(_HELD, named(key)).one()
    return _stored(row)


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
                **_key_columns(key),
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
    updated = conn.execute(
        _GUARDED,
        {
            **named(key),
            "known_version": before.version,
            **_columns(circuit, version, wake_at, now),
        },
    )
    if updated.rowcount != 1:
        raise StoreError(
            "a circuit was changed by somebody else in the middle of a transaction",
            where=str(key),
            hint="nothing was written; the database does not honour the lock on the circuit's row",
        )
    return StoredCircuit(circuit=circuit, version=version, wake_at=wake_at)


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
    for contract, asset, partition in keys:
        mine = of_key(circuit_events, CircuitKey(contract, asset, partition or None))
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


def _key_columns(key: CircuitKey) -> dict[str, str]:
    return {"contract": key.contract, "asset": key.asset, "partition": key.partition or ""}


def _columns(
    circuit: Circuit, version: int, wake_at: datetime | None, now: datetime
) -> Mapping[str, Any]:
    return {
        "version": version,
        "generation": circuit.generation,
        "state": circuit.state.value,
        "override": circuit.override.value,
        "policy_hash": circuit.policy_hash,
        "wake_at": wake_at,
        "updated_at": now,
        "body": circuit_to_json(circuit),
        "partition_time": circuit.partition_time,
    }


def _stored(row: sa.Row[Any]) -> StoredCircuit:
    return StoredCircuit(
        circuit=circuit_from_json(row.body), version=row.version, wake_at=row.wake_at
    )


def _entry(row: sa.Row[Any]) -> HistoryEntry:
    probe = row.changes.get("set", {}).get("next_probe_at")
    return HistoryEntry(
        key=CircuitKey(row.contract, row.asset, row.partition or None),
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
