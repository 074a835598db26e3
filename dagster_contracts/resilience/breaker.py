"""The circuit breaker as a service: load, advance, write guarded, in one transaction.

:mod:`dagster_contracts.core.circuit` decides; here its decisions become durable and count once.
"""

from __future__ import annotations

import random as random_module
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitEvent,
    CircuitKey,
    Dismissed,
    Failed,
    Forced,
    Lease,
    Override,
    PartitionsGone,
    ProbeAsked,
    ProbeBlocked,
    Recovered,
    Reset,
    UpstreamClosed,
    UpstreamOpened,
    is_probe,
)
from dagster_contracts.core.condition import Decision, Truth
from dagster_contracts.core.contract import CircuitScope, Contract
from dagster_contracts.core.metrics import REFUSED
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.audit import (
    as_reported,
    audit,
    observed,
    why_failure_is_late,
    why_unserved,
)
from dagster_contracts.resilience.circuit_rows import (
    Troubled,
    bound_policies,
    count_circuits,
    due_circuits,
    read_circuits,
)
from dagster_contracts.resilience.commands import OperatorCommands
from dagster_contracts.resilience.event_rows import (
    forget_events,
    read_history,
    replay_events,
    touched_circuits,
)
from dagster_contracts.resilience.held_circuit import CircuitTransactions
from dagster_contracts.resilience.history import HistoryEntry
from dagster_contracts.resilience.measured import Remembered, report_metrics
from dagster_contracts.resilience.observations import (
    forget_observations,
    newer_report,
    record_failure,
    record_report,
)
from dagster_contracts.resilience.standing import Standing, read_standing
from dagster_contracts.resilience.verdict import BreakerVerdict
from dagster_contracts.resilience.watched import policy_of
from dagster_contracts.resilience.whole_asset import seen_circuit, seen_circuits
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox


def circuit_key(contract: Contract, asset: str, partition: str | None = None) -> CircuitKey:
    """The circuit that an asset and partition belong to, by the scope of the contract."""
    policy = policy_of(contract)
    scoped = partition if policy.scope is CircuitScope.PARTITION else None
    return CircuitKey(contract.name, asset, scoped)


