"""What a read of an asset must know before it is routed: one query, built once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    CircuitState,
    Override,
    circuit_from_json,
    inherited_from,
    obeys,
)
from dagster_contracts.core.contract import Contract
from dagster_contracts.resilience.circuit_rows import named, of_named
from dagster_contracts.store.columns import PlainText
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import circuits, degraded_reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that a read of an asset must know before it is routed, of one moment.

    ``position`` is where the ledger of degraded reads stands; ``degraded`` says that the asset
    itself was built from a fallback and not healed since.
    """

    circuit: Circuit
    now: datetime
    position: int
    degraded: bool


def read_standing(
    store: Store,
    contract: Contract,
    key: CircuitKey,
    partition: str | None,
    *,
    clock: Callable[[], datetime] | None,
) -> tuple[Standing, bool]:
    """How the circuit stands for a read of ``partition``, and whether a tick would change nothing.

    One indexed query. ``clock`` is asked in the place of the store's.
    """
    read = {} if partition is None else {"read_partition": partition}
    query = _query(store.clock(), everywhere=partition is None, obeying=key.partition is not None)
    with store.read() as conn:
        row = conn.execute(query, {**named(key), **read}).one()
    now = clock() if clock is not None else row.clock
    known = row.body is not None
    circuit = _circuit(row.body) if known else Circuit(key=key)
    due = row.wake_at is not None and row.wake_at <= now
    # With a clock that was set back, the moment of an open circuit may be far ahead.
    due = due or (circuit.state is not CircuitState.CLOSED and row.updated_at > now)
    bound = circuit.policy_hash == contract.semantic_hash
    whole = _circuit(row.whole) if row.whole is not None else None
    obeying = key.partition is None or obeys(circuit, inherited_from(whole, now), now)
    standing = Standing(
        circuit=circuit, now=now, position=row.position or 0, degraded=bool(row.marked)
    )
    return standing, obeying and (not known or (bound and not due))


@lru_cache(maxsize=256)
def _circuit(body: str) -> Circuit:
    """The circuit of a row: a run over a year's partitions reads the same one for each of them."""
    return circuit_from_json(json.loads(body))


@lru_cache(maxsize=16)
def _query(
    clock: sa.ColumnElement[Any], *, everywhere: bool, obeying: bool
) -> sa.Select[tuple[Any, ...]]:
    """The query of one partition, or of any; to build it takes longer than to run it.

    ``obeying``: the circuit is a partition's, and the override of its whole asset is read as well.
    """
    reads = degraded_reads.c
    position = sa.select(sa.func.max(reads.id)).scalar_subquery()
    marks = sa.select(reads.id).where(
        reads.consumer == sa.bindparam("of_asset"), reads.settled_at.is_(None)
    )
    if not everywhere:
        marks = marks.where(reads.consumer_partition == sa.bindparam("read_partition"))
    # The row must come even where the circuit has none yet.
    one = sa.select(sa.literal(1).label("one")).subquery()
    whole = circuits.alias("whole")
    found = one.outerjoin(circuits, of_named(circuits))
    if obeying:
        of_whole = sa.and_(
            whole.c.contract == sa.bindparam("of_contract"),
            whole.c.asset == sa.bindparam("of_asset"),
            whole.c.partition == "",
            whole.c.override != Override.NONE.value,
        )
        found = found.outerjoin(whole, of_whole)
    return sa.select(
        sa.type_coerce(circuits.c.body, PlainText).label("body"),
        circuits.c.wake_at,
        circuits.c.updated_at,
        position.label("position"),
        sa.exists(marks).label("marked"),
        clock.label("clock"),
        (sa.type_coerce(whole.c.body, PlainText) if obeying else sa.null()).label("whole"),
    ).select_from(found)
