"""A backtest: the recorded evaluations again, under the rules of this contract or an edited one.

The machine and the routing are the ones that run; only time is made up: between two evaluations
the clock stops at each moment at which waiting alone could change something. Probes are not asked
for, because nobody knows what they would have seen: the next recorded evaluation after a probe was
due is the probe. Jitter is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import count
from sys import intern

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitEvent,
    CircuitKey,
    CircuitState,
    Failed,
    Observed,
    Placed,
    PolicyChanged,
    StateTransition,
    Ticked,
    advance,
    why_not_passed,
)
from dagster_contracts.core.circuit import would_open as judge
from dagster_contracts.core.condition import Observation, Truth
from dagster_contracts.core.contract import (
    CircuitScope,
    Contract,
    FallbackLevel,
    ProbeMode,
    SourceKind,
)
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.core.routing import CurrentLevel, LevelStatus, activation_of, choose_route
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.circuit_rows import read_circuits, read_history
from dagster_contracts.resilience.history import HistoryEntry
from dagster_contracts.resilience.oldest import OldestEvent, oldest_events
from dagster_contracts.resilience.wake import clock_metrics, is_unjudged, wake_at
from dagster_contracts.resilience.watched import policy_of, watched_metrics
from dagster_contracts.store.columns import UtcTime
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import observations

_NO_JITTER = 0.5
_ALL_HISTORY = 1_000_000
_TOLD_EVERY = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An evaluation as it was recorded, or a failure where there was nothing to evaluate.

    ``metrics`` are exact; ``None`` is a metric that could not be measured.
    """

    evaluation_id: str
    asset: str
    partition: str | None
    at: datetime
    evaluated_at: datetime
    event_time: datetime | None
    backfill: bool
    rows: int | None
    status: str
    metrics: Mapping[str, Fraction | None]
    explanation: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether a materialization or a read failed, so that no batch was looked at."""
        return (
            self.rows is None
            and self.status == OutcomeStatus.NOT_EVALUATED.value
            and len(self.metrics) == 1
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """From an opening to the closing that ended it; ``until`` is ``None`` where none did."""

    since: datetime
    until: datetime | None
    reason: str
    evaluation_id: str | None
    failed_probes: int = 0
    exhausted: bool = False
    ended: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time through which nothing changed for consumers.

    ``level`` is what they were served, ``None`` where no level was usable.
    """

    since: datetime
    until: datetime
    state: CircuitState
    level: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBacktest:
    """What one circuit would have done; ``recorded`` are the openings that really happened.

    The replay goes from ``since`` on, the first evaluation that the store still has where that is
    later than what was asked for; ``forgotten`` says that retention removed what came before.
    ``told_since`` is set where the openings that really happened are known from a later moment
    only.
    """

    key: CircuitKey
    evaluations: tuple[Recorded, ...]
    openings: tuple[Opening, ...]
    stretches: tuple[Stretch, ...]
    recorded: tuple[Opening, ...]
    since: datetime
    told_since: datetime | None = None
    forgotten: bool = False

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


def time_open(openings: Iterable[Opening], until: datetime) -> timedelta:
    """The sum of what the openings lasted, up to ``until``."""
    return sum(((o.until or until) - o.since for o in openings), timedelta(0))


