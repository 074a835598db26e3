"""History, scores, forecasts, actions, health, feedback and proposals, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.core.contract import Contract, CorrectiveActionKind
from dagster_contracts.errors import PolicyError, StoreError
from dagster_contracts.monitoring.actions import claim_action, due_actions
from dagster_contracts.monitoring.alerts import AlertBook, AlertState
from dagster_contracts.monitoring.dispatch import AlertDispatcher
from dagster_contracts.monitoring.feedback import FeedbackBook
from dagster_contracts.monitoring.freshness import freshness_limit
from dagster_contracts.monitoring.health import health
from dagster_contracts.monitoring.history import MetricHistory
from dagster_contracts.monitoring.scoring import watched_metrics
from dagster_contracts.monitoring.tuning import (
    decide_proposal,
    open_proposals,
    propose,
    record_proposals,
)
from dagster_contracts.monitoring.watch import watch
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import degraded_reads

if TYPE_CHECKING:
    from tests.conftest import FakeClock
    from tests.monitoring.conftest import Pipeline

Make = Callable[..., Contract]
WATCHED = "  monitoring: {anomaly_metrics: [row_count], min_history: 8}\n"


def firing(store: Store) -> list[str]:
    return sorted(
        alert.labels.kind.value for alert in AlertBook(store).alerts(state=AlertState.FIRING)
    )


# --- history and scores ---------------------------------------------------------------------------


def test_a_series_is_read_oldest_first_and_cut_to_the_newest(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    for rows in (10, 20, 30):
        pipeline.evaluate(orders, rows=rows)
        clock.advance(hours=1)
    history = MetricHistory(store)

    assert history.values("orders", "orders", "row_count", limit=2) == [20.0, 30.0]
    assert history.for_validation("orders", "orders") == {"row_count": [10.0, 20.0, 30.0]}
    before = history.series("orders", "orders", "row_count", before=clock.now - timedelta(hours=1))
    assert [point.value for point in before] == [10.0, 20.0]
    assert "row_count" in history.metrics("orders", "orders")
    assert history.values("orders", "elsewhere", "row_count") == []


def test_an_unusual_row_count_is_scored_and_watched(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract(more=WATCHED)
    dispatcher = AlertDispatcher(store, {"log": "log://"}, [orders])
    for index in range(12):
        pipeline.evaluate(orders, rows=1000 + index % 5)
        clock.advance(hours=1)
    watch(store, [orders], dispatcher.take)
    assert firing(store) == []

    pipeline.evaluate(orders, rows=3)
    latest = MetricHistory(store).latest("orders", "orders")
    assert latest is not None
    assert (latest.metrics["anomaly_score.row_count"] or 0) > 40
    found = watch(store, [orders], dispatcher.take)
    told = [finding.labels.subject for finding in found if not finding.over]
    assert told == ["row_count"]
    assert firing(store) == ["anomaly"]

    clock.advance(hours=1)
    pipeline.evaluate(orders, rows=1001)
    watch(store, [orders], dispatcher.take)
    assert firing(store) == []


def test_a_score_without_history_is_unknown_with_its_reason(
    store: Store, pipeline: Pipeline, make_contract: Make
) -> None:
    pipeline.evaluate(make_contract(more=WATCHED), rows=5)
    latest = MetricHistory(store).latest("orders", "orders")

    assert latest is not None
    assert latest.metrics["anomaly_score.row_count"] is None
    assert "only 0 earlier values" in latest.unknown_because["anomaly_score.row_count"]


def test_what_the_breaker_asks_for_is_scored_too(make_contract: Make) -> None:
    actions = (
        "  monitoring:\n    anomaly_metrics: []\n    actions:\n"
        '      - {when: "anomaly_score.null_ratio.id > 5 for 2 checks", do: heal}\n'
    )

    assert watched_metrics(make_contract(more=actions)) == ("null_ratio.id",)


# --- forecasts ------------------------------------------------------------------------------------


def test_a_late_feed_is_predicted_told_and_taken_back(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make, tmp_path: Path
) -> None:
    orders = make_contract()
    dispatcher = AlertDispatcher(store, {"ops": f"file:{tmp_path}/ops.jsonl"}, [orders])
    for _ in range(10):
        pipeline.evaluate(orders)
        clock.advance(hours=1)
    watch(store, [orders], dispatcher.take)
    assert firing(store) == []

    clock.advance(minutes=15)
    watch(store, [orders], dispatcher.take)
    dispatcher.deliver()
    assert firing(store) == ["sla.breach_predicted"]
    assert (
        "will break its freshness promise in about 45 min" in (tmp_path / "ops.jsonl").read_text()
    )

    pipeline.evaluate(orders)
    watch(store, [orders], dispatcher.take)
    dispatcher.deliver()
    assert firing(store) == []
    assert '"state": "resolved"' in (tmp_path / "ops.jsonl").read_text()


def test_the_freshness_limit_is_the_contracts_own(make_contract: Make) -> None:
    assert freshness_limit(make_contract()) == timedelta(hours=2)


# --- corrective actions ---------------------------------------------------------------------------

ACTIONS = (
    "  monitoring:\n    actions:\n"
    '      - {when: "data_freshness > 1h", do: rematerialize, cooldown: 30min}\n'
    '      - {when: "consumer_reports >= 1", do: force_open}\n'
)


def test_an_action_is_due_when_its_condition_holds(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract(more=ACTIONS)
    assert due_actions(store, orders, "orders") == ()
    pipeline.evaluate(orders)
    assert due_actions(store, orders, "orders") == ()

    clock.advance(minutes=61)
    due = due_actions(store, orders, "orders")

    assert [each.action.kind for each in due] == [CorrectiveActionKind.REMATERIALIZE]
    assert "data_freshness was" in due[0].explanation


def test_an_action_is_taken_on_once_within_its_cooldown(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract(more=ACTIONS)
    pipeline.evaluate(orders)
    clock.advance(hours=2)
    (due,) = due_actions(store, orders, "orders")

    assert claim_action(store, due) is True
    assert claim_action(store, due) is False
    assert due_actions(store, orders, "orders") == ()
    clock.advance(minutes=30)
    assert len(due_actions(store, orders, "orders")) == 1
    assert claim_action(store, due) is True


def test_a_consumers_report_makes_an_action_due(
    store: Store, pipeline: Pipeline, make_contract: Make
) -> None:
    orders = make_contract(more=ACTIONS)
    pipeline.evaluate(orders)
    FeedbackBook(store).report("finance", "orders", "totals are off")

    due = due_actions(store, orders, "orders")

    assert [each.action.kind for each in due] == [CorrectiveActionKind.FORCE_OPEN]


# --- feedback -------------------------------------------------------------------------------------


def test_reports_count_until_they_are_answered(store: Store) -> None:
    book = FeedbackBook(store)
    first = book.report("finance", "orders", "totals are off")
    book.report("bi", "orders", "late again")
    assert book.open_count("orders") == 2

    assert book.resolve(first, actor="ada", text="mended") is True
    assert book.resolve(first, actor="ada", text="mended") is False
    assert book.open_count("orders") == 1
    assert [report.consumer for report in book.reports("orders")] == ["bi"]
    assert [r.resolution for r in book.reports("orders", only_open=False)] == [None, "mended"]


def test_feedback_needs_words_and_numbers_that_exist(store: Store) -> None:
    book = FeedbackBook(store)

    with pytest.raises(PolicyError):
        book.report("finance", "orders", " ")
    with pytest.raises(StoreError, match="no report 99"):
        book.resolve(99, actor="ada", text="mended")


# --- health ---------------------------------------------------------------------------------------


def test_health_of_a_good_feed(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders)
    clock.advance(minutes=5)

    (row,) = health(store, [orders])

    assert row.healthy
    assert (row.state, row.last_status, row.rows) == (CircuitState.CLOSED, "passed", 1000)
    assert (row.freshness, row.freshness_limit) == (timedelta(minutes=5), timedelta(hours=2))


def test_health_says_what_is_open_since_when_and_why(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders, errors=Fraction(7, 100))
    FeedbackBook(store).report("finance", "orders", "totals are off")
    AlertDispatcher(store, {"log": "log://"}, [orders]).deliver()

    (row,) = health(store, [orders])

    assert not row.healthy
    assert (row.state, row.since) == (CircuitState.OPEN, clock.now)
    assert "7.0%" in (row.why or "")
    assert (row.consumer_reports, row.firing_alerts) == (1, 2)
    assert row.to_json()["state"] == "open"


def test_health_counts_what_is_still_built_on_a_fallback(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders)
    with store.begin() as conn:
        conn.execute(
            sa.insert(degraded_reads).values(
                contract="orders",
                circuit_asset="orders",
                generation=1,
                consumer="report",
                upstream="orders",
                level="fallback",
                source="sales",
                reason="circuit_open",
                run_id="r",
                since=clock.now,
                read_at=clock.now,
            )
        )

    (row,) = health(store, [orders])

    assert row.open_degraded_reads == 1
    assert not row.healthy


def test_a_contract_that_was_never_evaluated_is_not_healthy(
    store: Store, make_contract: Make
) -> None:
    (row,) = health(store, [make_contract()])

    assert (row.asset, row.last_evaluation, row.healthy) == ("orders", None, False)


def test_a_feed_that_is_too_old_is_not_healthy(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders)
    clock.advance(hours=3)

    assert not health(store, [orders])[0].healthy


# --- proposals ------------------------------------------------------------------------------------


def noisy(pipeline: Pipeline, clock: FakeClock, orders: Contract, percent: tuple[int, ...]) -> None:
    for index in range(40):
        pipeline.evaluate(orders, errors=Fraction(percent[index % len(percent)], 100))
        clock.advance(hours=1)


def test_a_threshold_that_normal_values_meet_is_proposed_higher(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    noisy(pipeline, clock, orders, (4, 5, 6, 7))

    (proposal,) = propose(store, orders, "orders")

    assert proposal.old == "schema_validation_errors > 5%"
    assert proposal.new == "schema_validation_errors > 7.8%"
    assert "too tight: 20 of 40 normal values" in proposal.why


def test_a_threshold_far_above_all_values_is_proposed_lower(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    tenths = tuple(Fraction(n, 1000) for n in (1, 2, 3))
    for index in range(40):
        pipeline.evaluate(orders, errors=tenths[index % 3])
        clock.advance(hours=1)

    (proposal,) = propose(store, orders, "orders")

    assert proposal.new == "schema_validation_errors > 0.35%"
    assert "too loose" in proposal.why


def test_a_fitting_threshold_and_a_short_history_propose_nothing(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    pipeline.evaluate(orders, errors=Fraction(9, 10))
    assert propose(store, orders, "orders") == ()

    noisy(pipeline, clock, orders, (2, 3, 2, 3))
    assert propose(store, orders, "orders") == ()


def test_a_proposal_is_kept_once_and_decided_once(
    store: Store, pipeline: Pipeline, clock: FakeClock, make_contract: Make
) -> None:
    orders = make_contract()
    noisy(pipeline, clock, orders, (4, 5, 6, 7))
    found = propose(store, orders, "orders")

    assert (record_proposals(store, found), record_proposals(store, found)) == (1, 0)
    ((number, proposal),) = open_proposals(store, "orders")
    assert proposal == found[0]
    with pytest.raises(PolicyError):
        decide_proposal(store, number, accepted=True, actor="ada", reason="")
    assert decide_proposal(store, number, accepted=True, actor="ada", reason="agreed")
    assert not decide_proposal(store, number, accepted=False, actor="bob", reason="no")
    assert open_proposals(store) == ()


def test_a_look_at_many_quiet_contracts_costs_a_few_queries_and_no_write(
    store: Store, pipeline: Pipeline, make_contract: Make
) -> None:
    take = AlertDispatcher(store, {}).take

    def cost(names: list[str]) -> list[str]:
        statements: list[str] = []

        def seen(_c: Any, _u: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        sa.event.listen(sa.Engine, "before_cursor_execute", seen)
        watch(store, [quiet[name] for name in names], take)
        health(store, [quiet[name] for name in names])
        sa.event.remove(sa.Engine, "before_cursor_execute", seen)
        return statements

    quiet = {name: replace(make_contract(name), sla=()) for name in ("a", "b", "c", "d", "e", "f")}
    for contract in quiet.values():
        pipeline.evaluate(contract)

    one, six = cost(["a"]), cost(list(quiet))

    assert len(one) == len(six)
    assert not [each for each in six if each.startswith(("INSERT", "UPDATE", "BEGIN IMMEDIATE"))]
