"""The condition language: ``schema_validation_errors > 5% for 3 checks``.

``tree`` holds the values, ``syntax`` reads them, ``evaluation`` decides them.
"""

from __future__ import annotations

from dagster_contracts.core.condition.evaluation import (
    Decision,
    Observation,
    Truth,
    evaluate,
    may_hold,
    truth_of,
)
from dagster_contracts.core.condition.syntax import (
    parse_condition,
    parse_duration,
    parse_quantity,
)
from dagster_contracts.core.condition.tree import (
    Both,
    Comparison,
    ComparisonOperator,
    Condition,
    Either,
    Hold,
    Negation,
    alternatives_of,
    comparisons_of,
    demands_of,
    metrics_of,
    render,
    without_holds,
    without_metrics,
)
from dagster_contracts.core.quantity import Dimension, Quantity, format_quantity, render_quantity

__all__ = [
    "Both",
    "Comparison",
    "ComparisonOperator",
    "Condition",
    "Decision",
    "Dimension",
    "Either",
    "Hold",
    "Negation",
    "Observation",
    "Quantity",
    "Truth",
    "alternatives_of",
    "comparisons_of",
    "demands_of",
    "evaluate",
    "format_quantity",
    "may_hold",
    "metrics_of",
    "parse_condition",
    "parse_duration",
    "parse_quantity",
    "render",
    "render_quantity",
    "truth_of",
    "without_holds",
    "without_metrics",
]
