"""What the simulation asks of the package; and the pure core, with dictionaries for its store.

The dictionaries are a model of the store. :mod:`tests.soak.lockstep` holds it against the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from random import Random
from typing import Protocol

from dagster_contracts.core.circuit import (
    Alert,
    AlertTopic,
    Circuit,
    CircuitEvent,
    CircuitKey,
    CircuitState,
    Failed,
    Forced,
    Heal,
    Observed,
    Override,
    PartitionsGone,
    PolicyChanged,
    ProbeAsked,
    ProbeBlocked,
    Recovered,
    Reset,
    StateTransition,
    Ticked,
    UpstreamClosed,
    UpstreamOpened,
    advance,
    why_not_passed,
    would_open,
)
from dagster_contracts.core.circuit.present import standing_at
from dagster_contracts.core.condition import Truth, comparisons_of
from dagster_contracts.core.contract import Contract, HealMode
from dagster_contracts.resilience.healing import HealRequest, Target, plan_healing
from dagster_contracts.resilience.ledger import DegradedRead
from dagster_contracts.resilience.wake import clock_metrics, wake_after
from dagster_contracts.resilience.watched import policy_of, watched_metrics
from tests.soak.plan import PARTITIONS, per_cent
from tests.soak.truth import Batch, demand

# Every other topic tells of something else than a transition.
MOVES = frozenset(AlertTopic) - {AlertTopic.OVERRIDE, AlertTopic.UNKNOWN_METRIC}
Edge = tuple[CircuitKey, str, str | None, str | None]
Row = tuple[Edge, str | None]
"""An edge, and the run to which its row belongs while that has stored nothing."""
AT_A_TIME = 20
"""How many healing runs are under way at most."""


@dataclass(frozen=True)
class Outcome:
    """What a call did. Not ``applied``: nothing at all, because the database refused or somebody
    died before the end; ``died``: the caller is dead now, whatever was applied. ``explained`` are
    the open upstreams that the alert of each move names, ``heals`` how often healing was asked for.
    """

    moves: tuple[StateTransition, ...] = ()
    explained: tuple[tuple[str, ...], ...] = ()
    heals: int = 0
    refused: bool = False
    duplicate: bool = False
    granted: bool = False
    applied: bool = True
    died: bool = False


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as a run sends it in, and perhaps again."""

    id: str
    contract: Contract
    key: CircuitKey
    batch: Batch
    partition: str | None
    evaluated_at: datetime
    holder: str | None
    backfill: bool
    audited: bool


@dataclass(frozen=True)
class Failure:
    """A materialization that failed (``what``), or a primary that cannot be read.

    ``made`` is the partition of a materialization: those have an order, and one may be older than
    what was evaluated. Nobody asks how old a partition is that cannot be read.
    """

    contract: Contract
    key: CircuitKey
    what: str
    run_id: str
    partition: str | None
    holder: str | None
    backfill: bool = False
    made: bool = False

    @property
    def id(self) -> str:
        """By which it counts once."""
        return f"{self.what}:{self.run_id}:{self.key}"


class World(Protocol):
    """The clock of the database, the dice, and what each asset is built from, however far up."""

    now: datetime
    random: Random
    above: dict[str, set[str]]


class Services(Protocol):
    """Circuits, ledger, healing and the last valid batches."""

    def record(self, evaluation: Evaluation) -> Outcome: ...
    def failed(self, failure: Failure) -> Outcome: ...
    def recovered(self, contract: Contract, key: CircuitKey, what: str) -> Outcome: ...
    def tick(self, contract: Contract, key: CircuitKey) -> Outcome: ...
    def ask(
        self, contract: Contract, key: CircuitKey, holder: str, partition: str | None
    ) -> Outcome: ...
    def gone(self, contract: Contract, key: CircuitKey, partitions: Sequence[str]) -> Outcome: ...
    def block(self, contract: Contract, key: CircuitKey, reason: str) -> Outcome: ...
    def upstream(self, contract: Contract, key: CircuitKey, names: set[str]) -> Outcome: ...
    def force(
        self, contract: Contract | None, key: CircuitKey, kind: Override, until: datetime | None
    ) -> Outcome: ...
    def reset(self, contract: Contract | None, key: CircuitKey) -> Outcome: ...
    def circuit(self, key: CircuitKey) -> Circuit: ...
    def last_valid(self, asset: str, partition: str | None) -> tuple[int, datetime] | None: ...
    def position(self) -> int: ...
    def degrade(self, read: DegradedRead) -> Outcome: ...
    def inherit(self, consumer: Target, upstream: Target, run_id: str) -> Outcome: ...
    def drop(self, read: DegradedRead) -> Outcome: ...
    def renew(self, consumer: Target, run_id: str, *, anew: bool) -> Outcome: ...
    def settle(
        self, consumer: Target, run_id: str, good: Sequence[tuple[Target, int]]
    ) -> Outcome: ...
    def open_reads(self) -> Sequence[DegradedRead]: ...
    def heal(
        self, closed: Callable[[CircuitKey], bool], order: Sequence[str]
    ) -> Sequence[HealRequest]: ...
    def healed(self, request: HealRequest, *, succeeded: bool) -> None: ...
    def give_up(self) -> Sequence[HealRequest]: ...
    def deliver(self) -> None: ...
    def forget(self) -> None: ...
    def check(self, *, at_the_end: bool) -> None: ...


