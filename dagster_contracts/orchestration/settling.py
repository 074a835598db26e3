"""What a step has read, and the moment when that counts: its success.

An I/O manager sees the inputs of a step, but not its end: an asset that stores its data itself
returns nothing, and no output is ever handled. A success hook is called for every kind of asset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.orchestration.reads import settle_reads
from dagster_contracts.orchestration.step import step_of_hook

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime


def build_settling_hook(*, open_runtime: Callable[[], ContractsRuntime]) -> dg.HookDefinition:
    """A hook that closes the ledger's rows of what a successful step has read from good data."""

    @dg.success_hook(name="contract_reads_settled")
    def contract_reads_settled(context: dg.HookContext) -> None:
        runtime = open_runtime()
        step = step_of_hook(context)
        refused = runtime.step_refused.pop(step.key, set())
        stored = [asset for asset in step.assets if asset not in refused]
        settle_reads(runtime, step, runtime.step_reads.pop(step.key, []), stored)

    return contract_reads_settled
