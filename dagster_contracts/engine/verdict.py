"""From a finding to an outcome: thresholds, levels, and the words for them."""

from __future__ import annotations

from fractions import Fraction

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.contract import Threshold, ThresholdOperator, ThresholdUnit
from dagster_contracts.core.outcome import CheckOutcome, OutcomeKind, OutcomeStatus
from dagster_contracts.core.service_levels import LevelVerdict
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.metrics import ratio

_WORDS = {
    ThresholdOperator.MUST_BE: "exactly {0}",
    ThresholdOperator.MUST_NOT_BE: "not {0}",
    ThresholdOperator.MUST_BE_GREATER_THAN: "more than {0}",
    ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO: "at least {0}",
    ThresholdOperator.MUST_BE_LESS_THAN: "less than {0}",
    ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO: "at most {0}",
    ThresholdOperator.MUST_BE_BETWEEN: "between {0} and {1}",
    ThresholdOperator.MUST_NOT_BE_BETWEEN: "not between {0} and {1}",
}


def threshold_text(threshold: Threshold, *, of_rows: bool = True) -> str:
    """A threshold as people say it: ``less than 5%``, ``between 1 and 10 rows``."""
    percent = threshold.unit is ThresholdUnit.PERCENT
    numbers = [number_text(value) + ("%" if percent else "") for value in threshold.values]
    text = _WORDS[threshold.operator].format(*numbers)
    if percent or not of_rows:
        return text
    return f"{text} {'row' if threshold.values[-1] == 1 else 'rows'}"


def number_text(value: Fraction | float) -> str:
    """A number with thousands separators, and no more digits than it needs."""
    exact = Fraction(value)
    if exact.denominator == 1:
        return f"{int(exact):,}"
    return f"{float(exact):,.6g}"


def judge(rule: PlannedRule, finding: Finding) -> CheckOutcome:
    """The outcome of a rule that has been measured, or could not be."""
    counts = finding.failed is not None and finding.tested is not None
    status, value = _status(rule, finding)
    limit = rule.threshold if rule.threshold is not None else rule.warn
    if limit is not None:
        threshold: str | None = threshold_text(limit, of_rows=counts or finding.value is None)
    else:
        threshold = "0 rows" if counts else None
    return CheckOutcome(
        check=rule.check,
        rule=rule.name,
        kind=rule.kind,
        status=status,
        column=rule.column,
        rows_tested=finding.tested if counts else None,
        failed_rows=finding.failed,
        value=float(value) if value is not None and finding.withheld is None else None,
        threshold=threshold,
        severity=rule.severity,
        description=rule.description,
        reason=_reason(finding),
        samples=finding.samples,
    )


def _reason(finding: Finding) -> str | None:
    said = (finding.broken or finding.unmeasured or finding.note, finding.quoted, finding.withheld)
    return ": ".join(part for part in said if part) or None


def _status(rule: PlannedRule, finding: Finding) -> tuple[OutcomeStatus, Fraction | None]:
    if finding.unmeasured is not None:
        return OutcomeStatus.NOT_EVALUATED, None
    if finding.broken is not None:
        return OutcomeStatus.FAILED, None
    if rule.threshold is None and rule.warn is None:
        failed = bool(finding.failed)
        value = Fraction(finding.failed) if finding.failed is not None else finding.value
        return OutcomeStatus.FAILED if failed else OutcomeStatus.PASSED, value
    value = None
    for threshold, status in (
        (rule.threshold, OutcomeStatus.FAILED),
        (rule.warn, OutcomeStatus.WARNED),
    ):
        if threshold is None:
            continue
        measured = _measured(finding, threshold)
        value = measured if value is None else value
        if measured is not None and not threshold.accepts(measured):
            return status, measured
    return OutcomeStatus.PASSED, value


def _measured(finding: Finding, threshold: Threshold) -> Fraction | None:
    """What the threshold speaks of, in its own unit."""
    if finding.failed is None or finding.tested is None:
        return finding.value
    if threshold.unit is ThresholdUnit.PERCENT:
        return 100 * ratio(finding.failed, finding.tested)
    return Fraction(finding.failed)


def unevaluated(rule: PlannedRule, reason: str) -> CheckOutcome:
    """The outcome of a rule that was never tried."""
    return judge(rule, Finding(unmeasured=reason))


def service_outcome(rule: PlannedRule, verdict: LevelVerdict) -> CheckOutcome:
    """The outcome of a service level."""
    return CheckOutcome(
        check=rule.check,
        rule=rule.name,
        kind=OutcomeKind.SLA,
        status=verdict.status,
        column=rule.column,
        value=float(verdict.value) if verdict.value is not None else None,
        threshold=verdict.threshold,
        severity=rule.severity,
        description=rule.description,
        reason=verdict.reason,
    )
