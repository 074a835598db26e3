"""A contract's schema as a pandera schema, for a team's own tests and types."""

from __future__ import annotations

import operator as op
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import narwhals as nw

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.contract import Contract, ExtraColumns, LogicalType, SchemaObject
from dagster_contracts.core.pattern import Dialect, UnportablePattern, translate
from dagster_contracts.core.rules import (
    All,
    Bound,
    BoundOperator,
    Enumerated,
    Format,
    Length,
    MultipleOf,
    Pattern,
    Presence,
    Required,
    RuleTest,
    TypeMatch,
    Unique,
)
from dagster_contracts.core.text_format import TEXT_FORMATS
from dagster_contracts.engine.structure import is_of_type


def to_pandera(
    contract: Contract, schema_object: SchemaObject | None = None, *, backend: str = "pandas"
) -> Any:
    """A pandera ``DataFrameSchema`` with the rules of the schema.

    ``backend`` is ``pandas`` or ``polars``. Types are tested as the contract means them (any
    integer is an ``integer``), so no column has a dtype of its own. What pandera has no word for
    (references, nested fields, patterns outside the portable subset) is left out, and listed in
    the schema's ``metadata`` under ``left_out``.
    """
    if backend == "pandas":
        import pandera.pandas as api  # late: only for those who ask
    elif backend == "polars":
        import pandera.polars as api  # type: ignore[no-redef]
    else:
        raise ValueError(f"backend must be pandas or polars, not {backend!r}")
    plan = plan_checks(contract, schema_object)
    target = plan.schema_object
    floats = (None, LogicalType.NUMBER)
    loose = frozenset(p.column for p in target.properties if p.logical_type in floats)
    made = _Checks(api.Check, backend, loose if backend == "polars" else frozenset())
    checks: dict[str, list[Any]] = {prop.column: [] for prop in target.properties}
    required: set[str] = set()
    whole: list[Any] = []
    left_out: list[str] = []
    for rule in plan.check("schema").rules:
        if isinstance(rule.test, Unique):
            whole.append(made.unique(rule.name, rule.test.columns))
            continue
        if rule.column is None or getattr(rule.test, "path", (rule.column,)) != (rule.column,):
            left_out.append(rule.name)
            continue
        if isinstance(rule.test, Required):
            required.add(rule.column)
            continue
        try:
            checks[rule.column] += made.of(rule.name, rule.test)
        except (UnportablePattern, LookupError):
            left_out.append(rule.name)
    left_out += [rule.name for check in plan.checks[1:] for rule in check.rules]
    return api.DataFrameSchema(
        {
            name: api.Column(nullable=name not in required, checks=found)
            for name, found in checks.items()
        },
        checks=whole,
        strict=target.extra_columns is ExtraColumns.FORBID,
        ordered=target.ordered,
        name=target.name,
        title=contract.ref,
        description=target.description or contract.description,
        metadata={"contract": contract.ref, "left_out": left_out},
    )


