"""Quarantine: refused batches, kept with the report that refused them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, NoteKind
from dagster_contracts.core.contract import Json
from dagster_contracts.core.metrics import REFUSED
from dagster_contracts.core.outcome import ContractReport
from dagster_contracts.errors import PolicyError, StoreError
from dagster_contracts.resilience.circuit_rows import read_circuit
from dagster_contracts.resilience.operator import require_operator
from dagster_contracts.resilience.publish_alert import alert_settled
from dagster_contracts.resilience.report_document import report_document
from dagster_contracts.resilience.story import tell
from dagster_contracts.resilience.vault import ParquetVault
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.database import Store
from dagster_contracts.store.outbox import Outbox
from dagster_contracts.store.rows import insert_once
from dagster_contracts.store.tables import observations, quarantine

if TYPE_CHECKING:
    import pyarrow as pa

_LOCK = "quarantine"

# Of what was another kind of table only the rows are kept, and no asset would know its own again.
_RESTORABLE = ("pandas", "polars", "polars_lazy", "pyarrow", "narwhals")


class QuarantineState(StrEnum):
    """Where a refused batch stands.

    ``RELEASED`` was handed out as a file; ``PUBLISHING`` is to become the primary, and
    ``PUBLISHED`` is what the primary was made of.
    """

    HELD = "held"
    RELEASED = "released"
    DROPPED = "dropped"
    PUBLISHING = "publishing"
    PUBLISHED = "published"


_STANDING = (QuarantineState.HELD, QuarantineState.PUBLISHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedBatch:
    """One refused batch and the report (as JSON) that refused it.

    ``altered`` is why the kept rows are not all that the batch was. ``publish_attempts`` counts the
    runs that were asked for since it was decided to publish it; ``publish_asked_at`` is ``None``
    while none is under way.
    """

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
    altered: str | None = None
    publish_resets: bool = False
    publish_attempts: int = 0
    publish_asked_at: datetime | None = None
    publish_run_id: str | None = None
    published_at: datetime | None = None
    unpublished_because: str | None = None

    @property
    def place(self) -> str:
        """``orders`` or ``orders[2026-03-01]``: the asset, and the partition if it has one."""
        return f"{self.asset}[{self.partition}]" if self.partition else self.asset


class Quarantine:
    """Refused batches of a store, their files under ``root``.

    ``publishable``, where definitions are at hand, raises ``PolicyError`` for a batch that no run
    can publish.
    """

    def __init__(
        self,
        store: Store,
        root: Path,
        *,
        publishable: Callable[[QuarantinedBatch], None] | None = None,
        checkpoint: Checkpoint = pass_by,
    ) -> None:
        self._publishable = publishable
        self._store = store
        self._outbox = Outbox(store)
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
        altered: str | None = None,
    ) -> QuarantinedBatch:
        """Keep a refused batch: the file durably, then its row; the same evaluation once.

        ``altered`` is why ``table`` is not all that the batch was: it can be looked at, and not be
        published.
        """
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
                    "altered": altered,
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
            return read_batch(conn, batch_id)

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

    def publish(
        self, batch_id: int, *, actor: str, reason: str, reset: bool = False
    ) -> QuarantinedBatch:
        """Declare the batch right: a run that the circuit sensor asks for makes it the primary.

        Audited, and told in the history of its circuit. With ``reset`` the circuit is closed in the
        moment in which the batch is the primary.

        Raises
        ------
        PolicyError
            Without an actor or a reason; or the batch cannot become the primary: a newer one has,
            another one is about to, its rows are not what it was, or nothing here could run it.
        StoreError
            The batch is not held.
        FallbackError
            Its file is gone or torn.
        """
        require_operator("publish a quarantined batch", actor, reason)
        batch = self.get(batch_id)
        if batch.state is QuarantineState.HELD:
            self._require_publishable(batch)
        with self._store.begin() as conn:
            # Two batches of one asset must not both see that no other one is to be published.
            self._store.lock(conn, _LOCK)
            now = self._store.now(conn)
            batch = held_batch(conn, batch_id)
            why_not = _rival(conn, batch) or superseded(conn, batch)
            if why_not is not None:
                raise _unpublishable(batch, why_not)
            set_batch(
                conn,
                batch,
                state=QuarantineState.PUBLISHING.value,
                decided_at=now,
                decided_by=actor,
                decision_reason=reason,
                publish_resets=reset,
                publish_attempts=0,
                publish_asked_at=None,
                publish_run_id=None,
                unpublished_because=None,
            )
            self._checkpoint("quarantine.decided")
            said = f"batch {batch.id} released by {actor}: {reason}; to be published"
            tell_circuit(conn, batch, NoteKind.BATCH_RELEASED, said, now=now, actor=actor)
            self._checkpoint("quarantine.told")
            return read_batch(conn, batch_id)

    def unpublishable(self, batch: QuarantinedBatch) -> str | None:
        """Why a held batch cannot become the primary, as far as is known; ``None`` where it can."""
        try:
            self._require_restorable(batch)
        except PolicyError as error:
            return error.why or error.what
        with self._store.read() as conn:
            return _rival(conn, batch) or superseded(conn, batch)

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
        """Remove the files of dropped batches, of those let go long ago, and orphans.

        Returns the number of files removed. The rows stay: they are the audit (:meth:`prune`).
        """
        with self._store.begin() as conn:
            self._store.lock(conn, _LOCK)
            limit = self._store.now(conn) - released_for
            needed = sa.select(quarantine.c.sha256).where(
                quarantine.c.state.in_(_STANDING)
                | (
                    quarantine.c.state.in_((QuarantineState.RELEASED, QuarantineState.PUBLISHED))
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
        """Forget batches that were decided on longer ago, with their reports; how many.

        Held ones stay, however old, and those that are to be published. So does the newest of all:
        its number is not given again.
        """
        with self._store.begin() as conn:
            self._store.lock(conn, _LOCK)
            limit = self._store.now(conn) - older_than
            newest = conn.scalar(sa.select(sa.func.max(quarantine.c.id))) or 0
            gone = conn.execute(
                sa.delete(quarantine).where(
                    quarantine.c.state.not_in(_STANDING),
                    quarantine.c.decided_at < limit,
                    quarantine.c.id < newest,
                )
            )
            self._checkpoint("quarantine.pruned")
        return gone.rowcount

    def _require_publishable(self, batch: QuarantinedBatch) -> None:
        self._require_restorable(batch)
        self.load(batch.id)

    def _require_restorable(self, batch: QuarantinedBatch) -> None:
        if batch.kind not in _RESTORABLE:
            why = f"it was a table of the kind {batch.kind}, of which only the rows are kept"
            raise _unpublishable(batch, why)
        if batch.altered is not None:
            raise _unpublishable(batch, f"the kept rows are not all that it was: {batch.altered}")
        if self._publishable is not None:
            self._publishable(batch)

    def _decide(
        self, batch_id: int, state: QuarantineState, actor: str, reason: str
    ) -> QuarantinedBatch:
        with self._store.begin() as conn:
            self._checkpoint("quarantine.decided")
            batch = held_batch(conn, batch_id, or_waiting=True)
            now = self._store.now(conn)
            set_batch(
                conn,
                batch,
                state=state.value,
                decided_at=now,
                decided_by=actor,
                decision_reason=reason,
            )
            alert_settled(conn, self._outbox, batch, state.value, now=now)
            return read_batch(conn, batch_id)


def read_batch(conn: sa.Connection, batch_id: int, *, for_update: bool = False) -> QuarantinedBatch:
    """One batch, on request held against every other writer; ``StoreError`` where there is none."""
    query = sa.select(quarantine).where(quarantine.c.id == batch_id)
    row = conn.execute(query.with_for_update() if for_update else query).one_or_none()
    if row is None:
        raise StoreError(
            "the quarantine has no batch of that number",
            hint="`quarantine list` shows the batches that are held",
        )
    return _batch(row)


def read_publishing(conn: sa.Connection) -> tuple[QuarantinedBatch, ...]:
    """The batches that are to be published, in the order in which they were refused."""
    query = sa.select(quarantine).where(quarantine.c.state == QuarantineState.PUBLISHING.value)
    return tuple(_batch(row) for row in conn.execute(query.order_by(quarantine.c.id)))


def read_unpublished(conn: sa.Connection) -> tuple[QuarantinedBatch, ...]:
    """Those that are to be published, and those held that were to be and could not; in order."""
    columns = quarantine.c
    given_up = (columns.state == QuarantineState.HELD.value) & (
        columns.unpublished_because.is_not(None)
    )
    query = sa.select(quarantine).where(
        given_up | (columns.state == QuarantineState.PUBLISHING.value)
    )
    return tuple(_batch(row) for row in conn.execute(query.order_by(columns.id)))


def held_batch(conn: sa.Connection, batch_id: int, *, or_waiting: bool = False) -> QuarantinedBatch:
    """The batch, locked; ``StoreError`` unless it can still be decided on.

    With ``or_waiting`` that is also one whose run nobody has asked for yet.
    """
    batch = read_batch(conn, batch_id, for_update=True)
    waits = batch.state is QuarantineState.PUBLISHING and batch.publish_asked_at is None
    if batch.state is QuarantineState.HELD or (or_waiting and waits):
        return batch
    standing = (
        "to be published already"
        if batch.state is QuarantineState.PUBLISHING
        else f"not held but {batch.state.value}"
    )
    raise StoreError(
        f"batch {batch_id} is {standing}",
        where=f"{batch.contract}/{batch.asset}",
        why=f"{batch.decided_by}: {batch.decision_reason}",
        hint="`quarantine list` shows the batches that are held",
    )


def set_batch(conn: sa.Connection, batch: QuarantinedBatch, **values: object) -> None:
    """Give columns of the batch's row new values."""
    conn.execute(sa.update(quarantine).where(quarantine.c.id == batch.id).values(**values))


