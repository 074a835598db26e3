"""What is materialized of an asset, and since when: every question to Dagster's event log on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from dagster_contracts.orchestration.stand_ins import are_ordered, stand_ins

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
"""Dagster's own tags on a run of a range of partitions."""


PUBLISHED = "contract/published"
"""Metadata of an audited asset's materialization: false where its batch was refused, not stored."""

_PAGE = 100


def latest_materialization(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None
) -> dg.EventLogEntry | None:
    """The newest materialization of the asset, or of one partition of it, stored or refused."""
    if partition is None:
        return instance.get_latest_materialization_event(key)
    records, _ = _page(instance, key, partition, limit=1)
    return records[0] if records else None


def stored_materialization(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None
) -> dg.EventLogEntry | None:
    """The newest materialization whose batch was stored: a refused one has one too."""
    event = latest_materialization(instance, key, partition)
    if event is None or was_stored(event):
        return event
    cursor = None
    while True:
        page, cursor = _page(instance, key, partition, limit=_PAGE, cursor=cursor)
        stored = next(filter(was_stored, page), None)
        if stored is not None or cursor is None:
            return stored


def was_never_stored(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> bool:
    """Whether a partition is one of those that nobody has made yet.

    Of an asset that Dagster has never materialized nothing is known: others may store it.
    """
    if partition is None or stored_materialization(instance, key, partition) is not None:
        return False
    return instance.get_latest_materialization_event(key) is not None


def materializations_since(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None, since: datetime
) -> Iterator[dg.EventLogEntry]:
    """The materializations of the asset, or of one partition of it, newest first."""
    cursor = None
    while True:
        page, cursor = _page(instance, key, partition, limit=_PAGE, cursor=cursor, since=since)
        yield from page
        if cursor is None:
            return


def was_stored(event: dg.EventLogEntry) -> bool:
    """Whether the batch of this materialization reached its storage."""
    made = event.asset_materialization
    said = made.metadata.get(PUBLISHED) if made is not None else None
    return said is None or said.value is not False


def _page(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partition: str | None,
    *,
    limit: int,
    cursor: str | None = None,
    since: datetime | None = None,
) -> tuple[list[dg.EventLogEntry], str | None]:
    """Materializations, newest first, and where the next page begins, if there is one."""
    wanted = dg.AssetRecordsFilter(
        asset_key=key,
        asset_partitions=None if partition is None else [partition],
        after_timestamp=None if since is None else since.timestamp(),
    )
    found = instance.fetch_materializations(wanted, limit=limit, cursor=cursor)
    events = [record.event_log_entry for record in found.records]
    return events, found.cursor if found.has_more else None


def stored_at(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None
) -> datetime | None:
    """When the asset, or one partition of it, was last stored; ``None`` if never."""
    event = stored_materialization(instance, key, partition)
    return None if event is None else moment_of(event)


def moment_of(event: dg.EventLogEntry) -> datetime:
    """When it was logged."""
    return datetime.fromtimestamp(event.timestamp, UTC)


def partition_to_read(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partitions_def: dg.PartitionsDefinition[Any] | None,
    wanted: str | None,
    *,
    any_partition: bool = False,
) -> str | None:
    """The partition of ``key`` that stands for ``wanted``; ``None`` where there is none.

    That is the same one; with ``any_partition`` the nearest (:func:`stand_ins`), and where none is
    wanted the newest that is stored: one whose every batch was refused has nothing to read. An
    asset without partitions stands for each of them as a whole.
    """
    if partitions_def is None:
        return None
    if wanted is not None and not any_partition:
        return wanted
    if wanted is not None and stored_materialization(instance, key, wanted) is not None:
        return wanted
    newest_first: Iterable[str] = newest_materialized(instance, key, partitions_def)
    if wanted is not None:
        newest_first = stand_ins(partitions_def, wanted, newest_first)
        if not are_ordered(partitions_def):
            return _last_stored(instance, key, frozenset(newest_first))
    return next((p for p in newest_first if stored_materialization(instance, key, p)), None)


def _last_stored(
    instance: dg.DagsterInstance, key: dg.AssetKey, among: Collection[str]
) -> str | None:
    """The partition that was stored last."""
    cursor = None
    while True:
        page, cursor = _page(instance, key, None, limit=_PAGE, cursor=cursor)
        for event in filter(was_stored, page):
            made = event.asset_materialization
            if made is not None and made.partition in among:
                return made.partition
        if cursor is None:
            return None


def newest_materialized(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions_def: dg.PartitionsDefinition[Any]
) -> Iterator[str]:
    """The partitions that have a materialization, stored or refused, newest first."""
    materialized = instance.get_materialized_partitions(key)
    ordered = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    return (str(key) for key in reversed(ordered) if key in materialized)


def partition_range(
    instance: dg.DagsterInstance,
    partitions_def: dg.PartitionsDefinition[Any],
    tags: Mapping[str, str],
) -> list[str]:
    """The partitions of a run over a range, whose tags name the first and the last."""
    asked = dg.PartitionKeyRange(tags[RANGE_START_TAG], tags[RANGE_END_TAG])
    with known_partitions(instance):
        return [str(key) for key in partitions_def.get_partition_keys_in_range(asked)]


def partition_key(
    partitions_def: dg.PartitionsDefinition[Any] | None, partition: str | None
) -> str | None:
    """The key as Dagster's own I/O managers want it: one of several dimensions knows them."""
    if isinstance(partitions_def, dg.MultiPartitionsDefinition) and partition is not None:
        return partitions_def.get_partition_key_from_str(partition)
    return partition


@contextmanager
def known_partitions(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let definitions of dynamic partitions ask the instance, which alone knows them."""
    # Dagster publishes no other way to list a range of dynamic partitions.
    from dagster._core.definitions.partitions.context import partition_loading_context

    with partition_loading_context(dynamic_partitions_store=instance):
        yield


@contextmanager
def stored_partition(
    context: dg.InputContext | dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
    key: dg.AssetKey,
    partitions_def: dg.PartitionsDefinition[Any] | None,
    partition: str | None,
    **asked: Any,
) -> Iterator[dg.InputContext]:
    """What an I/O manager is asked with for an asset, or one partition of it, that is no input.

    ``asked`` are further arguments of ``InputContext``.
    """
    partition = partition_key(partitions_def, partition)
    # Without the resources at hand (``build_input_context`` takes none that are open), Dagster
    # makes an instance of its own for each context.
    resources: Any = context.resources
    with known_partitions(context.instance):
        subset = (
            None
            if partitions_def is None or partition is None
            else partitions_def.empty_subset().with_partition_key_range(
                partitions_def, dg.PartitionKeyRange(partition, partition)
            )
        )
        yield dg.InputContext(
            upstream_output=dg.build_output_context(
                asset_key=key,
                partition_key=partition,
                asset_partitions_def=partitions_def,
                resources=resources,
            ),
            log_manager=context.log,
            resources=resources,
            asset_key=key,
            partition_key=partition,
            asset_partitions_subset=subset,
            asset_partitions_def=partitions_def,
            instance=context.instance,
            **asked,
        )
