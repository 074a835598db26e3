"""One circuit on its way through what was recorded: by the machine and the routing that run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from sys import intern

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitEvent,
    CircuitKey,
    CircuitState,
    Failed,
    Observed,
    Placed,
    PolicyChanged,
    Reset,
    StateTransition,
    Ticked,
    advance,
    why_not_passed,
    would_open,
)
from dagster_contracts.core.condition import Observation, Truth, comparisons_of
from dagster_contracts.core.contract import (
    CircuitPolicy,
    Contract,
    FallbackLevel,
    ProbeMode,
    SourceKind,
)
from dagster_contracts.core.routing import CurrentLevel, LevelStatus, activation_of, choose_route
from dagster_contracts.resilience.backtest.arrivals import Arrivals
from dagster_contracts.resilience.backtest.last_valid import LastValid
from dagster_contracts.resilience.backtest.recorded import Recorded
from dagster_contracts.resilience.wake import JUST_AFTER, clock_metrics, is_unjudged, wake_at
from dagster_contracts.resilience.watched import told_by_others, watched_metrics

_NO_JITTER = 0.5
_LOOKED_AT = 8
"""Of how many partitions that a circuit waits for it is found out what they are served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time through which nothing changed for consumers.

    ``level`` is what they were served, ``None`` where no level was usable. Where a circuit of the
    whole asset waits for several partitions and they were not served alike, ``levels`` are what
    they were served, in the order of the contract, and ``level`` is the last of them.
    """

    since: datetime
    until: datetime
    state: CircuitState
    level: str | None
    reason: str
    levels: tuple[str | None, ...] = ()


class CircuitReplay:
    """What one circuit would have done, as far as it was replayed.

    It begins at ``begin``, and what was over by ``shown_from`` is forgotten. ``superseded`` is when
    its partition begins and when a newer one was evaluated, ``resets`` are those of operators.
    """

    def __init__(
        self,
        contract: Contract,
        key: CircuitKey,
        arrivals: Arrivals,
        begin: datetime,
        *,
        shown_from: datetime | None = None,
        superseded: tuple[datetime, datetime] | None = None,
        resets: Sequence[tuple[datetime, Reset]] = (),
        last_valid: LastValid | None = None,
    ) -> None:
        assert contract.resilience is not None
        self._contract = contract
        self._resilience = contract.resilience
        # Nobody is asked for a probe: the next recorded evaluation is it, of whatever partition.
        policy = self._resilience.circuit
        self._policy = replace(policy, recovery=replace(policy.recovery, probe=ProbeMode.WAIT))
        self._is_patient = _is_patient(policy)
        self._watched = watched_metrics(contract)
        self._told_by_others = told_by_others(contract)
        self._arrivals = arrivals
        levels = self._resilience.levels
        self._keeps_batches = any(one.source.kind is SourceKind.LAST_VALID for one in levels)
        self._may_degrade = self._resilience.primary is None or any(
            level.activation_conditions for level in levels
        )
        self._rank = {level.name: rank for rank, level in enumerate(levels)}
        self._shown_from = shown_from or begin
        self._superseded = superseded
        self._resets = deque(reset for reset in resets if reset[0] >= begin)
        self._now = begin
        self._unjudged = False
        self._last_valid = last_valid or LastValid()
        self._current: dict[str | None, CurrentLevel] = {}
        self.evaluations = 0
        self.transitions: list[StateTransition] = []
        self.stretches: list[Stretch] = []
        self._circuit = Circuit(key=key)
        self._advance(PolicyChanged(policy_hash=contract.semantic_hash), begin)

    def take(self, one: Recorded) -> bool:
        """What was recorded happens again, after the time before it has passed.

        The answer is whether its batch would have been kept as the last valid one.
        """
        self._go_on(one.at)
        self._wait(one.at)
        now = max(one.at, self._now)
        self.evaluations += one.at >= self._shown_from
        if one.is_failure:
            self._advance(self._failed(one), now)
            return False
        batch = Observed(
            evaluation_id=one.evaluation_id,
            metrics=one.metrics,
            event_time=one.event_time,
            partition=one.partition,
            backfill=one.backfill,
            arrived=one.rows is not None,
            # What others reported saw no rows; it goes by its own time.
            evaluated_at=min(one.evaluated_at, one.at) if one.rows is None else None,
            silent=(self._watched if one.rows is None else self._told_by_others)
            - one.metrics.keys(),
        )
        passes = self._keeps_batches and self._passes(batch, now)
        if passes:
            self._last_valid.passed(one.partition, now)
        self._advance(batch, now)
        return passes

    def end(self, until: datetime) -> None:
        """Let the rest of the time pass."""
        # Who resets at the very end has seen the last evaluation.
        self._go_on(until + JUST_AFTER)
        self._wait(until)
        self.stretches[-1] = replace(self.stretches[-1], until=max(until, self._now))
        if self.stretches[0].since < self._shown_from:
            self.stretches[0] = replace(self.stretches[0], since=self._shown_from)

    def _go_on(self, until: datetime) -> None:
        """What nobody evaluated happens as well, each at its time."""
        while True:
            newer = self._superseded
            if newer is not None and newer[1] > until:
                newer = None
            reset = self._resets[0] if self._resets and self._resets[0][0] < until else None
            if reset is not None and (newer is None or reset[0] < newer[1]):
                self._resets.popleft()
                self._wait(reset[0])
                self._advance(reset[1], max(reset[0], self._now))
            elif newer is not None:
                self._supersede(*newer)
            else:
                return

    def _wait(self, until: datetime) -> None:
        """Let time pass up to ``until``, stopping wherever waiting changes something."""
        if self._unjudged and self._now < until:
            self._tick(self._now)
        while True:
            wake = wake_at(self._circuit, self._contract, self._now)
            moments = [m for m in (wake, *self._route_moments()) if m and self._now < m < until]
            if not moments:
                return
            self._tick(min(moments))

    def _tick(self, now: datetime) -> None:
        self._advance(Ticked(metrics=clock_metrics(self._circuit, self._contract, now)), now)

    def _supersede(self, time: datetime, at: datetime) -> None:
        """A newer partition was evaluated: time no longer speaks of this one."""
        self._superseded = None
        self._wait(at)
        self._advance(Placed(time=time, superseded=True), max(at, self._now))

    def _failed(self, one: Recorded) -> Failed:
        clock = clock_metrics(self._circuit, self._contract, one.at)
        (metric,) = one.metrics
        return Failed(
            evaluation_id=one.evaluation_id,
            what=one.explanation or metric,
            metric=metric,
            # Only what is late of failures is recorded so.
            late="a backfill, or an older partition" if one.backfill else None,
            metrics={**clock, **one.metrics},
        )

    def _passes(self, batch: Observed, now: datetime) -> bool:
        """Whether a batch would have been kept as the last valid one: by the rule of a run."""
        circuit, policy = self._circuit, self._policy
        if why_not_passed(circuit, batch, policy=policy, now=now) is not None:
            return False
        # Without patience, what is good by itself is not refused either.
        return not self._is_patient or (
            would_open(circuit, batch, policy=policy, now=now).truth is not Truth.TRUE
        )

    def _advance(self, event: CircuitEvent, now: datetime) -> None:
        self._now = now
        step = advance(self._circuit, event, policy=self._policy, now=now, random=_NO_JITTER)
        self._circuit = step.circuit
        self.transitions.extend(step.transitions)
        if step.circuit.state is CircuitState.CLOSED and now < self._shown_from:
            self.transitions.clear()
        self._unjudged = is_unjudged(event, step, self._contract, now)
        self._serve(now)

    def _serve(self, now: datetime) -> None:
        state = self._circuit.effective_state
        last = self.stretches[-1] if self.stretches else None
        still_closed = last is not None and last.state is state is CircuitState.CLOSED
        if still_closed and not self._may_degrade:
            return  # Only an opening leads away from the primary.
        explained = self._routes(now)
        served = sorted(
            explained, key=lambda name: len(self._rank) if name is None else self._rank[name]
        )
        level, levels = served[-1], tuple(served) if len(served) > 1 else ()
        if last is not None and (last.level, last.levels, last.state) == (level, levels, state):
            return
        if last is not None and now > self._shown_from:
            self.stretches[-1] = replace(last, until=now)
        elif last is not None:
            self.stretches.clear()
        self.stretches.append(
            Stretch(
                since=now,
                until=now,
                state=state,
                level=level,
                reason=intern(explained[level]),
                levels=levels,
            )
        )

    def _routes(self, now: datetime) -> dict[str | None, str]:
        """The levels that the partitions of interest are served, each with why it is."""
        window = self._seen(now) if self._may_degrade else ()
        explained: dict[str | None, str] = {}
        current: dict[str | None, CurrentLevel] = {}
        for partition in self._concerned():
            before = self._current.get(partition)
            route = choose_route(
                [self._status(one, partition, window, now) for one in self._resilience.levels],
                self._circuit,
                holds_lease=False,
                now=now,
                current=before,
            )
            name = route.level.name if route.level else None
            explained.setdefault(name, route.explanation)
            if name is not None and (before is None or before.name != name):
                before = CurrentLevel(name, now, route.reason)
            if before is not None:
                current[partition] = before
        self._current = current
        return explained

    def _concerned(self) -> Sequence[str | None]:
        """The partitions whose consumers are looked at: those that the circuit waits for."""
        circuit = self._circuit
        if circuit.key.partition is not None:
            return (circuit.key.partition,)
        waits = circuit.effective_state is not CircuitState.CLOSED
        if waits and circuit.bad_partitions:
            return [bad.name for bad in circuit.bad_partitions[:_LOOKED_AT]]
        return (circuit.last_partition,)

    def _seen(self, now: datetime) -> Sequence[Observation]:
        """What a read would have looked at: the last evaluation, and what has grown old since."""
        seen = self._circuit.observations
        aged = {
            **(seen[-1].metrics if seen else {}),
            **clock_metrics(self._circuit, self._contract, now),
        }
        return (*seen, Observation(now, aged, check=False))

    def _status(
        self,
        level: FallbackLevel,
        partition: str | None,
        window: Sequence[Observation],
        now: datetime,
    ) -> LevelStatus:
        newest = self._newest(level, partition, now)
        return LevelStatus(
            level=level,
            exists=self._is_there(level, partition, newest, now),
            age=None if newest is None else now - newest,
            activation=activation_of(level, window),
        )

    def _is_there(
        self, level: FallbackLevel, partition: str | None, newest: datetime | None, now: datetime
    ) -> bool:
        match level.source.kind:
            case SourceKind.LAST_VALID:
                return newest is not None
            case SourceKind.ASSET:
                return not self._arrivals.is_missing(level, partition, now)
            case _:
                return True

    def _newest(
        self, level: FallbackLevel, partition: str | None, now: datetime
    ) -> datetime | None:
        """When the data of a level was made; ``now`` where nobody recorded it."""
        match level.source.kind:
            case SourceKind.LAST_VALID:
                any_partition = level.any_partition
                return self._last_valid.newest(partition, now, any_partition=any_partition)
            case SourceKind.ASSET if level.source.name in self._arrivals:
                return self._arrivals.newest(level, partition, now)
            case SourceKind.SUBSET:
                return self._circuit.last_observed_at
            case _:
                return now

    def _coming(self, level: FallbackLevel, partition: str | None) -> datetime | None:
        """When the next batch comes that a level can be made of, though nothing happens here."""
        if level.source.kind is SourceKind.LAST_VALID and level.any_partition:
            return self._last_valid.next_elsewhere(partition, self._now)
        if level.source.kind is SourceKind.ASSET:
            return self._arrivals.next(level, partition, self._now)
        return None

    def _route_moments(self) -> Iterator[datetime | None]:
        """When a level grows too old, or may be left again."""
        partitions = self._concerned()
        for level in self._resilience.fallbacks:
            for partition in partitions:
                newest = self._newest(level, partition, self._now)
                if newest is not None and level.max_age is not None and newest < self._now:
                    yield newest + level.max_age + JUST_AFTER
                is_too_old = level.max_age and newest and self._now - newest > level.max_age
                if newest is None or is_too_old:
                    yield self._coming(level, partition)
                current = self._current.get(partition)
                if current is not None and current.name == level.name:
                    yield current.since + level.min_dwell


def _is_patient(policy: CircuitPolicy) -> bool:
    """Whether a batch may be refused for those before it, or be let through though it is bad."""
    compared = (c for condition in policy.open_when for c in comparisons_of(condition))
    return policy.window > 1 or any(comparison.hold is not None for comparison in compared)
