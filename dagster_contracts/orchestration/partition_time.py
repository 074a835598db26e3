"""The time that a partition stands for: what orders partitions whose data names no event time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg


def time_of_partition(
    partitions_def: dg.PartitionsDefinition[Any] | None, partition: str | None
) -> datetime | None:
    """When the partition begins, in UTC; of several dimensions, the one of time.

    ``None`` where the partitions are of no time (static and dynamic ones), and for a key that is
    none of theirs: another process may report it.
    """
    if partitions_def is None or partition is None:
        return None
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        several = len(partitions_def.partitions_defs)
        if not partitions_def.has_time_window_dimension or partition.count("|") != several - 1:
            return None
        dimension = partitions_def.time_window_dimension.name
        keys = partitions_def.get_partition_key_from_str(partition).keys_by_dimension
        return time_of_partition(partitions_def.time_window_partitions_def, keys[dimension])
    if not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        return None
    try:
        start = partitions_def.time_window_for_partition_key(partition).start
    except (ValueError, KeyError, dg.DagsterError):
        return None
    return start.astimezone(UTC)
