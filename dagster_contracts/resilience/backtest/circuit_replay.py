"""One circuit on its way through what was recorded: by the machine and the routing that run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
from dagster_contracts.resilience.backtest.recorded import Recorded
from dagster_contracts.resilience.wake import clock_metrics, is_unjudged, wake_at

_NO_JITTER = 0.5
_JUST_AFTER = timedelta(milliseconds=1)


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


class CircuitReplay:
    """What one circuit would have done, as far as it was replayed."""

    def __init__(
        self,
        contract: Contract,
        key: CircuitKey,
        arrivals: Arrivals,
        begin: datetime,
        superseded: tuple[datetime, datetime] | None,
    ) -> None:
        assert contract.resilience is not None
        self._contract = contract
        self._resilience = contract.resilience
        # Nobody is asked for a probe: the next recorded evaluation is it, of whatever partition.
        policy = self._resilience.circuit
        self._policy = replace(policy, recovery=replace(policy.recovery, probe=ProbeMode.WAIT))
        self._is_patient = _is_patient(policy)
        self._arrivals = arrivals
        levels = self._resilience.levels
        self._keeps_batches = any(one.source.kind is SourceKind.LAST_VALID for one in levels)
        self._may_degrade = self._resilience.primary is None or any(
            level.activation_conditions for level in levels
        )
        self._superseded = superseded
        self._now = begin
        self._unjudged = False
        self._passed_at: datetime | None = None
        self._current: CurrentLevel | None = None
        self.evaluations = 0
        self.transitions: list[StateTransition] = []
        self.stretches: list[Stretch] = []
        self._circuit = Circuit(key=key)
        self._advance(PolicyChanged(policy_hash=contract.semantic_hash), begin)

    def take(self, one: Recorded) -> None:
        """What was recorded happens again, after the time before it has passed."""
        if self._superseded is not None and self._superseded[1] <= one.at:
            self._supersede(*self._superseded)
        self._wait(one.at)
        now = max(one.at, self._now)
        self.evaluations += 1
        if one.is_failure:
            self._advance(self._failed(one), now)
            return
        batch = Observed(
            evaluation_id=one.evaluation_id,
            metrics=one.metrics,
            event_time=one.event_time,
            partition=one.partition,
            backfill=one.backfill,
            arrived=one.rows is not None,
            # What others reported saw no rows; it goes by its own time.
            evaluated_at=min(one.evaluated_at, one.at) if one.rows is None else None,
        )
        if self._keeps_batches and self._passes(batch, now):
            self._passed_at = now
        self._advance(batch, now)

    def end(self, until: datetime) -> None:
        """Let the rest of the time pass."""
        if self._superseded is not None and self._superseded[1] < until:
            self._supersede(*self._superseded)
        self._wait(until)
        if self.stretches:
            self.stretches[-1] = replace(self.stretches[-1], until=max(until, self._now))

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
        self._unjudged = is_unjudged(event, step, self._contract, now)
        self._serve(now)

    def _serve(self, now: datetime) -> None:
        state = self._circuit.effective_state
        last = self.stretches[-1] if self.stretches else None
        still_closed = last is not None and last.state is state is CircuitState.CLOSED
        if still_closed and not self._may_degrade:
            return  # Only an opening leads away from the primary.
        window = self._seen(now) if self._may_degrade else ()
        route = choose_route(
            [self._status(level, window, now) for level in self._resilience.levels],
            self._circuit,
            holds_lease=False,
            now=now,
            current=self._current,
        )
        name = route.level.name if route.level else None
        if last is not None and (last.level, last.state) == (name, state):
            return
        if last is not None:
            self.stretches[-1] = replace(last, until=now)
        if name is not None and (self._current is None or self._current.name != name):
            self._current = CurrentLevel(name, now, route.reason)
        self.stretches.append(
            Stretch(since=now, until=now, state=state, level=name, reason=intern(route.explanation))
        )

    def _seen(self, now: datetime) -> Sequence[Observation]:
        """What a read would have looked at: the last evaluation, and what has grown old since."""
        seen = self._circuit.observations
        aged = {
            **(seen[-1].metrics if seen else {}),
            **clock_metrics(self._circuit, self._contract, now),
        }
        return (*seen, Observation(now, aged, check=False))

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
            case SourceKind.ASSET if level.source.name in self._arrivals:
                return self._arrivals.newest(level.source.name, now)
            case SourceKind.SUBSET:
                return self._circuit.last_observed_at
            case _:
                return now

    def _route_moments(self) -> Iterable[datetime]:
        """When a level grows too old, or may be left again."""
        for level in self._resilience.fallbacks:
            if level.max_age is not None:
                newest = self._newest(level, self._now)
                if newest is not None and newest < self._now:
                    yield newest + level.max_age + _JUST_AFTER
            if self._current is not None and self._current.name == level.name:
                yield self._current.since + level.min_dwell


def _is_patient(policy: CircuitPolicy) -> bool:
    """Whether a batch may be refused for those before it, or be let through though it is bad."""
    compared = (c for condition in policy.open_when for c in comparisons_of(condition))
    return policy.window > 1 or any(comparison.hold is not None for comparison in compared)
