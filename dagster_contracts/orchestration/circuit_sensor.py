"""``contract_circuit_sensor``: what happens to circuits outside runs.

It lets time pass (a feed that stopped), takes in check results that others reported, moves circuits
to half-open and asks for their probes, asks for healing runs, and shows every change as the check
``circuit``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState
from dagster_contracts.core.contract import Contract, HealMode, ProbeMode
from dagster_contracts.orchestration.binding import CIRCUIT_CHECK, Binding, Bindings
from dagster_contracts.orchestration.circuit_check import (
    circuit_headline,
    circuit_history,
    circuit_metadata,
)
from dagster_contracts.orchestration.foreign import Heard, record_foreign_checks
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.launching import cannot_run, first_known
from dagster_contracts.orchestration.reads import Reader
from dagster_contracts.orchestration.step import HEAL_TAG, PROBE_TAG
from dagster_contracts.orchestration.translator import ContractTranslator

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

_LOG = logging.getLogger(__name__)

_SECONDS = 35.0
"""A tick stops asking for more after this long; Dagster kills a sensor after 60 s."""

_OVERLAP = timedelta(minutes=10)
"""How far a tick looks back beyond the one before: slow transactions commit after younger ones."""


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
        tick = CircuitTick(runtime, bindings, graph, context.instance, used, context.cursor)
        tick.hear()
        tick.let_time_pass()
        tick.inherit()
        requests = [*tick.probes()]
        if time.monotonic() < deadline:
            requests.extend(tick.healing())
        # What was shown is remembered in the cursor, so that a change made in a run, by another
        # process or by an operator shows up just as well as one made here.
        shown, evaluations = tick.changes()
        return dg.SensorResult(
            run_requests=requests,
            asset_events=evaluations,
            cursor=shown,
            skip_reason=None if requests else tick.summary(),
        )

    return contract_circuit_sensor


@dataclass(frozen=True)
class Shown:
    """What the cursor remembers: the moment of the last tick, the versions that were bound then.

    ``circuits`` are those that were not closed or had just changed, as they were shown: all others
    are closed, and whatever happens to them leaves an event.
    """

    at: datetime
    bound: str
    circuits: Mapping[CircuitKey, str]
    heard: Heard | None = None

    def text(self) -> str:
        """The cursor."""
        rows = [[k.contract, k.asset, k.partition, v] for k, v in sorted(self.circuits.items())]
        heard = self.heard and [self.heard.event, self.heard.since, self.heard.bound]
        return json.dumps(
            {"at": self.at.isoformat(), "bound": self.bound, "circuits": rows, "heard": heard}
        )

    @classmethod
    def of(cls, cursor: str | None) -> Shown | None:
        """``None`` before the first tick, and for a cursor that another release wrote."""
        try:
            read = json.loads(cursor or "")
            circuits = {CircuitKey(*key): str(state) for *key, state in read["circuits"]}
            heard = Heard(*read["heard"]) if read["heard"] else None
            return cls(datetime.fromisoformat(read["at"]), read["bound"], circuits, heard)
        except (ValueError, KeyError, TypeError):
            return None


class CircuitTick:
    """One tick over the circuits of a code location.

    It reads the circuits that are not closed, those that anything happened to since the last tick,
    and those whose time has come: what is closed and quiet costs nothing, however many there are.
    """

    def __init__(
        self,
        runtime: ContractsRuntime,
        bindings: Bindings,
        graph: AssetGraph,
        instance: dg.DagsterInstance,
        translator: ContractTranslator,
        cursor: str | None = None,
    ) -> None:
        self._runtime = runtime
        self._before = Shown.of(cursor)
        self._touched: dict[CircuitKey, bool] = {}
        self._now = runtime.now()
        self._graph = graph
        self._instance = instance
        self._reader = Reader(runtime, bindings, translator, graph.partitions)
        self._bindings = bindings
        self._bound = bindings.protected
        self._circuits: list[Circuit] = []
        self._heard: Heard | None = None
        self._probed: set[tuple[str, str | None]] = set()

    def hear(self) -> None:
        """Count the check results that others have reported since the last tick."""
        before = self._before.heard if self._before is not None else None
        self._heard = record_foreign_checks(self._runtime, self._bindings, self._instance, before)

    def let_time_pass(self) -> None:
        """Tick every circuit whose time has come, and read those that matter as they are now."""
        breaker, before = self._runtime.breaker, self._before
        if before is not None:
            self._touched = breaker.touched(before.at - _OVERLAP)
        if before is None or before.bound != self._bindings.versions:
            # The first tick, or one under other contracts: each circuit is looked at once.
            known = [c.key for c in breaker.circuits() if self._binding(c.key)]
            keys = [*known, *(b.circuit_key() for b in self._bound.values())]
            breaker.tick_all(self._with_contracts(dict.fromkeys(keys)))
            self._circuits = [c for c in breaker.circuits() if self._binding(c.key)]
            return
        due = breaker.due()
        for contract, key in self._with_contracts(sorted(due)):
            try:
                breaker.tick(contract, key)
            except Exception:  # one contract's trouble must not stop the others
                _LOG.exception("%s: time cannot pass for its circuit", key)
        news = {*due, *self._touched, *before.circuits}
        self._circuits = [c for c in breaker.circuits(news) if self._binding(c.key)]

    def _with_contracts(self, keys: Iterable[CircuitKey]) -> list[tuple[Contract, CircuitKey]]:
        found = ((self._binding(key), key) for key in keys)
        return [(binding.contract, key) for binding, key in found if binding is not None]

    def inherit(self) -> None:
        """Tell each circuit which circuits are open above it: they explain what is wrong here."""
        open_above: dict[dg.AssetKey, list[CircuitKey]] = {}
        for circuit in self._circuits:
            if circuit.effective_state is not CircuitState.CLOSED:
                asset = dg.AssetKey.from_user_string(circuit.key.asset)
                open_above.setdefault(asset, []).append(circuit.key)
        here = [b for c in self._circuits if (b := self._binding(c.key)) is not None]
        below = self._graph.descendants(binding.asset_key for binding in here)
        told = {b.contract.name for key in below if (b := self._bindings.get(key)) is not None}
        told.update(c.key.contract for c in self._circuits if c.upstream)
        changed: dict[CircuitKey, Circuit] = {}
        for circuit in self._runtime.breaker.circuits_of(told) if told else ():
            binding = self._binding(circuit.key)
            if binding is None:
                continue
            above = {
                str(opened)
                for key in self._graph.ancestors(binding.asset_key)
                for opened in open_above.get(key, ())
                if self._explains(key, opened, binding.asset_key, circuit.key)
            }
            if above != set(circuit.upstream):
                verdict = self._runtime.breaker.set_upstream(binding.contract, circuit.key, above)
                changed[circuit.key] = verdict.circuit
        self._circuits = [changed.get(circuit.key, circuit) for circuit in self._circuits]

    def _explains(
        self, above: dg.AssetKey, opened: CircuitKey, below: dg.AssetKey, key: CircuitKey
    ) -> bool:
        """Whether an open circuit above may be the reason: that of another partition is not."""
        if opened.partition is None or key.partition in (None, opened.partition):
            return True
        return self._graph.partitions.get(above) != self._graph.partitions.get(below)

    def probes(self) -> Iterable[dg.RunRequest]:
        """One run of the primary for each half-open circuit that nobody probes.

        A probe whose run does not exist is asked for again under the same key, which Dagster starts
        once: the tick that granted its lease may have died before the run was launched.
        """
        for circuit in self._circuits:
            binding = self._binding(circuit.key)
            if binding is None or circuit.effective_state is not CircuitState.HALF_OPEN:
                continue
            try:
                request = self._probe(binding, circuit)
            except Exception as error:  # one contract's trouble must not stop the others
                _LOG.exception("%s: no probe can be started", circuit.key)
                # A probe that runs keeps its lease, whatever cannot be known of it now.
                if circuit.lease is None:
                    self._block(binding, circuit, f"{type(error).__name__}: {error}")
                continue
            if request is not None:
                yield request

    def _probe(self, binding: Binding, circuit: Circuit) -> dg.RunRequest | None:
        if binding.resilience.circuit.recovery.probe is ProbeMode.WAIT:
            return None
        if binding.asset_key not in self._graph.upstream:
            return None  # An asset that is made elsewhere can only be waited for.
        if circuit.lease is None and circuit.upstream:
            return None
        holder = f"probe:{circuit.key}:{circuit.generation}:{circuit.good_probes}"
        selection = self._graph.selection(binding.asset_key)
        if circuit.lease is not None:
            self._probed.add((binding.asset, circuit.opened_partition or circuit.key.partition))
            if circuit.lease.holder != holder or self._launched(binding, circuit, holder):
                return None
        partition = self._partition(binding, circuit)
        why_not = cannot_run(self._graph, self._instance, selection, partition)
        if why_not is not None:
            self._block(binding, circuit, why_not)
            return None
        if circuit.lease is None:
            breaker = self._runtime.breaker
            if (
                breaker.ask_probe(binding.contract, circuit.key, holder, partition=partition)
                is None
            ):
                return None
        self._probed.update((key.to_user_string(), partition) for key in selection)
        return dg.RunRequest(
            run_key=holder,
            asset_selection=selection,
            partition_key=partition,
            tags={PROBE_TAG: holder},
        )

    def _block(self, binding: Binding, circuit: Circuit, reason: str) -> None:
        if reason != circuit.probe_blocked:
            _LOG.warning("%s: no probe can be started: %s", circuit.key, reason)
        blocked = self._runtime.breaker.block_probe(binding.contract, circuit.key, reason)
        self._circuits = [blocked if c.key == circuit.key else c for c in self._circuits]

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
        blamed = {read.circuit for read in self._runtime.ledger.open_reads()}
        healable = {
            circuit.key: self._reads_primary(circuit.key)
            for circuit in (self._runtime.breaker.circuits(blamed) if blamed else ())
            if circuit.effective_state is CircuitState.CLOSED and self._heals(circuit.key)
        }
        healing = self._runtime.healing
        self._follow_up()
        for request in healing.due(
            lambda key: healable.get(key, False),
            order=self._graph.order,
            only=self._may_heal,
            made_with=self._made_with,
        ):
            made = (*request.beside, request.consumer)
            selection = [dg.AssetKey.from_user_string(name) for name in made]
            why_not = cannot_run(self._graph, self._instance, selection, request.partition)
            if why_not is not None:
                # It counts as an attempt: after the last of them a person has to look.
                _LOG.warning("%s cannot be healed: %s", request.consumer, why_not)
                healing.finished(request.run_key, succeeded=False)
                continue
            yield dg.RunRequest(
                run_key=request.run_key,
                asset_selection=selection,
                partition_key=request.partition,
                tags={HEAL_TAG: ",".join(sorted({r.circuit.contract for r in request.reads}))},
            )

    def _may_heal(self, consumer: str) -> bool:
        """Whether it is made here, and is not being probed: the probe's run may heal it as well."""
        key = dg.AssetKey.from_user_string(consumer)
        return key in self._graph.upstream and consumer not in {name for name, _ in self._probed}

    def _made_with(self, consumer: str, blamed: Collection[str]) -> list[str]:
        key = dg.AssetKey.from_user_string(consumer)
        if key not in self._graph.upstream:
            return []
        upstreams = [dg.AssetKey.from_user_string(name) for name in blamed]
        return [other.to_user_string() for other in self._graph.made_with(key, upstreams)]

    def changes(self) -> tuple[str, list[dg.AssetCheckEvaluation]]:
        """What the check ``circuit`` does not show yet, and the cursor that remembers it."""
        before = self._before.circuits if self._before is not None else {}
        now: dict[CircuitKey, str] = {}
        evaluations: list[dg.AssetCheckEvaluation] = []
        for circuit in self._circuits:
            binding = self._binding(circuit.key)
            if binding is None:
                continue
            key, state = circuit.key, f"{circuit.generation}/{circuit.effective_state.value}"
            closed = circuit.effective_state is CircuitState.CLOSED
            if not closed or key in self._touched:
                now[key] = state
            # What is not remembered was closed; it may have opened and closed again since.
            known = before.get(key, "" if not closed or self._touched.get(key) else state)
            if known == state:
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
        return Shown(self._now, self._bindings.versions, now, self._heard).text(), evaluations

    def summary(self) -> str:
        """One line for the tick's page in the UI."""
        count = self._runtime.breaker.count()
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
        breaker, evaluation = self._runtime.breaker, circuit.evaluation_id
        opened = circuit.opened_partition or (evaluation and breaker.partition_of(evaluation))
        wanted = (opened or None, None if opened else circuit.watermark_partition)
        return first_known(self._graph, self._instance, binding.asset_key, wanted)

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
