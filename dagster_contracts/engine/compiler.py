"""Row tests as Narwhals expressions: true where a row breaks the rule.

Null passes every test but those for missing values, so a flag is false or null for it. NaN is
missing too, and comparisons with it are guarded on float columns only, where it can occur.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any, TypeAlias, assert_never

import narwhals as nw

from dagster_contracts.core.expression import ExpressionSyntaxError, columns_in, parse_expression
from dagster_contracts.core.pattern import UnportablePattern, translate
from dagster_contracts.core.rules import (
    ITEMS,
    VALUES,
    All,
    Bound,
    BoundOperator,
    Enumerated,
    Format,
    Length,
    MultipleOf,
    NotMissing,
    Path,
    Pattern,
    Required,
    RowExpression,
    RowTest,
    UniqueItems,
    path_text,
)
from dagster_contracts.core.text_format import TEXT_FORMATS
from dagster_contracts.engine.literal import (
    AnyDecimal,
    IncomparableError,
    all_of,
    any_of,
    fit_bound,
    fit_values,
    in_units,
    instant_literal,
    integer_range,
    is_text,
    units_of,
)
from dagster_contracts.engine.row_expression import InexpressibleError, compile_expression
from dagster_contracts.engine.scan import Backend, Scan

ItemTest: TypeAlias = (
    Required
    | NotMissing
    | Enumerated
    | Bound
    | Length
    | Pattern
    | Format
    | MultipleOf
    | UniqueItems
)
"""The tests of a value, which may be an item of an array."""


class UncompilableError(Exception):
    """The rule cannot be measured here; the text is the reason of ``not_evaluated``."""


class BrokenColumnError(Exception):
    """The rule's column is missing or has the wrong type: every row breaks the rule."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the compiler knows of the data.

    ``problems`` says of declared columns (or nested paths) what is wrong with them: missing, or of
    another type. ``names`` maps the contract's property names to column names. ``item_flags`` names
    the column that flags the rows of each test about items, or says why there is none.
    """

    scan: Scan
    schema: Mapping[str, nw.dtypes.DType]
    problems: Mapping[Path, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    item_flags: Mapping[RowTest, str | Exception] = field(default_factory=dict)

    def value_at(self, path: Path) -> nw.Expr:
        """The value at a path."""
        value = self.scan.column(path[0])
        return reduce(lambda inner, name: inner.struct.field(name), path[1:], value)

    def type_of(self, path: Path) -> nw.dtypes.DType | None:
        """The type at a path, or ``None`` where it leads nowhere."""
        dtype = self.schema.get(path[0])
        for name in path[1:]:
            if dtype == nw.Unknown:
                return dtype  # nothing is there, so that nothing is known of what it holds
            dtype = _inner_type(dtype, name)
        return dtype

    def require(self, path: Path, *, only_missing: bool = False) -> nw.dtypes.DType:
        """The type at a path; raises where the column cannot be measured.

        ``only_missing``: nothing is asked of the values but whether they are there.
        """
        for length in range(1, len(path) + 1):
            problem = self.problems.get(path[:length])
            if problem is not None:
                raise BrokenColumnError(problem)
        dtype = self.type_of(path)
        if dtype is None:
            raise UncompilableError(f"there is no column {path_text(path)}")
        refusal = self.scan.refused.get(path[0])
        if refusal is not None and not only_missing:
            raise UncompilableError(refusal)
        return dtype


def _inner_type(dtype: nw.dtypes.DType | None, name: str) -> nw.dtypes.DType | None:
    """The type of a field, of the items of an array, or of the values of a map."""
    match dtype:
        case _ if is_map(dtype):
            return made(dtype.value) if name == VALUES else None  # type: ignore[union-attr]
        case nw.List() | nw.Array() if name == ITEMS:
            return made(dtype.inner)
        case nw.List() if name == VALUES:
            entry = made(dtype.inner)
            if isinstance(entry, nw.Struct) and len(entry.fields) == 2:
                return made(entry.fields[1].dtype)
            return entry if entry == nw.Unknown else None
        case nw.Struct() if name == VALUES:
            kinds = {made(f.dtype) for f in dtype.fields}
            return kinds.pop() if len(kinds) == 1 else None
        case nw.Struct():
            return next((made(f.dtype) for f in dtype.fields if f.name == name), None)
        case _:
            return None


def is_map(dtype: object) -> bool:
    """Whether this is the type of a map; not every Narwhals and Polars has one."""
    return type(dtype).__name__ == "Map"


def made(dtype: Any) -> nw.dtypes.DType:
    """Narwhals gives the types of fields as instances or as classes."""
    made: nw.dtypes.DType = dtype() if isinstance(dtype, type) else dtype
    return made


def missing(value: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    """Null or NaN."""
    return value.is_null() | value.is_nan() if dtype.is_float() else value.is_null()


def absent(name: str, dtype: nw.dtypes.DType, scan: Scan) -> nw.Expr:
    """Missing in the data itself: what cannot be read as its type is null here, but is there."""
    flag = missing(scan.column(name), dtype)
    misfit = scan.type_flags.get(name) if scan.nulls_misfits else None
    return flag if misfit is None else flag & ~misfit


def compile_test(test: RowTest, columns: Columns) -> nw.Expr:
    """The flag of a row test.

    Raises :class:`BrokenColumnError` or :class:`UncompilableError`.
    """
    with _said_as_reasons():
        return _compile(test, columns)


@contextmanager
def _said_as_reasons() -> Iterator[None]:
    """What cannot be expressed becomes an :class:`UncompilableError`."""
    try:
        yield
    except (IncomparableError, InexpressibleError) as error:
        raise UncompilableError(str(error)) from error
    except UnportablePattern as error:
        raise UncompilableError(f"the pattern is not portable: {error}") from error


def _compile(test: RowTest, columns: Columns) -> nw.Expr:
    match test:
        case All(parts):
            return any_of([_compile(part, columns) for part in parts])
        case RowExpression(text):
            return compile_row_expression(text, columns)
    if ITEMS in test.path or VALUES in test.path:
        return _item_flag(test, columns)
    dtype = columns.require(test.path, only_missing=isinstance(test, Required))
    if len(test.path) > 1 and columns.type_of(test.path[:-1]) == nw.Unknown:
        return never(columns.scan.column(test.path[0]))
    value = columns.value_at(test.path)
    untyped = test.path[0] in columns.scan.untyped
    if untyped and not isinstance(test, Required | NotMissing):
        return never(value)
    dialect = columns.scan.backend.dialect
    match test:
        case Required(path):
            return _required(path, value, dtype, columns)
        case NotMissing(path, values):
            flag = _required(path, value, dtype, columns)
            if path[0] in columns.scan.untyped:
                return flag
            found = _member(value, dtype, fit_values(values, dtype))
            return flag if found is None else flag | found
        case Enumerated(_, values):
            found = _member(value, dtype, fit_values(values, dtype))
            return present(value, dtype) if found is None else guarded(~found, value, dtype)
        case Bound():
            return _bound(test, value, dtype)
        case Length():
            return _length(test, value, dtype)
        case UniqueItems():
            if not isinstance(dtype, nw.List):
                raise UncompilableError(f"a column of type {dtype} has no items")
            return value.list.unique().list.len() != value.list.len()
        case Pattern(_, pattern):
            return ~_text(value, dtype).str.contains(translate(pattern, dialect))
        case Format(_, name):
            form = TEXT_FORMATS.get(name)
            if form is None:
                known = ", ".join(TEXT_FORMATS)
                raise UncompilableError(f"the format {name!r} is not known here (known: {known})")
            return ~_text(value, dtype).str.contains(translate(form, dialect))
        case MultipleOf(_, divisor):
            return _multiple(value, dtype, divisor, columns)
        case _:
            assert_never(test)


def _item_flag(test: ItemTest, columns: Columns) -> nw.Expr:
    columns.require(test.path, only_missing=isinstance(test, Required))
    flag = columns.item_flags.get(test)
    if flag is None:
        where = columns.scan.backend.value
        raise UncompilableError(f"rules within arrays and maps are not measured by {where}")
    if isinstance(flag, Exception):
        raise flag
    return nw.col(flag)


def _required(path: Path, value: nw.Expr, dtype: nw.dtypes.DType, columns: Columns) -> nw.Expr:
    if len(path) == 1:
        return absent(path[0], dtype, columns.scan)
    # What is not there as a whole has no fields that could be missing.
    parents = [~columns.value_at(path[:length]).is_null() for length in range(1, len(path))]
    return missing(value, dtype) & all_of(parents)


def present(value: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    """Neither null nor NaN."""
    return ~missing(value, dtype)


def never(value: nw.Expr) -> nw.Expr:
    """False for every row; a literal would be a single value, which cannot be counted."""
    return value.is_null() & nw.lit(False)


def guarded(flag: nw.Expr, value: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    """The flag, but false for NaN."""
    return flag & ~value.is_nan() if dtype.is_float() else flag


def _member(value: nw.Expr, dtype: nw.dtypes.DType, values: list[Any]) -> nw.Expr | None:
    """True where the value is one of these; ``None`` where the type can hold none of them."""
    if not values:
        return None
    if is_text(dtype):
        text = _text(value, dtype)
        if len(values) <= 6:
            # Measured: a few comparisons are three times as fast as a hashed list.
            return any_of([text == nw.lit(item) for item in values])
        return text.is_in(values)
    if dtype == nw.Float32:
        return value.cast(nw.Float64).is_in(values)
    if dtype == nw.Datetime:
        return any_of([value == instant_literal(moment, dtype) for moment in values])
    if isinstance(dtype, nw.Decimal) or dtype == nw.Time or dtype == nw.Date:
        # Lists of these do not take the column's own unit or scale on every engine.
        return any_of([value == nw.lit(item, dtype=dtype) for item in values])
    if dtype.is_integer() and len(values) <= 4:
        return any_of([value == nw.lit(item, dtype=dtype) for item in values])
    return value.is_in(values)


def _bound(test: Bound, value: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    fitted = fit_bound(test.operator, test.limit, dtype, test.timezone)
    if fitted.literal is None:
        return never(value) if fitted.always else present(value, dtype)
    match fitted.operator:
        # Every engine orders NaN above all numbers, so that only upper bounds must mind it.
        case BoundOperator.AT_LEAST:
            return value < fitted.literal
        case BoundOperator.MORE_THAN:
            return value <= fitted.literal
        case BoundOperator.AT_MOST:
            return guarded(value > fitted.literal, value, dtype)
        case BoundOperator.LESS_THAN:
            return guarded(value >= fitted.literal, value, dtype)


def _length(test: Length, value: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    if test.items:
        if not isinstance(dtype, nw.List | nw.Array):
            raise UncompilableError(f"a column of type {dtype} has no items")
        length = value.cast(nw.List(made(dtype.inner))).list.len()
    else:
        length = _text(value, dtype).str.len_chars()
    flags = []
    if test.minimum is not None:
        flags.append(length < test.minimum)
    if test.maximum is not None:
        flags.append(length > test.maximum)
    return any_of(flags) if flags else never(value)


def _text(value: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    if dtype == nw.String:
        return value
    if is_text(dtype):
        return value.cast(nw.String)
    raise UncompilableError(f"a column of type {dtype} holds no text")


def _multiple(
    value: nw.Expr, dtype: nw.dtypes.DType, divisor: Decimal, columns: Columns
) -> nw.Expr:
    if divisor <= 0:
        raise UncompilableError(f"nothing is a multiple of {divisor}")
    if dtype.is_integer():
        units = units_of(divisor, 0)
        low, high = integer_range(dtype)
        if units > max(high, -low):
            return value != 0
        wide = nw.Int128() if dtype in (nw.UInt64, nw.UInt128, nw.Int128) else nw.Int64()
        return value.cast(wide) % nw.lit(units, dtype=wide) != 0
    if isinstance(dtype, nw.Decimal):
        zero = nw.lit(Decimal(0), dtype=dtype)
        if isinstance(dtype, AnyDecimal):
            literal = dtype.literal(Fraction(divisor), up=False)
            if literal is None:
                raise UncompilableError(f"{divisor} has more than 38 digits")
            return value % literal != zero
        units = units_of(divisor, dtype.scale)
        if units >= 10**dtype.precision:
            return value != zero
        held = dtype
        if columns.scan.backend is Backend.PYSPARK:
            # It adds the divisor to the rest, and drops digits where that might have too many.
            held = nw.Decimal(max(len(str(units)), dtype.scale), dtype.scale)
        return value % nw.lit(in_units(units, dtype.scale), dtype=held) != zero
    if not dtype.is_numeric():
        raise UncompilableError(f"a column of type {dtype} has no multiples")
    infinite = value.cast(nw.Float64).abs() == nw.lit(math.inf, dtype=nw.Float64())
    if dtype.is_float() and divisor == divisor.to_integral_value() and divisor < 2**62:
        near = nw.when(value.abs() < 2**62).then(value)
        rest = near.cast(nw.Int64) % nw.lit(int(divisor), dtype=nw.Int64())
        return guarded((near != near.round(0)) | (rest != 0) | infinite, value, dtype)
    # Near the largest float the quotient would be beyond it, for which PostgreSQL fails.
    small = nw.when(value.abs() <= min(2**53 * float(divisor), 1e308)).then(value.cast(nw.Float64))
    quotient = small / float(divisor)
    # Larger quotients are whole, or infinite; databases cannot round all of them.
    near = nw.when(quotient.abs() < 2**53).then(quotient)
    # Binary floats hold 0.07 only nearly: as far off as a division can be, no further.
    tolerance = near.abs() * 4.5e-16 + 1e-9
    flag = (near - near.round(0)).abs() > tolerance
    return guarded(flag | infinite, value, dtype)


def compile_row_expression(text: str, columns: Columns) -> nw.Expr:
    """True where the expression is false; null where it is unknown."""
    return ~holds(text, columns)


def holds(text: str, columns: Columns) -> nw.Expr:
    """The expression itself: true, false or null."""
    try:
        tree = parse_expression(text)
    except ExpressionSyntaxError as error:
        raise UncompilableError(f"the expression cannot be read: {error}") from error
    if not columns_in(tree):
        raise UncompilableError("the expression names no column")
    for name in columns_in(tree):
        columns.require((columns.names.get(name, name),))
    with _said_as_reasons():
        return compile_expression(tree, columns.scan, columns.schema, columns.names)


def expression_columns(text: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that an expression reads; none where it cannot be read."""
    try:
        tree = parse_expression(text)
    except ExpressionSyntaxError:
        return ()
    return tuple(names.get(name, name) for name in columns_in(tree))
