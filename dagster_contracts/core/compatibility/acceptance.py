"""Sets of acceptable values, and which of two is the stricter.

Thresholds, bounds and comparisons all say "the measured value must lie here". Two of them are
compared as sets, so that ``< 1`` row and ``mustBe: 0`` are the same promise and no pair of
operators needs a case of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any


class Direction(Enum):
    """How a new demand stands to the old one."""

    SAME = "same"
    TIGHTENED = "tightened"
    LOOSENED = "loosened"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Span:
    """One interval; an end of ``None`` is infinite. Ends are any mutually comparable values."""

    low: Any
    high: Any
    low_open: bool = False
    high_open: bool = False

    def within(self, other: Span) -> bool:
        """Whether every value of this interval lies in ``other``."""
        if other.low is not None:
            if self.low is None or self.low < other.low:
                return False
            if self.low == other.low and other.low_open and not self.low_open:
                return False
        if other.high is not None:
            if self.high is None or self.high > other.high:
                return False
            if self.high == other.high and other.high_open and not self.high_open:
                return False
        return True

    @property
    def empty(self) -> bool:
        """Whether no value lies in it."""
        if self.low is None or self.high is None:
            return False
        return bool(
            self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))
        )


def contains(outer: tuple[Span, ...], inner: tuple[Span, ...]) -> bool:
    """Whether ``inner`` is a subset of ``outer``; both hold disjoint, non-adjacent intervals."""
    return all(any(span.within(home) for home in outer) for span in inner if not span.empty)


def compare(old: tuple[Span, ...], new: tuple[Span, ...]) -> Direction:
    """Whether the new set of acceptable values is smaller (tightened) or larger (loosened)."""
    return direction(lambda: contains(old, new), lambda: contains(new, old))


def direction(new_in_old: Callable[[], bool], old_in_new: Callable[[], bool]) -> Direction:
    """The direction, from whether each demand implies the other."""
    try:
        narrower, wider = new_in_old(), old_in_new()
    except TypeError:  # ends that cannot be ordered: a date beside a number
        return Direction.CHANGED
    if narrower and wider:
        return Direction.SAME
    if narrower:
        return Direction.TIGHTENED
    return Direction.LOOSENED if wider else Direction.CHANGED


def clip(spans: tuple[Span, ...], low: Fraction, high: Fraction | None) -> tuple[Span, ...]:
    """The part of a set of numbers that lies in ``[low, high]``."""
    clipped = []
    for span in spans:
        lo, lo_open = (span.low, span.low_open) if span.low is not None else (low, False)
        hi, hi_open = (span.high, span.high_open) if span.high is not None else (high, False)
        if lo < low:
            lo, lo_open = low, False
        if high is not None and hi is not None and hi > high:
            hi, hi_open = high, False
        piece = Span(lo, hi, lo_open, hi_open)
        if not piece.empty:
            clipped.append(piece)
    return tuple(clipped)


def whole_numbers(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """The same set for a value that is always an integer: ends closed, neighbours joined."""
    pieces: list[Span] = []
    for span in spans:
        low, high = span.low, span.high
        if low is not None:
            low = Fraction(low.__floor__() + 1 if span.low_open else low.__ceil__())
        if high is not None:
            high = Fraction(high.__ceil__() - 1 if span.high_open else high.__floor__())
        piece = Span(low, high)
        if not piece.empty:
            pieces.append(piece)
    joined: list[Span] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        meets = last is not None and last.high is not None and piece.low is not None
        if last is not None and meets and piece.low <= last.high + 1:
            joined[-1] = Span(last.low, piece.high)
        else:
            joined.append(piece)
    return tuple(joined)
