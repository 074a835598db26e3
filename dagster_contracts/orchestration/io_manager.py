"""The I/O manager that stands before the user's own one and loads inputs through the circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_contracts.errors import WiringError
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.reads import Read, Reader, tag_degraded_run
from dagster_contracts.orchestration.step import (
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    VALIDATOR_TAG,
    Step,
    step_of_input,
    step_of_output,
)

QUARANTINED = "contract/quarantine"
"""Output metadata of a refused batch: it was put aside, and the primary keeps the last good one."""


class PartitionBatches(dict[str, Any]):
    """The batches of several partitions, for a check step that judges each by itself."""


class ContractIOManager(dg.IOManager):
    """Loads an input through its circuit, and does not publish a refused batch.

    ``inner`` is the I/O manager that the user configured; it does all reading and writing of
    assets. ``inner_by_asset`` gives those of fallback assets that are stored by another one.
    """

    def __init__(
        self,
        *,
        inner: dg.IOManager,
        inner_by_asset: Mapping[dg.AssetKey, dg.IOManager],
        partitions_by_asset: Mapping[dg.AssetKey, dg.PartitionsDefinition[str] | None],
        bindings: Bindings,
        reader: Reader,
    ) -> None:
        self.inner = inner
        self._inner_by_asset = inner_by_asset
        self._partitions_by_asset = partitions_by_asset
        self._bindings = bindings
        self._reader = reader

    def load_input(self, context: dg.InputContext) -> Any:
        """The primary while the circuit is closed, else the first usable fallback."""
        if not context.has_asset_key:
            return self.inner.load_input(context)
        step = step_of_input(context)
        if VALIDATOR_TAG in context.op_def.tags:
            return self._load_batches(context, step)
        if step.checks:
            return self.inner.load_input(context)
        binding = self._bindings.get(context.asset_key)
        if (
            binding is None
            or not binding.protects
            or context.asset_key.to_user_string() in step.assets
        ):
            self._inherit(context, step)
            return self.inner.load_input(context)
        partitions = _partitions(context)
        if len(partitions) == 1:
            return self._load_one(context, binding, step, partitions[0], single=True)
        return self._load_many(context, binding, step, [p for p in partitions if p is not None])

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Publish the output, unless its batch was refused; say what it was built from."""
        if (context.output_metadata or {}).get(QUARANTINED) is not None:
            context.log.warning(
                f"{context.asset_key.to_user_string()} was not published: its batch broke its "
                "contract and is in quarantine; the primary keeps the last good one"
            )
            self._reader.refused(step_of_output(context), context.asset_key.to_user_string())
            return
        if not context.has_asset_key:
            self.inner.handle_output(context, obj)
            return
        step = step_of_output(context)
        self._reader.about_to_store(step, context.asset_key.to_user_string())
        self.inner.handle_output(context, obj)
        degraded = [read for read in self._reader.remembered(step) if read.degraded]
        if degraded:
            context.add_output_metadata(
                {
                    "contract/degraded": True,
                    "contract/built_from": dg.MetadataValue.md(
                        "\n".join(f"- {read.sentence()}" for read in degraded)
                    ),
                }
            )

    def _load_batches(self, context: dg.InputContext, step: Step) -> Any:
        """What a check step validates: the run's partitions, and not all that there are.

        A check has no partitions of its own, so that Dagster would load all of the asset.
        """
        partitions_def = self._partitions_by_asset.get(context.asset_key)
        if partitions_def is None:
            return self.inner.load_input(context)
        if PARTITION_TAG in step.tags:
            partitions = [step.tags[PARTITION_TAG]]
        elif RANGE_START_TAG in step.tags and RANGE_END_TAG in step.tags:
            partitions = list(
                partitions_def.get_partition_keys_in_range(
                    dg.PartitionKeyRange(step.tags[RANGE_START_TAG], step.tags[RANGE_END_TAG])
                )
            )
        else:
            # A check that is run by itself looks at the newest data there is.
            newest = _newest_partition(context.instance, context.asset_key, partitions_def, None)
            partitions = [newest] if newest is not None else []
        return PartitionBatches(
            {p: self._load_asset(context, context.asset_key, p) for p in partitions}
        )

    def _load_one(
        self,
        context: dg.InputContext,
        binding: Binding,
        step: Step,
        partition: str | None,
        *,
        single: bool,
    ) -> Any:
        def load_primary() -> Any:
            if single:
                return self.inner.load_input(context)
            return self._load_asset(context, binding.asset_key, partition)

        def load_asset(key: dg.AssetKey, any_partition: bool) -> Any:
            return self._load_asset(context, key, partition, any_partition=any_partition)

        data, read = self._reader.read(
            binding,
            step=step,
            partition=partition,
            instance=context.instance,
            load_primary=load_primary,
            load_asset=load_asset,
            wanted=context.dagster_type.typing_type,
        )
        self._reader.remember(step, read)
        if read.degraded:
            context.log.warning(read.sentence())
            _add_metadata(context, read)
            # Materialization tags cannot be set from an I/O manager; the run's tags can, and make
            # degraded runs searchable in the UI.
            tag_degraded_run(context.instance, step.run_id, binding.contract.name)
        return data

    def _load_many(
        self, context: dg.InputContext, binding: Binding, step: Step, partitions: list[str]
    ) -> Any:
        routes = {
            p: self._reader.preview(binding, step=step, partition=p, instance=context.instance)
            for p in partitions
        }
        if all(route.serves_primary for route in routes.values()):
            reads = [self._reader.primary(binding, routes[p], step, p) for p in partitions]
            self._reader.remember(step, *reads)
            for read in reads:
                if read.degraded:
                    context.log.warning(read.sentence())
            try:
                return self.inner.load_input(context)
            except Exception:
                # One partition cannot be loaded: each is then read by itself, with its fallbacks.
                if not isinstance(self.inner, dg.UPathIOManager):
                    raise
                self._reader.forget(step, binding.asset)
        if not isinstance(self.inner, dg.UPathIOManager):
            degraded = ", ".join(p for p, route in routes.items() if not route.serves_primary)
            raise WiringError(
                f"{binding.asset} cannot be read for {len(partitions)} partitions at once while "
                f"its circuit is open for {degraded}",
                where=binding.contract.ref,
                why=f"{type(self.inner).__name__} loads all partitions as one value, which cannot "
                "be mixed from the primary and a fallback",
                hint="run the partitions one by one, or use an I/O manager that loads a dictionary "
                "by partition",
            )
        return {p: self._load_one(context, binding, step, p, single=False) for p in partitions}

    def _load_asset(
        self,
        context: dg.InputContext,
        key: dg.AssetKey,
        partition: str | None,
        *,
        any_partition: bool = False,
    ) -> Any:
        partitions_def = self._partitions_by_asset.get(key)
        if partitions_def is None:
            partition = None
        elif partition is None or any_partition:
            latest = _newest_partition(context.instance, key, partitions_def, partition)
            if latest is None:
                raise FileNotFoundError(f"{key.to_user_string()} has no materialized partition")
            partition = latest
        inner = self._inner_by_asset.get(key, self.inner)
        with dg.build_input_context(
            name=context.name,
            definition_metadata={},
            upstream_output=dg.build_output_context(
                asset_key=key, partition_key=partition, asset_partitions_def=partitions_def
            ),
            dagster_type=context.dagster_type,
            resource_config=context.resource_config,
            op_def=context.op_def,
            step_context=context.step_context,
            asset_key=key,
            partition_key=partition,
            asset_partitions_def=partitions_def,
            instance=context.instance,
        ) as other:
            return inner.load_input(other)

    def _inherit(self, context: dg.InputContext, step: Step) -> None:
        """An asset that is itself built from a fallback passes that on to what it feeds."""
        for partition in _partitions(context):
            read = self._reader.inherited(context.asset_key, partition, step)
            self._reader.remember(step, read)
            if read.degraded:
                _add_metadata(context, read)


def _partitions(context: dg.InputContext) -> list[str | None]:
    if not context.has_asset_partitions:
        return [None]
    return list(context.asset_partition_keys)


def _add_metadata(context: dg.InputContext, read: Read) -> None:
    # Dagster cannot log input metadata for several partitions at once, and raises.
    if not context.has_asset_partitions or len(context.asset_partition_keys) == 1:
        context.add_input_metadata(read.metadata())


def _newest_partition(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partitions_def: dg.PartitionsDefinition[str],
    wanted: str | None,
) -> str | None:
    """The wanted partition where it is materialized, else the newest materialized one."""
    materialized = instance.get_materialized_partitions(key)
    if wanted is not None and wanted in materialized:
        return wanted
    ordered = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    return next((p for p in reversed(ordered) if p in materialized), None)
