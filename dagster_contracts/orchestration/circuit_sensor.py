"""``contract_circuit_sensor``: what happens to circuits outside runs.

It lets time pass (a feed that stopped), takes in check results that others reported, moves circuits
to half-open and asks for their probes, asks for healing runs, and shows every change as the check
``circuit``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState
from dagster_contracts.core.contract import Contract, ProbeMode
from dagster_contracts.orchestration.binding import CIRCUIT_CHECK, Binding, Bindings
from dagster_contracts.orchestration.circuit_check import (
    circuit_headline,
    circuit_history,
    circuit_metadata,
)
from dagster_contracts.orchestration.foreign import Heard, record_foreign_checks
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.heal_runs import HealRuns
from dagster_contracts.orchestration.launching import (
    cannot_run,
    first_known,
    unknown_partitions,
)
from dagster_contracts.orchestration.lineage import PartitionLineage
from dagster_contracts.orchestration.reads import Reader
from dagster_contracts.orchestration.released import ReleasedRuns
from dagster_contracts.orchestration.step import PROBE_TAG
from dagster_contracts.orchestration.translator import ContractTranslator
from dagster_contracts.resilience.ledger import DegradedRead

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

_LOG = logging.getLogger(__name__)

_SECONDS = 35.0
"""A tick stops asking for more after this long; Dagster kills a sensor after 60 s."""

_TRIED = (CircuitState.HALF_OPEN, CircuitState.EXHAUSTED)
"""The states of a circuit that a batch of what it waits for may close."""

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
        origin = context.code_location_origin
        repository = context.repository_def
        tick = CircuitTick(
            open_runtime(),
            bindings,
            graph,
            context.instance,
            used,
            context.cursor,
            lineage=PartitionLineage(repository and repository.asset_graph, context.instance),
            location=None if origin is None else origin.location_name,
        )
        return tick.result()

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
        *,
        lineage: PartitionLineage,
        location: str | None = None,
    ) -> None:
        self._deadline = time.monotonic() + _SECONDS
        self._runtime = runtime
        self._lineage = lineage
        self._location = location
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
        self._probed: set[str] = set()
        self._trouble: dict[CircuitKey, str] = {}
        self._failures: list[str] = []

    def result(self) -> dg.SensorResult:
        """All that a tick does. What fails is told, and keeps nothing else from being done."""
        self._try("check results of others", self.hear)
        self._try("the passing of time", self.let_time_pass)
        self._try("open circuits above", self.inherit)
        requests: list[dg.RunRequest] = []
        self._try("probes", lambda: requests.extend(self.probes()))
        self._try("released batches", lambda: requests.extend(self.released()))
        if time.monotonic() < self._deadline:
            self._try("healing", lambda: requests.extend(self.healing()))
        # What was shown is remembered in the cursor, so that a change made in a run, by another
        # process or by an operator shows up just as well as one made here.
        shown, evaluations = self.changes()
        return dg.SensorResult(
            run_requests=requests,
            asset_events=evaluations,
            cursor=shown,
            skip_reason=None if requests else self.summary(),
        )

    def _try(self, what: str, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            _LOG.exception("%s: this tick could not look after them", what)
            self._failures.append(f"{what}: {_told(error)}")

    def _troubled(self, key: CircuitKey, error: Exception) -> None:
        """One circuit's trouble must not stop the others; its check shows it."""
        _LOG.error("%s: this tick could not look after its circuit", key, exc_info=error)
        self._trouble.setdefault(key, _told(error))

    def hear(self) -> None:
        """Count the check results that others have reported since the last tick."""
        self._heard = self._before.heard if self._before is not None else None
        self._heard = record_foreign_checks(
            self._runtime, self._bindings, self._instance, self._heard, troubled=self._troubled
        )

    def let_time_pass(self) -> None:
        """Tick every circuit whose time has come, and read those that matter as they are now."""
        breaker, before = self._runtime.breaker, self._before
        if before is not None:
            self._touched = breaker.touched(before.at - _OVERLAP)
        if before is None or before.bound != self._bindings.versions:
            # The first tick, or one under other contracts: each circuit is looked at once.
            known = [
                c.key for c in breaker.circuits(troubled=self._of_ours) if self._binding(c.key)
            ]
            keys = [*known, *(b.circuit_key() for b in self._bound.values())]
            breaker.tick_all(self._with_contracts(dict.fromkeys(keys)), troubled=self._troubled)
            read = breaker.circuits(troubled=self._of_ours)
        else:
            due = set(breaker.due())
            if self._now < before.at:  # The clock was set back: no moment is one any more.
                due |= set(before.circuits)
            for contract, key in self._with_contracts(sorted(due)):
                try:
                    breaker.tick(contract, key)
                except Exception as error:
                    self._troubled(key, error)
            news = {*due, *self._touched, *before.circuits, *self._unhealed()}
            read = breaker.circuits(news, troubled=self._of_ours)
        self._circuits = [c for c in read if self._binding(c.key)]

    def _of_ours(self, key: CircuitKey, error: Exception) -> None:
        if self._binding(key) is not None:
            self._troubled(key, error)

    def _with_contracts(self, keys: Iterable[CircuitKey]) -> list[tuple[Contract, CircuitKey]]:
        found = ((self._binding(key), key) for key in keys)
        return [(binding.contract, key) for binding, key in found if binding is not None]

    def inherit(self) -> None:
        """Tell each circuit which circuits are open above it: they explain what is wrong here."""
        open_above: dict[dg.AssetKey, list[CircuitKey]] = {}
        for circuit in self._circuits:
            if not _is_closed(circuit):
                asset = dg.AssetKey.from_user_string(circuit.key.asset)
                open_above.setdefault(asset, []).append(circuit.key)
        leading = self._graph.descendants(open_above).union(open_above)
        here = [b for c in self._circuits if (b := self._binding(c.key)) is not None]
        below = self._graph.descendants(binding.asset_key for binding in here)
        told = {b.contract.name for key in below if (b := self._bindings.get(key)) is not None}
        told.update(c.key.contract for c in self._circuits if c.upstream)
        changed: dict[CircuitKey, Circuit] = {}
        breaker = self._runtime.breaker
        for circuit in breaker.circuits_of(told, troubled=self._of_ours) if told else ():
            binding = self._binding(circuit.key)
            if binding is None:
                continue
            above = self._explaining(binding.asset_key, circuit.key, open_above, leading)
            if above == set(circuit.upstream):
                continue
            try:
                verdict = breaker.set_upstream(binding.contract, circuit.key, above)
            except Exception as error:
                self._troubled(circuit.key, error)
                continue
            changed[circuit.key] = verdict.circuit
        self._circuits = [changed.get(circuit.key, circuit) for circuit in self._circuits]

    def _explaining(
        self,
        asset: dg.AssetKey,
        key: CircuitKey,
        opened: Mapping[dg.AssetKey, Sequence[CircuitKey]],
        leading: frozenset[dg.AssetKey],
    ) -> set[str]:
        """The open circuits that may be the reason: not those of partitions that it does not read.

        ``leading`` are the assets that are ``opened``, and all that are built from them.
        Where it cannot be known what it reads (its partition is one of an earlier definition), any
        may be.
        """
        above = self._graph.ancestors(asset)
        found = [(one, circuit) for one in above for circuit in opened.get(one, ())]
        if key.partition is not None and any(circuit.partition for _, circuit in found):
            try:
                read = self._lineage.built_from(asset, key.partition, above & leading)
            except Exception as error:
                _LOG.warning("%s: what it is built from is not known", key, exc_info=error)
            else:
                found = [(a, c) for a, c in found if not c.partition or (a, c.partition) in read]
        return {str(circuit) for _, circuit in found}

    def probes(self) -> Iterable[dg.RunRequest]:
        """One run of the primary for each half-open circuit that nobody probes.

        Partitions that are gone are waited for no longer, whoever starts the runs: this location
        has their definition. An exhausted circuit is then mended by a batch of another one.

        A probe whose run does not exist is asked for again under the same key, which Dagster starts
        once: the tick that granted its lease may have died before the run was launched.
        """
        for circuit in self._circuits:
            binding = self._binding(circuit.key)
            if binding is None or circuit.effective_state not in _TRIED:
                continue
            try:
                request = self._probe(binding, circuit)
            except Exception as error:
                self._probe_failed(binding, circuit, error)
                continue
            if request is not None:
                yield request

    def _probe_failed(self, binding: Binding, circuit: Circuit, error: Exception) -> None:
        self._troubled(circuit.key, error)
        # A probe that runs keeps its lease, whatever cannot be known of it now.
        if circuit.lease is not None:
            return
        try:
            self._block(binding, circuit, _told(error))
        except Exception as second:
            self._troubled(circuit.key, second)

    def _probe(self, binding: Binding, circuit: Circuit) -> dg.RunRequest | None:
        if binding.asset_key not in self._graph.upstream:
            return None  # An asset that is made elsewhere can only be waited for.
        *dropped, holder = circuit.probe_names
        selection = self._graph.selection(binding.asset_key)
        if circuit.lease is None:
            under_way = self._under_way(dropped)
            if under_way is not None:  # It lost its lease to an override that is over: it goes on.
                self._probed.add(binding.asset)
                self._runtime.breaker.ask_probe(binding.contract, circuit.key, under_way)
                return None
        else:
            self._probed.add(binding.asset)
            if circuit.lease.holder not in circuit.probe_names:
                return None
            holder = circuit.lease.holder
            if self._launched(binding, circuit, holder):
                return None
        seen, circuit = circuit.generation, self._without_gone(binding, circuit)
        if circuit.effective_state is not CircuitState.HALF_OPEN or circuit.generation != seen:
            return None
        if binding.resilience.circuit.recovery.probe is ProbeMode.WAIT:
            return None
        if circuit.lease is None and circuit.upstream:
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
        self._probed.update(key.to_user_string() for key in selection)
        return dg.RunRequest(
            run_key=holder,
            asset_selection=selection,
            partition_key=partition,
            tags={PROBE_TAG: holder},
        )

    def _without_gone(self, binding: Binding, circuit: Circuit) -> Circuit:
        """The circuit when it no longer waits for what does not exist any more."""
        bad = [partition.name for partition in circuit.bad_partitions]
        gone = unknown_partitions(self._graph, self._instance, binding.asset_key, bad)
        if not gone:
            return circuit
        left = self._runtime.breaker.forget_gone(binding.contract, circuit.key, gone)
        self._replace(left)
        return left

    def _replace(self, changed: Circuit) -> None:
        self._circuits = [changed if c.key == changed.key else c for c in self._circuits]

    def _block(self, binding: Binding, circuit: Circuit, reason: str) -> None:
        if reason != circuit.probe_blocked:
            _LOG.warning("%s: no probe can be started: %s", circuit.key, reason)
        self._replace(self._runtime.breaker.block_probe(binding.contract, circuit.key, reason))

    def _under_way(self, holders: Sequence[str]) -> str | None:
        """The holder whose run has not ended, among those that lost their leases."""
        asked = dg.RunsFilter(tags={PROBE_TAG: list(holders)})
        runs = self._instance.get_runs(asked) if holders else ()
        return next((run.tags[PROBE_TAG] for run in runs if not run.is_finished), None)

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

    def released(self) -> Iterable[dg.RunRequest]:
        """Runs for the batches that an operator has released from quarantine."""
        runs = ReleasedRuns(self._runtime, self._bindings, self._graph, self._instance)
        return runs.requests()

    def healing(self) -> Iterable[dg.RunRequest]:
        """Runs for what was built on a fallback whose circuit has closed."""
        yield from HealRuns(
            self._runtime,
            self._bindings,
            self._graph,
            self._instance,
            self._reader,
            self._lineage,
            opened={c.key for c in self._circuits if not _is_closed(c)},
            probed=self._probed,
            location=self._location,
            troubled=self._troubled,
        ).requests()

    def changes(self) -> tuple[str, list[dg.AssetCheckEvaluation]]:
        """What the check ``circuit`` does not show yet, and the cursor that remembers it."""
        before = self._before.circuits if self._before is not None else {}
        unhealed: dict[CircuitKey, list[DegradedRead]] = {}
        self._try("what is not healed", lambda: unhealed.update(self._unhealed()))
        now: dict[CircuitKey, str] = {}
        evaluations: list[dg.AssetCheckEvaluation] = []
        for circuit in self._circuits:
            key = circuit.key
            binding = self._binding(key)
            # What a partition inherits the circuit of the whole asset shows, once for all of them.
            if binding is None or key in self._trouble or circuit.inherited:
                continue
            closed, waiting = _is_closed(circuit), unhealed.get(key, [])
            state = _shown(circuit, waiting)
            if not closed or key in self._touched or waiting:
                now[key] = state
            # What is not remembered was closed; it may have opened and closed again since.
            quiet = closed and not self._touched.get(key) and not waiting
            if before.get(key, state if quiet else "") == state:
                continue
            try:
                evaluations.append(self._evaluation(binding, circuit, waiting))
            except Exception as error:
                self._troubled(key, error)
                now.pop(key, None)
        for key, told in self._trouble.items():
            now[key] = f"trouble/{_digest(told)}"
            binding = self._binding(key)
            if binding is not None and before.get(key) != now[key]:
                evaluations.append(_unknown(binding, key, told))
        return Shown(self._now, self._bindings.versions, now, self._heard).text(), evaluations

    def _evaluation(
        self, binding: Binding, circuit: Circuit, unhealed: Sequence[DegradedRead]
    ) -> dg.AssetCheckEvaluation:
        history = circuit_history(self._runtime.breaker, circuit)
        return dg.AssetCheckEvaluation(
            asset_key=binding.asset_key,
            check_name=CIRCUIT_CHECK,
            passed=_is_closed(circuit),
            severity=dg.AssetCheckSeverity.WARN,
            description=circuit_headline(circuit, history, unhealed),
            metadata=circuit_metadata(
                binding, circuit, history=history, unhealed=unhealed, now=self._runtime.now()
            ),
        )

    def _unhealed(self) -> dict[CircuitKey, list[DegradedRead]]:
        found: dict[CircuitKey, list[DegradedRead]] = {}
        for read in self._runtime.ledger.unhealed():
            found.setdefault(read.circuit, []).append(read)
        return found

    def summary(self) -> str:
        """One line for the tick's page in the UI."""
        wrong = [f"{key}: {told}" for key, told in sorted(self._trouble.items())]
        told = [*self._failures, *wrong]
        more = [f"… {len(told) - 5} more"] if len(told) > 5 else []
        trouble = "; ".join([*told[:5], *more])
        if trouble:
            return f"not all could be looked after: {trouble}. {self._story()}"
        return self._story()

    def _story(self) -> str:
        count = self._runtime.breaker.count()
        open_ones = [c for c in self._circuits if not _is_closed(c)]
        if not count:
            return "no circuit has been used yet"
        if not open_ones:
            return "1 circuit, closed" if count == 1 else f"{count} circuits, all closed"
        listed = "; ".join(f"{c.key} is {circuit_headline(c)}" for c in open_ones[:5])
        more = f"; … {len(open_ones) - 5} more" if len(open_ones) > 5 else ""
        return f"{len(open_ones)} of {count} circuits not closed: {listed}{more}"

    def _binding(self, key: CircuitKey) -> Binding | None:
        return self._bound.get((key.contract, key.asset))

    def _partition(self, binding: Binding, circuit: Circuit) -> str | None:
        if not self._graph.is_partitioned(binding.asset_key):
            return None
        if circuit.key.partition is not None:
            return circuit.key.partition
        # The partitions that are bad are the ones to try again, in their order; where time opened
        # the circuit it is the newest one.
        bad: list[str | None] = [partition.name for partition in circuit.bad_partitions]
        wanted = bad or [circuit.watermark_partition]
        return first_known(self._graph, self._instance, binding.asset_key, wanted)


def _is_closed(circuit: Circuit) -> bool:
    return circuit.effective_state is CircuitState.CLOSED


def _shown(circuit: Circuit, unhealed: Iterable[DegradedRead]) -> str:
    """What the check shows of a circuit, short enough for a cursor."""
    state = f"{circuit.generation}/{circuit.effective_state.value}"
    reasons = sorted({f"{r.consumer_text}: {r.unhealed_because}" for r in unhealed})
    if circuit.probe_blocked is not None and not _is_closed(circuit):
        reasons.append(circuit.probe_blocked)
    return f"{state}/{_digest(*reasons)}" if reasons else state


def _digest(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]


def _unknown(binding: Binding, key: CircuitKey, told: str) -> dg.AssetCheckEvaluation:
    """The check of a circuit that could not be looked after."""
    return dg.AssetCheckEvaluation(
        asset_key=binding.asset_key,
        check_name=CIRCUIT_CHECK,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"the sensor could not look after the circuit {key}: {told}",
        metadata={"contract": binding.contract.ref},
    )


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
