"""Conditions evaluated: three-valued, over a window of observations, explained in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from fractions import Fraction

from dagster_contracts.core.condition.tree import Condition


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
    """Decide a condition over a window, newest observation last."""
    raise NotImplementedError
