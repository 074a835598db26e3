"""The contract registry: versions recorded once, changes judged, and those concerned told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import sqlalchemy as sa

from dagster_contracts.core.compatibility import diff
from dagster_contracts.core.contract import Contract, ContractStatus
from dagster_contracts.core.reference import Version
from dagster_contracts.documents.folder import ContractFolder, load_contract
from dagster_contracts.documents.readable import ReadableFolder
from dagster_contracts.errors import (
    ContractsError,
    DocumentError,
    PolicyError,
    UnknownContractError,
    VersionConflictError,
)
from dagster_contracts.registry.cache import ContractCache
from dagster_contracts.registry.catalog import Catalog, Decision, read_decisions
from dagster_contracts.registry.consumers import Consumer, ConsumerEdge, Impact, impact_of
from dagster_contracts.registry.events import ContractEvent, event_of
from dagster_contracts.registry.gate import check_version, compared_with, earlier_versions
from dagster_contracts.registry.subscriptions import SubscriptionBook
from dagster_contracts.registry.version_book import VersionBook, published_in, rows_of
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import contract_events, contract_versions

#: Who recorded what nobody published by name.
_FOUND = "registry sync"


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
    then asked again when the cache is older than ``ttl``. ``readable`` reads what can be read of
    it, for :meth:`sync`; without it one broken file keeps everything from being recorded.
    """

    def __init__(
        self,
        store: Store,
        folder: ContractFolder | Callable[[], ContractFolder],
        *,
        readable: Callable[[], ReadableFolder] | None = None,
        ttl: timedelta = timedelta(seconds=30),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._read_folder = folder if callable(folder) else lambda: folder
        self._readable = readable or (lambda: ReadableFolder(self._read_folder()))
        self._book = SubscriptionBook(store)
        self._versions = VersionBook(store, self._book)
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

    def sync(self, *, actor: str = _FOUND) -> tuple[ContractEvent, ...]:
        """Record what is new in the folder: versions, and changes of their status.

        Each thing is recorded and told once, however many processes look. The first versions of a
        contract are recorded in silence: nobody could have waited for them. A published version
        was edited raises :class:`VersionConflictError`, a file that cannot be read
        :class:`DocumentError`, after all others have been recorded. Of a contract with a broken
        file nothing is recorded until it is mended.
        """
        self._changed()
        readable = self._readable()
        folder = readable.folder
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
                silent = not rows_of(conn, name)
                for contract in found:
                    event, conflict = self._versions.record(
                        conn, contract, found, actor=actor, reason="found", silent=silent
                    )
                    events += [event] if event else []
                    conflicts += [conflict] if conflict else []
        if readable.broken:
            raise _all_of([*readable.broken, *conflicts])
        if conflicts:
            raise _joined(conflicts)
        return tuple(events)

    def publish(self, source: Contract | str | Path, *, actor: str, reason: str) -> ContractEvent:
        """Publish a version that stands in the folder, if its version number admits its changes.

        It is compared with published versions alone, and not with files that were refused. Raises
        :class:`IncompatibleChangeError` where the bump is too small for whom the contract
        protects, :class:`VersionConflictError` where the version, or one that it is compared with,
        was published with other content,
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
        with self._store.begin() as conn:
            self._store.lock(conn, f"contract:{contract.name}")
            event, conflict = self._publish(conn, contract, siblings, actor=actor, reason=reason)
        if conflict is not None:
            raise conflict
        assert event is not None
        return event

    def _publish(
        self,
        conn: sa.Connection,
        contract: Contract,
        siblings: list[Contract],
        *,
        actor: str,
        reason: str,
    ) -> tuple[ContractEvent | None, VersionConflictError | None]:
        # Judged under the lock: what was published meanwhile counts.
        published = published_in(rows_of(conn, contract.name))
        earlier = earlier_versions(contract, siblings, published)
        for previous in compared_with(contract, earlier):
            if previous.version in published:
                _, conflict = self._versions.record(
                    conn, previous, siblings, actor=_FOUND, reason="found", silent=False
                )
                if conflict is not None:  # an edited promise is no measure for the next one
                    return None, conflict
        check_version(contract, earlier)
        event, conflict = self._versions.record(
            conn, contract, siblings, actor=actor, reason=reason, silent=False
        )
        if event is None and conflict is None:
            event = self._versions.claim_publication(
                conn, contract, actor=actor, reason=reason, found_by=_FOUND
            )
        return event, conflict

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
        catalog = self._catalog()
        document = catalog.folder.get(name, version)
        if catalog.get(name, version).status is ContractStatus.RETIRED is not status:
            raise PolicyError(
                f"{document.ref} is retired and cannot be {status} again",
                hint="publish a new version",
            )
        siblings = [catalog.folder.get(name, each) for each in catalog.folder.versions(name)]
        decision = Decision(status=status, until=until, successor=successor)
        with self._store.begin() as conn:
            self._store.lock(conn, f"contract:{name}")
            self._versions.record(
                conn, document, siblings, actor=_FOUND, reason="found", silent=True
            )
            event = self._versions.decide(conn, document, decision, actor=actor, reason=reason)
        self._changed()
        return event


def _at_path(folder: ContractFolder, path: Path) -> Contract:
    """The folder's contract from that file; else the file by itself, with its own errors."""
    wanted = path.resolve()
    for contract in folder:
        if contract.location is not None and Path(contract.location.path).resolve() == wanted:
            return contract
    return load_contract(path)


def _joined(conflicts: list[VersionConflictError]) -> VersionConflictError:
    if len(conflicts) == 1:
        return conflicts[0]
    return VersionConflictError(
        f"{len(conflicts)} published versions were edited",
        why="\n        ".join(f"{error.what}: {error.why}" for error in conflicts),
        hint="restore the documents and save the changes as new versions beside them",
    )


def _all_of(errors: Sequence[ContractsError]) -> ContractsError:
    if len(errors) == 1:
        return errors[0]
    return DocumentError(
        f"{len(errors)} contract files could not be recorded",
        why="\n        ".join(line for error in errors for line in str(error).splitlines()),
        hint="all other contracts were recorded; mend these, and the next tick records them",
    )


def _need(actor: str, reason: str, to_do: str) -> None:
    if not actor.strip() or not reason.strip():
        raise PolicyError(
            f"to {to_do}, say who does it and why",
            hint="give an actor and a reason; both stand in the contract's history",
        )
