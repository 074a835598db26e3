"""The book of versions: each recorded once with its hashes, and every change of its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import sqlalchemy as sa

from dagster_contracts.core.contract import Contract, ContractStatus, Json
from dagster_contracts.errors import VersionConflictError
from dagster_contracts.registry.announcement import announce_status, announce_version
from dagster_contracts.registry.catalog import Decision
from dagster_contracts.registry.events import (
    ContractEvent,
    EventKind,
    NewEvent,
    event_of,
    record_event,
)
from dagster_contracts.registry.fingerprint import body_hash
from dagster_contracts.registry.gate import UNPUBLISHED, earlier_versions, next_version
from dagster_contracts.registry.subscriptions import SubscriptionBook
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.tables import contract_events, contract_versions


class VersionBook:
    """The versions of one store. Callers hold the contract's lock in the transaction they give."""

    def __init__(self, store: Store, subscribers: SubscriptionBook) -> None:
        self._store = store
        self._subscribers = subscribers
        self._outbox = Outbox(store)

    def record(
        self,
        conn: sa.Connection,
        contract: Contract,
        siblings: Iterable[Contract],
        *,
        actor: str,
        reason: str,
        silent: bool,
    ) -> tuple[ContractEvent | None, VersionConflictError | None]:
        """Record one version as it is now; the caller holds the contract's lock."""
        now = self._store.now(conn)
        row = rows_of(conn, contract.name).get(contract.version)
        seen = {
            "content_hash": contract.content_hash,
            "body_hash": body_hash(contract),
            "status": contract.status.value,
            "deprecated_until": _iso(contract.deprecated_until),
            "successor": contract.successor,
            "owner": contract.owner,
            "place": str(contract.location) if contract.location else None,
            "updated_at": now,
        }
        key = {"contract": contract.name, "version": contract.version}
        if row is None:
            conn.execute(
                sa.insert(contract_versions).values(
                    **key, **seen, published_at=now, published_by=actor
                )
            )
            early = contract.status in UNPUBLISHED
            kind = EventKind.PROPOSED if early else EventKind.PUBLISHED
            payload = self._announce(conn, contract, siblings, kind)
            new = _new_event(conn, kind, contract, actor, reason, payload)
            return record_event(conn, self._outbox, new, now=now, tell=not silent), None
        if row.content_hash == contract.content_hash:
            return None, None
        lifecycle = (row.status, row.deprecated_until, row.successor) != (
            seen["status"],
            seen["deprecated_until"],
            seen["successor"],
        )
        early = ContractStatus(row.status) in UNPUBLISHED
        if not early and not (lifecycle and row.body_hash == seen["body_hash"]):
            return self._conflict(conn, contract, row, actor=actor)
        conn.execute(sa.update(contract_versions).filter_by(**key).values(**seen))
        kind = _kind_of_change(ContractStatus(row.status), contract.status)
        if kind is EventKind.PUBLISHED:
            payload = self._announce(conn, contract, siblings, kind)
        else:
            payload = self._announce_status(conn, contract, kind)
        new = _new_event(conn, kind, contract, actor, reason, payload)
        return record_event(conn, self._outbox, new, now=now, tell=True), None

    def _conflict(
        self,
        conn: sa.Connection,
        contract: Contract,
        row: sa.Row[tuple[object, ...]],
        *,
        actor: str,
    ) -> tuple[ContractEvent | None, VersionConflictError]:
        published = str(row._mapping["content_hash"])
        error = VersionConflictError(
            f"{contract.ref} was published and then edited",
            where=contract.location or contract.ref,
            why=f"published was {published}, the document now is {contract.content_hash}",
            hint=(
                "restore the document and save the change as a new version beside it "
                f"({contract.name}/{next_version(contract.version)}.yaml)"
            ),
        )
        payload: dict[str, Json] = {
            "published_hash": published,
            "found_hash": contract.content_hash,
            "explanation": str(error),
            "owner": contract.owner,
        }
        event = NewEvent(
            key=f"edited:{contract.ref}:{contract.content_hash}",
            kind=EventKind.EDITED,
            contract=contract.name,
            version=contract.version,
            actor=actor,
            reason="found",
            payload=payload,
        )
        now = self._store.now(conn)
        return record_event(conn, self._outbox, event, now=now, tell=True), error

    def claim_publication(
        self, conn: sa.Connection, contract: Contract, *, actor: str, reason: str, found_by: str
    ) -> ContractEvent:
        """Sign a version that was recorded before; the same person signs once.

        What ``found_by`` (the sync) has recorded and told is now somebody's: it is written down
        and not told again.
        """
        row = rows_of(conn, contract.name)[contract.version]
        if row._mapping["published_by"] == found_by:
            now = self._store.now(conn)
            conn.execute(
                sa.update(contract_versions)
                .filter_by(contract=contract.name, version=contract.version)
                .values(published_by=actor, updated_at=now)
            )
            payload: dict[str, Json] = {"content_hash": contract.content_hash}
            new = _new_event(conn, EventKind.PUBLISHED, contract, actor, reason, payload)
            event = record_event(conn, self._outbox, new, now=now, tell=False)
        else:
            kinds = [EventKind.PUBLISHED.value, EventKind.PROPOSED.value]
            event = _last_event(conn, contract, kinds)
        assert event is not None
        return event

    def decide(
        self,
        conn: sa.Connection,
        contract: Contract,
        decision: Decision,
        *,
        actor: str,
        reason: str,
    ) -> ContractEvent:
        """Write a decision on a version's status down, and tell of it; the same one only once."""
        status = decision.status
        kind = EventKind.RETIRED if status is ContractStatus.RETIRED else EventKind.DEPRECATED
        decided = {
            "decided_status": status.value,
            "decided_until": _iso(decision.until),
            "decided_successor": decision.successor,
        }
        row = rows_of(conn, contract.name)[contract.version]
        if all(row._mapping[column] == value for column, value in decided.items()):
            event = _last_event(conn, contract, [kind.value])
        else:
            now = self._store.now(conn)
            conn.execute(
                sa.update(contract_versions)
                .filter_by(contract=contract.name, version=contract.version)
                .values(**decided, updated_at=now)
            )
            payload = announce_status(
                contract,
                status,
                self._subscribers.consumers(contract.name, contract, conn),
                kind,
                until=decision.until,
                successor=decision.successor,
            )
            new = _new_event(conn, kind, contract, actor, reason, payload)
            event = record_event(conn, self._outbox, new, now=now, tell=True)
        assert event is not None
        return event

    def _announce(
        self,
        conn: sa.Connection,
        contract: Contract,
        siblings: Iterable[Contract],
        kind: EventKind,
    ) -> dict[str, Json]:
        earlier = earlier_versions(contract, siblings, published_in(rows_of(conn, contract.name)))
        consumers = self._subscribers.consumers(contract.name, contract, conn)
        return announce_version(contract, earlier[-1] if earlier else None, consumers, kind)

    def _announce_status(
        self, conn: sa.Connection, contract: Contract, kind: EventKind
    ) -> dict[str, Json]:
        return announce_status(
            contract,
            contract.status,
            self._subscribers.consumers(contract.name, contract, conn),
            kind,
            until=contract.deprecated_until,
            successor=contract.successor,
        )


