"""A contract report as JSON: what the quarantine keeps beside a refused batch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from dagster_contracts.core.contract import Json, Severity
from dagster_contracts.core.outcome import (
    CheckOutcome,
    ContractReport,
    OutcomeKind,
    OutcomeStatus,
)


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


def report_of(document: Mapping[str, Any]) -> ContractReport:
    """The report that :func:`report_document` made this of."""
    known = dict(document)
    del known["status"]  # It follows from the outcomes.
    happened = known["event_time"]
    return ContractReport(
        **{
            **known,
            "evaluated_at": datetime.fromisoformat(known["evaluated_at"]),
            "event_time": None if happened is None else datetime.fromisoformat(happened),
            "metrics": {
                name: None if value is None else Fraction(value)
                for name, value in known["metrics"].items()
            },
            "outcomes": tuple(_outcome_of(each) for each in known["outcomes"]),
        }
    )


def _outcome_of(document: Mapping[str, Any]) -> CheckOutcome:
    return CheckOutcome(
        **{
            **document,
            "kind": OutcomeKind(document["kind"]),
            "status": OutcomeStatus(document["status"]),
            "severity": Severity(document["severity"]),
            "samples": tuple(document["samples"]),
        }
    )
