"""The contract registry: versions recorded once, changes judged, and those concerned told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import sqlalchemy as sa

from dagster_contracts.core.changes import Changes, Verdict, VersionBump
from dagster_contracts.core.compatibility import diff
from dagster_contracts.core.contract import Contract, ContractStatus, Json, Protects
from dagster_contracts.core.reference import Version
from dagster_contracts.documents.folder import ContractFolder, load_contract
from dagster_contracts.errors import (
    IncompatibleChangeError,
    PolicyError,
    UnknownContractError,
    VersionConflictError,
)
from dagster_contracts.registry.cache import ContractCache
from dagster_contracts.registry.catalog import Catalog, read_decisions
from dagster_contracts.registry.consumers import Consumer, ConsumerEdge, Impact, impact_of
from dagster_contracts.registry.events import (
    ContractEvent,
    EventKind,
    NewEvent,
    event_of,
    record_event,
)
from dagster_contracts.registry.fingerprint import body_hash
from dagster_contracts.registry.subscriptions import SubscriptionBook
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.tables import contract_events, contract_versions

_UNPUBLISHED = (ContractStatus.PROPOSED, ContractStatus.DRAFT)
#: A message must stay readable; the rest of a long list is counted.
_TOLD_CHANGES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedVersion:
    """One version as the registry knows it."""

    contract: str
    version: str
    status: ContractStatus
    content_hash: str
    owner: str | None
    published_by: str


class ContractRegistry:
    """The single source of truth on contracts.

    ``folder`` holds the documents: a folder that was read, or a function that reads it, which is
    then asked again when the cache is older than ``ttl``.
    """

    def __init__(
        self,
        store: Store,
        folder: ContractFolder | Callable[[], ContractFolder],
        *,
        ttl: timedelta = timedelta(seconds=30),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._read_folder = folder if callable(folder) else lambda: folder
        self._outbox = Outbox(store)
        self._book = SubscriptionBook(store)
        self._catalogs = ContractCache(lambda _: self._read(), ttl=ttl, clock=clock)
        self._contracts: ContractCache[Contract] = ContractCache(
            lambda ref: self._catalog().resolve(ref), ttl=ttl, clock=clock
        )

    # --- reading ----------------------------------------------------------------------------------

    def _read(self) -> Catalog:
        folder = self._read_folder()
        with self._store.read() as conn:
            return Catalog(folder, read_decisions(conn))

    def _catalog(self) -> Catalog:
        return self._catalogs.get("")

    def _changed(self) -> None:
        self._catalogs.forget()
        self._contracts.forget()

    def resolve(self, ref: str) -> Contract:
        """The contract that answers to ``orders``, ``orders@^1.2``, ...; from the cache if fresh.

        Raises :class:`UnknownContractError` where none does.
        """
        return self._contracts.get(ref)

    def names(self) -> tuple[str, ...]:
        """Every contract, by name."""
        return tuple(sorted(self._catalog().folder.names()))

    def versions(self, name: str) -> tuple[Contract, ...]:
        """Every version of a contract, lowest first, with its status as it is now."""
        catalog = self._catalog()
        return tuple(catalog.get(name, version) for version in catalog.folder.versions(name))

    def published(self, name: str | None = None) -> tuple[PublishedVersion, ...]:
        """What was recorded, by contract and version."""
        query = sa.select(contract_versions)
        if name is not None:
            query = query.where(contract_versions.c.contract == name)
        with self._store.read() as conn:
            rows = conn.execute(query).all()
        found = [
            PublishedVersion(
                contract=row.contract,
                version=row.version,
                status=ContractStatus(row.decided_status or row.status),
                content_hash=row.content_hash,
                owner=row.owner,
                published_by=row.published_by,
            )
            for row in rows
        ]
        return tuple(sorted(found, key=lambda v: (v.contract, Version.parse(v.version))))

    def events(self, name: str | None = None, limit: int = 50) -> tuple[ContractEvent, ...]:
        """What happened, newest first."""
        query = sa.select(contract_events).order_by(contract_events.c.id.desc()).limit(limit)
        if name is not None:
            query = query.where(contract_events.c.contract == name)
        with self._store.read() as conn:
            return tuple(event_of(row) for row in conn.execute(query))

    # --- consumers --------------------------------------------------------------------------------

    def consumers(self, name: str) -> tuple[Consumer, ...]:
        """Who consumes a contract: by the asset graph, declared in it, and by subscription."""
        return self._book.consumers(name, self._newest(name))

    def set_consumers(self, edges: Iterable[ConsumerEdge], *, location: str = "default") -> None:
        """What the asset graph of one code location says; replaces what it said before."""
        self._book.replace_edges(edges, place=location)

    def subscribe(
        self,
        contract: str,
        subscriber: str,
        *,
        channels: Iterable[str] = (),
        columns: Iterable[str] = (),
        kinds: Iterable[str] = (),
    ) -> None:
        """Tell ``subscriber`` of what happens to a contract, on ``channels`` of the deployment.

        Raises :class:`UnknownContractError` for a contract that is not there.
        """
        self.resolve(contract)
        self._book.subscribe(contract, subscriber, channels=channels, columns=columns, kinds=kinds)

    def unsubscribe(self, contract: str, subscriber: str) -> bool:
        """End a subscription; False where there was none."""
        return self._book.unsubscribe(contract, subscriber)

    def impact(self, old: Contract, new: Contract) -> tuple[Impact, ...]:
        """What ``new`` means to each consumer of ``old``; the worst hit first."""
        return impact_of(diff(old, new), self._book.consumers(old.name, old))

    def _newest(self, name: str) -> Contract | None:
        try:
            return self.resolve(name)
        except UnknownContractError:
            return None

    # --- recording --------------------------------------------------------------------------------

    def sync(self, *, actor: str = "registry sync") -> tuple[ContractEvent, ...]:
        """Record what is new in the folder: versions, and changes of their status.

        Each thing is recorded and told once, however many processes look. The first versions of a
        contract are recorded in silence: nobody could have waited for them. A published version
        that was edited raises :class:`VersionConflictError`, after all others have been recorded.
        """
        self._changed()
        folder = self._catalog().folder
        with self._store.read() as conn:
            hashes = {
                (row.contract, row.version): row.content_hash
                for row in conn.execute(
                    sa.select(
                        contract_versions.c.contract,
                        contract_versions.c.version,
                        contract_versions.c.content_hash,
                    )
                )
            }
        events: list[ContractEvent] = []
        conflicts: list[VersionConflictError] = []
        for name in sorted(folder.names()):
            found = [folder.get(name, version) for version in folder.versions(name)]
            if all(hashes.get((name, c.version)) == c.content_hash for c in found):
                continue
            with self._store.begin() as conn:
                self._store.lock(conn, f"contract:{name}")
                silent = not _rows(conn, name)
                for contract in found:
                    event, conflict = self._record(
                        conn, contract, found, actor=actor, reason="found", silent=silent
                    )
                    events += [event] if event else []
                    conflicts += [conflict] if conflict else []
        if conflicts:
            raise _joined(conflicts)
        return tuple(events)

    def publish(self, source: Contract | str | Path, *, actor: str, reason: str) -> ContractEvent:
        """Publish a version that stands in the folder, if its version number admits its changes.

        Raises :class:`IncompatibleChangeError` where the bump is too small for whom the contract
        protects, :class:`VersionConflictError` where the version was published with other content,
        :class:`PolicyError` without an actor and a reason. Publishing the same content twice is
        one event.
        """
        _need(actor, reason, "publish a contract")
        self._changed()
        folder = self._catalog().folder
        contract = source if isinstance(source, Contract) else _at_path(folder, Path(source))
        known = folder.versions(contract.name) if contract.name in folder.names() else ()
        siblings = [folder.get(contract.name, version) for version in known]
        if contract.version not in known:
            raise PolicyError(
                f"{contract.ref} does not stand in the contract store",
                where=contract.location,
                why="what is published must be what every process resolves",
                hint=f"save it as {contract.name}/{contract.version}.yaml in the contracts folder",
            )
        self.check(contract, siblings)
        with self._store.begin() as conn:
            self._store.lock(conn, f"contract:{contract.name}")
            event, conflict = self._record(
                conn, contract, siblings, actor=actor, reason=reason, silent=False
            )
            if event is None and conflict is None:
                event = _published_event(conn, contract)
        if conflict is not None:
            raise conflict
        assert event is not None
        return event

    def check(self, contract: Contract, siblings: Iterable[Contract]) -> tuple[Changes, ...]:
        """Judge a version against the last one below it, or against all where it says so.

        Raises :class:`IncompatibleChangeError` where its version bump is too small.
        """
        earlier = _earlier(contract, siblings)
        if not contract.compatibility.transitive:
            earlier = earlier[-1:]
        judged = []
        for previous in earlier:
            changes = diff(previous, contract)
            judged.append(changes)
            if not changes.is_enough(contract.compatibility.protects):
                raise _incompatible(previous, contract, changes)
        return tuple(judged)

    def deprecate(
        self,
        name: str,
        version: str,
        *,
        actor: str,
        reason: str,
        until: date | None = None,
        successor: str | None = None,
    ) -> ContractEvent:
        """Announce the end of a version; its document is not rewritten."""
        return self._decide(
            name,
            version,
            ContractStatus.DEPRECATED,
            actor,
            reason,
            until=until,
            successor=successor,
        )

    def retire(self, name: str, version: str, *, actor: str, reason: str) -> ContractEvent:
        """End a version: from now on nobody keeps its promises."""
        return self._decide(name, version, ContractStatus.RETIRED, actor, reason)

    def _decide(
        self,
        name: str,
        version: str,
        status: ContractStatus,
        actor: str,
        reason: str,
        *,
        until: date | None = None,
        successor: str | None = None,
    ) -> ContractEvent:
        _need(actor, reason, f"make a contract {status}")
        self._changed()
        contract = self._catalog().get(name, version)
        if contract.status is ContractStatus.RETIRED and status is not ContractStatus.RETIRED:
            raise PolicyError(
                f"{contract.ref} is retired and cannot be {status} again",
                hint="publish a new version",
            )
        siblings = self.versions(name)
        with self._store.begin() as conn:
            self._store.lock(conn, f"contract:{name}")
            now = self._store.now(conn)
            self._record(conn, contract, siblings, actor=actor, reason="found", silent=True)
            decided = {
                "decided_status": status.value,
                "decided_until": until.isoformat() if until else None,
                "decided_successor": successor,
            }
            row = _rows(conn, name)[version]
            same = all(row._mapping[column] == value for column, value in decided.items())
            kind = EventKind.RETIRED if status is ContractStatus.RETIRED else EventKind.DEPRECATED
            if same:
                event = _last_event(conn, name, version, kind)
            else:
                conn.execute(
                    sa.update(contract_versions)
                    .filter_by(contract=name, version=version)
                    .values(**decided, updated_at=now)
                )
                payload: dict[str, Json] = {
                    **self._lifecycle(conn, contract, kind),
                    "until": decided["decided_until"],
                    "successor": successor,
                }
                new = _new_event(conn, kind, contract, actor, reason, payload)
                event = record_event(conn, self._outbox, new, now=now, tell=True)
        self._changed()
        assert event is not None
        return event

    def _record(
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
        row = _rows(conn, contract.name).get(contract.version)
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
            early = contract.status in _UNPUBLISHED
            kind = EventKind.PROPOSED if early else EventKind.PUBLISHED
            payload = self._news(conn, contract, siblings, kind)
            new = _new_event(conn, kind, contract, actor, reason, payload)
            return record_event(conn, self._outbox, new, now=now, tell=not silent), None
        if row.content_hash == contract.content_hash:
            return None, None
        lifecycle = (row.status, row.deprecated_until, row.successor) != (
            seen["status"],
            seen["deprecated_until"],
            seen["successor"],
        )
        early = ContractStatus(row.status) in _UNPUBLISHED
        if not early and not (lifecycle and row.body_hash == seen["body_hash"]):
            return self._conflict(conn, contract, row, actor=actor)
        conn.execute(sa.update(contract_versions).filter_by(**key).values(**seen))
        kind = _kind_of_change(ContractStatus(row.status), contract.status)
        if kind is EventKind.PUBLISHED:
            payload = self._news(conn, contract, siblings, kind)
        else:
            payload = self._lifecycle(conn, contract, kind)
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
                f"({contract.name}/{_next_version(contract.version)}.yaml)"
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

    # --- what is told -----------------------------------------------------------------------------

    def _news(
        self,
        conn: sa.Connection,
        contract: Contract,
        siblings: Iterable[Contract],
        kind: EventKind,
    ) -> dict[str, Json]:
        """What a new version changes, and what that means to each consumer."""
        earlier = _earlier(contract, siblings)
        consumers = self._book.consumers(contract.name, contract, conn)
        payload: dict[str, Json] = {
            "status": contract.status.value,
            "owner": contract.owner,
            "content_hash": contract.content_hash,
            "previous": None,
        }
        if not earlier:
            payload["notify"] = _notify(consumers, kind, {})
            return payload
        previous = earlier[-1]
        changes = diff(previous, contract)
        if previous.consumers:
            # Who was declared before and is not any more is still concerned by this version.
            old = self._book.consumers(contract.name, previous, conn)
            known = {consumer.name for consumer in consumers}
            consumers += tuple(c for c in old if c.name not in known)
        impacts = impact_of(changes, consumers)
        protects = contract.compatibility.protects
        document = changes.to_json()
        payload |= {
            "previous": previous.version,
            "consumer": document["consumer"],
            "producer": document["producer"],
            "bump": document["bump"],
            "declared_bump": document["declared_bump"],
            "enough": changes.is_enough(protects),
            "changes": [change.to_json() for change in changes.items[:_TOLD_CHANGES]],
            "more_changes": max(0, len(changes) - _TOLD_CHANGES),
            "breaks": [i.to_json() for i in impacts if i.verdict is Verdict.BREAKS],
            "warns": [i.to_json() for i in impacts if i.verdict is Verdict.WARNS],
        }
        by_name = {impact.consumer.name: impact for impact in impacts}
        payload["notify"] = _notify(consumers, kind, by_name)
        return payload

    def _lifecycle(
        self, conn: sa.Connection, contract: Contract, kind: EventKind
    ) -> dict[str, Json]:
        """What a change of status means: everybody who consumes the contract is concerned."""
        consumers = self._book.consumers(contract.name, contract, conn)
        return {
            "status": contract.status.value,
            "owner": contract.owner,
            "until": _iso(contract.deprecated_until),
            "successor": contract.successor,
            "concerns": [*sorted({consumer.name for consumer in consumers})],
            "notify": _notify(consumers, kind, {}),
        }


def _at_path(folder: ContractFolder, path: Path) -> Contract:
    """The folder's contract from that file; else the file by itself, with its own errors."""
    wanted = path.resolve()
    for contract in folder:
        if contract.location is not None and Path(contract.location.path).resolve() == wanted:
            return contract
    return load_contract(path)


