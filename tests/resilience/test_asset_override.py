"""An override of a whole asset is obeyed by every partition, also by those that come later."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, CircuitState, Override
from dagster_contracts.core.contract import CircuitScope
from dagster_contracts.errors import PolicyError
from dagster_contracts.monitoring.health import health
from dagster_contracts.resilience.distrust import trusted_snapshots
from dagster_contracts.resilience.snapshots import Snapshot
from dagster_contracts.store.tables import circuit_events, circuits, outbox, snapshots

WHOLE = CircuitKey("orders", "orders")
MONDAY = CircuitKey("orders", "orders", "2026-03-02")
TUESDAY = CircuitKey("orders", "orders", "2026-03-03")


@pytest.fixture
def contract(contract_of):
    """Each partition has a circuit of its own."""
    return contract_of("schema_validation_errors > 5%", scope=CircuitScope.PARTITION)


@pytest.fixture
def force(breaker, contract):
    """Force a circuit as an operator does."""

    def do(key, override, until=None):
        return breaker.force(
            key, override, actor="ann", reason="cents", until=until, contract=contract
        ).circuit

    return do


def test_a_partition_that_comes_later_obeys_and_its_first_read_is_written_down(
    breaker, contract, force
):
    force(WHOLE, Override.FORCED_OPEN)

    read = breaker.standing(contract, TUESDAY, partition="2026-03-03").circuit

    assert read.effective_state is CircuitState.OPEN
    assert (read.override_actor, read.override_reason, read.inherited) == ("ann", "cents", True)
    assert breaker.replay(TUESDAY) == read
    assert [e.kind for e in breaker.history(TUESDAY) if e.actor == "ann"] == ["override_set"]


def test_every_way_to_look_sees_it_before_any_event_of_the_partition(
    breaker, contract, force, report
):
    breaker.record(contract, report(), key=MONDAY)
    force(WHOLE, Override.FORCED_OPEN)

    assert breaker.circuit(MONDAY).effective_state is CircuitState.OPEN
    assert breaker.circuit(TUESDAY).effective_state is CircuitState.OPEN
    assert {c.effective_state for c in breaker.circuits()} == {CircuitState.OPEN}
    assert {c.effective_state for c in breaker.circuits([MONDAY])} == {CircuitState.OPEN}
    assert {c.effective_state for c in breaker.circuits_of(["orders"])} == {CircuitState.OPEN}
    assert breaker.tick(contract, MONDAY).circuit.effective_state is CircuitState.OPEN


def test_a_tick_writes_it_down_for_all_known_ones_and_one_alert_is_sent(
    breaker, contract, force, report, store
):
    breaker.record(contract, report(), key=MONDAY)
    force(WHOLE, Override.FORCED_OPEN)
    assert MONDAY in breaker.due()

    breaker.tick_all([(contract, MONDAY), (contract, WHOLE)])

    assert MONDAY not in breaker.due()
    assert breaker.replay(MONDAY) == breaker.circuit(MONDAY)
    with store.read() as conn:
        sent = list(conn.scalars(sa.select(outbox.c.kind)))
    assert sent == ["circuit.forced"]


def test_a_partition_with_an_override_of_its_own_keeps_it_and_then_obeys_again(
    breaker, contract, force, clock
):
    force(WHOLE, Override.FORCED_OPEN)
    force(MONDAY, Override.FORCED_CLOSED, clock() + timedelta(hours=1))

    assert breaker.standing(contract, MONDAY).circuit.effective_state is CircuitState.CLOSED
    assert breaker.standing(contract, TUESDAY).circuit.effective_state is CircuitState.OPEN
    clock.advance(hours=1)
    monday = breaker.standing(contract, MONDAY).circuit
    assert (monday.effective_state, monday.inherited) == (CircuitState.OPEN, True)
    force(MONDAY, Override.METRICS_ONLY)
    assert force(MONDAY, Override.NONE).override is Override.FORCED_OPEN


def test_it_ends_everywhere_by_itself_and_consumers_are_healed(
    breaker, contract, force, clock, store
):
    force(WHOLE, Override.FORCED_OPEN, clock() + timedelta(hours=2))
    breaker.standing(contract, MONDAY)
    clock.advance(hours=2)

    assert breaker.circuit(MONDAY).effective_state is CircuitState.CLOSED
    assert breaker.standing(contract, MONDAY).circuit.override is Override.NONE
    assert breaker.standing(contract, TUESDAY).circuit.override is Override.NONE
    with store.read() as conn:
        healed = [
            body["partition"]
            for kind, body in conn.execute(sa.select(outbox.c.kind, outbox.c.payload))
            if kind == "heal.requested"
        ]
    assert healed == ["2026-03-02"]


def test_lifting_it_lifts_it_everywhere_but_not_what_is_a_partitions_own(breaker, contract, force):
    force(WHOLE, Override.FORCED_OPEN)
    breaker.standing(contract, MONDAY)
    force(TUESDAY, Override.FORCED_OPEN)

    force(WHOLE, Override.NONE)

    assert breaker.circuit(MONDAY).override is Override.NONE
    assert MONDAY in breaker.due()
    assert breaker.standing(contract, MONDAY).circuit.override is Override.NONE
    assert breaker.standing(contract, TUESDAY).circuit.override is Override.FORCED_OPEN


def test_a_reset_of_a_partition_closes_it_and_leaves_the_whole_assets_override(
    breaker, contract, force, report
):
    breaker.record(contract, report(7), key=MONDAY)
    force(WHOLE, Override.FORCED_OPEN)

    reset = breaker.reset(MONDAY, actor="bob", reason="mended", contract=contract)

    assert (reset.circuit.state, reset.circuit.effective_state) == (
        CircuitState.CLOSED,
        CircuitState.OPEN,
    )
    assert not any(type(effect).__name__ == "Heal" for effect in reset.effects)


def test_a_reset_of_the_whole_asset_closes_and_frees_every_partition(
    breaker, contract, force, report
):
    breaker.record(contract, report(7), key=MONDAY)
    force(TUESDAY, Override.FORCED_OPEN)

    unused = breaker.reset(WHOLE, actor="bob", reason="mended", contract=contract)
    assert (unused.transitions, unused.circuit.generation) == ((), 0)
    assert [c.key for c in breaker.circuits()] == [MONDAY, TUESDAY]
    assert all(c.effective_state is CircuitState.CLOSED for c in breaker.circuits())

    breaker.record(contract, report(7), key=MONDAY)
    force(WHOLE, Override.FORCED_OPEN)
    verdicts = breaker.reset_all(WHOLE, actor="bob", reason="mended", contract=contract)
    assert [v.circuit.key for v in verdicts] == [WHOLE, MONDAY, TUESDAY]
    for circuit in breaker.circuits():
        assert (circuit.state, circuit.override) == (CircuitState.CLOSED, Override.NONE)
        assert breaker.replay(circuit.key) == circuit
    assert any(type(effect).__name__ == "Heal" for v in verdicts for effect in v.effects)


def test_it_cannot_be_lifted_for_one_partition(breaker, contract, force, store):
    force(WHOLE, Override.FORCED_OPEN)
    with pytest.raises(PolicyError, match="whole asset's"):
        force(MONDAY, Override.NONE)
    with store.read() as conn:
        assert list(conn.scalars(sa.select(circuits.c.partition))) == [""]
        assert set(conn.scalars(sa.select(circuit_events.c.partition))) == {""}


def test_no_probe_is_granted_and_a_running_one_loses_its_lease(
    breaker, contract, force, report, clock
):
    breaker.record(contract, report(7), key=MONDAY)
    clock.advance(minutes=15)
    assert breaker.ask_probe(contract, MONDAY, "run 1")
    force(WHOLE, Override.FORCED_OPEN)
    assert breaker.circuit(MONDAY).lease is None
    assert breaker.ask_probe(contract, MONDAY, "run 2") is None


def test_metrics_only_records_what_each_partition_would_have_done(breaker, contract, force, report):
    force(WHOLE, Override.METRICS_ONLY)

    verdict = breaker.record(contract, report(7), key=MONDAY)

    assert verdict.circuit.effective_state is CircuitState.CLOSED
    assert not verdict.refused
    assert "> 5%" in (verdict.circuit.would_open or "")
    assert "would_open" in [entry.kind for entry in breaker.history(MONDAY)]


def test_what_a_read_asks_stays_one_query(breaker, contract, force, report, store):
    breaker.record(contract, report(), key=MONDAY)
    for override in (Override.NONE, Override.FORCED_OPEN):
        force(WHOLE, override)
        breaker.standing(contract, MONDAY)
        sent = []
        listen = (store._engine, "before_cursor_execute", lambda *said, to=sent: to.append(said[2]))
        sa.event.listen(*listen)
        breaker.standing(contract, MONDAY)
        sa.event.remove(*listen)
        assert [text for text in sent if not text.startswith("BEGIN")] == sent[-1:]


def test_the_health_of_the_whole_asset_is_a_row_only_while_it_is_forced(
    breaker, contract, force, report, store
):
    breaker.record(contract, report(partition="2026-03-02"), key=MONDAY)
    force(WHOLE, Override.FORCED_OPEN)
    forced = [(row.partition, row.state) for row in health(store, [contract])]
    assert (None, CircuitState.OPEN) in forced
    force(WHOLE, Override.NONE)
    assert [row.partition for row in health(store, [contract])] == ["2026-03-02"]


@pytest.fixture
def keep(store, clock):
    """Keep the batch of an evaluation as a valid one of Monday's."""

    def do(evaluation_id):
        kept = Snapshot(
            id=1,
            contract="orders",
            contract_version="1.0.0",
            asset="orders",
            partition="2026-03-02",
            evaluation_id=evaluation_id,
            kind="pyarrow",
            sha256="a" * 64,
            schema_sha256="b" * 64,
            rows=1,
            bytes=1,
            event_time=None,
            kept_at=clock(),
        )
        with store.begin() as conn:
            conn.execute(sa.insert(snapshots).values(asdict(kept)))
        return kept

    return do