def rows_of(conn: sa.Connection, name: str) -> dict[str, sa.Row[tuple[object, ...]]]:
    """What is recorded of a contract, by version."""
    rows = conn.execute(sa.select(contract_versions).where(contract_versions.c.contract == name))
    return {row._mapping["version"]: row for row in rows}


def published_in(rows: Mapping[str, sa.Row[tuple[object, ...]]]) -> frozenset[str]:
    """The recorded versions that promised something: neither proposals nor drafts."""
    return frozenset(
        version
        for version, row in rows.items()
        if ContractStatus(row._mapping["status"]) not in UNPUBLISHED
    )


def _new_event(
    conn: sa.Connection,
    kind: EventKind,
    contract: Contract,
    actor: str,
    reason: str,
    payload: dict[str, Json],
) -> NewEvent:
    # The contract's lock is held, so that counting gives each event a number of its own.
    count = conn.execute(
        sa.select(sa.func.count())
        .select_from(contract_events)
        .filter_by(contract=contract.name, version=contract.version)
    ).scalar_one()
    return NewEvent(
        key=f"{kind.value}:{contract.ref}:{count}",
        kind=kind,
        contract=contract.name,
        version=contract.version,
        actor=actor,
        reason=reason,
        payload=payload,
    )


def _last_event(
    conn: sa.Connection, contract: Contract, kinds: Iterable[str]
) -> ContractEvent | None:
    row = conn.execute(
        sa.select(contract_events)
        .filter_by(contract=contract.name, version=contract.version)
        .where(contract_events.c.kind.in_(list(kinds)))
        .order_by(contract_events.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else event_of(row)


def _kind_of_change(old: ContractStatus, new: ContractStatus) -> EventKind:
    match new:
        case ContractStatus.RETIRED:
            return EventKind.RETIRED
        case ContractStatus.DEPRECATED:
            return EventKind.DEPRECATED
        case ContractStatus.PROPOSED | ContractStatus.DRAFT:
            return EventKind.REVISED
        case ContractStatus.ACTIVE:
            return EventKind.PUBLISHED if old in UNPUBLISHED else EventKind.ACTIVATED


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
