"""A report as Dagster check results: a headline for people, numbers to plot, rows to look at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import dagster as dg

from dagster_contracts.core.checks import PlannedCheck
from dagster_contracts.core.circuit import Circuit, CircuitState, Override
from dagster_contracts.core.contract import Json, Severity
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeStatus
from dagster_contracts.orchestration.binding import CIRCUIT_CHECK, Binding
from dagster_contracts.orchestration.translator import ContractTranslator

EVALUATION_ID = "contract/evaluation_id"
"""Metadata key under which an evaluation's own UUID stands; a check event without it is foreign."""

_MOST_SAMPLES = 10
_MOST_RULES = 60


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
    translator: ContractTranslator,
    selected: Iterable[str] | None = None,
    in_op: bool,
) -> list[dg.AssetCheckResult]:
    """One result for each planned check, in the order of the plan; ``circuit`` last."""
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
                description=circuit_headline(circuit),
                metadata=circuit_metadata(binding, circuit) | {EVALUATION_ID: report.evaluation_id},
            )
        )
    return results


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
        description=headline(binding, check, report, outcomes),
        metadata=_metadata(report, outcomes),
    )


def headline(
    binding: Binding,
    check: PlannedCheck,
    report: ContractReport,
    outcomes: Sequence[CheckOutcome],
) -> str:
    """One sentence that says what a check found."""
    bad = [o for o in outcomes if o.status in (OutcomeStatus.FAILED, OutcomeStatus.WARNED)]
    unknown = [o for o in outcomes if o.status is OutcomeStatus.NOT_EVALUATED]
    name = binding.contract.ref
    if not outcomes:
        return f"not evaluated: {name} plans {check.name}, and the validation did not return it"
    if check.name == "schema" and bad:
        broken = [_short(o) for o in sorted(bad, key=_weight, reverse=True)]
        listed = ", ".join(broken[:4]) + (f", … {len(broken) - 4} more" if len(broken) > 4 else "")
        ratio = report.metrics.get("schema_validation_errors")
        if report.rows and ratio is not None:
            count = round(ratio * report.rows)
            return f"{count:,} of {report.rows:,} rows ({percent(ratio)}) break {name}: {listed}"
        return f"{name} is broken: {listed}"
    if bad:
        return "; ".join(_sentence(o) for o in bad)
    if unknown:
        reasons = "; ".join(f"{o.rule}: {o.reason or 'no reason given'}" for o in unknown[:3])
        held = len(outcomes) - len(unknown)
        return (
            f"not evaluated: {reasons}"
            if not held
            else f"{held} rules hold, {len(unknown)} not evaluated: {reasons}"
        )
    if check.name == "schema":
        rows = "an unknown number of" if report.rows is None else f"{report.rows:,}"
        return f"{rows} rows keep {name}: {len(outcomes)} rules"
    return "; ".join(_sentence(o) for o in outcomes)


def _weight(outcome: CheckOutcome) -> int:
    return outcome.failed_rows if outcome.failed_rows is not None else 1 << 62


def _short(outcome: CheckOutcome) -> str:
    if outcome.failed_rows:
        return f"{outcome.rule} {outcome.failed_rows:,}"
    return f"{outcome.rule} ({outcome.reason})" if outcome.reason else outcome.rule


def _sentence(outcome: CheckOutcome) -> str:
    parts = [outcome.rule]
    if outcome.failed_rows is not None and outcome.rows_tested is not None and outcome.failed_rows:
        parts.append(
            f"{outcome.failed_rows:,} of {outcome.rows_tested:,} rows "
            f"({(outcome.failed_ratio or 0.0):.1%})"
        )
    if outcome.reason:
        parts.append(outcome.reason)
    elif outcome.threshold:
        verb = "holds" if outcome.status is OutcomeStatus.PASSED else "is broken"
        parts.append(f"{outcome.threshold} {verb}")
    return ": ".join([parts[0], ", ".join(parts[1:])]) if len(parts) > 1 else parts[0]


def percent(ratio: Fraction | float) -> str:
    """``7.0%``; never ``0.0%`` or ``100.0%`` of what is not quite that."""
    value = float(ratio) * 100
    if 0 < value < 0.05:
        return "<0.1%"
    if 99.95 <= value < 100:
        return ">99.9%"
    return f"{value:.1f}%"


