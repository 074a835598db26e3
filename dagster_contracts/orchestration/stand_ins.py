"""Which partition stands in for another one, where a level may serve any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import dagster as dg

from dagster_contracts.orchestration.partition_time import time_of_partition

P = TypeVar("P", str, str | None)


def are_ordered(partitions_def: dg.PartitionsDefinition[Any] | None) -> bool:
    """Whether one partition comes before another: those of time, and a list of static ones.

    Dynamic ones have no order but the one in which they happened to be added, and those of several
    dimensions have more than one.
    """
    return isinstance(
        partitions_def, dg.TimeWindowPartitionsDefinition | dg.StaticPartitionsDefinition
    )


def stand_ins(
    partitions_def: dg.PartitionsDefinition[Any] | None, wanted: str | None, there: Iterable[P]
) -> list[P]:
    """The partitions that are ``there``, the best first to stand in for ``wanted``.

    The newest that is not after it, and so back in time; then the first after it, and so on. Where
    none of them is wanted, the newest comes first. Those without an order stay as they come.
    """
    place = _place_of(partitions_def)
    placed: list[tuple[Any, P]] = []
    strange: list[P] = []
    for partition in there:
        found = place(partition)
        if found is None:
            strange.append(partition)
        else:
            placed.append((found, partition))
    placed.sort(key=lambda each: each[0])
    asked = place(wanted)
    before = [partition for at, partition in placed if asked is None or at <= asked]
    after = [partition for at, partition in placed if asked is not None and at > asked]
    before.reverse()
    return before + after + strange


def _place_of(partitions_def: dg.PartitionsDefinition[Any] | None) -> Callable[[str | None], Any]:
    if isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        return lambda partition: time_of_partition(partitions_def, partition)
    if isinstance(partitions_def, dg.StaticPartitionsDefinition):
        places = {key: at for at, key in enumerate(partitions_def.get_partition_keys())}
        return lambda partition: None if partition is None else places.get(partition)
    return lambda partition: None  # noqa: ARG005
