"""The circuit breaker as a service: load, advance, write guarded, in one transaction.

:mod:`dagster_contracts.core.circuit` decides; here its decisions become durable and count once.
"""

from __future__ import annotations

import random as random_module
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitEvent,
    CircuitKey,
    CircuitState,
    Dismissed,
    Effect,
    Failed,
    Forced,
    Heal,
    Inherited,
    Lease,
    Note,
    Observed,
    Override,
    PartitionsGone,
    Placed,
    PolicyChanged,
    ProbeAsked,
    ProbeBlocked,
    Recovered,
    Reset,
    StateTransition,
    Step,
    Ticked,
    UpstreamClosed,
    UpstreamOpened,
    advance,
    circuit_from_json,
    in_words,
    inherited_from,
    is_probe,
    obeys,
    of_newest,
    why_not_passed,
)
from dagster_contracts.core.circuit import would_open as judge
from dagster_contracts.core.condition import Decision, Truth
from dagster_contracts.core.contract import (
    CircuitScope,
    Contract,
    Severity,
)
from dagster_contracts.core.metrics import OF_LIFE, REFUSED, needs_asset_history
from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.core.service_levels import life_metrics
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.circuit_rows import (
    StoredCircuit,
    Troubled,
    as_obeyed,
    forget_events,
    has_newer,
    lock_circuit,
    named,
    of_asset,
    of_named,
    parts_of,
    read_circuit,
    read_circuits,
    read_history,
    read_overridden,
    read_whole,
    replay_events,
    wake_partitions,
    write_step,
)
from dagster_contracts.resilience.governed import Governed, require_circuit
from dagster_contracts.resilience.history import HistoryEntry
from dagster_contracts.resilience.notices import send_effects
from dagster_contracts.resilience.observations import (
    forget_observations,
    newer_report,
    record_failure,
    record_report,
)
from dagster_contracts.resilience.operator import require_operator
from dagster_contracts.resilience.wake import (
    AGE,
    FRESHNESS,
    REPORTS,
    clock_metrics,
    wake_after,
)
from dagster_contracts.resilience.watched import policy_of, watched_metrics
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.tables import (
    circuit_events,
    circuits,
    degraded_reads,
    feedback,
)

