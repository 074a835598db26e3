"""Released batches: the runs that publish what an operator declared right."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import narwhals as nw

from dagster_contracts.engine.frames import as_text, convert_table, frame_kind, to_arrow
from dagster_contracts.errors import ContractsError, FallbackError
from dagster_contracts.orchestration.binding import CIRCUIT_CHECK, Binding, Bindings
from dagster_contracts.orchestration.check_results import build_check_results
from dagster_contracts.orchestration.circuit_check import circuit_history
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.launching import cannot_run
from dagster_contracts.orchestration.step import PUBLISH_TAG
from dagster_contracts.orchestration.translator import ContractTranslator
from dagster_contracts.resilience.publication import publish_run_key
from dagster_contracts.resilience.quarantine import QuarantinedBatch
from dagster_contracts.resilience.report_document import report_of

if TYPE_CHECKING:
    import pyarrow as pa

    from dagster_contracts.orchestration.runtime import ContractsRuntime

_LOG = logging.getLogger(__name__)
_RUN_KEY_TAG = "dagster/run_key"


def kept_rows(data: Any) -> tuple[pa.Table, str | None]:
    """What the quarantine keeps of a batch, and why that is not all that it was."""
    try:
        table = to_arrow(data)
    except Exception as error:  # what Arrow cannot hold is kept to be looked at
        return as_text(data), f"Arrow cannot hold it: {error}"
    return table, _lost_index(data)


def _lost_index(data: Any) -> str | None:
    """Rows keep their numbers or get others; labels that say something are not in the columns."""
    if frame_kind(data) != "pandas":
        return None
    named = [str(name) for name in data.index.names if name is not None]
    if named:
        return f"its index ({', '.join(named)}) is not kept"
    if data.index.dtype.kind not in "iu" or data.index.nlevels > 1:
        return f"its index of {data.index.dtype} is not kept"
    return None


def restored(table: pa.Table, kind: str) -> Any:
    """The batch as the asset returned it, from its kept rows."""
    if kind == "narwhals":
        return nw.from_native(convert_table(table, "polars"))
    return convert_table(table, kind)


class ReleasedRuns:
    """What one tick asks for, and what it finds in the way."""

    def __init__(
        self,
        runtime: ContractsRuntime,
        bindings: Bindings,
        graph: AssetGraph,
        instance: dg.DagsterInstance,
    ) -> None:
        self._runtime = runtime
        self._bindings = bindings
        self._graph = graph
        self._instance = instance

    def requests(self) -> Iterator[dg.RunRequest]:
        """A run for each batch that is to be published here and has none yet."""
        for batch in self._runtime.publication.waiting():
            key = dg.AssetKey.from_user_string(batch.asset)
            if key not in self._graph.upstream:
                continue  # Another code location makes it, and asks.
            try:
                request = self._request(batch, key)
            except Exception:  # one batch's trouble must not stop the others
                _LOG.exception("batch %s of %s: its run cannot be asked for", batch.id, batch.asset)
                continue
            if request is not None:
                yield request

    def _request(self, batch: QuarantinedBatch, key: dg.AssetKey) -> dg.RunRequest | None:
        if batch.publish_asked_at is not None and self._followed_up(batch):
            return None
        binding = self._bindings.get(key)
        if binding is None or not binding.audited or binding.contract.name != batch.contract:
            why_not = f"{batch.asset} is no @contract_asset of {batch.contract} here any more"
        else:
            selection = self._graph.selection(key)
            told = cannot_run(self._graph, self._instance, selection, batch.partition)
            why_not = told if told is not None else ""
        if why_not:
            if why_not != batch.unpublished_because:
                _LOG.warning("batch %s cannot be published: %s", batch.id, why_not)
                self._runtime.publication.block(batch.id, why_not)
            return None
        asked = self._runtime.publication.ask(batch.id)
        if asked is None:
            return None
        return dg.RunRequest(
            run_key=publish_run_key(asked),
            asset_selection=selection,
            partition_key=batch.partition,
            tags={PUBLISH_TAG: str(batch.id)},
        )

    def _followed_up(self, batch: QuarantinedBatch) -> bool:
        """Whether the run that was asked for is there; one that ended is told of."""
        run_key = publish_run_key(batch)
        records = self._instance.get_run_records(
            dg.RunsFilter(tags={_RUN_KEY_TAG: run_key}), limit=1
        )
        run = records[0].dagster_run if records else None
        if run is None and batch.publish_run_id is not None:
            # Started again by hand, without the key; or deleted after it had begun.
            run = self._instance.get_run_by_id(batch.publish_run_id)
            if run is None:
                because = "its run is gone"
                self._runtime.publication.failed(batch.id, run_key, batch.publish_run_id, because)
                return True
        if run is None:
            return False
        if run.is_success:
            # Its process died between storing the batch and saying so.
            finish(self._runtime, self._bindings, batch.id, run.run_id)
        elif run.is_finished:
            because = f"its run ended as {run.status.value}"
            self._runtime.publication.failed(batch.id, run_key, run.run_id, because)
        return True


def published_batch(
    context: dg.AssetExecutionContext,
    binding: Binding,
    open_runtime: Callable[[], ContractsRuntime],
    translator: ContractTranslator,
) -> dg.MaterializeResult[Any] | None:
    """What the step of a released batch yields instead of the asset's own; ``None`` in other runs.

    ``dagster.Failure``, which is not tried again, where the batch is not to be published any more.
    """
    number = _number(context.run.tags)
    if number is None:
        return None
    runtime = open_runtime()
    try:
        if runtime.quarantine.get(number).asset != binding.asset:
            return None
        batch = runtime.publication.claim(number, context.run.run_id)
        value = restored(runtime.quarantine.load(number), batch.kind)
    except FallbackError as error:
        runtime.publication.failed(number, None, context.run.run_id, _told(error), final=True)
        raise dg.Failure(str(error), allow_retries=False) from error
    except ContractsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    said = f"released by {batch.decided_by}: {batch.decision_reason}"
    context.log.info(f"batch {number} of {batch.place} is published instead of a new one: {said}")
    report = report_of(batch.report)
    circuit = None
    if binding.protects:
        circuit = runtime.breaker.circuit(binding.circuit_key(batch.partition))
    checks = build_check_results(binding, report, circuit=None, translator=translator, in_op=True)
    standing = build_check_results(
        binding,
        replace(report, evaluated_at=runtime.now()),
        circuit=circuit,
        history=circuit_history(runtime.breaker, circuit),
        translator=translator,
        selected=[CIRCUIT_CHECK],
        in_op=True,
    )
    metadata: dict[str, Any] = {
        "contract": report.ref,
        "contract/status": report.status.value,
        "contract/evaluation_id": report.evaluation_id,
        "contract/published": True,
        "contract/released_batch": number,
        "contract/released_by": batch.decided_by,
        "contract/released_because": batch.decision_reason,
        "dagster/row_count": batch.rows,
    }
    if binding.keeps_last_valid:
        metadata["contract/not_kept_as_last_valid"] = f"it did not pass by itself: {said}"
    if circuit is not None:
        metadata["contract/circuit"] = circuit.effective_state.value
    return dg.MaterializeResult(
        value=value,
        metadata=metadata,
        check_results=[*(_tolerated(check, said) for check in checks), *standing],
    )


def _tolerated(check: dg.AssetCheckResult, said: str) -> dg.AssetCheckResult:
    """The check as it was, but that it stops nothing: a person has decided."""
    return dg.AssetCheckResult(
        check_name=check.check_name,
        asset_key=check.asset_key,
        passed=check.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{check.description}; {said}" if check.description else said,
        metadata=check.metadata,
    )


def finish(runtime: ContractsRuntime, bindings: Bindings, batch_id: int, run_id: str) -> None:
    """The batch is stored: say so, and close its circuit where the operator asked for that."""
    batch = runtime.quarantine.get(batch_id)
    binding = bindings.get(dg.AssetKey.from_user_string(batch.asset))
    if not batch.publish_resets or binding is None or not binding.protects:
        with runtime.store.begin() as conn:
            runtime.publication.published(conn, batch_id, run_id)
        return
    runtime.breaker.reset(
        binding.circuit_key(batch.partition),
        actor=batch.decided_by or "",
        reason=f"batch {batch_id} was published: {batch.decision_reason}",
        contract=binding.contract,
        unless=lambda conn: not runtime.publication.published(conn, batch_id, run_id),
    )


def build_published_hooks(
    *, bindings: Bindings, open_runtime: Callable[[], ContractsRuntime]
) -> set[dg.HookDefinition]:
    """Hooks that tell at the end of a step whether the released batch is the primary now."""

    @dg.success_hook(name="contract_batch_published")
    def contract_batch_published(context: dg.HookContext) -> None:
        number = _number(_tags(context))
        if number is not None:
            finish(open_runtime(), bindings, number, context.run_id)

    @dg.failure_hook(name="contract_batch_not_published")
    def contract_batch_not_published(context: dg.HookContext) -> None:
        tags = _tags(context)
        number = _number(tags)
        if number is not None:
            error = context.op_exception
            because = _told(error.__cause__ or error) if error else "its step failed"
            open_runtime().publication.failed(
                number, tags.get(_RUN_KEY_TAG), context.run_id, because
            )

    return {contract_batch_published, contract_batch_not_published}


def _tags(context: dg.HookContext) -> Mapping[str, str]:
    run = context.instance.get_run_by_id(context.run_id)
    return run.tags if run is not None else {}


def _number(tags: Mapping[str, str]) -> int | None:
    text = tags.get(PUBLISH_TAG, "")
    return int(text) if text.isdecimal() else None


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
