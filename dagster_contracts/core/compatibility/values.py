"""What changed in the values that a column may hold: bounds, lengths, lists, patterns."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import TypeVar

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.acceptance import (
    Direction,
    Span,
    compare,
    direction,
    whole_numbers,
)
from dagster_contracts.core.compatibility.differences import (
    PATCH,
    ChangeList,
    show,
)
from dagster_contracts.core.compatibility.sameness import exact, same_options
from dagster_contracts.core.contract import (
    LogicalType,
    TypeOptions,
)

_Types = tuple[LogicalType | None, LogicalType | None]


def compare_options(
    changes: ChangeList,
    old: TypeOptions,
    new: TypeOptions,
    path: str,
    *,
    types: _Types = (None, None),
) -> None:
    """Add the changes between the constraints on the values of one property.

    ``types`` are its old and its new logical type: of an integer, more than 0 is at least 1. Keys
    that an object must have are compared where its fields are.
    """
    if same_options(old, new):
        return
    whole = types == (LogicalType.INTEGER, LogicalType.INTEGER)
    before_bounds, after_bounds = _bounds(old), _bounds(new)
    if whole and all(map(_is_numeric, (*before_bounds, *after_bounds))):
        before_bounds, after_bounds = whole_numbers(before_bounds), whole_numbers(after_bounds)
    _judge(
        changes,
        path,
        "bounds",
        compare(before_bounds, after_bounds),
        f"{path}: allowed values were {_interval(old)}, now they are {_interval(new)}",
        spelled_otherwise=_bounds(old) != _bounds(new),
    )
    for aspect, what, low, high in (
        ("length", "allowed lengths", "min_length", "max_length"),
        ("item_count", "allowed numbers of items", "min_items", "max_items"),
        ("key_count", "allowed numbers of keys", "min_properties", "max_properties"),
    ):
        before = Span(getattr(old, low), getattr(old, high))
        after = Span(getattr(new, low), getattr(new, high))
        _judge(
            changes,
            path,
            aspect,
            compare((_from_zero(before),), (_from_zero(after),)),
            f"{path}: {what} were {_range(before)}, now they are {_range(after)}",
            spelled_otherwise=before != after,
        )
    if old.multiple_of != new.multiple_of:
        step, steps = (
            _step_of_integers(each.multiple_of) if whole else each.multiple_of
            for each in (old, new)
        )
        _judge(
            changes,
            path,
            "multiple_of",
            direction(
                lambda: _multiples_within(steps, step), lambda: _multiples_within(step, steps)
            ),
            f"{path}: values were {_multiples(old)}, now they are {_multiples(new)}",
            spelled_otherwise=True,
        )
    _enum(changes, old, new, path)
    for aspect, before_text, after_text, way in (
        ("pattern", old.pattern, new.pattern, _one_of_a_kind(old.pattern, new.pattern)),
        ("format", old.format, new.format, _compare_formats(old.format, new.format)),
    ):
        changes.demand(
            path,
            aspect,
            way,
            f"{path}: the {aspect} was {show(before_text)}, now it is {show(after_text)}",
        )
    if old.unique_items != new.unique_items:
        way = Direction.TIGHTENED if new.unique_items else Direction.LOOSENED
        what = "must now differ from each other" if new.unique_items else "may now repeat"
        changes.demand(path, "unique_items", way, f"{path}: items {what}")
    changes.demand(
        path,
        "timezone",
        _one_of_a_kind(old.timezone, new.timezone),
        f"{path}: its times {_zoned(old.timezone)}, now they {_zoned(new.timezone)}",
    )
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
    if frozenset(old.required_properties) != frozenset(new.required_properties):
        return Direction.CHANGED
    motions = {change.motion for change in changes.items if change.bump is not PATCH}
    if not motions:
        return Direction.SAME
    if motions == {Motion.TIGHTENED}:
        return Direction.TIGHTENED
    return Direction.LOOSENED if motions == {Motion.LOOSENED} else Direction.CHANGED


def _enum(changes: ChangeList, old: TypeOptions, new: TypeOptions, path: str) -> None:
    before, after = frozenset(map(exact, old.enum)), frozenset(map(exact, new.enum))
    if before == after:
        changes.note(
            path, "enum_order", old.enum, new.enum, f"{path}: the order of its allowed values"
        )
        return
    gained = tuple(value for value in new.enum if exact(value) not in before)
    lost = tuple(value for value in old.enum if exact(value) not in after)
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


def _judge(
    changes: ChangeList,
    path: str,
    aspect: str,
    way: Direction,
    what: str,
    *,
    spelled_otherwise: bool,
) -> None:
    """A demand on the values; the same one in other words is told of as that."""
    changes.demand(path, aspect, way, what)
    if way is Direction.SAME and spelled_otherwise:
        changes.add(path, "spelling", Motion.CHANGED, f"{what}: that means the same")


def _zoned(timezone: bool | None) -> str:
    if timezone is None:
        return "may carry a time zone or not"
    return "carry a time zone" if timezone else "carry no time zone"


def _is_numeric(span: Span) -> bool:
    """Whether its ends are finite numbers, or none."""
    return all(
        end is None or (isinstance(end, (int, float, Decimal, Fraction)) and isfinite(end))
        for end in (span.low, span.high)
    )


def _from_zero(span: Span) -> Span:
    """A range of lengths, of which none is negative."""
    return Span(span.low or 0, span.high)


def _step_of_integers(multiple: Decimal | None) -> Fraction | None:
    """The whole number whose multiples are the integers among those of ``multiple``."""
    # n·p/q is whole only where q divides n, as p and q have no divisor in common.
    numerator = 1 if multiple is None else Fraction(multiple).numerator
    return None if numerator == 1 else Fraction(numerator)


def _multiples(options: TypeOptions) -> str:
    return "any" if options.multiple_of is None else f"multiples of {options.multiple_of}"


# The numbers that the formats of ODCS hold: integers by their ends, floats by their width.
_FORMATS = {
    **{f"i{bits}": Span(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64, 128)},
    **{f"u{bits}": Span(0, 2**bits - 1) for bits in (8, 16, 32, 64, 128)},
}
_FLOATS = ("f32", "f64")


def _compare_formats(old: str | None, new: str | None) -> Direction:
    """Formats of numbers by what they hold; others are the same or not."""
    if old in _FORMATS and new in _FORMATS:
        return compare((_FORMATS[old],), (_FORMATS[new],))
    if old in _FLOATS and new in _FLOATS and old != new:
        return Direction.LOOSENED if old == "f32" else Direction.TIGHTENED
    return _one_of_a_kind(old, new)


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
