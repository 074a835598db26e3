"""What changed in the service levels that a contract promises."""

from __future__ import annotations

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
from dagster_contracts.core.condition import render
from dagster_contracts.core.contract import (
    Severity,
    SlaProperty,
)


def diff_sla(
    changes: ChangeList, old: tuple[SlaProperty, ...], new: tuple[SlaProperty, ...]
) -> None:
    """Add the changes between two lists of service levels."""
    before, after = _keyed(old), _keyed(new)
    for key in [*before, *(key for key in after if key not in before)]:
        left, right = before.get(key), after.get(key)
        path = f"sla.{key}"
        if left is None and right is not None:
            _came_or_went(changes, path, right, Motion.ADDED)
        elif right is None and left is not None:
            _came_or_went(changes, path, left, Motion.REMOVED)
        elif left is not None and right is not None:
            _service_level(changes, path, left, right)
    changes.reordered("sla", list(before), list(after), "the service levels")


def _keyed(levels: tuple[SlaProperty, ...]) -> dict[str, SlaProperty]:
    """Service levels by property; a number is added where one property has several."""
    keyed: dict[str, SlaProperty] = {}
    for level in levels:
        name = f"{level.schema_object}.{level.property}" if level.schema_object else level.property
        key, count = name, 1
        while key in keyed:
            count += 1
            key = f"{name}[{count}]"
        keyed[key] = level
    return keyed


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


def _service_level(changes: ChangeList, path: str, old: SlaProperty, new: SlaProperty) -> None:
    advisory = Severity.ERROR not in (old.severity, new.severity)
    if old.condition is None and new.condition is None:
        changes.ask(path, "sla_text", old.text, new.text, f"what {path} promises")
    else:
        way = compare_demands(old.condition, new.condition)
        what = f"{path}: promised was {_promise(old)}, now it is {_promise(new)}"
        changes.demand(path, "sla", way, what, advisory=advisory)
    changes.ask(path, "sla_element", old.element, new.element, f"the column that {path} speaks of")
    rank = list(Severity).index(new.severity) - list(Severity).index(old.severity)
    if rank:
        way = Direction.TIGHTENED if rank > 0 else Direction.LOOSENED
        what = f"{path}: a breach was of severity {old.severity}, now {new.severity}"
        changes.demand(path, "sla_severity", way, what, advisory=advisory)
    for aspect in ("id", "driver", "description", "not_evaluated", "extras"):
        changes.note(
            path, f"sla_{aspect}", getattr(old, aspect), getattr(new, aspect), f"{path}: {aspect}"
        )