def _metadata(report: ContractReport, outcomes: Sequence[CheckOutcome]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        EVALUATION_ID: report.evaluation_id,
        "contract": report.ref,
    }
    if report.rows is not None:
        metadata["rows"] = report.rows
    counted = [o for o in outcomes if o.failed_rows is not None]
    if counted:
        metadata["failed_rows"] = sum(o.failed_rows or 0 for o in counted)
        metadata["failed_ratio"] = max(o.failed_ratio or 0.0 for o in counted)
    if len(outcomes) == 1 and outcomes[0].value is not None:
        metadata["value"] = outcomes[0].value
    if any(o.check == "schema" for o in outcomes):
        metadata |= {
            f"metric/{name}": float(value)
            for name, value in report.metrics.items()
            if value is not None and "." not in name
        }
    metadata["outcomes"] = outcomes_table(outcomes)
    samples = _samples(outcomes)
    if samples:
        metadata["samples"] = samples
    return metadata


_COLUMNS = (
    ("rule", "string"),
    ("status", "string"),
    ("tested", "int"),
    ("failed", "int"),
    ("ratio", "string"),
    ("threshold", "string"),
    ("reason", "string"),
)


def outcomes_table(outcomes: Sequence[CheckOutcome]) -> dg.TableMetadataValue:
    """Every outcome as a row, the broken ones first."""
    order = [
        OutcomeStatus.FAILED,
        OutcomeStatus.WARNED,
        OutcomeStatus.NOT_EVALUATED,
        OutcomeStatus.PASSED,
    ]
    ranked = sorted(outcomes, key=lambda o: (order.index(o.status), -(o.failed_rows or 0)))
    records = [
        dg.TableRecord(
            {
                "rule": o.rule,
                "status": o.status.value,
                "tested": o.rows_tested,
                "failed": o.failed_rows,
                "ratio": "" if o.failed_ratio is None else percent(o.failed_ratio),
                "threshold": o.threshold or "",
                "reason": o.reason or "",
            }
        )
        for o in ranked[:_MOST_RULES]
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in _COLUMNS])
    return dg.MetadataValue.table(records=records, schema=schema)


def _samples(outcomes: Sequence[CheckOutcome]) -> dg.TableMetadataValue | None:
    rows: list[dict[str, Json]] = []
    for outcome in outcomes:
        for sample in outcome.samples:
            if len(rows) >= _MOST_SAMPLES:
                break
            rows.append({"rule": outcome.rule, **sample})
    if not rows:
        return None
    columns = list(dict.fromkeys(name for row in rows for name in row))
    records = [dg.TableRecord({name: _cell(row.get(name)) for name in columns}) for row in rows]
    return dg.MetadataValue.table(
        records=records,
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in columns]),
    )


def _cell(value: Json) -> str:
    if value is None:
        return "null"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def circuit_headline(circuit: Circuit) -> str:
    """``OPEN since 10:02 (UTC): schema_validation_errors was 7.0%, which is > 5%``."""
    if circuit.override is not Override.NONE:
        until = f" until {circuit.override_until:%Y-%m-%d %H:%M}" if circuit.override_until else ""
        return (
            f"{circuit.override.value.replace('_', ' ')}{until} by {circuit.override_actor}: "
            f"{circuit.override_reason}"
        )
    if circuit.state is CircuitState.CLOSED:
        return "closed: consumers read the primary"
    parts = [circuit.state.value.replace("_", "-").lower()]
    if circuit.opened_at:
        parts.append(f"since {circuit.opened_at:%Y-%m-%d %H:%M:%S} UTC")
    text = " ".join(parts) + (f": {circuit.reason}" if circuit.reason else "")
    if circuit.next_probe_at and circuit.state is CircuitState.OPEN:
        text += f"; next probe {circuit.next_probe_at:%H:%M:%S} UTC"
    return text


def circuit_metadata(binding: Binding, circuit: Circuit) -> dict[str, Any]:
    """What the ``circuit`` check shows beside its headline."""
    metadata: dict[str, Any] = {
        "contract": binding.contract.ref,
        "state": circuit.state.value,
        "open": 0 if circuit.effective_state is CircuitState.CLOSED else 1,
        "generation": circuit.generation,
        "attempts": circuit.attempts,
    }
    if circuit.opened_at:
        metadata["opened_at"] = circuit.opened_at.isoformat()
    if circuit.next_probe_at:
        metadata["next_probe_at"] = circuit.next_probe_at.isoformat()
    return metadata
