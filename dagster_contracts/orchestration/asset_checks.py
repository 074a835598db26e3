"""Checks for assets that know nothing of contracts: one step that loads the data once for all."""

# Dagster reads the annotation of `context` as it stands: no `from __future__ import annotations`.

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_contracts.orchestration.asset_decorator import RESOURCE_KEY
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.check_results import (
    build_check_results,
    build_check_specs,
    first_failures,
)
from dagster_contracts.orchestration.circuit_check import circuit_history
from dagster_contracts.orchestration.evaluation import evaluate_batch
from dagster_contracts.orchestration.io_manager import PartitionBatches
from dagster_contracts.orchestration.materialized import stored_at
from dagster_contracts.orchestration.references import References
from dagster_contracts.orchestration.step import VALIDATOR_TAG
from dagster_contracts.orchestration.translator import ContractTranslator

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime


def build_contract_checks(
    *,
    bindings: Iterable[Binding],
    open_runtime: "Callable[[], ContractsRuntime]",
    translator: ContractTranslator | None = None,
    references: References | None = None,
) -> Sequence[dg.AssetChecksDefinition]:
    """One checks definition for each binding that is not audited in its own step.

    The checks block: the downstream steps of the same run wait for them. Of a contract with a
    fallback they fail as warnings, which is a barrier that stops nothing: the downstream then reads
    the fallback. Of a contract without one they fail as errors, and the downstream is not run.

    ``references`` loads what relationships refer to; without it they are not evaluated.
    """
    used = translator or ContractTranslator()
    known = references or References(Bindings({}))
    return [
        _checks(binding, open_runtime, used, known) for binding in bindings if not binding.audited
    ]


def _checks(
    binding: Binding,
    open_runtime: "Callable[[], ContractsRuntime]",
    translator: ContractTranslator,
    references: References,
) -> dg.AssetChecksDefinition:
    name = "contract_of_" + "__".join(binding.asset_key.path)

    @dg.multi_asset_check(
        name="".join(c if c.isalnum() or c == "_" else "_" for c in name),
        specs=build_check_specs(binding, blocking=True),
        ins={"data": dg.AssetIn(key=binding.asset_key)},
        description=f"Validates {binding.asset} against {binding.contract.ref}.",
        required_resource_keys={RESOURCE_KEY} | references.resource_keys(binding),
        op_tags={VALIDATOR_TAG: "true"},
        can_subset=True,
    )
    def contract_checks(context: dg.AssetCheckExecutionContext, data: Any) -> Any:
        runtime = open_runtime()
        batches = data if isinstance(data, PartitionBatches) else {None: data}
        selected = {key.name for key in context.selected_asset_check_keys}
        results: list[dg.AssetCheckResult] = []
        for partition, batch in batches.items():
            evaluation = evaluate_batch(
                runtime,
                binding,
                batch,
                run_id=context.run.run_id,
                partition=partition,
                tags=context.run.tags,
                references=references.load(binding, context, batch, partition),
                published=True,
                arrived_at=stored_at(context.instance, binding.asset_key, partition),
            )
            results += build_check_results(
                binding,
                evaluation.report,
                circuit=evaluation.circuit,
                history=circuit_history(runtime.breaker, evaluation.circuit),
                translator=translator,
                selected=selected,
                in_op=False,
            )
        yield from first_failures(results)

    return contract_checks
