"""The asset graph of a code location, as far as contracts need it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any, TypeVar

import dagster as dg

K = TypeVar("K", bound=Hashable)


def reached(start: Iterable[K], following: Callable[[K], Iterable[K]]) -> frozenset[K]:
    """Those to start from, and all that follow them directly or through others."""
    found: set[K] = set()
    waiting = list(start)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(following(one))
    return frozenset(found)


@dataclass(frozen=True)
class AssetGraph:
    """Assets that can be materialized here, what they read, and who owns them."""

    upstream: Mapping[dg.AssetKey, frozenset[dg.AssetKey]]
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition[Any] | None]
    owners: Mapping[dg.AssetKey, tuple[str, ...]]
    together: Mapping[dg.AssetKey, tuple[dg.AssetKey, ...]] = field(default_factory=dict)
    """The assets that one step makes and that cannot be made one by one."""
    one_by_one: Mapping[dg.AssetKey, frozenset[dg.AssetKey]] = field(default_factory=dict)
    """The assets of a step that can make any of its several ones."""

    @classmethod
    def of(cls, assets: Iterable[Any]) -> AssetGraph:
        """The graph of these definitions."""
        upstream: dict[dg.AssetKey, frozenset[dg.AssetKey]] = {}
        partitions: dict[dg.AssetKey, dg.PartitionsDefinition[Any] | None] = {}
        owners: dict[dg.AssetKey, tuple[str, ...]] = {}
        together: dict[dg.AssetKey, tuple[dg.AssetKey, ...]] = {}
        one_by_one: dict[dg.AssetKey, frozenset[dg.AssetKey]] = {}
        for item in assets:
            if not isinstance(item, dg.AssetsDefinition) or not item.is_materializable:
                continue
            for spec in item.specs:
                upstream[spec.key] = frozenset(dep.asset_key for dep in spec.deps)
                partitions[spec.key] = spec.partitions_def
                owners[spec.key] = tuple(spec.owners)
                if not item.can_subset:
                    together[spec.key] = tuple(sorted(item.keys))
                elif len(item.keys) > 1:
                    one_by_one[spec.key] = frozenset(item.keys)
        return cls(upstream, partitions, owners, together, one_by_one)

    def selection(self, key: dg.AssetKey) -> list[dg.AssetKey]:
        """What a run that makes ``key`` must select: all outputs of a step that has several."""
        return list(self.together.get(key, (key,)))

    def made_with(
        self, key: dg.AssetKey, blamed: Collection[dg.AssetKey]
    ) -> tuple[dg.AssetKey, ...]:
        """The others that a run must select to build ``key`` anew from its ``blamed`` upstreams.

        They are all the outputs of a step that makes several at once; of one that may make any of
        its outputs, those through which what is to blame came.
        """
        if key in self.together:
            return tuple(other for other in self.together[key] if other != key)
        step = self.one_by_one.get(key, frozenset())
        above = self._within(key, step) - {key}
        through = [
            other
            for other in sorted(above - set(blamed))
            if any(self.upstream[x] & set(blamed) for x in self._within(other, step))
        ]
        return tuple(sorted(through, key=lambda other: self.order.index(other.to_user_string())))

    def _within(self, key: dg.AssetKey, step: frozenset[dg.AssetKey]) -> frozenset[dg.AssetKey]:
        """The asset, and those of its step that it is built from."""
        return reached([key], lambda one: self.upstream[one] & step)

    @property
    def keys(self) -> tuple[dg.AssetKey, ...]:
        """Every asset that can be materialized, by name."""
        return tuple(sorted(self.upstream))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The assets as text, each after all that it reads."""
        # An asset may read its own earlier partitions.
        above = {key: reads - {key} for key, reads in self.upstream.items()}
        ordered = TopologicalSorter(above).static_order()
        return tuple(key.to_user_string() for key in ordered if key in self.upstream)

    def ancestors(self, key: dg.AssetKey) -> frozenset[dg.AssetKey]:
        """Every other asset that ``key`` is built from, directly or through others."""
        return reached(self.upstream.get(key, ()), lambda one: self.upstream.get(one, ())) - {key}

    def descendants(self, keys: Iterable[dg.AssetKey]) -> frozenset[dg.AssetKey]:
        """Every asset that is built from any of ``keys``, directly or through others."""
        below = (one for key in keys for one in self._below.get(key, ()))
        return reached(below, lambda one: self._below.get(one, ()))

    def consumers(self, key: dg.AssetKey) -> tuple[dg.AssetKey, ...]:
        """The assets that read ``key``."""
        return tuple(sorted(self._below.get(key, ())))

    @cached_property
    def _below(self) -> Mapping[dg.AssetKey, tuple[dg.AssetKey, ...]]:
        below: dict[dg.AssetKey, list[dg.AssetKey]] = {}
        for key, reads in self.upstream.items():
            for above in reads:
                below.setdefault(above, []).append(key)
        return {key: tuple(keys) for key, keys in below.items()}

    def is_partitioned(self, key: dg.AssetKey) -> bool:
        """Whether the asset has partitions."""
        return self.partitions.get(key) is not None