def superseded(conn: sa.Connection, batch: QuarantinedBatch) -> str | None:
    """Why the batch is older than what the primary is made of; ``None`` where it is not."""
    seen = observations.c
    here = (
        seen.contract == batch.contract,
        seen.asset == batch.asset,
        seen.partition == (batch.partition or ""),
        # Failures, and checks of others, saw no batch.
        seen.rows.is_not(None),
    )
    judged = conn.scalar(
        sa.select(seen.observed_at).where(seen.evaluation_id == batch.evaluation_id)
    )
    since = sa.select(seen.observed_at, seen.metrics).where(
        *here, seen.observed_at > (judged or batch.held_at)
    )
    for row in conn.execute(since.order_by(seen.observed_at.desc())):
        if row.metrics.get(REFUSED) != "1":
            return f"a newer batch was published at {row.observed_at:%Y-%m-%d %H:%M:%S} UTC"
    newer = conn.scalar(_others(batch, QuarantineState.PUBLISHED).where(quarantine.c.id > batch.id))
    return None if newer is None else f"the newer batch {newer} was published meanwhile"


def _rival(conn: sa.Connection, batch: QuarantinedBatch) -> str | None:
    other = conn.scalar(_others(batch, QuarantineState.PUBLISHING))
    return None if other is None else f"batch {other} of {batch.place} is to be published already"