def backtest(
    store: Store,
    contract: Contract,
    *,
    since: datetime | None = None,
    asset: str | None = None,
    now: datetime | None = None,
    progress: Callable[[str], None] | None = None,
) -> Backtest:
    """Replay what was recorded of ``contract`` (by name) through the rules of ``contract``.

    ``since``: only evaluations from there on; ``None`` for all that the store still has. ``asset``
    leaves out the circuits of other assets. ``progress`` is told now and then how far the replay
    is. Nothing is written.

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
    with store.read() as conn:
        until = now or store.now(conn)
        recorded = read_recorded(conn, contract.name, asset=asset, since=since)
        sources = _source_arrivals(conn, contract)
        histories = {
            key: read_history(conn, key, _ALL_HISTORY, transitions_only=True)
            for key in {CircuitKey(contract.name, r.asset) for r in recorded}
            | {CircuitKey(contract.name, r.asset, r.partition) for r in recorded}
        }
        known = read_circuits(conn, contracts=[contract.name]) if scoped else []
        kept = _first_recorded(conn, contract.name, scoped=scoped)
        oldest_of = oldest_events(conn, contract.name)
    begin = since or (recorded[0].at if recorded else until)
    groups: dict[CircuitKey, list[Recorded]] = {}
    for one in recorded:
        key = CircuitKey(contract.name, one.asset, one.partition if scoped else None)
        groups.setdefault(key, []).append(one)
    begins = _partition_times(contract, groups, [stored.circuit for stored in known])
    superseded = _superseded(begins, groups, begin)
    found = []
    counted = _counted(progress, len(recorded))
    for key, group in sorted(groups.items()):
        first = min(kept.get(key, group[0].at), group[0].at)
        start, oldest = max(begin, first), oldest_of.get(key)
        really, told = _recorded_openings(histories.get(key, []), oldest, start, until)
        turn = _replay(contract, key, group, sources, start, until, superseded.get(key), counted)
        found.append(
            CircuitBacktest(
                key=key,
                evaluations=tuple(group),
                openings=_openings(turn.transitions),
                stretches=tuple(turn.stretches),
                recorded=really,
                since=start,
                told_since=told,
                forgotten=oldest is not None and oldest.is_sum and start == first,
            )
        )
    measured = {name for r in recorded for name, value in r.metrics.items() if value is not None}
    clock = set(clock_metrics(Circuit(key=CircuitKey("", "")), contract, until))
    return Backtest(
        contract=contract,
        since=begin,
        until=until,
        circuits=tuple(found),
        recorded_since=min((kept[c.key] for c in found if c.key in kept), default=None),
        never_measured=tuple(sorted(watched_metrics(contract) - measured - clock)),
        assumed=_assumptions(contract, sources),
    )


def read_recorded(
    conn: sa.Connection, contract: str, *, asset: str | None = None, since: datetime | None = None
) -> list[Recorded]:
    """The evaluations of a contract in the order in which they were recorded."""
    seen = observations.c
    query = (
        sa.select(observations)
        .where(seen.contract == contract)
        .order_by(seen.observed_at, seen.evaluation_id)
    )
    if asset is not None:
        query = query.where(seen.asset == asset)
    if since is not None:
        query = query.where(seen.observed_at >= since)
    return [
        Recorded(
            evaluation_id=row.evaluation_id,
            asset=row.asset,
            partition=row.partition or None,
            at=row.observed_at,
            evaluated_at=row.evaluated_at,
            event_time=row.event_time,
            backfill=row.backfill,
            rows=row.rows,
            status=row.status,
            metrics={
                intern(name): None if value is None else _exact(value)
                for name, value in row.metrics.items()
            },
            explanation=row.unknown_because.get("", ""),
        )
        for row in conn.execute(query)
    ]


def _counted(progress: Callable[[str], None] | None, total: int) -> Callable[[], None]:
    """What is called after each evaluation; every thousandth is told."""
    numbers = count(1)

    def one() -> None:
        number = next(numbers)
        if progress is not None and number % _TOLD_EVERY == 0:
            progress(f"{number:,} of {total:,} evaluations")

    return one


def _first_recorded(
    conn: sa.Connection, contract: str, *, scoped: bool
) -> dict[CircuitKey, datetime]:
    """When the first evaluation of each circuit was recorded that is not forgotten."""
    seen = observations.c
    parts = (seen.asset, seen.partition) if scoped else (seen.asset,)
    query = (
        sa.select(*parts, sa.func.min(seen.observed_at, type_=UtcTime).label("first"))
        .where(seen.contract == contract)
        .group_by(*parts)
    )
    return {
        CircuitKey(contract, row.asset, (row.partition or None) if scoped else None): row.first
        for row in conn.execute(query)
    }


@lru_cache(maxsize=4096)
def _exact(value: str) -> Fraction:
    # A history says the same few values over and over.
    return Fraction(value)


def _partition_times(
    contract: Contract, groups: Mapping[CircuitKey, Sequence[Recorded]], known: Iterable[Circuit]
) -> dict[CircuitKey, datetime]:
    """When each partition begins, as far as its circuit or its evaluations tell."""
    found = {
        circuit.key: circuit.partition_time
        for circuit in known
        if circuit.key.partition is not None and circuit.partition_time is not None
    }
    if contract.event_time is None:
        # Then the event time of an evaluation is where its partition begins.
        for key, group in groups.items():
            times = [one.event_time for one in group if one.event_time is not None]
            if key.partition is not None and times:
                found.setdefault(key, times[-1])
    return found


def _superseded(
    begins: Mapping[CircuitKey, datetime],
    groups: Mapping[CircuitKey, Sequence[Recorded]],
    begin: datetime,
) -> dict[CircuitKey, tuple[datetime, datetime]]:
    """When each partition begins, and when the first newer one of its asset was evaluated.

    One that was evaluated before the time of the replay was so from the beginning.
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
        group = groups.get(key)
        waiting.append((key.asset, group[0].at if group else begin))
    return found


