"""The last valid batches of a replay: that of each partition, and the newest of any."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from dagster_contracts.store.columns import from_micros, to_micros


class LastValid:
    """When a batch last passed: one moment for each partition that was seen.

    ``elsewhere`` are all the moments, in order, at which one of any partition of the asset passed,
    where the circuits of others have them.
    """

    def __init__(self, elsewhere: Sequence[int] | None = None) -> None:
        self._elsewhere = elsewhere
        self._at: dict[str | None, datetime] = {}
        self._newest: datetime | None = None

    def passed(self, partition: str | None, at: datetime) -> None:
        """A batch of a partition passed."""
        self._at[partition] = self._newest = at

    def newest(
        self, partition: str | None, now: datetime, *, any_partition: bool
    ) -> datetime | None:
        """When the one passed that stands in for a partition; ``None`` where none does.

        It is its own; with ``any_partition``, where it has none, the newest of all.
        """
        own = self._at.get(partition)
        if own is not None or not any_partition:
            return own
        if self._elsewhere is None:
            return self._newest
        position = bisect_right(self._elsewhere, to_micros(now))
        return from_micros(self._elsewhere[position - 1]) if position else None

    def next_elsewhere(self, partition: str | None, now: datetime) -> datetime | None:
        """When the next one passes, in the circuits of others, that stands in for a partition.

        ``None`` for one that has its own, however old: no other stands in for it.
        """
        moments = () if partition in self._at else self._elsewhere or ()
        position = bisect_right(moments, to_micros(now))
        return from_micros(moments[position]) if position < len(moments) else None
