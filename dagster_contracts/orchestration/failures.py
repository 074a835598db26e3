"""Materializations that failed: no batch to judge, and yet the circuit must know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.errors import CircuitOpenError
from dagster_contracts.orchestration.binding import Binding
from dagster_contracts.orchestration.step import PROBE_TAG, PUBLISH_TAG, is_backfill, step_of_hook

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

_BLOCKED = "DagsterAssetCheckFailedError"


def build_failure_hook(
    *, bindings: Sequence[Binding], open_runtime: Callable[[], ContractsRuntime]
) -> dg.HookDefinition:
    """A hook that counts a failed step of these assets as ``failed_materializations``.

    Dagster calls it after the last retry. A step that failed because an upstream's circuit is open
    is no failure of its own, and one that was stopped by a blocking check has been judged already:
    neither is counted.
    """
    name = "contract_failure_of_" + "__".join(bindings[0].asset_key.path)

    @dg.failure_hook(name="".join(c if c.isalnum() or c == "_" else "_" for c in name))
    def count_failure(context: dg.HookContext) -> None:
        error = context.op_exception
        if _explained(error):
            return
        step = step_of_hook(context)
        if PUBLISH_TAG in step.tags:
            return  # Nothing was made: what was in the way is told of the released batch.
        for binding in bindings:
            if binding.asset not in step.assets:
                continue  # The step may make it, and this run does not.
            # Of the partitions of a range each circuit that there is counts one failure, which is
            # the newest partition's: the last one wins.
            partitions = step.partitions_of(binding.asset)
            failed = {binding.circuit_key(partition): partition for partition in partitions}
            for key, partition in failed.items():
                runtime = open_runtime()
                reader = runtime.reader
                runtime.breaker.observe_failure(
                    binding.contract,
                    key,
                    run_id=step.run_id,
                    partition=partition,
                    what="failed_materializations",
                    explanation=f"{type(error).__name__}: {error}" if error else "the step failed",
                    probe_holder=step.tags.get(PROBE_TAG),
                    backfill=is_backfill(step.tags),
                    began=None if reader is None else partial(reader.time_of, binding),
                )

    return count_failure


def _explained(error: BaseException | None) -> bool:
    """Whether a circuit or a check is the reason, somewhere down the chain of causes."""
    while error is not None:
        # Dagster does not publish the error of a blocking check; its name is all there is.
        if isinstance(error, CircuitOpenError) or type(error).__name__ == _BLOCKED:
            return True
        error = error.__cause__
    return False
