"""The state machine: ``advance`` is every row of the state table, and nothing else changes state."""

from __future__ import annotations

from datetime import datetime, timedelta

from dagster_contracts.core.circuit.events import CircuitEvent, Observed, Step
from dagster_contracts.core.circuit.state import Circuit
from dagster_contracts.core.condition import Decision
from dagster_contracts.core.contract import CircuitPolicy


def advance(
    circuit: Circuit,
    event: CircuitEvent,
    *,
    policy: CircuitPolicy,
    now: datetime,
    random: float,
) -> Step:
    """What ``event`` makes of ``circuit`` at ``now``; ``random`` in [0, 1) is the jitter's die."""
    raise NotImplementedError


def would_open(
    circuit: Circuit, batch: Observed, *, policy: CircuitPolicy, now: datetime
) -> Decision:
    """Whether this batch makes ``open_when`` true: the audit before it is published.

    TRUE whatever the circuit's state is; a batch of an older partition is judged without the
    metrics that speak of the newest.
    """
    raise NotImplementedError


def probe_wait(policy: CircuitPolicy, *, attempts: int, openings: int, random: float) -> timedelta:
    """How long to wait before the next probe."""
    raise NotImplementedError
