"""What operators do to circuits: set an override, reset, dismiss; never without who and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitEvent,
    CircuitKey,
    Dismissed,
    Forced,
    Override,
    Reset,
)
from dagster_contracts.core.contract import CircuitScope, Contract
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.circuit_rows import read_circuit, read_circuits
from dagster_contracts.resilience.governed import Governed, require_circuit
from dagster_contracts.resilience.held_circuit import CircuitTransactions
from dagster_contracts.resilience.operator import require_operator
from dagster_contracts.resilience.verdict import BreakerVerdict
from dagster_contracts.resilience.watched import policy_of
from dagster_contracts.resilience.whole_asset import parts_of, wake_partitions


@dataclass(frozen=True, slots=True)
class OperatorCommands:
    """The commands that :class:`CircuitBreaker` promises.

    ``governs`` raises ``PolicyError`` for a circuit that no consumer would ask.
    """

    transactions: CircuitTransactions
    governs: Callable[[CircuitKey], None] | None = None

    def force(self, key: CircuitKey, event: Forced, contract: Contract | None) -> BreakerVerdict:
        """Set the override of ``event``, or lift it."""
        require_operator("set or lift an override", event.actor, event.reason)
        _require_of(contract, key)
        _require_override(event, key)
        until = event.until
        with self.transactions.store.begin() as conn:
            if until is not None and until <= self.transactions.now(conn):
                raise PolicyError(
                    "an override cannot end before it begins",
                    where=str(key),
                    why=f"it would end at {until.isoformat()}",
                    hint="give an end in the future, or none",
                )
            return self._carry_out(conn, key, event, contract)

    def reset(
        self,
        key: CircuitKey,
        event: Reset,
        contract: Contract | None,
        unless: Callable[[sa.Connection], bool] | None,
    ) -> list[BreakerVerdict]:
        """Close the circuit, and where it is a whole asset's those of its partitions."""
        require_operator("reset a circuit", event.actor, event.reason)
        _require_of(contract, key)
        with self.transactions.store.begin() as conn:
            if unless is not None and unless(conn):
                return []
            whole = contract is not None and policy_of(contract).scope is CircuitScope.ASSET
            parts = [] if whole else parts_of(conn, key)
            # One that was never used has nothing to close or to lift.
            unused = bool(parts) and read_circuit(conn, key) is None
            asked = parts if unused else [key, *parts]
            return [self._carry_out(conn, each, event, contract) for each in asked]

    def dismiss(self, key: CircuitKey, event: Dismissed) -> Circuit:
        """Let a circuit sleep that nobody asks any more."""
        require_operator("dismiss a circuit", event.actor, event.reason)
        with self.transactions.store.begin() as conn:
            if read_circuit(conn, key) is None:
                raise PolicyError(
                    "there is no such circuit",
                    where=str(key),
                    hint="`dagster-contracts status` lists those that nobody asks",
                )
            if self._is_asked(key):
                raise PolicyError(
                    "consumers ask this circuit",
                    where=str(key),
                    hint="reset it, or take the resilience section out of its contract",
                )
            dismissed = self.transactions.lock(conn, key).dismiss(event)
            self.transactions.checkpoint("breaker.commit")
        return dismissed

    def _carry_out(
        self,
        conn: sa.Connection,
        key: CircuitKey,
        event: Forced | Reset,
        contract: Contract | None,
    ) -> BreakerVerdict:
        if read_circuit(conn, key) is None:
            self._require_asked(conn, key, contract)
        held = self.transactions.hold(conn, key, contract)
        before = held.circuit.override
        if isinstance(event, Forced) and event.override is Override.NONE:
            _require_own(held.circuit)
        kind = "forced" if isinstance(event, Forced) else "reset"
        events: list[tuple[str, CircuitEvent]] = [(kind, event)]
        if key.partition is not None:
            # What the partition's own override leaves is the whole asset's, at once.
            events.append(("inherited", held.inherited))
        verdict = held.apply(*events)
        if key.partition is None and verdict.circuit.override is not before:
            wake_partitions(conn, key, held.now)
        self.transactions.checkpoint("breaker.commit")
        return verdict

    def _is_asked(self, key: CircuitKey) -> bool:
        if self.governs is None:
            return False
        try:
            self.governs(key)
        except PolicyError:
            return False
        return True

    def _require_asked(
        self, conn: sa.Connection, key: CircuitKey, contract: Contract | None
    ) -> None:
        """``PolicyError`` for a circuit that nothing happened to and that nobody would ask."""
        if self.governs is not None:
            self.governs(key)
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


def _require_of(contract: Contract | None, key: CircuitKey) -> None:
    """``PolicyError`` where the circuit is one of another contract."""
    if contract is not None and contract.name != key.contract:
        raise PolicyError(
            f"the circuit is one of {key.contract}, and the contract is {contract.ref}",
            where=str(key),
            hint="give the contract that the circuit is of, or none",
        )


def _require_override(event: Forced, key: CircuitKey) -> None:
    """``PolicyError`` where a caller gave text for an override, or a time of no zone."""
    override: object = event.override
    if not isinstance(override, Override):
        named = [each for each in Override if str(override).lower() == each.value]
        choices = [f"Override.{each.name}" for each in named or Override]
        raise PolicyError(
            f"{override!r} is no override",
            where=str(key),
            why=f"an override is a member of Override, not {type(override).__name__}",
            hint=f"write {' or '.join(choices)}",
        )
    until: object = event.until
    if until is not None and not isinstance(until, datetime):
        raise PolicyError(
            f"an override cannot end at {until!r}",
            where=str(key),
            why=f"until is a datetime with a zone, not {type(until).__name__}",
            hint="write datetime.now(UTC) + timedelta(hours=2)",
        )
    if event.until is not None and event.until.utcoffset() is None:
        raise PolicyError(
            "an override cannot end at a time without a zone",
            where=str(key),
            why=f"{event.until.isoformat()} is another moment in each zone",
            hint="write datetime(..., tzinfo=UTC), or datetime.now(UTC) + timedelta(hours=2)",
        )


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
