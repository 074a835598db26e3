"""Service levels over time: when an asset was down, its incidents, and what they measure.

Pure arithmetic over moments that a store remembers. Down is a union of intervals, whatever made
each of them; an incident is one of the merged intervals. Clocks may go backwards between two
records: a record then counts at the moment of the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from fractions import Fraction
from zoneinfo import ZoneInfo

from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Condition,
    Observation,
    Truth,
    comparisons_of,
    evaluate,
    format_quantity,
    metrics_of,
    render,
)
from dagster_contracts.core.contract import Contract, SlaProperty
from dagster_contracts.core.metrics import SINCE_AVAILABLE, TO_END_OF_LIFE, TO_END_OF_SUPPORT
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.core.quantity import Dimension

WINDOW = timedelta(days=30)
"""How far back availability and incidents are looked at where nobody says otherwise."""

LIFE = {
    "generalAvailability": SINCE_AVAILABLE,
    "endOfSupport": TO_END_OF_SUPPORT,
    "endOfLife": TO_END_OF_LIFE,
}
"""The properties that are dates in the life of a contract, and what counts from or to each."""

_THOUSAND_YEARS = Fraction(31_536_000_000)


@dataclass(frozen=True, slots=True)
class Mark:
    """From ``at`` on the asset was down, or up. ``began`` is when what was found had happened."""

    at: datetime
    down: bool
    began: datetime | None = None


@dataclass(frozen=True, slots=True)
class Downtime:
    """An interval in which the asset was down; ``end`` is ``None`` while it is."""

    start: datetime
    end: datetime | None
    began: datetime


@dataclass(frozen=True, slots=True)
class Incident:
    """One time that the data was bad: when it went bad, was found out, told of, and mended.

    ``notified`` and ``repaired`` are ``None`` where that has not happened.
    """

    began: datetime
    detected: datetime
    notified: datetime | None = None
    repaired: datetime | None = None


def downtimes(marks: Iterable[Mark]) -> tuple[Downtime, ...]:
    """The intervals between a mark that says down and the next that says up."""
    found: list[Downtime] = []
    start: Mark | None = None
    newest: datetime | None = None
    for mark in marks:
        at = mark.at if newest is None else max(mark.at, newest)
        newest = at
        if mark.down and start is None:
            start = Mark(at, True, min(mark.began or at, at))
        elif not mark.down and start is not None:
            found.append(Downtime(start.at, at, start.began or start.at))
            start = None
    if start is not None:
        found.append(Downtime(start.at, None, start.began or start.at))
    return tuple(found)


def overdue(
    arrivals: Sequence[datetime], limit: timedelta, *, now: datetime
) -> tuple[Downtime, ...]:
    """The intervals in which the newest data was older than ``limit``; arrivals oldest first."""
    found: list[Downtime] = []
    for index, arrival in enumerate(arrivals):
        due = arrival + limit
        following = arrivals[index + 1] if index + 1 < len(arrivals) else None
        if due < (now if following is None else following):
            found.append(Downtime(due, following, due))
    return tuple(found)


def merged(intervals: Iterable[Downtime]) -> tuple[Downtime, ...]:
    """Intervals that overlap or touch as one; it began when the first of them did."""
    found: list[Downtime] = []
    for each in sorted(intervals, key=lambda interval: interval.start):
        last = found[-1] if found else None
        if last is None or (last.end is not None and each.start > last.end):
            found.append(each)
            continue
        end = None if last.end is None or each.end is None else max(last.end, each.end)
        found[-1] = Downtime(last.start, end, min(last.began, each.began))
    return tuple(found)


def availability(
    intervals: Iterable[Downtime], *, since: datetime, now: datetime
) -> Fraction | None:
    """The share of the time between ``since`` and ``now`` in which the asset was not down.

    ``None`` where no time has passed.
    """
    if now <= since:
        return None
    down = timedelta(0)
    for each in merged(intervals):
        start = max(each.start, since)
        end = min(now if each.end is None else each.end, now)
        down += max(end - start, timedelta(0))
    return 1 - _exact(down) / _exact(now - since)


def newest_incident(
    intervals: Iterable[Downtime], *, since: datetime, now: datetime
) -> Incident | None:
    """The incident that began last, if it was not over before ``since``."""
    found = [
        each
        for each in merged(intervals)
        if each.start <= now and (each.end is None or each.end > since)
    ]
    if not found:
        return None
    last = found[-1]
    return Incident(began=last.began, detected=last.start, repaired=last.end)


def time_to_detect(incident: Incident) -> Fraction:
    """Seconds from what broke the data to the moment at which the system knew."""
    return seconds(incident.detected - incident.began)


def time_to_notify(incident: Incident, now: datetime) -> Fraction | None:
    """Seconds from detection to the first alert that was delivered; until now while none was.

    ``None`` where the incident is over and nobody was told.
    """
    if incident.notified is not None:
        return seconds(incident.notified - incident.detected)
    return None if incident.repaired is not None else seconds(now - incident.detected)


def time_to_repair(incident: Incident, now: datetime) -> Fraction:
    """Seconds from detection to good data; until now while it is not mended."""
    return seconds((incident.repaired or now) - incident.detected)


def delay_after(
    arrivals: Iterable[datetime], at: time, zone: tzinfo, *, now: datetime
) -> Fraction | None:
    """How late the data of the day was: seconds past the wall time ``at``, 0 where it was in time.

    The day is the one whose deadline passed last; what arrived since the deadline before it is in
    time. While nothing has arrived the delay grows. Before the first arrival of all nothing was
    due; without any it is not known.
    """
    known = sorted(moment for moment in arrivals if moment <= now)
    if not known:
        return None
    local = now.astimezone(zone)
    # Wall time is taken day by day, so that a change of the clocks moves the deadline with it.
    deadline = _wall(local, 0, at, zone)
    day = 0 if deadline <= now else -1
    deadline, before = _wall(local, day, at, zone), _wall(local, day - 1, at, zone)
    if known[0] > deadline or any(before < moment <= deadline for moment in known):
        return Fraction(0)
    late = [moment for moment in known if moment > deadline]
    return seconds((late[0] if late else now) - deadline)


def read_delay(name: str) -> tuple[time, tzinfo]:
    """The wall time and the zone of ``delay_after.0900.Europe.Berlin``; UTC where none is named."""
    _, clock, *zone = name.split(".")
    return time(int(clock[:2]), int(clock[2:])), ZoneInfo("/".join(zone) or "UTC")


def deadlines(name: str, now: datetime) -> tuple[datetime, ...]:
    """The moments about ``now`` that a ``delay_after`` counts from, day by day."""
    at, zone = read_delay(name)
    return tuple(_wall(now.astimezone(zone), day, at, zone) for day in (-1, 0, 1))


def _wall(local: datetime, day: int, at: time, zone: tzinfo) -> datetime:
    wall = datetime.combine(local.date() + timedelta(days=day), at, tzinfo=zone)
    return wall.astimezone(UTC)


def crossed_at(
    conditions: Iterable[Condition], bases: Mapping[str, datetime], *, before: datetime
) -> datetime | None:
    """When time alone had made one of the conditions true: the earliest moment up to ``before``.

    ``bases`` are what each age counts from. A condition over several ages is true when the last of
    them is; what it says of other metrics is left out, because no clock moves them.
    """
    crossings = []
    for condition in conditions:
        ages = [
            bases[comparison.metric] + _span(comparison.quantity.value)
            for comparison in comparisons_of(condition)
            if comparison.metric in bases
            and comparison.operator in (ComparisonOperator.GT, ComparisonOperator.GE)
        ]
        if ages and max(ages) <= before:
            crossings.append(max(ages))
    return min(crossings, default=None)


# --- levels judged ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LevelVerdict:
    """Whether a level is kept, with the sentence that says so; ``value`` where one was measured."""

    status: OutcomeStatus
    reason: str
    threshold: str | None = None
    value: Fraction | None = None


def wanted_metrics(contract: Contract) -> frozenset[str]:
    """Every metric that a service level, a circuit, a fallback or an action of it speaks of."""
    conditions = [c for level in contract.sla for c in (level.condition, level.warn) if c]
    conditions += [action.when for action in contract.monitoring.actions]
    if contract.resilience is not None:
        circuit = contract.resilience.circuit
        conditions += [*circuit.open_when, *circuit.close_when]
        conditions += [c for x in contract.resilience.levels for c in x.activation_conditions]
    return frozenset(name for condition in conditions for name in metrics_of(condition))


def life_metrics(contract: Contract, now: datetime) -> dict[str, Fraction]:
    """How far it is from and to the dates in the life of the contract, in seconds."""
    found: dict[str, Fraction] = {}
    for level in contract.sla:
        name = LIFE.get(level.property)
        if level.moment is not None and name is not None and name not in found:
            away = seconds(level.moment - now)
            found[name] = -away if name == SINCE_AVAILABLE else away
    return found


def update_limit(contract: Contract) -> timedelta | None:
    """How long the asset may go without new data by its service levels; ``None`` where any time."""
    limits = [
        level.condition.quantity.value
        for level in contract.sla
        if isinstance(level.condition, Comparison)
        and level.condition.metric == "materialization_age"
        and level.condition.operator in (ComparisonOperator.LT, ComparisonOperator.LE)
    ]
    return _span(min(limits)) if limits else None


def judge_level(
    level: SlaProperty,
    metrics: Mapping[str, Fraction | None],
    reasons: Mapping[str, str],
    now: datetime,
) -> LevelVerdict:
    """Judge a level by what was measured: kept, broken, near its end, or not to be known."""
    if level.moment is not None and level.property in LIFE:
        metrics = {**metrics, **_of_level(level, now)}
    asked = [condition for condition in (level.condition, level.warn) if condition is not None]
    if not asked:
        reason = level.not_evaluated or f"nothing here measures {level.property}"
        return LevelVerdict(OutcomeStatus.NOT_EVALUATED, reason)
    single = [Observation(at=now, metrics=metrics)]
    named = sorted(metrics_of(asked[0]))
    value = metrics.get(named[0]) if len(named) == 1 else None
    status, broken = OutcomeStatus.PASSED, asked[0]
    decision = evaluate(asked[0], single)
    for condition in asked:
        found = evaluate(condition, single)
        if found.truth is Truth.UNKNOWN:
            known = [f"{n}: {reasons[n]}" for n in sorted(metrics_of(condition)) if n in reasons]
            return LevelVerdict(
                OutcomeStatus.NOT_EVALUATED,
                "; ".join(known) or found.explanation,
                render(condition),
            )
        if found.truth is Truth.FALSE:
            failed = condition is level.condition
            status = OutcomeStatus.FAILED if failed else OutcomeStatus.WARNED
            decision, broken = found, condition
            break
    reason = _life_sentence(level, now) or decision.explanation
    return LevelVerdict(status, reason, render(broken), value)


def _of_level(level: SlaProperty, now: datetime) -> dict[str, Fraction]:
    assert level.moment is not None
    name, away = LIFE[level.property], seconds(level.moment - now)
    return {name: -away if name == SINCE_AVAILABLE else away}


def _life_sentence(level: SlaProperty, now: datetime) -> str | None:
    """``support ends 2032-05-12 17:30 UTC, in 29d 4h``; ``None`` for what is no date."""
    if level.moment is None or level.property not in LIFE:
        return None
    past = level.moment <= now
    what = {
        "generalAvailability": ("generally available since", "not generally available before"),
        "endOfSupport": ("support ended", "support ends"),
        "endOfLife": ("its life ended", "its life ends"),
    }[level.property][0 if past else 1]
    away = format_quantity(seconds(abs(level.moment - now)), Dimension.DURATION)
    shown = f"{level.moment:%Y-%m-%d %H:%M} UTC"
    return f"{what} {shown}, {f'{away} ago' if past else f'in {away}'}"


def seconds(span: timedelta) -> Fraction:
    """A span in exact seconds."""
    return Fraction(span // timedelta(microseconds=1), 1_000_000)


def _exact(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1))


def _span(value: Fraction) -> timedelta:
    # Beyond a thousand years nothing is ever due, and dates would overflow.
    capped = max(-_THOUSAND_YEARS, min(value, _THOUSAND_YEARS))
    return timedelta(microseconds=int(capped * 1_000_000))
