"""The ledger: every degraded read is in it until its consumer was built again from good data."""

from __future__ import annotations

import pytest

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads

ORDERS = CircuitKey("orders", "orders")


@pytest.fixture
def ledger(store):
    return DegradedReads(store)


def read(consumer="sales", partition="d1", *, upstream_partition="d1", run_id="r1", **more):
    fields = {
        "circuit": ORDERS,
        "consumer": consumer,
        "consumer_partition": partition,
        "upstream": "orders",
        "upstream_partition": upstream_partition,
        "level": "last_valid",
        "source": "last_valid of orders",
        "reason": "the circuit is open",
        "run_id": run_id,
        "generation": 1,
    }
    return DegradedRead(**{**fields, **more})


def settle(ledger, consumer="sales", partition="d1", upstream="orders", **more):
    return ledger.settle(
        consumer=consumer, consumer_partition=partition, upstream=upstream, run_id="good", **more
    )


def test_a_read_is_open_until_it_is_settled(ledger, clock):
    written = ledger.record(read())
    assert ledger.open_reads() == (written,)
    assert ledger.open_reads(ORDERS, consumer="sales", consumer_partition="d1") == (written,)
    assert ledger.open_reads(CircuitKey("other", "orders")) == ()
    assert ledger.open_reads(consumer="sales", consumer_partition="d2") == ()
    clock.advance(hours=1)
    assert settle(ledger) == 1
    assert ledger.open_reads() == ()
    (past,) = ledger.reads_of_run("r1")
    assert (past.settled_by, past.settled_at) == ("good", clock())


def test_the_same_read_of_the_same_run_counts_once(ledger):
    assert ledger.record(read()) == ledger.record(read())
    assert len(ledger.open_reads()) == 1


def test_a_later_degraded_run_takes_the_place_of_the_earlier(ledger, clock):
    first = ledger.record(read())
    clock.advance(hours=1)
    second = ledger.record(read(run_id="r2"))
    assert ledger.open_reads() == (second,)
    assert second.since == first.read_at
    clock.advance(hours=1)
    third = ledger.record(read(run_id="r3", generation=5))
    assert third.since == clock()


def test_only_the_edge_that_was_built_again_is_settled(ledger):
    ledger.record(read(partition="d1"))
    ledger.record(read(partition="d2", upstream_partition="d2"))
    ledger.record(read(consumer="other"))
    ledger.record(read(upstream="weather", circuit=CircuitKey("weather", "weather")))
    assert settle(ledger) == 1
    left = {(r.consumer, r.consumer_partition, r.upstream) for r in ledger.open_reads()}
    assert left == {
        ("sales", "d2", "orders"),
        ("other", "d1", "orders"),
        ("sales", "d1", "weather"),
    }


def test_a_fan_in_is_settled_partition_by_partition(ledger):
    for partition in ("d1", "d2", "d3"):
        ledger.record(read(partition=None, upstream_partition=partition))
    assert settle(ledger, partition=None, upstream_partitions=["d1", "d3"]) == 2
    assert [r.upstream_partition for r in ledger.open_reads()] == ["d2"]
    assert settle(ledger, partition=None, upstream_partitions=[None]) == 1


def test_what_was_degraded_after_the_input_was_loaded_stays_open(ledger):
    ledger.record(read())
    loaded_at = ledger.position()
    later = ledger.record(read(run_id="r2"))
    assert settle(ledger, up_to=loaded_at) == 0
    assert ledger.open_reads() == (later,)


def test_an_asset_built_from_a_degraded_one_is_degraded(ledger):
    ledger.record(read())
    ledger.record(read(circuit=CircuitKey("weather", "weather"), upstream="weather"))
    marks = ledger.inherit(
        consumer="board",
        consumer_partition="d1",
        upstream="sales",
        upstream_partition="d1",
        run_id="r2",
    )
    assert {mark.circuit.contract for mark in marks} == {"orders", "weather"}
    assert {(mark.via, mark.upstream) for mark in marks} == {("sales", "sales")}
    assert all("was itself built from" in mark.reason for mark in marks)
    nested = ledger.inherit(
        consumer="mail",
        consumer_partition=None,
        upstream="board",
        upstream_partition=None,
        run_id="r3",
    )
    assert {(m.via, m.upstream_partition) for m in nested} == {("board", "d1")}
    settle(ledger)
    settle(ledger, upstream="weather")
    assert len(ledger.open_reads()) == 4
    assert settle(ledger, consumer="board", upstream="sales") == 2
    assert settle(ledger, consumer="mail", partition=None, upstream="board") == 2
    assert ledger.open_reads() == ()


def test_a_good_partition_passes_no_mark_on(ledger, store):
    ledger.record(read())
    marks = ledger.inherit(
        consumer="board",
        consumer_partition="d2",
        upstream="sales",
        upstream_partition="d2",
        run_id="r2",
    )
    assert marks == ()
    assert len(ledger.open_reads()) == 1


def test_a_run_slower_than_its_healing_opens_its_mark_again(ledger):
    ledger.record(read())
    loaded_at = ledger.position()
    assert settle(ledger, up_to=loaded_at) == 1
    renew = {"consumer": "sales", "consumer_partition": "d1", "run_id": "r1"}
    assert ledger.renew(**renew) == 1
    assert ledger.renew(**renew) == 0
    (again,) = ledger.open_reads()
    assert again.run_id == "r1"
    assert ledger.renew(**renew, anew=True) == 1
    assert settle(ledger, up_to=again.id) == 0
    assert len(ledger.open_reads()) == 1


def test_what_one_run_has_yet_to_store_is_ended_by_no_other(ledger):
    before = ledger.record(read(run_id="r0"))
    slow = ledger.record(read(run_id="slow", pending=True))
    quick = ledger.record(read(run_id="quick", pending=True))
    assert ledger.open_reads() == (before, slow, quick)

    assert ledger.drop(quick, "its run failed")
    assert ledger.open_reads() == (before, slow)
    stored = ledger.record(read(run_id="r1"))
    assert ledger.open_reads() == (slow, stored)
    assert settle(ledger) == 1

    # It may have stored its data since: only its own end can tell.
    assert ledger.open_reads() == (slow,)


def test_a_run_that_tries_again_from_good_data_ends_what_it_had_marked(ledger):
    ledger.record(read(run_id="good", pending=True))
    assert settle(ledger) == 1
    assert ledger.open_reads() == ()


def test_an_upstream_that_was_degraded_while_it_was_read_marks_its_reader(ledger):
    loading_from = ledger.position()
    ledger.record(read())
    settle(ledger)
    assert ledger.degraded_since(["sales", "other"], loading_from) == {"sales"}
    edge = {"consumer": "board", "consumer_partition": "d1", "run_id": "r2"}
    upstream = {"upstream": "sales", "upstream_partition": "d1"}
    assert ledger.inherit(**edge, **upstream) == ()
    (mark,) = ledger.inherit(**edge, **upstream, since=loading_from)
    assert (mark.via, mark.consumer) == ("sales", "board")
