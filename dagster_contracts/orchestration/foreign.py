"""Check results that somebody else reported: they count for the circuit as our own do.

Dagster has no sensor for checks. The first tick asks for the latest result of each check that
matters: the contract's own, and those that a condition names as ``failed_ratio.<check>``. Every
later one reads only the results that came since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.metrics import FAILED_RATIO
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeKind, OutcomeStatus
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.check_results import EVALUATION_ID

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

OVERLAP_SECONDS = 600.0
"""How far a look goes back beyond the one before: slow transactions commit after younger ones."""

_AT_ONCE = 5_000
"""Events that one tick reads; the next goes on where it stopped."""


@dataclass(frozen=True)
class Heard:
    """How far the event log was read: to the event of that number, and to a moment.

    ``since`` is in seconds since 1970. Where each run has a log of its own (Dagster's default on
    SQLite) numbers mean nothing, and the moment alone counts. ``bound`` stands for the contracts:
    under others, other checks matter.
    """

    event: int
    since: float
    bound: str


def record_foreign_checks(
    runtime: ContractsRuntime,
    bindings: Bindings,
    instance: dg.DagsterInstance,
    heard: Heard | None = None,
    *,
    troubled: Callable[[CircuitKey, Exception], None] | None = None,
) -> Heard | None:
    """Count what others reported since the last look; how far that went.

    A result is foreign when it carries no evaluation id of ours. It counts once: its key is a hash
    of run, asset, check, partition and time (Dagster's own event ids are reused). A result that
    cannot be counted is raised, or with ``troubled`` is told there, keeps none of the others, and
    is tried again for as long as a look goes back.
    """
    wanted = bindings.watched_checks
    if not wanted:
        return heard
    now = datetime.now(UTC).timestamp()
    if heard is None or heard.bound != bindings.versions:
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(wanted))
        _count(runtime, wanted, (record.event for record in latest.values()), troubled)
        return Heard(_newest_event(instance), now - OVERLAP_SECONDS, bindings.versions)
    records = _records_since(instance, heard)
    _count(runtime, wanted, (record.event_log_entry for record in records), troubled)
    if instance.event_log_storage.is_run_sharded:
        return Heard(0, now - OVERLAP_SECONDS, bindings.versions)
    # What is younger than the overlap is read again: who began before it may commit after it.
    full = len(records) == _AT_ONCE
    settled = [r for r in records if full or r.event_log_entry.timestamp < now - OVERLAP_SECONDS]
    event = max((r.storage_id for r in settled), default=heard.event)
    return Heard(event, now - OVERLAP_SECONDS, bindings.versions)


def _records_since(instance: dg.DagsterInstance, heard: Heard) -> list[dg.EventLogRecord]:
    sharded = instance.event_log_storage.is_run_sharded
    return list(
        instance.get_event_records(
            dg.EventRecordsFilter(
                event_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION,
                after_cursor=dg.RunShardedEventsCursor(
                    id=heard.event, run_updated_after=datetime.fromtimestamp(heard.since, UTC)
                ),
                after_timestamp=heard.since if sharded else None,
            ),
            limit=None if sharded else _AT_ONCE,
            ascending=True,
        )
    )


def _newest_event(instance: dg.DagsterInstance) -> int:
    """The number of the newest check event that is old enough for nobody to commit before it."""
    if instance.event_log_storage.is_run_sharded:
        return 0
    before = datetime.now(UTC).timestamp() - OVERLAP_SECONDS
    found = instance.get_event_records(
        dg.EventRecordsFilter(
            event_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION, before_timestamp=before
        ),
        limit=1,
    )
    return found[0].storage_id if found else 0


def _count(
    runtime: ContractsRuntime,
    wanted: Mapping[dg.AssetCheckKey, Binding],
    events: Iterable[dg.EventLogEntry | None],
    troubled: Callable[[CircuitKey, Exception], None] | None,
) -> None:
    for event, evaluation in _evaluations(events):
        binding = wanted.get(dg.AssetCheckKey(evaluation.asset_key, evaluation.check_name))
        if binding is None or EVALUATION_ID in evaluation.metadata:
            continue
        try:
            _count_one(runtime, binding, event, evaluation)
        except Exception as error:
            if troubled is None:
                raise
            troubled(binding.circuit_key(evaluation.partition), error)


def _count_one(
    runtime: ContractsRuntime,
    binding: Binding,
    event: dg.EventLogEntry,
    evaluation: dg.AssetCheckEvaluation,
) -> None:
    report = _report(binding, evaluation, run_id=event.run_id, timestamp=event.timestamp)
    if report.evaluation_id in runtime.foreign_counted:
        return  # Read again for the overlap.
    if runtime.reader is not None and binding.contract.event_time is None:
        begins = runtime.reader.time_of(binding, evaluation.partition)
        report = replace(report, event_time=begins)
    key, reader = binding.circuit_key(evaluation.partition), runtime.reader
    runtime.breaker.record(
        binding.contract,
        report,
        key=key,
        run_id=event.run_id or None,
        partition_time=None if reader is None else reader.time_of(binding, key.partition),
        reported=f"{FAILED_RATIO}{evaluation.check_name}",
    )
    runtime.foreign_counted.append(report.evaluation_id)


def _evaluations(
    events: Iterable[dg.EventLogEntry | None],
) -> Iterator[tuple[dg.EventLogEntry, dg.AssetCheckEvaluation]]:
    for event in events:
        if event is None or event.dagster_event is None:
            continue
        evaluation = event.dagster_event.event_specific_data
        # Else it is planned, and not evaluated yet.
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            yield event, evaluation


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
    metrics.setdefault(f"{FAILED_RATIO}{evaluation.check_name}", share)
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
