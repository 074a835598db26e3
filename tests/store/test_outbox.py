"""At-least-once delivery: claimed with a lease, retried, parked where a person sees it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dagster_contracts.errors import StoreError
from dagster_contracts.store.database import open_store
from dagster_contracts.store.outbox import MessageState, Outbox


@pytest.fixture
def outbox(store):
    return Outbox(store, max_attempts=3, lease=timedelta(minutes=1))


def add(store, outbox, key, kind="circuit.opened", **payload):
    with store.begin() as conn:
        return outbox.append(conn, kind, payload, dedupe_key=key)


def test_a_message_is_claimed_once_and_done(store, outbox):
    assert add(store, outbox, "a", text="hello")
    (message,) = outbox.claim()
    assert message.payload == {"text": "hello"}
    assert message.attempts == 1
    assert outbox.claim() == ()
    outbox.done(message.id)
    assert [m.state for m in outbox.messages()] == [MessageState.DONE]


def test_a_dedupe_key_is_taken_once(store, outbox):
    assert add(store, outbox, "a", n=1)
    assert not add(store, outbox, "a", n=2)
    assert [m.payload for m in outbox.messages()] == [{"n": 1}]


def test_a_message_is_undone_with_its_transaction(store, outbox):
    def append_and_fail():
        with store.begin() as conn:
            outbox.append(conn, "k", {}, dedupe_key="a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        append_and_fail()
    assert outbox.claim() == ()
    assert add(store, outbox, "a")


def test_the_oldest_comes_first_and_kinds_are_chosen(store, outbox):
    for index in range(5):
        add(store, outbox, str(index), kind="heal" if index % 2 else "alert")
    assert [m.dedupe_key for m in outbox.claim(2, kinds=["alert"])] == ["0", "2"]
    assert [m.dedupe_key for m in outbox.claim()] == ["1", "3", "4"]


def test_a_claim_that_never_comes_back_is_due_again_and_at_last_parked(store, outbox, clock):
    add(store, outbox, "a")
    for attempt in (1, 2, 3):
        assert [m.attempts for m in outbox.claim()] == [attempt]
        assert outbox.claim() == ()
        clock.advance(minutes=1)
    assert outbox.claim() == ()
    (parked,) = outbox.parked()
    assert "never came back" in parked.last_error


def test_a_failed_message_waits_longer_each_time_and_is_parked(store, outbox, clock):
    add(store, outbox, "a")
    for wait in (10, 20):
        (message,) = outbox.claim()
        assert outbox.failed(message.id, "no route", claim=message.claim) is MessageState.PENDING
        clock.advance(seconds=wait - 1)
        assert outbox.claim() == ()
        clock.advance(seconds=1)
    (message,) = outbox.claim()
    assert outbox.failed(message.id, "no route") is MessageState.PARKED
    clock.advance(days=30)
    assert outbox.claim() == ()
    assert [m.last_error for m in outbox.parked()] == ["no route"]


def test_a_parked_message_can_be_tried_again_by_a_person(store, clock):
    outbox = Outbox(store, max_attempts=1)
    add(store, outbox, "a")
    (message,) = outbox.claim()
    assert outbox.retry(message.id) is False
    outbox.failed(message.id, "down")
    assert outbox.retry(message.id) is True
    assert [m.attempts for m in outbox.claim()] == [1]


def test_a_stale_holder_cannot_undo_what_another_delivered(store, outbox, clock):
    add(store, outbox, "a")
    (stale,) = outbox.claim()
    clock.advance(minutes=2)
    (fresh,) = outbox.claim()
    assert fresh.claim != stale.claim
    assert outbox.failed(stale.id, "slow", claim=stale.claim) is MessageState.PENDING
    assert outbox.claim() == ()
    outbox.done(fresh.id)
    assert outbox.failed(stale.id, "slow") is MessageState.DONE
    assert outbox.claim() == ()


def test_two_claimers_never_share_a_message(store, outbox, store_url, clock):
    other_store = open_store(store_url, clock=clock)
    for index in range(20):
        add(store, outbox, str(index))
    other = Outbox(other_store)
    mine, theirs = outbox.claim(7), other.claim(50)
    assert not {m.id for m in mine} & {m.id for m in theirs}
    assert len(mine) + len(theirs) == 20
    other_store.close()


def test_delivered_messages_are_forgotten_after_their_time(store, outbox, clock):
    add(store, outbox, "old")
    add(store, outbox, "open")
    outbox.done(outbox.claim(1)[0].id)
    clock.advance(days=31)
    assert outbox.prune(timedelta(days=30)) == 1
    assert [m.dedupe_key for m in outbox.messages()] == ["open"]


def test_an_unknown_message_is_an_error(outbox):
    with pytest.raises(StoreError, match="no message 42"):
        outbox.failed(42, "?")
