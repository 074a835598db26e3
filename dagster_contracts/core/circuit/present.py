"""A circuit as it stands at a moment, although nothing has asked it since."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dagster_contracts.core.circuit.events import Placed
from dagster_contracts.core.circuit.machine import advance
from dagster_contracts.core.circuit.state import Circuit


def standing_at(circuit: Circuit, now: datetime) -> Circuit:
    """The circuit without an override that has ended by itself; nothing else moves.

    The next read, tick or evaluation writes that down. Until then the row still says what was
    decided, and who looks at it would take it for standing.
    """
    if circuit.override_until is None or now < circuit.override_until:
        return circuit
    # Any event would do: what is due is settled before it.
    event = Placed(time=circuit.partition_time or now, superseded=circuit.superseded)
    settled = advance(circuit, event, policy=None, now=now, random=0.0).circuit
    return replace(settled, partition_time=circuit.partition_time)