class _Checks:
    """Rule tests as pandera checks of one backend.

    ``floats`` are the columns in which pandera would test NaN, which is missing.
    """

    def __init__(self, check: Any, backend: str, floats: frozenset[str]) -> None:
        self.check = check
        self.backend = backend
        self.floats = floats
        self.dialect = Dialect.PYTHON if backend == "pandas" else Dialect.RUST

    def of(self, name: str, test: RuleTest) -> Iterator[Any]:
        """The checks of one test; LookupError where pandera has none."""
        match test:
            case TypeMatch(_, logical_type):
                yield self.own(name, self._type_test(logical_type))
            case Enumerated((column,), values) if column in self.floats:
                yield self.own(name, _passing_nan(_listed(values)))
            case Enumerated(_, values):
                yield self.check.isin(list(values), name=name, error=name)
            case Bound((column,), comparison, limit) if column in self.floats:
                yield self.own(name, _passing_nan(_compared(comparison, limit)))
            case Bound(_, operator, limit):
                yield self._bound(operator)(limit, name=name, error=name)
            case Length(_, minimum, maximum, False):
                yield self.check.str_length(minimum, maximum, name=name, error=name)
            case Pattern(_, pattern):
                yield self.check.str_contains(
                    translate(pattern, self.dialect), name=name, error=name
                )
            case Format(_, form):
                pattern = translate(TEXT_FORMATS[form], self.dialect)
                yield self.check.str_contains(pattern, name=name, error=name)
            case MultipleOf(_, divisor):
                yield self.own(name, self._multiple_test(float(divisor)))
            case All(parts):
                for part in parts:
                    yield from self.of(name, part)
            case Presence():
                return
            case _:
                raise LookupError(name)

    def own(self, name: str, test: Callable[..., Any]) -> Any:
        """A check of our own."""
        return self.check(test, name=name, error=name)

    def _bound(self, operator: BoundOperator) -> Any:
        return {
            BoundOperator.AT_LEAST: self.check.ge,
            BoundOperator.MORE_THAN: self.check.gt,
            BoundOperator.AT_MOST: self.check.le,
            BoundOperator.LESS_THAN: self.check.lt,
        }[operator]

    def _type_test(self, logical_type: LogicalType) -> Callable[..., Any]:
        if self.backend == "polars":

            def of_type(data: Any) -> bool:
                schema = nw.from_native(data.lazyframe).collect_schema()
                return is_of_type(schema[data.key], logical_type)

            return of_type

        def of_pandas_type(series: Any) -> bool:
            found = nw.from_native(series, series_only=True)
            whole = found.dtype.is_float() and logical_type is LogicalType.INTEGER
            if whole:
                # pandas keeps integers with gaps as floats.
                present = series.dropna()
                return bool((present == present.round()).all())
            empty = bool(series.isna().all())
            return empty or is_of_type(found.dtype, logical_type)

        return of_pandas_type

    def _multiple_test(self, divisor: float) -> Callable[..., Any]:
        def rest(values: Any) -> Any:
            quotient = values / divisor
            return (quotient - quotient.round(0)).abs() <= 1e-9

        return _passing_nan(rest) if self.backend == "polars" else rest

    def unique(self, name: str, columns: tuple[str, ...]) -> Any:
        """No two rows share the key; nulls are no duplicates, the first row is none either."""
        names = list(columns)
        if self.backend == "polars":
            import polars as pl  # late: only for those who ask

            def first(data: Any) -> Any:
                schema = data.lazyframe.collect_schema()
                gaps = [pl.col(column).is_null() for column in names]
                gaps += [pl.col(column).is_nan() for column in names if schema[column].is_float()]
                key = pl.struct(names)
                absent = pl.any_horizontal([gap.fill_null(False) for gap in gaps])
                return data.lazyframe.select(key.is_first_distinct() | absent)

            return self.own(name, first)
        return self.own(
            name, lambda frame: ~frame.duplicated(names) | frame[names].isna().any(axis=1)
        )


def _listed(values: Sequence[Any]) -> Callable[[Any], Any]:
    # One by one: a list of whole numbers is not looked up among floats.
    return lambda found: reduce(op.or_, [found == value for value in values])


def _compared(operator: BoundOperator, limit: Any) -> Callable[[Any], Any]:
    compare = {
        BoundOperator.AT_LEAST: op.ge,
        BoundOperator.MORE_THAN: op.gt,
        BoundOperator.AT_MOST: op.le,
        BoundOperator.LESS_THAN: op.lt,
    }[operator]
    return lambda found: compare(found, limit)


def _passing_nan(test: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A test of a Polars column, which NaN passes."""
    import polars as pl  # late: only for those who ask

    def tested(data: Any) -> Any:
        column = pl.col(data.key)
        passed = test(column)
        if data.lazyframe.collect_schema()[data.key].is_float():
            passed = passed | column.is_nan()
        return data.lazyframe.select(passed)

    return tested
