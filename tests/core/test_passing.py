"""A batch passes by itself or not at all: no patience, no override and no mode lets it through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    CircuitState,
    Observed,
    Override,
    why_not_passed,
)
from dagster_contracts.core.condition import Observation, parse_condition
from dagster_contracts.core.contract import CircuitMode, CircuitPolicy, OnUnknown

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = CircuitKey("orders", "orders")


def batch(**metrics: Fraction | None) -> Observed:
    return Observed(evaluation_id="e", metrics=metrics, evaluated_at=NOW)


@st.composite
def terms(draw: st.DrawFn) -> tuple[str, Fraction, str, bool]:
    """A metric, its limit, a hold, and whether the comparison is written as a negation."""
    hold = draw(st.sampled_from(["", " for 3 checks", " for 30min"]))
    limit = Fraction(draw(st.integers(0, 20)), 100)
    metric = draw(st.sampled_from(["schema_validation_errors", "duplicates"]))
    return metric, limit, hold, draw(st.booleans())


circuits = st.builds(
    lambda state, override, seen: Circuit(
        key=KEY,
        state=state,
        override=override,
        window=tuple(
            Observation(NOW - timedelta(hours=n), {"schema_validation_errors": value})
            for n, value in enumerate(reversed(seen), 1)
        ),
    ),
    st.sampled_from(CircuitState),
    st.sampled_from(Override),
    st.lists(st.sampled_from([None, Fraction(0), Fraction(1)]), max_size=3),
)


@given(
    st.lists(terms(), max_size=3),
    circuits,
    st.sampled_from(CircuitMode),
    st.sampled_from(OnUnknown),
    st.integers(1, 5),
    st.integers(1, 5),
    st.fixed_dictionaries(
        {
            name: st.none() | st.integers(0, 25).map(lambda n: Fraction(n, 100))
            for name in ("schema_validation_errors", "duplicates")
        }
    ),
)
def test_only_the_batch_and_the_bare_thresholds_decide(
    conditions: list[tuple[str, Fraction, str, bool]],
    circuit: Circuit,
    mode: CircuitMode,
    on_unknown: OnUnknown,
    window: int,
    least: int,
    metrics: dict[str, Fraction | None],
) -> None:
    written = [
        f"not {metric} <= {limit * 100}%{hold}" if negated else f"{metric} > {limit * 100}%{hold}"
        for metric, limit, hold, negated in conditions
    ]
    policy = CircuitPolicy(
        open_when=tuple(map(parse_condition, written)),
        mode=mode,
        on_unknown=on_unknown,
        window=window,
        min_observations=least,
    )
    broken = any(
        (on_unknown is OnUnknown.OPEN if (value := metrics[metric]) is None else value > limit)
        for metric, limit, _, _ in conditions
    )
    why = why_not_passed(circuit, batch(**metrics), policy=policy, now=NOW)
    assert (why is not None) == broken


def test_what_is_within_the_threshold_passes_and_the_reason_names_what_is_not() -> None:
    policy = CircuitPolicy(
        open_when=(parse_condition("schema_validation_errors > 5% for 3 checks"),)
    )
    circuit = Circuit(key=KEY)
    good = batch(schema_validation_errors=Fraction(2, 100))
    assert why_not_passed(circuit, good, policy=policy, now=NOW) is None
    bad = batch(schema_validation_errors=Fraction(6, 100))
    assert why_not_passed(circuit, bad, policy=policy, now=NOW) == (
        "schema_validation_errors was 6.0%, which is > 5%"
    )


@pytest.mark.parametrize("on_unknown", OnUnknown)
def test_a_late_batch_is_not_asked_what_speaks_of_the_newest(on_unknown: OnUnknown) -> None:
    policy = CircuitPolicy(
        open_when=(parse_condition("row_count < 10"), parse_condition("duplicates > 5%")),
        on_unknown=on_unknown,
    )

    def why(**metrics: Fraction | None) -> str | None:
        late = Observed(evaluation_id="e", metrics=metrics, partition="a", backfill=True)
        return why_not_passed(Circuit(key=KEY), late, policy=policy, now=NOW)

    assert why(row_count=Fraction(1), duplicates=Fraction(0)) is None
    assert why(row_count=Fraction(1), duplicates=Fraction(1)) is not None
