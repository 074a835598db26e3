"""A backtest of a while begins with what stood at its beginning, and with who decided what."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from dagster_contracts.core.circuit import CircuitState, Override
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    CircuitScope,
    FallbackLevel,
    FallbackSource,
    Recovery,
    SourceKind,
)
from dagster_contracts.resilience.backtest import backtest
from dagster_contracts.resilience.breaker import circuit_key

LEVELS = (
    FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY)),
    FallbackLevel(name="last_valid", source=FallbackSource(SourceKind.LAST_VALID)),
)


@pytest.fixture
def contract(contract_of):
    """Falls back to the last valid batch; gives up after one probe."""
    made = contract_of(
        "schema_validation_errors > 5%",
        recovery=Recovery(jitter=Fraction(0), max_retries=1),
    )
    return replace(made, resilience=replace(made.resilience, levels=LEVELS))


def test_the_last_valid_batch_from_before_serves(breaker, contract, key, report, clock, store):
    breaker.record(contract, report(0), key=key)
    clock.advance(seconds=25)
    breaker.record(contract, report(9), key=key)
    clock.advance(seconds=8)

    (circuit,) = backtest(store, contract, since=clock() - timedelta(seconds=20)).circuits

    assert (circuit.evaluations, circuit.since) == (1, clock() - timedelta(seconds=20))
    assert [s.level for s in circuit.stretches] == ["primary", "last_valid"]
    assert circuit.stretches[0].since == circuit.since


def test_a_circuit_that_was_open_before_is_open_throughout(
    breaker, contract, key, report, clock, store
):
    breaker.record(contract, report(0), key=key)
    clock.advance(minutes=1)
    breaker.record(contract, report(9), key=key)
    opened = clock()
    clock.advance(minutes=5)
    begin = clock() - timedelta(minutes=1)

    result = backtest(store, contract, since=begin, curves=1)

    (circuit,) = result.circuits
    assert (circuit.evaluations, circuit.since) == (0, begin)
    assert [(o.since, o.until) for o in circuit.openings] == [(opened, None)]
    assert [(o.since, o.until) for o in circuit.recorded] == [(opened, None)]
    assert circuit.time_open(clock()) == timedelta(minutes=1)
    assert [(s.state, s.level) for s in circuit.stretches] == [(CircuitState.OPEN, "last_valid")]
    assert (circuit.stretches[0].since, circuit.stretches[0].until) == (begin, clock())
    assert result.recorded_since == opened - timedelta(minutes=1)


def test_the_observations_from_before_count(breaker, contract_of, report, clock, store):
    contract = contract_of("schema_validation_errors > 5% for 3 checks")
    for _ in range(3):
        breaker.record(contract, report(9), key=circuit_key(contract, "orders"))
        clock.advance(hours=1)

    (circuit,) = backtest(store, contract, since=clock() - timedelta(hours=1)).circuits

    assert (circuit.evaluations, len(circuit.openings)) == (1, 1)


@pytest.mark.parametrize("hours", range(1, 9))
def test_a_while_is_the_end_of_the_whole(breaker, contract, key, report, clock, store, hours):
    for broken in (0, 9, 9, 0, 0, 9, 0):
        breaker.record(contract, report(broken), key=key)
        clock.advance(hours=1)
    begin = clock() - timedelta(hours=hours, minutes=-30)
    (whole,) = backtest(store, contract).circuits

    (circuit,) = backtest(store, contract, since=begin).circuits

    shown = [
        replace(s, since=max(s.since, circuit.since)) for s in whole.stretches if s.until > begin
    ]
    assert list(circuit.stretches) == shown
    assert circuit.openings == tuple(o for o in whole.openings if not o.until or o.until > begin)


def test_of_partitions_those_are_told_to_which_something_happened(
    breaker, contract_of, report, clock, store
):
    contract = contract_of("schema_validation_errors > 5%", scope=CircuitScope.PARTITION)
    for partition, broken in (("closed", 0), ("open", 9), ("new", 0)):
        key = circuit_key(contract, "orders", partition)
        breaker.record(contract, report(broken, partition=partition), key=key)
        clock.advance(hours=1)

    found = backtest(store, contract, since=clock() - timedelta(hours=1)).circuits

    assert [one.key.partition for one in found] == ["new", "open"]


def test_the_age_is_drawn_from_the_beginning(breaker, contract_of, report, clock, store):
    contract = contract_of("materialization_age > 2h")
    key = circuit_key(contract, "orders")
    breaker.record(contract, report(), key=key)
    clock.advance(minutes=90)
    begin = clock()
    clock.advance(minutes=10)
    breaker.record(contract, report(), key=key)
    clock.advance(minutes=20)

    (circuit,) = backtest(store, contract, since=begin, curves=1).circuits

    points = [
        ((at - begin) // timedelta(minutes=1), int(age) // 60)
        for at, age in circuit.curves["materialization_age"]
    ]
    assert points == [(0, 90), (10, 100), (10, 0), (30, 20)]


def test_a_reset_happens_again(breaker, contract, key, report, clock, store):
    breaker.record(contract, report(0), key=key)
    clock.advance(hours=1)
    breaker.record(contract, report(9), key=key)
    clock.advance(minutes=7)
    breaker.reset(key, actor="ada", reason="the feed is back", contract=contract)
    clock.advance(hours=5)

    (circuit,) = backtest(store, contract).circuits

    (opening,), (really,) = circuit.openings, circuit.recorded
    assert (opening.since, opening.until) == (really.since, really.until)
    assert opening.ended == really.ended == "reset by ada: the feed is back"
    assert [s.level for s in circuit.stretches] == ["primary", "last_valid", "primary"]


def test_a_reset_of_what_was_closed_closes_what_other_rules_opened(
    breaker, contract, key, report, clock, store
):
    breaker.record(contract, report(3), key=key)
    clock.advance(minutes=7)
    breaker.reset(key, actor="ada", reason="looked at it", contract=contract)
    policy = replace(
        contract.resilience.circuit, open_when=(parse_condition("schema_validation_errors > 1%"),)
    )
    edited = replace(contract, resilience=replace(contract.resilience, circuit=policy))

    (circuit,) = backtest(store, edited).circuits

    assert [o.ended for o in circuit.openings] == ["reset by ada: looked at it"]


def test_a_reset_of_the_asset_is_one_of_each_partition(breaker, contract_of, report, clock, store):
    contract = contract_of("schema_validation_errors > 5%")
    key = circuit_key(contract, "orders")
    for partition in ("d1", "d2"):
        breaker.record(contract, report(9, partition=partition), key=key)
        clock.advance(minutes=1)
    breaker.reset(key, actor="ada", reason="mended", contract=contract)
    policy = replace(contract.resilience.circuit, scope=CircuitScope.PARTITION)
    edited = replace(contract, resilience=replace(contract.resilience, circuit=policy))
    clock.advance(minutes=1)

    found = backtest(store, edited).circuits

    assert [[o.ended for o in one.openings] for one in found] == [["reset by ada: mended"]] * 2


def test_overrides_are_named_and_not_replayed(breaker, contract, key, report, clock, store):
    breaker.force(key, Override.FORCED_OPEN, actor="bob", reason="early", contract=contract)
    began = clock()
    clock.advance(minutes=1)
    breaker.force(key, Override.NONE, actor="bob", reason="never mind", contract=contract)
    clock.advance(hours=1)
    breaker.force(key, Override.FORCED_CLOSED, actor="ada", reason="cents", contract=contract)
    forced = clock()
    breaker.record(contract, report(9), key=key)
    clock.advance(hours=1)

    whole = backtest(store, contract, since=began)
    later = backtest(store, contract, since=clock() - timedelta(minutes=5))

    assert len(whole.circuits[0].openings) == 1
    assert [(one.since, one.until) for one in whole.left_out] == [
        (began, began + timedelta(minutes=1)),
        (forced, None),
    ]
    assert [one.said for one in later.left_out] == [
        "forced closed by ada until it is lifted: cents"
    ]


def test_what_was_forced_of_partitions_without_records_is_not_told(
    breaker, contract_of, report, store, clock
):
    contract = contract_of("schema_validation_errors > 5%", scope=CircuitScope.PARTITION)
    seen, misspelt, whole = (circuit_key(contract, "orders", p) for p in ("d1", "d!", None))
    breaker.record(contract, report(0, partition="d1"), key=seen)
    for key in (seen, misspelt, whole):
        breaker.force(key, Override.FORCED_OPEN, actor="ada", reason="x", contract=contract)
    clock.advance(hours=1)

    left_out = backtest(store, contract).left_out

    assert [one.key for one in left_out] == sorted([seen, whole])
