"""A circuit in a transaction: held against every other writer, advanced, written, told of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitEvent,
    CircuitKey,
    CircuitState,
    Dismissed,
    Heal,
    Inherited,
    Placed,
    PolicyChanged,
    Step,
    Ticked,
    advance,
    obeys,
    of_newest,
)
from dagster_contracts.core.contract import Contract
from dagster_contracts.resilience.circuit_rows import StoredCircuit, lock_circuit
from dagster_contracts.resilience.event_rows import write_step
from dagster_contracts.resilience.measured import Remembered, ticking_metrics
from dagster_contracts.resilience.notices import send_effects
from dagster_contracts.resilience.verdict import BreakerVerdict
from dagster_contracts.resilience.wake import wake_after
from dagster_contracts.resilience.watched import policy_of, watched_metrics
from dagster_contracts.resilience.whole_asset import has_newer, inherited_by
from dagster_contracts.store.checkpoint import Checkpoint
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitTransactions:
    """Transactions of one store in which circuits are held.

    ``clock`` is asked in the place of the store's, ``random`` draws the jitter of waits.
    """

    store: Store
    outbox: Outbox
    clock: Callable[[], datetime] | None
    random: Callable[[], float]
    checkpoint: Checkpoint
    remembered: Remembered | None

    def now(self, conn: sa.Connection) -> datetime:
        """What time it is."""
        return self.clock() if self.clock is not None else self.store.now(conn)

    @contextmanager
    def holding(
        self, key: CircuitKey, contract: Contract, *, partition_time: datetime | None = None
    ) -> Iterator[HeldCircuit]:
        """A transaction of one circuit, committed at the end."""
        with self.store.begin() as conn:
            yield self.hold(conn, key, contract, partition_time=partition_time)
            self.checkpoint("breaker.commit")
        self.checkpoint("breaker.committed")

    def hold(
        self,
        conn: sa.Connection,
        key: CircuitKey,
        contract: Contract | None,
        *,
        partition_time: datetime | None = None,
    ) -> HeldCircuit:
        """The circuit as the next event finds it: under its asset's override, and ``contract``."""
        held = self.lock(conn, key, contract)
        held.obey()
        if contract is not None:
            held.bind(contract, partition_time)
        return held

    def lock(
        self, conn: sa.Connection, key: CircuitKey, contract: Contract | None = None
    ) -> HeldCircuit:
        """The circuit as it is."""
        stored = lock_circuit(conn, key, self.now)
        # Time goes on while the lock is waited for.
        return HeldCircuit(self, conn, stored, contract, self.now(conn))


class HeldCircuit:
    """One circuit that nobody else can change until the transaction ends; ``now`` is its moment."""

    def __init__(
        self,
        within: CircuitTransactions,
        conn: sa.Connection,
        stored: StoredCircuit,
        contract: Contract | None,
        now: datetime,
    ) -> None:
        self.conn = conn
        self.now = now
        self._within = within
        self._stored = stored
        self._contract = contract

    @property
    def circuit(self) -> Circuit:
        """The circuit as the last event left it."""
        return self._stored.circuit

    @property
    def inherited(self) -> Inherited:
        """What the override of the whole asset says to it."""
        return inherited_by(self.conn, self.circuit.key, self.now)

    def ticking(self, contract: Contract) -> dict[str, Fraction | None]:
        """The metrics that change though nothing is evaluated."""
        remembered = self._within.remembered
        return ticking_metrics(self.conn, contract, self.circuit, self.now, remembered=remembered)

    def ticked(self, contract: Contract) -> tuple[str, CircuitEvent]:
        """The event that time has passed."""
        return "ticked", Ticked(metrics=self.ticking(contract))

    def apply(
        self,
        *events: tuple[str, CircuitEvent],
        run_id: str | None = None,
        evaluation_id: str | None = None,
    ) -> BreakerVerdict:
        """Advance the circuit by ``events``, each with its kind, and write down what they did."""
        steps: list[tuple[str, Step]] = []
        circuit = self.circuit
        for kind, last in events:
            step = self._step(circuit, last)
            steps.append((kind, step))
            circuit = step.circuit
        if circuit.effective_state is not CircuitState.CLOSED:
            # What one event opened for consumers and the next closed again heals nothing.
            steps = [(kind, _without_heal(step)) for kind, step in steps]
        self._write(
            steps, wake_at=self._wake(last, steps), run_id=run_id, evaluation_id=evaluation_id
        )
        return BreakerVerdict.of((step for _, step in steps), self.circuit)

    def dismiss(self, event: Dismissed) -> Circuit:
        """Let the circuit sleep until something happens to it."""
        self._write([("dismissed", self._step(self.circuit, event))], wake_at=None)
        return self.circuit

    def obey(self) -> None:
        """Let a partition meet the override of its whole asset."""
        said = self.inherited
        if self.circuit.key.partition is not None and not obeys(self.circuit, said, self.now):
            self._take("inherited", said)

    def bind(self, contract: Contract, partition_time: datetime | None) -> None:
        """Give the circuit its place among the asset's partitions, and bind it to ``contract``."""
        self._place(contract, partition_time)
        if self.circuit.policy_hash != contract.semantic_hash:
            event = PolicyChanged(policy_hash=contract.semantic_hash)
            self._take("policy_changed", event, said=f"bound to {contract.ref}")

    def _place(self, contract: Contract, partition_time: datetime | None) -> None:
        circuit = self.circuit
        time = partition_time or (None if circuit.superseded else circuit.partition_time)
        if circuit.key.partition is None or time is None:
            return
        time = time.astimezone(UTC)
        asked = any(map(of_newest, watched_metrics(contract)))
        superseded = asked and has_newer(self.conn, circuit.key, time)
        if (circuit.partition_time, circuit.superseded) != (time, superseded):
            said = "a newer partition was evaluated" if superseded else ""
            self._take("placed", Placed(time=time, superseded=superseded), said=said)

    def _take(self, kind: str, event: CircuitEvent, *, said: str = "") -> None:
        steps = [(kind, self._step(self.circuit, event))]
        self._write(steps, wake_at=self._wake(event, steps), said=said)

    def _step(self, circuit: Circuit, event: CircuitEvent) -> Step:
        policy = None if self._contract is None else policy_of(self._contract)
        random = self._within.random()
        return advance(circuit, event, policy=policy, now=self.now, random=random)

    def _wake(self, last: CircuitEvent, steps: list[tuple[str, Step]]) -> datetime | None:
        # Without the contract nobody knows when to wake: the next tick, which has it, finds out.
        if self._contract is None:
            return self.now
        return wake_after(last, steps[-1][1], self._contract, self.now)

    def _write(
        self,
        steps: list[tuple[str, Step]],
        *,
        wake_at: datetime | None,
        run_id: str | None = None,
        evaluation_id: str | None = None,
        said: str = "",
    ) -> None:
        self._stored = write_step(
            self.conn,
            self._stored,
            steps,
            wake_at=wake_at,
            now=self.now,
            run_id=run_id,
            evaluation_id=evaluation_id,
            said=said,
        )
        self._within.checkpoint("breaker.written")
        for _, step in steps:
            send_effects(self.conn, self._within.outbox, step, self._contract, now=self.now)
        self._within.checkpoint("breaker.sent")


def _without_heal(step: Step) -> Step:
    return replace(step, effects=tuple(e for e in step.effects if not isinstance(e, Heal)))
