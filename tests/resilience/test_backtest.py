"""A backtest of the present rules tells what happened; one of other rules what would have."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pyarrow as pa
import pytest

from dagster_contracts.core.circuit import CircuitState, Override
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    CircuitScope,
    FallbackLevel,
    FallbackSource,
    OnUnknown,
    Recovery,
    Resilience,
    SourceKind,
)
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.backtest import backtest, time_open
from dagster_contracts.resilience.breaker import CircuitBreaker, circuit_key
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.store.database import open_store

TICK = timedelta(minutes=10)
PRIMARY = FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY))


def with_levels(contract, *levels):
    resilience = dataclasses.replace(contract.resilience, levels=(PRIMARY, *levels))
    return dataclasses.replace(contract, resilience=resilience)


def last_valid(**facts):
    return FallbackLevel(name="last_valid", source=FallbackSource(SourceKind.LAST_VALID), **facts)


def story(breaker, contract, key, clock, report, steps):
    """Evaluations an hour apart, ``None`` where only time passes; a tick every ten minutes."""
    for broken in steps:
        if broken is not None:
            breaker.record(contract, report(broken), key=key)
        for _ in range(6):
            clock.advance(minutes=10)
            breaker.tick(contract, key)


@pytest.mark.parametrize("seed", range(6))
def test_the_present_rules_replayed_are_what_happened(
    tmp_path, clock, contract_of, report, seed, sqlite_template
):
    path = tmp_path / "state.db"
    path.write_bytes(sqlite_template.read_bytes())
    contract = contract_of(
        "schema_validation_errors > 5%",
        "schema_validation_errors > 1% for 3 checks",
        "data_freshness > 90min",
        recovery=Recovery(
            jitter=Fraction(0), retry_after=timedelta(minutes=30), max_retries=2, probes=2
        ),
    )
    key = circuit_key(contract, "orders")
    dice = random.Random(seed)
    steps = dice.choices([0, 0, 2, 7, None], k=30)
    with_clock = open_store(f"sqlite:///{path}", clock=clock)
    breaker = CircuitBreaker(with_clock, random=lambda: 0.5)
    story(breaker, contract, key, clock, report, steps)
    found = backtest(with_clock, contract)
    (circuit,) = found.circuits
    with_clock.close()
    assert len(circuit.openings) == len(circuit.recorded) > 0
    for replayed, real in zip(circuit.openings, circuit.recorded, strict=True):
        assert (replayed.evaluation_id, replayed.exhausted) == (real.evaluation_id, real.exhausted)
        # Those of the replay come at the very moment.
        assert timedelta(0) <= real.since - replayed.since <= TICK
        assert (replayed.until is None) is (real.until is None)
        if real.until is not None:
            assert timedelta(0) <= real.until - replayed.until <= TICK


@pytest.mark.parametrize("unmeasured", [False, True])
def test_what_others_report_is_no_unknown_of_a_batch_live_or_replayed(
    breaker, contract_of, report, clock, store, unmeasured
):
    contract = contract_of(
        "schema_validation_errors > 5%", "failed_ratio.shares > 0%", on_unknown=OnUnknown.OPEN
    )
    key = circuit_key(contract, "orders")
    shares = {"rows": None, "outcomes": (), "metrics": {"failed_ratio.shares": Fraction(0)}}
    for _ in range(3):
        breaker.record(contract, report(), key=key)
        clock.advance(minutes=1)
        others = dataclasses.replace(report(), **shares, evaluated_at=clock())
        breaker.record(contract, others, key=key, reported="failed_ratio.shares")
        clock.advance(minutes=1)
    if unmeasured:  # What a batch itself should have told opens all the same.
        batch = report(schema_validation_errors=None)
        breaker.record(contract, batch, key=key)
    opened = [CircuitState.OPEN] if unmeasured else [CircuitState.CLOSED]
    assert [circuit.state for circuit in breaker.circuits()] == opened
    (circuit,) = backtest(store, contract).circuits
    assert len(circuit.openings) == len(circuit.recorded) == int(unmeasured)


def test_a_looser_rule_would_not_have_opened(breaker, contract, key, report, clock, store):
    story(breaker, contract, key, clock, report, [0, 7, 0])
    policy = dataclasses.replace(
        contract.resilience.circuit, open_when=(parse_condition("schema_validation_errors > 10%"),)
    )
    edited = dataclasses.replace(contract, resilience=Resilience(circuit=policy))
    (circuit,) = backtest(store, edited).circuits
    assert circuit.openings == ()
    assert len(circuit.recorded) >= 1
    assert breaker.circuit(key).state is not None, "nothing of the real circuit was touched"


def test_nothing_is_written(breaker, contract, key, report, clock, store):
    story(breaker, contract, key, clock, report, [0, 7])
    before = (breaker.circuits(), breaker.history(key, 1000))
    backtest(store, contract)
    assert (breaker.circuits(), breaker.history(key, 1000)) == before


def test_a_fallback_serves_until_it_is_too_old(breaker, contract_of, report, clock, store):
    contract = contract_of("schema_validation_errors > 5%", recovery=Recovery(jitter=Fraction(0)))
    contract = with_levels(contract, last_valid(max_age=timedelta(hours=3)))
    key = circuit_key(contract, "orders")
    began = clock()
    story(breaker, contract, key, clock, report, [0, 7, None, None, None, None])
    (circuit,) = backtest(store, contract).circuits
    served = [(s.level, s.since - began) for s in circuit.stretches if s.since > began]
    levels = list(dict.fromkeys(level for level, _ in served))
    assert levels == ["last_valid", None]
    gone = next(since for level, since in served if level is None)
    assert timedelta(hours=3) < gone <= timedelta(hours=3, seconds=1)
    assert circuit.stretches[0].level == "primary"
    assert [a.until for a in circuit.stretches[:-1]] == [b.since for b in circuit.stretches[1:]]
    assert circuit.stretches[-1].until == clock()


def test_activation_degrades_a_closed_circuit(breaker, contract_of, report, clock, store):
    contract = contract_of("schema_validation_errors > 50%")
    level = last_valid(activation_conditions=(parse_condition("schema_validation_errors > 5%"),))
    contract = with_levels(contract, level)
    key = circuit_key(contract, "orders")
    story(breaker, contract, key, clock, report, [0, 7, 0])
    (circuit,) = backtest(store, contract).circuits
    assert circuit.openings == ()
    assert [s.level for s in circuit.stretches] == ["primary", "last_valid", "primary"]
    assert {s.state for s in circuit.stretches} == {CircuitState.CLOSED}


def test_each_partition_has_its_own_circuit(breaker, contract_of, report, store):
    contract = contract_of("schema_validation_errors > 5%", scope=CircuitScope.PARTITION)
    for partition, broken in (("a", 7), ("b", 0)):
        key = circuit_key(contract, "orders", partition)
        breaker.record(contract, report(broken, partition=partition), key=key)
    found = backtest(store, contract)
    assert {str(c.key.partition): len(c.openings) for c in found.circuits} == {"a": 1, "b": 0}


@pytest.mark.parametrize("since", [False, True])
def test_time_opens_the_newest_partition_only_as_it_did(
    breaker, contract_of, report, clock, store, since
):
    contract = contract_of(
        "data_freshness > 1d", "schema_validation_errors > 5%", scope=CircuitScope.PARTITION
    )
    days = ["2026-03-01", "2026-03-02", "2026-03-03"]
    begin = None
    for day in days:
        breaker.record(
            contract,
            report(partition=day),
            key=circuit_key(contract, "orders", day),
            partition_time=datetime.fromisoformat(day).replace(tzinfo=UTC),
        )
        clock.advance(hours=3)
        begin = begin or clock()
    clock.advance(days=3)
    for day in days:
        breaker.tick(contract, circuit_key(contract, "orders", day))

    result = backtest(store, contract, since=begin if since else None)

    found = {one.key.partition: one for one in result.circuits}
    assert sorted(found) == days[since:]
    assert {day: len(one.openings) for day, one in found.items()} == {
        day: int(day == days[-1]) for day in days[since:]
    }
    assert [len(found[day].recorded) for day in days[since:]] == [0, 0, 1][since:]


def test_a_condition_for_three_checks_opens_at_the_third(
    breaker, contract_of, report, clock, store
):
    present = contract_of("schema_validation_errors > 50%")
    key = circuit_key(present, "orders")
    for broken in (7, 7, 0, 7, 7, 7):
        breaker.record(present, report(broken), key=key)
        clock.advance(hours=1)
    third = clock() - timedelta(hours=1)

    (found,) = backtest(store, contract_of("schema_validation_errors > 5% for 3 checks")).circuits

    assert [opening.since for opening in found.openings] == [third]
    assert found.recorded == ()


def test_an_override_that_stood_is_no_rule_and_is_left_out(breaker, contract, key, report, store):
    breaker.force(key, Override.FORCED_CLOSED, actor="ann", reason="x", contract=contract)
    breaker.record(contract, report(7), key=key)
    (found,) = backtest(store, contract).circuits
    assert (len(found.openings), len(found.recorded)) == (1, 0)


def test_a_failed_materialization_is_replayed(breaker, contract_of, report, clock, store):
    contract = contract_of("failed_materializations >= 2")
    key = circuit_key(contract, "orders")
    breaker.record(contract, report(), key=key)
    for run in ("r1", "r2"):
        clock.advance(minutes=10)
        breaker.observe_failure(contract, key, run_id=run, what="failed_materializations")
    (circuit,) = backtest(store, contract).circuits
    assert [o.since for o in circuit.openings] == [clock()]


def test_a_metric_that_was_never_recorded_is_named(breaker, contract, key, report, store):
    breaker.record(contract, report(), key=key)
    policy = dataclasses.replace(
        contract.resilience.circuit, open_when=(parse_condition("duplicates > 1%"),)
    )
    edited = dataclasses.replace(contract, resilience=Resilience(circuit=policy))
    assert backtest(store, edited).never_measured == ("duplicates",)


def test_since_cuts_what_came_before(breaker, contract, key, report, clock, store):
    story(breaker, contract, key, clock, report, [7, 0, 0, 0])
    begin = clock() - timedelta(minutes=90)
    found = backtest(store, contract, since=begin)
    (circuit,) = found.circuits
    assert found.since == begin
    assert circuit.evaluations == 1
    assert circuit.stretches[0].since == begin


def test_it_begins_where_the_records_begin(breaker, contract_of, report, clock, store):
    contract = with_levels(contract_of("schema_validation_errors > 5%"), last_valid())
    key = circuit_key(contract, "orders")
    began = clock()
    for day in range(20):
        breaker.record(contract, report(50 if day % 5 == 3 else 0), key=key)
        clock.advance(days=1)
    whole = backtest(store, contract, since=began - timedelta(days=10))
    assert whole.recorded_since == whole.circuits[0].since == began
    assert not whole.circuits[0].forgotten

    breaker.prune(events=timedelta(days=10), observations=timedelta(days=10))
    cut = began + timedelta(days=10)
    for since in (None, began):
        result = backtest(store, contract, since=since)
        (circuit,) = result.circuits
        assert (result.recorded_since, circuit.since, circuit.forgotten) == (cut, cut, True)
        assert circuit.stretches[0].since == cut
        assert [o.since for o in circuit.openings] == [o.since for o in circuit.recorded]
        assert len(circuit.openings) == 2
    later = backtest(store, contract, since=cut + timedelta(days=1)).circuits[0]
    assert (later.since, later.forgotten) == (cut + timedelta(days=1), False)


def test_what_really_happened_is_known_from_where_its_events_begin(
    breaker, contract_of, report, clock, store
):
    contract = contract_of("schema_validation_errors > 5%")
    key = circuit_key(contract, "orders")
    began = clock()
    for broken in (0, 7, 7, 7, 0, 0):
        breaker.record(contract, report(broken), key=key)
        clock.advance(days=1)
    # What is left of the events begins while the circuit is open.
    breaker.prune(events=timedelta(days=3, hours=1), observations=timedelta(days=30))
    (circuit,) = backtest(store, contract).circuits
    (really,) = circuit.recorded
    assert circuit.since == began
    assert circuit.told_since == began + timedelta(days=2)
    assert really.since == circuit.openings[0].since == began + timedelta(days=1)
    assert really.until == circuit.openings[0].until == began + timedelta(days=4)
    assert "7.0%" in really.reason


def test_what_did_not_pass_is_never_the_last_valid_batch(
    breaker, contract_of, report, clock, store, tmp_path
):
    contract = contract_of("schema_validation_errors > 5% for 3 checks")
    contract = with_levels(contract, last_valid())
    key = circuit_key(contract, "orders")
    archive = SnapshotArchive(store, tmp_path)
    for broken in (7, 7, 7):
        seen = report(broken)
        staged = archive.stage(key, pa.table({"id": [1]}), kind="pyarrow", report=seen)
        breaker.record(contract, seen, key=key, also=staged.commit)
        clock.advance(minutes=5)
    assert archive.latest("orders", "orders", None) is None
    (circuit,) = backtest(store, contract).circuits
    assert [s.level for s in circuit.stretches] == ["primary", None]

    clock.advance(hours=5)
    good = report(0)
    staged = archive.stage(key, pa.table({"id": [2]}), kind="pyarrow", report=good)
    breaker.record(contract, good, key=key, also=staged.commit)
    for broken in (7, 7, 7):
        clock.advance(minutes=5)
        breaker.record(contract, report(broken), key=key)
    clock.advance(minutes=5)
    (circuit,) = backtest(store, contract).circuits
    assert archive.latest("orders", "orders", None).evaluation_id == good.evaluation_id
    assert circuit.stretches[-1].level == "last_valid"


def test_a_long_replay_tells_how_far_it_is(breaker, contract, report, clock, store, monkeypatch):
    monkeypatch.setattr("dagster_contracts.resilience.backtest.replay._TOLD_EVERY", 2)
    for _ in range(5):
        breaker.record(contract, report(), key=circuit_key(contract, "orders"))
        clock.advance(minutes=5)
    told = []
    backtest(store, contract, progress=told.append)
    assert told == ["2 of 5 evaluations", "4 of 5 evaluations"]


def test_without_a_history_there_is_nothing(contract, store):
    found = backtest(store, contract)
    assert found.circuits == ()
    assert time_open((), found.since, found.until) == timedelta(0)


def test_a_contract_without_rules_is_refused(contract, store):
    bare = dataclasses.replace(contract, resilience=None)
    with pytest.raises(PolicyError, match="has no circuit to replay"):
        backtest(store, bare)
