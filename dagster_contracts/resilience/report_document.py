"""A contract report as JSON: what the quarantine keeps beside a refused batch."""

from __future__ import annotations

from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import CheckOutcome, ContractReport


def report_document(report: ContractReport) -> dict[str, Json]:
    """The report as JSON: exact metrics as fractions ("7/100"), times in ISO 8601."""
    return {
        "contract": report.contract,
        "version": report.version,
        "schema_object": report.schema_object,
        "evaluation_id": report.evaluation_id,
        "evaluated_at": report.evaluated_at.isoformat(),
        "asset": report.asset,
        "partition": report.partition,
        "rows": report.rows,
        "event_time": report.event_time.isoformat() if report.event_time else None,
        "status": report.status.value,
        "metrics": {name: None if v is None else str(v) for name, v in report.metrics.items()},
        "unknown_because": dict(report.unknown_because),
        "outcomes": [_outcome(outcome) for outcome in report.outcomes],
    }


def _outcome(outcome: CheckOutcome) -> dict[str, Json]:
    return {
        "check": outcome.check,
        "rule": outcome.rule,
        "kind": outcome.kind.value,
        "status": outcome.status.value,
        "severity": outcome.severity.value,
        "column": outcome.column,
        "rows_tested": outcome.rows_tested,
        "failed_rows": outcome.failed_rows,
        "value": outcome.value,
        "threshold": outcome.threshold,
        "description": outcome.description,
        "reason": outcome.reason,
        "samples": [dict(sample) for sample in outcome.samples],
    }
