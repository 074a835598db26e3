"""What a running step is and reads: the one place that touches unpublished Dagster attributes.

An I/O manager must know who reads (to record a degraded read) and in which run; Dagster tells an
``InputContext`` neither through its documented attributes. ``step_context`` has both, in every
release from 1.9 to 1.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

PROBE_TAG = "dagster-contracts/probe"
"""Run tag of a probe: its value is the holder of the circuit's lease."""

HEAL_TAG = "dagster-contracts/heal"
"""Run tag of a run that heals what was built on a fallback."""

DEGRADED_TAG = "dagster-contracts/degraded"
"""Run tag of a run in which something was read from a fallback."""

ACTION_TAG = "dagster-contracts/action"
"""Run tag of a corrective action: what it is, and whose contract asked for it."""

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
"""Dagster's own tags on the runs of one partition, or of a range of them."""

VALIDATOR_TAG = "dagster-contracts/validator"
"""Op tag of a contract's check step."""

BACKFILL_TAG = "dagster/backfill"
"""Dagster's own tag on the runs of a backfill."""


@dataclass(frozen=True)
class Step:
    """Who runs: the run, the step, the assets that it makes and their partition."""

    run_id: str
    step_key: str
    assets: tuple[str, ...]
    partition: str | None
    tags: Mapping[str, str]
    checks: bool = False
    """Whether it makes nothing and only checks: it must see the primary as it is."""

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the step among all runs."""
        return (self.run_id, self.step_key)


def materialized_at(instance: dg.DagsterInstance, key: dg.AssetKey) -> datetime | None:
    """When the asset was last materialized; ``None`` where it never was."""
    event = instance.get_latest_materialization_event(key)
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)


def step_of_input(context: dg.InputContext) -> Step:
    """The step that loads this input."""
    return _step(context.step_context)


def step_of_output(context: dg.OutputContext) -> Step:
    """The step that stores this output."""
    return _step(context.step_context)


def step_of_hook(context: dg.HookContext) -> Step:
    """The step that a hook is called for."""
    return _step(context._step_execution_context)


def step_of_asset(context: dg.AssetExecutionContext) -> Step:
    """The step that an asset's function runs in."""
    return _step(context.op_execution_context.get_step_execution_context())


def assets_of_run(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
) -> frozenset[dg.AssetKey]:
    """The assets that the step's run makes."""
    step_context = context.op_execution_context.get_step_execution_context()
    return frozenset(step_context.job_def.asset_layer.selected_asset_keys)


def partitions_of_input(context: dg.AssetExecutionContext, name: str) -> list[str] | None:
    """The partitions of an upstream that the step depends on; ``None`` where it has none at all."""
    step_context = context.op_execution_context.get_step_execution_context()
    if not step_context.has_asset_partitions_for_input(name):
        return None
    return list(context.asset_partition_keys_for_input(name))


def _step(step_context: object) -> Step:
    run = step_context.dagster_run  # type: ignore[attr-defined]
    node = step_context.node_handle  # type: ignore[attr-defined]
    layer = step_context.job_def.asset_layer  # type: ignore[attr-defined]
    assets_def = layer.get_assets_def_for_node(node)
    keys = assets_def.keys if assets_def is not None else ()
    # A run for one partition may also make unpartitioned assets: those have no partition.
    partitioned = assets_def is not None and assets_def.partitions_def is not None
    has_partition = partitioned and step_context.has_partition_key  # type: ignore[attr-defined]
    return Step(
        run_id=run.run_id,
        step_key=step_context.step.key,  # type: ignore[attr-defined]
        assets=tuple(sorted(key.to_user_string() for key in keys)),
        partition=step_context.partition_key if has_partition else None,  # type: ignore[attr-defined]
        tags=run.tags,
        checks=assets_def is not None and not assets_def.keys,
    )
