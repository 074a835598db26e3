"""What a person decides about a circuit, carried out and told in the same words everywhere."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum

from dagster_contracts.core.circuit import Circuit, CircuitKey, CircuitState, Override
from dagster_contracts.core.contract import Contract
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
