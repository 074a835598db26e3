"""The runs that build anew what was built on a fallback, and why some of them cannot be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.circuit import Circuit, CircuitKey, Override
from dagster_contracts.core.contract import HealMode
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.heal_sources import UnreadSources
from dagster_contracts.orchestration.launching import cannot_run
from dagster_contracts.orchestration.lineage import PartitionLineage
from dagster_contracts.orchestration.materialized import (
    known_partitions,
    materializations_since,
    was_stored,
)
from dagster_contracts.orchestration.reads import Reader
from dagster_contracts.orchestration.step import HEAL_TAG
from dagster_contracts.resilience.healing import HealRequest, Unread
from dagster_contracts.resilience.ledger import NOT_MADE, DegradedRead, Target

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

_LOG = logging.getLogger(__name__)

_CLOCKS = timedelta(minutes=10)
"""So far the clocks of the database and of a run's machine may be apart."""


class HealRuns:
    """What one tick asks for, and what it finds in the way.

    ``opened`` are the circuits that are not closed, ``probed`` the assets that a probe's run makes
    now, and ``location`` is the name of the code location, where it is known. ``troubled`` is told
    of a circuit that cannot be judged: what suffers from it waits, and nothing else does.
    """

    def __init__(
        self,
        runtime: ContractsRuntime,
        bindings: Bindings,
        graph: AssetGraph,
        instance: dg.DagsterInstance,
        reader: Reader,
        lineage: PartitionLineage,
        *,
        opened: Collection[CircuitKey],
        probed: Collection[str],
        location: str | None,
        troubled: Callable[[CircuitKey, Exception], None],
    ) -> None:
        self._runtime = runtime
        self._bindings = bindings
        self._graph = graph
        self._instance = instance
        self._reader = reader
        self._lineage = lineage
        self._opened = opened
        self._probed = probed
        self._location = location
        self._troubled = troubled
        self._routes: dict[CircuitKey, str | None] = {}
        self._circuits: dict[CircuitKey, Circuit] = {}

    def requests(self) -> Iterator[dg.RunRequest]:
        """Runs for what was built on a fallback whose circuit has closed."""
        self._follow_up()
        self._follow_pending()
        with known_partitions(self._instance):
            due = self._runtime.healing.due(
                lambda key: self._waits_for(key) is None,
                order=self._graph.order,
                only=self._is_ours,
                made_with=self._made_with,
                why_not=self._why_not,
                unread=self._unread,
            )
        for request in due:
            yield dg.RunRequest(
                run_key=request.run_key,
                asset_selection=self._made(request),
                partition_key=request.partition,
                tags={HEAL_TAG: ",".join(sorted({r.circuit.contract for r in request.reads}))},
            )

    def _follow_up(self) -> None:
        """Tell the healing which of its runs have begun and ended."""
        for request in self._runtime.healing.in_flight():
            records = self._instance.get_run_records(
                dg.RunsFilter(tags={"dagster/run_key": request.run_key}), limit=1
            )
            if not records:
                continue
            run = records[0].dagster_run
            if request.run_id is None:
                self._runtime.healing.started(request.run_key, run.run_id)
            if run.is_finished:
                self._runtime.healing.finished(request.run_key, succeeded=run.is_success)

    def _follow_pending(self) -> None:
        """Drop the reads of runs that ended without storing what they would have built.

        A run that nobody knows here any more counts as one that did store it.
        """
        pending = [r for r in self._runtime.ledger.open_reads() if r.pending]
        if not pending:
            return
        wanted = dg.RunsFilter(run_ids=sorted({read.run_id for read in pending}))
        runs = {run.run_id: run for run in self._instance.get_runs(wanted)}
        for read in pending:
            run = runs.get(read.run_id)
            if run is None and _key(read.consumer) not in self._graph.upstream:
                continue  # Another instance of Dagster may be building it.
            if run is not None and not run.is_finished:
                continue
            if run is not None and not self._stored(read):
                status = run.status.value.lower()
                told = f"run {run.run_id} ended as {status} and stored nothing of it"
                self._runtime.ledger.drop(read, told)
                continue
            self._runtime.ledger.renew(
                consumer=read.consumer,
                consumer_partition=read.consumer_partition,
                run_id=read.run_id,
            )

    def _stored(self, read: DegradedRead) -> bool:
        """Whether the run of a read has a materialization of its consumer that was not refused."""
        assert read.read_at is not None
        made = materializations_since(
            self._instance, _key(read.consumer), read.consumer_partition, read.read_at - _CLOCKS
        )
        return any(event.run_id == read.run_id and was_stored(event) for event in made)

    # ---- whose it is -----------------------------------------------------------------------------

    def _is_ours(self, consumer: str) -> bool:
        """Whether it is made here, or was: those of other code locations are left to these."""
        return _key(consumer) in self._graph.upstream or consumer in self._gone

    @cached_property
    def _reads(self) -> dict[Target, list[DegradedRead]]:
        found: dict[Target, list[DegradedRead]] = {}
        for read in self._runtime.ledger.open_reads():
            if read.pending:
                continue
            found.setdefault(read.target, []).append(read)
        return found

    @cached_property
    def _gone(self) -> frozenset[str]:
        """Consumers that this code location made once, and makes no more.

        The run that built one tells where that was; one without a place, where its upstream is.
        """
        strange = {
            read.consumer: read
            for reads in self._reads.values()
            for read in reads
            if _key(read.consumer) not in self._graph.upstream
        }
        if not strange:
            return frozenset()
        wanted = dg.RunsFilter(run_ids=sorted({read.run_id for read in strange.values()}))
        origins = {
            run.run_id: run.remote_job_origin.location_name
            for run in self._instance.get_runs(wanted)
            if run.remote_job_origin is not None
        }
        return frozenset(
            consumer
            for consumer, read in strange.items()
            if (
                origins[read.run_id] == self._location
                if read.run_id in origins
                else _key(read.upstream) in self._graph.upstream
            )
        )

    def _made_with(self, consumer: str, blamed: Collection[str]) -> list[str]:
        key = _key(consumer)
        if key not in self._graph.upstream:
            return []
        made = self._graph.made_with(key, [_key(name) for name in blamed])
        return [other.to_user_string() for other in made]

    def _made(self, request: HealRequest) -> list[dg.AssetKey]:
        return [_key(name) for name in (*request.beside, request.consumer)]

    # ---- what is in the way ----------------------------------------------------------------------

    def _why_not(self, request: HealRequest) -> str | None:
        """Why it cannot be built anew now; ``None`` too while all that it suffers from is open."""
        try:
            return self._in_the_way(request)
        except Exception as error:  # one consumer's trouble must not stop the others
            _LOG.exception("%s: whether it can be healed is not known", request.consumer)
            return f"{type(error).__name__}: {error}"

    def _unread(self, request: HealRequest) -> Unread | None:
        """What it would read that could not be read before, and whether that is to be tried now."""
        try:
            ready = not any(
                read.via and (read.via, read.upstream_partition) in self._reads
                for read in request.reads
            )
            return self._sources.unread(request, self._sources_of(request), ready=ready)
        except Exception as error:  # one consumer's trouble must not stop the others
            _LOG.exception("%s: whether its sources can be read is not known", request.consumer)
            return Unread(reason=f"{type(error).__name__}: {error}")

    def _sources_of(self, request: HealRequest) -> Iterator[Target]:
        for below, above in self._read_by(self._made(request)):
            name = above.to_user_string()
            if self._sources.known(name):
                for part in self._lineage.read(below, request.partition, above):
                    yield name, part

    @cached_property
    def _sources(self) -> UnreadSources:
        suffering = [read for reads in self._reads.values() for read in reads]
        trying = self._runtime.healing.in_flight()
        return UnreadSources(self._runtime, self._bindings, self._instance, suffering, trying)

    def _in_the_way(self, request: HealRequest) -> str | None:
        made = self._made(request)
        gone = [key.to_user_string() for key in made if key not in self._graph.upstream]
        if gone:
            return f"{', '.join(gone)} {NOT_MADE}"
        blamed = sorted({read.circuit for read in request.reads})
        if all(key in self._opened for key in blamed):
            return None  # Nothing to tell that the circuits do not tell themselves.
        for reason in map(self._waits_for, blamed):
            if reason is not None:
                return reason
        for read in request.reads:
            if self._is_suspect(read):
                return (
                    f"the last batch of {read.upstream} [{read.upstream_partition}] was bad; "
                    "materialize it again, or reset the circuit"
                )
        if request.consumer in self._probed:
            return "a probe's run is building it now"
        why_not = cannot_run(self._graph, self._instance, made, request.partition)
        return why_not or self._above(made, request.partition)

    def _is_suspect(self, read: DegradedRead) -> bool:
        """Whether the primary would only be healed from a partition that is bad itself."""
        key, partition = read.circuit, read.upstream_partition
        if partition is None or key.partition is not None or read.upstream != key.asset:
            return False
        if key not in self._circuits:
            self._circuits[key] = self._runtime.breaker.circuit(key)
        circuit = self._circuits[key]
        return circuit.is_suspect(partition) and circuit.override is not Override.FORCED_CLOSED

    def _waits_for(self, circuit: CircuitKey) -> str | None:
        """Why what suffers from a circuit is not to be built anew yet, or ever."""
        binding = self._bindings.protected.get((circuit.contract, circuit.asset))
        if binding is None:
            return (
                f"no contract {circuit.contract} with a `resilience` section governs "
                f"{circuit.asset} here any more"
            )
        reason = self._degrades(circuit, binding)
        resilience = binding.resilience
        if reason is None and resilience.heal is not HealMode.RUN:
            said = "false" if resilience.heal is HealMode.OFF else resilience.heal.value
            return f"the contract {circuit.contract} says `heal: {said}`"
        return reason

    def _degrades(self, circuit: CircuitKey, binding: Binding) -> str | None:
        """Why a run that reads the asset now would be served a fallback; asked once in a tick."""
        if circuit in self._opened:
            return f"the circuit {circuit} is not closed"
        if circuit not in self._routes:
            try:
                router = self._reader.router
                served = router.serves_primary(binding, circuit.partition, self._instance)
                told = f"consumers of {circuit} are served a fallback"
                self._routes[circuit] = None if served else told
            except Exception as error:  # one circuit's trouble must not stop the others
                self._troubled(circuit, error)
                self._routes[circuit] = f"{circuit} cannot be judged: {error}"
        return self._routes[circuit]

    def _above(self, made: Collection[dg.AssetKey], partition: str | None) -> str | None:
        """What a run would read now that is not good: it would only be built on a fallback again.

        The ledger blames what was degraded when the asset was built, and not what is so since.
        """
        for below, above in self._read_by(made):
            binding = self._bindings.get(above)
            if binding is not None and binding.protects:
                for circuit in self._circuits_read(binding, below, partition):
                    reason = self._degrades(circuit, binding)
                    if reason is not None:
                        return reason
            for target in self._parts_read(above, below, partition):
                if self._will_be_healed(target):
                    return f"{above.to_user_string()} is to be healed first"
        return None

    def _read_by(self, made: Collection[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, dg.AssetKey]]:
        """Each asset of a run with each that it reads and that the run does not make itself."""
        for below in sorted(made):
            for above in sorted(self._graph.upstream[below] - set(made)):
                yield below, above

    def _circuits_read(
        self, binding: Binding, below: dg.AssetKey, partition: str | None
    ) -> Iterable[CircuitKey]:
        """The circuits through which a partition of ``below`` reads, as far as they may degrade it.

        Of several closed ones only activation conditions can do that.
        """
        if binding.circuit_key("any").partition is None:
            return [binding.circuit_key()]
        read = {
            binding.circuit_key(part)
            for part in self._lineage.read(below, partition, binding.asset_key)
        }
        if len(read) == 1 or any(x.activation_conditions for x in binding.resilience.levels):
            return sorted(read)
        whole = CircuitKey(binding.contract.name, binding.asset)  # It may lend them an override.
        return sorted({whole, *read}.intersection(self._opened))

    def _parts_read(
        self, above: dg.AssetKey, below: dg.AssetKey, partition: str | None
    ) -> Iterable[Target]:
        """The degraded partitions of ``above`` that a partition of ``below`` reads."""
        asset = above.to_user_string()
        degraded = self._degraded.get(asset)
        if not degraded:
            return []
        read = degraded & self._lineage.read(below, partition, above)
        return [(asset, part) for part in sorted(read, key=str)]

    @cached_property
    def _degraded(self) -> dict[str, set[str | None]]:
        """The partitions of each asset that are to be healed."""
        found: dict[str, set[str | None]] = {}
        for consumer, partition in self._reads:
            found.setdefault(consumer, set()).add(partition)
        return found

    def _will_be_healed(self, target: Target) -> bool:
        """Whether a run is to be expected: one that nobody starts is not waited for."""
        consumer, partition = target
        if cannot_run(self._graph, self._instance, [_key(consumer)], partition) is not None:
            return False
        bound = self._bindings.protected
        blamed = [bound.get((r.circuit.contract, r.circuit.asset)) for r in self._reads[target]]
        return all(b is not None and b.resilience.heal is HealMode.RUN for b in blamed)


def _key(asset: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(asset)
