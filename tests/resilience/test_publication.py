"""Batches that an operator declares right: one run at a time, resumed, and told of."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest

from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.errors import FallbackError, PolicyError, StoreError
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.publication import (
    Publication,
    after_publishing,
    publish_run_key,
    publishing_sentence,
)
from dagster_contracts.resilience.quarantine import Quarantine, QuarantineState
from dagster_contracts.resilience.report_document import report_document, report_of

ROWS = pa.table({"id": [None, 2]})


@pytest.fixture
def quarantine(store, tmp_path):
    return Quarantine(store, tmp_path / "quarantine")


@pytest.fixture
def publication(store):
    return Publication(store)


@pytest.fixture
def breaker(store):
    return CircuitBreaker(store)


@pytest.fixture
def refused(quarantine, breaker, contract, key, report):
    """A batch that opened the circuit and is held."""
    bad = report(7)
    assert breaker.record(contract, bad, key=key).refused
    return quarantine.put(key, ROWS, bad, kind="pandas")


def told(breaker, key):
    return [e.explanation for e in breaker.history(key) if e.kind.startswith("batch_")]


def test_a_decision_is_audited_in_the_history_and_leaves_the_circuit_as_it_is(
    quarantine, breaker, store, key, refused
):
    decided = quarantine.publish(refused.id, actor="ada", reason="refunds are new")
    assert (decided.state, decided.decided_by) == (QuarantineState.PUBLISHING, "ada")
    (entry,) = [e for e in breaker.history(key) if e.actor == "ada"]
    assert entry.explanation == "batch 1 released by ada: refunds are new; to be published"
    circuit = breaker.circuit(key)
    assert circuit.state is CircuitState.OPEN
    assert breaker.replay(key) == circuit
    assert "stays open" in after_publishing(store, decided)
    assert "reset orders" in after_publishing(store, decided)
    assert publishing_sentence(decided) == "waits for the circuit sensor"


def test_a_batch_is_published_by_one_decision(quarantine, publication, key, report, refused):
    with pytest.raises(PolicyError):
        quarantine.publish(refused.id, actor="ada", reason=" ")
    dropped = quarantine.put(key, ROWS, report(8))
    quarantine.drop(dropped.id, actor="ada", reason="x")
    with pytest.raises(StoreError, match="not held but dropped"):
        quarantine.publish(dropped.id, actor="ada", reason="x")
    quarantine.publish(refused.id, actor="ada", reason="x")
    with pytest.raises(StoreError, match="to be published already"):
        quarantine.publish(refused.id, actor="bob", reason="y")
    other = quarantine.put(key, ROWS, report(9))
    with pytest.raises(PolicyError, match=f"batch {refused.id} of orders is to be published"):
        quarantine.publish(other.id, actor="bob", reason="y")
    # Until a run is under way the decision can be taken back.
    quarantine.drop(refused.id, actor="bob", reason="wrong one")
    assert publication.waiting() == ()
    quarantine.publish(other.id, actor="bob", reason="y")
    publication.ask(other.id)
    with pytest.raises(StoreError, match="to be published already"):
        quarantine.drop(other.id, actor="bob", reason="wrong one")


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        ({"kind": "duckdb"}, "of the kind duckdb"),
        ({"kind": "pandas", "altered": "its index (day) is not kept"}, "its index .day. is not"),
    ],
)
def test_what_cannot_be_made_again_is_not_published(quarantine, key, report, kept, why):
    batch = quarantine.put(key, ROWS, report(7), **kept)
    with pytest.raises(PolicyError, match=why):
        quarantine.publish(batch.id, actor="ada", reason="x")
    assert quarantine.get(batch.id).state is QuarantineState.HELD


def test_a_torn_batch_is_not_published(quarantine, tmp_path, refused):
    (path,) = (tmp_path / "quarantine").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FallbackError):
        quarantine.publish(refused.id, actor="ada", reason="x")
    assert quarantine.get(refused.id).state is QuarantineState.HELD


def test_a_batch_does_not_replace_a_newer_one(
    quarantine, publication, breaker, contract, key, report, refused, clock
):
    clock.advance(minutes=1)
    breaker.record(contract, report(8), key=key)  # Refused as well: it replaced nothing.
    quarantine.publish(refused.id, actor="ada", reason="x")
    publication.ask(refused.id)
    clock.advance(minutes=1)
    breaker.record(contract, report(0), key=key)
    with pytest.raises(StoreError, match="a newer batch was published at"):
        publication.claim(refused.id, "run")
    held = quarantine.get(refused.id)
    assert held.state is QuarantineState.HELD
    assert "not published because a newer batch was" in publishing_sentence(held)
    assert told(breaker, key)[0].endswith("it is held again")
    with pytest.raises(PolicyError, match="a newer batch was published at"):
        quarantine.publish(refused.id, actor="ada", reason="x")


def test_of_many_operators_one_decides_and_of_many_sensors_one_asks(
    quarantine, publication, refused
):
    ready = threading.Barrier(6)

    def decide(number):
        ready.wait()
        try:
            if number % 2:
                quarantine.publish(refused.id, actor=f"person {number}", reason="x")
            else:
                quarantine.drop(refused.id, actor=f"person {number}", reason="x")
        except StoreError:
            return None
        return f"person {number}"

    def ask(_):
        ready.wait()
        return publication.ask(refused.id)

    with ThreadPoolExecutor(6) as pool:
        said = [name for name in pool.map(decide, range(6)) if name]
        decided = quarantine.get(refused.id)
        # Who takes a decision back that no sensor has seen yet is the last who decided.
        assert decided.decided_by in said
        assert len(said) <= 2
        if decided.state is QuarantineState.DROPPED:
            return
        asked = [batch for batch in pool.map(ask, range(6)) if batch]
    assert [batch.publish_attempts for batch in asked] == [1]


def test_a_request_is_resumed_and_a_failed_run_is_asked_for_again_up_to_a_limit(
    quarantine, publication, breaker, key, refused, clock
):
    quarantine.publish(refused.id, actor="ada", reason="x")
    first = publication.ask(refused.id)
    assert publication.ask(refused.id) is None
    clock.advance(minutes=3)
    # Who asked may have died before the run was launched: the same key starts it once.
    assert publish_run_key(publication.ask(refused.id)) == publish_run_key(first)
    keys = []
    for attempt in (1, 2, 3):
        asked = first if attempt == 1 else publication.ask(refused.id)
        keys.append(publish_run_key(asked))
        publication.claim(refused.id, f"run {attempt}")
        assert publication.ask(refused.id) is None
        publication.failed(refused.id, keys[-1], f"run {attempt}", "the disk is full")
        publication.failed(refused.id, keys[-1], f"run {attempt}", "told twice")
        standing = quarantine.get(refused.id)
        assert standing.unpublished_because == "the disk is full"
    assert len(set(keys)) == 3
    assert standing.state is QuarantineState.HELD
    assert publication.unpublished() == {key: [standing]}
    assert told(breaker, key)[0] == (
        "batch 1 was not published because the disk is full; it is held again"
    )
    # A new decision starts anew, under new keys.
    quarantine.publish(refused.id, actor="ada", reason="there is room now")
    asked = publication.ask(refused.id)
    assert publish_run_key(asked) not in keys
    publication.claim(refused.id, "run 4")


def test_published_and_reset_are_one_transaction(
    quarantine, store, breaker, key, refused, contract
):
    def boom(point):
        if point == "publication.published":
            raise RuntimeError(point)

    quarantine.publish(refused.id, actor="ada", reason="x", reset=True)
    Publication(store).ask(refused.id)

    def close(publication):
        return breaker.reset(
            key,
            actor="ada",
            reason="published",
            contract=contract,
            unless=lambda conn: not publication.published(conn, refused.id, "run"),
        )

    with pytest.raises(RuntimeError):
        close(Publication(store, checkpoint=boom))
    assert breaker.circuit(key).state is CircuitState.OPEN
    assert quarantine.get(refused.id).state is QuarantineState.PUBLISHING

    assert close(Publication(store)).circuit.state is CircuitState.CLOSED
    published = quarantine.get(refused.id)
    assert (published.state, published.publish_run_id) == (QuarantineState.PUBLISHED, "run")
    generation = breaker.circuit(key).generation
    assert close(Publication(store)).transitions == ()
    assert breaker.circuit(key).generation == generation
    assert len(told(breaker, key)) == 2
    assert breaker.replay(key) == breaker.circuit(key)


@pytest.mark.parametrize("point", ["quarantine.decided", "quarantine.told"])
def test_who_dies_while_deciding_has_decided_nothing(
    store, tmp_path, breaker, key, refused, quarantine, point
):
    def die(reached):
        if reached == point:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Quarantine(store, tmp_path / "quarantine", checkpoint=die).publish(
            refused.id, actor="ada", reason="x"
        )
    assert quarantine.get(refused.id).state is QuarantineState.HELD
    assert told(breaker, key) == []


def test_what_is_to_be_published_is_neither_swept_nor_forgotten(quarantine, refused, clock):
    quarantine.publish(refused.id, actor="ada", reason="x")
    clock.advance(days=900)
    assert quarantine.sweep(grace=timedelta(0)) == 0
    assert quarantine.prune(timedelta(days=400)) == 0
    assert quarantine.load(refused.id).num_rows == 2


def test_a_report_comes_back_as_it_was(report):
    for each in (report(7, partition="p"), report(0)):
        assert report_of(report_document(each)) == each
