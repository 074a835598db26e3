"""One evaluation: validate a batch, tell the breaker, keep what passed, put aside what did not."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_contracts.core.circuit import Circuit, CircuitKey
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.engine.frames import frame_kind, to_arrow
from dagster_contracts.engine.validation import validate
from dagster_contracts.monitoring.scoring import score_report
from dagster_contracts.orchestration.binding import Binding
from dagster_contracts.orchestration.released import kept_rows
from dagster_contracts.orchestration.step import PROBE_TAG, is_backfill
from dagster_contracts.resilience.verdict import BreakerVerdict

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime


@dataclass(frozen=True)
class BatchEvaluation:
    """What one batch was found to be, and what that did to the circuit."""

    report: ContractReport
    circuit: Circuit | None
    refused: bool
    explanation: str
    quarantined: int | None = None
    """Id of the batch in quarantine, where it was refused before it was published."""
    not_kept: str | None = None
    """Why a batch that was not refused is not kept as the last valid one."""
    anomalies: tuple[str, ...] = ()
    """What is unusual in this batch against the asset's history: it warns and does not fail."""

    def metadata(self) -> dict[str, Any]:
        """What the materialization carries."""
        metadata: dict[str, Any] = {
            "contract": self.report.ref,
            "contract/status": self.report.status.value,
            "contract/evaluation_id": self.report.evaluation_id,
        }
        if self.report.rows is not None:
            metadata["dagster/row_count"] = self.report.rows
        if self.not_kept is not None:
            metadata["contract/not_kept_as_last_valid"] = self.not_kept
        if self.anomalies:
            metadata["contract/anomalies"] = dg.MetadataValue.md(
                "\n".join(f"- {sentence}" for sentence in self.anomalies)
            )
        if self.circuit is not None:
            metadata["contract/circuit"] = self.circuit.effective_state.value
        return metadata


def evaluate_batch(
    runtime: ContractsRuntime,
    binding: Binding,
    data: object,
    *,
    run_id: str,
    partition: str | None,
    tags: Mapping[str, str],
    references: Mapping[str, object] | None = None,
    published: bool,
    arrived_at: datetime | None = None,
    together: Sequence[str] = (),
) -> BatchEvaluation:
    """Validate ``data``, count the evaluation once, and keep or put aside the batch.

    ``published`` says that the data is already where consumers read it (a check step); otherwise it
    is audited before that, and a refused batch goes to quarantine. ``arrived_at`` is when it was
    materialized, which latency is counted to; now where it is not given. ``together`` are the
    partitions of a range that comes as one table: it is judged as one batch, which each of their
    circuits counts, and cannot be kept as the last valid one of any of them.
    """
    contract = binding.contract
    key = binding.circuit_key(partition)
    now = runtime.now()
    # What is judged before it is published has arrived this moment.
    arrival = arrived_at or now
    service = runtime.service.measure(
        contract, binding.asset, partition=key.partition, now=now, arriving=arrival
    )
    report = validate(
        data,
        contract,
        schema_object=binding.schema_object,
        now=now,
        evaluation_id=uuid.uuid4().hex,
        asset=binding.asset,
        partition=partition,
        arrived_at=arrival,
        previous_materialized_at=service.previous_materialized_at,
        measured=service.values,
        unmeasured=service.reasons,
        history=runtime.history.for_validation(contract.name, binding.asset),
        references=references or {},
        samples=runtime.settings.samples,
        allow_sql=runtime.settings.allow_sql,
        allow_code=runtime.settings.allow_code,
    )
    anomalies = score_report(runtime.history, contract, report, asset=binding.asset)
    report = replace(
        report,
        metrics={**report.metrics, **anomalies.metrics},
        unknown_because={**report.unknown_because, **anomalies.unknown_because},
    )
    kind = frame_kind(data)
    table, not_kept = None, None
    if together and binding.keeps_last_valid:
        not_kept = "one table holds several partitions, and nobody knows which row is whose"
    elif kind is not None and binding.keeps_last_valid:
        try:
            table = to_arrow(data)
        except Exception as error:  # what Arrow cannot hold is still judged; it is only not kept
            not_kept = f"{type(error).__name__}: {error}"
    # The file is written first, its row in the transaction that judges the batch: a snapshot is
    # kept exactly where the batch passed.
    staged = (
        runtime.snapshots.stage(key, table, kind=kind or "pyarrow", report=report)
        if table is not None
        else None
    )

    def count(circuit: CircuitKey, counted: ContractReport) -> BreakerVerdict:
        return runtime.breaker.record(
            contract,
            _timed(runtime, binding, counted, together),
            key=circuit,
            run_id=run_id,
            backfill=is_backfill(tags),
            probe_holder=tags.get(PROBE_TAG),
            partition_time=runtime.reader.time_of(binding, circuit.partition)
            if runtime.reader is not None
            else None,
            also=staged.commit if staged is not None else None,
        )

    several = dict.fromkeys(map(binding.circuit_key, together))
    if len(several) > 1:
        verdicts = [
            count(one, replace(report, evaluation_id=uuid.uuid4().hex, partition=one.partition))
            for one in several
        ]
        verdict = next((v for v in verdicts if v.refused), verdicts[0])
    else:
        verdict = count(key, report)
    if verdict.not_passed is not None and binding.keeps_last_valid:
        not_kept = f"it did not pass: {verdict.not_passed}"
    quarantined = None
    if verdict.refused and not published and kind is not None:
        aside, altered = kept_rows(data)
        quarantined = runtime.quarantine.put(
            key, aside, report, kind=kind, run_id=run_id, altered=altered
        ).id
    return BatchEvaluation(
        report=report,
        circuit=verdict.circuit if binding.protects else None,
        refused=verdict.refused,
        # What the circuit did with it (a probe, say) is no reason for a batch that is refused.
        explanation=verdict.not_passed or verdict.explanation
        if verdict.refused
        else verdict.explanation,
        quarantined=quarantined,
        anomalies=anomalies.sentences,
        not_kept=None if verdict.refused else not_kept,
    )


def _timed(
    runtime: ContractsRuntime, binding: Binding, report: ContractReport, together: Sequence[str]
) -> ContractReport:
    """The report as the circuit counts it: of the partition's time where the data names none.

    Else an older partition that is run again would pass for the newest. Of a range that is its
    newest partition.
    """
    if binding.contract.event_time is not None or runtime.reader is None:
        return report
    partitions = (report.partition,) if report.partition is not None else together
    times = [runtime.reader.time_of(binding, partition) for partition in partitions]
    return replace(report, event_time=max(filter(None, times), default=None))
