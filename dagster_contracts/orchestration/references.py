"""The keys of other assets that a contract's relationships speak of, loaded for its evaluation.

Nothing of this stands in the asset graph: an evaluation reads what is stored of the other asset, by
the other asset's own I/O manager. Who wants the two in order lets one asset depend on the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from dagster_contracts.core.rules import Exists
from dagster_contracts.engine.declared_types import DeclaredTypes
from dagster_contracts.engine.frames import frame_kind
from dagster_contracts.engine.reference import distinct_keys, referred_types
from dagster_contracts.engine.scan import UnreadableDataError, first_line
from dagster_contracts.engine.sources import kind_of
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.materialized import stored_partition
from dagster_contracts.orchestration.step import assets_of_run
from dagster_contracts.orchestration.translator import ContractTranslator

INNER_SUFFIX = "__inner"
"""The user's own I/O manager ``io_manager`` stays reachable as ``io_manager__inner``."""

MOST_PARTITIONS = 2000
"""Each partition is a load of its own; with more of them an evaluation would take too long."""

StepContext = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


@dataclass(frozen=True)
class StoredAsset:
    """How an asset of this code location is stored."""

    io_manager: str
    partitions: dg.PartitionsDefinition[Any] | None = None
    materializable: bool = True


def stored_assets(assets: Iterable[Any]) -> dict[dg.AssetKey, StoredAsset]:
    """How every asset of these definitions is stored."""
    found: dict[dg.AssetKey, StoredAsset] = {}
    for item in assets:
        if isinstance(item, dg.AssetSpec):
            name = item.metadata.get("dagster/io_manager_key", "io_manager")
            found[item.key] = StoredAsset(name, item.partitions_def, materializable=False)
        elif isinstance(item, dg.SourceAsset):
            name = item.get_io_manager_key()
            found[item.key] = StoredAsset(name, item.partitions_def, materializable=False)
        elif isinstance(item, dg.AssetsDefinition):
            for key in item.keys:
                spec = item.get_asset_spec(key)
                name = (
                    item.get_io_manager_key_for_asset_key(key)
                    if item.is_executable
                    else spec.metadata.get("dagster/io_manager_key", "io_manager")
                )
                found[key] = StoredAsset(name, spec.partitions_def, item.is_materializable)
    return found


@dataclass(frozen=True)
class ReferencedAsset:
    """An asset that a relationship names; ``columns`` are its key's, by their property names.

    ``types`` are declared for them, by which the text of files is read.
    """

    key: dg.AssetKey
    columns: Mapping[str, str]
    types: DeclaredTypes


