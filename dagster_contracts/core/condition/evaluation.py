"""Conditions evaluated: three-valued, over a window of observations, explained in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from fractions import Fraction
from typing import assert_never

from dagster_contracts.core.condition.tree import (
    Both,
    Comparison,
    Condition,
    Either,
    Hold,
    Negation,
)
from dagster_contracts.core.metrics import spell_name
from dagster_contracts.core.quantity import format_quantity, render_quantity


class Truth(Enum):
    """Kleene's three values: a metric that could not be measured makes a condition unknown."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Observation:
    """The metrics at one moment; ``None``, like a missing name, is "could not be measured".

    ``check`` is false for a tick of the clock: it can make a ``for 30min`` come true, but it is not
    one of the ``N checks``.
    """

    at: datetime
    metrics: Mapping[str, Fraction | None] = field(hash=False)
    check: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and the sentence that explains it."""

    truth: Truth
    explanation: str


def evaluate(condition: Condition, window: Sequence[Observation]) -> Decision:
    """Decide a condition over a window, newest observation last.

    A comparison without ``for`` looks at the newest observation. ``for N checks`` is true when each
    of the last N checks makes it true; fewer than N have not held for N. ``for 30min`` is true when
    the comparison has been true without a break since an observation at least that old. Where one
    of those was not measured, a hold that nothing speaks against is unknown, also while there are
    too few of them: else its negation would be true of what nobody saw. An empty window is unknown.
    """
    truth = truth_of(condition, window)
    match condition:
        case Comparison():
            return Decision(truth, _said(condition, truth, window))
        case Both(left, right) | Either(left, right):
            sides = (evaluate(left, window), evaluate(right, window))
            because = [side.explanation for side in sides if side.truth is truth]
            return Decision(truth, "; ".join(dict.fromkeys(because)))
        case Negation(operand):
            return Decision(truth, evaluate(operand, window).explanation)
        case _:
            assert_never(condition)


def truth_of(condition: Condition, window: Sequence[Observation]) -> Truth:
    """What :func:`evaluate` decides, without the sentence: those take longer than the deciding."""
    match condition:
        case Comparison():
            return _held(condition, window)
        case Both(left, right):
            return _join(Truth.FALSE, Truth.TRUE, truth_of(left, window), truth_of(right, window))
        case Either(left, right):
            return _join(Truth.TRUE, Truth.FALSE, truth_of(left, window), truth_of(right, window))
        case Negation(operand):
            return _INVERSE[truth_of(operand, window)]
        case _:
            assert_never(condition)


def may_hold(condition: Condition, window: Sequence[Observation]) -> bool:
    """Whether a condition is true, or could be if what was not measured had been.

    An unknown hold that is too short so far could not, whatever was measured.
    """
    return _may_be(condition, window, wanted=True)


def _may_be(condition: Condition, window: Sequence[Observation], *, wanted: bool) -> bool:
    match condition:
        case Comparison():
            truth = _held(condition, window)
            if not wanted:
                return truth is not Truth.TRUE
            unknown = truth is Truth.UNKNOWN and not _too_short(condition, window)
            return truth is Truth.TRUE or unknown
        case Both(left, right) | Either(left, right):
            sides = (_may_be(side, window, wanted=wanted) for side in (left, right))
            return all(sides) if isinstance(condition, Both) == wanted else any(sides)
        case Negation(operand):
            return _may_be(operand, window, wanted=not wanted)
        case _:
            assert_never(condition)


def _too_short(comparison: Comparison, window: Sequence[Observation]) -> bool:
    """Whether a window is too short for a hold, whatever it holds."""
    if not window:
        return False
    match comparison.hold:
        case Hold(checks=int(checks)):
            return len(_checks_of(window)) < checks
        case Hold(duration=timedelta() as duration):
            return window[-1].at - window[0].at < duration
        case _:
            return False


_INVERSE = {Truth.TRUE: Truth.FALSE, Truth.FALSE: Truth.TRUE, Truth.UNKNOWN: Truth.UNKNOWN}


def _join(decisive: Truth, neutral: Truth, left: Truth, right: Truth) -> Truth:
    """Kleene's and (FALSE decides) or or (TRUE decides)."""
    if left is decisive or right is decisive:
        return decisive
    return Truth.UNKNOWN if Truth.UNKNOWN in (left, right) else neutral


