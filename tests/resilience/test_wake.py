"""A circuit that is looked at only when it asks to be woken misses nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_contracts.core.circuit import Circuit, CircuitKey, Observed, Ticked, advance
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    CircuitPolicy,
    Contract,
    Recovery,
    Resilience,
    SchemaObject,
)
from dagster_contracts.resilience.wake import clock_metrics, wake_at

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
CONDITIONS = [
    "data_freshness > 30min",
    "data_freshness >= 25min",
    "data_freshness > 10min for 20min",
    "materialization_age > 40min",
    "data_freshness > 15min and materialization_age > 35min",
    "not data_freshness < 20min",
    "row_count < 100 for 25min",
    "row_count < 100 for 25min or data_freshness > 50min",
    "row_count < 100 and data_freshness > 12min",
    "row_count < 100",
]


def states(contract, observations, *, every_minute):
    """The state at each minute of two hours, ticked always or only when it is time."""
    assert contract.resilience is not None
    policy = contract.resilience.circuit
    circuit = Circuit(key=CircuitKey("orders", "orders"))
    seen = []
    wake = None
    for minute in range(120):
        now = START + timedelta(minutes=minute)
        if minute in observations:
            rows, lag = observations[minute]
            metrics = {
                "row_count": Fraction(rows),
                "data_freshness": Fraction(60 * lag),
                "materialization_age": Fraction(0),
            }
            event = Observed(
                evaluation_id=str(minute),
                metrics=metrics,
                event_time=now - timedelta(minutes=lag),
                evaluated_at=now,
            )
        elif every_minute or (wake is not None and wake <= now):
            event = Ticked(metrics=clock_metrics(circuit, contract, now))
        else:
            seen.append(circuit.state)
            continue
        circuit = advance(circuit, event, policy=policy, now=now, random=0.5).circuit
        wake = wake_at(circuit, contract, now)
        seen.append(circuit.state)
    return seen


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3),
    st.dictionaries(
        st.integers(0, 119),
        st.tuples(st.sampled_from([50, 500]), st.integers(0, 20)),
        max_size=6,
    ),
    st.integers(5, 40),
)
def test_waking_by_the_circuits_own_word_sees_what_looking_each_minute_sees(
    conditions, later, retry_after
):
    policy = CircuitPolicy(
        open_when=tuple(parse_condition(text) for text in conditions),
        recovery=Recovery(retry_after=timedelta(minutes=retry_after), jitter=Fraction(0)),
    )
    contract = Contract(
        name="orders",
        version="1.0.0",
        objects=(SchemaObject(name="orders"),),
        event_time="at",
        resilience=Resilience(circuit=policy),
    )
    observations = {**later, 0: (500, 0)}
    assert states(contract, observations, every_minute=False) == states(
        contract, observations, every_minute=True
    )
