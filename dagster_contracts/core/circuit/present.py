"""A circuit as it stands at a moment, although nothing has asked it since."""

from __future__ import annotations

from datetime import datetime

from dagster_contracts.core.circuit.events import Placed
from dagster_contracts.core.circuit.machine import advance
from dagster_contracts.core.circuit.state import Circuit


def standing_at(circuit: Circuit, now: datetime) -> Circuit:
    """The circuit without an override that has ended by itself; nothing else moves.

    The next read, tick or evaluation writes that down. Until then the row still says what was
    decided, and who looks at it would take it for standing.
    """
    unmoved = Placed(time=circuit.partition_time, superseded=circuit.superseded)
    return advance(circuit, unmoved, policy=None, now=now, random=0.0).circuit