class CircuitBreaker:
    """All circuits of one store."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime] | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        random: Callable[[], float] = random_module.random,
        checkpoint: Checkpoint = pass_by,
        remembered: Remembered | None = None,
        governs: Callable[[CircuitKey], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._checkpoint = checkpoint
        self._transactions = CircuitTransactions(
            store=store,
            outbox=Outbox(store),
            clock=clock,
            random=random,
            checkpoint=checkpoint,
            remembered=remembered,
        )
        self._operators = OperatorCommands(self._transactions, governs)

    # ---- evaluations -----------------------------------------------------------------------------

    def record(
        self,
        contract: Contract,
        report: ContractReport,
        *,
        key: CircuitKey,
        run_id: str | None = None,
        backfill: bool = False,
        probe_holder: str | None = None,
        partition_time: datetime | None = None,
        reported: str | None = None,
        also: Callable[[sa.Connection], None] | None = None,
    ) -> BreakerVerdict:
        """Count one evaluation, in one transaction; a second time it changes nothing.

        ``partition_time`` is when the circuit's own partition begins, where partitions have an
        order: conditions on freshness, latency and volume are asked of the newest one only.

        ``reported`` is the metric that somebody else reported, read only now: such a result is
        ordered by its own time, among those of the same metric. All others are ordered as they
        arrive here, because the clocks of machines differ.

        ``also`` (a snapshot's row, for one) runs in the same transaction where the batch has
        passed: it is not refused, and not merely tolerated by patience, an override or the mode.
        """
        with self._transactions.holding(key, contract, partition_time=partition_time) as held:
            conn, circuit, now = held.conn, held.circuit, held.now
            metrics = report_metrics(conn, contract, report)
            event = observed(contract, report, metrics, backfill, probe_holder)
            if reported is not None:
                newer = newer_report(conn, report, key, reported)
                event = as_reported(event, contract, report, newer, now)
            decision = audit(contract, report, circuit, event, now)
            refused = decision.truth is Truth.TRUE
            not_passed = why_unserved(contract, circuit, event, decision, now)
            seen = {**metrics, REFUSED: Fraction(refused)}
            if not record_report(
                conn, key, report, seen, run_id=run_id, backfill=backfill, now=now
            ):
                return BreakerVerdict(
                    circuit=circuit,
                    refused=refused,
                    not_passed=not_passed,
                    explanation=f"evaluation {report.evaluation_id} was counted before",
                    duplicate=True,
                )
            self._checkpoint("breaker.observed")
            verdict = held.apply(
                ("recorded", event), run_id=run_id, evaluation_id=report.evaluation_id
            )
            if also is not None and not_passed is None:
                also(conn)
        return replace(
            verdict,
            refused=refused,
            not_passed=not_passed,
            explanation=verdict.explanation or decision.explanation,
        )

    def would_open(
        self,
        contract: Contract,
        report: ContractReport,
        key: CircuitKey,
        *,
        backfill: bool = False,
        probe_holder: str | None = None,
    ) -> Decision:
        """Whether this report's batch must be refused; nothing is written.

        TRUE where it makes ``open_when`` true, or, under a contract without ``resilience``, where a
        rule of severity error failed.
        """
        with self._store.read() as conn:
            now = self._transactions.now(conn)
            circuit = seen_circuit(conn, key, self._transactions.now)
            metrics = report_metrics(conn, contract, report)
        event = observed(contract, report, metrics, backfill, probe_holder)
        return audit(contract, report, circuit, event, now)

    def observe_failure(
        self,
        contract: Contract,
        key: CircuitKey,
        *,
        run_id: str | None,
        what: str,
        explanation: str = "",
        partition: str | None = None,
        evaluation_id: str | None = None,
        probe_holder: str | None = None,
        backfill: bool = False,
        began: Callable[[str | None], datetime | None] | None = None,
    ) -> BreakerVerdict:
        """Count a materialization of ``partition`` that failed, or a primary that cannot be read.

        ``what`` is ``failed_materializations`` or ``source_unavailable``; the metric counts them in
        a row. The same run counts once, unless it gives ``evaluation_id`` of its own.

        A failure of a ``backfill``, or of a partition that begins before the newest one that was
        evaluated, is recorded as late and changes nothing; ``began`` tells when a partition begins.
        """
        identity = evaluation_id or (f"{what}:{run_id}:{key}" if run_id else self._new_id())
        with self._transactions.holding(key, contract) as held:
            circuit = held.circuit
            late = why_failure_is_late(circuit, partition, backfill=backfill, began=began)
            counts = late is None or is_probe(circuit, probe_holder)
            count = Fraction(circuit.in_a_row(what) + counts)
            if not record_failure(
                held.conn,
                key,
                contract,
                evaluation_id=identity,
                what=what,
                count=count,
                explanation=explanation,
                partition=partition,
                run_id=run_id,
                late=not counts,
                now=held.now,
            ):
                return BreakerVerdict(
                    circuit=circuit,
                    explanation=f"{what} of run {run_id} was counted before",
                    duplicate=True,
                )
            event = Failed(
                evaluation_id=identity,
                what=explanation or what,
                metric=what,
                late=late,
                metrics={**held.ticking(contract), what: count},
                partition=partition,
                lease_holder=probe_holder,
            )
            self._checkpoint("breaker.observed")
            return held.apply(("failed", event), run_id=run_id, evaluation_id=identity)

    def observe_recovery(self, contract: Contract, key: CircuitKey, what: str) -> BreakerVerdict:
        """What ``what`` counts went well: its failures are no longer in a row.

        Ask the circuit first whether there are any, and spare the transaction.
        """
        with self._transactions.holding(key, contract) as held:
            metrics = {**held.ticking(contract), what: Fraction(0)}
            return held.apply(("recovered", Recovered(metric=what, metrics=metrics)))

    # ---- time ------------------------------------------------------------------------------------

    def tick(self, contract: Contract, key: CircuitKey) -> BreakerVerdict:
        """Let time pass: what grows old by itself is measured, and the circuit advanced.

        Costs one indexed query while time has nothing to say.
        """
        found, asleep = self._standing(contract, key, key.partition)
        if asleep:
            return BreakerVerdict(circuit=found.circuit)
        with self._transactions.holding(key, contract) as held:
            return held.apply(held.ticked(contract))

    def standing(
        self, contract: Contract, key: CircuitKey, *, partition: str | None = None
    ) -> Standing:
        """:meth:`tick`, and what else a read of ``partition`` asks before it is routed.

        One indexed query while time has nothing to say.
        """
        found, asleep = self._standing(contract, key, partition)
        if not asleep:
            self.tick(contract, key)
            found, _ = self._standing(contract, key, partition)
        return found

    def _standing(
        self, contract: Contract, key: CircuitKey, partition: str | None
    ) -> tuple[Standing, bool]:
        return read_standing(self._store, contract, key, partition, clock=self._clock)

    def tick_all(
        self,
        contracts: Iterable[tuple[Contract, CircuitKey]],
        *,
        troubled: Troubled | None = None,
    ) -> list[BreakerVerdict]:
        """Tick those circuits whose time has come or whose contract was edited; their verdicts.

        All the others cost two queries together, however many they are. What goes wrong with one
        circuit is raised, or with ``troubled`` is told there and keeps none of the others.
        """
        due = self.due()
        with self._store.read() as conn:
            bound = bound_policies(conn)
        verdicts = []
        for contract, key in contracts:
            if key in due or bound.get(contract.name, set()) - {contract.semantic_hash}:
                try:
                    verdicts.append(self.tick(contract, key))
                except Exception as error:
                    if troubled is None:
                        raise
                    troubled(key, error)
        return verdicts

    def due(self) -> frozenset[CircuitKey]:
        """The circuits to which time has something to tell: one query on an index."""
        with self._store.read() as conn:
            return due_circuits(conn, self._transactions.now(conn))

    def touched(self, since: datetime) -> dict[CircuitKey, bool]:
        """The circuits that anything happened to since a moment, and whether their state changed.

        One query on an index. Take the moment a little early: who began before it may have
        committed after.
        """
        with self._store.read() as conn:
            return touched_circuits(conn, since)

    def count(self) -> int:
        """How many circuits there are."""
        with self._store.read() as conn:
            return count_circuits(conn)

    def ask_probe(
        self, contract: Contract, key: CircuitKey, holder: str, *, partition: str | None = None
    ) -> Lease | None:
        """The probe lease, or ``None`` where somebody else holds it or no probe is due.

        ``partition`` is what the probe will make; another than is to be probed next is refused.
        """
        if not holder.strip():
            raise PolicyError("a probe needs the name of its holder")
        with self._transactions.holding(key, contract) as held:
            asked = ProbeAsked(holder=holder, partition=partition)
            verdict = held.apply(held.ticked(contract), ("probe_asked", asked))
        lease = verdict.circuit.lease
        return lease if lease is not None and lease.holder == holder else None

    def forget_gone(
        self, contract: Contract, key: CircuitKey, partitions: Iterable[str]
    ) -> Circuit:
        """Wait no longer for ``partitions``, which do not exist any more; the history says so."""
        gone = PartitionsGone(partitions=tuple(partitions))
        with self._transactions.holding(key, contract) as held:
            return held.apply(("partitions_gone", gone)).circuit

    def block_probe(self, contract: Contract, key: CircuitKey, reason: str) -> Circuit:
        """Write down once why no probe can be started; a lease is given back, no retry is spent.

        Costs one query while that is known already.
        """
        known = self.circuit(key)
        if known.probe_blocked == reason and known.lease is None:
            return known
        with self._transactions.holding(key, contract) as held:
            return held.apply(("probe_blocked", ProbeBlocked(reason=reason))).circuit

    def set_upstream(
        self, contract: Contract, key: CircuitKey, open_circuits: Iterable[str]
    ) -> BreakerVerdict:
        """Which upstream circuits are open now: they explain what is wrong with this one.

        Costs one query while that is known already.
        """
        wanted = set(open_circuits)
        circuit = self.circuit(key)
        if wanted == set(circuit.upstream):
            return BreakerVerdict(circuit=circuit)
        with self._transactions.holding(key, contract) as held:
            known = set(held.circuit.upstream)
            events: list[tuple[str, CircuitEvent]] = [
                *(("upstream", UpstreamOpened(upstream=n)) for n in sorted(wanted - known)),
                *(("upstream", UpstreamClosed(upstream=n)) for n in sorted(known - wanted)),
            ]
            return held.apply(*events) if events else BreakerVerdict(circuit=held.circuit)

    # ---- operators -------------------------------------------------------------------------------

    def force(
        self,
        key: CircuitKey,
        override: Override,
        *,
        actor: str,
        reason: str,
        until: datetime | None = None,
        contract: Contract | None = None,
    ) -> BreakerVerdict:
        """Set an override, or lift it with ``Override.NONE``; audited.

        One of the whole asset is obeyed by every partition that has none of its own, those that
        come later among them. ``PolicyError`` for a circuit that no consumer would ask: of a
        contract or an asset that is not known, or of a partition where the asset has one for all.

        ``PolicyError`` without an actor or a reason, or with an end that is past or has no zone.
        """
        event = Forced(override=override, actor=actor, reason=reason, until=until)
        return self._operators.force(key, event, contract)

    def reset(
        self,
        key: CircuitKey,
        *,
        actor: str,
        reason: str,
        contract: Contract | None = None,
        unless: Callable[[sa.Connection], bool] | None = None,
    ) -> BreakerVerdict:
        """Close the circuit by hand; audited. ``PolicyError`` without an actor or a reason.

        Of a whole asset every partition that has a circuit is closed and freed with it; the verdict
        is the whole asset's, :meth:`reset_all` tells of each.

        ``unless`` runs first in the same transaction; where it is true the circuit stays as it is.
        """
        verdicts = self.reset_all(key, actor=actor, reason=reason, contract=contract, unless=unless)
        mine = (verdict for verdict in verdicts if verdict.circuit.key == key)
        return next(mine, None) or BreakerVerdict(circuit=self.circuit(key))

    def reset_all(
        self,
        key: CircuitKey,
        *,
        actor: str,
        reason: str,
        contract: Contract | None = None,
        unless: Callable[[sa.Connection], bool] | None = None,
    ) -> list[BreakerVerdict]:
        """:meth:`reset`, in one transaction; what it did to each circuit, the whole asset's first.

        The whole asset's own is left out where only partitions have ever been used.
        """
        return self._operators.reset(key, Reset(actor=actor, reason=reason), contract, unless)

    def dismiss(self, key: CircuitKey, *, actor: str, reason: str) -> Circuit:
        """Say that nobody asks a circuit any more: it sleeps until something happens; audited.

        ``PolicyError`` without an actor or a reason, for one that does not exist, and for one that
        consumers do ask.
        """
        return self._operators.dismiss(key, Dismissed(actor=actor, reason=reason))

    # ---- reading ---------------------------------------------------------------------------------

    def circuit(self, key: CircuitKey) -> Circuit:
        """The circuit as it stands now; a closed one where nothing was ever recorded.

        An override whose time is over has ended, although nothing has asked the circuit since.
        """
        with self._store.read() as conn:
            return seen_circuit(conn, key, self._transactions.now)

    def circuits(
        self,
        keys: Iterable[CircuitKey] | None = None,
        *,
        troubled: Troubled | None = None,
        as_written: bool = False,
    ) -> list[Circuit]:
        """Every circuit that anything happened to, or those of ``keys``, ordered by key.

        As they stand now, or ``as_written``: then an override whose time is over is there until
        something asks the circuit. A row that cannot be read is raised, or with ``troubled`` is
        told there and left out.
        """
        with self._store.read() as conn:
            found = read_circuits(conn, keys, troubled=troubled)
            return seen_circuits(conn, found, self._transactions.now, as_written=as_written)

    def circuits_of(
        self,
        contracts: Iterable[str],
        *,
        troubled: Troubled | None = None,
        as_written: bool = False,
    ) -> list[Circuit]:
        """Every circuit of these contracts, ordered by key; the rest as in :meth:`circuits`."""
        with self._store.read() as conn:
            found = read_circuits(conn, contracts=contracts, troubled=troubled)
            return seen_circuits(conn, found, self._transactions.now, as_written=as_written)

    def history(
        self, key: CircuitKey | None = None, limit: int = 50, *, transitions_only: bool = False
    ) -> list[HistoryEntry]:
        """What happened, newest first."""
        with self._store.read() as conn:
            return read_history(conn, key, limit, transitions_only=transitions_only)

    def replay(self, key: CircuitKey) -> Circuit | None:
        """The circuit rebuilt from its events alone: equal to its row at any time.

        :meth:`circuit` also knows of an override of the whole asset that no event of this partition
        has met yet.
        """
        with self._store.read() as conn:
            stored = replay_events(conn, key)
        return stored.circuit if stored else None

    def prune(self, *, events: timedelta, observations: timedelta) -> tuple[int, int]:
        """Forget events and observations that are older; how many of each.

        The last of the old events of each circuit stays as the sum of those before it.
        """
        with self._store.begin() as conn:
            now = self._transactions.now(conn)
            gone = (
                forget_events(conn, now - events),
                forget_observations(conn, now - observations),
            )
            self._checkpoint("breaker.pruned")
        return gone
