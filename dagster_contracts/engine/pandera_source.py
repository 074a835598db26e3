"""A contract's schema as the source of a pandera schema: a module that runs as it is.

The text needs pandera and its data frames, and nothing of this package. It judges as
:func:`~dagster_contracts.engine.pandera.to_pandera` does; what pandera has no word for is named in
comments.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    LogicalType,
    Scalar,
    SchemaObject,
)
from dagster_contracts.core.pattern import Dialect, UnportablePattern, translate
from dagster_contracts.core.rules import (
    All,
    Bound,
    BoundOperator,
    ColumnOrder,
    Enumerated,
    Format,
    Length,
    MultipleOf,
    NoExtraColumns,
    Pattern,
    Presence,
    Required,
    RuleTest,
    TypeMatch,
    Unique,
)
from dagster_contracts.core.text_format import TEXT_FORMATS


class PanderaEngine(StrEnum):
    """The data frames that pandera can judge."""

    PANDAS = "pandas"
    POLARS = "polars"


_BOUNDS = {
    BoundOperator.AT_LEAST: "ge",
    BoundOperator.MORE_THAN: "gt",
    BoundOperator.AT_MOST: "le",
    BoundOperator.LESS_THAN: "lt",
}

_PANDAS_HEAD = '''\
import datetime
from decimal import Decimal

import pandas as pd
import pandera.pandas as pa


def _holds(*kinds):
    """All values that are there are of these Python types, and of no other."""
    return lambda series: series.dropna().map(lambda value: type(value) in kinds).all()


def _is_integer(series):
    if pd.api.types.is_float_dtype(series):  # integers with gaps
        present = series.dropna()
        return bool((present == present.round()).all())
    return pd.api.types.is_integer_dtype(series)


def _is_number(series):
    kinds = pd.api.types
    numeric = kinds.is_numeric_dtype(series) and not kinds.is_bool_dtype(series)
    return numeric or _is_object(series, Decimal)


def _is_object(series, *kinds):
    return series.dtype == object and _holds(*kinds)(series)


def _is_text(series):
    if isinstance(series.dtype, pd.CategoricalDtype):
        return True
    return isinstance(series.dtype, pd.StringDtype) or _is_object(series, str)


def _is_timestamp(series, zoned=None):
    if not pd.api.types.is_datetime64_any_dtype(series):
        return False
    return zoned is None or (series.dt.tz is not None) == zoned


_TYPES = {
    "string": _is_text,
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda series: pd.api.types.is_bool_dtype(series) or _is_object(series, bool),
    "date": lambda series: _is_object(series, datetime.date) or "date32" in str(series.dtype),
    "timestamp": _is_timestamp,
    "time": lambda series: _is_object(series, datetime.time) or "time64" in str(series.dtype),
    "object": lambda series: _is_object(series, dict),
    "array": lambda series: not pd.api.types.is_string_dtype(series) and (
        _is_object(series, list, tuple) or str(series.dtype).startswith("list")
    ),
    "map": lambda series: _is_object(series, dict, list),
}


def _type(name, **options):
    """The values are of a type; a column without any value is of every type."""
    return lambda series: bool(series.isna().all() or _TYPES[name](series, **options))


def _multiple_of(divisor):
    def is_multiple(values):
        quotient = values / divisor
        return (quotient - quotient.round(0)).abs() <= 1e-9

    return is_multiple


def _unique(names):
    """No two rows share the key; nulls are no duplicates, and the first of a group is none."""
    return lambda frame: ~frame.duplicated(names) | frame[names].isna().any(axis=1)
'''

_POLARS_HEAD = '''\
import datetime  # noqa: F401
from decimal import Decimal  # noqa: F401

import pandera.polars as pa
import polars as pl

_TYPES = {
    "any": lambda dtype: True,
    "string": lambda dtype: dtype in (pl.String, pl.Categorical, pl.Enum),
    "integer": lambda dtype: dtype.is_integer(),
    "number": lambda dtype: dtype.is_numeric(),
    "boolean": lambda dtype: dtype == pl.Boolean,
    "date": lambda dtype: dtype == pl.Date,
    "timestamp": lambda dtype, zoned=None: dtype == pl.Datetime
    and (zoned is None or (dtype.time_zone is not None) == zoned),
    "time": lambda dtype: dtype == pl.Time,
    "object": lambda dtype: dtype == pl.Struct,
    "array": lambda dtype: dtype in (pl.List, pl.Array),
    "map": lambda dtype: dtype in (pl.Struct, pl.List),
}


def _is_of_type(data, name, options):
    dtype = data.lazyframe.collect_schema()[data.key]
    return dtype == pl.Null or _TYPES[name](dtype, **options)


def _type(name, **options):
    """The column is of a type, or all its rows fail; one without any value is of every type."""

    def is_of_type(data):
        good = _is_of_type(data, name, options)
        return data.lazyframe.select(pl.col(data.key).is_null() | pl.lit(good))

    return is_of_type


def _values(test, name, **options):
    """The values keep a test; those of a column of another type are not looked at."""

    def keep(data):
        column = pl.col(data.key)
        if not _is_of_type(data, name, options):
            return data.lazyframe.select(column.is_null() | pl.lit(True))
        return data.lazyframe.select(test(column))

    return keep


def _multiple_of(divisor):
    def is_multiple(column):
        quotient = column / divisor
        return (quotient - quotient.round(0)).abs() <= 1e-9

    return is_multiple


def _unique(names):
    """No two rows share the key; nulls are no duplicates, and the first of a group is none."""
    absent = pl.any_horizontal([pl.col(name).is_null() for name in names])
    return lambda data: data.lazyframe.select(pl.struct(names).is_first_distinct() | absent)
'''


def to_pandera_source(
    contract: Contract,
    schema_object: SchemaObject | None = None,
    *,
    engine: PanderaEngine = PanderaEngine.PANDAS,
) -> str:
    """Python source whose name ``schema`` is the pandera schema of one object.

    ``schema_object`` is the contract's first where none is given. Every name and value of the
    contract is written as a Python literal.
    """
    plan = plan_checks(contract, schema_object)
    target = plan.schema_object
    checks: dict[str, list[str]] = {prop.column: [] for prop in target.properties}
    # The plan tells the type of a column before what its values must be.
    kinds = dict.fromkeys(checks, repr("any"))
    required: set[str] = set()
    whole: list[str] = []
    left_out: list[str] = []
    for rule in plan.check("schema").rules:
        match rule.test:
            case Presence(path) if len(path) == 1:
                continue
            case NoExtraColumns() | ColumnOrder():
                if target.extra_columns is ExtraColumns.WARN:
                    left_out.append(f"{rule.name}: {rule.description}")
                continue
            case Unique(columns):
                whole.append(_own(rule.name, f"_unique({list(columns)!r})"))
                continue
            case _:
                pass
        if rule.column is None or getattr(rule.test, "path", (rule.column,)) != (rule.column,):
            left_out.append(f"{rule.name}: {rule.description}")
        elif isinstance(rule.test, Required):
            required.add(rule.column)
        else:
            try:
                kinds[rule.column] = _type_arguments(rule.test) or kinds[rule.column]
                checks[rule.column] += (
                    _checks(rule.name, rule.test)
                    if engine is PanderaEngine.PANDAS
                    else _polars_checks(rule.name, rule.test, kinds[rule.column])
                )
            except (UnportablePattern, LookupError):
                left_out.append(f"{rule.name}: {rule.description}")
    left_out += [
        f"{rule.name}: {rule.description}" for check in plan.checks[1:] for rule in check.rules
    ]
    declared = [
        line
        for name, found in checks.items()
        for line in _column(name, found, nullable=name not in required)
    ]
    title = _comment(f"{contract.ref}: {target.name}, for pandera on {engine.value}")
    lines = [
        title,
        *(_comment(f"not said here: {words}") for words in left_out),
        "",
        _PANDAS_HEAD if engine is PanderaEngine.PANDAS else _POLARS_HEAD,
        "",
        "schema = pa.DataFrameSchema(",
        "    {",
        *declared,
        "    },",
        "    checks=[",
        *(f"        {check}," for check in whole),
        "    ],",
        f"    strict={target.extra_columns is ExtraColumns.FORBID},",
        f"    ordered={target.ordered},",
        f"    name={target.name!r},",
        f"    title={contract.ref!r},",
        f"    description={(target.description or contract.description)!r},",
        ")",
    ]
    return "\n".join(lines) + "\n"


def _column(name: str, checks: list[str], *, nullable: bool) -> Iterator[str]:
    yield f"        {name!r}: pa.Column("
    yield f"            nullable={nullable},"
    yield "            checks=["
    for check in checks:
        yield f"                {check},"
    yield "            ],"
    yield "        ),"


def _polars_checks(name: str, test: RuleTest, kind: str) -> Iterator[str]:
    """The same as :func:`_checks` for Polars.

    pandera cannot report that a check failed as a whole beside one that fails on rows, so that a
    column of a wrong type fails row by row, and its values are not compared.
    """
    match test:
        case TypeMatch():
            yield _own(name, f"_type({kind})")
            return
        case Enumerated(_, values):
            expression = f"column.is_in([{', '.join(map(_literal, values))}])"
        case Bound(_, operator, limit):
            expression = f"column {operator.value} {_literal(limit)}"
        case Length(_, minimum, maximum, False):
            bounds = [(">=", minimum), ("<=", maximum)]
            expression = " & ".join(
                f"(column.str.len_chars() {sign} {x})" for sign, x in bounds if x is not None
            )
        case Pattern(_, pattern):
            expression = f"column.str.contains({translate(pattern, Dialect.RUST)!r})"
        case Format(_, form):
            expression = f"column.str.contains({translate(TEXT_FORMATS[form], Dialect.RUST)!r})"
        case MultipleOf(_, divisor):
            yield _own(name, f"_values(_multiple_of({float(divisor)!r}), {kind})")
            return
        case All(parts):
            for part in parts:
                yield from _polars_checks(name, part, kind)
            return
        case _:
            raise LookupError(name)
    yield _own(name, f"_values(lambda column: {expression}, {kind})")


def _type_arguments(test: RuleTest) -> str | None:
    if not isinstance(test, TypeMatch):
        return None
    zoned = test.timezone if test.logical_type is LogicalType.TIMESTAMP else None
    return repr(test.logical_type.value) + (f", zoned={zoned}" if zoned is not None else "")


def _checks(name: str, test: RuleTest) -> Iterator[str]:
    """The checks of one test, as expressions; LookupError where pandera has none."""
    label = f"name={name!r}, error={name!r}"
    dialect = Dialect.PYTHON
    match test:
        case TypeMatch():
            yield _own(name, f"_type({_type_arguments(test)})")
        case Enumerated(_, values):
            listed = ", ".join(map(_literal, values))
            yield f"pa.Check.isin([{listed}], {label})"
        case Bound(_, operator, limit):
            yield f"pa.Check.{_BOUNDS[operator]}({_literal(limit)}, {label})"
        case Length(_, minimum, maximum, False):
            yield f"pa.Check.str_length({minimum}, {maximum}, {label})"
        case Pattern(_, pattern):
            yield f"pa.Check.str_contains({translate(pattern, dialect)!r}, {label})"
        case Format(_, form):
            yield f"pa.Check.str_contains({translate(TEXT_FORMATS[form], dialect)!r}, {label})"
        case MultipleOf(_, divisor):
            yield _own(name, f"_multiple_of({float(divisor)!r})")
        case All(parts):
            for part in parts:
                yield from _checks(name, part)
        case _:
            raise LookupError(name)


def _own(name: str, test: str) -> str:
    return f"pa.Check({test}, name={name!r}, error={name!r})"


def _literal(value: Scalar) -> str:
    """A value as Python writes it; a zone by its distance to UTC, where it has no other name."""
    if isinstance(value, datetime):
        offset = value.utcoffset()
        plain = _literal_moment(value)
        if offset is None:
            return plain
        zone = f"datetime.timezone({_delta(offset)})" if offset else "datetime.timezone.utc"
        return plain.removesuffix(")") + f", tzinfo={zone})"
    if isinstance(value, time):
        return f"datetime.time.fromisoformat({value.isoformat()!r})"
    if isinstance(value, date):
        return f"datetime.date({value.year}, {value.month}, {value.day})"
    return repr(value)


def _literal_moment(value: datetime) -> str:
    parts = [value.year, value.month, value.day, value.hour, value.minute, value.second]
    if value.microsecond:
        parts.append(value.microsecond)
    return f"datetime.datetime({', '.join(map(str, parts))})"


def _delta(offset: timedelta) -> str:
    return f"datetime.timedelta(seconds={int(offset.total_seconds())})"


def _comment(text: str) -> str:
    return "# " + " ".join("".join(c if c.isprintable() else " " for c in text).split())
