"""A circuit's history: what was appended when it changed, as a person reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from dagster_contracts.core.circuit import CircuitKey, CircuitState, Override, TransitionCause

TRANSITION = "transition"

# Notes whose explanation is a sentence of its own.
_SAYS_ALL = ("override_set", "policy_changed", "probe_blocked", "would_open")
# What tags the run of a probe: the circuit, its generation, and how many probes were good.
_HOLDER = re.compile(r"probe:.+?:\d+:\d+(?::\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of the history, as it was appended.

    ``kind`` is ``transition``, the kind of a note (``override_set``, ``late``, ...), or, where the
    circuit only took something in, what that was (``ticked``). ``version`` counts the lines of the
    circuit without a gap. ``next_probe_at`` is set where the line set it.
    """

    key: CircuitKey
    version: int
    generation: int
    kind: str
    before: CircuitState
    after: CircuitState
    at: datetime
    explanation: str
    cause: str | None = None
    evaluation_id: str | None = None
    run_id: str | None = None
    actor: str | None = None
    next_probe_at: datetime | None = None

    @property
    def is_transition(self) -> bool:
        """Whether the state changed."""
        return self.before is not self.after

    def sentence(self) -> str:
        """``2026-03-02 06:00:00 UTC opened by evaluation 1f3c: row_count was 0, which is < 1``."""
        by = f" by {self.actor}" if self.actor else ""
        if not by and self.evaluation_id:
            by = f" by evaluation {short_id(self.evaluation_id)}"
        about = self._about()
        if self.kind in _SAYS_ALL and about:
            return f"{self.at:%Y-%m-%d %H:%M:%S} UTC {about}"
        told = f"{self.at:%Y-%m-%d %H:%M:%S} UTC {self._what()}{by}{f': {about}' if about else ''}"
        if self.after is CircuitState.OPEN and self.is_transition and self.next_probe_at:
            day = "" if self.next_probe_at.date() == self.at.date() else "%Y-%m-%d "
            told += f"; next probe {self.next_probe_at:{day}%H:%M} UTC"
        return told

    def _what(self) -> str:
        if not self.is_transition:
            # All that a person does to a closed circuit without an override is to reset it.
            return (
                "reset" if self.kind == "recorded" and self.actor else self.kind.replace("_", " ")
            )
        if self.cause == TransitionCause.RESET:
            return "reset"
        return {
            CircuitState.CLOSED: "closed",
            CircuitState.OPEN: "opened" if self.before is CircuitState.CLOSED else "stays open",
            CircuitState.HALF_OPEN: "half-open",
            CircuitState.EXHAUSTED: "exhausted",
        }[self.after]

    def _about(self) -> str:
        """The explanation without what the line says already."""
        about = self.explanation
        for said in (f"reset by {self.actor}: ", f"{self.kind}: "):
            about = about.removeprefix(said)
        for override in Override:
            about = about.replace(override.value, override.value.replace("_", " "))
        return without_holders(about)


def short_id(evaluation_id: str) -> str:
    """The first eight characters of a UUID: enough to find it again; any other id as it is."""
    is_uuid = len(evaluation_id) == 32 and not set(evaluation_id) - set("0123456789abcdef")
    return evaluation_id[:8] if is_uuid else evaluation_id


def without_holders(text: str) -> str:
    """``text`` with the tag of a probe's run spelled as what it is to a person."""
    return _HOLDER.sub("the sensor's run", text)