FAILED = "failed_materializations"
UNAVAILABLE = "source_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerVerdict:
    """What an event did to a circuit.

    ``refused``: the batch must not be published. ``not_passed`` says why it must not be served as
    the last valid one, be it published or not. ``duplicate``: the evaluation had been counted
    before, and nothing was written. ``effects`` are what the circuit asks for; alerts and heal
    requests among them are in the outbox already.
    """

    circuit: Circuit
    transitions: tuple[StateTransition, ...] = ()
    refused: bool = False
    not_passed: str | None = None
    explanation: str = ""
    duplicate: bool = False
    notes: tuple[Note, ...] = ()
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that a read of an asset must know before it is routed, of one moment.

    ``position`` is where the ledger of degraded reads stands; ``degraded`` says that the asset
    itself was built from a fallback and not healed since.
    """

    circuit: Circuit
    now: datetime
    position: int
    degraded: bool


Remembered = Callable[[Contract, CircuitKey, datetime], Mapping[str, Fraction | None]]
"""What the store remembers of an asset's service, as metrics of a moment."""


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
        self._remembered = remembered
        self._governs = governs
        self._new_id = new_id
        self._random = random
        self._checkpoint = checkpoint
        self._outbox = Outbox(store)
        self._standings = {
            (everywhere, obeying): _standing(store, everywhere=everywhere, obeying=obeying)
            for everywhere in (True, False)
            for obeying in (True, False)
        }

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
        with self._store.begin() as conn:
            stored, now = self._locked(conn, key, contract, partition_time=partition_time)
            metrics = self._measured(conn, contract, report)
            event = _observed(contract, report, metrics, backfill, probe_holder)
            if reported is not None:
                event = _as_reported(event, report, newer_report(conn, report, key, reported), now)
            decision = _audit(contract, report, stored.circuit, event, now)
            refused = decision.truth is Truth.TRUE
            not_passed = decision.explanation if refused else None
            if not refused and contract.resilience is not None:
                policy = contract.resilience.circuit
                not_passed = why_not_passed(stored.circuit, event, policy=policy, now=now)
            seen = {**metrics, REFUSED: Fraction(refused)}
            if not record_report(
                conn, key, report, seen, run_id=run_id, backfill=backfill, now=now
            ):
                return BreakerVerdict(
                    circuit=stored.circuit,
                    refused=refused,
                    not_passed=not_passed,
                    explanation=f"evaluation {report.evaluation_id} was counted before",
                    duplicate=True,
                )
            self._checkpoint("breaker.observed")
            verdict = self._apply(
                conn,
                stored,
                contract,
                [("recorded", event)],
                now=now,
                run_id=run_id,
                evaluation_id=report.evaluation_id,
            )
            if also is not None and not_passed is None:
                also(conn)
            self._checkpoint("breaker.commit")
        self._checkpoint("breaker.committed")
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
            now = self._now(conn)
            circuit = self._seen(conn, key)
            metrics = self._measured(conn, contract, report)
        event = _observed(contract, report, metrics, backfill, probe_holder)
        return _audit(contract, report, circuit, event, now)

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
        with self._store.begin() as conn:
            stored, now = self._locked(conn, key, contract)
            late = _why_late(stored.circuit, partition, backfill=backfill, began=began)
            holds_lease = is_probe(stored.circuit, probe_holder)
            counts = late is None or holds_lease
            count = Fraction(stored.circuit.in_a_row(what) + counts)
            if not record_failure(
                conn,
                key,
                contract,
                evaluation_id=identity,
                what=what,
                count=count,
                explanation=explanation,
                partition=partition,
                run_id=run_id,
                late=not counts,
                now=now,
            ):
                return BreakerVerdict(
                    circuit=stored.circuit,
                    explanation=f"{what} of run {run_id} was counted before",
                    duplicate=True,
                )
            event = Failed(
                evaluation_id=identity,
                what=explanation or what,
                metric=what,
                late=late,
                metrics={**self._ticking(conn, stored.circuit, contract, now), what: count},
                partition=partition,
                lease_holder=probe_holder,
            )
            self._checkpoint("breaker.observed")
            verdict = self._apply(
                conn,
                stored,
                contract,
                [("failed", event)],
                now=now,
                run_id=run_id,
                evaluation_id=identity,
            )
            self._checkpoint("breaker.commit")
        self._checkpoint("breaker.committed")
        return verdict

    def observe_recovery(self, contract: Contract, key: CircuitKey, what: str) -> BreakerVerdict:
        """What ``what`` counts went well: its failures are no longer in a row.

        Ask the circuit first whether there are any, and spare the transaction.
        """
        with self._store.begin() as conn:
            stored, now = self._locked(conn, key, contract)
            measured = self._ticking(conn, stored.circuit, contract, now)
            event = Recovered(metric=what, metrics={**measured, what: Fraction(0)})
            verdict = self._apply(conn, stored, contract, [("recovered", event)], now=now)
            self._checkpoint("breaker.commit")
        self._checkpoint("breaker.committed")
        return verdict

    # ---- time ------------------------------------------------------------------------------------

    def tick(self, contract: Contract, key: CircuitKey) -> BreakerVerdict:
        """Let time pass: what grows old by itself is measured, and the circuit advanced.

        Costs one indexed query while time has nothing to say.
        """
        found, asleep = self._standing(contract, key, key.partition)
        if asleep:
            return BreakerVerdict(circuit=found.circuit)
        with self._store.begin() as conn:
            stored, now = self._locked(conn, key, contract)
            event = Ticked(metrics=self._ticking(conn, stored.circuit, contract, now))
            verdict = self._apply(conn, stored, contract, [("ticked", event)], now=now)
            self._checkpoint("breaker.commit")
        self._checkpoint("breaker.committed")
        return verdict

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
        read = {} if partition is None else {"read_partition": partition}
        with self._store.read() as conn:
            query = self._standings[partition is None, key.partition is not None]
            row = conn.execute(query, {**named(key), **read}).one()
        now = self._clock() if self._clock is not None else row.clock
        known = row.body is not None
        circuit = circuit_from_json(row.body) if known else Circuit(key=key)
        due = row.wake_at is not None and row.wake_at <= now
        # With a clock that was set back, the moment of an open circuit may be far ahead.
        due = due or (circuit.state is not CircuitState.CLOSED and row.updated_at > now)
        bound = circuit.policy_hash == contract.semantic_hash
        whole = circuit_from_json(row.whole) if row.whole is not None else None
        obeying = key.partition is None or obeys(circuit, inherited_from(whole, now), now)
        standing = Standing(
            circuit=circuit, now=now, position=row.position or 0, degraded=bool(row.marked)
        )
        return standing, obeying and (not known or (bound and not due))

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
            bound: dict[str, set[str]] = {}
            for name, policy_hash in conn.execute(
                sa.select(circuits.c.contract, circuits.c.policy_hash).distinct()
            ):
                bound.setdefault(name, set()).add(policy_hash)
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
            rows = conn.execute(
                sa.select(circuits.c.contract, circuits.c.asset, circuits.c.partition).where(
                    circuits.c.wake_at <= self._now(conn)
                )
            )
            return frozenset(
                CircuitKey(row.contract, row.asset, row.partition or None) for row in rows
            )

    def touched(self, since: datetime) -> dict[CircuitKey, bool]:
        """The circuits that anything happened to since a moment, and whether their state changed.

        One query on an index. Take the moment a little early: who began before it may have
        committed after.
        """
        events = circuit_events.c
        moved = sa.func.max(sa.case((events.before != events.after, 1), else_=0)).label("moved")
        query = (
            sa.select(events.contract, events.asset, events.partition, moved)
            .where(events.at >= since)
            .group_by(events.contract, events.asset, events.partition)
        )
        with self._store.read() as conn:
            return {
                CircuitKey(row.contract, row.asset, row.partition or None): bool(row.moved)
                for row in conn.execute(query)
            }

    def count(self) -> int:
        """How many circuits there are."""
        with self._store.read() as conn:
            return conn.scalar(sa.select(sa.func.count()).select_from(circuits)) or 0

    def ask_probe(
        self, contract: Contract, key: CircuitKey, holder: str, *, partition: str | None = None
    ) -> Lease | None:
        """The probe lease, or ``None`` where somebody else holds it or no probe is due.

        ``partition`` is what the probe will make; another than is to be probed next is refused.
        """
        if not holder.strip():
            raise PolicyError("a probe needs the name of its holder")
        with self._store.begin() as conn:
            stored, now = self._locked(conn, key, contract)
            tick = Ticked(metrics=self._ticking(conn, stored.circuit, contract, now))
            verdict = self._apply(
                conn,
                stored,
                contract,
                [
                    ("ticked", tick),
                    ("probe_asked", ProbeAsked(holder=holder, partition=partition)),
                ],
                now=now,
            )
            self._checkpoint("breaker.commit")
        self._checkpoint("breaker.committed")
        lease = verdict.circuit.lease
        return lease if lease is not None and lease.holder == holder else None

    def forget_gone(
        self, contract: Contract, key: CircuitKey, partitions: Iterable[str]
    ) -> Circuit:
        """Wait no longer for ``partitions``, which do not exist any more; the history says so."""
        gone = PartitionsGone(partitions=tuple(partitions))
        with self._store.begin() as conn:
            stored, now = self._locked(conn, key, contract)
            verdict = self._apply(conn, stored, contract, [("partitions_gone", gone)], now=now)
            self._checkpoint("breaker.commit")
        return verdict.circuit

    def block_probe(self, contract: Contract, key: CircuitKey, reason: str) -> Circuit:
        """Write down once why no probe can be started; a lease is given back, no retry is spent.

        Costs one query while that is known already.
        """
        known = self.circuit(key)
        if known.probe_blocked == reason and known.lease is None:
            return known
        with self._store.begin() as conn:
            stored, now = self._locked(conn, key, contract)
            events = [("probe_blocked", ProbeBlocked(reason=reason))]
            verdict = self._apply(conn, stored, contract, events, now=now)
            self._checkpoint("breaker.commit")
        return verdict.circuit

    def set_upstream(
        self, contract: Contract, key: CircuitKey, open_circuits: Iterable[str]
    ) -> BreakerVerdict:
        """Which upstream circuits are open now: they explain what is wrong with this one.

        Costs one query while that is known already.
        """
        wanted = set(open_circuits)
        known = set(self.circuit(key).upstream)
        if wanted == known:
            return BreakerVerdict(circuit=self.circuit(key))
        with self._store.begin() as conn:
            stored, now = self._locked(conn, key, contract)
            known = set(stored.circuit.upstream)
            events: list[tuple[str, CircuitEvent]] = [
                *(("upstream", UpstreamOpened(upstream=n)) for n in sorted(wanted - known)),
                *(("upstream", UpstreamClosed(upstream=n)) for n in sorted(known - wanted)),
            ]
            if not events:
                return BreakerVerdict(circuit=stored.circuit)
            verdict = self._apply(conn, stored, contract, events, now=now)
            self._checkpoint("breaker.commit")
        return verdict

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

        ``PolicyError`` without an actor or a reason, or with an end that is past.
        """
        require_operator("set or lift an override", actor, reason)
        if contract is not None:
            _require_named(key, contract)
        with self._store.begin() as conn:
            if until is not None and until <= self._now(conn):
                raise PolicyError(
                    "an override cannot end before it begins",
                    where=str(key),
                    why=f"it would end at {until.isoformat()}",
                    hint="give an end in the future, or none",
                )
            event = Forced(override=override, actor=actor, reason=reason, until=until)
            return self._operate(conn, key, event, contract)

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
        require_operator("reset a circuit", actor, reason)
        if contract is not None:
            _require_named(key, contract)
        with self._store.begin() as conn:
            if unless is not None and unless(conn):
                return []
            whole = contract is not None and policy_of(contract).scope is CircuitScope.ASSET
            parts = [] if whole else parts_of(conn, key)
            # One that was never used has nothing to close or to lift.
            unused = bool(parts) and read_circuit(conn, key) is None
            event = Reset(actor=actor, reason=reason)
            asked = parts if unused else [key, *parts]
            return [self._operate(conn, each, event, contract) for each in asked]

    def dismiss(self, key: CircuitKey, *, actor: str, reason: str) -> Circuit:
        """Say that nobody asks a circuit any more: it sleeps until something happens; audited.

        ``PolicyError`` without an actor or a reason, for one that does not exist, and for one that
        consumers do ask.
        """
        require_operator("dismiss a circuit", actor, reason)
        with self._store.begin() as conn:
            if read_circuit(conn, key) is None:
                raise PolicyError(
                    "there is no such circuit",
                    where=str(key),
                    hint="`dagster-contracts status` lists those that nobody asks",
                )
            if self._governs is not None and self._is_governed(key):
                raise PolicyError(
                    "consumers ask this circuit",
                    where=str(key),
                    hint="reset it, or take the resilience section out of its contract",
                )
            now = self._now(conn)
            stored = lock_circuit(conn, key, now)
            step = self._step(stored.circuit, Dismissed(actor=actor, reason=reason), None, now)
            written = write_step(conn, stored, [("dismissed", step)], wake_at=None, now=now)
            send_effects(conn, self._outbox, step, None, now=now)
            self._checkpoint("breaker.commit")
        return written.circuit

    # ---- reading ---------------------------------------------------------------------------------

    def circuit(self, key: CircuitKey) -> Circuit:
        """The circuit as it stands; a closed one where nothing was ever recorded."""
        with self._store.read() as conn:
            return self._seen(conn, key)

    def circuits(
        self, keys: Iterable[CircuitKey] | None = None, *, troubled: Troubled | None = None
    ) -> list[Circuit]:
        """Every circuit that anything happened to, or those of ``keys``, ordered by key.

        A row that cannot be read is raised, or with ``troubled`` is told there and left out.
        """
        with self._store.read() as conn:
            found = read_circuits(conn, keys, troubled=troubled)
            return self._obeyed(conn, [stored.circuit for stored in found])

    def circuits_of(
        self, contracts: Iterable[str], *, troubled: Troubled | None = None
    ) -> list[Circuit]:
        """Every circuit of these contracts, ordered by key; ``troubled`` as in :meth:`circuits`."""
        with self._store.read() as conn:
            found = read_circuits(conn, contracts=contracts, troubled=troubled)
            return self._obeyed(conn, [stored.circuit for stored in found])

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
            now = self._now(conn)
            gone = (
                forget_events(conn, now - events),
                forget_observations(conn, now - observations),
            )
            self._checkpoint("breaker.pruned")
        return gone

    def _is_governed(self, key: CircuitKey) -> bool:
        assert self._governs is not None
        try:
            self._governs(key)
        except PolicyError:
            return False
        return True

    def _require_asked(
        self, conn: sa.Connection, key: CircuitKey, contract: Contract | None
    ) -> None:
        """``PolicyError`` for a circuit that nothing happened to and that nobody would ask."""
        if self._governs is not None:
            self._governs(key)
            return
        known = [s.circuit for s in read_circuits(conn, contracts=[key.contract])]
        evaluated = {c.key.asset for c in known if c.evaluations}
        if contract is not None:
            governed = Governed.by(contract, also=evaluated)
        elif evaluated:
            of_asset = [c for c in known if c.key.asset == key.asset and c.evaluations]
            whole = of_asset and all(c.key.partition is None for c in of_asset)
            governed = Governed(frozenset(evaluated), CircuitScope.ASSET if whole else None)
        else:
            return  # Nothing is known of the contract: its first evaluation is still to come.
        require_circuit(key, {key.contract: governed})

    # ---- within a transaction --------------------------------------------------------------------

    def _now(self, conn: sa.Connection) -> datetime:
        return self._clock() if self._clock is not None else self._store.now(conn)

    def _measured(
        self, conn: sa.Connection, contract: Contract, report: ContractReport
    ) -> dict[str, Fraction | None]:
        """The report's metrics, and those that a new materialization settles by itself."""
        metrics = dict(report.metrics)
        if report.rows is not None:
            # Data arrived: nothing failed, and nothing has grown old.
            metrics.setdefault(FAILED, Fraction(0))
            metrics.setdefault(UNAVAILABLE, Fraction(0))
            metrics.setdefault(AGE, Fraction(0))
            if contract.event_time is None:
                metrics.setdefault(FRESHNESS, Fraction(0))
        if REPORTS in watched_metrics(contract):
            metrics.setdefault(REPORTS, _open_reports(conn, contract))
        return metrics

    def _ticking(
        self, conn: sa.Connection, circuit: Circuit, contract: Contract, now: datetime
    ) -> dict[str, Fraction | None]:
        metrics = clock_metrics(circuit, contract, now)
        if REPORTS in watched_metrics(contract):
            metrics[REPORTS] = _open_reports(conn, contract)
        watched = watched_metrics(contract)
        if not OF_LIFE.isdisjoint(watched):
            metrics |= life_metrics(contract, now)
        if self._remembered is not None and any(map(needs_asset_history, watched)):
            metrics |= self._remembered(contract, circuit.key, now)
        return metrics

    def _seen(self, conn: sa.Connection, key: CircuitKey) -> Circuit:
        stored = read_circuit(conn, key)
        circuit = stored.circuit if stored else Circuit(key=key)
        whole = None if key.partition is None else read_whole(conn, key)
        if not circuit.inherited and (whole is None or whole.override is Override.NONE):
            return circuit
        return as_obeyed(circuit, whole, self._now(conn))

    def _obeyed(self, conn: sa.Connection, found: list[Circuit]) -> list[Circuit]:
        """The circuits, those of partitions under the overrides of their whole assets."""
        parted = {c.key.contract for c in found if c.key.partition is not None}
        wholes = read_overridden(conn, parted) if parted else {}
        if not wholes and not any(circuit.inherited for circuit in found):
            return found
        now = self._now(conn)
        return [as_obeyed(c, wholes.get(of_asset(c.key)), now) for c in found]

    def _inherited(self, conn: sa.Connection, key: CircuitKey, now: datetime) -> Inherited:
        return inherited_from(None if key.partition is None else read_whole(conn, key), now)

    def _locked(
        self,
        conn: sa.Connection,
        key: CircuitKey,
        contract: Contract | None,
        *,
        partition_time: datetime | None = None,
    ) -> tuple[StoredCircuit, datetime]:
        """The circuit, bound to ``contract`` and held until the transaction ends; what time it is.

        Time goes on while the lock is waited for.
        """
        stored = lock_circuit(conn, key, self._now(conn))
        now = self._now(conn)
        if contract is None:
            return self._obeying(conn, stored, None, now), now
        return self._bound(conn, stored, contract, now, partition_time=partition_time), now

    def _obeying(
        self, conn: sa.Connection, stored: StoredCircuit, contract: Contract | None, now: datetime
    ) -> StoredCircuit:
        """The circuit after it has met the override of its whole asset."""
        said = self._inherited(conn, stored.circuit.key, now)
        if stored.circuit.key.partition is None or obeys(stored.circuit, said, now):
            return stored
        step = self._step(stored.circuit, said, contract, now)
        return self._write(conn, stored, [("inherited", step)], said, contract, now)

    def _placed(
        self,
        conn: sa.Connection,
        stored: StoredCircuit,
        contract: Contract,
        now: datetime,
        partition_time: datetime | None,
    ) -> StoredCircuit:
        """The circuit of a partition, with its place among those of the asset."""
        circuit = stored.circuit
        time = partition_time or (None if circuit.superseded else circuit.partition_time)
        if circuit.key.partition is None or time is None:
            return stored
        time = time.astimezone(UTC)
        asked = any(map(of_newest, watched_metrics(contract)))
        superseded = asked and has_newer(conn, circuit.key, time)
        if (circuit.partition_time, circuit.superseded) == (time, superseded):
            return stored
        event = Placed(time=time, superseded=superseded)
        step = self._step(circuit, event, contract, now)
        said = "a newer partition was evaluated" if superseded else ""
        return self._write(conn, stored, [("placed", step)], event, contract, now, said=said)

    def _bound(
        self,
        conn: sa.Connection,
        stored: StoredCircuit,
        contract: Contract,
        now: datetime,
        *,
        partition_time: datetime | None = None,
    ) -> StoredCircuit:
        """The circuit as the next event finds it: under its asset's override, and this contract."""
        stored = self._obeying(conn, stored, contract, now)
        stored = self._placed(conn, stored, contract, now, partition_time)
        if stored.circuit.policy_hash == contract.semantic_hash:
            return stored
        event = PolicyChanged(policy_hash=contract.semantic_hash)
        step = self._step(stored.circuit, event, contract, now)
        return self._write(
            conn,
            stored,
            [("policy_changed", step)],
            event,
            contract,
            now,
            said=f"bound to {contract.ref}",
        )

    def _apply(
        self,
        conn: sa.Connection,
        stored: StoredCircuit,
        contract: Contract | None,
        events: Sequence[tuple[str, CircuitEvent]],
        *,
        now: datetime,
        run_id: str | None = None,
        evaluation_id: str | None = None,
    ) -> BreakerVerdict:
        steps: list[tuple[str, Step]] = []
        circuit = stored.circuit
        for kind, last in events:
            step = self._step(circuit, last, contract, now)
            steps.append((kind, step))
            circuit = step.circuit
        if circuit.effective_state is not CircuitState.CLOSED:
            # What one event opened for consumers and the next closed again heals nothing.
            steps = [(kind, _without_heal(step)) for kind, step in steps]
        written = self._write(
            conn, stored, steps, last, contract, now, run_id=run_id, evaluation_id=evaluation_id
        )
        transitions = tuple(t for _, step in steps for t in step.transitions)
        notes = tuple(n for _, step in steps for n in step.notes)
        said = [t.explanation for t in transitions] or [n.explanation for n in notes]
        return BreakerVerdict(
            circuit=written.circuit,
            transitions=transitions,
            notes=notes,
            effects=tuple(e for _, step in steps for e in step.effects),
            explanation="; ".join(text for text in said if text),
        )

    def _step(
        self, circuit: Circuit, event: CircuitEvent, contract: Contract | None, now: datetime
    ) -> Step:
        policy = None if contract is None else policy_of(contract)
        return advance(circuit, event, policy=policy, now=now, random=self._random())

    def _write(
        self,
        conn: sa.Connection,
        stored: StoredCircuit,
        steps: list[tuple[str, Step]],
        last: CircuitEvent,
        contract: Contract | None,
        now: datetime,
        *,
        run_id: str | None = None,
        evaluation_id: str | None = None,
        said: str = "",
    ) -> StoredCircuit:
        # Without the contract nobody knows when to wake: the next tick, which has it, finds out.
        wake = now if contract is None else wake_after(last, steps[-1][1], contract, now)
        written = write_step(
            conn,
            stored,
            steps,
            wake_at=wake,
            now=now,
            run_id=run_id,
            evaluation_id=evaluation_id,
            said=said,
        )
        self._checkpoint("breaker.written")
        for _, step in steps:
            send_effects(conn, self._outbox, step, contract, now=now)
        self._checkpoint("breaker.sent")
        return written

    def _operate(
        self,
        conn: sa.Connection,
        key: CircuitKey,
        event: Forced | Reset,
        contract: Contract | None,
    ) -> BreakerVerdict:
        if read_circuit(conn, key) is None:
            self._require_asked(conn, key, contract)
        stored, now = self._locked(conn, key, contract)
        if isinstance(event, Forced) and event.override is Override.NONE:
            _require_own(stored.circuit)
        kind = "forced" if isinstance(event, Forced) else "reset"
        events: list[tuple[str, CircuitEvent]] = [(kind, event)]
        if key.partition is not None:
            # What the partition's own override leaves is the whole asset's, at once.
            events.append(("inherited", self._inherited(conn, key, now)))
        verdict = self._apply(conn, stored, contract, events, now=now)
        if key.partition is None and verdict.circuit.override is not stored.circuit.override:
            wake_partitions(conn, key, now)
        self._checkpoint("breaker.commit")
        return verdict


