"""Whether one condition follows from another, for every value the metrics could have.

Sound and not complete: ``implies`` is only true where it is certain, so a diff never calls a
change harmless by guessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from dagster_contracts.core.compatibility.acceptance import (
    Direction,
    Span,
    contains,
    direction,
    whole_numbers,
)
from dagster_contracts.core.condition import (
    Both,
    Comparison,
    ComparisonOperator,
    Condition,
    Dimension,
    Either,
    Hold,
    Negation,
)
from dagster_contracts.core.metrics import DEFAULT

_OPPOSITE = {
    ComparisonOperator.LT: ComparisonOperator.GE,
    ComparisonOperator.LE: ComparisonOperator.GT,
    ComparisonOperator.GT: ComparisonOperator.LE,
    ComparisonOperator.GE: ComparisonOperator.LT,
    ComparisonOperator.EQ: ComparisonOperator.NE,
    ComparisonOperator.NE: ComparisonOperator.EQ,
}


# Rows and rules are counted: fewer than 5 is at most 4. A contract's own metric may have fractions.
_COUNTS = frozenset(
    name for name, dimension in DEFAULT.names.items() if dimension is Dimension.COUNT
)


def implies(premise: Condition, conclusion: Condition) -> bool:
    """Whether ``conclusion`` surely holds whenever ``premise`` does."""
    return _implies(_inward(premise, negate=False), _inward(conclusion, negate=False))


def compare_demands(old: Condition | None, new: Condition | None) -> Direction:
    """How a condition that must hold changed: tightened where the new one implies the old."""
    if old == new:
        return Direction.SAME
    if old is None:
        return Direction.TIGHTENED
    if new is None:
        return Direction.LOOSENED
    return direction(lambda: implies(new, old), lambda: implies(old, new))


def compare_triggers(old: Sequence[Condition], new: Sequence[Condition]) -> Direction:
    """How a list of conditions, any of which acts, changed: tightened where it acts more often."""
    if not old or not new:
        if not old and not new:
            return Direction.SAME
        return Direction.LOOSENED if old else Direction.TIGHTENED
    return direction(lambda: _any_implies(old, new), lambda: _any_implies(new, old))


def _any_implies(premises: Sequence[Condition], conclusions: Sequence[Condition]) -> bool:
    return implies(reduce(Either, premises), reduce(Either, conclusions))


def _inward(condition: Condition, *, negate: bool) -> Condition:
    """The condition with ``not`` pushed down to where it can be read off an operator."""
    match condition:
        case Comparison(metric, operator, quantity, hold):
            if not negate:
                return condition
            if hold is None:
                return Comparison(metric, _OPPOSITE[operator], quantity)
            return Negation(condition)  # "not for 3 checks" is no comparison of its own
        case Negation(operand):
            return _inward(operand, negate=not negate)
        case Both(left, right):
            join = Either if negate else Both
            return join(_inward(left, negate=negate), _inward(right, negate=negate))
        case Either(left, right):
            join = Both if negate else Either
            return join(_inward(left, negate=negate), _inward(right, negate=negate))


def _implies(premise: Condition, conclusion: Condition) -> bool:
    if premise == conclusion:
        return True
    # Splitting a premise's "or" and a conclusion's "and" loses nothing; the others may, so last.
    if isinstance(premise, Either):
        return _implies(premise.left, conclusion) and _implies(premise.right, conclusion)
    if isinstance(conclusion, Both):
        return _implies(premise, conclusion.left) and _implies(premise, conclusion.right)
    if isinstance(premise, Both) and (
        _implies(premise.left, conclusion) or _implies(premise.right, conclusion)
    ):
        return True
    if isinstance(conclusion, Either):
        return _implies(premise, conclusion.left) or _implies(premise, conclusion.right)
    if isinstance(premise, Negation) and isinstance(conclusion, Negation):
        return _implies(conclusion.operand, premise.operand)
    if isinstance(premise, Comparison) and isinstance(conclusion, Comparison):
        return _comparison_implies(premise, conclusion)
    return False


def _comparison_implies(premise: Comparison, conclusion: Comparison) -> bool:
    if premise.metric != conclusion.metric or not _holds_longer(premise.hold, conclusion.hold):
        return False
    if premise.quantity.dimension is not conclusion.quantity.dimension:
        return False
    outer, inner = _spans(conclusion), _spans(premise)
    if premise.metric in _COUNTS:
        outer, inner = whole_numbers(outer), whole_numbers(inner)
    return contains(outer, inner)


def _holds_longer(premise: Hold | None, conclusion: Hold | None) -> bool:
    """Whether having held for ``premise`` includes having held for ``conclusion``."""
    if conclusion is None or premise == conclusion:
        return True
    if conclusion.checks == 1:
        return True
    if premise is None:
        return False
    if premise.checks is not None and conclusion.checks is not None:
        return premise.checks >= conclusion.checks
    if premise.duration is not None and conclusion.duration is not None:
        return premise.duration >= conclusion.duration
    return False


def _spans(comparison: Comparison) -> tuple[Span, ...]:
    value = comparison.quantity.value
    match comparison.operator:
        case ComparisonOperator.LT:
            return (Span(None, value, high_open=True),)
        case ComparisonOperator.LE:
            return (Span(None, value),)
        case ComparisonOperator.GT:
            return (Span(value, None, low_open=True),)
        case ComparisonOperator.GE:
            return (Span(value, None),)
        case ComparisonOperator.EQ:
            return (Span(value, value),)
        case ComparisonOperator.NE:
            return (Span(None, value, high_open=True), Span(value, None, low_open=True))
