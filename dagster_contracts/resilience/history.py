"""A circuit's history: what was appended when it changed, as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dagster_contracts.core.circuit import CircuitKey, CircuitState

TRANSITION = "transition"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of the history, as it was appended.

    ``kind`` is ``transition``, the kind of a note (``override_set``, ``late``, ...), or, where the
    circuit only took something in, what that was (``ticked``). ``version`` counts the lines of the
    circuit without a gap.
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

    @property
    def is_transition(self) -> bool:
        """Whether the state changed."""
        return self.before is not self.after

    def sentence(self) -> str:
        """``2026-03-02 06:00:00 UTC opened by evaluation 1f3c: row_count was 0, which is < 1``."""
        words = {
            CircuitState.CLOSED: "closed",
            CircuitState.OPEN: "opened" if self.before is CircuitState.CLOSED else "stays open",
            CircuitState.HALF_OPEN: "half-open",
            CircuitState.EXHAUSTED: "exhausted",
        }
        said = words[self.after] if self.is_transition else self.kind.replace("_", " ")
        by = f" by {self.actor}" if self.actor else ""
        if not by and self.evaluation_id:
            by = f" by evaluation {self.evaluation_id}"
        about = f": {self.explanation}" if self.explanation else ""
        return f"{self.at:%Y-%m-%d %H:%M:%S} UTC {said}{by}{about}"
