"""A backtest: the recorded evaluations again, under the rules of this contract or an edited one.

The machine and the routing are the ones that run; only time is made up: between two evaluations
the clock stops at each moment at which waiting alone could change something. Probes are not asked
for, because nobody knows what they would have seen: the next recorded evaluation after a probe was
due is the probe. Jitter is left out.

Evaluations are read and forgotten one after the other; what stays grows with what happened to the
circuits, not with how often they were evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, groupby
from operator import itemgetter

import sqlalchemy as sa

from dagster_contracts.core.circuit import Circuit, CircuitKey
from dagster_contracts.core.contract import CircuitScope, Contract
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.backtest.arrivals import Arrivals, assumptions
from dagster_contracts.resilience.backtest.circuit_replay import CircuitReplay, Stretch
from dagster_contracts.resilience.backtest.curve import Curves, Point
from dagster_contracts.resilience.backtest.opening import (
    Opening,
    openings_of,
    recorded_openings,
    time_open,
)
from dagster_contracts.resilience.backtest.recorded import Extent, Recorded, Records
from dagster_contracts.resilience.backtest.succession import partition_times, superseded_at
from dagster_contracts.resilience.oldest import OldestEvent, oldest_events
from dagster_contracts.resilience.wake import clock_metrics
from dagster_contracts.resilience.watched import policy_of, watched_metrics
from dagster_contracts.store.database import Store

_TOLD_EVERY = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBacktest:
    """What one circuit would have done; ``recorded`` are the openings that really happened.

    The replay goes from ``since`` on, the first evaluation that the store still has where that is
    later than what was asked for; ``forgotten`` says that retention removed what came before.
    ``told_since`` is set where the openings that really happened are known from a later moment
    only. ``curves`` are the metrics that it opens by, where they were asked for.
    """

    key: CircuitKey
    evaluations: int
    openings: tuple[Opening, ...]
    stretches: tuple[Stretch, ...]
    recorded: tuple[Opening, ...]
    since: datetime
    told_since: datetime | None = None
    forgotten: bool = False
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict, hash=False)

    def time_open(self, until: datetime) -> timedelta:
        """How long the circuit was not closed, up to ``until``."""
        return time_open(self.openings, until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """The whole replay, of what was asked for: ``since`` until ``until``.

    ``recorded_since`` is when the first evaluation that the store still has of these circuits was
    recorded; what came before it nobody knows. ``never_measured`` are the metrics of the contract's
    conditions of which the history has no value: those conditions were unknown all along.
    ``assumed`` says what was taken for granted.
    """

    contract: Contract
    since: datetime
    until: datetime
    circuits: tuple[CircuitBacktest, ...]
    recorded_since: datetime | None = None
    never_measured: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def by_trouble(self) -> list[CircuitBacktest]:
        """The circuits, and first those that would have been open for the longest time."""
        return sorted(self.circuits, key=lambda one: (-one.time_open(self.until), one.key))


def backtest(
    store: Store,
    contract: Contract,
    *,
    since: datetime | None = None,
    asset: str | None = None,
    now: datetime | None = None,
    curves: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Backtest:
    """Replay what was recorded of ``contract`` (by name) through the rules of ``contract``.

    ``since``: only evaluations from there on; ``None`` for all that the store still has. ``asset``
    leaves out the circuits of other assets. ``curves``: of how many circuits the metrics are drawn,
    of those with most trouble. ``progress`` is told now and then how far the replay is. Nothing is
    written, and no writer waits for it.

    Raises
    ------
    PolicyError
        The contract has no ``resilience``: no rule could ever open a circuit.
    """
    if contract.resilience is None:
        raise PolicyError(
            f"{contract.ref} has no circuit to replay",
            where=str(contract.location or contract.ref),
            why="the document has no section 'resilience'",
            hint="give it 'resilience: circuit_breaker: open_when: [...]', also in a copy",
        )
    scoped = policy_of(contract).scope is CircuitScope.PARTITION
    records = Records(contract=contract.name, scoped=scoped, asset=asset, since=since)
    with store.read() as conn:
        replay = _Replay(conn, contract, records, now or store.now(conn), curves)
        replay.run(progress)
    return replay.result()


class _Replay:
    """The circuits of a contract, replayed one after the other."""

    def __init__(
        self,
        conn: sa.Connection,
        contract: Contract,
        records: Records,
        until: datetime,
        curves: int,
    ) -> None:
        self._conn = conn
        self._contract = contract
        self._records = records
        self._until = until
        self._most_curves = curves
        self._extents: dict[CircuitKey, Extent] = records.extents(conn)
        firsts = [one.first for one in self._extents.values() if one.first is not None]
        self._begin = records.since or min(firsts, default=until)
        self._arrivals = Arrivals(conn, contract)
        self._oldest: dict[CircuitKey, OldestEvent] = oldest_events(conn, contract.name)
        begins = partition_times(conn, contract, records) if records.scoped else {}
        self._superseded = superseded_at(begins, self._extents, self._begin)
        self._watched = watched_metrics(contract)
        self._measured: set[str] = set()
        self._found: list[CircuitBacktest] = []
        self._drawn: list[tuple[timedelta, CircuitKey, Curves]] = []

    def run(self, progress: Callable[[str], None] | None) -> None:
        """Replay everything."""
        recorded = self._records.read(self._conn, self._watched)
        if progress is not None:
            recorded = _told(recorded, progress, sum(e.evaluations for e in self._extents.values()))
        for key, group in groupby(recorded, key=itemgetter(0)):
            self._replay(key, (one for _, one in group))

    def result(self) -> Backtest:
        """What came of it."""
        drawn = {key: curves.points() for _, key, curves in self._drawn}
        clock = clock_metrics(Circuit(key=CircuitKey("", "")), self._contract, self._until)
        kept = (self._extents[c.key].kept_since for c in self._found if c.key in self._extents)
        return Backtest(
            contract=self._contract,
            since=self._begin,
            until=self._until,
            circuits=tuple(
                replace(one, curves=drawn[one.key]) if one.key in drawn else one
                for one in sorted(self._found, key=lambda one: one.key)
            ),
            recorded_since=min(kept, default=None),
            never_measured=tuple(sorted(self._watched - self._measured - set(clock))),
            assumed=assumptions(self._contract, self._arrivals),
        )

    def _replay(self, key: CircuitKey, group: Iterator[Recorded]) -> None:
        earliest = next(group)
        extent, oldest = self._extents.get(key), self._oldest.get(key)
        first = min(extent.kept_since, earliest.at) if extent else earliest.at
        start = max(self._begin, first)
        turn = CircuitReplay(self._contract, key, self._arrivals, start, self._superseded.get(key))
        curves = Curves(self._contract, self._begin, self._until) if self._most_curves else None
        for one in chain((earliest,), group):
            turn.take(one)
            if curves is not None:
                curves.take(one)
            if not self._watched <= self._measured:
                self._measured.update(n for n, value in one.metrics.items() if value is not None)
        turn.end(self._until)
        really, told = recorded_openings(self._conn, key, oldest, start, self._until)
        circuit = CircuitBacktest(
            key=key,
            evaluations=turn.evaluations,
            openings=tuple(openings_of(turn.transitions)),
            stretches=tuple(turn.stretches),
            recorded=really,
            since=start,
            told_since=told,
            forgotten=oldest is not None and oldest.is_sum and start == first,
        )
        self._found.append(circuit)
        if curves is not None:
            # A thousand partitions have as many curves, and few of them are looked at.
            self._drawn.append((-circuit.time_open(self._until), key, curves))
            self._drawn.sort(key=itemgetter(0, 1))
            del self._drawn[self._most_curves :]


def _told(
    recorded: Iterator[tuple[CircuitKey, Recorded]], progress: Callable[[str], None], total: int
) -> Iterator[tuple[CircuitKey, Recorded]]:
    """The same; of every thousandth it is told that it was replayed."""
    for number, one in enumerate(recorded, start=1):
        yield one
        if number % _TOLD_EVERY == 0:
            progress(f"{number:,} of {total:,} evaluations")
