"""What the store forgets, and what it keeps however old it is."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedRead, DegradedReads
from dagster_contracts.resilience.quarantine import Quarantine
from dagster_contracts.resilience.retention import forget_old
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.store.outbox import MessageState, Outbox

TABLE = pa.table({"id": [1, 2]})


@pytest.fixture
def deployment(store, breaker, tmp_path):
    """The services of one store, as keywords of :func:`forget_old`."""
    ledger = DegradedReads(store)
    return {
        "breaker": breaker,
        "reads": ledger,
        "healing": Healing(store, ledger, max_attempts=1),
        "outbox": Outbox(store),
        "snapshots": SnapshotArchive(store, tmp_path / "s"),
        "quarantine": Quarantine(store, tmp_path / "q"),
    }


def read_of(key, consumer, run_id="r1"):
    return DegradedRead(
        circuit=key,
        consumer=consumer,
        upstream="orders",
        level="last_valid",
        source="last_valid",
        reason="open",
        run_id=run_id,
        generation=1,
    )


def settled(ledger, key, consumer):
    ledger.record(read_of(key, consumer))
    return ledger.settle(
        consumer=consumer, consumer_partition=None, upstream="orders", run_id="good"
    )


def test_an_open_circuit_is_still_rebuilt_from_the_events_that_are_kept(
    deployment, contract, key, report, clock
):
    breaker = deployment["breaker"]
    for broken in (0, 0, 7, 8):
        breaker.record(contract, report(broken), key=key)
        clock.advance(days=1)
    clock.advance(days=500)
    breaker.record(contract, report(9), key=key)
    before = breaker.circuit(key)
    told = len(breaker.history(key, 100))
    gone = forget_old(**deployment)
    assert gone.observations == 4
    assert gone.events == told - len(breaker.history(key, 100)) > 0
    assert before.state is not CircuitState.CLOSED
    assert breaker.circuit(key) == before == breaker.replay(key)


def test_open_reads_stay_and_the_ledger_never_goes_back(deployment, key, clock):
    ledger = deployment["reads"]
    ledger.record(read_of(key, "sales"))
    assert settled(ledger, key, "board") == settled(ledger, key, "map") == 1
    position = ledger.position()
    clock.advance(days=401)
    assert forget_old(**deployment).reads == 1
    assert [read.consumer for read in ledger.open_reads()] == ["sales"]
    assert ledger.position() == position
    assert ledger.record(read_of(key, "late")).id > position


def test_the_attempts_at_what_is_not_healed_stay_counted(deployment, key, clock):
    ledger, healing = deployment["reads"], deployment["healing"]
    for consumer in ("sales", "board"):
        ledger.record(read_of(key, consumer))
    for request in healing.due(lambda key: True):
        healing.finished(request.run_key, succeeded=request.consumer == "board")
    ledger.settle(consumer="board", consumer_partition=None, upstream="orders", run_id="good")
    clock.advance(days=401)
    assert forget_old(**deployment).heal_requests == 1
    assert [request.consumer for request in healing.given_up()] == ["sales"]
    assert healing.due(lambda key: True) == ()


def test_held_batches_stay_and_a_number_is_not_given_twice(deployment, key, report, clock):
    quarantine = deployment["quarantine"]
    held, dropped, last = (quarantine.put(key, TABLE, report(7)).id for _ in range(3))
    quarantine.drop(dropped, actor="ann", reason="x")
    quarantine.drop(last, actor="ann", reason="x")
    clock.advance(days=401)
    assert forget_old(**deployment).quarantined == 1
    assert {batch.id for batch in quarantine.list(state=None)} == {held, last}
    assert quarantine.load(held).num_rows == 2
    assert quarantine.put(key, TABLE, report(7)).id > last


def test_messages_stay_until_they_are_delivered(deployment, store, clock):
    outbox = deployment["outbox"]
    with store.begin() as conn:
        for number in range(3):
            outbox.append(conn, "k", {}, dedupe_key=str(number))
    first, second, last = outbox.claim()
    outbox.done(first.id)
    outbox.done(last.id)
    clock.advance(days=401)
    assert forget_old(**deployment).messages == 1
    assert [m.id for m in outbox.messages(MessageState.PENDING)] == [second.id]
    with store.begin() as conn:
        outbox.append(conn, "k", {}, dedupe_key="next")
    assert max(m.id for m in outbox.messages()) > last.id


def test_what_is_young_stays(deployment, contract, key, report, clock):
    deployment["breaker"].record(contract, report(7), key=key)
    settled(deployment["reads"], key, "sales")
    settled(deployment["reads"], key, "board")
    clock.advance(days=399)
    gone = forget_old(**deployment)
    assert (gone.events, gone.observations, gone.reads) == (0, 0, 0)
    assert forget_old(**deployment, kept=timedelta(days=398)).reads == 1
