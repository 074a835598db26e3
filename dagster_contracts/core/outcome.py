"""What a validation found: outcomes, one for each rule, and the metrics that they yield."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import overload

from dagster_contracts.core.contract import Json, Severity


class OutcomeStatus(StrEnum):
    """How a check ended. ``NOT_EVALUATED`` always carries its reason."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    NOT_EVALUATED = "not_evaluated"


class OutcomeKind(StrEnum):
    """Which part of the contract a rule belongs to."""

    SCHEMA = "schema"
    QUALITY = "quality"
    SLA = "sla"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOutcome:
    """The verdict on one rule.

    ``check`` is the Dagster check that shows it (``schema``, a quality rule's name, ``sla_...``);
    ``rule`` is the single rule (``tailnum.required``). ``rows_tested`` and ``failed_rows`` are
    counts, ``None`` where the rule does not count rows; ``value`` is what was measured, in the unit
    of ``threshold``. ``samples`` are up to N failing rows as JSON values, key columns first.
    """

    check: str
    rule: str
    kind: OutcomeKind
    status: OutcomeStatus
    column: str | None = None
    rows_tested: int | None = None
    failed_rows: int | None = None
    value: float | None = None
    threshold: str | None = None
    severity: Severity = Severity.ERROR
    description: str | None = None
    reason: str | None = None
    samples: tuple[Mapping[str, Json], ...] = field(default=(), hash=False)

    @property
    def failed_ratio(self) -> float | None:
        """``failed_rows / rows_tested``; 0.0 of no rows."""
        if self.rows_tested is None or self.failed_rows is None:
            return None
        return self.failed_rows / self.rows_tested if self.rows_tested else 0.0

    @property
    def only_warns(self) -> bool:
        """Whether the rule is broken, and its severity says that nothing fails for it."""
        return self.status is OutcomeStatus.FAILED and self.severity is not Severity.ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractReport:
    """All outcomes of one evaluation of one contract on one batch.

    ``metrics`` maps the names of the catalogue to exact values (durations in seconds); ``None``
    means that the metric could not be measured, and ``unknown_because`` says why. ``event_time`` is
    the newest event time seen in the data. ``evaluation_id`` is unique and is the key under which
    this report is counted once.
    """

    contract: str
    version: str
    schema_object: str
    evaluation_id: str
    evaluated_at: datetime
    rows: int | None
    outcomes: tuple[CheckOutcome, ...]
    asset: str | None = None
    partition: str | None = None
    event_time: datetime | None = None
    metrics: Mapping[str, Fraction | None] = field(default_factory=dict, hash=False)
    unknown_because: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def status(self) -> OutcomeStatus:
        """The worst status: failed, else warned, else passed; not evaluated where nothing was.

        A rule whose severity is not ``error`` never fails a report: where it is broken, it warns.
        """
        found = {
            OutcomeStatus.WARNED if outcome.only_warns else outcome.status
            for outcome in self.outcomes
        }
        for status in (OutcomeStatus.FAILED, OutcomeStatus.WARNED):
            if status in found:
                return status
        if found == {OutcomeStatus.NOT_EVALUATED}:
            return OutcomeStatus.NOT_EVALUATED
        return OutcomeStatus.PASSED

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.contract}@{self.version}"

    def of_check(self, check: str) -> tuple[CheckOutcome, ...]:
        """The outcomes that one Dagster check shows."""
        return tuple(outcome for outcome in self.outcomes if outcome.check == check)

    @overload
    def failures(self) -> tuple[CheckOutcome, ...]: ...
    @overload
    def failures(self, rule: str) -> tuple[Mapping[str, Json], ...]: ...
    def failures(
        self, rule: str | None = None
    ) -> tuple[CheckOutcome, ...] | tuple[Mapping[str, Json], ...]:
        """The failed outcomes; or the sample rows of one rule (or check), failed or warned.

        Rows are mappings of columns to JSON values, so that any frame can be made of them.
        LookupError, with the known names, where there is no such rule.
        """
        if rule is None:
            return tuple(o for o in self.outcomes if o.status is OutcomeStatus.FAILED)
        found = [o for o in self.outcomes if rule in (o.rule, o.check)]
        if not found:
            known = ", ".join(o.rule for o in self.outcomes[:20])
            raise LookupError(f"{self.ref} has no rule {rule!r}; it has {known}")
        return tuple(row for outcome in found for row in outcome.samples)
