"""What a group of alerts has to say now: pure, so that every rule of it is a test.

A group is what one channel hears about one contract. New alerts wait for others of their group;
what was told is remembered by start and severity, so that nothing is told twice; what is over is
taken back; what goes on is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dagster_contracts.core.contract import Severity
from dagster_contracts.monitoring.alert import Alert, AlertState

#: Severities, the least first.
SEVERITY_ORDER = (Severity.INFO, Severity.WARNING, Severity.ERROR)

#: What a group remembers of each alert it told of: when it started, and how severe it was.
Told = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMemory:
    """What a channel was told of a group, when, and since when something new waits."""

    told: Mapping[str, list[str]]
    told_at: datetime | None = None
    waiting_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """What to say now (nothing, if empty), and what to remember."""

    say: tuple[Alert, ...]
    memory: GroupMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTiming:
    """How long a new group waits for more, how long a known one does, and when to repeat."""

    wait: timedelta
    interval: timedelta
    repeat_after: timedelta


def group_key(alert: Alert) -> str:
    """The group of an alert: its contract, and the family of its kind."""
    return f"{alert.labels.contract}/{alert.labels.kind.value.partition('.')[0]}"


def plan_group(
    members: Iterable[Alert],
    memory: GroupMemory,
    timing: GroupTiming,
    *,
    quiet: Callable[[Alert], bool],
    now: datetime,
) -> GroupPlan:
    """Decide what a group says; ``quiet`` alerts (silenced, inhibited) are not told of."""
    known, told = tuple(members), dict(memory.told)
    notices = [a for a in known if a.notice and _fires(a) and not quiet(a)]
    firing = [a for a in known if not a.notice and _fires(a)]
    loud = [a for a in firing if not quiet(a)]
    over = [a for a in known if not a.notice and not _fires(a) and a.fingerprint in told]
    fresh = [a for a in loud if _is_news(a, told)]
    say, waiting_since = notices, None
    if fresh or over:
        since = memory.waiting_since or now
        in_talk = bool(told) and memory.told_at is not None
        started = memory.told_at if in_talk and memory.told_at is not None else since
        all_well = bool(over) and not loud
        if all_well or now - started >= (timing.interval if in_talk else timing.wait):
            say = [*notices, *sorted(fresh, key=lambda alert: alert.starts_at), *over]
        else:
            waiting_since = since
    elif memory.told_at is not None and now - memory.told_at >= timing.repeat_after:
        say = [*notices, *(alert for alert in loud if alert.acknowledged_at is None)]
    said = {alert.fingerprint for alert in say}
    still = {alert.fingerprint for alert in firing} | {
        alert.fingerprint for alert in over if alert.fingerprint not in said
    }
    remembered = {mark: value for mark, value in told.items() if mark in still}
    remembered |= {a.fingerprint: _mark(a) for a in say if not a.notice and _fires(a)}
    return GroupPlan(
        say=tuple(say),
        memory=GroupMemory(
            told=remembered,
            told_at=now if say else memory.told_at,
            waiting_since=waiting_since,
        ),
    )


def _fires(alert: Alert) -> bool:
    return alert.state is AlertState.FIRING


def _mark(alert: Alert) -> list[str]:
    return [alert.starts_at.isoformat(), alert.severity.value]


def _is_news(alert: Alert, told: Mapping[str, list[str]]) -> bool:
    """Whether the channel does not know it; an acknowledged one is news only when it got worse."""
    mark = told.get(alert.fingerprint)
    if mark == _mark(alert):
        return False
    if alert.acknowledged_at is None:
        return True
    if mark is None or mark[0] != alert.starts_at.isoformat():
        return False
    return SEVERITY_ORDER.index(alert.severity) > SEVERITY_ORDER.index(Severity(mark[1]))
