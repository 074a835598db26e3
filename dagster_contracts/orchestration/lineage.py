"""Which partitions of an asset a partition of another one is built from, as Dagster maps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_contracts.errors import WiringError
from dagster_contracts.orchestration.graph import reached
from dagster_contracts.orchestration.materialized import known_partitions, partition_key


class PartitionLineage:
    """The partition mappings of Dagster's own asset graph; each question is asked of it once.

    Raises ``WiringError`` where it is asked and there is no graph.
    """

    def __init__(self, graph: Any, instance: dg.DagsterInstance) -> None:
        self._known = graph
        self._instance = instance
        self._mapped: dict[tuple[dg.AssetKey, str | None, dg.AssetKey], frozenset[str]] = {}

    @property
    def _graph(self) -> Any:
        if self._known is None:
            raise WiringError(
                "Dagster has not told the sensor whose repository it is in",
                hint="in a test give `build_sensor_context` the `definitions`",
            )
        return self._known

    def is_partitioned(self, key: dg.AssetKey) -> bool:
        """Whether the asset has partitions; one that is made elsewhere may have them too."""
        return bool(self._graph.get(key).is_partitioned)

    def above(self, key: dg.AssetKey) -> frozenset[dg.AssetKey]:
        """The assets that ``key`` is built from directly."""
        return frozenset(self._graph.get(key).parent_keys)

    def partitions(
        self, key: dg.AssetKey, partition: str | None, upstream: dg.AssetKey
    ) -> frozenset[str]:
        """The partitions of ``upstream``, which has some, that one of ``key`` is built from."""
        if not self.is_partitioned(key):
            partition = None  # In a run for a partition it is made as a whole all the same.
        asked = (key, partition, upstream)
        if asked not in self._mapped:
            with known_partitions(self._instance):
                below = partition_key(self._graph.get(key).partitions_def, partition)
                found = self._graph.get_parent_partition_keys_for_child(below, upstream, key)
                self._mapped[asked] = frozenset(
                    map(str, found.partitions_subset.get_partition_keys())
                )
        return self._mapped[asked]

    def read(
        self, key: dg.AssetKey, partition: str | None, upstream: dg.AssetKey
    ) -> frozenset[str | None]:
        """What a partition of ``key`` reads of ``upstream``; ``None`` is one without partitions."""
        if not self.is_partitioned(upstream):
            return frozenset({None})
        return frozenset(self.partitions(key, partition, upstream))

    def built_from(
        self, key: dg.AssetKey, partition: str | None, within: frozenset[dg.AssetKey]
    ) -> frozenset[tuple[dg.AssetKey, str | None]]:
        """A partition of ``key``, and those of ``within`` it is built from, through these alone."""

        def read(one: tuple[dg.AssetKey, str | None]) -> Iterator[tuple[dg.AssetKey, str | None]]:
            for above in self.above(one[0]) & within:
                for part in self.read(*one, above):
                    yield above, part

        return reached([(key, partition)], read)