def _require_named(key: CircuitKey, contract: Contract) -> None:
    if contract.name != key.contract:
        raise PolicyError(
            f"the circuit is one of {key.contract}, and the contract is {contract.ref}",
            where=str(key),
            hint="give the contract that the circuit is of, or none",
        )


def _why_late(
    circuit: Circuit,
    partition: str | None,
    *,
    backfill: bool,
    began: Callable[[str | None], datetime | None] | None,
) -> str | None:
    """Why a failure says nothing of the newest data; ``None`` where it does, or nobody knows.

    A partition's own circuit knows one partition, to which backfills belong.
    """
    newest = circuit.watermark_partition
    if circuit.key.partition is not None:
        return None
    if backfill:
        return f"a backfill failed{f' of {partition}' if partition else ''}"
    if began is None or partition is None or newest is None:
        return None
    failed, known = began(partition), began(newest)
    if failed is None or known is None or failed >= known:
        return None
    return f"late: {partition} failed, and {newest} is newer"


def _without_heal(step: Step) -> Step:
    return replace(step, effects=tuple(e for e in step.effects if not isinstance(e, Heal)))


def _require_own(circuit: Circuit) -> None:
    """``PolicyError`` where what is to be lifted is the override of the whole asset."""
    if circuit.inherited:
        raise PolicyError(
            "the override is the whole asset's, and cannot be lifted for one partition",
            where=str(circuit.key),
            why=f"{circuit.override_actor} set {circuit.override.value} for all partitions:"
            f" {circuit.override_reason}",
            hint="lift it without a partition, or give this one an override of its own",
        )


