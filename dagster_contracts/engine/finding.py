"""What was found for one rule, before thresholds turn it into an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from dagster_contracts.core.contract import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The measurement of one rule.

    ``failed`` of ``tested`` rows break it; ``value`` is an aggregate, a count of columns or what a
    query returned. ``broken`` says why the rule fails whatever its threshold (its column is
    missing); ``unmeasured`` why it could not be measured. At most one of the two is set.

    ``quoted`` is what an engine or the team's code said of it; such words may hold values of the
    data. ``withheld`` says of a value why it is compared and not shown.
    """

    tested: int | None = None
    failed: int | None = None
    value: Fraction | None = None
    broken: str | None = None
    unmeasured: str | None = None
    note: str | None = None
    quoted: str | None = None
    withheld: str | None = None
    samples: tuple[Mapping[str, Json], ...] = field(default=(), hash=False)
