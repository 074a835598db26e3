"""How long the store remembers: one place that forgets what nothing needs any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.healing import Healing
from dagster_contracts.resilience.ledger import DegradedReads
from dagster_contracts.resilience.quarantine import Quarantine
from dagster_contracts.resilience.snapshots import SnapshotArchive
from dagster_contracts.store.outbox import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How many rows of each kind were forgotten; of batches, how many files."""

    events: int
    observations: int
    reads: int
    heal_requests: int
    messages: int
    quarantined: int
    snapshot_files: int
    quarantine_files: int


def forget_old(
    *,
    breaker: CircuitBreaker,
    reads: DegradedReads,
    healing: Healing,
    outbox: Outbox,
    snapshots: SnapshotArchive,
    quarantine: Quarantine,
    kept: timedelta = timedelta(days=400),
    snapshots_kept: int = 3,
    released_for: timedelta = timedelta(days=30),
) -> Forgotten:
    """Forget what ended longer than ``kept`` ago, each kind in a transaction of its own.

    What is still needed stays, however old: of each circuit the sum of its forgotten events, so
    that replaying the others rebuilds it; open reads, and the heal requests that count their
    attempts; messages that are not delivered; batches that are held; the newest valid batch of each
    partition. A process that dies half way leaves the rest to the next time.
    """
    events, observations = breaker.prune(events=kept, observations=kept)
    return Forgotten(
        events=events,
        observations=observations,
        reads=reads.prune(kept),
        heal_requests=healing.prune(kept),
        messages=outbox.prune(kept),
        snapshot_files=snapshots.sweep(retain_count=snapshots_kept),
        # The files first: a batch whose row is gone is an orphan all the same.
        quarantine_files=quarantine.sweep(released_for),
        quarantined=quarantine.prune(kept),
    )
