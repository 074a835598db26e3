"""What an event did to a circuit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dagster_contracts.core.circuit import Circuit, Effect, Note, StateTransition, Step


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

    @classmethod
    def of(cls, steps: Iterable[Step], circuit: Circuit) -> BreakerVerdict:
        """What ``steps`` did, of which ``circuit`` was left."""
        steps = tuple(steps)
        transitions = tuple(t for step in steps for t in step.transitions)
        notes = tuple(n for step in steps for n in step.notes)
        said = [t.explanation for t in transitions] or [n.explanation for n in notes]
        return cls(
            circuit=circuit,
            transitions=transitions,
            notes=notes,
            effects=tuple(e for step in steps for e in step.effects),
            explanation="; ".join(text for text in said if text),
        )