def _source_arrivals(conn: sa.Connection, contract: Contract) -> dict[str, list[datetime]]:
    """When data arrived in the sources of the levels, as far as contracts of theirs recorded it."""
    assert contract.resilience is not None
    names = {
        level.source.name
        for level in contract.resilience.fallbacks
        if level.source.kind is SourceKind.ASSET
    }
    seen = observations.c
    found: dict[str, list[datetime]] = {}
    for row in conn.execute(
        sa.select(seen.contract, seen.asset, seen.observed_at)
        .where(sa.or_(seen.contract.in_(names), seen.asset.in_(names)), seen.rows.is_not(None))
        .order_by(seen.observed_at)
    ):
        for name in names & {row.contract, row.asset}:
            found.setdefault(name, []).append(row.observed_at)
    return found


def _assumptions(contract: Contract, sources: Mapping[str, object]) -> tuple[str, ...]:
    assert contract.resilience is not None
    said = []
    for level in contract.resilience.fallbacks:
        match level.source.kind:
            case SourceKind.ASSET if level.source.name not in sources:
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


def _replay(
    contract: Contract,
    key: CircuitKey,
    recorded: Sequence[Recorded],
    sources: Mapping[str, Sequence[datetime]],
    begin: datetime,
    until: datetime,
    superseded: tuple[datetime, datetime] | None,
    counted: Callable[[], None],
) -> _Replay:
    turn = _Replay(contract, key, sources, begin)
    for one in recorded:
        if superseded is not None and superseded[1] <= one.at:
            turn.supersede(*superseded)
            superseded = None
        turn.wait(one.at)
        turn.take(one)
        counted()
    if superseded is not None and superseded[1] < until:
        turn.supersede(*superseded)
    turn.wait(until)
    turn.end(until)
    return turn


