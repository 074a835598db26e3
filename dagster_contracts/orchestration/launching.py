"""Which runs Dagster can start: it refuses a whole tick for one request that it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.materialized import (
    known_partitions,
    newest_materialized,
    partition_key,
)
from dagster_contracts.resilience.ledger import NO_PARTITIONS, NO_SUCH_PARTITION, NOT_MADE


def cannot_run(
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    partition: str | None,
) -> str | None:
    """Why no run can make that partition of these assets; ``None`` where one can."""
    missing = [key for key in keys if key not in graph.upstream]
    if missing:
        return f"{_listed(missing)} {NOT_MADE}"
    found = {key: p for key in keys if (p := graph.partitions[key]) is not None}
    if not found:
        return None if partition is None else f"{_listed(keys)} {NO_PARTITIONS}"
    first, *others = found.values()
    if any(other != first for other in others):
        return f"{_listed(found)} are made together and have different partitions"
    if partition is None:
        return f"{_listed(found)} has partitions, and nothing says which one is meant"
    if not _is_known(instance, first, partition):
        return f"the partition {partition} of {_listed(found)} {NO_SUCH_PARTITION}"
    return None


def first_known(
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    wanted: Iterable[str | None],
) -> str | None:
    """The first of the wanted partitions that exists, else the newest that Dagster knows.

    That is the newest that is materialized, or the last one of all; ``None`` where there is none.
    """
    partitions = graph.partitions.get(key)
    if partitions is None:
        return None
    for partition in wanted:
        if partition is not None and _is_known(instance, partitions, partition):
            return partition
    newest = next(newest_materialized(instance, key, partitions), None)
    if newest is not None:
        return newest
    with known_partitions(instance):
        last = partitions.get_last_partition_key()
    return None if last is None else str(last)


def unknown_partitions(
    graph: AssetGraph, instance: dg.DagsterInstance, key: dg.AssetKey, named: Iterable[str]
) -> list[str]:
    """Those of the named partitions that do not exist any more; none of an asset without any."""
    partitions = graph.partitions.get(key)
    if partitions is None:
        return []
    return [name for name in named if not _is_known(instance, partitions, name)]


def _is_known(
    instance: dg.DagsterInstance, partitions: dg.PartitionsDefinition[Any], partition: str
) -> bool:
    with known_partitions(instance):
        try:
            key = partition_key(partitions, partition)
            return key is not None and partitions.has_partition_key(key)
        except (dg.DagsterError, ValueError):
            return False  # It was written under other partitions.


def _listed(keys: Iterable[dg.AssetKey]) -> str:
    return ", ".join(key.to_user_string() for key in keys)
