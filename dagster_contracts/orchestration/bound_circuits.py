"""The circuits that the bindings of a code location can have, and their partitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import dagster as dg

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.errors import PolicyError
from dagster_contracts.orchestration.binding import Bindings
from dagster_contracts.orchestration.levels import PartitionsOf
from dagster_contracts.orchestration.partition_time import time_of_partition
from dagster_contracts.resilience.governed import Governed, no_partition, require_circuit
from dagster_contracts.resilience.quarantine import QuarantinedBatch


@dataclass(frozen=True)
class BoundCircuits:
    """What may be decided about in this code location."""

    bindings: Bindings
    partitions: PartitionsOf

    def require(self, key: CircuitKey, instance: dg.DagsterInstance | None = None) -> None:
        """``PolicyError`` where no consumer would ask for the circuit.

        Whether a dynamic partition exists only an ``instance`` knows; without one it is not asked.
        """
        governed: dict[str, Governed] = {}
        for contract, asset in self.bindings.protected:
            before = governed.get(contract, Governed(frozenset()))
            scope = self.bindings.protected[contract, asset].resilience.circuit.scope
            governed[contract] = Governed(before.assets | {asset}, scope)
        require_circuit(key, governed)
        if key.partition is not None:
            self._require_partition(key, instance)

    def knows_partitions(self, key: CircuitKey) -> bool:
        """Whether the definitions tell which partitions there are; not of dynamic ones."""
        partitions = self.partitions.get(dg.AssetKey.from_user_string(key.asset))
        return partitions is None or not _is_dynamic(partitions)

    def require_publishable(
        self, batch: QuarantinedBatch, instance: dg.DagsterInstance | None = None
    ) -> None:
        """``PolicyError`` where no run here could make a refused batch the primary."""
        binding = self.bindings.get(dg.AssetKey.from_user_string(batch.asset))
        if binding is None or not binding.audited or binding.contract.name != batch.contract:
            raise PolicyError(
                f"batch {batch.id} cannot be published here",
                where=f"{batch.contract}/{batch.asset}",
                why=f"{batch.asset} is no @contract_asset of {batch.contract}: only what is judged "
                "before it is stored is held back, and can be let go",
                hint=f"`quarantine release {batch.id} --to FILE` gives its rows",
            )
        if batch.partition is not None:
            key = CircuitKey(batch.contract, batch.asset, batch.partition)
            self._require_partition(key, instance)
        elif self.partitions.get(binding.asset_key) is not None:
            raise PolicyError(
                f"batch {batch.id} cannot be published",
                where=f"{batch.contract}/{batch.asset}",
                why="it holds several partitions, and nobody knows which row is whose",
                hint="run the partitions one by one, or return a dictionary by partition",
            )

    def _require_partition(self, key: CircuitKey, instance: dg.DagsterInstance | None) -> None:
        partitions = self.partitions.get(dg.AssetKey.from_user_string(key.asset))
        if partitions is None:
            raise no_partition(key, ())
        if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
            begins = time_of_partition(partitions, key.partition)
            # One that is still to come may be decided about as well; 2026-3-1 is none of them.
            if begins is not None and begins >= partitions.start:
                local = begins.astimezone(ZoneInfo(partitions.timezone))
                if local.strftime(partitions.fmt) == key.partition:
                    return
        if instance is None and _is_dynamic(partitions):
            return
        names: Sequence[str] = partitions.get_partition_keys(dynamic_partitions_store=instance)
        if key.partition not in names:
            raise no_partition(key, names)


def _is_dynamic(partitions: dg.PartitionsDefinition) -> bool:
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return any(_is_dynamic(each.partitions_def) for each in partitions.partitions_defs)
    return isinstance(partitions, dg.DynamicPartitionsDefinition)