class _Replay:
    """One circuit on its way through the history."""

    def __init__(
        self,
        contract: Contract,
        key: CircuitKey,
        sources: Mapping[str, Sequence[datetime]],
        begin: datetime,
    ) -> None:
        assert contract.resilience is not None
        self._contract = contract
        self._resilience = contract.resilience
        self._watched = watched_metrics(contract)
        # Nobody is asked for a probe: the next recorded evaluation is it, of whatever partition.
        policy = self._resilience.circuit
        self._policy = replace(policy, recovery=replace(policy.recovery, probe=ProbeMode.WAIT))
        self._sources = sources
        self._keeps_batches = any(
            level.source.kind is SourceKind.LAST_VALID for level in self._resilience.levels
        )
        self._now = begin
        self._unjudged = False
        self._passed_at: datetime | None = None
        self._current: CurrentLevel | None = None
        self._arrived = dict.fromkeys(sources, 0)
        self.transitions: list[StateTransition] = []
        self.stretches: list[Stretch] = []
        self.circuit = Circuit(key=key)
        self._advance(PolicyChanged(policy_hash=contract.semantic_hash), begin)

    def wait(self, until: datetime) -> None:
        """Let time pass up to ``until``, stopping wherever waiting changes something."""
        if self._unjudged and self._now < until:
            self._tick(self._now)
        while True:
            wake = wake_at(self.circuit, self._contract, self._now)
            moments = [m for m in (wake, *self._route_moments()) if m and self._now < m < until]
            if not moments:
                return
            self._tick(min(moments))

    def _tick(self, now: datetime) -> None:
        self._advance(Ticked(metrics=clock_metrics(self.circuit, self._contract, now)), now)

    def supersede(self, time: datetime, at: datetime) -> None:
        """A newer partition was evaluated: time no longer speaks of this one."""
        self.wait(at)
        self._advance(Placed(time=time, superseded=True), max(at, self._now))

    def take(self, one: Recorded) -> None:
        """What was recorded happens again."""
        event: CircuitEvent
        if one.is_failure:
            clock = clock_metrics(self.circuit, self._contract, one.at)
            (metric,) = one.metrics
            event = Failed(
                evaluation_id=one.evaluation_id,
                what=one.explanation or metric,
                metric=metric,
                # Only what is late of failures is recorded so.
                late="a backfill, or an older partition" if one.backfill else None,
                metrics={**clock, **one.metrics},
            )
        else:
            event = Observed(
                evaluation_id=one.evaluation_id,
                metrics={n: value for n, value in one.metrics.items() if n in self._watched},
                event_time=one.event_time,
                partition=one.partition,
                backfill=one.backfill,
                arrived=one.rows is not None,
                # What others reported saw no rows; it goes by its own time.
                evaluated_at=min(one.evaluated_at, one.at) if one.rows is None else None,
            )
            if self._keeps_batches and self._passes(event, max(one.at, self._now)):
                self._passed_at = max(one.at, self._now)
        self._advance(event, max(one.at, self._now))

    def _passes(self, batch: Observed, now: datetime) -> bool:
        """Whether a batch would have been kept as the last valid one: by the rule of a run."""
        policy = self._policy
        refused = judge(self.circuit, batch, policy=policy, now=now).truth is Truth.TRUE
        return not refused and why_not_passed(self.circuit, batch, policy=policy, now=now) is None

    def end(self, until: datetime) -> None:
        """Close the last stretch."""
        if self.stretches:
            self.stretches[-1] = replace(self.stretches[-1], until=max(until, self._now))

    def _advance(self, event: CircuitEvent, now: datetime) -> None:
        self._now = now
        step = advance(self.circuit, event, policy=self._policy, now=now, random=_NO_JITTER)
        self.circuit = step.circuit
        self.transitions.extend(step.transitions)
        self._unjudged = is_unjudged(event, step, self._contract, now)
        self._serve(now)

    def _serve(self, now: datetime) -> None:
        # What a read would have looked at: the last evaluation, and what has grown old since.
        seen = self.circuit.observations
        aged = {
            **(seen[-1].metrics if seen else {}),
            **clock_metrics(self.circuit, self._contract, now),
        }
        window = (*seen, Observation(now, aged, check=False))
        route = choose_route(
            [self._status(level, window, now) for level in self._resilience.levels],
            self.circuit,
            holds_lease=False,
            now=now,
            current=self._current,
        )
        state = self.circuit.effective_state
        name = route.level.name if route.level else None
        last = self.stretches[-1] if self.stretches else None
        if last is not None and (last.level, last.state) == (name, state):
            return
        if last is not None:
            self.stretches[-1] = replace(last, until=now)
        if name is not None and (self._current is None or self._current.name != name):
            self._current = CurrentLevel(name, now, route.reason)
        self.stretches.append(
            Stretch(since=now, until=now, state=state, level=name, reason=route.explanation)
        )

    def _status(
        self, level: FallbackLevel, window: Sequence[Observation], now: datetime
    ) -> LevelStatus:
        newest = self._newest(level, now)
        return LevelStatus(
            level=level,
            exists=level.source.kind is not SourceKind.LAST_VALID or newest is not None,
            age=None if newest is None else now - newest,
            activation=activation_of(level, window),
        )

    def _newest(self, level: FallbackLevel, now: datetime) -> datetime | None:
        """When the data of a level was made; ``now`` where nobody recorded it."""
        match level.source.kind:
            case SourceKind.LAST_VALID:
                return self._passed_at
            case SourceKind.ASSET if level.source.name in self._sources:
                arrivals = self._sources[level.source.name]
                position = self._arrived[level.source.name]
                while position < len(arrivals) and arrivals[position] <= now:
                    position += 1
                self._arrived[level.source.name] = position
                return arrivals[position - 1] if position else None
            case SourceKind.SUBSET:
                return self.circuit.last_observed_at
            case _:
                return now

    def _route_moments(self) -> Iterable[datetime]:
        """When a level grows too old, or may be left again."""
        just_after = timedelta(milliseconds=1)
        for level in self._resilience.fallbacks:
            newest = self._newest(level, self._now)
            if level.max_age is not None and newest is not None and newest < self._now:
                yield newest + level.max_age + just_after
            if self._current is not None and self._current.name == level.name:
                yield self._current.since + level.min_dwell


