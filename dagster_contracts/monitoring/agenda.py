"""What a tick must look at: the assets with news, and those whose time has come.

Kept in the memory of one process, so that a quiet tick reads no row of a quiet asset. The first
turn, the one after a turn that failed and the one after a clock that went back look at everything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush

import sqlalchemy as sa

from dagster_contracts.monitoring.feedback import FeedbackBook
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import circuit_events

Place = tuple[str, str]
"""A contract and an asset."""

_Mark = tuple[int, datetime]
"""The version of a circuit, and since when."""

_OVERLAP = timedelta(minutes=10)
"""How far a turn looks back beyond the one before: slow transactions commit after younger ones."""


@dataclass
class Turn:
    """What is to be looked at now: ``everything``, or ``places`` and all of ``contracts``.

    ``news`` are the places whose circuits have changed; each evaluation changes one.
    """

    everything: bool
    places: frozenset[Place] = frozenset()
    news: frozenset[Place] = frozenset()
    contracts: frozenset[str] = frozenset()
    waking: dict[Place, datetime] = field(default_factory=dict)

    def concerns(self, place: Place) -> bool:
        """Whether a place is to be looked at."""
        return self.everything or place in self.places or place[0] in self.contracts

    def is_new(self, place: Place) -> bool:
        """Whether something may have happened to a place that no turn has seen."""
        return self.everything or place in self.news

    def again(self, place: Place, moment: datetime | None) -> None:
        """Look at a place that was looked at by ``moment`` at the latest; the earliest counts."""
        if moment is not None:
            self.waking[place] = min(moment, self.waking.get(place, moment))


class Agenda:
    """The places that wait for their moment, and how far this process has read.

    ``reports`` also calls up the contracts whose number of open consumer reports has changed.
    """

    def __init__(self, store: Store, *, reports: bool = False) -> None:
        self._store = store
        self._feedback = FeedbackBook(store) if reports else None
        self._lock = threading.Lock()
        self._read_at: datetime | None = None
        self._seen: dict[tuple[str, str, str], _Mark] = {}
        self._reports: dict[str, int] = {}
        self._waking: dict[Place, datetime] = {}
        self._queue: list[tuple[datetime, Place]] = []

    @contextmanager
    def turn(self, now: datetime) -> Iterator[Turn]:
        """One look at what is due at ``now``; remembered where it ends well. One at a time."""
        with self._lock:
            before, self._read_at = self._read_at, None
            everything = before is None or now < before
            seen, news = self._happened(now if everything or before is None else before, now)
            reports = self._feedback.open_counts() if self._feedback is not None else {}
            if everything:
                turn = Turn(everything=True)
                self._waking, self._queue = {}, []
            else:
                due = frozenset(self._due(now))
                changed = {name for name, _ in reports.items() ^ self._reports.items()}
                turn = Turn(False, due | news, news, frozenset(changed))
            yield turn
            for place in turn.places:
                self._waking.pop(place, None)
            for place, moment in turn.waking.items():
                self._waking[place] = moment
                heappush(self._queue, (moment, place))
            if len(self._queue) > 2 * len(self._waking) + 100:
                self._queue = [(moment, place) for place, moment in self._waking.items()]
                heapify(self._queue)
            self._seen, self._reports, self._read_at = seen, reports, now

    def _due(self, now: datetime) -> Iterator[Place]:
        while self._queue and self._queue[0][0] <= now:
            moment, place = heappop(self._queue)
            # What was put off, or brought forward, since then has another entry.
            if self._waking.get(place) == moment:
                yield place

    def _happened(
        self, since: datetime, now: datetime
    ) -> tuple[dict[tuple[str, str, str], _Mark], frozenset[Place]]:
        """The versions of the circuits that changed of late, and the places not seen so yet."""
        events = circuit_events.c
        newest = sa.func.max(events.version).label("newest")
        last = sa.func.max(events.at).label("last")
        query = (
            sa.select(events.contract, events.asset, events.partition, newest, last)
            .where(events.at >= since - _OVERLAP)
            .group_by(events.contract, events.asset, events.partition)
        )
        with self._store.read() as conn:
            rows = conn.execute(query).all()
        seen: dict[tuple[str, str, str], _Mark] = {}
        news: set[Place] = set()
        for row in rows:
            key, mark = (row.contract, row.asset, row.partition), (row.newest, row.last)
            if self._seen.get(key) != mark:
                news.add((row.contract, row.asset))
            # What happened in this very moment has had no time to show: it stays new.
            if row.last < now:
                seen[key] = mark
        return seen, frozenset(news)
