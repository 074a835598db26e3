"""What must leave the process: written with the change it tells of, delivered at least once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from dagster_contracts.core.contract import Json
from dagster_contracts.store.database import Store


class MessageState(StrEnum):
    """Where a message stands. ``PARKED`` waits for a person."""

    PENDING = "pending"
    DONE = "done"
    PARKED = "parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """One message. ``id`` is unique and stable, so that a receiver can drop a repetition."""

    id: int
    kind: str
    dedupe_key: str
    payload: Mapping[str, Json]
    state: MessageState
    created_at: datetime
    attempts: int
    last_error: str | None = None


class Outbox:
    """Messages of a store, claimed with a lease and retried until they are parked."""

    def __init__(self, store: Store, *, max_attempts: int = 8, lease: timedelta = timedelta(minutes=2)) -> None:
        self._store = store

    def append(
        self, conn: sa.Connection, kind: str, payload: Mapping[str, Json], *, dedupe_key: str, now: datetime | None = None
    ) -> bool:
        """Add a message in the caller's transaction; False where ``dedupe_key`` was there already."""
        raise NotImplementedError

    def claim(self, limit: int = 50, *, kinds: Sequence[str] = ()) -> tuple[OutboxMessage, ...]:
        """Take up to ``limit`` due messages, oldest first; nobody else gets them during the lease."""
        raise NotImplementedError

    def done(self, message_id: int) -> None:
        """The message was delivered."""
        raise NotImplementedError

    def failed(self, message_id: int, error: str) -> MessageState:
        """It was not: it is due again later, or parked after ``max_attempts``."""
        raise NotImplementedError

    def parked(self, limit: int = 100) -> tuple[OutboxMessage, ...]:
        """Messages that a person has to look at."""
        raise NotImplementedError

    def retry(self, message_id: int) -> None:
        """Make a parked message due again, with its attempts forgotten."""
        raise NotImplementedError
