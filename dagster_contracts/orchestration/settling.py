"""What a step has read, and the moment when that counts: its success.

An I/O manager sees the inputs of a step, but not its end: an asset that stores its data itself
returns nothing, and no output is ever handled. A success hook is called for every kind of asset.
Of a graph of ops one step reads and another stores, perhaps in another process: what the first has
read goes to the second as tags of the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.orchestration.attempts import drop_disowned, drop_unmade, renew_stored
from dagster_contracts.orchestration.reads import Read
from dagster_contracts.orchestration.step import READS_TAG, Step, step_of_hook
from dagster_contracts.resilience.ledger import DegradedReads, Target

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime


def build_settling_hook(*, open_runtime: Callable[[], ContractsRuntime]) -> dg.HookDefinition:
    """A hook that closes the ledger's rows of what a successful step has read from good data."""

    @dg.success_hook(name="contract_reads_settled")
    def contract_reads_settled(context: dg.HookContext) -> None:
        runtime = open_runtime()
        step = step_of_hook(context)
        attempt = runtime.attempts.end(step)
        if step.in_graph and not step.stores:
            drop_disowned(runtime.ledger, step, attempt, step.targets)
            _keep(context.instance, step, attempt.reads)
            return
        stored = [t for t in step.targets_of(step.stores) if t not in attempt.refused]
        why = f"run {step.run_id} refused its batch and stored nothing of it"
        drop_unmade(runtime.ledger, step, attempt.refused, why)
        drop_disowned(runtime.ledger, step, attempt, stored)
        if attempt.degraded:
            renew_stored(runtime.ledger, step, attempt, stored)
        others = _kept(context.instance, step) if step.in_graph else []
        _settle(runtime.ledger, step, [*attempt.reads, *others], stored)

    return contract_reads_settled


def build_dropping_hook(*, open_runtime: Callable[[], ContractsRuntime]) -> dg.HookDefinition:
    """A hook that drops the ledger's rows of what a failed step would have built.

    The sensor does so for a run that ended; a consumer may read what is stored before that, and
    that is still what it was. Of a graph of ops only the sensor knows.
    """

    @dg.failure_hook(name="contract_reads_dropped")
    def contract_reads_dropped(context: dg.HookContext) -> None:
        step = step_of_hook(context)
        runtime = open_runtime()
        runtime.attempts.end(step)
        if step.in_graph:
            return
        unmade = [target for target in step.targets if target[0] not in step.stores]
        why = f"run {step.run_id} failed and stored nothing of it"
        drop_unmade(runtime.ledger, step, unmade, why)

    return contract_reads_dropped


def _settle(
    ledger: DegradedReads, step: Step, reads: Sequence[Read], stored: Sequence[Target]
) -> None:
    """The step stored these: close the ledger's rows of what they were built from good data.

    What it read from a fallback stays open, and what became degraded while it was read is marked.
    """
    read_well = [read for read in reads if not read.degraded]
    if not read_well:
        return
    earliest = min(read.position for read in read_well)
    moved = ledger.degraded_since({read.upstream for read in read_well}, earliest)
    consumers = {consumer for consumer, _ in stored}
    suffering = {row.target for one in consumers for row in ledger.open_reads(consumer=one)}
    for consumer, made in stored:
        if not moved and (consumer, made) not in suffering:
            continue
        good: dict[str, list[Read]] = {}
        for read in read_well:
            if not step.reads((consumer, made), (read.upstream, read.partition)):
                continue
            if read.upstream in moved and ledger.inherit(
                consumer=consumer,
                consumer_partition=made,
                upstream=read.upstream,
                upstream_partition=read.partition,
                run_id=step.run_id,
                since=read.position,
            ):
                continue
            good.setdefault(read.upstream, []).append(read)
        suffers = ledger.open_reads(consumer=consumer, consumer_partition=made)
        for upstream in good.keys() & {read.upstream for read in suffers}:
            ledger.settle(
                consumer=consumer,
                consumer_partition=made,
                upstream=upstream,
                run_id=step.run_id,
                upstream_partitions=[read.partition for read in good[upstream]],
                up_to=min(read.position for read in good[upstream]),
            )


def _keep(instance: dg.DagsterInstance, step: Step, reads: Sequence[Read]) -> None:
    """Tell the step that will store the asset, in whatever process, what this one read well."""
    well = [[r.upstream, r.partition, r.position] for r in reads if not r.degraded]
    if well:
        instance.add_run_tags(step.run_id, {f"{READS_TAG}{step.step_key}": json.dumps(well)})


def _kept(instance: dg.DagsterInstance, step: Step) -> list[Read]:
    run = instance.get_run_by_id(step.run_id)
    graph = f"{READS_TAG}{step.step_key.partition('.')[0]}."
    found = [text for tag, text in (run.tags if run else {}).items() if tag.startswith(graph)]
    return [
        Read.good(upstream, partition, position)
        for text in found
        for upstream, partition, position in json.loads(text)
    ]
