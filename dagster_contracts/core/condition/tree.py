"""Conditions as values: a small tree of comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias, assert_never

from dagster_contracts.core.metrics import spell_name
from dagster_contracts.core.quantity import Dimension, Quantity, render_quantity


class ComparisonOperator(StrEnum):
    """How a metric is compared with its threshold."""

    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    EQ = "=="
    NE = "!="

    def holds(self, left: Fraction, right: Fraction) -> bool:
        """Whether ``left <operator> right``."""
        match self:
            case ComparisonOperator.LT:
                return left < right
            case ComparisonOperator.LE:
                return left <= right
            case ComparisonOperator.GT:
                return left > right
            case ComparisonOperator.GE:
                return left >= right
            case ComparisonOperator.EQ:
                return left == right
            case ComparisonOperator.NE:
                return left != right


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a comparison must have held: so many checks in a row, or so long.

    Exactly one of the two is set.
    """

    checks: int | None = None
    duration: timedelta | None = None

    def __post_init__(self) -> None:
        if (self.checks is None) == (self.duration is None):
            raise ValueError("a hold is either a number of checks or a duration")

    def __str__(self) -> str:
        if self.duration is None:
            return f"{self.checks} check{'' if self.checks == 1 else 's'}"
        seconds = Fraction(self.duration // timedelta(microseconds=1), 1_000_000)
        return render_quantity(Quantity(seconds, Dimension.DURATION))


@dataclass(frozen=True, slots=True)
class Comparison:
    """``metric operator quantity [for hold]``; ``metric`` is the catalogue's canonical name."""

    metric: str
    operator: ComparisonOperator
    quantity: Quantity
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Both:
    """``left and right``."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Either:
    """``left or right``."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Negation:
    """``not operand``."""

    operand: Condition


Condition: TypeAlias = Comparison | Both | Either | Negation


def render(condition: Condition) -> str:
    """Write a condition as text that parses back to the same tree."""
    match condition:
        case Comparison(metric, operator, quantity, hold):
            text = f"{spell_name(metric)} {operator} {render_quantity(quantity)}"
            return text if hold is None else f"{text} for {hold}"
        case Both(left, right):
            first = f"({render(left)})" if isinstance(left, Either) else render(left)
            second = f"({render(right)})" if isinstance(right, Both | Either) else render(right)
            return f"{first} and {second}"
        case Either(left, right):
            second = f"({render(right)})" if isinstance(right, Either) else render(right)
            return f"{render(left)} or {second}"
        case Negation(operand):
            inner = render(operand)
            return f"not ({inner})" if isinstance(operand, Both | Either) else f"not {inner}"
        case _:
            assert_never(condition)


def comparisons_of(condition: Condition) -> tuple[Comparison, ...]:
    """Every comparison of a condition, from left to right."""
    match condition:
        case Comparison():
            return (condition,)
        case Both(left, right) | Either(left, right):
            return comparisons_of(left) + comparisons_of(right)
        case Negation(operand):
            return comparisons_of(operand)
        case _:
            assert_never(condition)


def alternatives_of(condition: Condition) -> tuple[Comparison, ...]:
    """The comparisons each of which makes a condition true by itself."""
    match condition:
        case Comparison():
            return (condition,)
        case Either(left, right):
            return alternatives_of(left) + alternatives_of(right)
        case _:
            return ()


def demands_of(condition: Condition) -> tuple[Comparison, ...]:
    """The comparisons that must all hold for a condition to be true."""
    match condition:
        case Comparison():
            return (condition,)
        case Both(left, right):
            return demands_of(left) + demands_of(right)
        case _:
            return ()


def metrics_of(condition: Condition) -> frozenset[str]:
    """The metrics that a condition speaks of."""
    return frozenset(comparison.metric for comparison in comparisons_of(condition))


def without_metrics(
    condition: Condition, unasked: Callable[[str], bool], *, taken: bool
) -> Condition | None:
    """The condition without the comparisons of ``unasked`` metrics, which are ``taken`` as such.

    ``None`` where nothing is left to ask.
    """
    match condition:
        case Comparison():
            return None if unasked(condition.metric) else condition
        case Both(left, right) | Either(left, right):
            sides = [without_metrics(side, unasked, taken=taken) for side in (left, right)]
            left_asked, right_asked = sides
            if left_asked is not None and right_asked is not None:
                return type(condition)(left_asked, right_asked)
            # `true and x` and `false or x` are x; `false and x` and `true or x` are settled.
            if taken is not isinstance(condition, Both):
                return None
            return left_asked if left_asked is not None else right_asked
        case Negation(operand):
            asked = without_metrics(operand, unasked, taken=not taken)
            return None if asked is None else Negation(asked)
        case _:
            assert_never(condition)


def without_holds(condition: Condition) -> Condition:
    """The same condition for a single evaluation: every ``for ...`` left out."""
    match condition:
        case Comparison():
            return condition if condition.hold is None else replace(condition, hold=None)
        case Both(left, right):
            return Both(without_holds(left), without_holds(right))
        case Either(left, right):
            return Either(without_holds(left), without_holds(right))
        case Negation(operand):
            return Negation(without_holds(operand))
        case _:
            assert_never(condition)
