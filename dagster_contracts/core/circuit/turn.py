"""One event being worked out: what every kind of it needs to change a circuit and write it down."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from dagster_contracts.core.circuit.events import (
    Alert,
    AlertTopic,
    Effect,
    Heal,
    Note,
    NoteKind,
    StateTransition,
    Step,
    TransitionCause,
)
from dagster_contracts.core.circuit.judgement import (
    asked_of,
)
from dagster_contracts.core.circuit.state import (
    Circuit,
    CircuitState,
    Override,
    changed,
)
from dagster_contracts.core.circuit.waiting import probe_wait, recent_openings
from dagster_contracts.core.contract import CircuitPolicy

REMEMBERED_EVALUATIONS: Final = 64
"""How many evaluation ids a circuit knows by itself; the store's key knows them all."""


class Turn:
    """The circuit as it stands in the middle of an event, and what the event has caused so far."""

    def __init__(
        self, circuit: Circuit, policy: CircuitPolicy | None, now: datetime, random: float
    ) -> None:
        self.circuit = circuit
        self._policy = policy or CircuitPolicy()
        # What evaluations are judged by: less is asked of an older partition.
        self._asked = asked_of(self._policy, circuit)
        self._bound = policy is not None
        self._now = now
        self._random = random
        self._transitions: list[StateTransition] = []
        self._notes: list[Note] = []
        self._effects: list[Effect] = []

    def step(self) -> Step:
        """What the event has made of the circuit."""
        return Step(
            self.circuit, tuple(self._transitions), tuple(self._notes), tuple(self._effects)
        )

    @property
    def _inert(self) -> bool:
        """Whether no probe is started by itself: nothing may move, or an upstream explains it."""
        return self.circuit.frozen or bool(self.circuit.upstream)

    @property
    def _frozen_by(self) -> str:
        if self.circuit.override is not Override.NONE:
            return f"{self.circuit.override} by {self.circuit.override_actor}"
        return "the contract's mode is metrics_only"

    def _remember(self, evaluation_id: str, **changes: object) -> None:
        recent = (*self.circuit.recent, evaluation_id)[-REMEMBERED_EVALUATIONS:]
        self.circuit = changed(self.circuit, recent=recent, **changes)

    def _in_a_row(self, metric: str, count: int) -> None:
        counted = {**dict(self.circuit.failures), metric: count}
        failures = tuple(sorted((name, times) for name, times in counted.items() if times))
        self.circuit = replace(self.circuit, failures=failures)

    def _next_probe_at(self, attempts: int) -> datetime:
        return self._now + probe_wait(
            self._policy,
            attempts=attempts,
            openings=len(recent_openings(self.circuit.openings, self._policy, self._now)),
            random=self._random,
        )

    def _recorded(self, evaluation_id: str, explanation: str) -> None:
        self.note(NoteKind.RECORDED, explanation, evaluation_id=evaluation_id)

    def note(
        self,
        kind: NoteKind,
        explanation: str,
        *,
        evaluation_id: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Write a line of the history."""
        self._notes.append(
            Note(
                kind=kind,
                key=self.circuit.key,
                generation=self.circuit.generation,
                at=self._now,
                explanation=explanation,
                evaluation_id=evaluation_id,
                actor=actor,
            )
        )

    def _alert(self, topic: AlertTopic, explanation: str, dedupe: str, group: str = "") -> None:
        circuit = self.circuit
        self._effects.append(
            Alert(
                topic=topic,
                key=circuit.key,
                generation=circuit.generation,
                explanation=explanation,
                dedupe_key=f"{circuit.key}:{circuit.generation}:{dedupe}",
                group=f"{circuit.key}{group}",
                explained_by=circuit.upstream,
            )
        )

    def _move(
        self,
        after: CircuitState,
        cause: TransitionCause,
        explanation: str,
        topic: AlertTopic,
        *,
        evaluation_id: str | None = None,
        actor: str | None = None,
        **changes: object,
    ) -> None:
        """The only place where a state changes: generation, transition and alert go with it."""
        before = self.circuit
        generation = before.generation + 1
        since = None if after is CircuitState.CLOSED else self._now
        changes = {"dropped_leases": 0, "waiting_since": since, **changes}
        self.circuit = replace(before, state=after, generation=generation, **changes)  # type: ignore[arg-type]
        self._transitions.append(
            StateTransition(
                key=before.key,
                generation=generation,
                before=before.state,
                after=after,
                at=self._now,
                cause=cause,
                explanation=explanation,
                evaluation_id=evaluation_id,
                actor=actor,
            )
        )
        self._alert(topic, explanation, topic, ":flapping" if topic is AlertTopic.FLAPPING else "")

    def _close(
        self,
        cause: TransitionCause,
        explanation: str,
        *,
        evaluation_id: str | None = None,
        actor: str | None = None,
    ) -> None:
        self._move(
            CircuitState.CLOSED,
            cause,
            explanation,
            AlertTopic.RESOLVED,
            evaluation_id=evaluation_id,
            actor=actor,
            attempts=0,
            good_probes=0,
            opened_at=None,
            reason=None,
            opened_by=(),
            bad_partitions=(),
            bad_forgotten=0,
            edited=False,
            probe_blocked=None,
            next_probe_at=None,
            lease=None,
            window=(),
            averaged=(),
        )
        self.circuit = replace(self.circuit, evaluation_id=None)

    def count_dropped_lease(self, before: Circuit) -> None:
        """A lease that ended without a verdict: the run may be over, so the next is another one."""
        after = self.circuit
        dropped = before.lease is not None and after.lease is None
        same = (after.generation, after.good_probes) == (before.generation, before.good_probes)
        if dropped and same:
            self.circuit = replace(after, dropped_leases=before.dropped_leases + 1)

    def heal_if_restored(self, before: Circuit) -> None:
        """Consumers may read the primary again, because it is good and not because it is forced."""
        after = self.circuit
        # Forced closed over an open circuit is not good yet: what ends both at once restores it.
        if _healthy(after) and not _healthy(before):
            dedupe = f"{after.key}:{after.generation}:heal:{self._now.isoformat()}"
            self._effects.append(
                Heal(key=after.key, generation=after.generation, dedupe_key=dedupe)
            )


def _healthy(circuit: Circuit) -> bool:
    closed = CircuitState.CLOSED
    return circuit.effective_state is closed and circuit.state is closed
