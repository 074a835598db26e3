"""Sources that could not be read when a consumer needed them, and when they are read again.

A circuit that is closed says nothing of them: a file that is away, a partition that nobody has made
yet. A run that asks in vain is built on the fallback again, so that it waits for news, or a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from dagster_contracts.core.circuit import in_words, probe_wait
from dagster_contracts.core.contract import CircuitPolicy
from dagster_contracts.core.metrics import UNAVAILABLE
from dagster_contracts.core.routing import was_unreadable
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.materialized import stored_at, was_never_stored
from dagster_contracts.resilience.healing import HealRequest, Unread
from dagster_contracts.resilience.ledger import DegradedRead, Target, target_order, target_text

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime


@dataclass(frozen=True)
class _Source:
    """A partition of a contracted asset, and when it was last asked for in vain."""

    binding: Binding
    partition: str | None
    failed_at: datetime

    def __str__(self) -> str:
        return f"{self.binding.asset}{f' [{self.partition}]' if self.partition else ''}"


class UnreadSources:
    """What the ledger knows of sources that could not be read, for one tick.

    ``reads`` are the open ones of all consumers, ``trying`` the requests that are in flight.
    """

    def __init__(
        self,
        runtime: ContractsRuntime,
        bindings: Bindings,
        instance: dg.DagsterInstance,
        reads: Iterable[DegradedRead],
        trying: Sequence[HealRequest],
    ) -> None:
        self._runtime = runtime
        self._bindings = bindings
        self._instance = instance
        self._now = runtime.now()
        self._failed: dict[Target, _Source] = {}
        self._looked: dict[Target, tuple[bool, datetime | None, bool]] = {}
        for read in reads:
            self._add(read)
        self._assets = frozenset(asset for asset, _ in self._failed)
        self._tried_by: dict[Target, Target] = {
            source: request.target for request in trying for source in self.of(request.reads)
        }

    def _add(self, read: DegradedRead) -> None:
        binding = self._bindings.get(dg.AssetKey.from_user_string(read.upstream))
        if binding is None or not binding.protects or read.read_at is None or read.via is not None:
            return
        primary = binding.resilience.primary
        if primary is None or not was_unreadable(primary.name, read.level, read.reason):
            return
        key = (read.upstream, read.upstream_partition)
        known = self._failed.get(key)
        if known is None or known.failed_at < read.read_at:
            self._failed[key] = _Source(binding, read.upstream_partition, read.read_at)

    def of(self, reads: Iterable[DegradedRead]) -> list[Target]:
        """The sources that these reads name and that could not be read, by name."""
        named = {(read.upstream, read.upstream_partition) for read in reads if read.via is None}
        return sorted(named & self._failed.keys(), key=target_order)

    def known(self, asset: str) -> bool:
        """Whether anything of the asset could not be read."""
        return asset in self._assets

    def unread(
        self, request: HealRequest, others: Iterable[Target], *, ready: bool
    ) -> Unread | None:
        """Why a run waits for its sources, or why one that waited goes on; ``None`` without any.

        ``others`` are further sources that the run would read. One run that is ``ready``, with
        nothing else in its way, tries a source of which nothing is known, before all others.
        """
        own = self.of(request.reads)
        also = sorted({*others} & self._failed.keys() - {*own}, key=str)
        why = ""
        scouted: list[Target] = []
        for key in (*own, *also):
            found = self._standing(self._failed[key], request)
            if not found.due:
                return found
            if found.reason:
                why = why or found.reason
                continue
            first = self._tried_by.get(key)
            if first is not None and first != request.target:
                told = f"whether {self._failed[key]} can be read {target_text(first)} tries first"
                return Unread(reason=told)
            scouted.append(key)
        if not own:
            return None
        if ready and not request.spent:
            self._tried_by.update(dict.fromkeys(scouted, request.target))
        return Unread(reason=why or "it is time to try again", due=True)

    def _standing(self, source: _Source, request: HealRequest) -> Unread:
        """How one source stands; due without a reason where nothing is known but the time."""
        never, stored, recovered = self._looked_at(source)
        if never:
            return Unread(reason=f"{source} was never materialized", missing=True)
        last = max(filter(None, (source.failed_at, request.tried_at)))
        if stored is not None and stored > last:
            return Unread(reason=f"{source} was materialized", due=True)
        if request.urged and not request.spent:
            return Unread(reason="it was asked for", due=True)
        exact = source.binding.circuit_key(source.partition).partition == source.partition
        wait = _wait(source.binding.resilience.circuit, request.attempt, spent=request.spent)
        passed = self._now - last >= wait
        if request.spent:
            # Only while the fallback was read to the last: a run that fails is mended by a person.
            vain = request.tried_at is None or source.failed_at > request.tried_at
            due = recovered and vain and passed
            return Unread(reason=f"reads of {source.binding.asset} succeed again", due=due)
        if recovered and exact:
            return Unread(reason=f"{source} was read again", due=True)
        if passed:
            return Unread(reason="", due=True)
        told = f"{source} could not be read at {in_words(source.failed_at)}"
        return Unread(reason=f"{told}; tried again after {in_words(last + wait)}")

    def _looked_at(self, source: _Source) -> tuple[bool, datetime | None, bool]:
        """Whether it was never made, when it was last made, and whether reads succeed again."""
        key = (source.binding.asset, source.partition)
        if key not in self._looked:
            asset, part = source.binding.asset_key, source.partition
            stored = stored_at(self._instance, asset, part)
            never = stored is None and was_never_stored(self._instance, asset, part)
            circuit = self._runtime.breaker.circuit(source.binding.circuit_key(part))
            self._looked[key] = never, stored, not circuit.in_a_row(UNAVAILABLE)
        return self._looked[key]


def _wait(policy: CircuitPolicy, attempt: int, *, spent: bool) -> timedelta:
    """How long after the last time the ``attempt``-th run comes: like that probe of a circuit.

    What was given up waits twice as long each time, without a longest wait: there are sources that
    never come back while others of their circuit are read.
    """
    if spent:
        doubled: int = 2 ** min(attempt, 16)
        return policy.recovery.retry_after * doubled
    return probe_wait(policy, attempts=attempt, openings=0, random=0.5)