@dataclass(frozen=True)
class References:
    """Finds and loads what relationships refer to."""

    bindings: Bindings
    stored: Mapping[dg.AssetKey, StoredAsset] = field(default_factory=dict)
    translator: ContractTranslator = field(default_factory=ContractTranslator)

    def of(self, binding: Binding) -> dict[str, ReferencedAsset | None]:
        """What the binding's relationships name, as they name it; ``None`` where it is not here."""
        wanted: dict[str, list[Exists]] = {}
        for rule in binding.plan.rules:
            if isinstance(rule.test, Exists):
                wanted.setdefault(rule.test.target, []).append(rule.test)
        return {target: self._find(binding, target, tests) for target, tests in wanted.items()}

    def resource_keys(self, binding: Binding) -> set[str]:
        """The I/O managers that a step needs to load them."""
        needed = [self.stored[found.key] for found in self.of(binding).values() if found]
        return {stored.io_manager + INNER_SUFFIX for stored in needed}

    def load(
        self, binding: Binding, context: StepContext, batch: object, partition: str | None
    ) -> dict[str, object]:
        """The keys by the names that the relationships use, or the error that says why not."""
        loaded: dict[str, object] = {}
        for target, found in self.of(binding).items():
            if found is None:
                loaded[target] = UnreadableDataError(
                    f"no asset of this code location is governed by {target}, or is named so"
                )
                continue
            name = found.key.to_user_string()
            try:
                loaded[target] = self._load(binding, found, context, batch, partition)
            except UnreadableDataError as error:
                loaded[target] = error
            except Exception as error:  # I/O managers raise what they like
                loaded[target] = UnreadableDataError(
                    f"the asset {name} cannot be loaded: {type(error).__name__}: "
                    f"{first_line(error)}"
                )
        return loaded

    def _find(
        self, binding: Binding, target: str, tests: Sequence[Exists]
    ) -> ReferencedAsset | None:
        names = [name for test in tests for name in test.to]
        governed = self._governed(binding, target)
        if governed is not None and governed.asset_key in self.stored:
            properties = governed.schema_object.property_named
            columns = {n: p.column if (p := properties(n)) is not None else n for n in names}
            types = DeclaredTypes.of(governed.schema_object.properties)
            return ReferencedAsset(governed.asset_key, columns, types)
        key = self.translator.get_asset_key(target)
        if key in self.stored:
            types = DeclaredTypes({})
            for test in tests:
                near = referred_types(test, binding.contract, binding.schema_object)
                types = DeclaredTypes({**types, **near}, {**types.zones, **near.zones})
            return ReferencedAsset(key, {name: name for name in names}, types)
        return None

    def _governed(self, binding: Binding, target: str) -> Binding | None:
        """An object of the same contract, else another contract and its object, else an object."""
        own = [b for b in self.bindings.named(binding.contract.name) if _is_named(b, target)]
        if own:
            return own[0]
        contracts = self.bindings.named(target)
        if contracts:
            return next((b for b in contracts if _is_named(b, target)), contracts[0])
        objects = [b for b in self.bindings if _is_named(b, target)]
        return objects[0] if len(objects) == 1 else None

    def _load(
        self,
        binding: Binding,
        found: ReferencedAsset,
        context: StepContext,
        batch: object,
        partition: str | None,
    ) -> object:
        own = found.key == binding.asset_key
        if own and kind_of(batch) == "pyarrow_reader":
            raise UnreadableDataError("a reader of batches can be read once, and is being judged")
        if own and partition is None:
            return _keys(batch, found)
        stored = self.stored[found.key]
        name = found.key.to_user_string()
        if not own:
            self._refuse_unfinished(found.key, context)
        if stored.partitions is None:
            return _keys(self._stored_data(found, stored, context, None), found)
        materialized = context.instance.get_materialized_partitions(found.key)
        there = [
            key
            for key in stored.partitions.get_partition_keys(
                dynamic_partitions_store=context.instance
            )
            if key in materialized and not (own and key == partition)
        ]
        if len(there) > MOST_PARTITIONS:
            raise UnreadableDataError(
                f"the asset {name} has {len(there):,} partitions, "
                f"and no more than {MOST_PARTITIONS:,} are loaded for a reference"
            )
        parts = [
            distinct_keys(
                self._stored_data(found, stored, context, key), found.columns, found.types
            )
            for key in there
        ]
        if own:
            parts.append(distinct_keys(batch, found.columns, found.types))
        if not parts:
            raise UnreadableDataError(f"no partition of the asset {name} has been materialized")
        import polars as pl  # late: importing the package must stay cheap

        return pl.concat(parts, how="vertical_relaxed").unique()

    def _refuse_unfinished(self, key: dg.AssetKey, context: StepContext) -> None:
        """Raise where there is nothing yet, or what there is is about to be replaced."""
        name = key.to_user_string()
        if not self.stored[key].materializable:
            return
        event = context.instance.get_latest_materialization_event(key)
        run = context.run
        runs = {run.run_id, run.parent_run_id, run.root_run_id}
        if event is not None and event.run_id in runs:
            return
        if key in assets_of_run(context):
            raise UnreadableDataError(
                f"the asset {name} is made in the same run and was not ready; "
                f"let this asset depend on it (deps=[{name!r}]) to have them in order"
            )
        if event is None:
            raise UnreadableDataError(f"the asset {name} has not been materialized yet")

    def _stored_data(
        self,
        found: ReferencedAsset,
        stored: StoredAsset,
        context: StepContext,
        partition: str | None,
    ) -> object:
        """The asset as it is stored, not through its circuit."""
        inner: dg.IOManager = getattr(context.resources, stored.io_manager + INNER_SUFFIX)
        step_context = context.op_execution_context.get_step_execution_context()
        with stored_partition(
            context,
            found.key,
            stored.partitions,
            partition,
            name="reference",
            # I/O managers of databases and of Parquet load these columns only.
            definition_metadata={"columns": list(found.columns.values())},
            dagster_type=dg.DagsterType(lambda _context, _value: True, name="ReferencedTable"),
            op_def=context.op_execution_context.op_def,
            step_context=step_context,
        ) as asked:
            return inner.load_input(asked)


def _is_named(binding: Binding, target: str) -> bool:
    contract, schema_object = binding.contract, binding.schema_object
    names = {schema_object.name, schema_object.physical_name} - {None}
    return target in names or target in {f"{contract.name}.{name}" for name in names}


def _keys(data: object, found: ReferencedAsset) -> object:
    """The key columns alone, where the data is in memory or its columns have other names."""
    renamed = any(name != column for name, column in found.columns.items())
    if renamed or frame_kind(data):
        return distinct_keys(data, found.columns, found.types)
    return data
