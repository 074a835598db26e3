"""When a circuit must be looked at again though nothing happens to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitEvent,
    CircuitState,
    Failed,
    NoteKind,
    Observed,
    Override,
    ProbeAsked,
    Recovered,
    Step,
    Ticked,
    asked_of,
)
from dagster_contracts.core.condition import Comparison, comparisons_of
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.metrics import DELAY_AFTER, OF_HISTORY, OF_LIFE, SINCE_AVAILABLE
from dagster_contracts.core.service_levels import LIFE, deadlines
from dagster_contracts.resilience.watched import policy_of

FRESHNESS = "data_freshness"
AGE = "materialization_age"
REPORTS = "consumer_reports"

_LOOK_AGAIN = timedelta(minutes=1)
"""How often a closed circuit is looked at whose conditions speak of what the store remembers."""

# At 30 minutes sharp `>= 30min` has come true, and `> 30min` has not.
JUST_AFTER = timedelta(milliseconds=1)
_THOUSAND_YEARS = 31_536_000_000_000_000  # microseconds


def freshness_since(circuit: Circuit, contract: Contract) -> datetime | None:
    """What ``data_freshness`` counts from: the newest event time, or the last materialization.

    ``None`` for a superseded partition: the newest one tells how fresh the asset is.
    """
    if circuit.superseded:
        return None
    return circuit.watermark if contract.event_time is not None else circuit.last_observed_at


def _made_at(circuit: Circuit) -> datetime | None:
    return None if circuit.superseded else circuit.last_observed_at


def clock_metrics(
    circuit: Circuit, contract: Contract, now: datetime
) -> dict[str, Fraction | None]:
    """The metrics that grow by themselves, in seconds; ``None`` before the first evaluation."""
    return {
        FRESHNESS: _seconds_since(freshness_since(circuit, contract), now),
        AGE: _seconds_since(_made_at(circuit), now),
    }


def wake_at(circuit: Circuit, contract: Contract, now: datetime) -> datetime | None:
    """The next moment at which the passing of time can change ``circuit``; ``None`` for never.

    It may come too early, never too late: a tick over thousands of circuits then reads those few
    whose moment has come.
    """
    moments: list[datetime] = []
    if circuit.override is not Override.NONE and circuit.override_until is not None:
        moments.append(circuit.override_until)
    if not circuit.frozen:
        # While an upstream explains it no probe is started, however long the moment has passed.
        waiting = circuit.state is CircuitState.OPEN and not circuit.upstream
        if waiting and circuit.next_probe_at is not None:
            moments.append(circuit.next_probe_at)
        if circuit.state is CircuitState.HALF_OPEN and circuit.lease is not None:
            moments.append(circuit.lease.expires_at)
    if circuit.state is CircuitState.CLOSED:
        comparisons = _opens_by(circuit, contract)
        for crossing in _crossings(circuit, contract, comparisons, now):
            moments.extend(m for m in (crossing, crossing + JUST_AFTER) if m > now)
        if any(comparison.metric == REPORTS for comparison in comparisons):
            # Reports arrive in another table, without a word to the circuit.
            moments.append(now)
    return min(moments, default=None)


def wake_after(
    event: CircuitEvent, step: Step, contract: Contract, now: datetime
) -> datetime | None:
    """:func:`wake_at`, for a circuit that ``event`` has just led to by ``step``.

    Only a tick judges by the clock. After anything else a threshold may have been crossed already:
    a late batch closed the circuit, or an operator gave it back to a feed that had stopped. And
    what came late was not judged by: an override that ended with it leaves a window unjudged.
    Availability and the times of incidents follow no clock alone: they are looked at every minute.
    """
    circuit = step.circuit
    waking = wake_at(circuit, contract, now)
    if circuit.state is CircuitState.CLOSED and any(
        comparison.metric.partition(".")[0] in OF_HISTORY
        for comparison in _opens_by(circuit, contract)
    ):
        waking = min(waking or now + _LOOK_AGAIN, now + _LOOK_AGAIN)
    return now if is_unjudged(event, step, contract, now) else waking


def is_unjudged(event: CircuitEvent, step: Step, contract: Contract, now: datetime) -> bool:
    """Whether a tick at this very moment may open what ``event`` has left closed."""
    if step.circuit.state is not CircuitState.CLOSED or step.circuit.frozen:
        return False
    if any(note.kind is NoteKind.LATE for note in step.notes):
        return True
    if isinstance(event, Ticked | Failed | Recovered | ProbeAsked):
        return False
    if not isinstance(event, Observed) or contract.resilience is None:
        return True
    crossings = _crossings(step.circuit, contract, _opens_by(step.circuit, contract), now)
    return any(crossing <= now for crossing in crossings)


def _opens_by(circuit: Circuit, contract: Contract) -> list[Comparison]:
    """The comparisons that a circuit opens by."""
    open_when = asked_of(policy_of(contract), circuit).open_when
    return [c for condition in open_when for c in comparisons_of(condition)]


def _crossings(
    circuit: Circuit, contract: Contract, comparisons: Iterable[Comparison], now: datetime
) -> Iterator[datetime]:
    """When a growing metric crosses what it is compared with, or a ``for 30min`` is over."""
    since = {FRESHNESS: freshness_since(circuit, contract), AGE: _made_at(circuit)}
    for comparison in comparisons:
        hold = comparison.hold.duration if comparison.hold else None
        for crossing in _crossed(comparison, since, contract, now):
            yield crossing
            if hold is not None:
                yield crossing + hold
        if hold is not None:
            for observation in circuit.window:
                yield observation.at + hold


def _crossed(
    comparison: Comparison,
    since: Mapping[str, datetime | None],
    contract: Contract,
    now: datetime,
) -> Iterator[datetime]:
    """When what is compared grows, or shrinks, to what it is compared with."""
    name, quantity = comparison.metric, comparison.quantity.value
    base = since.get(name)
    if base is not None:
        yield base + _duration(quantity)
    elif name.partition(".")[0] == DELAY_AFTER:
        # The deadline itself is when the delay of the day before gives way to this one's.
        for deadline in deadlines(name, now):
            yield from (m for m in (deadline, deadline + _duration(quantity)) if m > now)
    elif name in OF_LIFE:
        for level in contract.sla:
            if level.moment is not None and LIFE.get(level.property) == name:
                away = _duration(quantity)
                yield level.moment + (away if name == SINCE_AVAILABLE else -away)


def _duration(seconds: Fraction) -> timedelta:
    # Beyond a thousand years a threshold is never crossed, and dates would overflow.
    # Whole numbers: this is asked several times of each evaluation, and fractions take their time.
    micros = abs(seconds.numerator) * 1_000_000 // seconds.denominator
    length = timedelta(microseconds=min(micros, _THOUSAND_YEARS))
    return -length if seconds.numerator < 0 else length


def _seconds_since(moment: datetime | None, now: datetime) -> Fraction | None:
    if moment is None:
        return None
    # A clock that was turned back makes nothing younger than new.
    return Fraction(max(now - moment, timedelta(0)) // timedelta(microseconds=1), 1_000_000)
