"""Check results that somebody else reported: they count for the circuit as our own do.

Dagster has no sensor for checks. Each tick asks for the latest result of the checks that matter:
the contract's own, and those that a condition names as ``failed_ratio.<check>``.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.condition import metrics_of
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeKind, OutcomeStatus
from dagster_contracts.orchestration.binding import CIRCUIT_CHECK, Binding, Bindings
from dagster_contracts.orchestration.check_results import EVALUATION_ID

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

_RATIO = "failed_ratio."


def record_foreign_checks(
    runtime: ContractsRuntime, bindings: Bindings, instance: dg.DagsterInstance
) -> int:
    """Count what others reported since the last look; the number of new evaluations.

    A result is foreign when it carries no evaluation id of ours. It counts once: its key is a hash
    of run, asset, check, partition and time (Dagster's own event ids are reused).
    """
    wanted: dict[dg.AssetCheckKey, Binding] = {}
    for binding in bindings:
        if binding.protects:
            for name in _watched(binding):
                wanted[dg.AssetCheckKey(binding.asset_key, name)] = binding
    if not wanted:
        return 0
    counted = 0
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(wanted))
    for check_key, record in latest.items():
        binding = wanted[check_key]
        event = record.event
        if event is None or event.dagster_event is None:
            continue
        evaluation = event.dagster_event.event_specific_data
        if not isinstance(evaluation, dg.AssetCheckEvaluation):
            continue  # Planned, and not evaluated yet.
        if EVALUATION_ID in evaluation.metadata:
            continue
        report = _report(binding, evaluation, run_id=event.run_id, timestamp=event.timestamp)
        verdict = runtime.breaker.record(
            binding.contract,
            report,
            key=binding.circuit_key(evaluation.partition),
            run_id=event.run_id or None,
        )
        counted += not verdict.duplicate
    return counted


def _watched(binding: Binding) -> set[str]:
    names = {check.name for check in binding.plan.checks}
    resilience = binding.contract.resilience
    if resilience is not None:
        conditions = [
            *resilience.circuit.open_when,
            *resilience.circuit.close_when,
            *(c for level in resilience.levels for c in level.activation_conditions),
        ]
        for condition in conditions:
            for metric in metrics_of(condition):
                if metric.startswith(_RATIO):
                    names.add(metric.removeprefix(_RATIO).partition(".")[0])
    return names - {CIRCUIT_CHECK}


def _report(
    binding: Binding, evaluation: dg.AssetCheckEvaluation, *, run_id: str, timestamp: float
) -> ContractReport:
    """The result as an evaluation of one rule.

    Numbers in its metadata that have the name of a metric are taken as that metric; a failed check
    without any counts as 100 % of the ratio that it stands for.
    """
    identity = "\x1f".join(
        (
            run_id or "",
            evaluation.asset_key.to_user_string(),
            evaluation.check_name,
            evaluation.partition or "",
            repr(timestamp),
        )
    )
    metrics: dict[str, Fraction | None] = {}
    for name, value in evaluation.metadata.items():
        number = getattr(value, "value", None)
        plain = name.removeprefix("metric/")
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            metrics[plain] = Fraction(number)
    share = Fraction(0 if evaluation.passed else 1)
    metrics.setdefault(f"{_RATIO}{evaluation.check_name}", share)
    planned = next((c for c in binding.plan.checks if c.name == evaluation.check_name), None)
    kind = planned.kind if planned else OutcomeKind.QUALITY
    if planned is not None and kind is OutcomeKind.SCHEMA:
        metrics.setdefault("schema_validation_errors", share)
    elif planned is not None and kind is OutcomeKind.QUALITY:
        metrics.setdefault("quality_errors", share)
    severity_failed = evaluation.severity is dg.AssetCheckSeverity.ERROR
    failed = OutcomeStatus.FAILED if severity_failed else OutcomeStatus.WARNED
    return ContractReport(
        contract=binding.contract.name,
        version=binding.contract.version,
        schema_object=binding.schema_object.name,
        evaluation_id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        evaluated_at=datetime.fromtimestamp(timestamp, UTC),
        rows=None,
        outcomes=(
            CheckOutcome(
                check=evaluation.check_name,
                rule=evaluation.check_name,
                kind=kind,
                status=OutcomeStatus.PASSED if evaluation.passed else failed,
                description=evaluation.description,
            ),
        ),
        asset=binding.asset,
        partition=evaluation.partition,
        metrics=metrics,
    )
