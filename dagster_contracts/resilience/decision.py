"""What a person decides about a circuit, carried out and told in the same words everywhere."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState, Override
from dagster_contracts.core.contract import CircuitScope, Contract
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.breaker import BreakerVerdict, CircuitBreaker


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


@dataclass(frozen=True, slots=True)
class Meant:
    """The circuits that a decision is about.

    ``remark`` is what the person must know beside how they stand: that partitions which come later
    are not among them, or that nothing ever happened to the one that was named.
    """

    keys: tuple[CircuitKey, ...]
    remark: str | None = None


def circuits_meant(
    contract: str,
    asset: str,
    partition: str | None,
    *,
    governed: Collection[str],
    scope: CircuitScope | None,
    recorded: Iterable[CircuitKey],
) -> Meant:
    """The circuits of an asset and partition, all that are known where no partition is named.

    ``governed`` are the assets that the contract is known to govern, ``scope`` is its scope where
    the contract is at hand. ``PolicyError`` for a circuit that no consumer would ever ask: a
    decision about it would seem to succeed, and change nothing.
    """
    if asset not in governed:
        near = difflib.get_close_matches(asset, sorted(governed), n=1)
        listed = ", ".join(sorted(governed)) or "none yet"
        raise PolicyError(
            f"{contract} does not govern {asset!r}, as far as is known here",
            why=f"its assets are: {listed}",
            hint=f"did you mean {near[0]!r}?"
            if near
            else "an asset is known from the contract's document, or once it was evaluated",
        )
    known = sorted(k for k in recorded if (k.contract, k.asset) == (contract, asset))
    if scope is CircuitScope.ASSET:
        if partition is not None:
            raise PolicyError(
                f"{asset} has one circuit for all its partitions",
                where=contract,
                why="its contract has scope: asset, and nobody asks for a circuit of one partition",
                hint="name no partition, or declare circuit_breaker.scope: partition",
            )
        return Meant((CircuitKey(contract, asset),))
    if partition is not None:
        key = CircuitKey(contract, asset, partition)
        if key in known:
            return Meant((key,))
        if scope is None:
            raise PolicyError(
                f"{key} is not known",
                why="nothing was evaluated of it, and its contract is not at hand",
                hint=_near_partition(partition, known),
            )
        return Meant((key,), f"nothing was evaluated of {key} yet; {_near_partition('', known)}")
    every = tuple(k for k in known if scope is None or k.partition is not None)
    if not every:
        raise PolicyError(
            f"each partition of {asset} has a circuit of its own, and none is known yet",
            where=contract,
            hint="name one as 'partition'",
        )
    if every[0].partition is None:
        return Meant(every)
    return Meant(
        every,
        f"{len(every):,} partition{'' if len(every) == 1 else 's'} of {asset} "
        f"{'has' if len(every) == 1 else 'have'} a circuit; "
        "partitions that are evaluated later are not covered",
    )


def _near_partition(partition: str, known: Iterable[CircuitKey]) -> str:
    names = [key.partition for key in known if key.partition is not None]
    near = difflib.get_close_matches(partition, names, n=1) if partition else []
    if near:
        return f"did you mean {near[0]!r}?"
    return f"partitions with a circuit: {', '.join(names[-5:]) or 'none'}"


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
) -> BreakerVerdict:
    """Carry a decision out; ``lasting`` is for an override, which ends by itself then.

    ``PolicyError`` without an actor or a reason.
    """
    if decision is Decision.RESET:
        return breaker.reset(key, actor=actor, reason=reason, contract=contract)
    return breaker.force(
        key,
        _OVERRIDES[decision],
        actor=actor,
        reason=reason,
        until=None if lasting is None else now + lasting,
        contract=contract,
    )


def standing_sentence(circuit: Circuit) -> str:
    """``orders/orders: forced open until 2026-03-02 08:00 UTC, open for consumers``."""
    state = circuit.effective_state.value.replace("_", "-")
    if circuit.override is Override.NONE:
        return f"{circuit.key}: {state}, no override"
    until = f" until {circuit.override_until:%Y-%m-%d %H:%M} UTC" if circuit.override_until else ""
    return (
        f"{circuit.key}: {circuit.override.value.replace('_', ' ')}{until}, {state} for consumers"
    )


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
    ends = circuit.override is not Override.NONE and circuit.override_until is None
    return f"{said}; it stays so until a reset" if ends else said
