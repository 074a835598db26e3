"""The history of metrics: what every evaluation measured, as series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction

import sqlalchemy as sa

from dagster_contracts.core.anomaly import SeriesPoint
from dagster_contracts.core.circuit import Circuit, CircuitKey
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import metric_points, observations

_AT_ONCE = 500


class MetricHistory:
    """Read-only: the breaker writes an evaluation's metrics together with its verdict."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def series(
        self,
        contract: str,
        asset: str,
        metric: str,
        *,
        partition: str | None = None,
        limit: int = 200,
        before: datetime | None = None,
        backfills: bool = False,
    ) -> tuple[SeriesPoint, ...]:
        """The newest ``limit`` values, oldest first; of all partitions where none is named.

        Backfills say nothing about today and are left out unless they are asked for.
        """
        points = metric_points.c
        query = (
            sa.select(points.at, points.value)
            .where(points.contract == contract, points.asset == asset, points.metric == metric)
            .order_by(points.at.desc(), points.evaluation_id.desc())
            .limit(limit)
        )
        if partition is not None:
            query = query.where(points.partition == partition)
        if before is not None:
            query = query.where(points.at < before)
        if not backfills:
            query = query.where(points.backfill.is_(False))
        with self._store.read() as conn:
            rows = conn.execute(query).all()
        return tuple(SeriesPoint(row.at, row.value) for row in reversed(rows))

    def values(self, contract: str, asset: str, metric: str, *, limit: int = 200) -> list[float]:
        """The values of :meth:`series` alone."""
        return [point.value for point in self.series(contract, asset, metric, limit=limit)]

    def metrics(self, contract: str, asset: str) -> tuple[str, ...]:
        """Every metric that was ever measured there, by name."""
        points = metric_points.c
        with self._store.read() as conn:
            names = conn.scalars(
                sa.select(points.metric)
                .where(points.contract == contract, points.asset == asset)
                .distinct()
                .order_by(points.metric)
            )
            return tuple(names)

    def for_validation(
        self, contract: str, asset: str, metrics: Iterable[str] = ("row_count",), *, limit: int = 60
    ) -> dict[str, list[float]]:
        """The histories that an evaluation compares with, by metric."""
        return {name: self.values(contract, asset, name, limit=limit) for name in metrics}

    def latest(self, contract: str, asset: str) -> Evaluation | None:
        """The newest evaluation that was no backfill; ``None`` before the first."""
        seen = observations.c
        with self._store.read() as conn:
            row = conn.execute(
                sa.select(observations)
                .where(seen.contract == contract, seen.asset == asset, seen.backfill.is_(False))
                .order_by(seen.observed_at.desc(), seen.evaluation_id.desc())
                .limit(1)
            ).one_or_none()
        return None if row is None else Evaluation(row)

    def newest(
        self, circuits: Iterable[Circuit], *, of_batches: bool = False
    ) -> dict[CircuitKey, Evaluation]:
        """The newest evaluation that each circuit was told of, as :meth:`latest` by asset.

        ``of_batches`` passes over runs and reads that failed: they saw no batch. The circuit of a
        partition has its own evaluations, backfills among them. One query on the primary key for
        500 circuits; one more for an asset whose newest evaluation was a backfill.
        """
        known = [each for each in circuits if each.recent]
        told = {each.recent[-1]: each.key for each in known}
        found: dict[CircuitKey, Evaluation] = {}
        for evaluation in self._evaluations(told):
            key = told[evaluation.evaluation_id]
            if key.partition is not None or not evaluation.backfill:
                found[key] = evaluation
        if of_batches:
            failed = [each for each in known if each.key in found and not found[each.key].saw_batch]
            before = {mark: each.key for each in failed for mark in each.recent}
            order = {mark: at for each in failed for at, mark in enumerate(each.recent)}
            seen = [e for e in self._evaluations(before) if e.saw_batch and not e.backfill]
            for evaluation in sorted(seen, key=lambda each: order[each.evaluation_id]):
                found[before[evaluation.evaluation_id]] = evaluation
        for key in told.values():
            if key not in found and key.partition is None:
                latest = self.latest(key.contract, key.asset)
                if latest is not None:
                    found[key] = latest
        return found

    def _evaluations(self, marks: Iterable[str]) -> list[Evaluation]:
        wanted = sorted(marks)
        found: list[Evaluation] = []
        with self._store.read() as conn:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                query = sa.select(observations).where(observations.c.evaluation_id.in_(some))
                found += [Evaluation(row) for row in conn.execute(query)]
        return found

    def newest_of_assets(self, circuits: Iterable[Circuit]) -> dict[tuple[str, str], Evaluation]:
        """The newest evaluation of each asset, by contract and asset; of any partition.

        As :meth:`newest`, and one more query for an asset with a circuit for each partition.
        """
        known = tuple(circuits)
        whole = self.newest(each for each in known if each.key.partition is None)
        found = {(key.contract, key.asset): latest for key, latest in whole.items()}
        parted = {(c.key.contract, c.key.asset) for c in known if c.key.partition is not None}
        for contract, asset in sorted(parted):
            latest = self.latest(contract, asset)
            if latest is not None:
                found[contract, asset] = latest
        return found

    def arrivals(self, contract: str, asset: str, *, limit: int = 400) -> tuple[datetime, ...]:
        """When new data was seen, oldest first: evaluations of real batches, no backfills."""
        seen = observations.c
        with self._store.read() as conn:
            moments = conn.scalars(
                sa.select(seen.observed_at)
                .where(
                    seen.contract == contract,
                    seen.asset == asset,
                    seen.backfill.is_(False),
                    seen.rows.is_not(None),
                )
                .order_by(seen.observed_at.desc())
                .limit(limit)
            ).all()
        return tuple(reversed(moments))


class Evaluation:
    """One evaluation as it was recorded."""

    def __init__(self, row: sa.Row[tuple[object, ...]]) -> None:
        columns = row._mapping
        self.evaluation_id: str = columns["evaluation_id"]
        self.version: str = columns["contract_version"]
        self.asset: str = columns["asset"]
        self.partition: str | None = columns["partition"] or None
        self.observed_at: datetime = columns["observed_at"]
        self.event_time: datetime | None = columns["event_time"]
        self.status: str = columns["status"]
        self.rows: int | None = columns["rows"]
        self.backfill: bool = columns["backfill"]
        self.metrics: Mapping[str, Fraction | None] = {
            name: None if value is None else Fraction(value)
            for name, value in columns["metrics"].items()
        }
        self.unknown_because: Mapping[str, str] = columns["unknown_because"]

    @property
    def saw_batch(self) -> bool:
        """Whether there was anything to judge: a run or a read that failed brought none."""
        return self.status != OutcomeStatus.NOT_EVALUATED.value or self.rows is not None
