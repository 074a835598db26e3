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
    circuit_from_json,
    circuit_to_json,
)
from dagster_contracts.errors import StoreError
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import circuits


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


def key_of(row: sa.Row[*tuple[Any, ...]]) -> CircuitKey:
    """The circuit that a row names by its columns."""
    return CircuitKey(row.contract, row.asset, row.partition or None)


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
    for key in map(key_of, conn.execute(names).all()):
        if wanted is not None and key not in wanted:
            continue
        try:
            stored = read_circuit(conn, key)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            troubled(key, error)
            continue
        if stored is not None:
            yield stored


def due_circuits(conn: sa.Connection, now: datetime) -> frozenset[CircuitKey]:
    """The circuits to which time has something to tell: one query on an index."""
    names = sa.select(circuits.c.contract, circuits.c.asset, circuits.c.partition)
    return frozenset(map(key_of, conn.execute(names.where(circuits.c.wake_at <= now))))


def bound_policies(conn: sa.Connection) -> dict[str, set[str]]:
    """By contract, the semantic hashes that its circuits are bound to."""
    bound: dict[str, set[str]] = {}
    for name, policy_hash in conn.execute(
        sa.select(circuits.c.contract, circuits.c.policy_hash).distinct()
    ):
        bound.setdefault(name, set()).add(policy_hash)
    return bound


def count_circuits(conn: sa.Connection) -> int:
    """How many circuits there are."""
    return conn.scalar(sa.select(sa.func.count()).select_from(circuits)) or 0


def lock_circuit(
    conn: sa.Connection, key: CircuitKey, clock: Callable[[sa.Connection], datetime]
) -> StoredCircuit:
    """The circuit, held against every other writer until the transaction ends; new if needed.

    The clock is only asked for a new one.
    """
    row = conn.execute(_HELD, named(key)).one_or_none()
    if row is None:
        circuit = Circuit(key=key)
        values = _columns(circuit, 0, None, clock(conn))
        insert_once(conn, circuits, {**key_columns(key), **values})
        row = conn.execute(_HELD, named(key)).one()
    return _stored(row)


def update_circuit(
    conn: sa.Connection,
    before: StoredCircuit,
    circuit: Circuit,
    *,
    version: int,
    wake_at: datetime | None,
    now: datetime,
) -> StoredCircuit:
    """Update the row, guarded by the version that it had; ``StoreError`` where it has another."""
    updated = conn.execute(
        _GUARDED,
        {
            **named(circuit.key),
            "known_version": before.version,
            **_columns(circuit, version, wake_at, now),
        },
    )
    if updated.rowcount != 1:
        raise StoreError(
            "a circuit was changed by somebody else in the middle of a transaction",
            where=str(circuit.key),
            hint="nothing was written; the database does not honour the lock on the circuit's row",
        )
    return StoredCircuit(circuit=circuit, version=version, wake_at=wake_at)


def key_columns(key: CircuitKey) -> dict[str, str]:
    """The columns that name the circuit."""
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
