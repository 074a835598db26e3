"""A backtest under the rules that were in force opens and closes as the breaker did."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest
import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.core.contract import ProbeMode, Recovery
from dagster_contracts.resilience.backtest import backtest
from dagster_contracts.resilience.breaker import circuit_key
from dagster_contracts.store.tables import circuits

MINUTE = timedelta(minutes=1)


def as_it_was(store, contract):
    """The openings that the replay finds, and those that happened."""
    (found,) = backtest(store, contract).circuits
    return (
        [(one.since, one.until) for one in found.openings],
        [(one.since, one.until) for one in found.recorded],
    )


def let_pass(breaker, store, clock, contract, key, minutes):
    """Time passes, and a tick comes at each moment at which one is due."""
    end = clock() + minutes * MINUTE
    ticked = None
    while True:
        with store.read() as conn:
            wake = conn.scalar(sa.select(circuits.c.wake_at))
        due = None if wake is None else max(wake, clock())
        if due is None or due >= end or due == ticked:
            break
        clock.advance(seconds=(due - clock()).total_seconds())
        breaker.tick(contract, key)
        ticked = due
    clock.advance(seconds=(end - clock()).total_seconds())


def test_a_batch_that_is_old_as_it_comes_opens_at_the_next_tick_in_both(
    breaker, store, clock, contract_of, report
):
    contract = contract_of("data_freshness > 30min", window=2, min_observations=2)
    key = circuit_key(contract, "orders")

    def record(age, after):
        clock.advance(minutes=after)
        batch = replace(
            report(data_freshness=Fraction(age * 60)), event_time=clock() - age * MINUTE
        )
        return breaker.record(contract, batch, key=key).circuit.state

    assert [record(0, 0), record(45, 10), record(0, 20), record(45, 10)] == [
        CircuitState.CLOSED,
        CircuitState.OPEN,
        CircuitState.CLOSED,
        CircuitState.CLOSED,
    ]
    clock.advance(minutes=1)
    assert breaker.tick(contract, key).circuit.state is CircuitState.OPEN
    clock.advance(hours=1)
    replayed, happened = as_it_was(store, contract)
    assert len(happened) == 2
    assert replayed == [happened[0], (happened[1][0] - MINUTE, None)]


@pytest.mark.parametrize("seed", range(5))
def test_random_histories_open_and_close_at_the_same_moments(
    breaker, store, clock, contract_of, report, seed
):
    dice = random.Random(seed)
    conditions = [
        f"schema_validation_errors > 5%{dice.choice(['', ' for 2 checks', ' for 10min'])}"
    ]
    conditions += dice.sample(
        ["data_freshness > 30min", "failed_materializations >= 2"], k=seed % 3
    )
    window = dice.choice([1, 1, 3])
    contract = contract_of(
        *conditions,
        window=window,
        min_observations=dice.randint(1, window),
        recovery=Recovery(
            jitter=Fraction(0),
            retry_after=dice.choice([5, 15]) * MINUTE,
            probes=dice.choice([1, 2]),
            probe=ProbeMode.WAIT,
        ),
    )
    key = circuit_key(contract, "orders")
    for number in range(25):
        let_pass(breaker, store, clock, contract, key, dice.choice([1, 3, 7, 20, 40]))
        day, late = f"day {number // 10}", dice.random() < 0.15
        if dice.random() < 0.2:
            breaker.observe_failure(
                contract,
                key,
                run_id=f"r{number}",
                what="failed_materializations",
                partition=day,
                backfill=late,
            )
        else:
            age = dice.choice([0, 0, 5, 45])
            batch = report(
                dice.choice([0, 0, 0, 3, 20, 100]),
                id=f"e{number:03}",
                partition=day,
                data_freshness=Fraction(age * 60),
            )
            batch = replace(batch, event_time=clock() - age * MINUTE)
            breaker.record(contract, batch, key=key, backfill=late)
    replayed, happened = as_it_was(store, contract)
    assert happened
    assert replayed == happened
