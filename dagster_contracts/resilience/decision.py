"""What a person decides about a circuit, carried out and told in the same words everywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState, Override
from dagster_contracts.core.contract import CircuitScope, Contract
from dagster_contracts.core.near_names import did_you_mean
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.governed import (
    require_asset,
    require_evaluated,
    require_scope,
)
from dagster_contracts.resilience.ledger import DegradedReads
from dagster_contracts.resilience.verdict import BreakerVerdict


class Decision(Enum):
    """What an operator may decide."""

    FORCE_OPEN = "force_open"
    FORCE_CLOSED = "force_closed"
    METRICS_ONLY = "metrics_only"
    RESET = "reset"


_OVERRIDES = {
    Decision.FORCE_OPEN: Override.FORCED_OPEN,
    Decision.FORCE_CLOSED: Override.FORCED_CLOSED,
    Decision.METRICS_ONLY: Override.METRICS_ONLY,
}


_NEW_PARTITION = "`--new-partition` decides about one that is still to be made"


@dataclass(frozen=True, slots=True)
class Meant:
    """The circuit that a decision is about.

    ``remark`` is what the person must know beside how they stand: which partitions obey, or that
    nothing ever happened to the one that was named.
    """

    key: CircuitKey
    remark: str | None = None


def circuit_meant(
    contract: str,
    asset: str,
    partition: str | None,
    *,
    decision: Decision,
    governed: Collection[str],
    scope: CircuitScope | None,
    recorded: Iterable[Circuit],
    new_partition: bool = False,
) -> Meant:
    """The circuit that a decision about an asset and partition is carried out on.

    Without a partition it is about the whole asset: its partitions obey an override, and a reset is
    one of each that is known. ``governed`` are the assets that
    the contract is known to govern, ``scope`` is its scope where the contract is at hand. A
    partition of which nothing was evaluated is likely a slip and refused, but as a
    ``new_partition``: the caller knows that there is or will be such a one.
    ``PolicyError`` for a circuit that no consumer would ever ask: a decision about it would seem to
    succeed, and change nothing.
    """
    require_asset(contract, asset, governed)
    known = sorted(
        (c for c in recorded if (c.key.contract, c.key.asset) == (contract, asset)),
        key=lambda circuit: circuit.key,
    )
    key, keys = CircuitKey(contract, asset, partition), [circuit.key for circuit in known]
    require_scope(key, scope)
    if partition is not None:
        if key in keys:
            return Meant(key)
        if scope is None:
            raise PolicyError(
                f"{key} is not known",
                why="nothing was evaluated of it, and its contract is not at hand",
                hint=_near_partition(partition, keys),
            )
        if not new_partition:
            reset = decision is Decision.RESET
            hint = "there is nothing to reset" if reset else _NEW_PARTITION
            require_evaluated(key, known, hint=hint)
        return Meant(key, f"nothing was evaluated of {key} yet; {_near_partition('', keys)}")
    parted = [circuit for circuit in known if circuit.key.partition is not None]
    if scope is CircuitScope.ASSET or not (parted or scope is CircuitScope.PARTITION):
        return Meant(key)
    if decision is Decision.RESET:
        return Meant(key)
    own = [c.key.partition or "" for c in parted if c.overridden is not Override.NONE]
    keeping = f"; with an override of their own, which they keep: {', '.join(own)}" if own else ""
    return Meant(key, f"every partition of {asset} obeys it, those that come later too{keeping}")


def _near_partition(partition: str, known: Iterable[CircuitKey]) -> str:
    names = [key.partition for key in known if key.partition is not None]
    said = did_you_mean(partition, names)
    return said or f"partitions with a circuit: {', '.join(names[-5:]) or 'none'}"


def decide(
    breaker: CircuitBreaker,
    key: CircuitKey,
    decision: Decision,
    *,
    actor: str,
    reason: str,
    now: datetime,
    lasting: timedelta | None = None,
    contract: Contract | None = None,
) -> list[BreakerVerdict]:
    """Carry a decision out; ``lasting`` is for an override, which ends by itself then.

    What it did to each circuit: a reset of a whole asset is one of its partitions too.
    ``PolicyError`` without an actor or a reason.
    """
    if decision is Decision.RESET:
        return breaker.reset_all(key, actor=actor, reason=reason, contract=contract)
    forced = breaker.force(
        key,
        _OVERRIDES[decision],
        actor=actor,
        reason=reason,
        until=None if lasting is None else now + lasting,
        contract=contract,
    )
    return [forced]


def waiting_reads(reads: DegradedReads, key: CircuitKey) -> int:
    """How many reads of a fallback are to be healed; of a whole asset, those of its partitions."""
    if key.partition is not None:
        return len(reads.open_reads(key))
    of_asset = (key.contract, key.asset)
    return sum((r.circuit.contract, r.circuit.asset) == of_asset for r in reads.open_reads())


def standing_sentence(circuit: Circuit) -> str:
    """``orders/orders: forced open until 2026-03-02 08:00 UTC, open for consumers``."""
    state = circuit.effective_state.value.replace("_", "-")
    if circuit.override is Override.NONE:
        return f"{circuit.key}: {state}, no override"
    until = f" until {circuit.override_until:%Y-%m-%d %H:%M} UTC" if circuit.override_until else ""
    override = circuit.override.value.replace("_", " ")
    whole = " as the whole asset is" if circuit.inherited else ""
    return f"{circuit.key}: {override}{whole}{until}, {state} for consumers"


def next_sentence(circuit: Circuit, waiting: int) -> str:
    """What happens now; ``waiting`` is how many reads of a fallback are to be healed."""
    built = f"; {waiting:,} read{'' if waiting == 1 else 's'} of a fallback to be healed"
    match circuit.override:
        case Override.FORCED_OPEN:
            said = "consumers read the first usable fallback; evaluations are only recorded"
        case Override.FORCED_CLOSED:
            said = "consumers read the primary, whatever it is; evaluations are only recorded"
            said += built if waiting else ""
        case Override.METRICS_ONLY:
            said = "consumers read the primary; what the circuit would do is recorded"
        case Override.NONE if circuit.effective_state is CircuitState.CLOSED:
            said = "consumers read the primary; the next evaluation is judged as ever"
            said += built if waiting else ""
        case Override.NONE:
            said = "consumers read a fallback until a good probe closes it"
    if circuit.inherited:
        return f"{said}; it stays so until the whole asset's override ends"
    ends = circuit.override is not Override.NONE and circuit.override_until is None
    return f"{said}; it stays so until a reset" if ends else said
