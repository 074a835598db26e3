"""The breaker on real databases: each evaluation counts once, each change has its event."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
import sqlalchemy as sa

from dagster_contracts.core.circuit import (
    Circuit,
    CircuitKey,
    CircuitState,
    NoteKind,
    Override,
    circuit_from_json,
)
from dagster_contracts.core.condition import Truth
from dagster_contracts.core.contract import CircuitMode, CircuitScope, ProbeMode, Recovery
from dagster_contracts.errors import PolicyError, StoreError
from dagster_contracts.resilience import standing
from dagster_contracts.resilience.breaker import CircuitBreaker, circuit_key
from dagster_contracts.resilience.circuit_rows import lock_circuit
from dagster_contracts.resilience.event_rows import write_step
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.tables import circuit_events, circuits, metric_points, observations

HALF_AN_HOUR = timedelta(minutes=30)


def count(store, table):
    with store.read() as conn:
        return conn.scalar(sa.select(sa.func.count()).select_from(table))


def kinds(store):
    return [message.kind for message in Outbox(store).messages(limit=1000)]


def test_a_bad_batch_opens_the_circuit_and_is_refused(breaker, contract, key, report, store):
    assert breaker.record(contract, report(), key=key, run_id="r1").refused is False
    verdict = breaker.record(contract, report(7), key=key, run_id="r2")
    assert verdict.refused is True
    assert verdict.circuit.state is CircuitState.OPEN
    assert "schema_validation_errors" in verdict.explanation
    assert breaker.circuit(key) == verdict.circuit
    assert kinds(store) == ["circuit.opened"]


def test_what_is_recorded_can_be_read_again(breaker, contract, key, report, store):
    breaker.record(contract, report(7, id="e1", partition="p1"), key=key, run_id="r1")
    with store.read() as conn:
        row = conn.execute(sa.select(observations)).one()
        points = dict(conn.execute(sa.select(metric_points.c.metric, metric_points.c.value)).all())
    assert (row.evaluation_id, row.run_id, row.partition, row.status) == (
        "e1",
        "r1",
        "p1",
        "failed",
    )
    assert row.metrics["schema_validation_errors"] == "7/100"
    assert points["schema_validation_errors"] == pytest.approx(0.07)
    assert points["row_count"] == 1000


def test_a_repeated_evaluation_changes_nothing(breaker, contract, key, report, store):
    bad = report(7)
    first = breaker.record(contract, bad, key=key)
    before = (breaker.history(key), kinds(store), count(store, metric_points))
    again = breaker.record(contract, bad, key=key)
    assert again.duplicate
    assert again.circuit == first.circuit
    assert (breaker.history(key), kinds(store), count(store, metric_points)) == before


def test_one_evaluation_does_not_count_for_two_circuits(breaker, contract, contract_of, report):
    same = report(7, id="one")
    other = contract_of("schema_validation_errors > 5%", name="other")
    breaker.record(contract, same, key=circuit_key(contract, "orders"))
    assert breaker.record(other, same, key=circuit_key(other, "orders")).duplicate


def test_the_audit_before_publishing_writes_nothing(breaker, contract, key, report, store):
    assert breaker.would_open(contract, report(7), key).truth is Truth.TRUE
    assert breaker.would_open(contract, report(3), key).truth is Truth.FALSE
    assert count(store, circuits) == count(store, observations) == 0


def test_without_resilience_a_failed_error_refuses_and_no_circuit_opens(
    breaker, contract_of, report
):
    contract = contract_of(resilient=False)
    key = circuit_key(contract, "orders")
    assert breaker.would_open(contract, report(1), key).truth is Truth.TRUE
    verdict = breaker.record(contract, report(1), key=key)
    assert verdict.refused
    assert verdict.circuit.state is CircuitState.CLOSED
    assert not breaker.record(contract, report(), key=key).refused


def test_a_stopped_feed_opens_the_circuit_by_a_tick_alone(breaker, contract, key, report, clock):
    breaker.record(contract, report(), key=key)
    clock.advance(minutes=30)
    assert breaker.tick(contract, key).circuit.state is CircuitState.CLOSED
    clock.advance(seconds=1)
    verdict = breaker.tick(contract, key)
    assert verdict.circuit.state is CircuitState.OPEN
    assert "data_freshness" in verdict.explanation


def test_without_an_event_time_freshness_counts_from_the_last_materialization(
    breaker, contract_of, report, clock
):
    contract = contract_of("data_freshness > 30min", event_time=None)
    key = circuit_key(contract, "orders")
    breaker.record(contract, report(fresh=False), key=key)
    clock.advance(minutes=31)
    assert breaker.tick(contract, key).circuit.state is CircuitState.OPEN


def test_materialization_age_grows_by_itself(breaker, contract_of, report, clock):
    contract = contract_of("materialization_age > 1h")
    key = circuit_key(contract, "orders")
    breaker.record(contract, report(), key=key)
    clock.advance(hours=1, seconds=1)
    assert breaker.tick(contract, key).circuit.state is CircuitState.OPEN


def test_a_tick_without_news_writes_nothing(breaker, contract, key, report, clock, store):
    breaker.record(contract, report(), key=key)
    before = count(store, circuit_events)
    for _ in range(29):
        clock.advance(minutes=1)
        breaker.tick(contract, key)
    assert count(store, circuit_events) == before


def test_a_tick_of_an_unknown_circuit_writes_nothing(breaker, contract, key, store):
    assert breaker.tick(contract, key).circuit == Circuit(key=key)
    assert count(store, circuits) == 0


def test_a_tick_over_many_circuits_looks_only_at_those_whose_time_has_come(
    breaker, contract, contract_of, report, clock, store
):
    sleeping = contract_of("schema_validation_errors > 5%", name="sleeping")
    pairs = [(sleeping, CircuitKey("sleeping", f"asset_{n}")) for n in range(20)]
    pairs.append((contract, circuit_key(contract, "orders")))
    for each, key in pairs:
        breaker.record(each, report(), key=key)
    assert breaker.tick_all(pairs) == []
    clock.advance(minutes=31)
    assert [v.circuit.key.contract for v in breaker.tick_all(pairs)] == ["orders"]
    edited = contract_of("schema_validation_errors > 1%", name="sleeping", semantic_hash="v2")
    verdicts = breaker.tick_all([(edited, key) for each, key in pairs if each is sleeping])
    assert len(verdicts) == 20
    assert {v.circuit.policy_hash for v in verdicts} == {"v2"}


def test_a_condition_that_must_hold_for_a_time_opens_when_the_time_is_over(
    breaker, contract_of, report, clock
):
    contract = contract_of("schema_validation_errors > 5% for 30min")
    key = circuit_key(contract, "orders")
    assert breaker.record(contract, report(7), key=key).circuit.state is CircuitState.CLOSED
    clock.advance(minutes=29)
    assert breaker.tick_all([(contract, key)]) == []
    clock.advance(minutes=2)
    (verdict,) = breaker.tick_all([(contract, key)])
    assert verdict.circuit.state is CircuitState.OPEN


def test_recovery_goes_through_half_open_and_one_lease(
    breaker, contract, key, report, clock, store
):
    breaker.record(contract, report(7), key=key)
    assert breaker.ask_probe(contract, key, "early") is None
    clock.advance(minutes=15)
    lease = breaker.ask_probe(contract, key, "a")
    assert lease is not None
    assert breaker.ask_probe(contract, key, "b") is None
    assert breaker.ask_probe(contract, key, "a") == lease
    verdict = breaker.record(contract, report(), key=key, probe_holder="a")
    assert verdict.circuit.state is CircuitState.CLOSED
    assert verdict.circuit.lease is None
    assert kinds(store) == [
        "circuit.opened",
        "circuit.half_open",
        "circuit.closed",
        "heal.requested",
    ]


def test_a_lease_that_ends_without_a_report_is_a_bad_probe(breaker, contract, key, report, clock):
    breaker.record(contract, report(7), key=key)
    clock.advance(minutes=15)
    assert breaker.ask_probe(contract, key, "a")
    clock.advance(hours=1)
    (verdict,) = breaker.tick_all([(contract, key)])
    assert verdict.circuit.state is CircuitState.OPEN
    assert verdict.circuit.attempts == 2


def test_a_sleeping_sensor_wakes_for_the_probe(breaker, contract, key, report, clock):
    breaker.record(contract, report(7), key=key)
    assert breaker.tick_all([(contract, key)]) == []
    clock.advance(minutes=15)
    (verdict,) = breaker.tick_all([(contract, key)])
    assert verdict.circuit.state is CircuitState.HALF_OPEN


def test_every_transition_has_exactly_one_alert_record(
    breaker, contract, key, report, clock, store
):
    for _ in range(4):
        breaker.record(contract, report(7), key=key)
        clock.advance(hours=7)
        breaker.tick(contract, key)
        breaker.record(contract, report(7), key=key)
        clock.advance(hours=7)
        breaker.record(contract, report(), key=key)
        clock.advance(hours=25)
    transitions = breaker.history(key, 1000, transitions_only=True)
    alerts = [m for m in Outbox(store).messages(limit=1000) if m.kind.startswith("circuit.")]
    assert len(transitions) > 12
    assert sorted(t.generation for t in transitions) == sorted(
        m.payload["generation"] for m in alerts
    )


def test_failures_in_a_row_are_counted_once_a_run_and_forgotten_by_a_success(
    breaker, contract_of, report
):
    contract = contract_of("failed_materializations >= 3")
    key = circuit_key(contract, "orders")

    def fail(run_id):
        return breaker.observe_failure(
            contract, key, run_id=run_id, what="failed_materializations", explanation="boom"
        )

    fail("r1")
    fail("r2")
    assert fail("r2").duplicate
    breaker.record(contract, report(), key=key)
    fail("r3")
    assert fail("r4").circuit.state is CircuitState.CLOSED
    assert fail("r5").circuit.state is CircuitState.OPEN


def test_failures_of_backfills_and_older_partitions_are_late_and_their_successes_end_no_row(
    breaker, contract_of, report, clock
):
    contract = contract_of("failed_materializations >= 3")
    key = circuit_key(contract, "orders")
    numbers = itertools.count()

    def fail(partition, **how):
        return breaker.observe_failure(
            contract,
            key,
            run_id=f"r{next(numbers)}",
            what="failed_materializations",
            partition=partition,
            began=lambda day: datetime.fromisoformat(f"{day}T00:00:00+00:00"),
            **how,
        )

    breaker.record(contract, report(partition="2026-03-02"), key=key)
    for day in ("2019-01-01", "2019-01-02", "2019-01-03"):
        assert fail(day, backfill=True).notes[0].kind is NoteKind.LATE
        assert fail(day).explanation == f"late: {day} failed, and 2026-03-02 is newer"
    assert breaker.circuit(key).failures == ()
    fail("2026-03-03")
    breaker.record(contract, report(partition="2019-01-01"), key=key, backfill=True)
    fail("2026-03-02")
    assert fail("2026-03-03").circuit.state is CircuitState.OPEN

    clock.advance(minutes=15)
    breaker.ask_probe(contract, key, "me", partition="2026-03-03")
    assert fail("2019-01-01", backfill=True).circuit.attempts == 1
    assert fail("2019-01-01", backfill=True, probe_holder="me").circuit.attempts == 2


def test_a_row_of_failures_survives_a_clock_that_is_set_back_and_the_forgetting_of_records(
    breaker, contract_of, report, clock
):
    contract = contract_of("failed_materializations >= 3")
    key = circuit_key(contract, "orders")

    def fail(run_id):
        return breaker.observe_failure(
            contract, key, run_id=run_id, what="failed_materializations"
        ).circuit.state

    fail("r1")
    fail("r2")
    clock.advance(hours=-1)
    breaker.record(contract, report(), key=key)
    assert fail("r3") is CircuitState.CLOSED
    clock.advance(hours=-1)
    assert fail("r4") is CircuitState.CLOSED
    clock.advance(days=100)
    breaker.prune(events=timedelta(days=1), observations=timedelta(days=1))
    assert fail("r5") is CircuitState.OPEN


def test_a_recovery_ends_the_row(breaker, contract_of):
    contract = contract_of("source_unavailable >= 2")
    key = circuit_key(contract, "orders")

    def fail(run_id):
        return breaker.observe_failure(contract, key, run_id=run_id, what="source_unavailable")

    fail("r1")
    assert breaker.observe_recovery(contract, key, "source_unavailable").circuit.failures == ()
    assert breaker.replay(key) == breaker.circuit(key)
    assert fail("r2").circuit.state is CircuitState.CLOSED
    assert fail("r3").circuit.state is CircuitState.OPEN


def test_a_bad_batch_opens_however_the_clocks_of_machines_and_the_store_go(
    breaker, contract, key, report, clock
):
    breaker.record(contract, report(), key=key)
    clock.advance(minutes=2)
    slow = replace(report(7), evaluated_at=clock() - timedelta(hours=5))
    verdict = breaker.record(contract, slow, key=key)
    assert verdict.refused
    assert verdict.circuit.state is CircuitState.OPEN
    breaker.reset(key, actor="ann", reason="again")

    breaker.record(contract, report(), key=key)
    clock.advance(hours=-2)
    assert breaker.record(contract, report(7), key=key).circuit.state is CircuitState.OPEN
    assert [entry.after for entry in breaker.history(limit=3, transitions_only=True)] == [
        CircuitState.OPEN,
        CircuitState.CLOSED,
        CircuitState.OPEN,
    ]


def test_what_others_reported_is_ordered_by_its_own_time_among_results_of_that_check(
    breaker, contract_of, report, clock
):
    contract = contract_of("failed_ratio.a > 0%", "failed_ratio.b > 0%")
    key = circuit_key(contract, "orders")

    def reported(check, broken, minutes):
        result = replace(
            report(),
            rows=None,
            metrics={f"failed_ratio.{check}": Fraction(broken)},
            evaluated_at=clock() + timedelta(minutes=minutes),
        )
        return breaker.record(contract, result, key=key, reported=f"failed_ratio.{check}")

    reported("a", 0, -10)
    breaker.record(contract, report(), key=key)
    older = reported("a", 1, -11)
    assert older.notes[0].kind is NoteKind.LATE
    assert older.circuit.state is CircuitState.CLOSED
    assert reported("b", 1, -12).circuit.state is CircuitState.OPEN


def test_a_primary_that_cannot_be_read_counts_as_source_unavailable(breaker, contract_of):
    contract = contract_of("source_unavailable >= 1")
    key = circuit_key(contract, "orders")
    verdict = breaker.observe_failure(
        contract, key, run_id="r1", what="source_unavailable", explanation="FileNotFoundError: x"
    )
    assert verdict.circuit.state is CircuitState.OPEN


def test_a_probe_run_that_fails_is_a_bad_probe(breaker, contract, key, report, clock):
    breaker.record(contract, report(7), key=key)
    clock.advance(minutes=15)
    breaker.ask_probe(contract, key, "a")
    verdict = breaker.observe_failure(
        contract, key, run_id="r", what="failed_materializations", probe_holder="a"
    )
    assert verdict.circuit.state is CircuitState.OPEN
    assert verdict.circuit.attempts == 2


def test_an_operator_needs_a_name_and_a_reason(breaker, key, store):
    for actor, reason in (("", "why"), ("ann", " ")):
        with pytest.raises(PolicyError):
            breaker.force(key, Override.FORCED_OPEN, actor=actor, reason=reason)
        with pytest.raises(PolicyError):
            breaker.reset(key, actor=actor, reason=reason)
    assert count(store, circuits) == 0


@pytest.mark.parametrize(
    ("override", "until", "said", "hint"),
    [
        (
            Override.FORCED_OPEN,
            datetime(2031, 1, 1),  # noqa: DTZ001 - the mistake itself
            "a time without a zone",
            "tzinfo=UTC",
        ),
        ("forced_open", None, "'forced_open' is no override", "write Override.FORCED_OPEN$"),
        ("FORCED_CLOSED", None, "is no override", "write Override.FORCED_CLOSED$"),
        ("open", None, "'open' is no override", "Override.FORCED_OPEN or Override.FORCED_CLOSED"),
        (None, None, "None is no override", "write Override.NONE$"),
        (Override.FORCED_OPEN, timedelta(hours=2), "cannot end at datetime.timedelta", "UTC"),
        (Override.FORCED_OPEN, "2031-01-01", "cannot end at '2031-01-01'", "UTC"),
    ],
)
def test_an_override_that_is_none_is_refused_in_words(breaker, key, override, until, said, hint):
    with pytest.raises(PolicyError, match=said) as refusal:
        breaker.force(key, override, actor="ann", reason="x", until=until)

    assert re.search(hint, refusal.value.hint)
    assert breaker.circuits() == []


def test_an_override_is_audited_ends_by_itself_and_cannot_end_in_the_past(
    breaker, contract, key, clock, store
):
    with pytest.raises(PolicyError, match="before it begins"):
        breaker.force(key, Override.FORCED_OPEN, actor="ann", reason="x", until=clock())
    until = clock() + timedelta(hours=2)
    breaker.force(
        key, Override.FORCED_OPEN, actor="ann", reason="maintenance", until=until, contract=contract
    )
    assert breaker.circuit(key).effective_state is CircuitState.OPEN
    clock.advance(hours=2)
    (verdict,) = breaker.tick_all([(contract, key)])
    assert verdict.circuit.effective_state is CircuitState.CLOSED
    story = [(entry.kind, entry.actor) for entry in reversed(breaker.history(key))]
    assert ("override_set", "ann") in story
    assert "override_expired" in [kind for kind, _ in story]
    assert kinds(store) == ["circuit.forced", "circuit.forced", "heal.requested"]


@pytest.mark.parametrize("partition", [None, "2026-03-01"])
def test_readers_see_what_is_in_force_though_nothing_asked_since_an_override_ended(
    breaker, contract, key, clock, partition
):
    mine = replace(key, partition=partition)
    until = clock() + timedelta(hours=2)
    breaker.force(mine, Override.FORCED_OPEN, actor="ann", reason="x", until=until)
    assert breaker.circuit(mine).override is Override.FORCED_OPEN
    clock.advance(hours=3)
    for seen in (
        [breaker.circuit(mine)],
        breaker.circuits(),
        breaker.circuits([mine]),
        breaker.circuits_of([key.contract]),
    ):
        assert [(c.override, c.effective_state) for c in seen] == [
            (Override.NONE, CircuitState.CLOSED)
        ]
    (written,) = breaker.circuits(as_written=True)
    assert written.override is Override.FORCED_OPEN
    assert breaker.replay(mine) == written
    assert breaker.circuits_of([key.contract], as_written=True) == [written]


def test_an_override_without_the_contract_still_ends_in_time(breaker, contract, key, clock, report):
    breaker.record(contract, report(), key=key)
    until = clock() + timedelta(minutes=5)
    breaker.force(key, Override.FORCED_OPEN, actor="ann", reason="x", until=until)
    breaker.tick_all([(contract, key)])
    clock.advance(minutes=5)
    (verdict,) = breaker.tick_all([(contract, key)])
    assert verdict.circuit.override is Override.NONE


def test_reset_closes_and_says_who(breaker, contract, key, report, store):
    breaker.record(contract, report(7), key=key)
    verdict = breaker.reset(key, actor="ann", reason="checked by hand", contract=contract)
    assert verdict.circuit.state is CircuitState.CLOSED
    (entry,) = breaker.history(key, 1, transitions_only=True)
    assert (entry.actor, entry.cause) == ("ann", "reset")
    assert "checked by hand" in entry.sentence()
    assert "circuit.reset" in kinds(store)


def test_metrics_only_records_and_refuses_nothing(breaker, contract_of, report):
    contract = contract_of("schema_validation_errors > 5%", mode=CircuitMode.METRICS_ONLY)
    key = circuit_key(contract, "orders")
    verdict = breaker.record(contract, report(50), key=key)
    assert not verdict.refused
    assert verdict.circuit.effective_state is CircuitState.CLOSED
    assert "would_open" in [entry.kind for entry in breaker.history(key)]


def test_partitions_have_circuits_of_their_own_where_the_contract_says_so(
    breaker, contract_of, report
):
    contract = contract_of("schema_validation_errors > 5%", scope=CircuitScope.PARTITION)
    keys = {p: circuit_key(contract, "orders", p) for p in ("2026-03-01", "2026-03-02")}
    breaker.record(contract, report(7, partition="2026-03-01"), key=keys["2026-03-01"])
    breaker.record(contract, report(0, partition="2026-03-02"), key=keys["2026-03-02"])
    assert [c.state for c in breaker.circuits()] == [CircuitState.OPEN, CircuitState.CLOSED]
    whole = contract_of("schema_validation_errors > 5%")
    assert circuit_key(whole, "orders", "2026-03-01").partition is None


def test_a_backfill_says_nothing_of_the_newest(breaker, contract, key, report):
    breaker.record(contract, report(), key=key)
    verdict = breaker.record(contract, report(90, partition="old"), key=key, backfill=True)
    assert verdict.circuit.state is CircuitState.CLOSED
    assert "late" in [entry.kind for entry in breaker.history(key)]


def test_an_edited_contract_is_bound_and_audited(breaker, contract, contract_of, key, report):
    breaker.record(contract, report(3), key=key)
    stricter = contract_of("schema_validation_errors > 1%", semantic_hash="v2")
    assert breaker.record(stricter, report(3), key=key).circuit.state is CircuitState.OPEN
    assert "policy_bound" in [entry.kind for entry in breaker.history(key)]


def test_a_clock_that_goes_backwards_breaks_nothing(breaker, contract, key, report, clock):
    breaker.record(contract, report(7), key=key)
    clock.advance(minutes=-10)
    assert breaker.tick(contract, key).circuit.state is CircuitState.OPEN
    assert breaker.ask_probe(contract, key, "a") is None
    breaker.record(contract, report(), key=key)
    clock.advance(minutes=25)
    assert breaker.ask_probe(contract, key, "a") is not None
    assert breaker.replay(key) == breaker.circuit(key)
    versions = [entry.version for entry in breaker.history(key, 100)]
    assert versions == list(range(len(versions), 0, -1))


def test_a_clock_that_is_set_back_by_days_keeps_no_probe_waiting(
    breaker, contract, key, report, clock
):
    breaker.record(contract, report(7), key=key)
    clock.advance(days=-3)
    assert breaker.tick(contract, key).circuit.next_probe_at == clock.now + timedelta(minutes=15)
    clock.advance(minutes=16)
    assert breaker.ask_probe(contract, key, "a") is not None
    clock.advance(days=-3)
    assert breaker.tick(contract, key).circuit.lease.expires_at == clock.now + timedelta(hours=1)
    clock.advance(hours=2)
    assert breaker.tick(contract, key).circuit.state is CircuitState.OPEN
    clock.advance(hours=1)
    assert breaker.record(contract, report(), key=key).circuit.state is CircuitState.CLOSED
    assert breaker.replay(key) == breaker.circuit(key)


def test_open_reports_of_consumers_can_open_a_circuit(breaker, contract_of, report, store, clock):
    from dagster_contracts.store.tables import feedback

    contract = contract_of("consumer_reports >= 1")
    key = circuit_key(contract, "orders")
    breaker.record(contract, report(), key=key)
    assert [v.circuit.state for v in breaker.tick_all([(contract, key)])] == [CircuitState.CLOSED]
    with store.begin() as conn:
        row = {"contract": "orders", "consumer": "ann", "text": "?", "reported_at": clock()}
        conn.execute(sa.insert(feedback).values(**row))
    (verdict,) = breaker.tick_all([(contract, key)])
    assert verdict.circuit.state is CircuitState.OPEN


def test_an_open_upstream_is_written_down_once(breaker, contract, key, report):
    breaker.record(contract, report(), key=key)
    breaker.set_upstream(contract, key, ["raw/raw"])
    before = breaker.history(key)
    assert breaker.set_upstream(contract, key, ["raw/raw"]).circuit.upstream == ("raw/raw",)
    assert breaker.history(key) == before
    assert breaker.set_upstream(contract, key, []).circuit.upstream == ()


def test_what_is_given_along_is_written_with_the_evaluation_or_not_at_all(
    breaker, contract, key, report, store
):
    calls = []
    breaker.record(contract, report(), key=key, also=lambda conn: calls.append("good"))
    breaker.record(contract, report(7), key=key, also=lambda conn: calls.append("refused"))
    assert calls == ["good"]

    def fail(conn):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        breaker.record(contract, report(id="lost"), key=key, also=fail)
    with store.read() as conn:
        assert "lost" not in conn.scalars(sa.select(observations.c.evaluation_id)).all()


def test_the_guard_refuses_a_write_over_another(store, key, clock, breaker, contract, report):
    breaker.record(contract, report(), key=key)
    with store.begin() as conn:
        stale = lock_circuit(conn, key, store.now)
    breaker.record(contract, report(7), key=key)
    with pytest.raises(StoreError, match="somebody else"), store.begin() as conn:
        write_step(conn, stale, [], wake_at=clock(), now=clock())


def test_history_reads_like_a_story(breaker, contract, key, report, clock):
    breaker.record(contract, report(7, id="abc"), key=key)
    clock.advance(minutes=15)
    breaker.ask_probe(contract, key, "a")
    breaker.record(contract, report(), key=key, probe_holder="a")
    told = [e.sentence() for e in reversed(breaker.history(key, transitions_only=True))]
    assert told[0].startswith("2026-03-02 06:00:00 UTC opened by evaluation abc: ")
    assert "7" in told[0]
    assert "half-open" in told[1]
    assert "closed" in told[2]
    assert breaker.history(None, 2)[0].key == key


def test_replaying_the_events_rebuilds_the_row_also_after_old_ones_are_forgotten(
    breaker, contract, contract_of, key, report, clock
):
    edited = contract_of("schema_validation_errors > 1%", semantic_hash="v2")
    scripts = [
        lambda: breaker.record(contract, report(), key=key),
        lambda: breaker.record(contract, report(7), key=key),
        lambda: breaker.ask_probe(contract, key, "a"),
        lambda: breaker.record(contract, report(9), key=key, probe_holder="a"),
        lambda: breaker.force(key, Override.FORCED_CLOSED, actor="ann", reason="x"),
        lambda: breaker.record(edited, report(2), key=key),
        lambda: breaker.force(key, Override.NONE, actor="ann", reason="y"),
        lambda: breaker.tick(edited, key),
        lambda: breaker.ask_probe(edited, key, "b"),
        lambda: breaker.record(edited, report(), key=key, probe_holder="b"),
        lambda: breaker.reset(key, actor="ann", reason="z"),
    ]
    for script in scripts:
        script()
        assert breaker.replay(key) == breaker.circuit(key)
        clock.advance(minutes=40)
    lines = len(breaker.history(key, 1000))
    forgotten, _ = breaker.prune(events=timedelta(minutes=200), observations=timedelta(minutes=200))
    assert 0 < forgotten < lines
    assert len(breaker.history(key, 1000)) == lines - forgotten
    assert breaker.replay(key) == breaker.circuit(key)
    breaker.record(edited, report(7), key=key)
    assert breaker.replay(key) == breaker.circuit(key)


OPENED_BY_AN_EARLIER_RELEASE = (
    {"set": {"policy_hash": "v1"}},
    {
        "set": {
            "state": "open",
            "generation": 1,
            "attempts": 1,
            "opened_at": "2026-03-01T06:00:00+00:00",
            "opened_partition": "p1",
            "reason": "schema_validation_errors was 7%",
            "opened_by": ["schema_validation_errors > 5%"],
            "next_probe_at": "2026-03-01T06:15:00+00:00",
            "openings": ["2026-03-01T06:00:00+00:00"],
            "evaluations": 1,
            "recent": ["old-1"],
        }
    },
    {"set": {"state": "closed", "generation": 2}, "unset": ["opened_at", "opened_partition"]},
    {
        "set": {
            "state": "open",
            "generation": 3,
            "opened_at": "2026-03-01T07:00:00+00:00",
            "opened_partition": "p2",
            "next_probe_at": "2026-03-01T07:15:00+00:00",
        }
    },
)


def test_a_story_that_an_earlier_release_began_is_replayed(
    breaker, contract, key, report, store, clock
):
    body = {"key": {"contract": "orders", "asset": "orders", "partition": None}}
    named = {"contract": "orders", "asset": "orders", "partition": ""}
    with store.begin() as conn:
        for version, changes in enumerate(OPENED_BY_AN_EARLIER_RELEASE, start=1):
            body |= changes.get("set", {})
            body = {n: v for n, v in body.items() if n not in changes.get("unset", ())}
            line = {"generation": body.get("generation", 0), "before": "closed", "after": "open"}
            conn.execute(
                sa.insert(circuit_events).values(
                    **named, **line, version=version, kind="transition", at=clock(), changes=changes
                )
            )
        conn.execute(
            sa.insert(circuits).values(
                **named,
                version=version,
                generation=3,
                state="open",
                override="none",
                policy_hash="v1",
                updated_at=clock(),
                body=body,
            )
        )
    assert [bad.name for bad in breaker.circuit(key).bad_partitions] == ["p2"]
    assert breaker.replay(key) == breaker.circuit(key)

    for broken, partition in ((0, "p1"), (7, "p3"), (0, "p3"), (0, "p2"), (7, "p4")):
        breaker.record(contract, report(broken, partition=partition), key=key)
        assert breaker.replay(key) == breaker.circuit(key)
        clock.advance(hours=3)
    states = {entry.after for entry in breaker.history(key, 1000)}
    assert CircuitState.CLOSED in states
    forgotten, _ = breaker.prune(events=timedelta(hours=2), observations=timedelta(days=9))
    assert forgotten
    assert breaker.replay(key) == breaker.circuit(key)


def test_the_breaker_can_have_a_clock_of_its_own(store, contract, key, report, clock):
    later = clock() + timedelta(days=1)
    breaker = CircuitBreaker(store, clock=lambda: later)
    verdict = breaker.record(contract, report(7), key=key)
    assert verdict.circuit.opened_at == later


def test_a_contract_that_waits_for_its_probe_is_probed_by_the_next_evaluation(
    breaker, contract_of, report, clock
):
    recovery = Recovery(probe=ProbeMode.WAIT, jitter=Fraction(0))
    contract = contract_of("schema_validation_errors > 5%", recovery=recovery)
    key = circuit_key(contract, "orders")
    breaker.record(contract, report(7), key=key)
    clock.advance(minutes=15)
    assert breaker.record(contract, report(), key=key).circuit.state is CircuitState.CLOSED


def test_a_feed_that_stands_still_is_caught_again_after_an_operator_gave_it_back(
    breaker, contract, key, report, clock
):
    breaker.record(contract, report(), key=key)
    clock.advance(minutes=31)
    assert breaker.tick(contract, key).circuit.state is CircuitState.OPEN
    breaker.reset(key, actor="ann", reason="a try", contract=contract)
    assert breaker.tick(contract, key).circuit.state is CircuitState.OPEN


def test_an_operator_without_the_contract_spends_no_probe_of_it(
    breaker, contract, key, report, clock
):
    breaker.record(contract, report(7), key=key)
    clock.advance(minutes=15)
    assert breaker.ask_probe(contract, key, "a")
    clock.advance(hours=2)
    circuit = breaker.force(key, Override.FORCED_OPEN, actor="ann", reason="x").circuit
    assert (circuit.state, circuit.attempts) == (CircuitState.HALF_OPEN, 1)


def test_an_override_that_has_ended_lets_no_bad_batch_through(
    breaker, contract, key, report, clock
):
    until = clock() + timedelta(minutes=5)
    breaker.force(
        key, Override.FORCED_CLOSED, actor="ann", reason="x", until=until, contract=contract
    )
    clock.advance(minutes=6)
    verdict = breaker.record(contract, report(7), key=key)
    assert verdict.refused
    assert verdict.circuit.state is CircuitState.OPEN


def test_what_was_counted_under_an_override_is_judged_when_a_late_batch_sees_its_end(
    breaker, contract, key, report, clock
):
    until = clock() + timedelta(minutes=5)
    breaker.force(
        key, Override.FORCED_CLOSED, actor="ann", reason="x", until=until, contract=contract
    )
    breaker.record(contract, report(7), key=key)
    clock.advance(minutes=6)
    late = breaker.record(contract, report(0), key=key, backfill=True)
    assert late.circuit.override is Override.NONE
    assert breaker.standing(contract, key).circuit.state is CircuitState.OPEN


def test_what_a_read_asks_is_one_query(breaker, contract, key, report, store):
    breaker.record(contract, report(), key=key)
    sent = []
    sa.event.listen(store._engine, "before_cursor_execute", lambda *said: sent.append(said[2]))
    found = breaker.standing(contract, key)
    assert [text for text in sent if not text.startswith("BEGIN")] == sent[-1:]
    assert (found.position, found.degraded) == (0, False)
    assert found.circuit == breaker.circuit(key)


def test_a_run_over_many_partitions_reads_an_unchanged_circuit_into_memory_once(
    breaker, contract, key, report, monkeypatch
):
    breaker.record(contract, report(), key=key)
    read = []

    def counted(document):
        read.append(document)
        return circuit_from_json(document)

    monkeypatch.setattr(standing, "circuit_from_json", counted)
    standing._circuit.cache_clear()
    days = [f"2026-03-{day:02}" for day in range(1, 31)]
    circuit = breaker.circuit(key)
    assert all(breaker.standing(contract, key, partition=day).circuit == circuit for day in days)
    assert len(read) == 1
    opened = breaker.record(contract, report(7), key=key).circuit
    assert breaker.standing(contract, key, partition=days[0]).circuit == opened
    assert len(read) == 2


def test_the_newest_partition_is_found_by_an_index(breaker, contract_of, report, store, clock):
    contract = contract_of("data_freshness > 1h", scope=CircuitScope.PARTITION)

    def record(day):
        key = circuit_key(contract, "orders", f"day {day}")
        time = clock() - timedelta(days=100 - day)
        result = report(partition=f"day {day}")
        breaker.record(contract, result, key=key, partition_time=time)
        return breaker.circuit(key).superseded

    assert [record(day) for day in (5, 4, 5, 6, 5)] == [False, True, False, False, True]
    with store.read() as conn:
        if conn.dialect.name == "sqlite":
            of = "contract = 'orders' AND asset = 'orders' AND partition_time > 0"
            plan = sa.text(f"EXPLAIN QUERY PLAN SELECT 1 FROM {circuits.name} WHERE {of}")
            assert "asset=? AND partition_time>?" in str(conn.execute(plan).all())