def _held(comparison: Comparison, window: Sequence[Observation]) -> Truth:
    if not window:
        return Truth.UNKNOWN
    match comparison.hold:
        case Hold(checks=int(checks)):
            return _for_checks(comparison, checks, window)
        case Hold(duration=timedelta() as duration):
            return _for_duration(comparison, duration, window)
        case _:
            return _truth(comparison, window[-1])


def _truth(comparison: Comparison, observation: Observation) -> Truth:
    value = observation.metrics.get(comparison.metric)
    if value is None:
        return Truth.UNKNOWN
    holds = comparison.operator.holds(value, comparison.quantity.value)
    return Truth.TRUE if holds else Truth.FALSE


def _for_checks(comparison: Comparison, checks: int, window: Sequence[Observation]) -> Truth:
    truths = [_truth(comparison, observation) for observation in _checks_of(window)[-checks:]]
    if Truth.FALSE in truths:
        return Truth.FALSE
    if Truth.UNKNOWN in truths:
        return Truth.UNKNOWN
    return Truth.FALSE if len(truths) < checks else Truth.TRUE


def _for_duration(
    comparison: Comparison, duration: timedelta, window: Sequence[Observation]
) -> Truth:
    newest = window[-1]
    complete = True
    for observation in reversed(window):
        truth = _truth(comparison, observation)
        if truth is Truth.FALSE:
            return Truth.FALSE
        complete = complete and truth is Truth.TRUE
        if newest.at - observation.at >= duration:
            return Truth.TRUE if complete else Truth.UNKNOWN
    return Truth.FALSE if complete else Truth.UNKNOWN


def _checks_of(window: Sequence[Observation]) -> list[Observation]:
    counted = [observation for observation in window if observation.check]
    if not window[-1].check:
        # A tick is the newest check seen again, with what the clock has changed since.
        counted[-1:] = [window[-1]]
    return counted


def _said(comparison: Comparison, truth: Truth, window: Sequence[Observation]) -> str:
    """The sentence for a comparison that was decided so."""
    if not window:
        return f"{spell_name(comparison.metric)} was not measured yet"
    match comparison.hold:
        case Hold(checks=int(checks)):
            return _said_of_checks(comparison, checks, truth, window)
        case Hold(duration=timedelta() as duration):
            return _said_of_duration(comparison, duration, truth, window)
        case _:
            return _said_of_one(comparison, window[-1])


def _said_of_one(comparison: Comparison, observation: Observation) -> str:
    value, named = observation.metrics.get(comparison.metric), spell_name(comparison.metric)
    if value is None:
        return f"{named} could not be measured"
    threshold = comparison.quantity
    shown = format_quantity(value, threshold.dimension, apart_from=threshold.value)
    relation = f"{comparison.operator} {render_quantity(threshold)}"
    holds = comparison.operator.holds(value, threshold.value)
    return f"{named} was {shown}, which is {'' if holds else 'not '}{relation}"


def _said_of_checks(
    comparison: Comparison, checks: int, truth: Truth, window: Sequence[Observation]
) -> str:
    last = _checks_of(window)[-checks:]
    newest = _said_of_one(comparison, last[-1])
    if truth is Truth.TRUE:
        each = "the last check" if checks == 1 else f"each of the last {comparison.hold}"
        return f"{newest} in {each}"
    held = [_truth(comparison, observation) for observation in last].count(Truth.TRUE)
    so_often = f"in {held} of the last {len(last)} check{'' if len(last) == 1 else 's'}"
    return f"{newest} ({so_often}, {checks} needed)"


def _said_of_duration(
    comparison: Comparison, duration: timedelta, truth: Truth, window: Sequence[Observation]
) -> str:
    said = _said_of_one(comparison, window[-1])
    if truth is Truth.TRUE:
        return f"{said} for {comparison.hold}"
    reaches = any(window[-1].at - observation.at >= duration for observation in window)
    if truth is Truth.UNKNOWN and reaches:
        return f"{said} (not measured throughout the last {comparison.hold})"
    return f"{said} (not yet for {comparison.hold})"
