"""Arrivals: when data came to the sources of fallback levels, as far as anybody recorded it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.contract import Contract, SourceKind
from dagster_contracts.store.columns import from_micros, to_micros
from dagster_contracts.store.tables import observations


class Arrivals:
    """The moments at which each source got data; in eight bytes each, since they may be many."""

    def __init__(self, conn: sa.Connection, contract: Contract) -> None:
        assert contract.resilience is not None
        self._moments: dict[str, array[int]] = {}
        names = {
            level.source.name
            for level in contract.resilience.fallbacks
            if level.source.kind is SourceKind.ASSET
        }
        if not names:
            return
        seen = observations.c
        query = (
            sa.select(seen.contract, seen.asset, sa.type_coerce(seen.observed_at, sa.BigInteger))
            .where(sa.or_(seen.contract.in_(names), seen.asset.in_(names)), seen.rows.is_not(None))
            .order_by(seen.observed_at)
        )
        for of, asset, at in conn.execute(query, execution_options={"yield_per": 1000}):
            for name in names & {of, asset}:
                self._moments.setdefault(name, array("q")).append(at)

    def __contains__(self, name: str) -> bool:
        return name in self._moments

    def newest(self, name: str, now: datetime) -> datetime | None:
        """When the last data came to a source by ``now``; ``None`` where none had."""
        moments = self._moments[name]
        position = bisect_right(moments, to_micros(now))
        return from_micros(moments[position - 1]) if position else None

    def next(self, name: str, now: datetime) -> datetime | None:
        """When the next data comes to a source after ``now``."""
        moments = self._moments.get(name, array("q"))
        position = bisect_right(moments, to_micros(now))
        return from_micros(moments[position]) if position < len(moments) else None


def assumptions(contract: Contract, arrivals: Arrivals) -> tuple[str, ...]:
    """What a replay takes for granted of each level, because nobody recorded it."""
    assert contract.resilience is not None
    said = []
    for level in contract.resilience.fallbacks:
        match level.source.kind:
            case SourceKind.ASSET if level.source.name not in arrivals:
                said.append(
                    f"{level.name}: {level.source.name} was there and fresh "
                    "(no contract recorded when it was made)"
                )
            case SourceKind.ASSET:
                said.append(f"{level.name}: the circuit of {level.source.name} was closed")
            case SourceKind.URI:
                said.append(f"{level.name}: {level.source.name} was there and fresh")
            case SourceKind.SUBSET:
                said.append(f"{level.name}: the subset kept its schema")
            case SourceKind.LAST_VALID | SourceKind.PRIMARY:
                pass
    return tuple(said)
