"""The I/O manager that stands before the user's own one and loads inputs through the circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_contracts.errors import CircuitOpenError, WiringError
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.levels import (
    QUARANTINED,
    PartitionsOf,
    is_by_partition,
)
from dagster_contracts.orchestration.materialized import (
    RANGE_END_TAG,
    RANGE_START_TAG,
    partition_range,
    partition_to_read,
    stored_partition,
)
from dagster_contracts.orchestration.reads import (
    Read,
    Reader,
    tag_degraded_run,
)
from dagster_contracts.orchestration.step import (
    PARTITION_TAG,
    PUBLISH_TAG,
    VALIDATOR_TAG,
    Step,
    in_run,
    step_of_input,
    step_of_loading,
    step_of_output,
    tell_materialization,
)
from dagster_contracts.orchestration.unreadable import exhausted


class PartitionBatches(dict[str, Any]):
    """The batches of several partitions, for a check step that judges each by itself."""


class ContractIOManager(dg.IOManager):
    """Loads an input through its circuit, and does not publish a refused batch.

    ``inner`` is the I/O manager that the user configured; it does all reading and writing of
    assets. ``inner_by_asset`` gives those of fallback assets that are stored by another one. The
    keys of their resources, where they are given, are where a run's configuration of them stands.
    """

    def __init__(
        self,
        *,
        inner: dg.IOManager,
        inner_by_asset: Mapping[dg.AssetKey, dg.IOManager],
        partitions_by_asset: PartitionsOf,
        bindings: Bindings,
        reader: Reader,
        resource_key: str | None = None,
        resource_key_by_asset: Mapping[dg.AssetKey, str] | None = None,
    ) -> None:
        self.inner = inner
        self._resource_key = resource_key
        self._resource_key_by_asset = resource_key_by_asset or {}
        self._inner_by_asset = inner_by_asset
        self._partitions_by_asset = partitions_by_asset
        self._bindings = bindings
        self._reader = reader

    def load_input(self, context: dg.InputContext) -> Any:
        """The primary while the circuit is closed, else the first usable fallback."""
        if not in_run(context):
            return self._load_outside(context)
        _configure(context, self._resource_key)
        key = _asset_read(context)
        if key is None:
            return self.inner.load_input(context)
        step = step_of_input(context)
        if VALIDATOR_TAG in context.op_def.tags:
            return self._load_batches(context, step)
        if step.checks or PUBLISH_TAG in step.tags:
            # A released batch is built from none of the inputs, which Dagster loads all the same.
            return self.inner.load_input(context)
        binding = self._bindings.get(key)
        partitions = _partitions(context)
        if binding is None or not binding.protects or _made_here(context, key, step, partitions):
            self._inherit(context, key, step)
            self._tell(context, step)
            return self.inner.load_input(context)
        if len(partitions) == 1:
            data = self._load_one(context, binding, step, partitions[0], single=True)
        else:
            several = [p for p in partitions if p is not None]
            data = self._load_many(context, binding, step, several)
        self._tell(context, step)
        return data

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Publish the output, unless its batch was refused; say what it was built from."""
        if (context.output_metadata or {}).get(QUARANTINED) is not None:
            context.log.warning(
                f"{context.asset_key.to_user_string()} was not published: its batch broke its "
                "contract and is in quarantine; the primary keeps the last good one"
            )
            return
        _configure(context, self._resource_key)
        if not context.has_asset_key:
            self.inner.handle_output(context, obj)
            return
        step = step_of_output(context)
        said = self._reader.storing(step, context.asset_key.to_user_string())
        self.inner.handle_output(context, obj)
        for target, metadata in said.items():
            tell_materialization(context, target, metadata)

    def _load_outside(self, context: dg.InputContext) -> Any:
        """What a consumer would be served now, for somebody who looks (``load_asset_value``).

        Nothing is built from it, so that nothing is recorded.
        """
        binding = self._bindings.get(context.asset_key) if context.has_asset_key else None
        if binding is None or not binding.protects:
            return self.inner.load_input(context)
        nobody = Step(run_id="", step_key="", assets=())
        partitions = _partitions(context)
        previews = {
            p: self._reader.router.preview(
                binding, step=nobody, partition=p, instance=context.instance
            )
            for p in partitions
        }
        if all(preview.serves_primary for preview in previews.values()):
            return self.inner.load_input(context)
        if len(partitions) > 1:
            raise WiringError(
                f"{binding.asset} cannot be loaded for {len(partitions)} partitions at once while "
                "its circuit is open",
                where=binding.contract.ref,
                hint="load them one by one",
            )
        ((partition, preview),) = previews.items()
        level = preview.route.level
        if level is None:
            raise exhausted(binding, preview, partition)
        context.log.warning(f"{binding.asset} is {level.name}: {preview.route.explanation}")
        return self._reader.sources.load(
            binding,
            level,
            partition=partition,
            instance=context.instance,
            load_primary=lambda: self.inner.load_input(context),
            load_asset=lambda key, any_partition: self._load_asset(
                context, key, partition, any_partition=any_partition
            ),
            wanted=context.dagster_type.typing_type,
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
            partitions = partition_range(context.instance, partitions_def, step.tags)
        else:
            # A check that is run by itself looks at the newest data there is.
            newest = partition_to_read(context.instance, context.asset_key, partitions_def, None)
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
        by_partition = isinstance(self.inner, dg.UPathIOManager) or is_by_partition(
            context.dagster_type.typing_type
        )
        routes = {
            p: self._reader.router.preview(
                binding, step=step, partition=p, instance=context.instance
            )
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
                if not by_partition:
                    raise
                self._reader.forget(step, *reads)
        if not by_partition:
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
        may_miss = (context.definition_metadata or {}).get("allow_missing_partitions", False)
        made = context.instance.get_materialized_partitions(context.asset_key) if may_miss else ()
        loaded: dict[str, Any] = {}
        for partition in partitions:
            try:
                data = self._load_one(context, binding, step, partition, single=False)
            except CircuitOpenError:
                # What nobody ever made is missing, whatever the circuit says.
                if not may_miss or partition in made:
                    raise
                data = None
            if data is None and may_miss:
                context.log.warning(f"{binding.asset} [{partition}] is missing, and is left out")
                continue
            loaded[partition] = data
        return loaded

    def _load_asset(
        self,
        context: dg.InputContext,
        key: dg.AssetKey,
        partition: str | None,
        *,
        any_partition: bool = False,
    ) -> Any:
        partitions_def = self._partitions_by_asset.get(key)
        partition = partition_to_read(
            context.instance, key, partitions_def, partition, any_partition=any_partition
        )
        if partitions_def is not None and partition is None:
            raise FileNotFoundError(f"{key.to_user_string()} has no stored partition")
        # What an input names to load the primary with may know of nothing but the primary.
        own = key == _asset_read(context) or key not in self._inner_by_asset
        inner = self.inner if own else self._inner_by_asset[key]
        resource_key = self._resource_key if own else self._resource_key_by_asset.get(key)
        with stored_partition(
            context,
            key,
            partitions_def,
            partition,
            name=context.name,
            # What the consumer asks of the primary (columns, say) it asks of the other too.
            definition_metadata=dict(context.definition_metadata or {}),
            dagster_type=context.dagster_type,
            resource_config=_configuration(context, resource_key),
            **step_of_loading(context),
        ) as other:
            return inner.load_input(other)

    def _tell(self, context: dg.InputContext, step: Step) -> None:
        for target, said in self._reader.provenance(step).items():
            tell_materialization(context, target, said)

    def _inherit(self, context: dg.InputContext, key: dg.AssetKey, step: Step) -> None:
        """An asset that is itself built from a fallback passes that on to what it feeds."""
        for partition in _partitions(context):
            read = self._reader.inherited(key, partition, step)
            self._reader.remember(step, read)
            if read.degraded:
                _add_metadata(context, read)


def _asset_read(context: dg.InputContext) -> dg.AssetKey | None:
    """The asset that is read: an input of the graph, or what an op's input says of itself."""
    if context.has_asset_key:
        return context.asset_key
    return context.op_def.input_def_named(context.name).hardcoded_asset_key


def _configuration(context: dg.InputContext | dg.OutputContext, key: str | None) -> Any:
    """How the run configures the resource ``key``: Dagster tells what it says of the outer one."""
    if key is None or not in_run(context):
        return context.resource_config
    resources = context.step_context.resolved_run_config.resources
    return resources[key].config if key in resources else context.resource_config


def _configure(context: dg.InputContext | dg.OutputContext, key: str | None) -> None:
    # There is no published way to change it; a copy would lose what the inner one tells Dagster.
    context._resource_config = _configuration(context, key)


def _partitions(context: dg.InputContext) -> list[str | None]:
    if not context.has_asset_partitions:
        return [None]
    # Keys of several dimensions are a kind of string of Dagster's own, which no database knows.
    return [str(key) for key in context.asset_partition_keys]


def _made_here(
    context: dg.InputContext, key: dg.AssetKey, step: Step, partitions: list[str | None]
) -> bool:
    """Whether this very step makes what it reads: a part of a graph, or its own partition.

    An earlier partition of the same asset is an input like any other.
    """
    asset = key.to_user_string()
    if asset not in step.assets:
        return False
    return not context.has_asset_partitions or set(partitions) <= set(step.partitions_of(asset))


def _add_metadata(context: dg.InputContext, read: Read) -> None:
    # Dagster cannot log input metadata for several partitions at once, and raises.
    if not context.has_asset_partitions or len(context.asset_partition_keys) == 1:
        context.add_input_metadata(read.metadata())
