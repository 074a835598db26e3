"""What operators decide about a circuit, and what a partition's obeys of its whole asset's."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

from dagster_contracts.core.circuit.events import (
    AlertTopic,
    Dismissed,
    Forced,
    Inherited,
    NoteKind,
    Placed,
    Reset,
    TransitionCause,
)
from dagster_contracts.core.circuit.state import (
    Circuit,
    CircuitState,
    Override,
)
from dagster_contracts.core.circuit.turn import Turn
from dagster_contracts.core.circuit.waiting import in_words


class OverrideTurn(Turn):
    """Overrides, resets and dismissals."""

    def forced(self, event: Forced) -> None:
        """An operator sets an override of this circuit, or lifts it."""
        if event.override is Override.NONE:
            if self.circuit.overridden is not Override.NONE:
                self._lift(
                    NoteKind.OVERRIDE_LIFTED,
                    f"{self.circuit.override} lifted by {event.actor}: {event.reason}",
                    actor=event.actor,
                )
            return
        self._set(event, inherited=False)
        explanation = f"{event.override} by {event.actor} {_until(event.until)}: {event.reason}"
        self.note(NoteKind.OVERRIDE_SET, explanation, actor=event.actor)
        self._alert_override(event.override, explanation)

    def _set(self, event: Forced | Inherited, *, inherited: bool) -> None:
        self.circuit = replace(
            self.circuit,
            override=event.override,
            override_until=event.until,
            override_actor=event.actor,
            override_reason=event.reason,
            inherited=inherited,
            would_open=None,
            lease=None,
        )

    def inherited(self, event: Inherited) -> None:
        """The whole asset's override is obeyed, unless there is one of this partition's own."""
        circuit = self.circuit
        if obeys(circuit, event, self._now):
            return
        if event.override is Override.NONE:
            # Who lifted it, or that its time was over, stands in the history of the whole asset.
            said = f"{circuit.override} of the whole asset by {circuit.override_actor} is over"
            self._lift(NoteKind.OVERRIDE_LIFTED, said)
            return
        self._set(event, inherited=True)
        self.note(
            NoteKind.OVERRIDE_SET,
            f"{event.override} by {event.actor} {_until(event.until)}, as the whole asset:"
            f" {event.reason}",
            actor=event.actor,
        )

    def placed(self, event: Placed) -> None:
        """Where the partition stands among those of its asset."""
        self.circuit = replace(self.circuit, partition_time=event.time, superseded=event.superseded)

    def _lift(self, kind: NoteKind, explanation: str, *, actor: str | None = None) -> None:
        lifted, inherited = self.circuit.override, self.circuit.inherited
        self.circuit = replace(
            self.circuit,
            override=Override.NONE,
            override_until=None,
            override_actor=None,
            override_reason=None,
            inherited=False,
            would_open=None,
        )
        self.note(kind, explanation, actor=actor)
        if not inherited:
            self._alert_override(f"{lifted}:lifted", explanation)

    def _alert_override(self, what: str, explanation: str) -> None:
        # Two operators may decide the same at the same moment; who and why tell them apart.
        told = hashlib.sha256(explanation.encode()).hexdigest()[:12]
        self._alert(AlertTopic.OVERRIDE, explanation, f"{what}:{self._now.isoformat()}:{told}")

    def reset(self, event: Reset) -> None:
        """An operator closes the circuit, and lifts an override of its own."""
        said = f"reset by {event.actor}: {event.reason}"
        # Whoever resets vouches for what is stored.
        self.circuit = replace(self.circuit, suspect=())
        if self.circuit.overridden is not Override.NONE:
            self._lift(NoteKind.OVERRIDE_LIFTED, said, actor=event.actor)
        if self.circuit.state is CircuitState.CLOSED:
            self.circuit = replace(self.circuit, window=(), averaged=())
            self.note(NoteKind.RECORDED, f"{said} (already closed)", actor=event.actor)
            return
        self._close(TransitionCause.RESET, said, actor=event.actor)

    def dismissed(self, event: Dismissed) -> None:
        """An operator says that nobody asks this circuit any more."""
        said = f"dismissed by {event.actor}: {event.reason}"
        if self.circuit.overridden is not Override.NONE:
            self._lift(NoteKind.OVERRIDE_LIFTED, said, actor=event.actor)
        self.circuit = replace(self.circuit, dismissed=True, lease=None)
        self.note(NoteKind.DISMISSED, said, actor=event.actor)

    def asked_again(self) -> None:
        """A circuit that was dismissed counts again as soon as something happens to it."""
        if self.circuit.dismissed:
            self.circuit = replace(self.circuit, dismissed=False)


def inherited_from(whole: Circuit | None, now: datetime) -> Inherited:
    """What the circuits of an asset's partitions must obey now; ``whole`` is the asset's own."""
    if whole is None or whole.override is Override.NONE:
        return Inherited()
    if whole.override_until is not None and now >= whole.override_until:
        return Inherited()
    return Inherited(
        override=whole.override,
        actor=whole.override_actor,
        reason=whole.override_reason,
        until=whole.override_until,
    )


def obeys(circuit: Circuit, said: Inherited, now: datetime) -> bool:
    """Whether a partition's circuit knows of the whole asset's override, or need not."""
    own = circuit.overridden is not Override.NONE
    if own and (circuit.override_until is None or now < circuit.override_until):
        return True
    return said == Inherited(
        override=circuit.override,
        actor=circuit.override_actor,
        reason=circuit.override_reason,
        until=circuit.override_until,
    )


def _until(moment: datetime | None) -> str:
    return "until it is lifted" if moment is None else f"until {in_words(moment)}"
