"""Partitions and their whole asset: whose override they obey, and which of them is the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    Inherited,
    Override,
    advance,
    circuit_from_json,
    inherited_from,
    obeys,
)
from dagster_contracts.core.circuit.present import standing_at
from dagster_contracts.resilience.circuit_rows import StoredCircuit, read_circuit
from dagster_contracts.store.tables import circuits


def of_asset(key: CircuitKey) -> CircuitKey:
    """The key of the whole asset, whose override the partitions obey."""
    return CircuitKey(key.contract, key.asset)


def read_whole(conn: sa.Connection, key: CircuitKey) -> Circuit | None:
    """The circuit of the whole asset that a partition belongs to, if it has a row.

    ``None`` of a whole asset too, which obeys no other.
    """
    stored = None if key.partition is None else read_circuit(conn, of_asset(key))
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
    names = conn.scalars(sa.select(circuits.c.partition).where(_of_parts(key)))
    return sorted(CircuitKey(key.contract, key.asset, part) for part in names)


def wake_partitions(conn: sa.Connection, key: CircuitKey, now: datetime) -> None:
    """Let the next tick look at every partition of an asset: its override has changed."""
    conn.execute(sa.update(circuits).where(_of_parts(key)).values(wake_at=now))


def _of_parts(key: CircuitKey) -> sa.ColumnElement[bool]:
    return sa.and_(
        circuits.c.contract == key.contract,
        circuits.c.asset == key.asset,
        circuits.c.partition != "",
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


def inherited_by(conn: sa.Connection, key: CircuitKey, now: datetime) -> Inherited:
    """What the whole asset's override says to a circuit; a whole asset inherits nothing."""
    return inherited_from(read_whole(conn, key), now)


def seen_circuit(
    conn: sa.Connection, key: CircuitKey, clock: Callable[[sa.Connection], datetime]
) -> Circuit:
    """The circuit as consumers find it; a closed one where nothing was ever recorded.

    The clock is only asked where an override may have ended.
    """
    stored = read_circuit(conn, key)
    circuit = stored.circuit if stored else Circuit(key=key)
    whole = read_whole(conn, key)
    if not _may_end(circuit) and (whole is None or whole.override is Override.NONE):
        return circuit
    now = clock(conn)
    return standing_at(as_obeyed(circuit, whole, now), now)


def seen_circuits(
    conn: sa.Connection,
    stored: Iterable[StoredCircuit],
    clock: Callable[[sa.Connection], datetime],
    *,
    as_written: bool = False,
) -> list[Circuit]:
    """The circuits, those of partitions under the overrides of their whole assets.

    ``as_written`` ones keep an override whose time is over, until something asks the circuit.
    """
    found = [each.circuit for each in stored]
    parted = {c.key.contract for c in found if c.key.partition is not None}
    wholes = read_overridden(conn, parted) if parted else {}
    obeys_whole = bool(wholes) or any(circuit.inherited for circuit in found)
    if not obeys_whole and (as_written or not any(map(_may_end, found))):
        return found
    now = clock(conn)
    obeying = [as_obeyed(c, wholes.get(of_asset(c.key)), now) for c in found]
    return obeying if as_written else [standing_at(circuit, now) for circuit in obeying]


def _may_end(circuit: Circuit) -> bool:
    """Whether time, or what became of the whole asset, can have ended its override."""
    return circuit.inherited or circuit.override_until is not None
