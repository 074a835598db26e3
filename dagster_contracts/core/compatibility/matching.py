"""Which columns of two versions are the same: by id, column in the data, name or alias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from dagster_contracts.core.contract import (
    SchemaProperty,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A property of the old version and the one of the new version that it became."""

    old: SchemaProperty
    new: SchemaProperty


@dataclass(frozen=True, slots=True)
class Matching:
    """Which properties of two versions are the same, and which came and went."""

    pairs: tuple[Pair, ...]
    removed: tuple[SchemaProperty, ...]
    added: tuple[SchemaProperty, ...]


def match_properties(old: Sequence[SchemaProperty], new: Sequence[SchemaProperty]) -> Matching:
    """Pair properties by stable id, then column in the data, then name, then alias."""
    before, after = list(old), list(new)
    found: list[Pair] = []
    keys: tuple[Callable[[SchemaProperty], str | None], ...] = (
        lambda p: p.id,
        lambda p: p.column,
        lambda p: p.name,
    )
    for key in keys:
        at_key: dict[str, SchemaProperty] = {}
        for prop in after:
            value = key(prop)
            if value is not None:
                at_key.setdefault(value, prop)
        _take(before, after, found, lambda p, key=key, at=at_key: at.get(key(p) or ""))  # type: ignore[misc]
    if before and after:
        aliased: dict[str, SchemaProperty] = {}
        for prop in after:
            for alias in prop.aliases:
                aliased.setdefault(alias, prop)
        named = {prop.name: prop for prop in after}

        def by_alias(prop: SchemaProperty) -> SchemaProperty | None:
            if prop.name in aliased:
                return aliased[prop.name]
            return next((named[alias] for alias in prop.aliases if alias in named), None)

        _take(before, after, found, by_alias)
    position = {id(prop): index for index, prop in enumerate(new)}
    found.sort(key=lambda pair: position[id(pair.new)])
    return Matching(tuple(found), tuple(before), tuple(after))


def _take(
    before: list[SchemaProperty],
    after: list[SchemaProperty],
    found: list[Pair],
    partner: Callable[[SchemaProperty], SchemaProperty | None],
) -> None:
    """Move every pair that ``partner`` finds from the two lists to ``found``; one partner each."""
    taken: set[int] = set()
    left: list[SchemaProperty] = []
    for prop in before:
        other = partner(prop)
        if other is None or id(other) in taken:
            left.append(prop)
        else:
            taken.add(id(other))
            found.append(Pair(prop, other))
    before[:] = left
    after[:] = [prop for prop in after if id(prop) not in taken]


def likely_rename(
    gone: SchemaProperty, candidates: Sequence[SchemaProperty]
) -> SchemaProperty | None:
    """The new property that looks like the removed one: the same type, and a name like its own."""
    best: tuple[float, SchemaProperty] | None = None
    for candidate in candidates:
        if candidate.logical_type is not gone.logical_type:
            continue
        likeness = SequenceMatcher(None, gone.name.lower(), candidate.name.lower()).ratio()
        shorter, longer = sorted((gone.name.lower(), candidate.name.lower()), key=len)
        if len(shorter) >= 3 and shorter in longer:
            likeness = max(likeness, 0.8)
        if gone.description and gone.description == candidate.description:
            likeness = max(likeness, 0.9)
        if likeness >= 0.6 and (best is None or likeness > best[0]):
            best = (likeness, candidate)
    return best[1] if best else None
