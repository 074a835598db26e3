"""The level that a read takes now, by its circuit and by what the levels can give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.circuit import Circuit, CircuitState
from dagster_contracts.core.condition import Observation, Truth
from dagster_contracts.core.contract import FallbackLevel, FallbackSource, SourceKind
from dagster_contracts.core.routing import (
    CurrentLevel,
    LevelStatus,
    Route,
    RouteReason,
    activation_of,
    choose_route,
    was_degraded_by_activation,
)
from dagster_contracts.orchestration.binding import Binding
from dagster_contracts.orchestration.levels import LevelSources
from dagster_contracts.orchestration.step import PROBE_TAG, Step
from dagster_contracts.resilience.wake import clock_metrics

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

_IMPLIED_PRIMARY = FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY))


@dataclass(frozen=True)
class RoutePreview:
    """A route with the circuit that it was chosen for, and where the ledger stood then.

    ``degraded``: the primary itself was built from a fallback of something else.
    """

    circuit: Circuit
    route: Route
    position: int
    degraded: bool

    @property
    def serves_primary(self) -> bool:
        """Whether the primary would be served."""
        level = self.route.level
        return level is not None and level.source.kind is SourceKind.PRIMARY


class Router:
    """Chooses the level that serves a consumer; nothing is loaded, and nothing written down."""

    def __init__(self, runtime: ContractsRuntime, sources: LevelSources) -> None:
        self._runtime = runtime
        self._sources = sources

    def preview(
        self,
        binding: Binding,
        *,
        step: Step,
        partition: str | None,
        instance: dg.DagsterInstance,
        unavailable: dict[str, str] | None = None,
    ) -> RoutePreview:
        """The route that a read of ``partition`` takes now.

        The circuit is ticked first, so that a feed that stopped is caught when it is used and not
        at the next tick of the sensor.
        """
        unavailable = unavailable or {}
        standing = self._runtime.breaker.standing(
            binding.contract, binding.circuit_key(partition), partition=partition
        )
        circuit, now = standing.circuit, standing.now
        levels = binding.resilience.levels or (_IMPLIED_PRIMARY,)
        # Ticks leave nothing in the window: what grows old by itself is measured here.
        seen = circuit.observations
        aged = {
            **(seen[-1].metrics if seen else {}),
            **clock_metrics(circuit, binding.contract, now),
        }
        window = (*seen, Observation(now, aged, check=False))
        activations = {level.name: activation_of(level, window) for level in levels}
        closed = circuit.effective_state is CircuitState.CLOSED
        current = self._current(circuit, levels, binding, step, partition)
        degrades = Truth.TRUE in activations.values() or current is not None
        if closed and not unavailable and not degrades:
            # The everyday case costs one look at the circuit: no source is examined.
            levels = tuple(x for x in levels if x.source.kind is SourceKind.PRIMARY)
        statuses = [
            self._status(
                binding,
                level,
                step=step,
                partition=partition,
                instance=instance,
                activation=activations[level.name],
                now=now,
                unavailable=unavailable.get(level.name),
            )
            for level in levels
        ]
        holder = step.tags.get(PROBE_TAG)
        lease = circuit.lease
        holds_lease = holder is not None and lease is not None and lease.holder == holder
        route = choose_route(
            statuses,
            circuit,
            holds_lease=holds_lease,
            now=now,
            current=current,
        )
        return RoutePreview(circuit, route, standing.position, standing.degraded)

    def serves_primary(
        self, binding: Binding, partition: str | None, instance: dg.DagsterInstance
    ) -> bool:
        """Whether consumers would now be served the primary.

        While an activation condition degrades a closed circuit, or ``min_dwell`` keeps a consumer
        on a level for which it did, building again would heal nothing.
        """
        nobody = Step(run_id="", step_key="", assets=())
        preview = self.preview(binding, step=nobody, partition=partition, instance=instance)
        if not preview.serves_primary:
            return False
        dwells = {x.name: x.min_dwell for x in binding.resilience.levels if x.min_dwell}
        if not dwells or preview.route.reason is not RouteReason.PRIMARY:
            return True
        circuit, now = preview.circuit, self._runtime.now()
        return not any(
            read.since is not None
            and read.generation == circuit.generation
            and was_degraded_by_activation(read.level, read.reason)
            and now - read.since < dwells.get(read.level, timedelta(0))
            for read in self._runtime.ledger.open_reads(circuit.key)
        )

    def _status(
        self,
        binding: Binding,
        level: FallbackLevel,
        *,
        step: Step,
        partition: str | None,
        instance: dg.DagsterInstance,
        activation: Truth,
        now: datetime,
        unavailable: str | None,
    ) -> LevelStatus:
        facts = self._sources.facts(binding, level, partition=partition, instance=instance, now=now)
        return LevelStatus(
            level=level,
            exists=facts.exists,
            circuit_open=facts.circuit_open,
            missing_columns=self._missing_columns(binding, level, step, partition),
            age=facts.age,
            activation=activation,
            unavailable_reason=unavailable or facts.why_not,
        )

    def _current(
        self,
        circuit: Circuit,
        levels: Sequence[FallbackLevel],
        binding: Binding,
        step: Step,
        partition: str | None,
    ) -> CurrentLevel | None:
        """The level that this consumer was last served in this generation of the circuit.

        While the circuit is closed, one that an activation condition made it leave the primary for.
        """
        if not any(level.min_dwell for level in levels):
            return None
        closed = circuit.effective_state is CircuitState.CLOSED
        for consumer in step.assets:
            for read in reversed(self._runtime.ledger.open_reads(circuit.key, consumer=consumer)):
                if (
                    read.upstream == binding.asset
                    and read.upstream_partition == partition
                    and read.generation == circuit.generation
                    and read.since is not None
                    and (not closed or was_degraded_by_activation(read.level, read.reason))
                ):
                    reason = RouteReason.ACTIVATION if closed else RouteReason.CIRCUIT_OPEN
                    return CurrentLevel(read.level, read.since, reason)
        return None

    def _missing_columns(
        self, binding: Binding, level: FallbackLevel, step: Step, partition: str | None
    ) -> tuple[str, ...]:
        """Columns that this consumer declared and that the level does not give."""
        needed: list[str] = []
        for declaration in binding.contract.consumers:
            if declaration.asset in step.assets or declaration.name in step.assets:
                needed.extend(declaration.columns)
        if not needed:
            return ()
        given = self._sources.columns(binding, level, partition)
        return tuple(column for column in dict.fromkeys(needed) if column not in given)