def test_last_valid_is_from_before_also_where_no_event_of_the_partition_has_met_the_override(
    breaker, contract, force, report, store, keep
):
    """Neither the primary of that moment nor what follows is served, in any partition."""
    breaker.record(contract, report(partition="2026-03-02", id="e1"), key=MONDAY)
    kept = keep("e1")
    assert trusted_snapshots(store, [kept], lambda _: MONDAY, audited=True) == (kept,)
    force(WHOLE, Override.FORCED_OPEN)
    assert trusted_snapshots(store, [kept], lambda _: MONDAY, audited=True) == ()


@pytest.mark.parametrize("forced", [MONDAY, WHOLE], ids=["its own", "the whole asset's"])
def test_an_override_that_has_ended_hides_no_batch_though_nothing_has_asked_since(
    breaker, contract, force, report, store, clock, keep, forced
):
    """A read of one partition may be served the batch of another, which nobody has ticked."""
    breaker.record(contract, report(partition="2026-03-02", id="e1"), key=MONDAY)
    kept = keep("e1")
    force(forced, Override.FORCED_OPEN, until=clock() + timedelta(hours=1))
    breaker.tick(contract, MONDAY)
    assert trusted_snapshots(store, [kept], lambda _: MONDAY, audited=True) == ()

    clock.advance(hours=2)

    assert trusted_snapshots(store, [kept], lambda _: MONDAY, audited=True) == (kept,)


