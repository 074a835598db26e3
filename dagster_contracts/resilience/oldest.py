"""The oldest line of each circuit's history that retention has left: where the telling begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import Circuit, CircuitKey, circuit_from_json, circuit_to_json
from dagster_contracts.store.tables import circuit_events


@dataclass(frozen=True, slots=True, kw_only=True)
class OldestEvent:
    """The first event of a circuit that is still there, and the circuit as that event left it.

    ``is_sum`` says that events before it were forgotten, and that it sums them up.
    """

    at: datetime
    version: int
    circuit: Circuit

    @property
    def is_sum(self) -> bool:
        """Whether anything was forgotten; versions count the lines from 1 without a gap."""
        return self.version > 1


def oldest_events(conn: sa.Connection, contract: str) -> dict[CircuitKey, OldestEvent]:
    """The oldest event of each circuit of a contract; of one that has none, nothing."""
    events = circuit_events.c
    firsts = (
        sa.select(events.asset, events.partition, sa.func.min(events.version).label("version"))
        .where(events.contract == contract)
        .group_by(events.asset, events.partition)
        .subquery()
    )
    query = sa.select(
        events.asset, events.partition, events.version, events.at, events.changes
    ).join(
        firsts,
        sa.and_(
            events.contract == contract,
            events.asset == firsts.c.asset,
            events.partition == firsts.c.partition,
            events.version == firsts.c.version,
        ),
    )
    found: dict[CircuitKey, OldestEvent] = {}
    for row in conn.execute(query):
        key = CircuitKey(contract, row.asset, row.partition or None)
        body = {**circuit_to_json(Circuit(key=key)), **row.changes.get("set", {})}
        found[key] = OldestEvent(at=row.at, version=row.version, circuit=circuit_from_json(body))
    return found
