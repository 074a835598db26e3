"""When time alone can next change what conditions say of an asset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from dagster_contracts.core.condition import Comparison, Condition, comparisons_of
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.metrics import (
    AVAILABILITY,
    DELAY_AFTER,
    OF_HISTORY,
    OF_LIFE,
    SINCE_AVAILABLE,
)
from dagster_contracts.core.service_levels import LIFE, deadlines, update_limit

AGES = frozenset({"data_freshness", "materialization_age"})
"""The metrics that grow by themselves from the newest data on."""

_LOOK_AGAIN = timedelta(minutes=1)
"""How often an asset is looked at whose availability or incidents are on the move."""

# At 30 minutes sharp `>= 30min` has come true, and `> 30min` has not.
_JUST_AFTER = timedelta(milliseconds=1)
_THOUSAND_YEARS = Fraction(31_536_000_000)


def turns_at(
    contract: Contract,
    conditions: Iterable[Condition],
    values: Mapping[str, Fraction | None],
    now: datetime,
    *,
    seen: Iterable[datetime] = (),
) -> datetime | None:
    """The next moment at which one of the conditions may say something else; ``None`` for never.

    ``values`` are the metrics at ``now``; ``seen`` the moments of the evaluations that a ``for
    30min`` looks back on. It may come too early, never too late, unless something happens.
    """
    evaluated = tuple(seen)
    moments: list[datetime] = []
    for condition in conditions:
        for comparison in comparisons_of(condition):
            crossings = list(_crossings(comparison, contract, values, now))
            moments += crossings
            if comparison.hold is not None and comparison.hold.duration is not None:
                held = comparison.hold.duration
                moments += [moment + held for moment in (*crossings, *evaluated)]
    later = (each for moment in moments for each in (moment, moment + _JUST_AFTER) if each > now)
    return min(later, default=None)


def _crossings(
    comparison: Comparison,
    contract: Contract,
    values: Mapping[str, Fraction | None],
    now: datetime,
) -> Iterator[datetime]:
    """When what the clock moves comes to what it is compared with."""
    name, limit = comparison.metric, comparison.quantity.value
    family, value = name.partition(".")[0], values.get(name)
    if name in AGES:
        if value is not None:
            yield now + _span(limit - value)
    elif family == DELAY_AFTER:
        # The deadline itself is when the delay of the day before gives way to this one's.
        for deadline in deadlines(name, now):
            yield from (deadline, deadline + _span(limit))
    elif name in OF_LIFE:
        for level in contract.sla:
            if level.moment is not None and LIFE.get(level.property) == name:
                away = _span(limit)
                yield level.moment + (away if name == SINCE_AVAILABLE else -away)
    elif family in OF_HISTORY:
        if value != (1 if family == AVAILABILITY else 0):
            yield now + _LOOK_AGAIN
            return
        # Never down: it stays so until something happens, or nothing comes for too long.
        overdue, age = update_limit(contract), values.get("materialization_age")
        if overdue is not None and age is not None:
            yield now - _span(age) + overdue


def _span(seconds: Fraction) -> timedelta:
    # Beyond a thousand years a threshold is never crossed, and dates would overflow.
    capped = max(-_THOUSAND_YEARS, min(seconds, _THOUSAND_YEARS))
    return timedelta(microseconds=int(capped * 1_000_000))
