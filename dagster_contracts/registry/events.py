"""What happened to contracts: recorded once, and put into the outbox in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from dagster_contracts.core.contract import Json
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import contract_events


class EventKind(StrEnum):
    """What can happen to a version of a contract."""

    PROPOSED = "proposed"
    PUBLISHED = "published"
    REVISED = "revised"  # a proposal or a draft was edited, as it may be
    EDITED = "edited"  # a published version was edited, as it must not be
    ACTIVATED = "activated"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractEvent:
    """One line in the history of a contract; ``id`` ascends, ``actor`` and ``reason`` say why."""

    id: int
    kind: EventKind
    contract: str
    version: str
    at: datetime
    actor: str
    reason: str
    payload: Mapping[str, Json]

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.contract}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that is about to be recorded. ``key`` makes it happen once."""

    key: str
    kind: EventKind
    contract: str
    version: str
    actor: str
    reason: str
    payload: Mapping[str, Json]


def record_event(
    conn: sa.Connection, outbox: Outbox, event: NewEvent, *, now: datetime, tell: bool
) -> ContractEvent | None:
    """Write the event, and with ``tell`` its message, in the caller's transaction.

    ``None`` where an event of that key is there already: then nothing is told a second time.
    """
    values = {
        "key": event.key,
        "kind": event.kind.value,
        "contract": event.contract,
        "version": event.version,
        "at": now,
        "actor": event.actor,
        "reason": event.reason,
        "payload": dict(event.payload),
    }
    if not insert_once(conn, contract_events, values):
        return None
    if tell:
        message = {
            **event.payload,
            "contract": event.contract,
            "version": event.version,
            "actor": event.actor,
            "reason": event.reason,
        }
        key = f"contract:{event.key}"
        outbox.append(conn, f"contract.{event.kind.value}", message, dedupe_key=key, now=now)
    return find_event(conn, event.key)


def find_event(conn: sa.Connection, key: str) -> ContractEvent | None:
    """The event of that key."""
    row = conn.execute(sa.select(contract_events).where(contract_events.c.key == key)).one_or_none()
    return None if row is None else event_of(row)


def event_of(row: sa.Row[tuple[object, ...]]) -> ContractEvent:
    """A row of the table as a value."""
    columns = row._mapping
    return ContractEvent(
        id=columns["id"],
        kind=EventKind(columns["kind"]),
        contract=columns["contract"],
        version=columns["version"],
        at=columns["at"],
        actor=columns["actor"],
        reason=columns["reason"],
        payload=columns["payload"],
    )
