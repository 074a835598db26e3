"""Arrivals: when data came to the sources of fallback levels, as far as anybody recorded it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from datetime import datetime
from heapq import merge

import sqlalchemy as sa

from dagster_contracts.core.contract import Contract, FallbackLevel, SourceKind
from dagster_contracts.store.columns import from_micros, to_micros
from dagster_contracts.store.tables import observations


class Arrivals:
    """The moments at which each source got data; in eight bytes each, since they may be many."""

    def __init__(self, conn: sa.Connection, contract: Contract) -> None:
        assert contract.resilience is not None
        self._moments: dict[str, dict[str, array[int]]] = {}
        self._of_any: dict[str, array[int]] = {}
        names = {
            level.source.name
            for level in contract.resilience.fallbacks
            if level.source.kind is SourceKind.ASSET
        }
        if not names:
            return
        seen = observations.c
        query = (
            sa.select(
                seen.contract,
                seen.asset,
                seen.partition,
                sa.type_coerce(seen.observed_at, sa.BigInteger),
            )
            .where(sa.or_(seen.contract.in_(names), seen.asset.in_(names)), seen.rows.is_not(None))
            .order_by(seen.observed_at)
        )
        for of, asset, partition, at in conn.execute(query, execution_options={"yield_per": 1000}):
            for name in names & {of, asset}:
                mine = self._moments.setdefault(name, {})
                mine.setdefault(partition, array("q")).append(at)

    def __contains__(self, name: str) -> bool:
        return name in self._moments

    def newest(self, level: FallbackLevel, partition: str | None, now: datetime) -> datetime | None:
        """When the data came by ``now`` that stands in for a partition; ``None`` where none had."""
        for moments in self._standing_in(level, partition):
            position = bisect_right(moments, to_micros(now))
            if position:
                return from_micros(moments[position - 1])
        return None

    def next(self, level: FallbackLevel, partition: str | None, now: datetime) -> datetime | None:
        """When the next data comes after ``now`` that stands in for a partition."""
        found: list[int] = []
        for moments in self._standing_in(level, partition):
            position = bisect_right(moments, to_micros(now))
            found += moments[position : position + 1]
            if position:
                break  # What comes after it is not asked, however old this is.
        return from_micros(min(found)) if found else None

    def is_missing(self, level: FallbackLevel, partition: str | None, now: datetime) -> bool:
        """Whether a source has partitions, and had nothing that stands in for this one."""
        name = level.source.name
        by_partition = name in self._moments and "" not in self._moments[name]
        return by_partition and self.newest(level, partition, now) is None

    def _standing_in(self, level: FallbackLevel, partition: str | None) -> list[array[int]]:
        """What stands in for a partition, the best first: as in a run."""
        name = level.source.name
        mine = self._moments.get(name, {})
        if "" in mine:
            return [mine[""]]  # An asset without partitions stands in for each of them as a whole.
        own = [mine[partition]] if partition is not None and partition in mine else []
        if partition is not None and not level.any_partition:
            return own
        if name not in self._of_any:
            self._of_any[name] = array("q", merge(*mine.values()))
        return [*own, self._of_any[name]]


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
