"""Whether a batch passed: what may stand in for later ones must be good by itself."""

from __future__ import annotations

from datetime import datetime

from dagster_contracts.core.circuit.events import Observed
from dagster_contracts.core.circuit.judgement import (
    asked_of,
    is_probe,
    judge_alone,
    rewound,
    why_late,
)
from dagster_contracts.core.circuit.state import Circuit
from dagster_contracts.core.contract import CircuitPolicy


def why_not_passed(
    circuit: Circuit, batch: Observed, *, policy: CircuitPolicy, now: datetime
) -> str | None:
    """The ``open_when`` conditions that a batch breaks by itself; ``None`` where it passed.

    Patience is for the circuit, not for the batch: ``for 3 checks``, ``window`` and
    ``min_observations`` only put off the opening, and an override or the metrics-only mode only
    lets the batch through. Consumers must never get it as the last valid one, so each condition is
    asked of this evaluation alone. What could not be measured speaks against it where the policy
    says ``on_unknown: open``. A late batch is not asked what speaks of the newest.
    """
    circuit = rewound(circuit, now)
    late = why_late(circuit, batch) is not None and not is_probe(circuit, batch.lease_holder)
    verdict = judge_alone(
        asked_of(policy, circuit), batch.metrics, now, late=late, silent=batch.silent
    )
    return None if verdict is None else verdict.explanation
