"""Last valid: the last batches that passed, kept as verified parquet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.store.database import Store

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One kept batch. ``kind`` is the kind of frame that it was ("pandas", "polars", ...)."""

    id: int
    contract: str
    contract_version: str
    asset: str
    partition: str | None
    evaluation_id: str
    kind: str
    sha256: str
    schema_sha256: str
    rows: int
    bytes: int
    event_time: datetime | None
    kept_at: datetime


class SnapshotArchive:
    """Snapshots of a store, their files under ``root``."""

    def __init__(
        self, store: Store, root: Path, *, checkpoint: Callable[[str], None] = lambda name: None
    ) -> None:
        self._store = store

    def keep(self, key: CircuitKey, table: pa.Table, *, kind: str, report: ContractReport) -> Snapshot:
        """Keep one batch that passed: the file first, durably, then its row."""
        raise NotImplementedError

    def latest(
        self, contract: str, asset: str, partition: str | None, *, any_partition: bool = False, max_age: timedelta | None = None
    ) -> Snapshot | None:
        """The newest snapshot of that partition (or of any), no older than ``max_age``."""
        raise NotImplementedError

    def load(self, snapshot: Snapshot) -> pa.Table:
        """The batch, its bytes and schema verified first; ``FallbackError`` where they differ."""
        raise NotImplementedError

    def sweep(self, retain_count: int = 3, retain_for: timedelta | None = None) -> int:
        """Forget what is too many or too old, and remove files without a row; files removed."""
        raise NotImplementedError
