"""The wiring: every service that orchestration uses, opened once in each process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.contract import Contract
from dagster_contracts.documents.folder import ContractFolder, read_folder
from dagster_contracts.documents.readable import ReadableFolder, read_readable
from dagster_contracts.monitoring.feedback import FeedbackBook
from dagster_contracts.monitoring.history import MetricHistory
from dagster_contracts.monitoring.service_history import ServiceHistory
from dagster_contracts.orchestration.attempts import Attempts
from dagster_contracts.registry.registry import ContractRegistry
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.governed import Governed, require_circuit, require_evaluated
from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedReads
from dagster_contracts.resilience.publication import Publication
from dagster_contracts.resilience.quarantine import Quarantine, QuarantinedBatch
from dagster_contracts.resilience.retention import forget_old
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.store.database import Store, open_store
from dagster_contracts.store.outbox import Outbox

if TYPE_CHECKING:
    from dagster_contracts.monitoring.dispatch import AlertDispatcher
    from dagster_contracts.orchestration.bound_circuits import BoundCircuits
    from dagster_contracts.orchestration.reads import Reader


_HOUR = 3600.0


@dataclass(frozen=True)
class Settings:
    """Where things are: absolute paths and a store URL; hashable, so that a process opens once."""

    contracts: Path
    store_url: str
    archive: Path
    channels: tuple[tuple[str, str], ...] = ()
    owners: tuple[tuple[str, str], ...] = ()
    allowed_env: tuple[str, ...] = ()
    samples: int = 5
    retention_days: int = 400
    snapshots_kept: int = 3
    allow_sql: bool = False
    allow_code: tuple[str, ...] = ()


class ContractsRuntime:
    """The services of one process. Nothing is opened before it is used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._house_kept = -_HOUR
        self.reader: Reader | None = None
        """Reads for consumers; there once definitions were put under these contracts."""
        self.bound: BoundCircuits | None = None
        """The circuits that definitions can have; there once they were put under contracts."""
        self.foreign_counted: deque[str] = deque(maxlen=10_000)
        """Evaluations of others that this process has counted of late."""
        self.attempts = Attempts()
        """What the running steps of this process have read and refused so far."""

    @cached_property
    def folder(self) -> ContractFolder:
        """The contracts as they were on disk when this was first read."""
        return self.read_folder()

    def read_folder(self) -> ContractFolder:
        """The contracts as they are on disk now."""
        return read_folder(self.settings.contracts, allowed_env=self.settings.allowed_env)

    @cached_property
    def store(self) -> Store:
        """The state store, created or migrated if needed."""
        return open_store(self.settings.store_url)

    @cached_property
    def breaker(self) -> CircuitBreaker:
        """The circuits."""
        return CircuitBreaker(self.store, remembered=self._remembered, governs=self._governs)

    def _governs(self, key: CircuitKey) -> None:
        """``PolicyError`` where nobody would ask for the circuit."""
        if self.bound is not None:
            self.bound.require(key)
            if not self.bound.knows_partitions(key):
                self._require_evaluated(key)
            return
        # Without definitions the documents tell; how assets are named is up to the translator.
        protecting = (self.folder.resolve(name) for name in self.folder.names())
        governed = {c.name: Governed.by(c) for c in protecting if c.resilience is not None}
        named = replace(key, asset=key.asset.rpartition("/")[2])
        assets = governed[key.contract].assets if key.contract in governed else frozenset()
        require_circuit(key if key.asset in assets else named, governed)
        self._require_evaluated(key)

    def _require_evaluated(self, key: CircuitKey) -> None:
        if key.partition is not None:
            require_evaluated(
                key,
                self.breaker.circuits_of([key.contract]),
                hint="Dagster's definitions know the partitions: decide with the job "
                "operate_circuit, or `dagster-contracts force-open ... --new-partition`",
            )

    def _remembered(
        self, contract: Contract, key: CircuitKey, now: datetime
    ) -> dict[str, Fraction | None]:
        """The service as it stands at ``now``, though no batch has come."""
        found = self.service.measure(contract, key.asset, partition=key.partition, now=now)
        return {**found.values, **dict.fromkeys(found.reasons)}

    @cached_property
    def snapshots(self) -> SnapshotArchive:
        """The last valid batches."""
        return SnapshotArchive(self.store, self.settings.archive / "snapshots")

    @cached_property
    def quarantine(self) -> Quarantine:
        """The refused batches."""
        return Quarantine(
            self.store, self.settings.archive / "quarantine", publishable=self._publishable
        )

    def _publishable(self, batch: QuarantinedBatch) -> None:
        """``PolicyError`` where no run here could publish it; without definitions nobody knows."""
        if self.bound is not None:
            self.bound.require_publishable(batch)

    @cached_property
    def publication(self) -> Publication:
        """The released batches that are to become the primary."""
        return Publication(self.store)

    @cached_property
    def ledger(self) -> DegradedReads:
        """Who was built on a fallback."""
        return DegradedReads(self.store)

    @cached_property
    def healing(self) -> Healing:
        """What is to be built again."""
        return Healing(self.store, self.ledger)

    @cached_property
    def history(self) -> MetricHistory:
        """The metrics of earlier evaluations."""
        return MetricHistory(self.store)

    @cached_property
    def service(self) -> ServiceHistory:
        """What assets were available, and how their incidents went."""
        return ServiceHistory(self.store)

    @cached_property
    def registry(self) -> ContractRegistry:
        """Published versions, consumers and subscriptions."""
        return ContractRegistry(self.store, self.read_folder, readable=self._readable)

    def _readable(self) -> ReadableFolder:
        return read_readable(self.settings.contracts, allowed_env=self.settings.allowed_env)

    @cached_property
    def feedback(self) -> FeedbackBook:
        """What consumers report about the data."""
        return FeedbackBook(self.store)

    def alerts(self, contracts: Iterable[Contract] | Mapping[str, Contract]) -> AlertDispatcher:
        """The alerts of these contracts, and the channels that the deployment configures."""
        # Channels bring apprise, which steps that send nothing need not load.
        from dagster_contracts.monitoring.dispatch import AlertDispatcher

        return AlertDispatcher(
            self.store,
            dict(self.settings.channels),
            contracts,
            owners=dict(self.settings.owners),
        )

    def keep_house(self) -> None:
        """Forget what is too old, at most once an hour in each process."""
        if time.monotonic() < self._house_kept + _HOUR:
            return
        self._house_kept = time.monotonic()
        kept = timedelta(days=self.settings.retention_days)
        forget_old(
            breaker=self.breaker,
            reads=self.ledger,
            healing=self.healing,
            outbox=Outbox(self.store),
            snapshots=self.snapshots,
            quarantine=self.quarantine,
            kept=kept,
            snapshots_kept=self.settings.snapshots_kept,
        )

    def now(self) -> datetime:
        """The store's clock, which waits, leases and ages are measured by."""
        with self.store.read() as conn:
            return self.store.now(conn)


@lru_cache(maxsize=8)
def open_runtime(settings: Settings) -> ContractsRuntime:
    """The runtime of these settings, one in each process."""
    return ContractsRuntime(settings)