# ---- of which partition the clock speaks ---------------------------------------------------------


@pytest.fixture
def fresh(contract_of):
    """Opens when the feed has stopped, or when too many rows are broken."""
    return contract_of(
        "data_freshness > 1d", "schema_validation_errors > 5%", scope=CircuitScope.PARTITION
    )


def evaluate(breaker, contract, key, report, *, broken=0):
    begins = None
    if key.partition.startswith("2026"):
        begins = datetime.fromisoformat(key.partition).replace(tzinfo=UTC)
    return breaker.record(
        contract, report(broken, partition=key.partition), key=key, partition_time=begins
    )


def test_time_opens_the_newest_partition_and_no_other(breaker, fresh, report, clock):
    keys = [CircuitKey("orders", "orders", f"2026-03-0{day}") for day in (1, 2, 3)]
    for key in keys:
        evaluate(breaker, fresh, key, report)
        clock.advance(hours=1)
    clock.advance(days=2)

    breaker.tick_all([(fresh, key) for key in keys])

    states = [breaker.circuit(key).state for key in keys]
    assert states == [CircuitState.CLOSED, CircuitState.CLOSED, CircuitState.OPEN]
    assert not breaker.due()


def test_an_older_partition_that_is_made_again_is_asked_nothing_of_the_newest(
    breaker, fresh, report, clock
):
    evaluate(breaker, fresh, TUESDAY, report)
    clock.advance(hours=1)
    stale = {"data_freshness": 90 * 86400}
    made = breaker.record(
        fresh,
        report(partition="2026-03-02", **stale),
        key=MONDAY,
        partition_time=clock() - timedelta(days=30),
    )
    assert made.circuit.state is CircuitState.CLOSED
    assert not made.refused
    assert made.not_passed is None
    bad = evaluate(breaker, fresh, MONDAY, report, broken=7)
    assert bad.circuit.state is CircuitState.OPEN


