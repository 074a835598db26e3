"""``contract_circuit_sensor``: what happens to circuits outside runs.

It lets time pass (a feed that stopped), takes in check results that others reported, moves circuits
to half-open and asks for their probes, asks for healing runs, and shows every change as the check
``circuit``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState
from dagster_contracts.core.contract import HealMode, ProbeMode
from dagster_contracts.orchestration.binding import CIRCUIT_CHECK, Binding, Bindings
from dagster_contracts.orchestration.circuit_check import (
    circuit_headline,
    circuit_history,
    circuit_metadata,
)
from dagster_contracts.orchestration.foreign import record_foreign_checks
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.reads import Reader
from dagster_contracts.orchestration.step import HEAL_TAG, PROBE_TAG
from dagster_contracts.orchestration.translator import ContractTranslator

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

_SECONDS = 35.0
"""A tick stops asking for more after this long; Dagster kills a sensor after 60 s."""


def build_circuit_sensor(
    *,
    bindings: Bindings,
    graph: AssetGraph,
    open_runtime: Callable[[], ContractsRuntime],
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds: int = 30,
    translator: ContractTranslator | None = None,
) -> dg.SensorDefinition:
    """The sensor that trips, probes, closes and heals."""
    used = translator or ContractTranslator()

    @dg.sensor(
        name="contract_circuit_sensor",
        description="Trips, probes and heals the circuits of data contracts.",
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        asset_selection=dg.AssetSelection.assets(*graph.keys),
    )
    def contract_circuit_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        deadline = time.monotonic() + _SECONDS
        runtime = open_runtime()
        tick = CircuitTick(runtime, bindings, graph, context.instance, used)
        record_foreign_checks(runtime, bindings, context.instance)
        tick.let_time_pass()
        tick.inherit()
        requests = [*tick.probes()]
        if time.monotonic() < deadline:
            requests.extend(tick.healing())
        # What was shown is remembered in the cursor, so that a change made in a run, by another
        # process or by an operator shows up just as well as one made here.
        shown, evaluations = tick.changes(context.cursor)
        return dg.SensorResult(
            run_requests=requests,
            asset_events=evaluations,
            cursor=shown,
            skip_reason=None if requests else tick.summary(),
        )

    return contract_circuit_sensor


class CircuitTick:
    """One tick over the circuits of a code location."""

    def __init__(
        self,
        runtime: ContractsRuntime,
        bindings: Bindings,
        graph: AssetGraph,
        instance: dg.DagsterInstance,
        translator: ContractTranslator,
    ) -> None:
        self._runtime = runtime
        self._graph = graph
        self._instance = instance
        self._reader = Reader(runtime, bindings, translator)
        self._bound = {(b.contract.name, b.asset): b for b in bindings if b.protects}
        self._circuits: list[Circuit] = []

    def let_time_pass(self) -> None:
        """Tick every circuit, and read them as they are now."""
        known = [c.key for c in self._runtime.breaker.circuits() if self._binding(c.key)]
        keys = dict.fromkeys([*known, *(b.circuit_key() for b in self._bound.values())])
        pairs = [
            (binding.contract, key) for key in keys if (binding := self._binding(key)) is not None
        ]
        self._runtime.breaker.tick_all(pairs)
        self._circuits = [c for c in self._runtime.breaker.circuits() if self._binding(c.key)]

    def inherit(self) -> None:
        """Tell each circuit which circuits are open above it: they explain what is wrong here."""
        open_above = {
            circuit.key.asset: str(circuit.key)
            for circuit in self._circuits
            if circuit.effective_state is not CircuitState.CLOSED
        }
        for circuit in self._circuits:
            binding = self._binding(circuit.key)
            if binding is None:
                continue
            above = {
                open_above[key.to_user_string()]
                for key in self._graph.ancestors(binding.asset_key)
                if key.to_user_string() in open_above
            }
            if above != set(circuit.upstream):
                self._runtime.breaker.set_upstream(binding.contract, circuit.key, above)

    def probes(self) -> Iterable[dg.RunRequest]:
        """One run of the primary for each half-open circuit that nobody probes.

        A probe whose run does not exist is asked for again under the same key, which Dagster starts
        once: the tick that granted its lease may have died before the run was launched.
        """
        for circuit in self._circuits:
            binding = self._binding(circuit.key)
            if binding is None or circuit.effective_state is not CircuitState.HALF_OPEN:
                continue
            if binding.resilience.circuit.recovery.probe is ProbeMode.WAIT:
                continue
            if binding.asset_key not in self._graph.upstream:
                continue  # An asset that is made elsewhere can only be waited for.
            holder = f"probe:{circuit.key}:{circuit.generation}:{circuit.good_probes}"
            if circuit.lease is None:
                if self._runtime.breaker.ask_probe(binding.contract, circuit.key, holder) is None:
                    continue
            elif circuit.lease.holder != holder or self._launched(binding, circuit, holder):
                continue
            yield dg.RunRequest(
                run_key=holder,
                asset_selection=self._graph.selection(binding.asset_key),
                partition_key=self._partition(binding, circuit),
                tags={PROBE_TAG: holder},
            )

    def _launched(self, binding: Binding, circuit: Circuit, holder: str) -> bool:
        """Whether the probe has a run; one that ended without a verdict was a bad probe."""
        records = self._instance.get_run_records(dg.RunsFilter(tags={PROBE_TAG: holder}), limit=1)
        if not records:
            return False
        run = records[0].dagster_run
        if run.is_finished:
            self._runtime.breaker.observe_failure(
                binding.contract,
                circuit.key,
                run_id=run.run_id,
                what="failed_materializations",
                explanation=f"the probe's run ended as {run.status.value} without a verdict",
                probe_holder=holder,
            )
        return True

    def healing(self) -> Iterable[dg.RunRequest]:
        """Runs for what was built on a fallback whose circuit has closed."""
        closed = {c.key for c in self._circuits if c.effective_state is CircuitState.CLOSED}
        healable = {
            read.circuit: self._reads_primary(read.circuit)
            for read in self._runtime.ledger.open_reads()
            if read.circuit in closed and self._heals(read.circuit)
        }
        healing = self._runtime.healing
        self._follow_up()
        for request in healing.due(
            lambda key: healable.get(key, False),
            order=self._graph.order(),
            only=lambda consumer: dg.AssetKey.from_user_string(consumer) in self._graph.upstream,
        ):
            key = dg.AssetKey.from_user_string(request.consumer)
            yield dg.RunRequest(
                run_key=request.run_key,
                asset_selection=self._graph.selection(key),
                partition_key=request.partition,
                tags={HEAL_TAG: ",".join(sorted({r.circuit.contract for r in request.reads}))},
            )

    def changes(self, cursor: str | None) -> tuple[str, list[dg.AssetCheckEvaluation]]:
        """What the check ``circuit`` does not show yet, and the cursor that remembers it."""
        before = dict(part.rsplit("=", 1) for part in (cursor or "").split("\n") if "=" in part)
        now: dict[str, str] = {}
        evaluations: list[dg.AssetCheckEvaluation] = []
        for circuit in self._circuits:
            binding = self._binding(circuit.key)
            if binding is None:
                continue
            name = str(circuit.key)
            now[name] = f"{circuit.generation}/{circuit.effective_state.value}"
            closed = circuit.effective_state is CircuitState.CLOSED
            if before.get(name, "" if not closed else now[name]) == now[name]:
                continue
            history = circuit_history(self._runtime.breaker, circuit)
            evaluations.append(
                dg.AssetCheckEvaluation(
                    asset_key=binding.asset_key,
                    check_name=CIRCUIT_CHECK,
                    passed=closed,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=circuit_headline(circuit, history),
                    metadata=circuit_metadata(
                        binding, circuit, history=history, now=self._runtime.now()
                    ),
                )
            )
        return "\n".join(f"{name}={state}" for name, state in sorted(now.items())), evaluations

    def summary(self) -> str:
        """One line for the tick's page in the UI."""
        count = len(self._circuits)
        open_ones = [c for c in self._circuits if c.effective_state is not CircuitState.CLOSED]
        if not count:
            return "no circuit has been used yet"
        if not open_ones:
            return "1 circuit, closed" if count == 1 else f"{count} circuits, all closed"
        listed = "; ".join(f"{c.key} is {circuit_headline(c)}" for c in open_ones[:5])
        more = f"; … {len(open_ones) - 5} more" if len(open_ones) > 5 else ""
        return f"{len(open_ones)} of {count} circuits not closed: {listed}{more}"

    def _binding(self, key: CircuitKey) -> Binding | None:
        return self._bound.get((key.contract, key.asset))

    def _reads_primary(self, key: CircuitKey) -> bool:
        binding = self._binding(key)
        return binding is not None and self._reader.serves_primary(
            binding, key.partition, self._instance
        )

    def _heals(self, key: CircuitKey) -> bool:
        binding = self._binding(key)
        resilience = binding.contract.resilience if binding else None
        return resilience is not None and resilience.heal is HealMode.RUN

    def _partition(self, binding: Binding, circuit: Circuit) -> str | None:
        if not self._graph.is_partitioned(binding.asset_key):
            return None
        if circuit.key.partition is not None:
            return circuit.key.partition
        # The batch that opened the circuit is the one to try again; a circuit that time opened is
        # tried with the newest partition.
        opened = circuit.evaluation_id and self._runtime.breaker.partition_of(circuit.evaluation_id)
        return opened or circuit.watermark_partition

    def _follow_up(self) -> None:
        """Tell the healing which of its runs have begun and ended."""
        for request in self._runtime.healing.in_flight():
            records = self._instance.get_run_records(
                dg.RunsFilter(tags={"dagster/run_key": request.run_key}), limit=1
            )
            if not records:
                continue
            run = records[0].dagster_run
            if run.is_finished:
                self._runtime.healing.finished(request.run_key, succeeded=run.is_success)
            elif request.run_id is None:
                self._runtime.healing.started(request.run_key, run.run_id)
