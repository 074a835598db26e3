"""Last valid: the last batches that passed, kept as verified parquet."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, Override
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.errors import StoreError
from dagster_contracts.resilience.vault import ParquetVault
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.database import Store
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import circuits, snapshots

if TYPE_CHECKING:
    import pyarrow as pa

_LOCK = "snapshots"


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


class StagedSnapshot:
    """A batch whose file is on the disk and whose row is not yet written.

    Give :meth:`commit` to the transaction that counts the evaluation, so that a batch is the last
    valid one exactly if its evaluation counted.
    """

    def __init__(self, archive: SnapshotArchive, row: dict[str, object]) -> None:
        self._archive = archive
        self._row = row

    def commit(self, conn: sa.Connection) -> None:
        """Write the row in the caller's transaction; the same evaluation is kept once."""
        self._archive.write_row(conn, self._row)


class SnapshotArchive:
    """Snapshots of a store, their files under ``root``."""

    def __init__(self, store: Store, root: Path, *, checkpoint: Checkpoint = pass_by) -> None:
        self._store = store
        self._vault = ParquetVault(root, checkpoint=checkpoint)
        self._checkpoint = checkpoint

    def keep(
        self, key: CircuitKey, table: pa.Table, *, kind: str, report: ContractReport
    ) -> Snapshot:
        """Keep one batch that passed: the file first, durably, then its row.

        The batch's partition is the report's, or the key's where the report names none.
        """
        staged = self.stage(key, table, kind=kind, report=report)
        with self._store.begin() as conn:
            staged.commit(conn)
            self._checkpoint("snapshot.row")
            row = conn.execute(
                sa.select(snapshots).where(snapshots.c.evaluation_id == report.evaluation_id)
            ).one()
        return _snapshot(row)

    def stage(
        self, key: CircuitKey, table: pa.Table, *, kind: str, report: ContractReport
    ) -> StagedSnapshot:
        """Write the file durably and leave the row to the caller's transaction."""
        stored = self._vault.write(table)
        self._checkpoint("snapshot.staged")
        return StagedSnapshot(
            self,
            {
                "contract": key.contract,
                "contract_version": report.version,
                "asset": key.asset,
                "partition": report.partition or key.partition or "",
                "evaluation_id": report.evaluation_id,
                "kind": kind,
                "sha256": stored.sha256,
                "schema_sha256": stored.schema_sha256,
                "rows": stored.rows,
                "bytes": stored.bytes,
                "event_time": report.event_time,
            },
        )

    def write_row(self, conn: sa.Connection, row: dict[str, object]) -> None:
        """Write a staged row; ``StoreError`` where its file was swept meanwhile."""
        # The sweep holds the same lock: it either sees this row or is seen to have swept the file.
        self._store.lock(conn, _LOCK)
        if not self._vault.exists(str(row["sha256"])):
            raise StoreError(
                "the file of a batch is gone before its row was written",
                where=str(self._vault.path(str(row["sha256"]))),
                hint="keep the batch again; is something else cleaning this folder?",
            )
        insert_once(conn, snapshots, {**row, "kept_at": self._store.now(conn)})

    def latest(
        self,
        contract: str,
        asset: str,
        partition: str | None,
        *,
        any_partition: bool = False,
        max_age: timedelta | None = None,
    ) -> Snapshot | None:
        """The newest snapshot of that partition (or of any), no older than ``max_age``.

        The newest is the one that was kept last, whatever the clock said; its age is counted from
        the moment at which it was kept.
        """
        found = self.newest(
            contract, asset, partition, any_partition=any_partition, max_age=max_age, limit=1
        )
        return found[0] if found else None

    def newest(
        self,
        contract: str,
        asset: str,
        partition: str | None,
        *,
        any_partition: bool = False,
        max_age: timedelta | None = None,
        limit: int = 10,
    ) -> tuple[Snapshot, ...]:
        """Snapshots, newest first: what to try next where the newest does not verify."""
        query = (
            sa.select(snapshots)
            .where(snapshots.c.contract == contract, snapshots.c.asset == asset)
            # Clocks do not order snapshots: one of them may have been turned back.
            .order_by(snapshots.c.id.desc())
            .limit(limit)
        )
        if not any_partition:
            query = query.where(snapshots.c.partition == (partition or ""))
        with self._store.read() as conn:
            if max_age is not None:
                query = query.where(snapshots.c.kept_at >= self._store.now(conn) - max_age)
            return tuple(_snapshot(row) for row in conn.execute(query))

    def partitions(self, contract: str, asset: str) -> tuple[str | None, ...]:
        """The partitions of which a batch is kept; that of the batch kept last comes first."""
        query = (
            sa.select(snapshots.c.partition)
            .where(snapshots.c.contract == contract, snapshots.c.asset == asset)
            .group_by(snapshots.c.partition)
            .order_by(sa.func.max(snapshots.c.id).desc())
        )
        with self._store.read() as conn:
            return tuple(partition or None for partition in conn.scalars(query))

    def load(self, snapshot: Snapshot) -> pa.Table:
        """The batch, its bytes and schema verified first; ``FallbackError`` where they differ."""
        return self._vault.read(snapshot.sha256, snapshot.schema_sha256)

    def verified_path(self, snapshot: Snapshot) -> Path:
        """The batch's Parquet file, verified as by :meth:`load`; for readers that want a path."""
        self.load(snapshot)
        return self._vault.path(snapshot.sha256)

    def columns(self, snapshot: Snapshot) -> tuple[str, ...]:
        """The columns that the batch itself has; ``FallbackError`` where its file is gone."""
        return self._vault.columns(snapshot.sha256)

    def sweep(
        self,
        retain_count: int = 3,
        retain_for: timedelta | None = None,
        *,
        grace: timedelta = timedelta(hours=1),
    ) -> int:
        """Forget what is too many or too old, then remove files that no row names; files removed.

        The two newest snapshots of each partition always stay: the last valid batch, and the one to
        serve where the primary's own is distrusted. While a circuit is forced open nothing of its
        asset is forgotten: what may be served is older than all that came since. ``grace`` spares
        files whose rows may be about to be written.
        """
        with self._store.begin() as conn:
            self._store.lock(conn, _LOCK)
            rank = (
                sa.func.row_number()
                .over(
                    partition_by=(
                        snapshots.c.contract,
                        snapshots.c.asset,
                        snapshots.c.partition,
                    ),
                    order_by=snapshots.c.id.desc(),
                )
                .label("rank")
            )
            ranked = sa.select(
                snapshots.c.id, snapshots.c.contract, snapshots.c.asset, snapshots.c.kept_at, rank
            ).subquery()
            too_many = ranked.c.rank > max(retain_count, 2)
            if retain_for is not None:
                limit = self._store.now(conn) - retain_for
                too_many |= (ranked.c.rank > 2) & (ranked.c.kept_at < limit)
            forced_open = sa.exists().where(
                circuits.c.contract == ranked.c.contract,
                circuits.c.asset == ranked.c.asset,
                circuits.c.override == Override.FORCED_OPEN.value,
            )
            doomed = sa.select(ranked.c.id).where(too_many, ~forced_open)
            conn.execute(sa.delete(snapshots).where(snapshots.c.id.in_(doomed)))
            self._checkpoint("snapshot.rows_swept")
        with self._store.begin() as conn:
            self._store.lock(conn, _LOCK)
            named = set(conn.scalars(sa.select(snapshots.c.sha256)))
            # Ages of files are counted on the clock of the file system, not the database's.
            orphans = self._vault.orphans(named, older_than=time.time() - grace.total_seconds())
            for path in orphans:
                self._checkpoint("snapshot.orphan")
                path.unlink(missing_ok=True)
        return len(orphans)


def _snapshot(row: sa.Row[tuple[object, ...]]) -> Snapshot:
    columns = dict(row._mapping)
    return Snapshot(**{**columns, "partition": columns["partition"] or None})
