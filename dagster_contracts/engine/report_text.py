"""A report as people and programs read it: lines of text, and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeKind, OutcomeStatus
from dagster_contracts.engine.headline import headline, percent
from dagster_contracts.engine.verdict import number_text

_FEW = 3
"""So many rules may each say the same reason."""


def report_json(report: ContractReport) -> dict[str, Json]:
    """The report as JSON values.

    ``contract``, ``version``, ``status``, ``rows``, ``metrics`` and ``outcomes``, and beside them
    what identifies the evaluation and why a metric is unknown.
    """
    return {
        "contract": report.contract,
        "version": report.version,
        "schema_object": report.schema_object,
        "status": report.status.value,
        "headline": headline(report),
        "rows": report.rows,
        "asset": report.asset,
        "partition": report.partition,
        "evaluation_id": report.evaluation_id,
        "evaluated_at": report.evaluated_at.isoformat(),
        "event_time": report.event_time.isoformat() if report.event_time else None,
        "metrics": {name: _number(value) for name, value in report.metrics.items()},
        "unknown_because": dict(report.unknown_because),
        "outcomes": [_outcome_json(outcome) for outcome in report.outcomes],
    }


def _number(value: Fraction | None) -> int | float | None:
    if value is None:
        return None
    return int(value) if value.denominator == 1 else float(value)


def _outcome_json(outcome: CheckOutcome) -> dict[str, Json]:
    return {
        "check": outcome.check,
        "rule": outcome.rule,
        "kind": outcome.kind.value,
        "column": outcome.column,
        "status": outcome.status.value,
        "severity": outcome.severity.value,
        "rows_tested": outcome.rows_tested,
        "failed_rows": outcome.failed_rows,
        "failed_ratio": outcome.failed_ratio,
        "value": outcome.value,
        "threshold": outcome.threshold,
        "description": outcome.description,
        "reason": outcome.reason,
        "samples": [dict(sample) for sample in outcome.samples],
    }


def report_text(report: ContractReport) -> str:
    """The report as several lines for a terminal: headline, then each outcome that did not pass."""
    lines = [f"{report.status.value.upper()}  {headline(report)}"]
    passed = sum(outcome.status is OutcomeStatus.PASSED for outcome in report.outcomes)
    shared = Counter(o.reason for o in report.outcomes if o.status is OutcomeStatus.NOT_EVALUATED)
    told: set[str | None] = set()
    for outcome in report.outcomes:
        if outcome.status is OutcomeStatus.PASSED:
            continue
        if outcome.status is OutcomeStatus.NOT_EVALUATED and shared[outcome.reason] > _FEW:
            # What holds for a whole table would bury the rest if each rule said it.
            if outcome.reason not in told:
                told.add(outcome.reason)
                lines.append(
                    f"  {outcome.status.value:<13}  {shared[outcome.reason]} rules: "
                    f"{outcome.reason}"
                )
            continue
        word = "warning" if outcome.only_warns else outcome.status.value
        lines.append(f"  {word:<13}  {outcome.rule}: {_detail(outcome)}")
        lines += [f"    {_sample_text(sample)}" for sample in outcome.samples]
    lines.append(f"  {passed} of {len(report.outcomes)} rules passed")
    return "\n".join(lines)


def _detail(outcome: CheckOutcome) -> str:
    parts = []
    if outcome.failed_rows is not None and outcome.rows_tested is not None:
        share = percent(outcome.failed_ratio or 0.0)
        parts.append(f"{outcome.failed_rows:,} of {outcome.rows_tested:,} rows ({share})")
    elif outcome.value is not None and outcome.kind is not OutcomeKind.SLA:
        parts.append(number_text(outcome.value))
    if outcome.threshold is not None:
        parts.append(f"must be {outcome.threshold}")
    if outcome.reason is not None:
        parts.append(outcome.reason)
    return "; ".join(parts) or (outcome.description or "")


def _sample_text(sample: Mapping[str, Json]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sample.items())
