"""What a service level's value means: quantities in any spelling, dates, times of the day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from dagster_contracts.core.condition import Dimension, Quantity, parse_quantity
from dagster_contracts.core.metrics import DELAY_AFTER
from dagster_contracts.core.quantity import find_rate, find_unit
from dagster_contracts.errors import ConditionSyntaxError

_YEAR = Fraction(365 * 86_400)
_LONG_UNITS = {
    "y": _YEAR,
    "yr": _YEAR,
    "yrs": _YEAR,
    "year": _YEAR,
    "years": _YEAR,
    "q": _YEAR / 4,
    "quarter": _YEAR / 4,
    "quarters": _YEAR / 4,
    "mo": _YEAR / 12,
    "mon": _YEAR / 12,
    "month": _YEAR / 12,
    "months": _YEAR / 12,
    # Written apart from the value; the capital letter is refused before, it may mean months.
    "m": Fraction(60),
    "microsecond": Fraction(1, 1_000_000),
    "microseconds": Fraction(1, 1_000_000),
    "us": Fraction(1, 1_000_000),
}
_PER_CENT = frozenset({"percent", "%", "percentage", "pct", "per cent"})
_ROWS = frozenset({"", "rows", "row", "records", "record", "count", "events", "messages", "tuples"})
_RATE = re.compile(r"(?:([a-z]*)\s*(?:/|per)|([a-z]*?)p)\s*([a-z]+)")
_ISO_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?"
    r"(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_ISO_SIZES = (_YEAR, _YEAR / 12, Fraction(604_800), Fraction(86_400), Fraction(3_600), Fraction(60))
_CLOCK = re.compile(
    r"(?P<hour>[01]?\d|2[0-4]):?(?P<minute>[0-5]\d)(?::[0-5]\d)?\s*"
    r"(?:(?P<utc>Z|UTC)|(?P<sign>[+-])(?P<oh>\d{2}):?(?P<om>\d{2})?|(?P<zone>[A-Za-z]+(?:/\w+)+))?"
)

EXAMPLES = {
    Dimension.DURATION: "write value: 4 and unit: h, or value: 4h",
    Dimension.RATIO: "write value: 95 and unit: percent",
    Dimension.RATE: "write value: 1000 and unit: rows/s, or value: 1000/s",
}
"""How to write a value of each dimension; a plain number where none stands here."""


def read_quantity(
    text: str, number: Fraction | None, unit: str | None, dimension: Dimension
) -> Quantity | None:
    """A value and the unit beside it; ``None`` where they are no amount of ``dimension``.

    ``number`` is the value where the document has a number; a text such as ``99.9%`` or ``4d``
    brings its unit along.
    """
    text = text.strip()
    if number is None:
        iso = _iso_duration(text)
        if iso is not None:
            return Quantity(iso, dimension) if dimension is Dimension.DURATION else None
        try:
            quantity = parse_quantity(text)
        except ConditionSyntaxError:
            return _long_duration(text) if dimension is Dimension.DURATION else None
        if quantity.dimension is not Dimension.NUMBER:
            return quantity if quantity.dimension is dimension else None
        number = quantity.value
    word = (unit or "").strip().lower()
    match dimension:
        case Dimension.DURATION:
            size = _duration_unit(word)
            return None if size is None else Quantity(number * size, dimension)
        case Dimension.RATIO:
            if word in _PER_CENT or (not word and number > 1):
                return Quantity(number / 100, dimension)
            return Quantity(number, dimension) if word in ("", "ratio", "fraction") else None
        case Dimension.RATE:
            each = _rate_unit(word)
            return None if each is None else Quantity(number * each, dimension)
        case _:
            return Quantity(number, dimension) if word in _ROWS else None


def read_moment(text: str, *, ends: bool) -> datetime | None:
    """A date or a moment in UTC; ``None`` where the text is neither.

    A day begins where something begins with it, and counts to its end where something ``ends``
    with it. What names no zone is in UTC.
    """
    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    day_alone = len(text) <= 10
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment = moment.astimezone(UTC)
        return moment + timedelta(days=1) if day_alone and ends else moment
    except OverflowError:
        # 9999-12-31 is how people write "never".
        return datetime.max.replace(tzinfo=UTC)


def daily_metric(text: str) -> str | None:
    """The metric of a time of the day: ``delay_after.1700`` of ``09:00-08:00``, in UTC.

    A zone by name stays one (``delay_after.0900.Europe.Berlin``): its offset changes with the
    season. ``None`` where the text is no time of the day.
    """
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    minutes = int(found["hour"]) % 24 * 60 + int(found["minute"])
    if found["zone"]:
        try:
            ZoneInfo(found["zone"])
        except (KeyError, ValueError, OSError):  # there is no such zone
            return None
        suffix = "." + found["zone"].replace("/", ".")
    else:
        suffix = ""
        if found["sign"]:
            offset = int(found["oh"]) * 60 + int(found["om"] or 0)
            minutes -= offset if found["sign"] == "+" else -offset
    minutes %= 24 * 60
    return f"{DELAY_AFTER}.{minutes // 60:02}{minutes % 60:02}{suffix}"


def daily_text(metric: str) -> str | None:
    """The time of the day that a metric of :func:`daily_metric` stands for: ``17:00``, in UTC.

    With its zone where it has one (``09:00 Europe/Berlin``); ``None`` for another metric.
    """
    family, _, suffix = metric.partition(".")
    clock, _, zone = suffix.partition(".")
    if family != DELAY_AFTER or len(clock) != 4 or not clock.isdigit():
        return None
    return f"{clock[:2]}:{clock[2:]} {zone.replace('.', '/')}".strip()


def _duration_unit(word: str) -> Fraction | None:
    if word in _LONG_UNITS:
        return _LONG_UNITS[word]
    known = find_unit(word)
    return known[1] if known is not None and known[0] is Dimension.DURATION else None


def _rate_unit(word: str) -> Fraction | None:
    """``rows/min``, ``records per second``, ``/s``, ``rps``; ``None`` for bytes per time."""
    found = _RATE.fullmatch(word)
    if found is None:
        return None
    what = (
        found[1]
        if found[1] is not None
        else {"r": "rows", "t": "tuples", "e": "events"}.get(found[2], found[2])
    )
    # Months have no length of which a rate could be written out.
    size = find_rate(found[3])
    return size if size and (what or "") in _ROWS else None


def _iso_duration(text: str) -> Fraction | None:
    found = _ISO_DURATION.fullmatch(text.upper())
    if found is None or not any(found.groups()):
        return None
    sizes = (*_ISO_SIZES, Fraction(1))
    pairs = zip(found.groups(), sizes, strict=True)
    return sum((Fraction(n) * size for n, size in pairs if n), Fraction(0))


def _long_duration(text: str) -> Quantity | None:
    """``3 years``: what has no fixed length in a condition has one in a service level."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text)
    size = _LONG_UNITS.get(found[2].lower()) if found else None
    if found is None or size is None or found[2].lower() == "m":
        return None
    return Quantity(Fraction(found[1]) * size, Dimension.DURATION)
