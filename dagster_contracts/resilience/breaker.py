"""The circuit breaker as a service: load, advance, write guarded, in one transaction.

:mod:`dagster_contracts.core.circuit` decides; here its decisions become durable and count once.
"""

from __future__ import annotations

import random as random_module
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import Circuit, CircuitKey, Lease, Override, StateTransition
from dagster_contracts.core.condition import Decision
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerVerdict:
    """What an event did to a circuit.

    ``refused``: the batch must not be published (its evaluation made ``open_when`` true).
    ``duplicate``: the evaluation had been counted before, and nothing was written.
    """

    circuit: Circuit
    transitions: tuple[StateTransition, ...]
    refused: bool
    explanation: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitEvent:
    """One line of a circuit's history, as it was appended."""

    key: CircuitKey
    version: int
    generation: int
    kind: str
    before: str
    after: str
    at: datetime
    explanation: str
    cause: str | None = None
    evaluation_id: str | None = None
    run_id: str | None = None
    actor: str | None = None


class CircuitBreaker:
    """All circuits of one store."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime] | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        random: Callable[[], float] = random_module.random,
        checkpoint: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._store = store

    def record(
        self,
        contract: Contract,
        report: ContractReport,
        *,
        key: CircuitKey,
        run_id: str | None = None,
        backfill: bool = False,
        probe_holder: str | None = None,
        also: Callable[[sa.Connection], None] | None = None,
    ) -> BreakerVerdict:
        """Count one evaluation, in one transaction; a second time it changes nothing.

        ``also`` runs in the same transaction (a snapshot's row, for one).
        """
        raise NotImplementedError

    def would_open(self, contract: Contract, report: ContractReport, key: CircuitKey) -> Decision:
        """Whether this report would make ``open_when`` true; nothing is written."""
        raise NotImplementedError

    def observe_failure(
        self, contract: Contract, key: CircuitKey, *, run_id: str | None, what: str, explanation: str = ""
    ) -> BreakerVerdict:
        """Count a ``failed_materializations`` or a ``source_unavailable``."""
        raise NotImplementedError

    def tick(self, contract: Contract, key: CircuitKey) -> BreakerVerdict:
        """Let time pass: what grows old by itself is measured and the circuit advanced."""
        raise NotImplementedError

    def tick_all(self, contracts: Iterable[tuple[Contract, CircuitKey]]) -> list[BreakerVerdict]:
        """Tick those circuits of which time can say something new; the others cost one query."""
        raise NotImplementedError

    def circuit(self, key: CircuitKey) -> Circuit:
        """The circuit as stored; a closed one where nothing was ever recorded."""
        raise NotImplementedError

    def circuits(self, keys: Iterable[CircuitKey] | None = None) -> list[Circuit]:
        """Every circuit, or those of ``keys``, in one query, ordered by key."""
        raise NotImplementedError

    def ask_probe(self, contract: Contract, key: CircuitKey, holder: str) -> Lease | None:
        """The probe lease, or ``None`` where somebody else holds it or no probe is due."""
        raise NotImplementedError

    def force(
        self, key: CircuitKey, override: Override, *, actor: str, reason: str, until: datetime | None = None,
        contract: Contract | None = None,
    ) -> BreakerVerdict:
        """Set or lift an override; audited. ``PolicyError`` without an actor or a reason."""
        raise NotImplementedError

    def reset(self, key: CircuitKey, *, actor: str, reason: str, contract: Contract | None = None) -> BreakerVerdict:
        """Close the circuit by hand; audited. ``PolicyError`` without an actor or a reason."""
        raise NotImplementedError

    def history(self, key: CircuitKey | None = None, limit: int = 50, *, transitions_only: bool = False) -> list[CircuitEvent]:
        """What happened, newest first."""
        raise NotImplementedError

    def replay(self, key: CircuitKey) -> Circuit | None:
        """The circuit rebuilt from its events alone; equal to :meth:`circuit` at any time."""
        raise NotImplementedError
