"""The audit of a report: the event it is to the circuit, and whether its batch may be published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from dagster_contracts.core.circuit import Circuit, Observed, in_words, why_not_passed
from dagster_contracts.core.circuit import would_open as judge
from dagster_contracts.core.condition import Decision, Truth
from dagster_contracts.core.contract import Contract, Severity
from dagster_contracts.core.metrics import FAILED_RATIO
from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.resilience.watched import watched_metrics


def observed(
    contract: Contract,
    report: ContractReport,
    metrics: Mapping[str, Fraction | None],
    backfill: bool,
    probe_holder: str | None,
) -> Observed:
    """The evaluation as an event."""
    # The circuit keeps what its conditions look at; the observation's row has everything.
    wanted = watched_metrics(contract)
    own = {f"{FAILED_RATIO}{outcome.rule}" for outcome in report.outcomes}
    told_by_others = {name for name in wanted if name.startswith(FAILED_RATIO)} - own
    return Observed(
        evaluation_id=report.evaluation_id,
        metrics={name: value for name, value in metrics.items() if name in wanted},
        event_time=report.event_time,
        partition=report.partition,
        backfill=backfill,
        lease_holder=probe_holder,
        arrived=report.rows is not None,
        # A report without any outcome could not even begin: nothing is known then.
        silent=frozenset(told_by_others - metrics.keys()) if own else frozenset(),
    )


def as_reported(
    event: Observed,
    contract: Contract,
    report: ContractReport,
    newer: datetime | None,
    now: datetime,
) -> Observed:
    """The evaluation as one that was made before it is counted, and that tells its own check only.

    ``newer`` is when a newer result was made that counted already.
    """
    late = None
    if newer is not None:
        made, known = in_words(report.evaluated_at), in_words(newer)
        late = f"late: reported at {made}, and a newer result of {known} was counted"
    silent = watched_metrics(contract) - event.metrics.keys()
    return replace(
        event, evaluated_at=min(report.evaluated_at, now), late=late, silent=frozenset(silent)
    )


def audit(
    contract: Contract, report: ContractReport, circuit: Circuit, event: Observed, now: datetime
) -> Decision:
    """Whether the batch must not be published, and why."""
    if contract.resilience is None:
        failed = [
            outcome.rule
            for outcome in report.outcomes
            if outcome.status is OutcomeStatus.FAILED and outcome.severity is Severity.ERROR
        ]
        if failed:
            return Decision(Truth.TRUE, f"failed: {', '.join(failed)}")
        return Decision(Truth.FALSE, "no rule of severity error failed")
    return judge(circuit, event, policy=contract.resilience.circuit, now=now)


def why_unserved(
    contract: Contract, circuit: Circuit, event: Observed, decision: Decision, now: datetime
) -> str | None:
    """Why the batch must not be served as the last valid one; ``None`` where it may."""
    if decision.truth is Truth.TRUE:
        return decision.explanation
    if contract.resilience is None:
        return None
    return why_not_passed(circuit, event, policy=contract.resilience.circuit, now=now)


def why_failure_is_late(
    circuit: Circuit,
    partition: str | None,
    *,
    backfill: bool,
    began: Callable[[str | None], datetime | None] | None,
) -> str | None:
    """Why a failure says nothing of the newest data; ``None`` where it does, or nobody knows.

    A partition's own circuit knows one partition, to which backfills belong.
    """
    newest = circuit.watermark_partition
    if circuit.key.partition is not None:
        return None
    if backfill:
        return f"a backfill failed{f' of {partition}' if partition else ''}"
    if began is None or partition is None or newest is None:
        return None
    failed, known = began(partition), began(newest)
    if failed is None or known is None or failed >= known:
        return None
    return f"late: {partition} failed, and {newest} is newer"
