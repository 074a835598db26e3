"""A report as Dagster check results: a headline for people, numbers to plot, rows to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import dagster as dg

from dagster_contracts.core.checks import PlannedCheck
from dagster_contracts.core.circuit import Circuit, CircuitState
from dagster_contracts.core.contract import Severity
from dagster_contracts.core.metrics import DEFAULT
from dagster_contracts.core.outcome import (
    CheckOutcome,
    ContractReport,
    OutcomeKind,
    OutcomeStatus,
)
from dagster_contracts.core.quantity import Dimension
from dagster_contracts.engine.headline import broken_rows, headline
from dagster_contracts.orchestration.binding import CIRCUIT_CHECK, Binding
from dagster_contracts.orchestration.circuit_check import circuit_headline, circuit_metadata
from dagster_contracts.orchestration.outcome_tables import outcomes_table, samples_table
from dagster_contracts.orchestration.translator import ContractTranslator
from dagster_contracts.resilience.history import HistoryEntry

EVALUATION_ID = "contract/evaluation_id"
"""Metadata key under which an evaluation's own UUID stands; a check event without it is foreign."""


def build_check_specs(binding: Binding, *, blocking: bool = False) -> list[dg.AssetCheckSpec]:
    """The specs of a binding: ``schema``, one per quality rule, one per SLA, and ``circuit``."""
    specs = [
        dg.AssetCheckSpec(
            name=check.name,
            asset=binding.asset_key,
            description=check.description or None,
            blocking=blocking and check.severity is Severity.ERROR,
            metadata={"contract": binding.contract.ref},
        )
        for check in binding.plan.checks
    ]
    if binding.protects:
        specs.append(
            dg.AssetCheckSpec(
                name=CIRCUIT_CHECK,
                asset=binding.asset_key,
                description=f"The circuit of {binding.contract.name}: passes while it is closed.",
                metadata={"contract": binding.contract.ref},
            )
        )
    return specs


def build_check_results(
    binding: Binding,
    report: ContractReport,
    *,
    circuit: Circuit | None,
    history: Sequence[HistoryEntry] = (),
    translator: ContractTranslator,
    selected: Iterable[str] | None = None,
    in_op: bool,
) -> list[dg.AssetCheckResult]:
    """One result for each planned check, in the order of the plan; ``circuit`` last.

    ``history`` are the circuit's last changes of state, newest first.
    """
    wanted = None if selected is None else set(selected)
    results = [
        _check_result(binding, check, report, translator, in_op)
        for check in binding.plan.checks
        if wanted is None or check.name in wanted
    ]
    if circuit is not None and binding.protects and (wanted is None or CIRCUIT_CHECK in wanted):
        results.append(
            dg.AssetCheckResult(
                check_name=CIRCUIT_CHECK,
                asset_key=binding.asset_key,
                passed=circuit.effective_state is CircuitState.CLOSED,
                severity=dg.AssetCheckSeverity.WARN,
                description=circuit_headline(circuit, history),
                metadata={
                    EVALUATION_ID: report.evaluation_id,
                    **circuit_metadata(binding, circuit, history=history, now=report.evaluated_at),
                },
            )
        )
    return results


def first_failures(results: Iterable[dg.AssetCheckResult]) -> list[dg.AssetCheckResult]:
    """One result for each check: of several partitions the first that failed is shown.

    Dagster takes no more than one result for each check of a run.
    """
    shown: dict[str, dg.AssetCheckResult] = {}
    for result in results:
        name = result.check_name or ""
        if name not in shown or (shown[name].passed and not result.passed):
            shown[name] = result
    return list(shown.values())


def _check_result(
    binding: Binding,
    check: PlannedCheck,
    report: ContractReport,
    translator: ContractTranslator,
    in_op: bool,
) -> dg.AssetCheckResult:
    outcomes = report.of_check(check.name)
    statuses = {outcome.status for outcome in outcomes}
    # What could not be evaluated is never green: it is shown as a warning with its reason.
    passed = statuses <= {OutcomeStatus.PASSED} and bool(outcomes)
    failed = OutcomeStatus.FAILED in statuses
    severity = dg.AssetCheckSeverity.WARN
    if failed:
        worst = max(
            (o.severity for o in outcomes if o.status is OutcomeStatus.FAILED),
            key=list(Severity).index,
        )
        severity = translator.get_check_severity(worst)
    if not binding.blocks and not in_op:
        # A separate check step is a barrier that must not fail the run: the downstream of the
        # same run is where the fallback is read.
        severity = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=binding.asset_key,
        passed=passed,
        severity=severity,
        description=headline(report, check.name, outcomes),
        metadata=_metadata(report, outcomes),
    )


def _metadata(report: ContractReport, outcomes: Sequence[CheckOutcome]) -> dict[str, Any]:
    metadata: dict[str, Any] = {EVALUATION_ID: report.evaluation_id, "contract": report.ref}
    if report.partition is not None:
        metadata["partition"] = report.partition
    if any(o.kind is OutcomeKind.SCHEMA for o in outcomes):
        metadata |= _numbers_of_schema(report)
    elif len(outcomes) == 1:
        metadata |= _numbers_of_rule(outcomes[0])
        if outcomes[0].kind is OutcomeKind.SLA and outcomes[0].threshold is not None:
            metadata["threshold"] = outcomes[0].threshold
    metadata["outcomes"] = outcomes_table(outcomes)
    samples = samples_table(outcomes)
    if samples is not None:
        metadata["samples"] = samples
    return metadata


def _numbers_of_schema(report: ContractReport) -> dict[str, Any]:
    """The batch's numbers, which Dagster plots over time; durations say that they are seconds."""
    numbers: dict[str, Any] = {}
    if report.rows is not None:
        numbers["rows"] = report.rows
    failed = broken_rows(report)
    if failed is not None:
        numbers["failed_rows"] = failed
    for name, value in report.metrics.items():
        # One number for each column or rule would bury the others; the store has them all.
        if value is None or "." in name or name == "row_count":
            continue
        metric = DEFAULT.find(name)
        lasting = metric is not None and metric.dimension is Dimension.DURATION
        numbers[f"metric/{name}{'_seconds' if lasting else ''}"] = _short_number(value)
    return numbers


def _numbers_of_rule(outcome: CheckOutcome) -> dict[str, Any]:
    if outcome.failed_rows is not None:
        return {
            "failed_rows": outcome.failed_rows,
            "failed_ratio": _short_number(outcome.failed_ratio or 0.0),
        }
    return {} if outcome.value is None else {"value": _short_number(outcome.value)}


def _short_number(value: Fraction | float) -> float:
    """As exact as a plot needs: nobody reads 0.0062047569803516025."""
    return float(f"{float(value):.6g}")
