"""Values of the contract brought to the type of a column, exactly.

A limit that the type cannot hold is moved to the nearest value that it can, in the direction that
changes no answer: ``>= 2.5`` over integers is ``>= 3``. One that lies beyond the type's range makes
the test a constant. So no engine ever promotes a column to compare it, which is where they differ.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import narwhals as nw

from dagster_contracts.core.contract import Scalar
from dagster_contracts.core.rules import BoundOperator

_LOWER = (BoundOperator.AT_LEAST, BoundOperator.MORE_THAN)
# Python's own context would round what has more than 28 digits.
_DIGITS = Context(prec=40)
_NANOSECONDS_FROM = datetime(1677, 9, 22, tzinfo=UTC)
_NANOSECONDS_TO = datetime(2262, 4, 11, tzinfo=UTC)


def any_of(flags: Sequence[nw.Expr]) -> nw.Expr:
    """Any of at least one flag."""
    found = flags[0]
    for flag in flags[1:]:
        found = found | flag
    return found


def all_of(flags: Sequence[nw.Expr]) -> nw.Expr:
    """All of at least one flag."""
    found = flags[0]
    for flag in flags[1:]:
        found = found & flag
    return found


class AnyDecimal(nw.Decimal):
    """The type of a database's exact numbers that have no precision of their own.

    It is Narwhals' widest decimal by name only: values may have more digits before and behind the
    point, so limits are not brought to its scale.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(38, 19)

    def literal(self, value: Fraction, *, up: bool) -> nw.Expr | None:
        """A literal of 38 digits, if that is enough for the digits before the point."""
        scale = 38 - len(str(abs(int(value))))
        if scale < 0:
            return None
        units = math.ceil(value * 10**scale) if up else math.floor(value * 10**scale)
        return nw.lit(in_units(units, scale), dtype=nw.Decimal(38, scale))


class SessionInstant(nw.Datetime):
    """The type of DuckDB's instants, which have no zone of their own: the session's is shown.

    A cast to a type that names another zone than the session's is refused; a plain literal is not.
    """

    __slots__ = ()


def of_session(dtype: nw.dtypes.DType) -> nw.dtypes.DType:
    """A type of DuckDB in which instants are those of its session, within lists and objects too."""

    def inner(held: Any) -> nw.dtypes.DType:
        return of_session(held() if isinstance(held, type) else held)

    match dtype:
        case nw.Datetime() if dtype.time_zone is not None:
            return SessionInstant(dtype.time_unit, dtype.time_zone)
        case nw.List():
            return nw.List(inner(dtype.inner))
        case nw.Array():
            return nw.Array(inner(dtype.inner), dtype.size)
        case nw.Struct():
            return nw.Struct([nw.Field(f.name, inner(f.dtype)) for f in dtype.fields])
        case _:
            return dtype


class IncomparableError(Exception):
    """The value and the column have no common order; the text says why."""


@dataclass(frozen=True, slots=True)
class FittedBound:
    """A limit in the column's type; ``always`` where every value answers alike."""

    operator: BoundOperator
    literal: nw.Expr | None
    always: bool | None = None


def fit_bound(
    operator: BoundOperator, limit: Scalar, dtype: nw.dtypes.DType, timezone: str | None = None
) -> FittedBound:
    """Fit a limit to a column; raises :class:`IncomparableError`."""
    if dtype.is_numeric() and isinstance(limit, int | float | Decimal):
        if isinstance(limit, bool) or limit != limit:
            raise IncomparableError(f"{limit} is no limit for a column of type {dtype}")
        return _fit_number(operator, limit, dtype)
    if dtype == nw.Datetime:
        return _fit_instant(operator, _instant(limit, dtype, timezone), dtype)
    if dtype == nw.Date:
        return _fit_day(operator, _temporal(limit, dtype))
    if dtype == nw.Time:
        moment = _temporal(limit, dtype)
        if isinstance(moment, time) and moment.tzinfo is None:
            return FittedBound(operator, nw.lit(moment))
    raise IncomparableError(f"a column of type {dtype} cannot be compared with {limit!r}")


