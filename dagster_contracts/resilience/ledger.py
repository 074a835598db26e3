"""The ledger of degraded reads: who consumed something else than a good primary.

Dagster's own provenance still names the primary after a switch, so healing rests on this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey, NoteKind
from dagster_contracts.resilience.story import tell
from dagster_contracts.store.checkpoint import Checkpoint, pass_by
from dagster_contracts.store.columns import UtcTime
from dagster_contracts.store.database import Store
from dagster_contracts.store.tables import degraded_reads

Target = tuple[str, str | None]
"""An asset and its partition; ``None`` of an asset that has none."""

NOT_MADE: Final = "is not made here any more"
NO_PARTITIONS: Final = "has no partitions any more"
NO_SUCH_PARTITION: Final = "does not exist any more"
_GONE = (NOT_MADE, NO_PARTITIONS, NO_SUCH_PARTITION)


def target_text(target: Target) -> str:
    """``revenue[2026-03-02]``."""
    asset, partition = target
    return f"{asset}[{partition}]" if partition else asset


def target_order(target: Target) -> tuple[str, str]:
    """What targets are sorted by: an asset without a partition comes before its partitions."""
    asset, partition = target
    return asset, partition or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedRead:
    """One consumer partition read one upstream partition from a fallback level.

    ``circuit`` is the one to blame. ``via`` names the degraded asset through which the mark was
    inherited; it is ``None`` for a read of the fallback itself. ``id``, ``read_at``, ``since``
    (when the edge was first degraded in this generation), the settled and the unhealed fields are
    filled in by the ledger. While it is ``pending`` its run has not stored anything yet; it is
    written before that, so that a run that is killed leaves its mark. ``unhealed_because`` says why
    no run builds the consumer anew, in words for a person; ``None`` where nothing is known to be in
    the way.
    """

    circuit: CircuitKey
    consumer: str
    upstream: str
    level: str
    source: str
    reason: str
    run_id: str
    generation: int
    consumer_partition: str | None = None
    upstream_partition: str | None = None
    via: str | None = None
    id: int | None = None
    read_at: datetime | None = None
    since: datetime | None = None
    settled_at: datetime | None = None
    settled_by: str | None = None
    unhealed_because: str | None = None
    unhealed_since: datetime | None = None
    pending: bool = False

    @property
    def target(self) -> Target:
        """What is to be built anew."""
        return self.consumer, self.consumer_partition

    @property
    def consumer_text(self) -> str:
        """``revenue[2026-03-02]``."""
        return target_text(self.target)

    @property
    def stands(self) -> bool:
        """Whether somebody may read what was built on the fallback: it is stored, and not gone."""
        because = self.unhealed_because or ""
        # What is built from something that is gone says so after a colon, and is there itself.
        gone = because.endswith(_GONE) and ": " not in because
        return not self.pending and not gone


class DegradedReads:
    """The ledger in the store."""

    def __init__(self, store: Store, *, checkpoint: Checkpoint = pass_by) -> None:
        self._store = store
        self._checkpoint = checkpoint

    def record(self, read: DegradedRead) -> DegradedRead:
        """Write one read down; the same read of the same run counts once.

        An older open read of the same edge is superseded: the consumer is being built anew. One
        that is pending supersedes none that was stored: its run may yet fail. What another run is
        about to store stays pending, as nobody knows which of them stores last.
        """
        with self._store.begin() as conn:
            written = self._record(conn, read)
            self._checkpoint("ledger.recorded")
        return written

    def inherit(
        self,
        *,
        consumer: str,
        consumer_partition: str | None,
        upstream: str,
        upstream_partition: str | None,
        run_id: str,
        since: int | None = None,
        pending: bool = False,
    ) -> tuple[DegradedRead, ...]:
        """Mark a consumer of a degraded asset as degraded: one row for each circuit to blame.

        Without ``upstream_partition`` the consumer read the whole upstream, and any degraded
        partition of it counts. Nothing is written where the upstream is not degraded. With
        ``since`` (:meth:`position` before the input was loaded) the upstream counts as degraded by
        what was written after that, settled or not.
        """
        query, first = _inherited(since is not None, upstream_partition is not None)
        of = {"of_consumer": upstream, "of_partition": upstream_partition, "after": since}
        with self._store.read() as conn:
            # Every input of every asset comes by here: the everyday answer takes no write lock.
            if conn.execute(first, of).first() is None:
                return ()
        with self._store.begin() as conn:
            marks: dict[tuple[CircuitKey, str | None], DegradedRead] = {}
            for row in conn.execute(query, of):
                origin = _read(row)
                marks[(origin.circuit, origin.consumer_partition)] = DegradedRead(
                    circuit=origin.circuit,
                    consumer=consumer,
                    consumer_partition=consumer_partition,
                    upstream=upstream,
                    upstream_partition=origin.consumer_partition,
                    level=origin.level,
                    source=origin.source,
                    reason=f"{upstream} was itself built from {origin.source}",
                    run_id=run_id,
                    generation=origin.generation,
                    via=upstream,
                    pending=pending,
                )
            written = tuple(self._record(conn, mark) for mark in marks.values())
            self._checkpoint("ledger.inherited")
        return written

    def degraded_since(self, upstreams: Iterable[str], position: int) -> frozenset[str]:
        """Which of these assets anything was written of, as consumers, after ``position``."""
        asked = {"upstreams": list(upstreams), "after": position}
        with self._store.read() as conn:
            return frozenset(conn.scalars(_SINCE, asked))

    def renew(
        self,
        *,
        consumer: str,
        consumer_partition: str | None,
        run_id: str,
        anew: bool = False,
        only: Callable[[DegradedRead], bool] | None = None,
    ) -> int:
        """The run stores what it read from a fallback: that is pending no more.

        What another run has settled since is opened again. A run may be slower than the one that
        heals its consumer, and store degraded data over the good: call it when the data is stored.
        With ``anew``, just before that, rows that are open are written anew too, so that nobody who
        had loaded his input before can still close them. ``only`` names the rows that count, where
        not all that the run has read is stored. Returns how many rows were written.
        """
        asked = {
            "of_consumer": consumer,
            "of_partition": consumer_partition or "",
            "of_run": run_id,
        }
        with self._store.begin() as conn:
            due = [
                read
                for read in _standing(map(_read, conn.execute(_OF_RUN, asked)))
                if (anew or read.pending or read.settled_at is not None)
                and (only is None or only(read))
            ]
            for read in due:
                self._record(conn, replace(_as_asked(read), pending=False), anew=True)
            self._checkpoint("ledger.renewed")
        return len(due)

    def drop(self, read: DegradedRead, reason: str) -> bool:
        """Forget a pending read whose run ended without storing anything; in the history.

        What was built on a fallback before stays. False where it is pending no more.
        """
        with self._store.begin() as conn:
            now = self._store.now(conn)
            dropped = conn.execute(
                sa.update(degraded_reads)
                .where(
                    degraded_reads.c.id == read.id,
                    degraded_reads.c.pending.is_(True),
                    degraded_reads.c.settled_at.is_(None),
                )
                .values(settled_at=now, settled_by=read.run_id)
            ).rowcount
            if dropped:
                said = f"{read.consumer_text} was not built on {read.source}: {reason}"
                tell(conn, read.circuit, NoteKind.READ_DROPPED, said, now=now, run_id=read.run_id)
            self._checkpoint("ledger.dropped")
        return bool(dropped)

    def open_reads(
        self,
        circuit: CircuitKey | None = None,
        *,
        consumer: str | None = None,
        consumer_partition: str | None = None,
    ) -> tuple[DegradedRead, ...]:
        """Reads that are not settled, oldest first."""
        query = _open().order_by(degraded_reads.c.id)
        if circuit is not None:
            query = query.where(*_blames(circuit))
        if consumer is not None:
            query = query.where(degraded_reads.c.consumer == consumer)
        if consumer_partition is not None:
            query = query.where(degraded_reads.c.consumer_partition == consumer_partition)
        with self._store.read() as conn:
            return tuple(_read(row) for row in conn.execute(query))

    def unhealed(self, circuit: CircuitKey | None = None) -> tuple[DegradedRead, ...]:
        """Open reads whose consumers are not built anew for a reason, oldest first."""
        query = _open().where(degraded_reads.c.unhealed_because.is_not(None))
        if circuit is not None:
            query = query.where(*_blames(circuit))
        with self._store.read() as conn:
            return tuple(_read(row) for row in conn.execute(query.order_by(degraded_reads.c.id)))

    def reads_of_run(self, run_id: str) -> tuple[DegradedRead, ...]:
        """Everything that one run read from a fallback, settled or not, oldest first."""
        query = (
            sa.select(degraded_reads)
            .where(degraded_reads.c.run_id == run_id)
            .order_by(degraded_reads.c.id)
        )
        with self._store.read() as conn:
            return tuple(_read(row) for row in conn.execute(query))

    def built_on(self, run_id: str, consumer: str) -> tuple[DegradedRead, ...]:
        """The fallbacks that the run builds ``consumer`` from, oldest first.

        Whoever settled them since; not what the run itself has dropped, or read anew.
        """
        reads = self.reads_of_run(run_id)
        return tuple(_standing(read for read in reads if read.consumer == consumer))

    def position(self) -> int:
        """Where the ledger stands; take it before an input is loaded, for :meth:`settle`."""
        with self._store.read() as conn:
            return conn.scalar(_POSITION) or 0

    def settle(
        self,
        *,
        consumer: str,
        consumer_partition: str | None,
        upstream: str,
        run_id: str,
        upstream_partitions: Sequence[str | None] | None = None,
        up_to: int | None = None,
    ) -> int:
        """The consumer was built again from good data: close the edge; the number of reads closed.

        Call it when the consumer's new data is stored, never when its input is loaded. Without
        ``upstream_partitions``, or with ``None`` among them, the whole upstream was read. With
        ``up_to`` (:meth:`position` when the input was loaded) what another run has degraded since
        then stays open, and what another run has yet to store does in any case.
        """
        closing = (
            sa.update(degraded_reads)
            .where(
                degraded_reads.c.settled_at.is_(None),
                degraded_reads.c.consumer == consumer,
                degraded_reads.c.consumer_partition == (consumer_partition or ""),
                degraded_reads.c.upstream == upstream,
                sa.or_(degraded_reads.c.pending.is_(False), degraded_reads.c.run_id == run_id),
            )
            .values(settled_by=run_id, unhealed_because=None, unhealed_since=None)
        )
        if upstream_partitions is not None and None not in upstream_partitions:
            closing = closing.where(degraded_reads.c.upstream_partition.in_(upstream_partitions))
        if up_to is not None:
            closing = closing.where(degraded_reads.c.id <= up_to)
        with self._store.begin() as conn:
            closed = conn.execute(closing.values(settled_at=self._store.now(conn))).rowcount
            self._checkpoint("ledger.settled")
        return closed

    def explain(self, reasons: Mapping[Target, str | None]) -> None:
        """Write down why these consumers are not built anew, or that nothing is in the way now."""
        if not reasons:
            return  # Most ticks have nothing to say.
        rows: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        with self._store.begin() as conn:
            now = self._store.now(conn)
            # In one order, so that two sensors on PostgreSQL do not wait for each other.
            for target in sorted(reasons, key=target_order):
                reason, (consumer, partition) = reasons[target], target
                of = {"of_consumer": consumer, "of_partition": partition or ""}
                told = {} if reason is None else {"because": reason, "at": now}
                rows[reason is None].append({**of, **told})
            for cleared, mine in rows.items():
                if mine:
                    conn.execute(_CLEAR if cleared else _EXPLAIN, mine)
            self._checkpoint("ledger.explained")

    def prune(self, older_than: timedelta) -> int:
        """Forget reads that were settled longer ago; how many. Open ones stay, however old.

        So does the newest of all: :meth:`position` must never go back, and a database may give the
        number of a deleted last row to the next one.
        """
        with self._store.begin() as conn:
            limit = self._store.now(conn) - older_than
            newest = conn.scalar(_POSITION) or 0
            gone = conn.execute(
                sa.delete(degraded_reads).where(
                    degraded_reads.c.settled_at < limit, degraded_reads.c.id < newest
                )
            )
            self._checkpoint("ledger.pruned")
        return gone.rowcount

    def _record(
        self, conn: sa.Connection, read: DegradedRead, *, anew: bool = False
    ) -> DegradedRead:
        now = self._store.now(conn)
        # One writer at a time on PostgreSQL too: two attempts of a step must not both insert.
        self._store.lock(conn, f"ledger:{read.consumer}:{read.consumer_partition or ''}")
        edge = {
            "contract": read.circuit.contract,
            "circuit_asset": read.circuit.asset,
            "circuit_partition": read.circuit.partition or "",
            "consumer": read.consumer,
            "consumer_partition": read.consumer_partition or "",
            "upstream": read.upstream,
            "upstream_partition": read.upstream_partition or "",
            "via": read.via or "",
        }
        older = conn.execute(_SAME_EDGE, edge).all()
        since = now
        for row in older:
            before = _read(row)
            if before.generation == read.generation:
                since = min(since, before.since or now)
            same = replace(read, generation=before.generation, pending=before.pending)
            if not anew and same == _as_asked(before):
                return before
        superseded = [
            row.id
            for row in older
            if (row.run_id == read.run_id if row.pending else not read.pending)
        ]
        if superseded:
            conn.execute(
                sa.update(degraded_reads)
                .where(degraded_reads.c.id.in_(superseded))
                .values(settled_at=now, settled_by=read.run_id)
            )
        values = {
            **edge,
            "generation": read.generation,
            "level": read.level,
            "source": read.source,
            "reason": read.reason,
            "run_id": read.run_id,
            "read_at": now,
            "since": since,
            "pending": read.pending,
        }
        number = conn.execute(_WRITE, values).scalar_one()
        return replace(read, id=number, read_at=now, since=since)


def _open() -> sa.Select[Any]:
    return sa.select(degraded_reads).where(degraded_reads.c.settled_at.is_(None))


# Statements that every read runs are built once: building takes longer than running.
_POSITION = sa.select(sa.func.max(degraded_reads.c.id))
_SINCE = (
    sa.select(degraded_reads.c.consumer)
    .where(
        degraded_reads.c.consumer.in_(sa.bindparam("upstreams", expanding=True)),
        degraded_reads.c.id > sa.bindparam("after"),
    )
    .distinct()
)
_OF_RUN = (
    sa.select(degraded_reads)
    .where(
        degraded_reads.c.consumer == sa.bindparam("of_consumer"),
        degraded_reads.c.consumer_partition == sa.bindparam("of_partition"),
        degraded_reads.c.run_id == sa.bindparam("of_run"),
    )
    .order_by(degraded_reads.c.id)
)
_OF_TARGET = (
    degraded_reads.c.settled_at.is_(None),
    degraded_reads.c.consumer == sa.bindparam("of_consumer"),
    degraded_reads.c.consumer_partition == sa.bindparam("of_partition"),
)
_CLEAR = (
    sa.update(degraded_reads)
    .where(*_OF_TARGET)
    .values(unhealed_because=sa.null(), unhealed_since=sa.null())
)
_EXPLAIN = (
    sa.update(degraded_reads)
    .where(*_OF_TARGET)
    .values(
        unhealed_because=sa.bindparam("because"),
        # A reason that takes the place of another one leaves the moment as it was.
        unhealed_since=sa.func.coalesce(
            degraded_reads.c.unhealed_since, sa.bindparam("at", type_=UtcTime)
        ),
    )
)
_WRITE = sa.insert(degraded_reads).returning(degraded_reads.c.id)
_EDGE = (
    "contract",
    "circuit_asset",
    "circuit_partition",
    "consumer",
    "consumer_partition",
    "upstream",
    "upstream_partition",
    "via",
)
_SAME_EDGE = (
    _open()
    .where(*(degraded_reads.c[name] == sa.bindparam(name) for name in _EDGE))
    .order_by(degraded_reads.c.id)
)


@cache
def _inherited(since: bool, one_partition: bool) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """What a consumer inherits from its upstream: all the rows in their order, and one of them."""
    when = sa.select(degraded_reads) if since else _open()
    query = when.where(degraded_reads.c.consumer == sa.bindparam("of_consumer"))
    if since:
        query = query.where(degraded_reads.c.id > sa.bindparam("after"))
    if one_partition:
        query = query.where(degraded_reads.c.consumer_partition == sa.bindparam("of_partition"))
    return query.order_by(degraded_reads.c.id), query.limit(1)


def _blames(circuit: CircuitKey) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        degraded_reads.c.contract == circuit.contract,
        degraded_reads.c.circuit_asset == circuit.asset,
        degraded_reads.c.circuit_partition == (circuit.partition or ""),
    )


def _standing(reads: Iterable[DegradedRead]) -> Iterable[DegradedRead]:
    """Of the rows of one run, oldest first, those that tell how each edge stands.

    The last row of an edge does, but for one that the run itself has closed: it did not count.
    """
    edges = {(r.target, r.circuit, r.upstream, r.upstream_partition, r.via): r for r in reads}
    return (read for read in edges.values() if read.settled_by != read.run_id)


def _as_asked(read: DegradedRead) -> DegradedRead:
    """The read as its consumer reported it, without what the ledger added."""
    return replace(
        read,
        id=None,
        read_at=None,
        since=None,
        settled_at=None,
        settled_by=None,
        unhealed_because=None,
        unhealed_since=None,
    )


def _read(row: sa.Row[Any]) -> DegradedRead:
    return DegradedRead(
        circuit=CircuitKey(row.contract, row.circuit_asset, row.circuit_partition or None),
        consumer=row.consumer,
        consumer_partition=row.consumer_partition or None,
        upstream=row.upstream,
        upstream_partition=row.upstream_partition or None,
        level=row.level,
        source=row.source,
        reason=row.reason,
        run_id=row.run_id,
        generation=row.generation,
        via=row.via or None,
        id=row.id,
        read_at=row.read_at,
        since=row.since,
        settled_at=row.settled_at,
        settled_by=row.settled_by,
        unhealed_because=row.unhealed_because,
        unhealed_since=row.unhealed_since,
        pending=row.pending,
    )
