"""What changed in the service levels that a contract promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from datetime import datetime

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.acceptance import Direction
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    FINE,
    MAJOR,
    MINOR,
    ChangeList,
)
from dagster_contracts.core.compatibility.implication import compare_demands
from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Condition,
    metrics_of,
    render,
)
from dagster_contracts.core.contract import (
    Severity,
    SlaProperty,
)
from dagster_contracts.core.metrics import DELAY_AFTER, RETENTION, speaks_of_service

_DAY = 24 * 60
"""Minutes."""


def diff_sla(
    changes: ChangeList, old: tuple[SlaProperty, ...], new: tuple[SlaProperty, ...]
) -> None:
    """Add the changes between two lists of service levels."""
    pairs, gone, fresh = _matched(old, new)
    before, after = _names(old, new), _names(new, old)
    for left, right in pairs:
        _service_level(changes, f"sla.{after[id(right)]}", left, right)
    for level in gone:
        _came_or_went(changes, f"sla.{before[id(level)]}", level, Motion.REMOVED)
    for level in fresh:
        _came_or_went(changes, f"sla.{after[id(level)]}", level, Motion.ADDED)
    partner = {id(left): after[id(right)] for left, right in pairs}
    changes.reordered(
        "sla",
        [partner.get(id(level), "") for level in old],
        [after[id(level)] for level in new],
        "the service levels",
    )


_Level = tuple[SlaProperty, ...]


def _matched(
    old: _Level, new: _Level
) -> tuple[list[tuple[SlaProperty, SlaProperty]], list[SlaProperty], list[SlaProperty]]:
    """Pair service levels by id, else by what they speak of; the rest came or went.

    A level that now speaks of another column is still the same one, where no other is nearer.
    """
    before, after = list(old), list(new)
    pairs: list[tuple[SlaProperty, SlaProperty]] = []
    for key in _IDENTITIES:
        places: dict[Hashable, list[SlaProperty]] = {}
        for level in after:
            places.setdefault(key(level), []).append(level)
        left = []
        for level in before:
            name = key(level)
            partners = places.get(name) if name is not None else None
            if partners:
                pairs.append((level, partners.pop(0)))
            else:
                left.append(level)
        taken = {id(level) for _, level in pairs}
        before, after = left, [level for level in after if id(level) not in taken]
    return pairs, before, after


def _subject(level: SlaProperty) -> tuple[Hashable, ...]:
    return level.property, level.schema_object, level.element, level.elements


_IDENTITIES: tuple[Callable[[SlaProperty], Hashable | None], ...] = (
    lambda level: level.id,
    lambda level: (_subject(level), level.condition, level.moment, level.warn),
    _subject,
    lambda level: (level.property, level.schema_object, level.condition, level.moment, level.warn),
    lambda level: (level.property, level.schema_object),
)


def _names(levels: _Level, others: _Level) -> dict[int, str]:
    """What each level is called, by its identity: its property, and its column where it needs it.

    A number is added where that is not enough.
    """
    many = {
        key
        for side in (levels, others)
        for key, count in Counter((each.property, each.schema_object) for each in side).items()
        if count > 1
    }
    names: dict[int, str] = {}
    taken: set[str] = set()
    for level in levels:
        name = f"{level.schema_object}.{level.property}" if level.schema_object else level.property
        if (level.property, level.schema_object) in many and level.element:
            name = f"{name}.{level.element}"
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}.{count}"
        taken.add(unique)
        names[id(level)] = unique
    return names


def _came_or_went(changes: ChangeList, path: str, level: SlaProperty, motion: Motion) -> None:
    hard = FINE if level.severity is Severity.INFO else BREAKS
    if motion is Motion.ADDED:
        changes.add(
            path,
            "sla",
            motion,
            f"{path} is promised now: {_promise(level)}; producers must keep it",
            producer=hard,
            bump=MINOR,
        )
    else:
        changes.add(
            path,
            "sla",
            motion,
            f"{path} is no longer promised (it was: {_promise(level)}): whoever relies on it will "
            "notice too late",
            consumer=hard,
            bump=MAJOR if hard is BREAKS else MINOR,
        )


def _promise(level: SlaProperty) -> str:
    if level.condition is not None:
        return render(level.condition)
    return level.text or level.property


def _advisory(old: SlaProperty, new: SlaProperty) -> bool:
    """Whether nobody relies on a level: it only warns, and not because no batch is to blame."""
    named = {n for level in (old, new) if level.condition for n in metrics_of(level.condition)}
    promised = old.moment is not None or any(map(speaks_of_service, named))
    hard = {Severity.ERROR, Severity.WARNING} if promised else {Severity.ERROR}
    return not hard & {old.severity, new.severity}


def _compare_moments(old: SlaProperty, new: SlaProperty) -> Direction:
    """Sooner available or later at its end is more than was promised."""
    if old.moment is None or new.moment is None or old.moment == new.moment:
        return Direction.SAME
    later = new.moment > old.moment
    starts = new.property == "generalAvailability"
    return Direction.LOOSENED if later is starts else Direction.TIGHTENED


def _compare(old: SlaProperty, new: SlaProperty) -> Direction:
    """How a promise changed; a shorter retention takes data away that consumers had."""
    way = compare_demands(old.condition, new.condition)
    kept, keeps = old.condition, new.condition
    if not isinstance(kept, Comparison) or not isinstance(keeps, Comparison):
        return way
    if kept.metric == keeps.metric == RETENTION and way is Direction.TIGHTENED:
        limits = (ComparisonOperator.LE, ComparisonOperator.LT)
        return Direction.CHANGED if keeps.operator in limits else way
    if kept.metric != keeps.metric and kept.quantity == keeps.quantity:
        return _compare_clocks(kept.metric, keeps.metric) or way
    return way


def _compare_clocks(old: str, new: str) -> Direction | None:
    """Two times of the day in one zone: an earlier one promises more; ``None`` for others."""
    before, after = old.split("."), new.split(".")
    if not before[0] == after[0] == DELAY_AFTER or before[2:] != after[2:]:
        return None
    moved = (_minutes(after[1]) - _minutes(before[1])) % _DAY
    # Which of two times twelve hours apart comes first, no clock without a date can say.
    if moved == _DAY // 2:
        return Direction.CHANGED
    return Direction.LOOSENED if moved < _DAY // 2 else Direction.TIGHTENED


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[2:])


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _promise_of(condition: Condition | None) -> str | None:
    return render(condition) if condition is not None else None


def _service_level(changes: ChangeList, path: str, old: SlaProperty, new: SlaProperty) -> None:
    advisory = _advisory(old, new)
    if (old.moment is None) is not (new.moment is None):
        before, after = (level.moment and _day(level.moment) for level in (old, new))
        changes.ask(path, "sla_moment", before, after, f"the date of {path}")
    elif old.moment is not None and new.moment is not None:
        what = f"{path}: it was {_day(old.moment)}, now it is {_day(new.moment)}"
        changes.demand(path, "sla", _compare_moments(old, new), what, advisory=advisory)
    elif old.condition is None and new.condition is None:
        changes.ask(path, "sla_text", old.text, new.text, f"what {path} promises")
    else:
        what = f"{path}: promised was {_promise(old)}, now it is {_promise(new)}"
        changes.demand(path, "sla", _compare(old, new), what, advisory=advisory)
    changes.ask(path, "sla_element", old.element, new.element, f"the column that {path} speaks of")
    changes.ask(path, "sla_elements", old.elements, new.elements, f"the columns of {path}")
    margins = _promise_of(old.warn), _promise_of(new.warn)
    changes.note(path, "sla_warn", margins[0], margins[1], f"{path}: when it begins to warn")
    rank = list(Severity).index(new.severity) - list(Severity).index(old.severity)
    if rank:
        way = Direction.TIGHTENED if rank > 0 else Direction.LOOSENED
        what = f"{path}: a breach was of severity {old.severity}, now {new.severity}"
        changes.demand(path, "sla_severity", way, what, advisory=advisory)
    for aspect in ("id", "driver", "description", "not_evaluated", "extras"):
        changes.note(
            path, f"sla_{aspect}", getattr(old, aspect), getattr(new, aspect), f"{path}: {aspect}"
        )
