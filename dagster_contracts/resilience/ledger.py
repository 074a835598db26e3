"""The ledger of degraded reads: who consumed something else than a good primary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedRead:
    """One consumer partition read one upstream partition from a fallback level.

    ``circuit`` is the one to blame. ``via`` names the degraded asset through which the mark was
    inherited; it is ``None`` for a read of the fallback itself. ``id``, ``read_at`` and the settled
    fields are filled in by the ledger.
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
    settled_at: datetime | None = None
    settled_by: str | None = None


class DegradedReads:
    """The ledger in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, read: DegradedRead) -> DegradedRead:
        """Write one read down; the same read of the same run counts once.

        An older open read of the same edge is superseded: the consumer is being built anew.
        """
        raise NotImplementedError

    def inherit(
        self, *, consumer: str, consumer_partition: str | None, upstream: str, upstream_partition: str | None, run_id: str
    ) -> tuple[DegradedRead, ...]:
        """Mark a consumer of a degraded asset as degraded: one row for each circuit to blame."""
        raise NotImplementedError

    def open_reads(
        self, circuit: CircuitKey | None = None, *, consumer: str | None = None, consumer_partition: str | None = None
    ) -> tuple[DegradedRead, ...]:
        """Reads that are not settled, oldest first."""
        raise NotImplementedError

    def settle(
        self, *, consumer: str, consumer_partition: str | None, upstream: str, run_id: str,
        upstream_partitions: Sequence[str | None] | None = None,
    ) -> int:
        """The consumer was built again from good data: close the edge; the number of reads closed.

        Call it when the consumer's new data is stored, never when its input is loaded.
        """
        raise NotImplementedError
