"""Refused batches: kept with their report, decided by a person."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest

from dagster_contracts.errors import FallbackError, PolicyError, StoreError
from dagster_contracts.resilience.quarantine import Quarantine, QuarantineState


@pytest.fixture
def root(tmp_path):
    return tmp_path / "quarantine"


@pytest.fixture
def quarantine(store, root):
    return Quarantine(store, root)


@pytest.fixture
def batch():
    return pa.table({"id": [None, 2], "name": ["a", "b"]})


def test_a_refused_batch_is_kept_with_the_report_that_refused_it(quarantine, key, batch, report):
    put = quarantine.put(key, batch, report(7, partition="p"), kind="pandas", run_id="r1")
    (listed,) = quarantine.list()
    assert listed == put == quarantine.get(put.id)
    assert (listed.run_id, listed.partition, listed.kind, listed.rows) == ("r1", "p", "pandas", 2)
    assert quarantine.load(put.id) == batch
    assert listed.report["metrics"]["schema_validation_errors"] == "7/100"
    assert listed.report["status"] == "failed"
    assert listed.report["outcomes"][0]["samples"] == [{"id": None, "note": "a\x00b"}]


def test_the_same_evaluation_is_kept_once(quarantine, key, batch, report):
    bad = report(7)
    assert quarantine.put(key, batch, bad).id == quarantine.put(key, batch, bad).id
    assert len(quarantine.list()) == 1


def test_batches_are_listed_by_contract_and_state_newest_first(quarantine, key, batch, report):
    first = quarantine.put(key, batch, report(7))
    second = quarantine.put(key, batch, report(8))
    assert [b.id for b in quarantine.list(contract="orders")] == [second.id, first.id]
    assert quarantine.list(contract="other") == ()
    quarantine.drop(first.id, actor="ann", reason="rubbish")
    assert [b.id for b in quarantine.list()] == [second.id]
    assert [b.id for b in quarantine.list(state=None)] == [second.id, first.id]
    assert [b.id for b in quarantine.list(state=QuarantineState.DROPPED)] == [first.id]


def test_a_release_hands_the_batch_over_once_and_is_audited(quarantine, key, batch, report):
    put = quarantine.put(key, batch, report(7))
    assert quarantine.release(put.id, actor="ann", reason="the rule was wrong") == batch
    released = quarantine.get(put.id)
    assert released.state is QuarantineState.RELEASED
    assert (released.decided_by, released.decision_reason) == ("ann", "the rule was wrong")
    assert released.decided_at is not None
    with pytest.raises(StoreError, match="not held but released") as refusal:
        quarantine.drop(put.id, actor="bob", reason="x")
    assert "ann: the rule was wrong" in str(refusal.value)


def test_of_many_who_decide_at_once_one_does(quarantine, key, batch, report):
    put = quarantine.put(key, batch, report(7, partition="p"))
    ready = threading.Barrier(8)

    def decide(number: int) -> str:
        act = quarantine.release if number % 2 else quarantine.drop
        ready.wait()
        try:
            act(put.id, actor=f"person {number}", reason="x")
        except StoreError as error:
            return str(error)
        return f"person {number}"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(decide, range(8)))

    decided = quarantine.get(put.id)
    (number,) = [n for n, text in enumerate(said) if text == f"person {n}"]
    assert decided.decided_by == f"person {number}"
    state = QuarantineState.RELEASED if number % 2 else QuarantineState.DROPPED
    assert decided.state is state
    refused = f"not held but {state.value}"
    assert sum(refused in text for text in said) == 7


def test_a_decision_needs_a_person_and_a_reason(quarantine, key, batch, report):
    put = quarantine.put(key, batch, report(7))
    with pytest.raises(PolicyError):
        quarantine.release(put.id, actor="", reason="x")
    with pytest.raises(PolicyError):
        quarantine.drop(put.id, actor="ann", reason="")
    assert quarantine.get(put.id).state is QuarantineState.HELD


def test_a_torn_batch_is_not_released(quarantine, key, batch, report, root):
    put = quarantine.put(key, batch, report(7))
    (path,) = root.rglob("*.parquet")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(FallbackError):
        quarantine.release(put.id, actor="ann", reason="x")
    assert quarantine.get(put.id).state is QuarantineState.HELD


def test_an_unknown_batch_is_an_error(quarantine):
    for ask in (quarantine.get, quarantine.load):
        with pytest.raises(StoreError, match="no batch"):
            ask(42)


def test_a_sweep_takes_the_files_of_what_was_decided_and_leaves_the_audit(
    quarantine, key, report, root, clock
):
    held, dropped, released = (
        quarantine.put(key, pa.table({"n": [n]}), report(7)) for n in range(3)
    )
    quarantine.drop(dropped.id, actor="ann", reason="x")
    quarantine.release(released.id, actor="ann", reason="x")
    for path in root.rglob("*.parquet"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert quarantine.sweep() == 1
    assert quarantine.load(released.id).num_rows == 1
    clock.advance(days=31)
    assert quarantine.sweep(timedelta(days=30)) == 1
    assert quarantine.load(held.id).num_rows == 1
    assert len(quarantine.list(state=None)) == 3
