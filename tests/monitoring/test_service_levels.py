"""Service levels from what the store remembers, on both databases."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dagster_contracts.core.circuit import CircuitKey, Override
from dagster_contracts.core.contract import Contract, Severity
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.monitoring.actions import due_actions
from dagster_contracts.monitoring.alert import AlertKind, AlertState
from dagster_contracts.monitoring.dispatch import AlertDispatcher
from dagster_contracts.monitoring.health import health
from dagster_contracts.monitoring.service_history import ServiceHistory
from dagster_contracts.monitoring.standing import LevelStanding, standing_levels
from dagster_contracts.monitoring.watch import watch
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.store.database import Store

ORDERS = """\
data_contract:
  name: orders
  version: "1.0.0"
  schema:
    fields:
      - {{name: id, type: integer, required: true}}
      - {{name: sold_at, type: timestamp}}
  sla:
    availability: "> 99%"
    timeToDetect: 1min
    timeToNotify: 5min
    timeToRepair: 2h
    endOfSupport: {{must: "2026-03-20", warn_before: 7d}}
    frequency: 3h
    timeOfAvailability: "07:00Z"
    throughput: 1/min
  resilience:
    circuit_breaker:
      open_when: ["{opens}"]
      recovery: {{retry_after: 10min, jitter: 0}}
{more}"""
HOUR = 3600
KEY = CircuitKey("orders", "orders")


@pytest.fixture
def contract() -> Contract:
    """Orders, with service levels of every kind."""
    return with_levels()


def with_levels(opens: str = "schema_validation_errors > 5%", more: str = "") -> Contract:
    """The contract of these tests."""
    return load_contract(Path("orders.yaml"), text=ORDERS.format(opens=opens, more=more))


def measured(store: Store, contract: Contract, **options: Any) -> dict[str, Fraction]:
    """The metrics of the service."""
    return ServiceHistory(store).measure(contract, "orders", **options).values


def levels(store: Store, contract: Contract) -> dict[str, LevelStanding]:
    """How each level stands."""
    return {level.name: level for level in standing_levels(store, contract, "orders")}


def test_nothing_is_known_before_the_first_evaluation(store: Store, contract: Contract) -> None:
    found = ServiceHistory(store).measure(contract, "orders")
    assert found.values == {}
    assert set(found.reasons.values()) == {"the asset was not evaluated yet"}
    standing = levels(store, contract)
    assert standing["availability"].status is OutcomeStatus.NOT_EVALUATED
    assert "not evaluated yet" in standing["availability"].sentence
    assert standing["endOfSupport"].status is OutcomeStatus.PASSED


def test_an_incident_is_measured_while_it_runs_and_after(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    pipeline.evaluate(contract)
    clock.advance(hours=2)
    # The bad batch was there half a minute before it was judged.
    pipeline.evaluate(contract, errors=Fraction(1, 2), metrics={"evaluation_delay": Fraction(30)})
    clock.advance(hours=1)
    running = measured(store, contract)
    assert running["time_to_detect"] == 30
    assert running["time_to_repair"] == HOUR
    assert running["time_to_notify"] == HOUR
    assert running["availability"] == Fraction(2, 3)
    assert pipeline.evaluate(contract).circuit.effective_state.value == "closed"
    clock.advance(hours=1)
    over = measured(store, contract)
    assert over["time_to_repair"] == HOUR
    assert over["availability"] == Fraction(3, 4)
    assert "time_to_notify" not in over  # it is over, and nobody was told
    assert levels(store, contract)["timeToRepair"].status is OutcomeStatus.PASSED
    clock.advance(days=40)
    # Both the incident and most of the promise's window lie behind.
    assert measured(store, contract)["time_to_repair"] == 0


def test_the_first_alert_that_was_delivered_ends_the_time_to_notify(
    store: Store, contract: Contract, pipeline: Any, clock: Any, tmp_path: Path
) -> None:
    pipeline.evaluate(contract)
    clock.advance(hours=1)
    pipeline.evaluate(contract, errors=Fraction(1, 2))
    clock.advance(minutes=4)
    inbox = tmp_path / "inbox.jsonl"
    dispatcher = AlertDispatcher(store, {"ops": f"file:{inbox}"}, [contract])
    assert dispatcher.deliver().sent == 1
    assert json.loads(inbox.read_text().splitlines()[0])
    clock.advance(minutes=30)
    assert measured(store, contract)["time_to_notify"] == 4 * 60
    assert levels(store, contract)["timeToNotify"].status is OutcomeStatus.PASSED


def test_a_feed_that_stopped_was_broken_when_its_promise_ended(
    store: Store, pipeline: Any, clock: Any
) -> None:
    stale = with_levels(opens="data_freshness > 30min")
    pipeline.evaluate(stale)
    clock.advance(minutes=34)
    verdict = CircuitBreaker(store).tick(stale, KEY)
    assert verdict.circuit.effective_state.value == "open"
    found = measured(store, stale)
    assert found["time_to_detect"] == 4 * 60


def test_an_override_by_an_operator_is_time_out_of_service(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    breaker = CircuitBreaker(store)
    pipeline.evaluate(contract)
    clock.advance(hours=1)
    breaker.force(KEY, Override.FORCED_OPEN, actor="ann", reason="recount", contract=contract)
    clock.advance(hours=1)
    breaker.force(KEY, Override.NONE, actor="ann", reason="done", contract=contract)
    clock.advance(hours=1)
    found = measured(store, contract)
    assert found["availability"] == Fraction(2, 3)
    assert found["time_to_repair"] == HOUR


def test_failed_materializations_and_missing_ones_are_time_out_of_service(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    pipeline.evaluate(contract)
    clock.advance(hours=1)
    CircuitBreaker(store).observe_failure(
        contract, KEY, run_id="r1", what="failed_materializations"
    )
    clock.advance(hours=1)
    pipeline.evaluate(contract)
    assert measured(store, contract)["availability"] == Fraction(1, 2)
    # The contract promises new data each three hours; for one hour it is overdue.
    clock.advance(hours=4)
    assert measured(store, contract)["availability"] == Fraction(4, 6)
    assert levels(store, contract)["frequency"].status is OutcomeStatus.FAILED


def test_a_contract_without_a_circuit_is_down_from_a_refused_batch_to_the_next_good_one(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    plain = replace(contract, resilience=None)
    pipeline.evaluate(plain)
    clock.advance(hours=2)
    pipeline.evaluate(plain, errors=Fraction(1, 2))
    clock.advance(hours=1)
    pipeline.evaluate(plain)
    clock.advance(hours=1)
    found = measured(store, plain)
    assert found["availability"] == Fraction(3, 4)
    assert found["time_to_repair"] == HOUR


def test_what_happened_before_the_window_still_counts_as_the_state_at_its_begin(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    pipeline.evaluate(contract)
    clock.advance(hours=1)
    pipeline.evaluate(contract, errors=Fraction(1, 2))
    clock.advance(days=40)
    assert measured(store, contract)["availability"] == 0
    assert measured(store, contract)["time_to_repair"] >= 30 * 24 * HOUR
    pipeline.evaluate(contract)
    clock.advance(days=15)
    # Good for the last fifteen of thirty days, but frequency allows three hours without data.
    assert measured(store, contract)["availability"] == Fraction(3, 24 * 30)


def test_the_time_of_the_day_counts_the_batch_that_is_arriving(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    pipeline.evaluate(contract)  # at 06:00, before the deadline of 07:00
    clock.advance(hours=2)
    assert measured(store, contract)["delay_after.0700"] == 0
    clock.advance(days=1)  # 08:00 of the next day, and nothing has come
    assert measured(store, contract)["delay_after.0700"] == HOUR
    arriving = clock() - timedelta(minutes=30)
    assert measured(store, contract, arriving=arriving)["delay_after.0700"] == HOUR / 2


def test_the_batch_before_is_found_for_the_throughput(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    history = ServiceHistory(store)
    assert history.measure(contract, "orders").previous_materialized_at is None
    pipeline.evaluate(contract)
    first = clock()
    clock.advance(minutes=10)
    assert history.measure(contract, "orders").previous_materialized_at == first
    # An evaluation of the very batch that was there before is not the one before it.
    assert history.measure(contract, "orders", arriving=first).previous_materialized_at is None


def test_a_level_that_time_breaks_is_told_of_without_a_new_batch_and_resolved(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    dispatcher = AlertDispatcher(store, {}, [contract])
    pipeline.evaluate(contract)
    watch(store, [contract], dispatcher.take)
    assert not _broken(dispatcher)
    clock.advance(hours=4)
    found = watch(store, [contract], dispatcher.take)
    assert _broken(dispatcher) == {"frequency", "availability"}
    said = next(f.summary for f in found if f.labels.subject == "frequency")
    assert "materialization_age was 4h, which is not <= 3h" in said
    pipeline.evaluate(contract)
    watch(store, [contract], dispatcher.take)
    assert _broken(dispatcher) == {"availability"}
    (row,) = health(store, [contract])
    assert not row.healthy
    shown = {level["name"]: level for level in row.to_json()["service_levels"]}  # type: ignore[index, union-attr, call-overload]
    assert shown["availability"]["status"] == "failed"
    assert shown["availability"]["value"] == 0.75


def _broken(dispatcher: AlertDispatcher) -> set[str]:
    return {
        alert.labels.subject
        for alert in dispatcher.book.alerts(state=AlertState.FIRING)
        if alert.labels.kind is AlertKind.SLA_BROKEN
    }


def test_the_end_of_support_warns_in_time(
    store: Store, contract: Contract, pipeline: Any, clock: Any
) -> None:
    pipeline.evaluate(contract)
    assert levels(store, contract)["endOfSupport"].status is OutcomeStatus.PASSED
    clock.advance(days=13)
    warned = levels(store, contract)["endOfSupport"]
    assert (warned.status, warned.severity) == (OutcomeStatus.WARNED, Severity.WARNING)
    clock.advance(days=6)
    assert levels(store, contract)["endOfSupport"].status is OutcomeStatus.FAILED


def test_actions_may_ask_for_the_service(store: Store, pipeline: Any, clock: Any) -> None:
    more = (
        "  monitoring:\n    actions:\n"
        "      - {when: availability.7d < 90%, do: rematerialize, cooldown: 30min}\n"
    )
    contract = with_levels(more=more)
    pipeline.evaluate(contract)
    assert due_actions(store, contract, "orders") == ()
    clock.advance(hours=6)
    (due,) = due_actions(store, contract, "orders")
    assert due.explanation == "availability.7d was 50.0%, which is < 90%"
