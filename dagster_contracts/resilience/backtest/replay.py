"""A backtest: the recorded evaluations again, under the rules of this contract or an edited one.

The machine and the routing are the ones that run; only time is made up: between two evaluations
the clock stops at each moment at which waiting alone could change something. Probes are not asked
for, because nobody knows what they would have seen: the next recorded evaluation after a probe was
due is the probe. Jitter is left out.

What is shown may begin later than what is replayed: how a circuit stood at a moment, and what was
its last valid batch, only what came before tells.

Evaluations are read and forgotten one after the other; what stays grows with what happened to the
circuits, not with how often they were evaluated. But where partitions that have circuits of their
own stand in for one another, each batch that passed leaves eight bytes: they are replayed twice.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import merge
from itertools import chain, groupby
from operator import itemgetter

import sqlalchemy as sa

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState
from dagster_contracts.core.contract import CircuitScope, Contract, SourceKind
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.backtest.arrivals import Arrivals, assumptions
from dagster_contracts.resilience.backtest.circuit_replay import CircuitReplay, Stretch
from dagster_contracts.resilience.backtest.curve import Curves, Point
from dagster_contracts.resilience.backtest.decisions import Decisions, LeftOut
from dagster_contracts.resilience.backtest.last_valid import LastValid
from dagster_contracts.resilience.backtest.opening import (
    Opening,
    openings_of,
    reaching_into,
    recorded_openings,
    time_open,
)
from dagster_contracts.resilience.backtest.recorded import Extent, Recorded, Records
from dagster_contracts.resilience.backtest.succession import partition_times, superseded_at
from dagster_contracts.resilience.oldest import OldestEvent, oldest_events
from dagster_contracts.resilience.wake import clock_metrics
from dagster_contracts.resilience.watched import policy_of, watched_metrics
from dagster_contracts.store.columns import to_micros
from dagster_contracts.store.database import Store

_TOLD_EVERY = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBacktest:
    """What one circuit would have done; ``recorded`` are the openings that really happened.

    It is told from ``since`` on, the first evaluation that the store still has where that is later
    than what was asked for; ``forgotten`` says that retention removed what came before.
    ``evaluations`` are those from there on; an opening may have begun before.
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
        """How long the circuit was not closed, from ``since`` up to ``until``."""
        return time_open(self.openings, self.since, until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """The whole replay, of what was asked for: ``since`` until ``until``.

    ``recorded_since`` is when the first evaluation that the store still has of these circuits was
    recorded: from there on they are replayed, and what came before it nobody knows.
    ``never_measured`` are the metrics of the contract's conditions of which the history has no
    value: those conditions were unknown all along. ``assumed`` says what was taken for granted,
    ``left_out`` are the operators' overrides that stood in that time.
    """

    contract: Contract
    since: datetime
    until: datetime
    circuits: tuple[CircuitBacktest, ...]
    recorded_since: datetime | None = None
    never_measured: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

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

    ``since``: only what happened from there on is told, though all that the store still has is
    replayed; ``None`` for all of it. ``asset`` leaves out the circuits of other assets, and a
    partition to which nothing happened in that time is left out. ``curves``: of how many circuits
    the metrics are drawn, of those with most trouble. ``progress`` is told now and then how far the
    replay is. Nothing is written, and no writer waits for it.

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
    records = Records(contract=contract.name, scoped=scoped, asset=asset)
    with store.read() as conn:
        replay = _Replay(conn, contract, records, since, now or store.now(conn), curves)
        replay.run(progress)
    return replay.result()


class _Replay:
    """The circuits of a contract, replayed one after the other."""

    def __init__(
        self,
        conn: sa.Connection,
        contract: Contract,
        records: Records,
        since: datetime | None,
        until: datetime,
        curves: int,
    ) -> None:
        self._conn = conn
        self._contract = contract
        self._records = records
        self._until = until
        self._most_curves = curves
        self._extents: dict[CircuitKey, Extent] = records.extents(conn)
        self._recorded_since = min((one.first for one in self._extents.values()), default=None)
        start = self._recorded_since or until
        self._begin = since or start
        self._decisions = Decisions(conn, contract.name, records.asset)
        self._passed: dict[str, array[int]] = {}
        self._arrivals = Arrivals(conn, contract)
        self._oldest: dict[CircuitKey, OldestEvent] = oldest_events(conn, contract.name)
        begins = partition_times(conn, contract, records) if records.scoped else {}
        self._superseded = superseded_at(begins, self._extents, start)
        self._watched = watched_metrics(contract)
        self._measured: set[str] = set()
        self._found: list[CircuitBacktest] = []
        self._drawn: list[tuple[timedelta, CircuitKey, Curves]] = []

    def run(self, progress: Callable[[str], None] | None) -> None:
        """Replay everything."""
        total = sum(one.evaluations for one in self._extents.values())
        counted = 0
        twice = self._stand_in_for_one_another
        for first_time in (True, False) if twice else (False,):
            recorded = self._records.read(self._conn, self._watched)
            if progress is not None:
                recorded = _told(recorded, progress, counted, total * (1 + twice))
                counted += total
            groups = groupby(recorded, key=itemgetter(0))
            if first_time:
                self._find_passed((key, (one for _, one in group)) for key, group in groups)
                continue
            for key, group in groups:
                self._replay(key, (one for _, one in group))

    @property
    def _stand_in_for_one_another(self) -> bool:
        """Whether a partition with a circuit of its own may be served another's last valid one."""
        assert self._contract.resilience is not None
        return self._records.scoped and any(
            level.any_partition and level.source.kind is SourceKind.LAST_VALID
            for level in self._contract.resilience.fallbacks
        )

    def _find_passed(self, groups: Iterator[tuple[CircuitKey, Iterator[Recorded]]]) -> None:
        """When batches of each asset passed, whatever their partition."""
        passed: dict[str, list[array[int]]] = {}
        for key, group in groups:
            earliest = next(group)
            turn = self._turn(key, earliest.at, earliest.at)
            moments = (to_micros(one.at) for one in chain((earliest,), group) if turn.take(one))
            passed.setdefault(key.asset, []).append(array("q", moments))
        self._passed = {asset: array("q", merge(*each)) for asset, each in passed.items()}

    def _turn(self, key: CircuitKey, start: datetime, shown_from: datetime) -> CircuitReplay:
        return CircuitReplay(
            self._contract,
            key,
            self._arrivals,
            start,
            shown_from=shown_from,
            superseded=self._superseded.get(key),
            resets=self._decisions.resets(key),
            last_valid=LastValid(self._passed.get(key.asset)),
        )

    def result(self) -> Backtest:
        """What came of it."""
        drawn = {key: curves.points() for _, key, curves in self._drawn}
        clock = clock_metrics(Circuit(key=CircuitKey("", "")), self._contract, self._until)
        return Backtest(
            contract=self._contract,
            since=self._begin,
            until=self._until,
            circuits=tuple(
                replace(one, curves=drawn[one.key]) if one.key in drawn else one
                for one in sorted(self._found, key=lambda one: one.key)
            ),
            recorded_since=self._recorded_since,
            never_measured=tuple(sorted(self._watched - self._measured - set(clock))),
            assumed=assumptions(self._contract, self._arrivals),
            left_out=tuple(
                one
                for one in self._decisions.left_out(self._begin, self._until)
                if one.key.partition is None or one.key in self._extents
            ),
        )

    def _replay(self, key: CircuitKey, group: Iterator[Recorded]) -> None:
        earliest = next(group)
        extent, oldest = self._extents.get(key), self._oldest.get(key)
        first = min(extent.first, earliest.at) if extent else earliest.at
        start = max(self._begin, first)
        turn = self._turn(key, first, start)
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
            openings=tuple(reaching_into(openings_of(turn.transitions), start)),
            stretches=tuple(turn.stretches),
            recorded=really,
            since=start,
            told_since=told,
            forgotten=oldest is not None and oldest.is_sum and start == first,
        )
        if key.partition is not None and not _has_happened(circuit):
            return
        self._found.append(circuit)
        if curves is not None:
            # A thousand partitions have as many curves, and few of them are looked at.
            self._drawn.append((-circuit.time_open(self._until), key, curves))
            self._drawn.sort(key=itemgetter(0, 1))
            del self._drawn[self._most_curves :]


def _has_happened(circuit: CircuitBacktest) -> bool:
    """Whether a circuit was evaluated in the time that is told of, or was anything but closed."""
    closed = len(circuit.stretches) == 1 and circuit.stretches[0].state is CircuitState.CLOSED
    return bool(circuit.evaluations or circuit.recorded) or not closed


def _told(
    recorded: Iterator[tuple[CircuitKey, Recorded]],
    progress: Callable[[str], None],
    counted: int,
    total: int,
) -> Iterator[tuple[CircuitKey, Recorded]]:
    """The same; of every thousandth it is told that it was replayed."""
    for number, one in enumerate(recorded, start=counted + 1):
        yield one
        if number % _TOLD_EVERY == 0:
            progress(f"{number:,} of {total:,} evaluations")
