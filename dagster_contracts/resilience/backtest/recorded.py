"""Evaluations as they were recorded, one after the other: a history may be longer than memory."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from sys import intern

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.store.columns import UtcTime
from dagster_contracts.store.tables import observations

_FETCHED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An evaluation as it was recorded, or a failure where there was nothing to evaluate.

    ``metrics`` are exact, and of an evaluation only those that were asked for; ``None`` is a metric
    that could not be measured.
    """

    evaluation_id: str
    partition: str | None
    at: datetime
    evaluated_at: datetime
    event_time: datetime | None
    backfill: bool
    rows: int | None
    is_failure: bool
    metrics: Mapping[str, Fraction | None]
    explanation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What is recorded of a circuit: since when, and how much."""

    first: datetime
    evaluations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Which evaluations are replayed: those of a contract, of each partition or of the asset.

    ``asset`` leaves out others.
    """

    contract: str
    scoped: bool
    asset: str | None = None

    def extents(self, conn: sa.Connection) -> dict[CircuitKey, Extent]:
        """What is recorded of each circuit."""
        seen = observations.c
        parts = (seen.asset, seen.partition) if self.scoped else (seen.asset,)
        query = (
            sa.select(
                *parts,
                sa.func.min(seen.observed_at, type_=UtcTime).label("first"),
                sa.func.count().label("evaluations"),
            )
            .where(self._mine)
            .group_by(*parts)
        )
        return {
            self.key_of(row.asset, row.partition if self.scoped else ""): Extent(
                first=row.first, evaluations=row.evaluations
            )
            for row in conn.execute(query)
        }

    def last_event_times(self, conn: sa.Connection) -> dict[CircuitKey, datetime]:
        """The event time of the last evaluation of each circuit that has one."""
        seen = observations.c
        order = (seen.observed_at.desc(), seen.evaluation_id.desc())
        number = sa.func.row_number().over(
            partition_by=(seen.asset, seen.partition), order_by=order
        )
        ranked = (
            sa.select(seen.asset, seen.partition, seen.event_time, number.label("number"))
            .where(self._mine, seen.event_time.is_not(None))
            .subquery()
        )
        last = sa.select(ranked.c.asset, ranked.c.partition, ranked.c.event_time).where(
            ranked.c.number == 1
        )
        return {self.key_of(asset, part): time for asset, part, time in conn.execute(last)}

    def read(
        self, conn: sa.Connection, metrics: Collection[str]
    ) -> Iterator[tuple[CircuitKey, Recorded]]:
        """Circuit after circuit, each as it was recorded, with those of ``metrics`` that it has.

        They come from the database a piece at a time, and the pieces before are forgotten.
        """
        seen = observations.c
        parts = (seen.asset, seen.partition) if self.scoped else (seen.asset,)
        query = (
            sa.select(
                seen.asset,
                seen.partition,
                seen.evaluation_id,
                seen.observed_at,
                seen.evaluated_at,
                seen.event_time,
                seen.backfill,
                seen.rows,
                seen.status,
                # Most is not asked for, and is not decoded.
                sa.type_coerce(seen.metrics, sa.Text).label("metrics"),
                sa.type_coerce(seen.unknown_because, sa.Text).label("unknown_because"),
            )
            .where(self._mine)
            .order_by(*parts, seen.observed_at, seen.evaluation_id)
        )
        key: CircuitKey | None = None
        # Whether it was sorted by a partition of no interest or not, the circuit is the same.
        current: tuple[str, str] | None = None
        for row in conn.execute(query, execution_options={"yield_per": _FETCHED}):
            asset, partition, evaluation_id, at, evaluated_at, event_time, backfill, *rest = row
            belongs = (asset, partition if self.scoped else "")
            if key is None or belongs != current:
                current, key = belongs, self.key_of(*belongs)
            rows, status, text, because = rest
            measured: dict[str, str | None] = json.loads(text)
            is_failure = (
                rows is None and len(measured) == 1 and status == OutcomeStatus.NOT_EVALUATED.value
            )
            yield (
                key,
                Recorded(
                    evaluation_id=evaluation_id,
                    partition=partition or None,
                    at=at,
                    evaluated_at=evaluated_at,
                    event_time=event_time,
                    backfill=backfill,
                    rows=rows,
                    is_failure=is_failure,
                    metrics={
                        intern(name): None if value is None else _exact(value)
                        for name, value in measured.items()
                        if is_failure or name in metrics
                    },
                    explanation=json.loads(because).get("", "") if is_failure else "",
                ),
            )

    def key_of(self, asset: str, partition: str) -> CircuitKey:
        """The circuit that an evaluation belongs to."""
        return CircuitKey(self.contract, asset, (partition or None) if self.scoped else None)

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        mine = observations.c.contract == self.contract
        return mine if self.asset is None else mine & (observations.c.asset == self.asset)


def recorded_names(conn: sa.Connection) -> list[str]:
    """The contracts, by name, of which anything was recorded."""
    return list(conn.scalars(sa.select(observations.c.contract).distinct()))


@lru_cache(maxsize=4096)
def _exact(value: str) -> Fraction:
    # A history says the same few values over and over.
    return Fraction(value)