def integer_range(dtype: nw.dtypes.DType) -> tuple[int, int]:
    """Smallest and largest value of an integer type."""
    name = str(dtype)
    bits = int("".join(c for c in name if c.isdigit()))
    if name.startswith("U"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _fit_number(
    operator: BoundOperator, limit: int | float | Decimal, dtype: nw.dtypes.DType
) -> FittedBound:
    if dtype.is_float():
        return FittedBound(operator, nw.lit(_nearest_float(limit, dtype), dtype=dtype))
    if isinstance(limit, float) and math.isinf(limit):
        return FittedBound(operator, None, always=(limit < 0) == (operator in _LOWER))
    exact = _as_written(limit)
    # What rounding leaves the answer alone: towards the limit's far side.
    up = operator in (BoundOperator.AT_LEAST, BoundOperator.LESS_THAN)
    if dtype.is_integer():
        whole = math.ceil(exact) if up else math.floor(exact)
        low, high = integer_range(dtype)
        if low <= whole <= high:
            return FittedBound(operator, nw.lit(whole, dtype=dtype))
        return FittedBound(operator, None, always=(whole < low) == (operator in _LOWER))
    if isinstance(dtype, AnyDecimal):
        literal = dtype.literal(exact, up=up)
        if literal is None:
            raise IncomparableError(f"{limit} has more than 38 digits")
        return FittedBound(operator, literal)
    if isinstance(dtype, nw.Decimal):
        scaled = exact * 10**dtype.scale
        units = math.ceil(scaled) if up else math.floor(scaled)
        if abs(units) < 10**dtype.precision:
            value = in_units(units, dtype.scale)
            return FittedBound(operator, nw.lit(value, dtype=dtype))
        return FittedBound(operator, None, always=(units < 0) == (operator in _LOWER))
    raise IncomparableError(f"a column of type {dtype} has no order that is known here")


def _temporal(limit: Scalar, dtype: nw.dtypes.DType) -> date | datetime | time:
    """The limit as a date, an instant or a time of day; text is read as ISO 8601."""
    if isinstance(limit, str):
        readers = (time,) if dtype == nw.Time else (date, datetime)
        for reader in readers:
            try:
                return reader.fromisoformat(limit)
            except ValueError:
                continue
        raise IncomparableError(f"{limit!r} is no {str(dtype).lower()} in ISO 8601")
    if isinstance(limit, date | time):
        return limit
    raise IncomparableError(f"a column of type {dtype} cannot be compared with {limit!r}")


def _instant(limit: Scalar, dtype: nw.dtypes.DType, timezone: str | None) -> datetime:
    moment = _temporal(limit, dtype)
    if isinstance(moment, time):
        raise IncomparableError("a timestamp cannot be compared with a time of day")
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    zone = getattr(dtype, "time_zone", None)
    if zone is None and moment.tzinfo is not None:
        raise IncomparableError(f"{moment.isoformat()} has a time zone, the column has none")
    if zone is not None and moment.tzinfo is None:
        if timezone is None:
            raise IncomparableError(f"the column has a time zone, {moment.isoformat()} has none")
        moment = moment.replace(tzinfo=ZoneInfo(timezone))
    return moment if zone is None else moment.astimezone(UTC)


def _fit_instant(operator: BoundOperator, moment: datetime, dtype: nw.dtypes.DType) -> FittedBound:
    unit = getattr(dtype, "time_unit", "us")
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if unit == "ns" and not _NANOSECONDS_FROM <= aware <= _NANOSECONDS_TO:
        below = aware < _NANOSECONDS_FROM
        return FittedBound(operator, None, always=below == (operator in _LOWER))
    step = timedelta(milliseconds=1) if unit == "ms" else timedelta(microseconds=1)
    if unit == "s":
        step = timedelta(seconds=1)
    excess = timedelta(microseconds=moment.microsecond) % step
    if excess:
        up = operator in (BoundOperator.AT_LEAST, BoundOperator.LESS_THAN)
        moment += step - excess if up else -excess
    return FittedBound(operator, instant_literal(moment, dtype))


def instant_literal(moment: datetime, dtype: nw.dtypes.DType) -> nw.Expr:
    """An instant as a literal of a timestamp column's own unit and zone."""
    zone = getattr(dtype, "time_zone", None)
    if zone is None:
        return nw.lit(moment, dtype=dtype)
    if isinstance(dtype, SessionInstant):
        return nw.lit(moment.astimezone(UTC))
    utc = nw.Datetime(getattr(dtype, "time_unit", "us"), "UTC")
    literal = nw.lit(moment.astimezone(UTC), dtype=utc)
    return literal if zone == "UTC" else literal.dt.convert_time_zone(zone)


def _fit_day(operator: BoundOperator, limit: date | datetime | time) -> FittedBound:
    if isinstance(limit, time):
        raise IncomparableError("a date cannot be compared with a time of day")
    if not isinstance(limit, datetime):
        return FittedBound(operator, nw.lit(limit, dtype=nw.Date()))
    if limit.tzinfo is not None:
        raise IncomparableError(f"{limit.isoformat()} has a time zone, the column has none")
    day = limit.date()
    up = operator in (BoundOperator.AT_LEAST, BoundOperator.LESS_THAN)
    if up and limit.time() != time():
        day += timedelta(days=1)
    return FittedBound(operator, nw.lit(day, dtype=nw.Date()))


def fit_values(
    values: tuple[Scalar, ...], dtype: nw.dtypes.DType, timezone: str | None = None
) -> list[Any]:
    """The values that a column of this type can hold, as its own; the others can never occur.

    Raises :class:`IncomparableError` where a value's type has nothing to do with the column's.
    """
    fitted: list[Any] = []
    for value in values:
        found = _fit_value(value, dtype, timezone)
        if found is not None:
            fitted.append(found)
    return fitted


def _fit_value(value: Scalar, dtype: nw.dtypes.DType, timezone: str | None) -> Any:
    if is_text(dtype):
        return value if isinstance(value, str) else None
    if dtype == nw.Boolean:
        return value if isinstance(value, bool) else None
    if dtype.is_numeric():
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return None
        return _fit_exact(value, dtype)
    if dtype == nw.Datetime:
        return _instant(value, dtype, timezone)
    if dtype == nw.Date or dtype == nw.Time:
        moment = _temporal(value, dtype)
        if isinstance(moment, datetime):
            return moment.date() if moment.time() == time() else None
        return moment
    raise IncomparableError(f"values of type {dtype} cannot be listed")


def _fit_exact(value: int | float | Decimal, dtype: nw.dtypes.DType) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return value if dtype.is_float() else None
    if dtype.is_float():
        if isinstance(value, int) and abs(value) >= 2**1024:
            return None
        nearest = _nearest_float(value, dtype)
        # A fraction stands for the float nearest to it; a whole number is meant as it is.
        return None if isinstance(value, int) and nearest != value else nearest
    exact = _as_written(value)
    if dtype.is_integer():
        low, high = integer_range(dtype)
        whole = exact.denominator == 1 and low <= exact <= high
        return int(exact) if whole else None
    if isinstance(dtype, AnyDecimal):
        return _DIGITS.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    if isinstance(dtype, nw.Decimal):
        scaled = exact * 10**dtype.scale
        if scaled.denominator == 1 and abs(scaled) < 10**dtype.precision:
            return in_units(int(scaled), dtype.scale)
        return None
    raise IncomparableError(f"values of type {dtype} cannot be listed")


def _as_written(value: int | float | Decimal) -> Fraction:
    """The number that a document says: its 0.1 is a tenth, and not the float nearest to it."""
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def _nearest_float(value: int | float | Decimal, dtype: nw.dtypes.DType) -> float:
    """The float64 that the column's nearest float is widened to."""
    number = float(value)
    if dtype != nw.Float32:
        return number
    try:
        packed: tuple[float] = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return math.copysign(math.inf, number)
    return packed[0]


def in_units(units: int, scale: int) -> Decimal:
    """A decimal of this scale from its units: 125 of scale 2 are 1.25."""
    return Decimal(units).scaleb(-scale, _DIGITS)


def units_of(divisor: Decimal, scale: int) -> int:
    """What the units of a decimal of this scale must be a multiple of, for the value to be one.

    Whole numbers have scale 0. Among tenths the multiples of 0.25 are those of 0.5.
    """
    # In lowest terms n/d, only each d-th multiple is whole, and that is a multiple of n.
    units: Fraction = Fraction(divisor) * 10**scale
    return units.numerator


def is_text(dtype: nw.dtypes.DType) -> bool:
    """Whether a column holds text, be it as categories."""
    return dtype == nw.String or dtype == nw.Categorical or dtype == nw.Enum
