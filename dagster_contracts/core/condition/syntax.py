"""From text to conditions: a hand-written recursive descent, with errors that show the place."""

from __future__ import annotations

from datetime import timedelta

from dagster_contracts.core.condition.tree import Condition
from dagster_contracts.core.metrics import DEFAULT_CATALOGUE, Catalogue
from dagster_contracts.core.quantity import Quantity
from dagster_contracts.errors import SourceLocation


def parse_condition(
    text: str,
    *,
    catalogue: Catalogue = DEFAULT_CATALOGUE,
    default_metric: str | None = None,
    where: SourceLocation | None = None,
) -> Condition:
    """Read a condition such as ``schema_validation_errors > 5% for 3 checks``.

    ``default_metric`` is what a comparison without a name speaks of (``freshness: "< 5min"``).
    Raises :class:`ConditionSyntaxError`, and nothing else, whatever the text.
    """
    raise NotImplementedError


def parse_quantity(text: str, *, where: SourceLocation | None = None) -> Quantity:
    """Read a quantity alone: ``5%``, ``1h30min``, ``10MB``, ``42``. Plain numbers are NUMBER."""
    raise NotImplementedError


def parse_duration(text: str, *, where: SourceLocation | None = None) -> timedelta:
    """Read a duration such as ``5min`` or ``1h30min``; negative ones are refused."""
    raise NotImplementedError