def _others(batch: QuarantinedBatch, state: QuarantineState) -> sa.Select[tuple[int]]:
    return (
        sa.select(quarantine.c.id)
        .where(
            quarantine.c.contract == batch.contract,
            quarantine.c.asset == batch.asset,
            quarantine.c.partition == (batch.partition or ""),
            quarantine.c.state == state.value,
            quarantine.c.id != batch.id,
        )
        .limit(1)
    )


def _unpublishable(batch: QuarantinedBatch, why: str) -> PolicyError:
    return PolicyError(
        f"batch {batch.id} of {batch.place} cannot be published",
        where=f"{batch.contract}@{batch.contract_version}",
        why=why,
        hint=f"`quarantine release {batch.id} --to FILE` gives its rows, `quarantine drop "
        f"{batch.id}` throws them away",
    )


def circuit_of(conn: sa.Connection, batch: QuarantinedBatch) -> CircuitKey | None:
    """The circuit that judged the batch: its partition's, or the whole asset's."""
    for partition in dict.fromkeys((batch.partition, None)):
        key = CircuitKey(batch.contract, batch.asset, partition)
        if read_circuit(conn, key) is not None:
            return key
    return None


def tell_circuit(
    conn: sa.Connection,
    batch: QuarantinedBatch,
    kind: NoteKind,
    said: str,
    *,
    now: datetime,
    actor: str | None = None,
    run_id: str | None = None,
) -> None:
    """Write a line into the history of the batch's circuit; its state stays as it is."""
    key = circuit_of(conn, batch)
    if key is None:
        return
    tell(
        conn,
        key,
        kind,
        said,
        now=now,
        evaluation_id=batch.evaluation_id,
        actor=actor,
        run_id=run_id,
    )


def _batch(row: sa.Row[tuple[object, ...]]) -> QuarantinedBatch:
    columns = dict(row._mapping)
    return QuarantinedBatch(
        **{
            **columns,
            "partition": columns["partition"] or None,
            "state": QuarantineState(columns["state"]),
        }
    )
