"""Exact amounts: ratios, counts, durations, sizes, rates, and how they are written.

Thresholds are compared as :class:`fractions.Fraction`, so that ``5%`` is a twentieth and not
0.05000000000000000277.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Final


class Dimension(StrEnum):
    """What a metric is measured in; only like is compared with like."""

    RATIO = "ratio"
    COUNT = "count"
    DURATION = "duration"
    SIZE = "size"
    RATE = "rate"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount in the base unit of its dimension.

    1 for 100 %, seconds, bytes, rows per second, plain numbers.
    """

    value: Fraction
    dimension: Dimension


DURATION_UNITS: Final[dict[str, Fraction]] = {
    "w": Fraction(604_800),
    "d": Fraction(86_400),
    "h": Fraction(3_600),
    "min": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1_000),
}
"""Canonical duration units in seconds, largest first."""

SIZE_UNITS: Final[dict[str, Fraction]] = {
    "TiB": Fraction(2**40),
    "TB": Fraction(10**12),
    "GiB": Fraction(2**30),
    "GB": Fraction(10**9),
    "MiB": Fraction(2**20),
    "MB": Fraction(10**6),
    "KiB": Fraction(2**10),
    "kB": Fraction(10**3),
    "B": Fraction(1),
}
"""Canonical size units in bytes, largest first."""

