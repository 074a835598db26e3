"""Quarantine: refused batches, kept with the report that refused them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.errors import StoreError
from dagster_contracts.resilience.operator import require_operator
from dagster_contracts.resilience.report_document import report_document
from dagster_contracts.resilience.vault import ParquetVault
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.database import Store
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import quarantine

if TYPE_CHECKING:
    import pyarrow as pa

_LOCK = "quarantine"


class QuarantineState(StrEnum):
    """Where a refused batch stands."""

    HELD = "held"
    RELEASED = "released"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedBatch:
    """One refused batch and the report (as JSON) that refused it."""

    id: int
    contract: str
    contract_version: str
    asset: str
    partition: str | None
    evaluation_id: str
    run_id: str | None
    state: QuarantineState
    kind: str
    sha256: str
    schema_sha256: str
    rows: int
    bytes: int
    report: Mapping[str, Json]
    held_at: datetime
    decided_at: datetime | None = None
    decided_by: str | None = None
    decision_reason: str | None = None


class Quarantine:
    """Refused batches of a store, their files under ``root``."""

    def __init__(self, store: Store, root: Path, *, checkpoint: Checkpoint = pass_by) -> None:
        self._store = store
        self._vault = ParquetVault(root, checkpoint=checkpoint)
        self._checkpoint = checkpoint

    def put(
        self,
        key: CircuitKey,
        table: pa.Table,
        report: ContractReport,
        *,
        kind: str = "pyarrow",
        run_id: str | None = None,
    ) -> QuarantinedBatch:
        """Keep a refused batch: the file durably, then its row; the same evaluation once."""
        stored = self._vault.write(table)
        self._checkpoint("quarantine.staged")
        with self._store.begin() as conn:
            self._store.lock(conn, _LOCK)
            insert_once(
                conn,
                quarantine,
                {
                    "contract": key.contract,
                    "contract_version": report.version,
                    "asset": key.asset,
                    "partition": report.partition or key.partition or "",
                    "evaluation_id": report.evaluation_id,
                    "run_id": run_id,
                    "state": QuarantineState.HELD.value,
                    "kind": kind,
                    "sha256": stored.sha256,
                    "schema_sha256": stored.schema_sha256,
                    "rows": stored.rows,
                    "bytes": stored.bytes,
                    "report": report_document(report),
                    "held_at": self._store.now(conn),
                },
            )
            self._checkpoint("quarantine.row")
            row = conn.execute(
                sa.select(quarantine).where(quarantine.c.evaluation_id == report.evaluation_id)
            ).one()
        return _batch(row)

    def list(
        self,
        *,
        contract: str | None = None,
        state: QuarantineState | None = QuarantineState.HELD,
        limit: int = 100,
    ) -> tuple[QuarantinedBatch, ...]:
        """Batches, newest first; ``state=None`` for all of them."""
        query = sa.select(quarantine).order_by(quarantine.c.id.desc()).limit(limit)
        if contract is not None:
            query = query.where(quarantine.c.contract == contract)
        if state is not None:
            query = query.where(quarantine.c.state == state.value)
        with self._store.read() as conn:
            return tuple(_batch(row) for row in conn.execute(query))

    def get(self, batch_id: int) -> QuarantinedBatch:
        """One batch; ``StoreError`` where there is none of that id."""
        with self._store.read() as conn:
            return self._one(conn, sa.select(quarantine).where(quarantine.c.id == batch_id))

    def load(self, batch_id: int) -> pa.Table:
        """Its rows, verified; ``FallbackError`` where the file is gone or torn."""
        batch = self.get(batch_id)
        return self._vault.read(batch.sha256, batch.schema_sha256)

    def release(self, batch_id: int, *, actor: str, reason: str) -> pa.Table:
        """Let the batch go: verified and handed to the caller, who publishes it; audited.

        ``PolicyError`` without an actor or a reason, or where the batch is not held.
        """
        require_operator("release a quarantined batch", actor, reason)
        table = self.load(batch_id)
        self._decide(batch_id, QuarantineState.RELEASED, actor, reason)
        return table

    def drop(self, batch_id: int, *, actor: str, reason: str) -> QuarantinedBatch:
        """Throw the batch away; its report and the decision stay, its file goes with a sweep.

        ``PolicyError`` without an actor or a reason, ``StoreError`` where the batch is not held.
        """
        require_operator("drop a quarantined batch", actor, reason)
        return self._decide(batch_id, QuarantineState.DROPPED, actor, reason)

    def sweep(
        self,
        released_for: timedelta = timedelta(days=30),
        *,
        grace: timedelta = timedelta(hours=1),
    ) -> int:
        """Remove the files of dropped batches, of those released long ago, and orphans.

        Returns the number of files removed. The rows stay: they are the audit (:meth:`prune`).
        """
        with self._store.begin() as conn:
            self._store.lock(conn, _LOCK)
            limit = self._store.now(conn) - released_for
            needed = sa.select(quarantine.c.sha256).where(
                (quarantine.c.state == QuarantineState.HELD)
                | (
                    (quarantine.c.state == QuarantineState.RELEASED)
                    & (quarantine.c.decided_at >= limit)
                )
            )
            orphans = self._vault.orphans(
                set(conn.scalars(needed)), older_than=time.time() - grace.total_seconds()
            )
            for path in orphans:
                path.unlink(missing_ok=True)
        return len(orphans)

    def prune(self, older_than: timedelta) -> int:
        """Forget batches that were released or dropped longer ago, with their reports; how many.

        Held ones stay, however old, and so does the newest of all: its number is not given again.
        """
        with self._store.begin() as conn:
            self._store.lock(conn, _LOCK)
            limit = self._store.now(conn) - older_than
            newest = conn.scalar(sa.select(sa.func.max(quarantine.c.id))) or 0
            gone = conn.execute(
                sa.delete(quarantine).where(
                    quarantine.c.state != QuarantineState.HELD,
                    quarantine.c.decided_at < limit,
                    quarantine.c.id < newest,
                )
            )
            self._checkpoint("quarantine.pruned")
        return gone.rowcount

    def _decide(
        self, batch_id: int, state: QuarantineState, actor: str, reason: str
    ) -> QuarantinedBatch:
        with self._store.begin() as conn:
            self._checkpoint("quarantine.decided")
            held = sa.select(quarantine).where(quarantine.c.id == batch_id).with_for_update()
            batch = self._one(conn, held)
            if batch.state is not QuarantineState.HELD:
                raise StoreError(
                    f"batch {batch_id} is not held but {batch.state.value}",
                    where=f"{batch.contract}/{batch.asset}",
                    why=f"{batch.decided_by}: {batch.decision_reason}",
                    hint="`quarantine list` shows the batches that are held",
                )
            conn.execute(
                sa.update(quarantine)
                .where(quarantine.c.id == batch_id)
                .values(
                    state=state.value,
                    decided_at=self._store.now(conn),
                    decided_by=actor,
                    decision_reason=reason,
                )
            )
            return self._one(conn, sa.select(quarantine).where(quarantine.c.id == batch_id))

    def _one(self, conn: sa.Connection, query: sa.Select[tuple[object, ...]]) -> QuarantinedBatch:
        row = conn.execute(query).one_or_none()
        if row is None:
            raise StoreError(
                "the quarantine has no batch of that number",
                hint="`quarantine list` shows the batches that are held",
            )
        return _batch(row)


def _batch(row: sa.Row[tuple[object, ...]]) -> QuarantinedBatch:
    columns = dict(row._mapping)
    return QuarantinedBatch(
        **{
            **columns,
            "partition": columns["partition"] or None,
            "state": QuarantineState(columns["state"]),
        }
    )
