"""What changed in the values that a column may hold: bounds, lengths, lists, patterns."""

from __future__ import annotations

from typing import TypeVar

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.acceptance import Direction, Span, compare, direction
from dagster_contracts.core.compatibility.differences import (
    ChangeList,
    show,
)
from dagster_contracts.core.contract import (
    TypeOptions,
)


def compare_options(changes: ChangeList, old: TypeOptions, new: TypeOptions, path: str) -> None:
    """Add the changes between the constraints on the values of one property."""
    if old == new:
        return
    changes.demand(
        path,
        "bounds",
        compare(_bounds(old), _bounds(new)),
        f"{path}: allowed values were {_interval(old)}, now they are {_interval(new)}",
    )
    for aspect, what, low, high in (
        ("length", "allowed lengths", "min_length", "max_length"),
        ("item_count", "allowed numbers of items", "min_items", "max_items"),
        ("key_count", "allowed numbers of keys", "min_properties", "max_properties"),
    ):
        before = Span(getattr(old, low), getattr(old, high))
        after = Span(getattr(new, low), getattr(new, high))
        changes.demand(
            path,
            aspect,
            compare((before,), (after,)),
            f"{path}: {what} were {_range(before)}, now they are {_range(after)}",
        )
    if old.multiple_of != new.multiple_of:
        changes.demand(
            path,
            "multiple_of",
            direction(
                lambda: _multiples_within(new.multiple_of, old.multiple_of),
                lambda: _multiples_within(old.multiple_of, new.multiple_of),
            ),
            f"{path}: values were multiples of {old.multiple_of}, now of {new.multiple_of}",
        )
    _enum(changes, old, new, path)
    for aspect, before_text, after_text in (
        ("pattern", old.pattern, new.pattern),
        ("format", old.format, new.format),
    ):
        changes.demand(
            path,
            aspect,
            _one_of_a_kind(before_text, after_text),
            f"{path}: the {aspect} was {show(before_text)}, now it is {show(after_text)}",
        )
    if old.unique_items != new.unique_items:
        way = Direction.TIGHTENED if new.unique_items else Direction.LOOSENED
        what = "must now differ from each other" if new.unique_items else "may now repeat"
        changes.demand(path, "unique_items", way, f"{path}: items {what}")
    before_keys, after_keys = frozenset(old.required_properties), frozenset(new.required_properties)
    changes.demand(
        path,
        "required_keys",
        direction(lambda: before_keys <= after_keys, lambda: after_keys <= before_keys),
        f"{path}: required keys were {show(tuple(sorted(before_keys)))}, now they are "
        f"{show(tuple(sorted(after_keys)))}",
    )
    changes.ask(path, "timezone", old.timezone, new.timezone, f"whether {path} carries a time zone")
    changes.ask(
        path,
        "default_timezone",
        old.default_timezone,
        new.default_timezone,
        f"the time zone that {path} is in",
    )


def options_direction(old: TypeOptions, new: TypeOptions) -> Direction:
    """How constraints changed as a whole: stricter, looser, or one thing here and another there."""
    changes = ChangeList()
    compare_options(changes, old, new, "")
    motions = {change.motion for change in changes.items}
    if motions == {Motion.TIGHTENED}:
        return Direction.TIGHTENED
    return Direction.LOOSENED if motions == {Motion.LOOSENED} else Direction.CHANGED


def _enum(changes: ChangeList, old: TypeOptions, new: TypeOptions, path: str) -> None:
    before, after = frozenset(old.enum), frozenset(new.enum)
    if before == after:
        changes.note(
            path, "enum_order", old.enum, new.enum, f"{path}: the order of its allowed values"
        )
        return
    gained = tuple(value for value in new.enum if value not in before)
    lost = tuple(value for value in old.enum if value not in after)
    if not before:
        what = f"{path}: only {show(new.enum)} are allowed now"
    elif not after:
        what = f"{path}: any value is allowed now, not only {show(old.enum)}"
    else:
        parts = [f"may now also be {show(gained)}"] if gained else []
        parts += [f"may no longer be {show(lost)}"] if lost else []
        what = f"{path} {' and '.join(parts)}"
    changes.demand(
        path,
        "enum",
        direction(
            lambda: not before or (bool(after) and after <= before),
            lambda: not after or (bool(before) and before <= after),
        ),
        what,
    )


_T = TypeVar("_T")


def _one_of_a_kind(old: _T | None, new: _T | None) -> Direction:
    """Two demands that cannot be compared, only be there or not."""
    if old == new:
        return Direction.SAME
    if old is None:
        return Direction.TIGHTENED
    return Direction.LOOSENED if new is None else Direction.CHANGED


def _multiples_within(inner: object, outer: object) -> bool:
    """Whether every multiple of ``inner`` is one of ``outer``; ``None`` stands for every number."""
    if outer is None:
        return True
    return inner is not None and inner % outer == 0  # type: ignore[operator]


def _bounds(options: TypeOptions) -> tuple[Span, ...]:
    low: object = options.minimum
    high: object = options.maximum
    low_open = high_open = False
    if options.exclusive_minimum is not None:
        low, low_open = _stricter(low, options.exclusive_minimum, larger=True)
    if options.exclusive_maximum is not None:
        high, high_open = _stricter(high, options.exclusive_maximum, larger=False)
    return (Span(low, high, low_open, high_open),)


def _stricter(inclusive: object, exclusive: object, *, larger: bool) -> tuple[object, bool]:
    """The end that counts where both forms are given, and whether it is open."""
    try:
        if inclusive is None or (inclusive <= exclusive if larger else inclusive >= exclusive):  # type: ignore[operator]
            return exclusive, True
    except TypeError:
        return exclusive, True
    return inclusive, False


def _interval(options: TypeOptions) -> str:
    return _range(_bounds(options)[0])


def _range(span: Span) -> str:
    if span.low is None and span.high is None:
        return "unlimited"
    parts = []
    if span.low is not None:
        parts.append(f"{'above' if span.low_open else 'from'} {show(span.low)}")
    if span.high is not None:
        parts.append(f"{'below' if span.high_open else 'up to'} {show(span.high)}")
    return " ".join(parts)
