"""What a running step is and reads: the one place that touches unpublished Dagster attributes.

An I/O manager must know who reads (to record a degraded read) and in which run; Dagster tells an
``InputContext`` neither through its documented attributes. ``step_context`` has both, in every
release from 1.9 to 1.13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from dagster_contracts.orchestration.graph import reached
from dagster_contracts.orchestration.lineage import PartitionLineage
from dagster_contracts.orchestration.materialized import known_partitions
from dagster_contracts.resilience.ledger import Target

PROBE_TAG = "dagster-contracts/probe"
"""Run tag of a probe: its value is the holder of the circuit's lease."""

HEAL_TAG = "dagster-contracts/heal"
"""Run tag of a run that heals what was built on a fallback."""

PUBLISH_TAG = "dagster-contracts/publish"
"""Run tag of a run that publishes a released batch: its value is the batch's number."""

READS_TAG = "dagster-contracts/reads/"
"""Beginning of run tags: what a step of a graph asset read well, for the step that stores it."""

DEGRADED_TAG = "dagster-contracts/degraded"
"""Run tag of a run in which something was read from a fallback."""

ACTION_TAG = "dagster-contracts/action"
"""Run tag of a corrective action: what it is, and whose contract asked for it."""

PARTITION_TAG = "dagster/partition"
"""Dagster's own tag on the runs of one partition."""

VALIDATOR_TAG = "dagster-contracts/validator"
"""Op tag of a contract's check step."""

BACKFILL_TAG = "dagster/backfill"
"""Dagster's own tag on the runs of a backfill."""


def is_backfill(tags: Mapping[str, str]) -> bool:
    """Whether the run is one of a backfill.

    A healing run or a probe of an older partition is asked for by the breaker itself.
    """
    return BACKFILL_TAG in tags and PROBE_TAG not in tags and HEAL_TAG not in tags


@dataclass(frozen=True)
class Step:
    """Who runs: the run, the step, the assets that it makes and their partitions.

    A step makes one partition, or in a run over a range all of them at once; ``(None,)`` where its
    assets have none.
    """

    run_id: str
    step_key: str
    assets: tuple[str, ...]
    partitions: tuple[str | None, ...] = (None,)
    whole: frozenset[str] = frozenset()
    """Those of the assets that have no partitions, whatever the others of the step have."""
    tags: Mapping[str, str] = field(default_factory=dict)
    checks: bool = False
    """Whether it makes nothing and only checks: it must see the primary as it is."""
    stores: tuple[str, ...] = ()
    """Those of the assets that this step itself stores: in a graph of ops only the last ones do."""
    in_graph: bool = False
    """Whether the asset is a graph of ops, whose inputs other steps may load."""
    attempt: int = 0
    """How often the step was tried before in its run."""
    read_once: frozenset[str] = frozenset()
    """Of a graph of ops: the assets that no other one of its steps loads."""
    reads: Callable[[Target, Target], bool] = lambda made, read: True  # noqa: ARG005
    """Whether the first, which the step makes, is built from the second, as the graph has it."""

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the step among all runs."""
        return (self.run_id, self.step_key)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Everything that the step makes."""
        return self.targets_of(self.assets)

    def targets_of(self, assets: Iterable[str]) -> tuple[Target, ...]:
        """What the step makes of these assets."""
        return tuple((asset, p) for asset in assets for p in self.partitions_of(asset))

    def partitions_of(self, asset: str) -> tuple[str | None, ...]:
        """The partitions that the step makes of one of its assets."""
        return (None,) if asset in self.whole else self.partitions

    def built_from(self, upstream: str, partition: str | None) -> tuple[Target, ...]:
        """What the step makes from that partition of ``upstream``."""
        read = (upstream, partition)
        return tuple(target for target in self.targets if self.reads(target, read))


def step_of_input(context: dg.InputContext) -> Step:
    """The step that loads this input."""
    return _step(context.step_context)


def in_run(context: dg.InputContext | dg.OutputContext) -> bool:
    """Whether a step of a run asks; else it is somebody who looks at what is stored."""
    return context._step_context is not None


def step_of_loading(context: dg.InputContext) -> dict[str, Any]:
    """What another ``InputContext`` for the same step is made with."""
    if not in_run(context):
        return {}
    return {"op_def": context.op_def, "step_context": context.step_context}


def stores_with(context: dg.AssetExecutionContext, key: dg.AssetKey) -> object:
    """The I/O manager that will store what the running step makes of the asset."""
    step_context = context.op_execution_context.get_step_execution_context()
    assets_def = context.assets_def
    output = assets_def.get_output_name_for_asset_key(key)
    io_manager_key = step_context.op_def.output_def_named(output).io_manager_key
    return getattr(step_context.resources, io_manager_key)


def step_of_output(context: dg.OutputContext) -> Step:
    """The step that stores this output."""
    return _step(context.step_context)


def step_of_hook(context: dg.HookContext) -> Step:
    """The step that a hook is called for: it stores what it has really yielded."""
    step_context = context._step_execution_context
    return _step(step_context, ended=True)


def step_of_asset(context: dg.AssetExecutionContext) -> Step:
    """The step that an asset's function runs in."""
    return _step(context.op_execution_context.get_step_execution_context())


