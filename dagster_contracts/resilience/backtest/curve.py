"""Curves: a metric over time, in as many points as can be told apart when they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import groupby

from dagster_contracts.core.condition import comparisons_of
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.metrics import is_momentary
from dagster_contracts.resilience.backtest.recorded import Recorded
from dagster_contracts.resilience.wake import AGE, FRESHNESS

COLUMNS = 860
"""Into how many columns of equal length the time of a curve is divided."""

Point = tuple[datetime, Fraction]


class Curve:
    """The points of a metric between ``since`` and ``until``, in the order in which they came.

    All of them while there are few; of more, the first, last, lowest and highest of each column.
    """

    def __init__(self, since: datetime, until: datetime, columns: int = COLUMNS) -> None:
        self._since = since
        self._columns = columns
        self._span = max(until - since, timedelta(seconds=1))
        self._points: list[Point] = []
        self._added = 0

    def add(self, at: datetime, value: Fraction) -> None:
        """One more point."""
        self._points.append((at, value))
        self._added += 1
        if len(self._points) >= 8 * self._columns:
            # Thinned out once more at the end, these say the same as all of them.
            self._points = self._thinned()

    @property
    def points(self) -> Sequence[Point]:
        """What is left of the points."""
        return self._points if self._added <= self._columns else self._thinned()

    def _thinned(self) -> list[Point]:
        kept: list[Point] = []
        for _, column in groupby(self._points, key=self._column):
            here = list(column)
            value = [point[1] for point in here]
            wanted = {0, len(here) - 1, value.index(min(value)), value.index(max(value))}
            kept.extend(here[position] for position in sorted(wanted))
        return kept

    def _column(self, point: Point) -> int:
        return int(min(max((point[0] - self._since) / self._span, 0.0), 1.0) * self._columns)


class Curves:
    """The curves of the metrics by which a contract's circuit opens."""

    def __init__(self, contract: Contract, since: datetime, until: datetime) -> None:
        assert contract.resilience is not None
        opens_by = [
            comparison.metric
            for condition in contract.resilience.circuit.open_when
            for comparison in comparisons_of(condition)
        ]
        self._curves = {
            name: Curve(since, until)
            for name in opens_by
            if not is_momentary(name) or name in (FRESHNESS, AGE)
        }
        self._since = since
        self._ages = [name for name in (FRESHNESS, AGE) if name in self._curves]
        self._measured = [name for name in self._curves if name not in self._ages]
        self._by_event = contract.event_time is not None
        self._born: dict[str, datetime] = {}
        # The ages that something from before the beginning has at it.
        self._older: set[str] = set()
        self._until = until

    def take(self, one: Recorded) -> None:
        """The values of one evaluation; an age falls with each and grows after it.

        Of those before the beginning only the age is seen, at the beginning.
        """
        is_shown = one.at >= self._since
        for name in self._measured:
            value = one.metrics.get(name)
            if value is not None and is_shown:
                self._curves[name].add(one.at, value)
        if one.is_failure or one.backfill:
            return
        for name in self._ages:
            born = one.event_time if name == FRESHNESS and self._by_event else one.at
            if born is not None:
                self._grow(name, one.at)
                self._born[name] = born
                self._grow(name, one.at)
                if not is_shown:
                    self._older.add(name)

    def points(self) -> dict[str, Sequence[Point]]:
        """The points of each metric that has any, up to the end of the replay."""
        for name in list(self._born):
            self._grow(name, self._until)
        self._born.clear()
        return {name: curve.points for name, curve in self._curves.items() if curve.points}

    def _grow(self, name: str, at: datetime) -> None:
        born = self._born.get(name)
        if born is not None and at >= self._since:
            if name in self._older:
                self._older.discard(name)
                self._grow(name, self._since)
            age = max(at - born, timedelta(0)) // timedelta(microseconds=1)
            self._curves[name].add(at, Fraction(age, 1_000_000))