_SPELLINGS: Final[dict[str, tuple[str, ...]]] = {
    "w": ("w", "week", "weeks"),
    "d": ("d", "day", "days"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "min": ("min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "millisecond", "milliseconds"),
}

_UNITS: Final[dict[str, tuple[Dimension, Fraction]]] = (
    {"%": (Dimension.RATIO, Fraction(1, 100))}
    | {
        spelling: (Dimension.DURATION, DURATION_UNITS[unit])
        for unit, spellings in _SPELLINGS.items()
        for spelling in spellings
    }
    | {unit.lower(): (Dimension.SIZE, size) for unit, size in SIZE_UNITS.items()}
)

TIME_SPELLINGS: Final = tuple(spelling for each in _SPELLINGS.values() for spelling in each)
"""Every accepted unit of time, in lower case."""

UNIT_SPELLINGS: Final = tuple(_UNITS)
"""Every accepted unit, in lower case."""


def find_unit(text: str) -> tuple[Dimension, Fraction] | None:
    """The dimension and the size of a unit in base units, in any case; ``None`` if unknown."""
    return _UNITS.get(text.lower())


def find_rate(text: str) -> Fraction | None:
    """What one row in each of these units of time is in rows per second; ``None`` if unknown."""
    found = find_unit(text)
    return 1 / found[1] if found is not None and found[0] is Dimension.DURATION else None


@lru_cache(maxsize=4096)  # each evaluation says the thresholds of its contract again
def render_quantity(quantity: Quantity) -> str:
    """Write a quantity so that it reads back as exactly the same value.

    A value that no finite decimal can write (a third of a second) raises ``ValueError``; the
    condition language cannot produce one.
    """
    sign = "-" if quantity.value < 0 else ""
    value = abs(quantity.value)
    match quantity.dimension:
        case Dimension.RATIO:
            return f"{sign}{_exact_decimal(value * 100)}%"
        case Dimension.COUNT | Dimension.NUMBER:
            return sign + _exact_decimal(value)
        case Dimension.RATE:
            return sign + _render_rate(value)
        case Dimension.DURATION:
            return sign + _exact_duration(value)
        case Dimension.SIZE:
            pass
    if not value:
        return "0B"
    candidates = [
        f"{_exact_decimal(value / size)}{unit}"
        for unit, size in SIZE_UNITS.items()
        if _is_decimal(value / size)
    ]
    # Whole numbers first (500MB, not 0.5GB), then the shortest, then the larger unit.
    return sign + min(candidates, key=lambda text: ("." in text, len(text)))


_UNITS_IN_USE: Final = ("d", "h", "min", "s", "ms")
_MOST_OF_ONE_UNIT: Final = 99
_MOST_PLACES: Final = 30


def _exact_duration(seconds: Fraction) -> str:
    """A duration as people write it: ``15min``, ``90s``, ``36h``, ``30d``, ``1h30min5s``.

    One unit where that needs no large number (``90min``), else several; weeks are days, and what
    is shorter than a minute may have a decimal point (``1.5s``).
    """
    if not seconds:
        return "0s"
    if 1 <= seconds < 60 and seconds.denominator != 1 and _is_decimal(seconds):
        return f"{_exact_decimal(seconds)}s"
    for unit in _UNITS_IN_USE:
        count = seconds / DURATION_UNITS[unit]
        if count.denominator == 1:
            alone = unit == "d" or count <= _MOST_OF_ONE_UNIT or seconds < 1
            return f"{count}{unit}" if alone else _mixed(seconds)
    return _mixed(seconds)


@lru_cache(maxsize=4096)
def format_quantity(
    value: Fraction, dimension: Dimension, *, apart_from: Fraction | None = None
) -> str:
    """Write a measured value for people: ``7.0%``, ``42min``, ``1h 12min``, ``336,776``.

    ``apart_from`` is the threshold the value is compared with: digits are added until the two read
    in their true order, so that nobody is told that 5.0% is > 5% or that 100.0% is < 99.99%.
    """
    if dimension is Dimension.RATIO:
        if value in (0, 1):
            return f"{int(value * 100)}%"
        percent = _rounded(value * 100, None if apart_from is None else apart_from * 100)
        return f"{percent if '.' in percent else percent + '.0'}%"
    if dimension is Dimension.DURATION:
        return _people_duration(value, apart_from)
    if dimension is Dimension.SIZE:
        for unit in ("TB", "GB", "MB", "kB"):
            if abs(value) >= SIZE_UNITS[unit]:
                size = SIZE_UNITS[unit]
                other = None if apart_from is None else apart_from / size
                return f"{_rounded(value / size, other)}{unit}"
        return f"{_rounded(value, apart_from)}B"
    if dimension is Dimension.RATE:
        return _people_rate(value, apart_from)
    return _rounded(value, apart_from)


def _render_rate(value: Fraction) -> str:
    """Whole numbers first (20/min, not 0.4/s), then the smallest, then the shorter time."""
    if not value:
        return "0/s"
    candidates = [
        f"{_exact_decimal(value * size)}/{unit}"
        for unit, size in reversed(DURATION_UNITS.items())
        if unit != "ms" and _is_decimal(value * size)
    ]
    if not candidates:
        raise ValueError(f"{value}/s cannot be written as a finite decimal")
    return min(candidates, key=lambda text: ("." in text, text.index("/")))


def _people_rate(value: Fraction, apart_from: Fraction | None) -> str:
    """In the shortest time in which at least one row came."""
    if value == apart_from and _is_decimal(value * DURATION_UNITS["w"]):
        return render_quantity(Quantity(value, Dimension.RATE))
    for unit in ("s", "min", "h", "d"):
        size = DURATION_UNITS[unit]
        if abs(value) * size >= 1 or unit == "d" or not value:
            other = None if apart_from is None else apart_from * size
            return f"{_rounded(value * size, other)}/{unit}"
    raise AssertionError(value)  # pragma: no cover - the last unit takes every value


def _people_duration(value: Fraction, apart_from: Fraction | None) -> str:
    if value < 0:
        return "-" + _people_duration(-value, None if apart_from is None else -apart_from)
    if value < 1:
        other = None if apart_from is None else apart_from * 1000
        return f"{_rounded(value * 1000, other)}ms" if value else "0s"
    if value < 60:
        return f"{_rounded(value, apart_from)}s"
    # Two units, and those below them where the order asks for them: 1h 10min, 1h 10min 45s.
    parts: list[str] = []
    shown, asked = Fraction(0), 0
    for unit in ("d", "h", "min", "s"):
        size = DURATION_UNITS[unit]
        count = (value - shown) // size
        if count:
            parts.append(f"{count}{unit}")
            shown += count * size
        asked += bool(parts)
        if asked >= 2 and _keeps_order(shown, value, apart_from):
            return " ".join(parts)
    other = None if apart_from is None else (apart_from - shown) * 1000
    return " ".join([*parts, f"{_rounded((value - shown) * 1000, other)}ms"])


def _keeps_order(shown: Fraction, value: Fraction, apart_from: Fraction | None) -> bool:
    """Whether what is shown stands to the threshold as the value does."""
    return apart_from is None or (
        (shown < apart_from) == (value < apart_from)
        and (shown > apart_from) == (value > apart_from)
    )


def _rounded(value: Fraction, apart_from: Fraction | None) -> str:
    """A whole number as it is, else one decimal, or two significant digits of a small one."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    places = 1
    while abs(value) * 10**places < 10 and places < 9:
        places += 1
    if abs(value) >= 1:
        places = 1
    while places < _MOST_PLACES and not _keeps_order(round(value, places), value, apart_from):
        places += 1
    shown = round(value, places)
    whole, rest = divmod(abs(shown), 1)
    return f"{'-' if shown < 0 else ''}{whole:,}.{int(rest * 10**places):0{places}}"


def _mixed(seconds: Fraction) -> str:
    parts: list[str] = []
    for unit in _UNITS_IN_USE:
        size = DURATION_UNITS[unit]
        count = seconds / size if unit == "ms" else Fraction(seconds // size)
        if count:
            parts.append(f"{_exact_decimal(count)}{unit}")
            seconds -= count * size
    return "".join(parts) or "0s"


def _is_decimal(value: Fraction) -> bool:
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1


def _exact_decimal(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    if not _is_decimal(value):
        raise ValueError(f"{value} cannot be written as a finite decimal")
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    digits = str(int(value * 10**places)).zfill(places + 1)
    return f"{digits[:-places]}.{digits[-places:]}"
