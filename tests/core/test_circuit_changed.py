"""A circuit with a few fields changed is what ``dataclasses.replace`` makes of it."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from dagster_contracts.core.circuit import Circuit, CircuitKey
from dagster_contracts.core.circuit.state import changed

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_each_field_is_changed_and_the_others_stay():
    # Every field has another value, so that none can be mistaken for its neighbour.
    own = {field.name: f"value of {field.name}" for field in fields(Circuit)}
    circuit = Circuit(**own)
    for name in own:
        assert changed(circuit, **{name: NOON}) == replace(circuit, **{name: NOON})
    assert changed(circuit) == circuit
    assert circuit == Circuit(**own)


def test_what_is_no_field_is_refused():
    with pytest.raises(AttributeError, match="evaluation_count"):
        changed(Circuit(key=CircuitKey("orders", "orders")), evaluation_count=1)
