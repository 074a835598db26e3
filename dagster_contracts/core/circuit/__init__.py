"""The circuit breaker as pure values: ``state``, ``events``, the ``machine`` and its JSON."""

from __future__ import annotations

from dagster_contracts.core.circuit.codec import (
    circuit_from_json,
    circuit_to_json,
    transition_from_json,
    transition_to_json,
)
from dagster_contracts.core.circuit.events import (
    Alert,
    AlertTopic,
    CircuitEvent,
    Effect,
    Failed,
    Forced,
    Heal,
    Inherited,
    Note,
    NoteKind,
    Observed,
    Placed,
    PolicyChanged,
    ProbeAsked,
    ProbeBlocked,
    RequestProbe,
    Reset,
    StateTransition,
    Step,
    Ticked,
    TransitionCause,
    UpstreamClosed,
    UpstreamOpened,
)
from dagster_contracts.core.circuit.judgement import asked_of, of_newest, would_open
from dagster_contracts.core.circuit.machine import advance, inherited_from, obeys
from dagster_contracts.core.circuit.passing import why_not_passed
from dagster_contracts.core.circuit.state import (
    Circuit,
    CircuitKey,
    CircuitState,
    Lease,
    Override,
)
from dagster_contracts.core.circuit.waiting import probe_wait

__all__ = [
    "Alert",
    "AlertTopic",
    "Circuit",
    "CircuitEvent",
    "CircuitKey",
    "CircuitState",
    "Effect",
    "Failed",
    "Forced",
    "Heal",
    "Inherited",
    "Lease",
    "Note",
    "NoteKind",
    "Observed",
    "Override",
    "Placed",
    "PolicyChanged",
    "ProbeAsked",
    "ProbeBlocked",
    "RequestProbe",
    "Reset",
    "StateTransition",
    "Step",
    "Ticked",
    "TransitionCause",
    "UpstreamClosed",
    "UpstreamOpened",
    "advance",
    "asked_of",
    "circuit_from_json",
    "circuit_to_json",
    "inherited_from",
    "obeys",
    "of_newest",
    "probe_wait",
    "transition_from_json",
    "transition_to_json",
    "why_not_passed",
    "would_open",
]
