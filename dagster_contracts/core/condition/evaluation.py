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
    match condition:
        case Comparison():
            return _compare(condition, window)
        case Both(left, right):
            return _join(Truth.FALSE, Truth.TRUE, evaluate(left, window), evaluate(right, window))
        case Either(left, right):
            return _join(Truth.TRUE, Truth.FALSE, evaluate(left, window), evaluate(right, window))
        case Negation(operand):
            decision = evaluate(operand, window)
            return Decision(_INVERSE[decision.truth], decision.explanation)
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
            truth = _compare(condition, window).truth
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


def _join(decisive: Truth, neutral: Truth, left: Decision, right: Decision) -> Decision:
    """Kleene's and (FALSE decides) or or (TRUE decides), explained by the sides that decided."""
    truths = {left.truth, right.truth}
    if decisive in truths:
        truth = decisive
    elif Truth.UNKNOWN in truths:
        truth = Truth.UNKNOWN
    else:
        truth = neutral
    because = [side.explanation for side in (left, right) if side.truth is truth]
    return Decision(truth, "; ".join(dict.fromkeys(because)))


def _compare(comparison: Comparison, window: Sequence[Observation]) -> Decision:
    if not window:
        return Decision(Truth.UNKNOWN, f"{spell_name(comparison.metric)} was not measured yet")
    match comparison.hold:
        case Hold(checks=int(checks)):
            return _for_checks(comparison, checks, window)
        case Hold(duration=timedelta() as duration):
            return _for_duration(comparison, duration, window)
        case _:
            return _single(comparison, window[-1])


def _single(comparison: Comparison, observation: Observation) -> Decision:
    value, named = observation.metrics.get(comparison.metric), spell_name(comparison.metric)
    if value is None:
        return Decision(Truth.UNKNOWN, f"{named} could not be measured")
    threshold = comparison.quantity
    shown = format_quantity(value, threshold.dimension, apart_from=threshold.value)
    holds = comparison.operator.holds(value, threshold.value)
    relation = f"{comparison.operator} {render_quantity(threshold)}"
    return Decision(
        Truth.TRUE if holds else Truth.FALSE,
        f"{named} was {shown}, which is {'' if holds else 'not '}{relation}",
    )


def _truth(comparison: Comparison, observation: Observation) -> Truth:
    value = observation.metrics.get(comparison.metric)
    if value is None:
        return Truth.UNKNOWN
    holds = comparison.operator.holds(value, comparison.quantity.value)
    return Truth.TRUE if holds else Truth.FALSE


def _for_checks(comparison: Comparison, checks: int, window: Sequence[Observation]) -> Decision:
    last = _checks_of(window)[-checks:]
    truths = [_truth(comparison, observation) for observation in last]
    newest = _single(comparison, last[-1]).explanation
    held = truths.count(Truth.TRUE)
    so_often = f"in {held} of the last {len(last)} check{'' if len(last) == 1 else 's'}"
    if Truth.FALSE not in truths and Truth.UNKNOWN in truths:
        return Decision(Truth.UNKNOWN, f"{newest} ({so_often}, {checks} needed)")
    if Truth.FALSE in truths or len(last) < checks:
        return Decision(Truth.FALSE, f"{newest} ({so_often}, {checks} needed)")
    each = "the last check" if checks == 1 else f"each of the last {comparison.hold}"
    return Decision(Truth.TRUE, f"{newest} in {each}")


def _checks_of(window: Sequence[Observation]) -> list[Observation]:
    counted = [observation for observation in window if observation.check]
    if not window[-1].check:
        # A tick is the newest check seen again, with what the clock has changed since.
        counted[-1:] = [window[-1]]
    return counted


def _for_duration(
    comparison: Comparison, duration: timedelta, window: Sequence[Observation]
) -> Decision:
    newest = window[-1]
    said = _single(comparison, newest).explanation
    complete = True
    for observation in reversed(window):
        truth = _truth(comparison, observation)
        if truth is Truth.FALSE:
            return Decision(Truth.FALSE, f"{said} (not yet for {comparison.hold})")
        complete = complete and truth is Truth.TRUE
        if newest.at - observation.at >= duration:
            if complete:
                return Decision(Truth.TRUE, f"{said} for {comparison.hold}")
            return Decision(
                Truth.UNKNOWN, f"{said} (not measured throughout the last {comparison.hold})"
            )
    truth = Truth.FALSE if complete else Truth.UNKNOWN
    return Decision(truth, f"{said} (not yet for {comparison.hold})")
