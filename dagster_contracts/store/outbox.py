"""What must leave the process: written with the change it tells of, delivered at least once."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from dagster_contracts.core.contract import Json
from dagster_contracts.errors import StoreError
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.database import Store
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import outbox

_FIRST_RETRY = timedelta(seconds=10)
_LONGEST_RETRY = timedelta(hours=1)


class MessageState(StrEnum):
    """Where a message stands. ``PARKED`` waits for a person."""

    PENDING = "pending"
    DONE = "done"
    PARKED = "parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """One message. ``id`` is unique and stable, so that a receiver can drop a repetition.

    ``attempts`` counts how often it was claimed, this time included. ``claim`` proves who holds it.
    """

    id: int
    kind: str
    dedupe_key: str
    payload: Mapping[str, Json]
    state: MessageState
    created_at: datetime
    attempts: int
    claim: str | None = None
    last_error: str | None = None


class Outbox:
    """Messages of a store, claimed with a lease and retried until they are parked.

    An attempt counts when the message is claimed, so that one which kills its process is parked
    like any other.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_attempts: int = 8,
        lease: timedelta = timedelta(minutes=2),
        checkpoint: Checkpoint = pass_by,
    ) -> None:
        self._store = store
        self._max_attempts = max_attempts
        self._lease = lease
        self._checkpoint = checkpoint

    def append(
        self,
        conn: sa.Connection,
        kind: str,
        payload: Mapping[str, Json],
        *,
        dedupe_key: str,
        now: datetime | None = None,
    ) -> bool:
        """Add a message in the caller's transaction; False where ``dedupe_key`` is known."""
        moment = now or self._store.now(conn)
        return insert_once(
            conn,
            outbox,
            {
                "kind": kind,
                "dedupe_key": dedupe_key,
                "payload": dict(payload),
                "state": MessageState.PENDING.value,
                "created_at": moment,
                "available_at": moment,
                "attempts": 0,
            },
        )

    def claim(self, limit: int = 50, *, kinds: Sequence[str] = ()) -> tuple[OutboxMessage, ...]:
        """Take up to ``limit`` due messages, oldest first; nobody else gets them during the lease.

        What was claimed ``max_attempts`` times and never came back is parked instead. While nothing
        is due it costs one query and waits for no writer.
        """
        with self._store.read() as conn:
            if conn.execute(self._due(conn, kinds).limit(1)).first() is None:
                return ()
        with self._store.begin() as conn:
            now = self._store.now(conn)
            due = self._due(conn, kinds).limit(limit).with_for_update(skip_locked=True)
            claimed = []
            for row in conn.execute(due).all():
                attempts = row.attempts + 1
                if attempts > self._max_attempts:
                    error = row.last_error or "claimed, and the process never came back"
                    self._update(conn, row.id, state=MessageState.PARKED.value, last_error=error)
                    continue
                token = uuid.uuid4().hex
                self._update(
                    conn, row.id, attempts=attempts, claim=token, available_at=now + self._lease
                )
                claimed.append(_message(row, attempts=attempts, claim=token))
            self._checkpoint("outbox.claimed")
        return tuple(claimed)

    def done(self, message_id: int) -> None:
        """The message was delivered, by whoever: a repetition that fails later is no news."""
        with self._store.begin() as conn:
            now = self._store.now(conn)
            self._checkpoint("outbox.done")
            self._update(conn, message_id, state=MessageState.DONE.value, done_at=now, claim=None)

    def failed(self, message_id: int, error: str, *, claim: str | None = None) -> MessageState:
        """It was not delivered: it is due again later, or parked after ``max_attempts``.

        With the message's ``claim`` the call is ignored where the message has passed to somebody
        else meanwhile, or was delivered.
        """
        with self._store.begin() as conn:
            now = self._store.now(conn)
            row = conn.execute(
                sa.select(outbox).where(outbox.c.id == message_id).with_for_update()
            ).one_or_none()
            if row is None:
                raise StoreError(f"the outbox has no message {message_id}")
            if row.state != MessageState.PENDING or (claim is not None and row.claim != claim):
                return MessageState(row.state)
            if row.attempts >= self._max_attempts:
                state, wait = MessageState.PARKED, timedelta(0)
            else:
                state = MessageState.PENDING
                wait = min(_LONGEST_RETRY, _FIRST_RETRY * 2 ** min(row.attempts - 1, 20))
            self._update(
                conn,
                message_id,
                state=state.value,
                last_error=error[:2000],
                claim=None,
                available_at=now + wait,
            )
        return state

    def acknowledge(self, conn: sa.Connection, kind: str) -> int:
        """Mark what is pending of a kind as delivered, in the caller's transaction; how many."""
        pending = outbox.c.kind == kind, outbox.c.state == MessageState.PENDING
        values = {"state": MessageState.DONE.value, "done_at": self._store.now(conn)}
        return conn.execute(sa.update(outbox).where(*pending).values(**values)).rowcount

    def parked(self, limit: int = 100) -> tuple[OutboxMessage, ...]:
        """Messages that a person has to look at, oldest first."""
        return self.messages(MessageState.PARKED, limit=limit)

    def messages(
        self, state: MessageState | None = None, *, kind: str | None = None, limit: int = 100
    ) -> tuple[OutboxMessage, ...]:
        """Messages in that state and of that kind, oldest first."""
        found = sa.select(outbox).order_by(outbox.c.id).limit(limit)
        if state is not None:
            found = found.where(outbox.c.state == state.value)
        if kind is not None:
            found = found.where(outbox.c.kind == kind)
        with self._store.read() as conn:
            return tuple(_message(row) for row in conn.execute(found))

    def retry(self, message_id: int) -> bool:
        """Make a parked message due again, its attempts forgotten; False where it is not parked."""
        with self._store.begin() as conn:
            now = self._store.now(conn)
            updated = conn.execute(
                sa.update(outbox)
                .where(outbox.c.id == message_id, outbox.c.state == MessageState.PARKED)
                .values(state=MessageState.PENDING.value, attempts=0, claim=None, available_at=now)
            )
        return updated.rowcount == 1

    def prune(self, older_than: timedelta) -> int:
        """Forget delivered messages that are older; how many.

        The newest of all stays: a database may give the number of a deleted last row to the next
        one, and receivers drop the numbers that they know.
        """
        with self._store.begin() as conn:
            limit = self._store.now(conn) - older_than
            newest = conn.scalar(sa.select(sa.func.max(outbox.c.id))) or 0
            gone = conn.execute(
                sa.delete(outbox).where(
                    outbox.c.state == MessageState.DONE,
                    outbox.c.done_at < limit,
                    outbox.c.id < newest,
                )
            )
            self._checkpoint("outbox.pruned")
        return gone.rowcount

    def _due(self, conn: sa.Connection, kinds: Sequence[str]) -> sa.Select[tuple[object, ...]]:
        due = (
            sa.select(outbox)
            .where(outbox.c.state == MessageState.PENDING)
            .where(outbox.c.available_at <= self._store.now(conn))
            .order_by(outbox.c.id)
        )
        return due.where(outbox.c.kind.in_(kinds)) if kinds else due

    def _update(self, conn: sa.Connection, message_id: int, **values: object) -> None:
        conn.execute(sa.update(outbox).where(outbox.c.id == message_id).values(**values))


def _message(
    row: sa.Row[tuple[object, ...]], *, attempts: int | None = None, claim: str | None = None
) -> OutboxMessage:
    columns = row._mapping
    return OutboxMessage(
        id=columns["id"],
        kind=columns["kind"],
        dedupe_key=columns["dedupe_key"],
        payload=columns["payload"],
        state=MessageState(columns["state"]),
        created_at=columns["created_at"],
        attempts=columns["attempts"] if attempts is None else attempts,
        claim=claim or columns["claim"],
        last_error=columns["last_error"],
    )