def _standing(store: Store, *, everywhere: bool, obeying: bool) -> sa.Select[tuple[Any, ...]]:
    """The query of :meth:`CircuitBreaker.standing`, built once: of one partition, or of any.

    ``obeying``: the circuit is a partition's, and the override of its whole asset is read as well.
    """
    reads = degraded_reads.c
    position = sa.select(sa.func.max(reads.id)).scalar_subquery()
    marks = sa.select(reads.id).where(
        reads.consumer == sa.bindparam("of_asset"), reads.settled_at.is_(None)
    )
    if not everywhere:
        marks = marks.where(reads.consumer_partition == sa.bindparam("read_partition"))
    # The row must come even where the circuit has none yet.
    one = sa.select(sa.literal(1).label("one")).subquery()
    whole = circuits.alias("whole")
    found = one.outerjoin(circuits, of_named(circuits))
    if obeying:
        of_whole = sa.and_(
            whole.c.contract == sa.bindparam("of_contract"),
            whole.c.asset == sa.bindparam("of_asset"),
            whole.c.partition == "",
            whole.c.override != Override.NONE.value,
        )
        found = found.outerjoin(whole, of_whole)
    return sa.select(
        circuits,
        position.label("position"),
        sa.exists(marks).label("marked"),
        store.clock().label("clock"),
        (whole.c.body if obeying else sa.null()).label("whole"),
    ).select_from(found)


