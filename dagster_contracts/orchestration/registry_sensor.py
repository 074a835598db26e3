"""``contract_registry_sensor``: records new versions of contracts, and who consumes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.orchestration.binding import Bindings
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.registry.consumers import ConsumerEdge

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime


def build_registry_sensor(
    *,
    bindings: Bindings,
    graph: AssetGraph,
    open_runtime: Callable[[], ContractsRuntime],
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds: int = 30,
) -> dg.SensorDefinition:
    """The sensor that publishes new versions and keeps the list of consumers.

    It never starts a run. A new version, a deprecation or a retirement is told to the subscribers
    concerned; an edited published version is an alert and an error on the tick. So is a file that
    cannot be read, which is no alert: the contracts of all other files are recorded before.
    """

    @dg.sensor(
        name="contract_registry_sensor",
        description="Records new contract versions, and tells their consumers.",
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        asset_selection=dg.AssetSelection.assets(*graph.keys),
    )
    def contract_registry_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        runtime = open_runtime()
        location = context.repository_name or "default"
        runtime.registry.set_consumers(consumer_edges(bindings, graph), location=location)
        events = runtime.registry.sync()
        if not events:
            return dg.SkipReason("nothing new in the contracts folder")
        return dg.SkipReason("; ".join(f"{event.kind.value}: {event.ref}" for event in events))

    return contract_registry_sensor


def consumer_edges(bindings: Bindings, graph: AssetGraph) -> tuple[ConsumerEdge, ...]:
    """Every asset here that reads a contracted one, with its owners."""
    return tuple(
        ConsumerEdge(
            contract=binding.contract.name,
            upstream_asset=binding.asset,
            consumer_asset=consumer.to_user_string(),
            owners=graph.owners.get(consumer, ()),
        )
        for binding in bindings
        for consumer in graph.consumers(binding.asset_key)
    )
