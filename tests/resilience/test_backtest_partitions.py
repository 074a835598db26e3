"""What a backtest serves for a partition is what a run would have been served for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dagster_contracts.core.contract import (
    CircuitScope,
    FallbackLevel,
    FallbackSource,
    SourceKind,
)
from dagster_contracts.resilience.backtest import backtest
from dagster_contracts.resilience.backtest.last_valid import LastValid
from dagster_contracts.resilience.breaker import circuit_key
from dagster_contracts.store.columns import to_micros

PRIMARY = FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY))
SCHEDULE = FallbackLevel(name="schedule", source=FallbackSource(SourceKind.URI, "schedule.parquet"))


@pytest.fixture
def tell(breaker, contract_of, report, clock, store):
    """Replay evaluations an hour apart: the levels of each circuit, one after the other."""

    def run(*evaluations, scope, any_partition=False, then=(), **level):
        last_valid = FallbackLevel(
            name="last_valid",
            source=FallbackSource(SourceKind.LAST_VALID),
            any_partition=any_partition,
            **level,
        )
        contract = contract_of("schema_validation_errors > 5%", scope=scope, event_time=None)
        levels = (PRIMARY, last_valid, *then)
        contract = replace(contract, resilience=replace(contract.resilience, levels=levels))
        for partition, broken in evaluations:
            key = circuit_key(contract, "orders", partition)
            breaker.record(contract, report(broken, partition=partition), key=key)
            clock.advance(hours=1)
        circuits = backtest(store, contract).circuits
        return {one.key.partition: one.stretches for one in circuits}

    return run


def levels(stretches):
    """What was served, without what only the state changed."""
    return list(dict.fromkeys((s.level, s.levels) for s in stretches))


@pytest.mark.parametrize("scope", CircuitScope)
def test_another_partitions_batch_stands_in_for_none(tell, scope):
    told = tell(("d1", 0), ("d2", 9), scope=scope, then=[SCHEDULE])

    partition = "d2" if scope is CircuitScope.PARTITION else None
    assert (
        levels(told[partition])
        == [("primary", ()), ("schedule", ())][scope is CircuitScope.PARTITION :]
    )


@pytest.mark.parametrize("scope", CircuitScope)
def test_any_partition_lets_the_newest_of_another_stand_in(tell, scope):
    told = tell(("d1", 0), ("d2", 9), scope=scope, any_partition=True)

    partition = "d2" if scope is CircuitScope.PARTITION else None
    assert told[partition][-1].level == "last_valid"


def test_what_passed_elsewhere_grows_old_and_is_made_anew(tell):
    told = tell(
        ("d1", 0),
        ("d2", 9),
        *[("d2", 9)] * 3,
        ("d3", 0),
        ("d1", 0),
        scope=CircuitScope.PARTITION,
        any_partition=True,
        max_age=timedelta(hours=2),
    )

    hours = [(s.level, (s.until - s.since) // timedelta(minutes=1)) for s in told["d2"] if s.level]
    assert levels(told["d2"]) == [("last_valid", ()), (None, ())]
    # The one of d1 for an hour, two hours nothing, then that of d3 and the next of d1.
    assert sum(length for _, length in hours) == 60 + 120


def test_nothing_that_passed_later_serves_before(tell):
    told = tell(("d2", 9), ("d1", 0), scope=CircuitScope.PARTITION, any_partition=True)

    assert levels(told["d2"]) == [(None, ()), ("last_valid", ())]


def test_its_own_batch_comes_before_a_newer_one_of_another(tell):
    told = tell(
        ("d2", 0),
        ("d1", 0),
        ("d2", 9),
        scope=CircuitScope.PARTITION,
        any_partition=True,
        max_age=timedelta(hours=2, minutes=30),
    )

    assert levels(told["d2"])[-1] == (None, ())


def test_partitions_that_are_served_differently_are_said_to_be(tell):
    told = tell(("d1", 0), ("d2", 9), ("d1", 9), scope=CircuitScope.ASSET, then=[SCHEDULE])

    assert levels(told[None]) == [
        ("primary", ()),
        ("schedule", ()),
        ("schedule", ("last_valid", "schedule")),
    ]


@pytest.mark.parametrize("any_partition", [False, True])
@pytest.mark.parametrize("partitioned", [False, True])
def test_a_partition_of_an_asset_stands_in_for_its_own(
    breaker, contract_of, report, clock, store, any_partition, partitioned
):
    source = contract_of("schema_validation_errors > 5%", name="sketch")
    level = FallbackLevel(
        name="sketch",
        source=FallbackSource(SourceKind.ASSET, "sketch"),
        any_partition=any_partition,
        max_age=timedelta(days=1),
    )
    contract = contract_of("schema_validation_errors > 5%", event_time=None)
    levels = (PRIMARY, level, SCHEDULE)
    contract = replace(contract, resilience=replace(contract.resilience, levels=levels))
    batch = replace(report(partition="d1" if partitioned else None), contract="sketch")
    breaker.record(source, batch, key=circuit_key(source, "sketch"))
    for partition in ("d1", "d2"):
        key = circuit_key(contract, "orders")
        breaker.record(contract, report(9, partition=partition), key=key)
        clock.advance(minutes=5)

    (circuit,) = backtest(store, contract).circuits

    differ = partitioned and not any_partition
    assert circuit.stretches[-1].levels == (("sketch", "schedule") if differ else ())
    served = list(dict.fromkeys(s.level for s in circuit.stretches))
    assert served == (["sketch", "schedule"] if differ else ["sketch"])


def test_who_has_a_batch_of_its_own_waits_for_no_other_however_old_it_is(clock):
    now = clock()
    elsewhere = [to_micros(now + timedelta(minutes=minute)) for minute in (1, 2)]
    last_valid = LastValid(elsewhere)

    assert last_valid.next_elsewhere("d1", now) == now + timedelta(minutes=1)
    last_valid.passed("d1", now)
    assert last_valid.next_elsewhere("d1", now) is None