def _observed(
    contract: Contract,
    report: ContractReport,
    metrics: Mapping[str, Fraction | None],
    backfill: bool,
    probe_holder: str | None,
) -> Observed:
    # The circuit keeps what its conditions look at; the observation's row has everything.
    wanted = watched_metrics(contract)
    return Observed(
        evaluation_id=report.evaluation_id,
        metrics={name: value for name, value in metrics.items() if name in wanted},
        event_time=report.event_time,
        partition=report.partition,
        backfill=backfill,
        lease_holder=probe_holder,
        arrived=report.rows is not None,
    )


def _as_reported(
    event: Observed, report: ContractReport, newer: datetime | None, now: datetime
) -> Observed:
    """The evaluation as one that was made before it is counted."""
    late = None
    if newer is not None:
        made, known = in_words(report.evaluated_at), in_words(newer)
        late = f"late: reported at {made}, and a newer result of {known} was counted"
    return replace(event, evaluated_at=min(report.evaluated_at, now), late=late)


def _audit(
    contract: Contract, report: ContractReport, circuit: Circuit, event: Observed, now: datetime
) -> Decision:
    """Whether the batch must not be published, and why."""
    if contract.resilience is None:
        failed = [
            outcome.rule
            for outcome in report.outcomes
            if outcome.status is OutcomeStatus.FAILED and outcome.severity is Severity.ERROR
        ]
        if failed:
            return Decision(Truth.TRUE, f"failed: {', '.join(failed)}")
        return Decision(Truth.FALSE, "no rule of severity error failed")
    return judge(circuit, event, policy=contract.resilience.circuit, now=now)


def _open_reports(conn: sa.Connection, contract: Contract) -> Fraction:
    count = conn.scalar(
        sa.select(sa.func.count())
        .select_from(feedback)
        .where(feedback.c.contract == contract.name, feedback.c.resolved_at.is_(None))
    )
    return Fraction(count or 0)