def test_one_that_time_opened_while_it_was_the_newest_is_closed_by_its_own_probe(
    breaker, fresh, report, clock
):
    evaluate(breaker, fresh, MONDAY, report)
    clock.advance(days=1, minutes=1)
    assert breaker.tick(fresh, MONDAY).circuit.state is CircuitState.OPEN
    evaluate(breaker, fresh, TUESDAY, report)
    clock.advance(minutes=15)
    assert evaluate(breaker, fresh, MONDAY, report).circuit.state is CircuitState.CLOSED


def test_partitions_without_an_order_are_each_looked_at(breaker, fresh, report, clock):
    keys = [CircuitKey("orders", "orders", region) for region in ("eu", "us")]
    for key in keys:
        evaluate(breaker, fresh, key, report)
        clock.advance(hours=1)
    clock.advance(days=2)
    breaker.tick_all([(fresh, key) for key in keys])
    assert {breaker.circuit(key).state for key in keys} == {CircuitState.OPEN}


# ---- what may be decided about -------------------------------------------------------------------


@pytest.mark.parametrize("evaluated", [True, False])
@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (CircuitKey("orders", "ordres"), "did you mean 'orders'"),
        (CircuitKey("orders", "orders", "2026-03-02"), "one circuit for all its partitions"),
    ],
)
def test_without_definitions_the_contract_or_what_was_evaluated_tells_what_there_is(
    breaker, contract_of, report, refused, said, evaluated
):
    contract = contract_of("schema_validation_errors > 5%")
    if evaluated:
        breaker.record(contract, report(), key=WHOLE)
    known = {} if evaluated else {"contract": contract}
    with pytest.raises(PolicyError, match=said):
        breaker.reset(refused, actor="ann", reason="x", **known)
    with pytest.raises(PolicyError, match=said):
        breaker.force(refused, Override.FORCED_OPEN, actor="ann", reason="x", **known)
    assert breaker.circuits() == ([breaker.circuit(WHOLE)] if evaluated else [])
    with pytest.raises(PolicyError, match="the contract is orders@"):
        breaker.reset(CircuitKey("bills", "bills"), actor="ann", reason="x", contract=contract)
