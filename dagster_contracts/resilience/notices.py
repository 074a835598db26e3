"""What a step wants the world to know, as messages in the outbox of the same transaction."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Alert,
    AlertTopic,
    Circuit,
    Heal,
    Override,
    RequestProbe,
    StateTransition,
    Step,
    TransitionCause,
)
from dagster_contracts.core.contract import Contract, HealMode, Json
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.tables import degraded_reads

HEAL = "heal.requested"
HEAL_BY_HAND = "circuit.heal_by_hand"
HEAL_GIVEN_UP = "circuit.heal_given_up"

_KINDS = {
    AlertTopic.OPENED: ("circuit.opened", "error"),
    AlertTopic.STILL_OPEN: ("circuit.opened", "error"),
    AlertTopic.EXHAUSTED: ("circuit.exhausted", "error"),
    AlertTopic.FLAPPING: ("circuit.flapping", "error"),
    AlertTopic.PROBING: ("circuit.half_open", "info"),
    AlertTopic.RESOLVED: ("circuit.closed", "info"),
    AlertTopic.OVERRIDE: ("circuit.forced", "warning"),
    AlertTopic.UNKNOWN_METRIC: ("metric.unknown", "warning"),
}


def send_effects(
    conn: sa.Connection,
    outbox: Outbox,
    step: Step,
    contract: Contract | None,
    *,
    now: datetime,
) -> None:
    """Append the step's alerts and heal requests, each once by its dedupe key.

    A wanted probe is no message: it is asked for anew at each tick, until somebody is the probe.
    """
    for effect in step.effects:
        match effect:
            case Alert():
                kind, payload = _alert(effect, step, contract)
                outbox.append(conn, kind, payload, dedupe_key=effect.dedupe_key, now=now)
            case Heal():
                heal: dict[str, Json] = {
                    "contract": effect.key.contract,
                    "asset": effect.key.asset,
                    "partition": effect.key.partition,
                    "generation": effect.generation,
                }
                outbox.append(conn, HEAL, heal, dedupe_key=effect.dedupe_key, now=now)
                waiting = _waiting(conn, effect, contract)
                if waiting:
                    told = {**heal, "version": contract.version if contract else None}
                    told["waiting"] = list(waiting)
                    key = f"{effect.dedupe_key}:notify"
                    outbox.append(conn, HEAL_BY_HAND, told, dedupe_key=key, now=now)
            case RequestProbe():
                pass
            case _:
                assert_never(effect)


def _waiting(conn: sa.Connection, heal: Heal, contract: Contract | None) -> tuple[str, ...]:
    """Assets that a person has to build anew, because the contract starts no run for them."""
    resilience = contract.resilience if contract else None
    if resilience is None or resilience.heal is not HealMode.NOTIFY:
        return ()
    reads = degraded_reads.c
    rows = conn.execute(
        sa.select(reads.consumer, reads.consumer_partition)
        .where(
            reads.contract == heal.key.contract,
            reads.circuit_asset == heal.key.asset,
            reads.circuit_partition == (heal.key.partition or ""),
            reads.settled_at.is_(None),
            reads.pending.is_(False),
        )
        .distinct()
        .order_by(reads.consumer, reads.consumer_partition)
    )
    return tuple(
        f"{row.consumer}[{row.consumer_partition}]" if row.consumer_partition else row.consumer
        for row in rows
    )


def _alert(alert: Alert, step: Step, contract: Contract | None) -> tuple[str, dict[str, Json]]:
    kind, severity = _KINDS[alert.topic]
    transition = _transition_of(alert, step)
    if transition is not None and transition.cause is TransitionCause.RESET:
        kind = "circuit.reset"
    circuit: Circuit = step.circuit
    payload: dict[str, Json] = {
        "contract": alert.key.contract,
        "version": contract.version if contract else None,
        "asset": alert.key.asset,
        "partition": alert.key.partition,
        "generation": alert.generation,
        "topic": alert.topic.value,
        "severity": severity,
        "explanation": alert.explanation,
        "group": alert.group,
        "explained_by": list(alert.explained_by),
        "attempts": circuit.attempts,
        "next_probe_at": circuit.next_probe_at.isoformat() if circuit.next_probe_at else None,
        "evaluation": circuit.evaluation_id,
        "levels": _fallbacks(contract),
        "several_assets": contract is not None and len(contract.objects) > 1,
    }
    if circuit.override is not Override.NONE:
        payload["override"] = circuit.override.value
        payload["actor"] = circuit.override_actor
    if transition is not None:
        payload["cause"] = transition.cause.value
        payload["at"] = transition.at.isoformat()
        if transition.actor:
            payload["actor"] = transition.actor
    return kind, payload


def _fallbacks(contract: Contract | None) -> list[Json] | None:
    """The names of the fallback levels in their order; ``None`` where the contract is not known."""
    if contract is None or contract.resilience is None:
        return None
    return [level.name for level in contract.resilience.fallbacks]


def _transition_of(alert: Alert, step: Step) -> StateTransition | None:
    return next((t for t in step.transitions if t.generation == alert.generation), None)
