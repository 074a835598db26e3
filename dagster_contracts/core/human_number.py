"""Numbers as people choose them for limits: 2,000 and not 1,637.5."""

from __future__ import annotations

from fractions import Fraction

_STEPS = tuple(Fraction(text) for text in ("1", "1.5", "2", "2.5", "3", "4", "5", "6", "8", "10"))


def human_above(value: Fraction) -> Fraction:
    """The smallest such number that is not below ``value``."""
    if value <= 0:
        return -human_below(-value) if value else Fraction(0)
    power = _magnitude(value)
    return next(step * power for step in _STEPS if step * power >= value)


def human_below(value: Fraction) -> Fraction:
    """The largest such number that is not above ``value``."""
    if value <= 0:
        return -human_above(-value) if value else Fraction(0)
    power = _magnitude(value)
    return next(step * power for step in reversed(_STEPS) if step * power <= value)


def _magnitude(value: Fraction) -> Fraction:
    """The power of ten with ``power <= value < 10 * power``; ``value`` is above 0."""
    digits = len(str(value.numerator)) - len(str(value.denominator))
    power = Fraction(10) ** digits
    if power > value:
        power /= 10
    return power * 10 if power * 10 <= value else power