def _notify(
    consumers: Iterable[Consumer], kind: EventKind, impacts: dict[str, Impact]
) -> list[Json]:
    """Who is to be told, on which channels, and what it means to them."""
    told: list[Json] = []
    for consumer in consumers:
        if not consumer.wants(kind.value):
            continue
        impact = impacts.get(consumer.name)
        told.append(
            {
                "subscriber": consumer.name,
                "owners": list(consumer.owners),
                "channels": list(consumer.channels),
                "verdict": str(impact.verdict if impact else Verdict.FINE),
                "sentences": list(impact.sentences) if impact else [],
            }
        )
    return told


def _rows(conn: sa.Connection, name: str) -> dict[str, sa.Row[tuple[object, ...]]]:
    rows = conn.execute(sa.select(contract_versions).where(contract_versions.c.contract == name))
    return {row._mapping["version"]: row for row in rows}


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


def _published_event(conn: sa.Connection, contract: Contract) -> ContractEvent | None:
    for kind in (EventKind.PUBLISHED, EventKind.PROPOSED):
        event = _last_event(conn, contract.name, contract.version, kind)
        if event is not None:
            return event
    return None


def _last_event(
    conn: sa.Connection, name: str, version: str, kind: EventKind
) -> ContractEvent | None:
    row = conn.execute(
        sa.select(contract_events)
        .filter_by(contract=name, version=version, kind=kind.value)
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
            return EventKind.PUBLISHED if old in _UNPUBLISHED else EventKind.ACTIVATED


def _earlier(contract: Contract, siblings: Iterable[Contract]) -> list[Contract]:
    """Published versions below this one, lowest first."""
    mine = Version.parse(contract.version)
    below = [
        other
        for other in siblings
        if Version.parse(other.version) < mine and other.status not in _UNPUBLISHED
    ]
    return sorted(below, key=lambda other: Version.parse(other.version))


def _incompatible(
    previous: Contract, contract: Contract, changes: Changes
) -> IncompatibleChangeError:
    protects = contract.compatibility.protects
    needed = changes.needed_bump(protects)
    guilty = [
        change
        for change in changes.counted
        if change.bump >= needed
        or (protects is not Protects.CONSUMER and change.producer is Verdict.BREAKS)
    ]
    listed = "; ".join(change.message for change in guilty[:5])
    more = f"; and {len(guilty) - 5} more" if len(guilty) > 5 else ""
    declared = changes.declared_bump
    return IncompatibleChangeError(
        f"{contract.ref} needs a {needed} version after {previous.version}, "
        f"and it declares {declared if declared is not None else 'no version number'}",
        where=contract.location or contract.ref,
        why=f"it must suit every {protects} of {previous.version}: {listed}{more}"
        if protects is not Protects.FULL
        else f"it must suit producers and consumers of {previous.version}: {listed}{more}",
        hint=f"call it {_next_version(previous.version, needed)}, or take the change back",
    )


def _next_version(version: str, bump: VersionBump = VersionBump.PATCH) -> str:
    release = Version.parse(version).release
    if not release:
        return "1.0.0"
    major, minor, patch = release[:3]
    match bump:
        case VersionBump.MAJOR:
            return f"{major + 1}.0.0"
        case VersionBump.MINOR:
            return f"{major}.{minor + 1}.0"
        case _:
            return f"{major}.{minor}.{patch + 1}"


def _joined(conflicts: list[VersionConflictError]) -> VersionConflictError:
    if len(conflicts) == 1:
        return conflicts[0]
    return VersionConflictError(
        f"{len(conflicts)} published versions were edited",
        why="\n        ".join(f"{error.what}: {error.why}" for error in conflicts),
        hint="restore the documents and save the changes as new versions beside them",
    )


def _need(actor: str, reason: str, to_do: str) -> None:
    if not actor.strip() or not reason.strip():
        raise PolicyError(
            f"to {to_do}, say who does it and why",
            hint="give an actor and a reason; both stand in the contract's history",
        )


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
