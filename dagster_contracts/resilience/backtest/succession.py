"""Partitions in their order: when each was superseded by a newer one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.contract import Contract
from dagster_contracts.resilience.backtest.recorded import Extent, Records
from dagster_contracts.store.tables import circuits


def partition_times(
    conn: sa.Connection, contract: Contract, records: Records
) -> dict[CircuitKey, datetime]:
    """When each partition begins, as far as its circuit or its evaluations tell."""
    known = circuits.c
    query = sa.select(known.asset, known.partition, known.partition_time).where(
        known.contract == contract.name,
        known.partition != "",
        known.partition_time.is_not(None),
    )
    found = {records.key_of(asset, part): time for asset, part, time in conn.execute(query)}
    if contract.event_time is None:
        # Then the event time of an evaluation is where its partition begins.
        for key, time in records.last_event_times(conn).items():
            if key.partition is not None:
                found.setdefault(key, time)
    return found


def superseded_at(
    begins: Mapping[CircuitKey, datetime], extents: Mapping[CircuitKey, Extent], begin: datetime
) -> dict[CircuitKey, tuple[datetime, datetime]]:
    """When each partition begins, and when the first newer one of its asset was evaluated.

    One whose evaluations are no longer recorded was evaluated before all that are: by ``begin``.
    """
    found: dict[CircuitKey, tuple[datetime, datetime]] = {}
    first: dict[str, datetime] = {}
    waiting: list[tuple[str, datetime]] = []
    newer_than: datetime | None = None
    for key, time in sorted(begins.items(), key=lambda item: item[1], reverse=True):
        if newer_than is not None and time < newer_than:
            # Those of the same time do not supersede one another.
            for asset, at in waiting:
                first[asset] = min(first.get(asset, at), at)
            waiting.clear()
        newer_than = time
        if key.asset in first:
            found[key] = (time, first[key.asset])
        extent = extents.get(key)
        waiting.append((key.asset, extent.first if extent else begin))
    return found