def tell_materialization(
    context: dg.InputContext | dg.OutputContext | dg.AssetExecutionContext,
    target: Target,
    metadata: Mapping[str, Any],
) -> None:
    """Add metadata to the materialization of ``target`` that the running step will report.

    It reaches assets that return nothing, too, whose outputs no I/O manager ever sees; and in a run
    over a range it reaches that partition alone.
    """
    if isinstance(context, dg.AssetExecutionContext):
        step_context: Any = context.op_execution_context.get_step_execution_context()
    else:
        step_context = context.step_context
    asset, partition = target
    step_context.add_asset_metadata(
        metadata, asset_key=dg.AssetKey.from_user_string(asset), partition_key=partition
    )


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
    return [str(key) for key in context.asset_partition_keys_for_input(name)]


_begun: WeakKeyDictionary[Any, Step] = WeakKeyDictionary()
"""What is known of the running steps: the same for all their inputs, and for none but them."""


def _step(step_context: Any, *, ended: bool = False) -> Step:
    found = _begun.get(step_context)
    if found is None:
        found = _begun[step_context] = _look(step_context)
    if not ended:
        return found
    yielded = _stored_keys(step_context, step_context.has_seen_output)
    return replace(found, stores=tuple(sorted(yielded & set(found.stores))))


def _look(step_context: Any) -> Step:
    run = step_context.dagster_run
    layer = step_context.job_def.asset_layer
    node = step_context.node_handle
    assets_def = layer.get_assets_def_for_node(node)
    # Of a step that may make some of its assets, these are the ones that this run has selected.
    keys = assets_def.keys if assets_def is not None else ()
    assets = tuple(sorted(key.to_user_string() for key in keys))
    # A run for one partition may also have steps that make none.
    partitions: tuple[str | None, ...] = (None,)
    if assets_def is not None and assets_def.partitions_def and step_context.has_partitions:
        asked = step_context.partition_key_range
        partitions = (str(asked.start),)
        if asked.start != asked.end:
            with known_partitions(step_context.instance):
                found = assets_def.partitions_def.get_partition_keys_in_range(asked)
            partitions = tuple(str(key) for key in found)
    return Step(
        run_id=run.run_id,
        step_key=step_context.step.key,
        assets=assets,
        partitions=partitions,
        whole=frozenset(
            key.to_user_string()
            for key in keys
            if assets_def.specs_by_key[key].partitions_def is None
        ),
        tags=run.tags,
        checks=assets_def is not None and not assets_def.keys,
        stores=tuple(sorted(_stored_keys(step_context) & set(assets))),
        in_graph=node.parent is not None,
        attempt=step_context.previous_attempt_count,
        # An op that is mapped over dynamic outputs is several steps, each with its own inputs.
        read_once=frozenset() if "[" in step_context.step.key else _read_once(assets_def),
        reads=_Lineage(
            PartitionLineage(layer.asset_graph, step_context.instance),
            frozenset(keys),
            ranged=len(partitions) > 1,
        ).reads,
    )


def _stored_keys(
    step_context: Any,
    wanted: Callable[[str], bool] = lambda name: True,  # noqa: ARG005
) -> set[str]:
    """The assets of the step's outputs, of those that are ``wanted`` by name."""
    layer, node = step_context.job_def.asset_layer, step_context.node_handle
    names = (output.name for output in step_context.step.step_outputs)
    keys = (layer.get_asset_key_for_node_output(node, name) for name in names if wanted(name))
    return {key.to_user_string() for key in keys if key is not None}


def _read_once(assets_def: dg.AssetsDefinition | None) -> frozenset[str]:
    if assets_def is None or not isinstance(assets_def.node_def, dg.GraphDefinition):
        return frozenset()
    loads: Counter[str] = Counter()
    for name, key in assets_def.keys_by_input_name.items():
        loads[key.to_user_string()] += _ops_that_load(assets_def.node_def, name)
    return frozenset(asset for asset, ops in loads.items() if ops == 1)


def _ops_that_load(graph: dg.GraphDefinition, name: str) -> int:
    found = 0
    for mapping in graph.input_mappings:
        if mapping.graph_input_name == name:
            inner = graph.node_named(mapping.maps_to.node_name).definition
            if isinstance(inner, dg.GraphDefinition):
                found += _ops_that_load(inner, mapping.maps_to.input_name)
            else:
                found += 1
    return found


class _Lineage:
    """Which of a step's assets and partitions are built from which input, by the asset graph."""

    def __init__(
        self, lineage: PartitionLineage, made: frozenset[dg.AssetKey], *, ranged: bool
    ) -> None:
        self._lineage = lineage
        self._made = made
        self._ranged = ranged
        self._found: dict[tuple[str, str], tuple[tuple[dg.AssetKey, ...], dg.AssetKey | None]] = {}

    def reads(self, made: Target, read: Target) -> bool:
        """Whether ``made`` is built from ``read``, directly or through others of the same step."""
        through, upstream = self._through(made[0], read[0])
        if upstream is None or read[1] is None:
            return bool(through)
        return any(read[1] in self._lineage.partitions(x, made[1], upstream) for x in through)

    def _through(self, made: str, read: str) -> tuple[tuple[dg.AssetKey, ...], dg.AssetKey | None]:
        """What reads ``read``, of ``made`` and those of its step that it is built from.

        Beside it the key of ``read``, where it matters which partition of it is read. This is asked
        for each pair of partitions, and is the same for all of them.
        """
        if (made, read) not in self._found:
            key, upstream = map(dg.AssetKey.from_user_string, (made, read))
            chain = reached([key], lambda one: self._lineage.above(one) & self._made)
            # A step that may make several assets loads the inputs of those that it leaves out too.
            through = tuple(one for one in chain if upstream in self._lineage.above(one))
            # One partition at a time is built from whatever the step reads.
            exact = self._ranged and through and self._lineage.is_partitioned(upstream)
            self._found[made, read] = through, upstream if exact else None
        return self._found[made, read]
