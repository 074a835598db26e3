"""Whether a condition can ever hold, and whether it always does."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from itertools import pairwise
from typing import assert_never

from dagster_contracts.core.condition import (
    Both,
    Comparison,
    ComparisonOperator,
    Condition,
    Dimension,
    Either,
    Negation,
)

_MAX_TERMS = 256
_OPPOSITE = {
    ComparisonOperator.LT: ComparisonOperator.GE,
    ComparisonOperator.GE: ComparisonOperator.LT,
    ComparisonOperator.GT: ComparisonOperator.LE,
    ComparisonOperator.LE: ComparisonOperator.GT,
    ComparisonOperator.EQ: ComparisonOperator.NE,
    ComparisonOperator.NE: ComparisonOperator.EQ,
}
#: Ratios of rows lie between none and all; other ratios (row_count_change) have no upper end.
_BOUNDED_RATIOS = (
    "schema_validation_errors",
    "quality_errors",
    "completeness",
    "duplicates",
    "null_ratio.",
    "failed_ratio.",
    "availability",
)
#: Spans and rates that no clock turns back.
_NEVER_NEGATIVE = (
    "materialization_age",
    "evaluation_delay",
    "throughput",
    "time_to_detect",
    "time_to_notify",
    "time_to_repair",
    "delay_after.",
)


class Prospect(Enum):
    """What a condition can come to."""

    SOMETIMES = "sometimes"
    NEVER = "never"
    ALWAYS = "always"


def prospect(condition: Condition) -> Prospect:
    """Judge a condition by the ranges of its metrics; ``SOMETIMES`` if it is too large to judge."""
    if not _satisfiable(condition):
        return Prospect.NEVER
    if not _satisfiable(Negation(condition)):
        return Prospect.ALWAYS
    return Prospect.SOMETIMES


def _satisfiable(condition: Condition) -> bool:
    terms = _terms(condition, positive=True)
    return terms is None or any(_possible(term) for term in terms)


def _terms(condition: Condition, *, positive: bool) -> list[tuple[Comparison, ...]] | None:
    """The disjunctive normal form; ``None`` where it would be too large."""
    match condition:
        case Comparison(metric, operator, quantity, hold):
            if positive:
                return [(condition,)]
            # "not (x > 5 for 3 checks)" can hold whatever x is: a hold says nothing once negated.
            if hold is not None:
                return [()]
            return [(Comparison(metric, _OPPOSITE[operator], quantity),)]
        case Negation(operand):
            return _terms(operand, positive=not positive)
        case Both(left, right) | Either(left, right):
            first, second = _terms(left, positive=positive), _terms(right, positive=positive)
            if first is None or second is None:
                return None
            if isinstance(condition, Either) == positive:
                joined = first + second
            else:
                if len(first) * len(second) > _MAX_TERMS:
                    return None
                joined = [one + other for one in first for other in second]
            return joined if len(joined) <= _MAX_TERMS else None
        case _:
            assert_never(condition)


def _possible(term: tuple[Comparison, ...]) -> bool:
    by_metric: dict[str, list[Comparison]] = {}
    for comparison in term:
        by_metric.setdefault(comparison.metric, []).append(comparison)
    return all(_one_value_fits(metric, found) for metric, found in by_metric.items())


def _one_value_fits(metric: str, comparisons: list[Comparison]) -> bool:
    """Whether one value of the metric satisfies all: the ends, the points and the gaps between."""
    low, high = _range(metric, comparisons[0].quantity.dimension)
    points = {comparison.quantity.value for comparison in comparisons}
    points.update(end for end in (low, high) if end is not None)
    ordered = sorted(points)
    candidates = list(ordered)
    candidates += [(one + other) / 2 for one, other in pairwise(ordered)]
    candidates += [ordered[0] - 1, ordered[-1] + 1]
    if comparisons[0].quantity.dimension is Dimension.COUNT:
        candidates = [Fraction(whole + step) for p in ordered for step in (-1, 0, 1)
                      for whole in (p.numerator // p.denominator,)]  # fmt: skip
    return any(
        (low is None or value >= low)
        and (high is None or value <= high)
        and all(c.operator.holds(value, c.quantity.value) for c in comparisons)
        for value in candidates
    )


def _range(metric: str, dimension: Dimension) -> tuple[Fraction | None, Fraction | None]:
    if dimension is Dimension.RATIO and metric.startswith(_BOUNDED_RATIOS):
        return Fraction(0), Fraction(1)
    if dimension in (Dimension.COUNT, Dimension.SIZE) or metric.startswith(_NEVER_NEGATIVE):
        return Fraction(0), None
    # Freshness and latency may be negative: a clock that runs ahead stamps events in the future.
    return None, None