class PureServices:
    """The core alone: every event goes through :func:`advance`, and nothing is ever lost.

    A circuit is ticked only when :func:`wake_after` says that time has something to tell, as the
    service does it: too late a moment would be found out.
    """

    def __init__(self, world: World, *, jitter: Callable[[], float] | None = None) -> None:
        self._world = world
        self._jitter = jitter or world.random.random
        self._circuits: dict[CircuitKey, Circuit] = {}
        self._wake: dict[CircuitKey, datetime | None] = {}
        self._written: dict[CircuitKey, datetime] = {}
        self._seen: set[str] = set()
        self._alerts: set[str] = set()
        self._transitions = 0
        self.to_be_told: list[tuple[str, list[Target]]] = []
        self._kept: dict[tuple[str, str | None], tuple[int, datetime]] = {}
        self._ledger: dict[Target, dict[Row, tuple[int, DegradedRead]]] = {}
        self._ever: dict[Target, dict[Edge, tuple[int, DegradedRead]]] = {}
        self._of_run: dict[tuple[str, Target], dict[Edge, DegradedRead]] = {}
        self._position = 0
        self._attempts: dict[str, int] = {}
        self._flying: dict[str, HealRequest] = {}

    # -- circuits -------------------------------------------------------------------------------

    def record(self, evaluation: Evaluation) -> Outcome:
        contract, key, batch = evaluation.contract, evaluation.key, evaluation.batch
        bound = self._bind(contract, key)
        now = self._world.now
        metrics = {
            "schema_validation_errors": per_cent(batch.broken),
            "data_freshness": per_cent(0),
            "failed_materializations": per_cent(0),
            "source_unavailable": per_cent(0),
        }
        watched = watched_metrics(contract)
        event = Observed(
            evaluation_id=evaluation.id,
            metrics={name: value for name, value in metrics.items() if name in watched},
            event_time=batch.event_time,
            partition=evaluation.partition,
            backfill=evaluation.backfill,
            lease_holder=evaluation.holder,
            arrived=True,
        )
        assert contract.resilience is not None
        policy = contract.resilience.circuit
        decision = would_open(self.circuit(key), event, policy=policy, now=now)
        refused = decision.truth is Truth.TRUE
        not_passed = why_not_passed(self.circuit(key), event, policy=policy, now=now)
        if evaluation.id in self._seen:
            return replace(bound, duplicate=True, refused=refused)
        self._seen.add(evaluation.id)
        done = _both(bound, self._advance(contract, key, event))
        if not refused and not_passed is None:
            limit = comparisons_of(policy.open_when[0])[0].quantity.value
            within = batch.broken is None or per_cent(batch.broken) <= limit
            demand(within, f"a batch with {batch.broken}% of broken rows is kept as valid")
            self._kept[key.asset, evaluation.partition] = (batch.number, now)
        return replace(done, refused=refused)

    def failed(self, failure: Failure) -> Outcome:
        contract, key = failure.contract, failure.key
        bound = self._bind(contract, key)
        if failure.id in self._seen:
            return replace(bound, duplicate=True)
        self._seen.add(failure.id)
        circuit = self.circuit(key)
        late = failed_late(failure, circuit.watermark_partition)
        probe = circuit.lease is not None and circuit.lease.holder == failure.holder
        count = circuit.in_a_row(failure.what) + (probe or not late)
        event = Failed(
            evaluation_id=failure.id,
            what=failure.what,
            metric=failure.what,
            late="of older data" if late else None,
            metrics={
                **clock_metrics(self.circuit(key), contract, self._world.now),
                failure.what: Fraction(count),
            },
            partition=failure.partition,
            lease_holder=failure.holder,
        )
        return _both(bound, self._advance(contract, key, event))

    def recovered(self, contract: Contract, key: CircuitKey, what: str) -> Outcome:
        bound = self._bind(contract, key)
        metrics = clock_metrics(self.circuit(key), contract, self._world.now)
        event = Recovered(metric=what, metrics={**metrics, what: Fraction(0)})
        return _both(bound, self._advance(contract, key, event))

    def tick(self, contract: Contract, key: CircuitKey) -> Outcome:
        known = self._circuits.get(key)
        if known is None:
            return Outcome()
        wake, now = self._wake[key], self._world.now
        due = wake is not None and wake <= now
        # A wait keeps its length where the clock is set back, so somebody must look at it.
        due = due or (known.state is not CircuitState.CLOSED and self._written[key] > now)
        if not due and known.policy_hash == contract.semantic_hash:
            return Outcome()
        bound = self._bind(contract, key)
        metrics = clock_metrics(self.circuit(key), contract, self._world.now)
        return _both(bound, self._advance(contract, key, Ticked(metrics=metrics)))

    def ask(
        self, contract: Contract, key: CircuitKey, holder: str, partition: str | None
    ) -> Outcome:
        bound = self._bind(contract, key)
        metrics = clock_metrics(self.circuit(key), contract, self._world.now)
        done = _both(bound, self._advance(contract, key, Ticked(metrics=metrics)))
        asked = self._advance(contract, key, ProbeAsked(holder=holder, partition=partition))
        lease = self.circuit(key).lease
        return replace(_both(done, asked), granted=lease is not None and lease.holder == holder)

    def gone(self, contract: Contract, key: CircuitKey, partitions: Sequence[str]) -> Outcome:
        bound = self._bind(contract, key)
        return _both(
            bound, self._advance(contract, key, PartitionsGone(partitions=tuple(partitions)))
        )

    def block(self, contract: Contract, key: CircuitKey, reason: str) -> Outcome:
        bound = self._bind(contract, key)
        return _both(bound, self._advance(contract, key, ProbeBlocked(reason=reason)))

    def upstream(self, contract: Contract, key: CircuitKey, names: set[str]) -> Outcome:
        known = set(self.circuit(key).upstream)
        if known == names:
            return Outcome()
        done = self._bind(contract, key)
        for name in sorted(names - known):
            done = _both(done, self._advance(contract, key, UpstreamOpened(upstream=name)))
        for name in sorted(known - names):
            done = _both(done, self._advance(contract, key, UpstreamClosed(upstream=name)))
        return done

    def force(
        self, contract: Contract | None, key: CircuitKey, kind: Override, until: datetime | None
    ) -> Outcome:
        bound = self._bind(contract, key) if contract else Outcome()
        event = Forced(override=kind, actor="ann", reason="because", until=until)
        return _both(bound, self._advance(contract, key, event))

    def reset(self, contract: Contract | None, key: CircuitKey) -> Outcome:
        bound = self._bind(contract, key) if contract else Outcome()
        return _both(bound, self._advance(contract, key, Reset(actor="ann", reason="because")))

    def circuit(self, key: CircuitKey) -> Circuit:
        return standing_at(self._circuits.get(key) or Circuit(key=key), self._world.now)

    def last_valid(self, asset: str, partition: str | None) -> tuple[int, datetime] | None:
        return self._kept.get((asset, partition))

    def _bind(self, contract: Contract, key: CircuitKey) -> Outcome:
        if self.circuit(key).policy_hash == contract.semantic_hash:
            return Outcome()
        return self._advance(contract, key, PolicyChanged(policy_hash=contract.semantic_hash))

    def _advance(self, contract: Contract | None, key: CircuitKey, event: CircuitEvent) -> Outcome:
        before = self._circuits.get(key) or Circuit(key=key)
        now = self._world.now
        policy = None if contract is None else policy_of(contract)
        step = advance(before, event, policy=policy, now=now, random=self._jitter())
        self._circuits[key] = step.circuit
        self._wake[key] = now if contract is None else wake_after(event, step, contract, now)
        self._written[key] = now
        told = {e.generation: e for e in step.effects if isinstance(e, Alert) and e.topic in MOVES}
        explained = []
        for move in step.transitions:
            alert = told.pop(move.generation, None)
            demand(alert is not None, f"no alert for {move}")
            assert alert is not None
            demand(alert.dedupe_key not in self._alerts, f"two alerts for {move}")
            self._alerts.add(alert.dedupe_key)
            explained.append(alert.explained_by)
            self._transitions += 1
        demand(not told, f"an alert without a transition: {told}")
        circuit = step.circuit
        demand(circuit.generation == before.generation + len(step.transitions), "generations")
        if policy is not None:
            demand(circuit.attempts <= policy.recovery.max_retries, f"attempts: {circuit.attempts}")
        heals = [effect for effect in step.effects if isinstance(effect, Heal)]
        for heal in heals:
            self._tell_who_waits(contract, heal)
        return Outcome(step.transitions, tuple(explained), len(heals))

    def _tell_who_waits(self, contract: Contract | None, heal: Heal) -> None:
        """Under ``heal: notify`` a person is told once of what stands on a fallback."""
        resilience = contract.resilience if contract else None
        if resilience is None or resilience.heal is not HealMode.NOTIFY:
            return
        waiting = {
            target
            for target, mine in self._ledger.items()
            if any(edge[0] == heal.key and run is None for edge, run in mine)
        }
        if waiting:
            self.to_be_told.append((f"{heal.dedupe_key}:notify", sorted(waiting, key=str)))

    # -- the ledger -----------------------------------------------------------------------------

    def position(self) -> int:
        return self._position

    def degrade(self, read: DegradedRead, *, anew: bool = False) -> Outcome:
        mine = self._ledger.setdefault((read.consumer, read.consumer_partition), {})
        edge = (read.circuit, read.upstream, read.upstream_partition, read.via)
        since = self._world.now
        for row, (_, older) in mine.items():
            if row[0] != edge:
                continue
            if not anew and _says(read) == _says(older):
                return Outcome()
            if older.generation == read.generation:
                since = min(since, older.since or since)
        self._position += 1
        written = replace(read, since=since)
        mine.pop((edge, read.run_id), None)
        mine[edge, read.run_id if read.pending else None] = (self._position, written)
        target = (read.consumer, read.consumer_partition)
        self._ever.setdefault(target, {})[edge] = (self._position, written)
        self._of_run.setdefault((read.run_id, target), {})[edge] = read
        return Outcome()

    def inherit(self, consumer: Target, upstream: Target, run_id: str) -> Outcome:
        return Outcome(granted=self._inherit(consumer, upstream, run_id, since=None, pending=True))

    def _inherit(
        self,
        consumer: Target,
        upstream: Target,
        run_id: str,
        *,
        since: int | None,
        pending: bool = False,
    ) -> bool:
        """Mark the consumer by what is open; or, settled or not, by what was written since."""
        rows = self._ledger if since is None else self._ever
        found = [
            (number, read)
            for partition in ((None, *PARTITIONS) if upstream[1] is None else (upstream[1],))
            for number, read in rows.get((upstream[0], partition), {}).values()
            if since is None or number > since
        ]
        if not found:
            return False
        found.sort(key=lambda one: one[0])
        marks = {(read.circuit, read.consumer_partition): read for _, read in found}
        for read in marks.values():
            self.degrade(
                DegradedRead(
                    circuit=read.circuit,
                    consumer=consumer[0],
                    consumer_partition=consumer[1],
                    upstream=upstream[0],
                    upstream_partition=read.consumer_partition,
                    level=read.level,
                    source=read.source,
                    reason=f"{upstream[0]} was itself built from {read.source}",
                    run_id=run_id,
                    generation=read.generation,
                    via=upstream[0],
                    pending=pending,
                )
            )
        return bool(marks)

    def drop(self, read: DegradedRead) -> Outcome:
        mine = self._ledger[read.consumer, read.consumer_partition]
        edge = (read.circuit, read.upstream, read.upstream_partition, read.via)
        return Outcome(granted=mine.pop((edge, read.run_id), None) is not None)

    def renew(self, consumer: Target, run_id: str, *, anew: bool) -> Outcome:
        mine = self._ledger.get(consumer, {})
        for edge, read in self._of_run.get((run_id, consumer), {}).items():
            stored = mine.get((edge, None))
            # Open is what this run stored last, or what another has written over it.
            open_still = stored is not None and stored[1].run_id == run_id
            if anew or (edge, run_id) in mine or not open_still:
                self.degrade(replace(read, pending=False), anew=True)
        return Outcome()

    def settle(self, consumer: Target, run_id: str, good: Sequence[tuple[Target, int]]) -> Outcome:
        for upstream, position in good:
            if not self.inherit_since(consumer, upstream, run_id, position):
                self.close(consumer, upstream, run_id, position)
        self._of_run.pop((run_id, consumer), None)
        return Outcome()

    def inherit_since(self, consumer: Target, upstream: Target, run_id: str, since: int) -> bool:
        """Mark the consumer by what became degraded while its input was being loaded."""
        return self._inherit(consumer, upstream, run_id, since=since)

    def close(self, consumer: Target, upstream: Target, run_id: str, position: int) -> None:
        """Close the marks of one input that was read from good data at that position.

        What another run is about to store is none of its business.
        """
        mine = self._ledger.get(consumer, {})
        for row, (number, read) in list(mine.items()):
            same = (read.upstream, upstream[1]) == (upstream[0], read.upstream_partition)
            whole = upstream[1] is None and read.upstream == upstream[0]
            if (same or whole) and number <= position and row[1] in (None, run_id):
                del mine[row]

    def open_reads(self) -> Sequence[DegradedRead]:
        return [read for mine in self._ledger.values() for _, read in mine.values()]

    # -- healing --------------------------------------------------------------------------------

    def heal(
        self, closed: Callable[[CircuitKey], bool], order: Sequence[str]
    ) -> Sequence[HealRequest]:
        found = self.open_reads()
        planned = plan_healing(
            [read for read in found if not read.pending],
            closed=closed,
            held={read.target for read in found if read.pending},
            in_flight={(r.consumer, r.partition) for r in self._flying.values()},
            order=order,
            limit=AT_A_TIME,
            attempts=self._attempts,
        )
        targets = [(request.consumer, request.partition) for request in planned]
        demand(len(set(targets)) == len(targets), "a consumer is healed twice at a time")
        demand(len(self._flying) + len(planned) <= AT_A_TIME, "too many healing runs at a time")
        for request in planned:
            self._flying[request.run_key] = request
            self._attempts[request.cause] = request.attempt
        return planned

    def healed(self, request: HealRequest, *, succeeded: bool) -> None:
        self._flying.pop(request.run_key, None)

    def give_up(self) -> Sequence[HealRequest]:
        everything = plan_healing(
            [read for read in self.open_reads() if not read.pending],
            closed=lambda key: True,
            limit=10**9,
            attempts=self._attempts,
            max_attempts=10**9,
        )
        return [request for request in everything if request.attempt > 3]

    def deliver(self) -> None:
        """Its alerts are counted where they arise."""

    def forget(self) -> None:
        """A model need not forget: whether the store did shows where they stand side by side."""

    def check(self, *, at_the_end: bool) -> None:
        total = sum(circuit.generation for circuit in self._circuits.values())
        demand(total == self._transitions == len(self._alerts), "transitions and alerts differ")
        for circuit in self._circuits.values():
            lease = circuit.lease
            if lease is not None:
                demand(circuit.state is CircuitState.HALF_OPEN, f"a lease while {circuit.state}")
                demand(lease.generation == circuit.generation, "a lease of another generation")
        if at_the_end:
            demand(not self._flying, "a healing run never ended")


def failed_late(failure: Failure, newest: str | None) -> bool:
    """Whether a failure is of older data than the circuit of a whole asset has seen."""
    if failure.key.partition is not None:
        return False
    older = failure.made and None not in (failure.partition, newest)
    if older and PARTITIONS.index(str(failure.partition)) > PARTITIONS.index(str(newest)):
        return True
    return failure.backfill


def _both(first: Outcome, then: Outcome) -> Outcome:
    """What two steps did together."""
    return Outcome(
        first.moves + then.moves, first.explained + then.explained, first.heals + then.heals
    )


def _says(read: DegradedRead) -> tuple[str, ...]:
    """What a row of the ledger says of its edge, beside when."""
    return (read.level, read.source, read.reason, read.run_id)