def _openings(
    changes: Iterable[StateTransition | HistoryEntry], before: Opening | None = None
) -> tuple[Opening, ...]:
    """The openings among changes of one circuit, oldest first; ``before`` began before them."""
    found: list[Opening] = [] if before is None else [before]
    for change in changes:
        if change.before is change.after:
            continue
        if change.before is CircuitState.CLOSED:
            found.append(
                Opening(
                    since=change.at,
                    until=None,
                    reason=change.explanation,
                    evaluation_id=change.evaluation_id,
                )
            )
        elif found and found[-1].until is None:
            found[-1] = _gone_on(found[-1], change)
    return tuple(found)


def _recorded_openings(
    history: Sequence[HistoryEntry], oldest: OldestEvent | None, begin: datetime, until: datetime
) -> tuple[tuple[Opening, ...], datetime | None]:
    """Those that really happened and reach into the time of the replay.

    And since when they are known, where retention has removed some of that time's events.
    """
    entries: list[HistoryEntry] = sorted(history, key=lambda entry: entry.version)
    before = told = None
    if oldest is not None and oldest.is_sum:
        # The line itself is told of by the sum: it may be the opening.
        entries = [entry for entry in entries if entry.version > oldest.version]
        if oldest.circuit.state is not CircuitState.CLOSED:
            before = Opening(
                since=oldest.circuit.opened_at or oldest.at,
                until=None,
                reason=oldest.circuit.reason or "no reason was recorded",
                evaluation_id=oldest.circuit.evaluation_id,
            )
        told = oldest.at if begin < oldest.at < until else None
    return tuple(
        replace(opening, since=max(opening.since, begin))
        for opening in _openings(entries, before)
        if opening.until is None or opening.until > begin
    ), told


def _gone_on(opening: Opening, change: StateTransition | HistoryEntry) -> Opening:
    """An opening after one more change of its circuit."""
    if change.after is CircuitState.CLOSED:
        return replace(opening, until=change.at, ended=change.explanation)
    failed = change.before is CircuitState.HALF_OPEN
    return replace(
        opening,
        failed_probes=opening.failed_probes + failed,
        exhausted=opening.exhausted or change.after is CircuitState.EXHAUSTED,
    )
