"""Trees of row-level expressions as Narwhals expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, assert_never

import narwhals as nw

from dagster_contracts.core.expression import (
    Arithmetic,
    Call,
    Column,
    Comparator,
    Comparison,
    Conjunction,
    Disjunction,
    IsNull,
    Literal,
    Matches,
    Negated,
    Node,
    OneOf,
)
from dagster_contracts.core.pattern import translate
from dagster_contracts.core.rules import BoundOperator
from dagster_contracts.engine.literal import (
    any_of,
    fit_bound,
    fit_values,
    instant_literal,
    integer_range,
    is_text,
)
from dagster_contracts.engine.scan import Backend, Scan

_WIDEST = 126
"""Whole numbers of so many bits fit 128-bit integers, and 38 decimal digits."""
_LONGEST_KEPT = 120
"""Columns of 128-bit integers (sums in DuckDB, long integers in text) hold none of more bits.

Other numbers would be reckoned with as floats, which do not tell ``n - 1`` from ``n``.
"""


class InexpressibleError(Exception):
    """The expression mixes types that have nothing to do with each other."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A compiled part: its expression and type; ``literal`` where it was written as a value.

    ``bits`` bounds the size of a whole number: its absolute value is at most two to that power.
    """

    expr: nw.Expr
    dtype: nw.dtypes.DType
    literal: Literal | None = None
    bits: int | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether it is null in every row, of a column that holds nothing and has no type."""
        return self.dtype == nw.Unknown

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole number, be it in the type of wide sums."""
        dtype = self.dtype
        return dtype.is_integer() or (isinstance(dtype, nw.Decimal) and dtype.scale == 0)

    @property
    def width(self) -> int:
        """``bits``, or what its type can hold."""
        if self.bits is not None:
            return self.bits
        if not self.dtype.is_integer():
            return _WIDEST
        return min(integer_range(self.dtype)[1].bit_length(), _LONGEST_KEPT)


def compile_expression(
    tree: Node,
    scan: Scan,
    schema: Mapping[str, nw.dtypes.DType],
    names: Mapping[str, str],
) -> nw.Expr:
    """A logical expression over columns: true, false, or null where it is unknown."""
    return _Compilation(scan, schema, names).truth(tree)


_MIRRORED = {
    Comparator.LT: Comparator.GT,
    Comparator.LE: Comparator.GE,
    Comparator.GT: Comparator.LT,
    Comparator.GE: Comparator.LE,
    Comparator.EQ: Comparator.EQ,
    Comparator.NE: Comparator.NE,
}
_BOUNDS = {
    Comparator.LT: BoundOperator.LESS_THAN,
    Comparator.LE: BoundOperator.AT_MOST,
    Comparator.GT: BoundOperator.MORE_THAN,
    Comparator.GE: BoundOperator.AT_LEAST,
}


@dataclass(frozen=True, slots=True)
class _Compilation:
    scan: Scan
    schema: Mapping[str, nw.dtypes.DType]
    names: Mapping[str, str]

    @property
    def whole(self) -> nw.dtypes.DType:
        """The type in which whole numbers are computed."""
        return self.scan.backend.widest_integer

    def truth(self, node: Node) -> nw.Expr:
        """A node that must be logical."""
        match node:
            case Conjunction(left, right):
                return self.truth(left) & self.truth(right)
            case Disjunction(left, right):
                return self.truth(left) | self.truth(right)
            case Negated(operand):
                return ~self.truth(operand)
            case IsNull(operand):
                return self.value(operand).expr.is_null()
            case Comparison(comparator, left, right):
                return self.compare(comparator, left, right)
            case OneOf(operand, values):
                return self.one_of(self.value(operand), values)
            case Matches(operand, pattern):
                text = self.text(operand)
                return text.str.contains(translate(pattern, self.scan.backend.dialect))
            case Literal(bool() as truth):
                return nw.lit(truth)
            case Literal() | Column() | Arithmetic() | Call():
                found = self.value(node)
                if found.is_nothing:
                    return _unknown(found)
                if found.dtype != nw.Boolean:
                    raise InexpressibleError(f"a value of type {found.dtype} is no condition")
                return found.expr
            case _:
                assert_never(node)

    def value(self, node: Node) -> _Value:
        match node:
            case Literal(value):
                return self.literal(node, value)
            case Column(name):
                column = self.names.get(name, name)
                dtype = self.schema[column]
                expr = self.scan.column(column)
                if column in self.scan.untyped:
                    return _Value(expr, nw.Unknown())
                if dtype.is_float():
                    # NaN is missing: unknown in comparisons, as null is.
                    expr = nw.when(~expr.is_nan()).then(expr)
                elif is_text(dtype) and dtype != nw.String:
                    expr, dtype = expr.cast(nw.String), nw.String()
                return _Value(expr, dtype)
            case Arithmetic(operator, left, right):
                return self.arithmetic(operator, self.value(left), self.value(right))
            case Call(function, arguments):
                return self.call(function, arguments)
            case _:
                return _Value(self.truth(node), nw.Boolean())

    def literal(self, node: Literal, value: Any) -> _Value:
        match value:
            case None:
                raise InexpressibleError("write 'is null' to ask for null")
            case bool():
                return _Value(nw.lit(value), nw.Boolean(), node)
            case int():
                bits = value.bit_length()
                if bits > _WIDEST:
                    return _Value(nw.lit(float(value), dtype=nw.Float64()), nw.Float64(), node)
                dtype: nw.dtypes.DType = nw.Int64() if bits < 64 else self.whole
                held = Decimal(value) if isinstance(dtype, nw.Decimal) else value
                return _Value(nw.lit(held, dtype=dtype), dtype, node, bits)
            case Decimal():
                return _Value(nw.lit(float(value), dtype=nw.Float64()), nw.Float64(), node)
            case timedelta():
                return _Value(self.duration(value), nw.Duration(), node)
            case _:
                return _Value(nw.lit(value), nw.String(), node)

    def duration(self, span: timedelta) -> nw.Expr:
        if self.scan.backend not in (Backend.POSTGRESQL, Backend.SQLITE):
            return nw.lit(span)
        if span.microseconds:
            raise InexpressibleError("parts of a second are not compared in databases")
        # The unit that Ibis gives to the difference of two timestamps.
        return nw.lit(span, dtype=nw.Duration("s"))

    def text(self, node: Node) -> nw.Expr:
        found = self.value(node)
        if found.is_nothing:
            return nw.when(_no_row(found)).then(nw.lit(""))
        if found.dtype != nw.String:
            raise InexpressibleError(f"a value of type {found.dtype} is no text")
        return found.expr

    def compare(self, comparator: Comparator, left_node: Node, right_node: Node) -> nw.Expr:
        left, right = self.value(left_node), self.value(right_node)
        if left.is_nothing or right.is_nothing:
            return _unknown(left if left.is_nothing else right)
        if left.literal is not None and right.literal is None:
            left, right, comparator = right, left, _MIRRORED[comparator]
        if right.literal is not None and left.literal is None:
            return self.compare_literal(comparator, left, right)
        self.check_comparable(left.dtype, right.dtype)
        first, second = _in_one_zone(left, right)
        if left.is_whole and right.is_whole and left.dtype != right.dtype:
            first, second = first.cast(self.whole), second.cast(self.whole)
        elif left.dtype.is_numeric() and left.dtype != right.dtype:
            first, second = first.cast(nw.Float64), second.cast(nw.Float64)
        return _compared(comparator, first, second)

    def compare_literal(self, comparator: Comparator, left: _Value, right: _Value) -> nw.Expr:
        assert right.literal is not None
        written = right.literal.value
        if isinstance(written, timedelta) or left.dtype == nw.Duration:
            self.check_comparable(left.dtype, right.dtype)
            return _compared(comparator, left.expr, right.expr)
        assert written is not None
        if left.dtype == nw.String or left.dtype == nw.Boolean:
            self.check_comparable(left.dtype, right.dtype)
            return _compared(comparator, left.expr, right.expr)
        if comparator in (Comparator.EQ, Comparator.NE):
            same = self.one_of(left, (right.literal,))
            return same if comparator is Comparator.EQ else ~same
        fitted = fit_bound(_BOUNDS[comparator], written, left.dtype)
        if fitted.literal is not None:
            return _compared(comparator, left.expr, fitted.literal)
        return nw.when(~left.expr.is_null()).then(nw.lit(bool(fitted.always)))

    def check_comparable(self, left: nw.dtypes.DType, right: nw.dtypes.DType) -> None:
        if left.is_numeric() and right.is_numeric():
            return
        if left == nw.Datetime and right == nw.Datetime:
            if (getattr(left, "time_zone", None) is None) != (
                getattr(right, "time_zone", None) is None
            ):
                raise InexpressibleError(
                    "a timestamp with a time zone cannot be compared with one without"
                )
            return
        if type(left) is not type(right):
            raise InexpressibleError(f"{left} and {right} cannot be compared")

    def one_of(self, operand: _Value, values: tuple[Literal, ...]) -> nw.Expr:
        written = [item.value for item in values]
        if operand.is_nothing:
            return _unknown(operand)
        if any(isinstance(value, timedelta) or value is None for value in written):
            raise InexpressibleError("durations and null cannot be listed")
        scalars = tuple(v for v in written if v is not None and not isinstance(v, timedelta))
        fitted = fit_values(scalars, operand.dtype)
        if not fitted:
            return nw.when(~operand.expr.is_null()).then(nw.lit(False))
        if operand.dtype == nw.Datetime:
            tests = [operand.expr == instant_literal(item, operand.dtype) for item in fitted]
        elif is_text(operand.dtype) or operand.dtype == nw.Boolean:
            return operand.expr.is_in(fitted)
        elif operand.dtype == nw.Float32:
            return operand.expr.cast(nw.Float64).is_in(fitted)
        else:
            tests = [operand.expr == nw.lit(item, dtype=operand.dtype) for item in fitted]
        return any_of(tests)

    def arithmetic(self, operator: str, left: _Value, right: _Value) -> _Value:
        if left.is_nothing or right.is_nothing:
            return left if left.is_nothing else right
        if left.dtype.is_numeric() and right.dtype.is_numeric():
            return self.numbers(operator, left, right)
        temporal = (nw.Datetime, nw.Date)
        if operator == "-" and left.dtype in temporal and right.dtype in temporal:
            self.check_comparable(left.dtype, right.dtype)
            first, second = _in_one_zone(left, right)
            if left.dtype == nw.Date:
                # Databases subtract days to a whole number.
                first, second = first.cast(nw.Datetime("us")), second.cast(nw.Datetime("us"))
            return _Value(first - second, nw.Duration())
        if operator in "+-" and left.dtype in (nw.Datetime, nw.Duration):
            if right.dtype == nw.Duration:
                moved = left.expr + right.expr if operator == "+" else left.expr - right.expr
                return _Value(moved, left.dtype)
            if operator == "+" and right.dtype == nw.Datetime and left.dtype == nw.Duration:
                return _Value(left.expr + right.expr, right.dtype)
        raise InexpressibleError(f"{left.dtype} {operator} {right.dtype} has no meaning")

    def numbers(self, operator: str, left: _Value, right: _Value) -> _Value:
        bits = {"*": left.width + right.width, "%": right.width}.get(
            operator, max(left.width, right.width) + 1
        )
        if operator == "/" or not (left.is_whole and right.is_whole) or bits > _WIDEST:
            wide: nw.dtypes.DType = nw.Float64()
        else:
            # Integers wrap in silence on some engines: they are widened to what holds any result.
            wide = nw.Int64() if max(bits, left.width, right.width) < 64 else self.whole
        first, second = left.expr.cast(wide), right.expr.cast(wide)
        match operator:
            case "+":
                return _Value(first + second, wide, bits=bits)
            case "-":
                return _Value(first - second, wide, bits=bits)
            case "*":
                return _Value(first * second, wide, bits=bits)
            case "/":
                # Division by zero is unknown on every engine.
                return _Value(nw.when(second != 0).then(first / second), wide)
            case _:
                # The sign of the divisor, on every engine.
                rest = nw.when(second != 0).then(first % second)
                found = (rest + second) % nw.when(second != 0).then(second)
                return _Value(found, wide, bits=bits)

    def call(self, function: str, arguments: tuple[Node, ...]) -> _Value:
        first = self.value(arguments[0])
        match function:
            case "abs" | "round":
                return self.rounded(function, first, arguments)
            case "length":
                return _Value(self.text(arguments[0]).str.len_chars().cast(nw.Int64), nw.Int64())
            case "lower" | "upper" if not self.scan.folds_case:
                raise InexpressibleError(f"{function} knows only ASCII in this database")
            case "lower":
                return _Value(self.text(arguments[0]).str.to_lowercase(), nw.String())
            case "upper":
                return _Value(self.text(arguments[0]).str.to_uppercase(), nw.String())
            case "trim":
                return _Value(self.text(arguments[0]).str.strip_chars(), nw.String())
            case "starts_with" | "ends_with":
                affix = arguments[1]
                if not isinstance(affix, Literal) or not isinstance(affix.value, str):
                    raise InexpressibleError(f"{function} asks for a text in quotes")
                text = self.text(arguments[0]).str
                start = function == "starts_with"
                if self.scan.backend is Backend.SQLITE:
                    # Its LIKE ignores case.
                    form = re.escape(affix.value)
                    found = text.contains(f"^{form}" if start else rf"{form}\Z")
                    return _Value(found, nw.Boolean())
                found = text.starts_with(affix.value) if start else text.ends_with(affix.value)
                return _Value(found, nw.Boolean())
            case "coalesce":
                return self.coalesced([self.value(argument) for argument in arguments])
            case _:
                return self.part_of_time(function, first)

    def rounded(self, function: str, first: _Value, arguments: tuple[Node, ...]) -> _Value:
        if first.is_nothing:
            return first
        if not first.dtype.is_numeric():
            raise InexpressibleError(f"{function} asks for a number, not {first.dtype}")
        wide: nw.dtypes.DType = self.whole if first.is_whole else nw.Float64()
        if function == "abs":
            return _Value(first.expr.cast(wide).abs(), wide, bits=first.width)
        digits = arguments[1] if len(arguments) > 1 else Literal(0)
        if not isinstance(digits, Literal) or not isinstance(digits.value, int):
            raise InexpressibleError("round asks for a whole number of digits")
        return _Value(first.expr.cast(nw.Float64).round(digits.value), nw.Float64())

    def coalesced(self, given: list[_Value]) -> _Value:
        values = [value for value in given if not value.is_nothing]
        if not values:
            return given[0]
        dtype = values[0].dtype
        bits = None
        if all(v.dtype.is_numeric() for v in values):
            dtype = self.whole if all(v.is_whole for v in values) else nw.Float64()
            bits = max(v.width for v in values)
            expr = nw.coalesce(*[v.expr.cast(dtype) for v in values])
        else:
            for value in values:
                self.check_comparable(dtype, value.dtype)
            expr = nw.coalesce(*[value.expr for value in values])
        if len(values) < len(given):
            # What is left may be a single value, and is asked for in each row.
            nothing = next(value for value in given if value.is_nothing)
            expr = nw.when(nothing.expr.is_null()).then(expr)
        return _Value(expr, dtype, bits=bits)

    def part_of_time(self, function: str, first: _Value) -> _Value:
        if first.literal is not None and first.dtype == nw.String:
            return self.written_day(function, str(first.literal.value))
        if first.is_nothing:
            return first
        if first.dtype not in (nw.Datetime, nw.Date):
            raise InexpressibleError(f"{function} asks for a date or timestamp, not {first.dtype}")
        if function == "date":
            if first.dtype == nw.Date:
                return first
            return _Value(first.expr.dt.date(), nw.Date())
        if first.dtype == nw.Date and function in ("hour", "minute"):
            raise InexpressibleError(f"a date has no {function}")
        part = getattr(first.expr.dt, function)()
        return _Value(part.cast(nw.Int64), nw.Int64())

    def written_day(self, function: str, text: str) -> _Value:
        if function != "date":
            raise InexpressibleError(f"{function} asks for a column")
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise InexpressibleError(f"{text!r} is no date in ISO 8601") from None
        assert not isinstance(day, datetime)
        return _Value(nw.lit(day, dtype=nw.Date()), nw.Date())


def _no_row(value: _Value) -> nw.Expr:
    """False for every row; a literal alone would be a single value."""
    return value.expr.is_null() & nw.lit(False)


def _unknown(value: _Value) -> nw.Expr:
    """Neither true nor false for any row."""
    return nw.when(_no_row(value)).then(nw.lit(False))


def _in_one_zone(left: _Value, right: _Value) -> tuple[nw.Expr, nw.Expr]:
    """Both values, instants of unlike zones as those of UTC."""
    zones = {getattr(value.dtype, "time_zone", None) for value in (left, right)}
    if len(zones) == 1 or None in zones:
        return left.expr, right.expr
    return left.expr.dt.convert_time_zone("UTC"), right.expr.dt.convert_time_zone("UTC")


def _compared(comparator: Comparator, left: nw.Expr, right: nw.Expr) -> nw.Expr:
    match comparator:
        case Comparator.EQ:
            return left == right
        case Comparator.NE:
            return left != right
        case Comparator.LT:
            return left < right
        case Comparator.LE:
            return left <= right
        case Comparator.GT:
            return left > right
        case Comparator.GE:
            return left >= right
