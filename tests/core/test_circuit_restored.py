"""Healing is asked for when the primary is good again, whatever was forced meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    CircuitState,
    Forced,
    Heal,
    Observed,
    Override,
    ProbeAsked,
    Reset,
    Ticked,
    advance,
)
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import CircuitPolicy, Recovery

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
POLICY = CircuitPolicy(
    open_when=(parse_condition("schema_validation_errors > 5%"),),
    recovery=Recovery(retry_after=timedelta(minutes=10), max_retries=3),
)


class Story:
    """One circuit, and how often healing was asked for."""

    def __init__(self) -> None:
        self.circuit = Circuit(key=CircuitKey("orders", "orders"))
        self.now = START
        self.healings = 0

    def happens(self, event, minutes=0):
        self.now += timedelta(minutes=minutes)
        step = advance(self.circuit, event, policy=POLICY, now=self.now, random=0.5)
        self.circuit = step.circuit
        self.healings += sum(isinstance(effect, Heal) for effect in step.effects)

    def evaluated(self, name, broken, **more):
        metrics = {"schema_validation_errors": Fraction(broken, 100)}
        self.happens(Observed(evaluation_id=name, metrics=metrics, **more))


@pytest.mark.parametrize("override", [Override.FORCED_CLOSED, Override.METRICS_ONLY])
def test_a_reset_of_what_was_only_let_through_asks_for_healing(override: Override) -> None:
    story = Story()
    story.evaluated("bad", 7)
    story.happens(Forced(override=override, actor="ann", reason="the report is due"))
    assert story.healings == 0  # nobody has said that the data is good
    story.happens(Reset(actor="ann", reason="mended"))
    assert story.circuit.state is CircuitState.CLOSED
    assert story.healings == 1


def test_a_probe_that_ends_after_the_override_asks_for_healing() -> None:
    story = Story()
    story.evaluated("bad", 7)
    story.happens(Ticked(), minutes=15)
    until = story.now + timedelta(minutes=1)
    story.happens(Forced(override=Override.FORCED_CLOSED, actor="a", reason="r", until=until))
    story.now = until
    story.evaluated("good", 0)
    assert story.circuit.state is CircuitState.CLOSED
    assert story.healings == 1


def test_a_circuit_that_is_restored_twice_asks_twice() -> None:
    story = Story()
    for number in range(2):
        story.evaluated(f"bad {number}", 7)
        story.happens(Ticked(), minutes=15)
        story.happens(ProbeAsked(holder="p"))
        story.evaluated(f"good {number}", 0, lease_holder="p")
    assert story.healings == 2
