"""What changed in the columns: which came and went, their names, and what is demanded of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.acceptance import Direction, direction
from dagster_contracts.core.compatibility.column_types import compare_column_types
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    FINE,
    MAJOR,
    MINOR,
    WARNS,
    ChangeList,
    show,
)
from dagster_contracts.core.compatibility.matching import (
    Matching,
    Pair,
    likely_rename,
    match_properties,
)
from dagster_contracts.core.compatibility.quality import diff_quality
from dagster_contracts.core.compatibility.sameness import same_property
from dagster_contracts.core.compatibility.values import compare_options
from dagster_contracts.core.contract import (
    ExtraColumns,
    Json,
    SchemaProperty,
)

_READER_FAILS = "whoever reads it will fail"
# Where the values of a column come from: what it means changes with it.
_MEANT = ("transformLogic", "transformSourceObjects")
_COMPARED_NAMES = 2_500
_UNSOUGHT = (
    " (with {} columns gone and {} come no new name was looked for: give a renamed column the "
    "same id, or an alias)"
)


@dataclass(frozen=True, slots=True)
class Demands:
    """Columns of which something is demanded by what stands around them: a key, a parent."""

    required: frozenset[str] = frozenset()
    unique: frozenset[str] = frozenset()

    def requires(self, prop: SchemaProperty) -> bool:
        """Whether a value must be there, by the property itself or by what stands around it."""
        return prop.required or prop.name in self.required or prop.column in self.required

    def makes_unique(self, prop: SchemaProperty) -> bool:
        """Whether values never repeat, by the property itself or by a key of its own."""
        return prop.unique or prop.column in self.unique


def compare_properties(
    changes: ChangeList,
    matching: Matching,
    path: str,
    *,
    extras: ExtraColumns | None,
    demands: tuple[Demands, Demands],
    by_position: bool = False,
) -> None:
    """``extras`` is the old object's rule for top-level columns, ``None`` inside a nested one.

    ``demands`` are what the old and the new surroundings demand of the properties; ``by_position``
    says that the order of the columns is promised.
    """
    nested = extras is None
    # Where very much came and went it is a rewrite, and comparing all names would take seconds.
    pairs = len(matching.removed) * len(matching.added)
    candidates = matching.added if pairs <= _COMPARED_NAMES else ()
    unsought = (
        ""
        if candidates or not pairs
        else _UNSOUGHT.format(len(matching.removed), len(matching.added))
    )
    for gone in matching.removed:
        where = f"{path}.{gone.name}"
        here = changes if nested else changes.at(column=gone.column)
        rename = likely_rename(gone, candidates)
        advice = unsought
        if rename is not None:
            advice = (
                f" ({path}.{rename.name} looks like its new name: give both the same id, or "
                f"the new one the alias {gone.name}, to say so)"
            )
        here.add(
            where,
            "column",
            Motion.REMOVED,
            f"{where} was removed: {_READER_FAILS}{advice}",
            consumer=BREAKS,
            bump=MAJOR,
            renamed_to=rename.name if rename else None,
        )
    for fresh in matching.added:
        where = f"{path}.{fresh.name}"
        forbidden = extras is ExtraColumns.FORBID
        tail = "readers need not change; producers deliver it, empty where they have no value"
        required = demands[1].requires(fresh)
        if required:
            tail = "producers must deliver it, with a value in every row"
        elif by_position:
            tail = "who reads by name need not change; producers deliver it where it stands"
        if forbidden:
            tail += "; consumers that refuse columns they do not know will fail"
        here = changes if nested else changes.at(column=fresh.column)
        here.add(
            where,
            "required_column" if required else "column",
            Motion.ADDED,
            f"{where} was added{' and is required' if required else ''}: {tail}",
            consumer=BREAKS if forbidden else FINE,
            producer=BREAKS if required else FINE,
            bump=MAJOR if forbidden else MINOR,
        )
    for pair in matching.pairs:
        where = f"{path}.{pair.new.name}"
        here = changes if nested else changes.at(column=pair.old.column)
        # A column that enters or leaves the primary key is told of by the key's own change.
        same = same_property(pair.old, pair.new)
        if nested or not same:
            _demanded(here, pair, where, demands, nested=nested)
        if not same:
            _property(here, pair.old, pair.new, where, path, nested=nested)


def _without_meant(extras: Mapping[str, Json]) -> Mapping[str, Json]:
    return {key: value for key, value in extras.items() if key not in _MEANT}


def _demanded(
    changes: ChangeList, pair: Pair, path: str, demands: tuple[Demands, Demands], *, nested: bool
) -> None:
    """Whether a value must be there and may repeat, whoever demands it."""
    old, new = pair.old, pair.new
    was, now = demands[0].requires(old), demands[1].requires(new)
    if was == now:
        what = f"{path}: it is demanded elsewhere too, and whether it says required by itself"
        changes.note(path, "required_spelling", old.required, new.required, what)
    elif not nested and old.required == new.required:
        pass
    elif now:
        changes.add(
            path,
            "required",
            Motion.TIGHTENED,
            f"{path} is now required: a batch without it will be refused",
            producer=BREAKS,
            bump=MINOR,
        )
    else:
        changes.add(
            path,
            "required",
            Motion.LOOSENED,
            f"{path} is no longer required: whoever relies on a value will meet empty ones",
            consumer=BREAKS,
            bump=MAJOR,
        )
    if old.unique == new.unique:
        return
    if demands[0].makes_unique(old) == demands[1].makes_unique(new):
        what = f"{path}: the primary key keeps it unique, and whether it says so by itself"
        changes.note(path, "unique_spelling", old.unique, new.unique, what)
    else:
        way = Direction.TIGHTENED if new.unique else Direction.LOOSENED
        what = "must now be unique" if new.unique else "may now repeat"
        changes.demand(path, "unique", way, f"{path}: values {what}")


def _required_keys(
    changes: ChangeList, old: SchemaProperty, new: SchemaProperty, path: str
) -> None:
    """Keys that an object must have; those that are fields of it are told of field by field."""
    before, after = (
        frozenset(side.options.required_properties)
        - {name for inner in side.properties for name in (inner.name, inner.column)}
        for side in (old, new)
    )
    changes.demand(
        path,
        "required_keys",
        direction(lambda: before <= after, lambda: after <= before),
        f"{path}: required keys were {show(tuple(sorted(before)))}, now they are "
        f"{show(tuple(sorted(after)))}",
    )
    if before == after:
        changes.note(
            path,
            "required_keys_spelling",
            old.options.required_properties,
            new.options.required_properties,
            f"{path}: how its required keys are written",
        )


def _property(
    changes: ChangeList,
    old: SchemaProperty,
    new: SchemaProperty,
    path: str,
    parent: str,
    *,
    nested: bool,
) -> None:
    _names(changes, old, new, path, parent)
    compare_column_types(changes, old, new, path)
    compare_options(
        changes, old.options, new.options, path, types=(old.logical_type, new.logical_type)
    )
    _required_keys(changes, old, new, path)
    changes.ask(path, "unit", old.unit, new.unit, f"the unit of {path}")
    changes.ask(
        path,
        "classification",
        old.classification,
        new.classification,
        f"the classification of {path}",
        "who may read it, and how it has to be protected",
    )
    if old.partition_key_position != new.partition_key_position:
        changes.ask(
            path,
            "partition_key",
            old.partition_key_position,
            new.partition_key_position,
            f"the place of {path} in the partition key",
            "that readers still find the partitions they want",
        )
    if old.critical != new.critical:
        if new.critical:
            changes.add(
                path, "critical", Motion.TIGHTENED, f"{path} is now marked critical", bump=MINOR
            )
        else:
            changes.add(
                path,
                "critical",
                Motion.LOOSENED,
                f"{path} is no longer marked critical: it may be missing from what is always kept",
                consumer=WARNS,
                bump=MINOR,
            )
    place, now = old.primary_key_position, new.primary_key_position
    if (place is not None and now is not None) or nested:
        # Where a column of the table enters or leaves the key, the table's own change says so.
        changes.note(path, "key_position", place, now, f"{path}: its number in the primary key")
    changes.note(path, "id", old.id, new.id, f"{path}: id")
    changes.note(
        path, "business_name", old.business_name, new.business_name, f"{path}: business name"
    )
    changes.note(path, "description", old.description, new.description, f"{path}: description")
    changes.note(path, "aliases", old.aliases, new.aliases, f"{path}: aliases")
    changes.note(path, "tags", old.tags, new.tags, f"{path}: tags")
    for key in _MEANT:
        what = f"{key} of {path}"
        changes.ask(path, "meaning", old.extras.get(key), new.extras.get(key), what)
    changes.settings(path, *(_without_meant(side.extras) for side in (old, new)))
    if old.properties or new.properties:
        inner = match_properties(old.properties, new.properties)
        demands = (
            Demands(required=frozenset(old.options.required_properties)),
            Demands(required=frozenset(new.options.required_properties)),
        )
        compare_properties(changes, inner, path, extras=None, demands=demands)
        partner = {id(pair.old): pair.new.name for pair in inner.pairs}
        changes.reordered(
            path,
            [partner.get(id(prop), "") for prop in old.properties],
            [prop.name for prop in new.properties],
            f"the fields of {path}",
        )
        for pair in inner.pairs:
            diff_quality(changes, pair.old.quality, pair.new.quality, f"{path}.{pair.new.name}", {})
    if old.items is None and new.items is not None:
        changes.demand(
            path, "items", Direction.TIGHTENED, f"{path}: what its items are is now fixed"
        )
    elif new.items is None and old.items is not None:
        changes.demand(path, "items", Direction.LOOSENED, f"{path}: what its items are is open now")
    elif (
        old.items is not None and new.items is not None and not same_property(old.items, new.items)
    ):
        alone = Demands(), Demands()
        _demanded(changes, Pair(old.items, new.items), f"{path}[]", alone, nested=True)
        _property(changes, old.items, new.items, f"{path}[]", path, nested=True)
        diff_quality(changes, old.items.quality, new.items.quality, f"{path}[]", {})


def _names(
    changes: ChangeList, old: SchemaProperty, new: SchemaProperty, path: str, parent: str
) -> None:
    if path.endswith("[]"):
        changes.note(path, "name", old.name, new.name, f"{path}: the name of the items")
        before, after = old.physical_name, new.physical_name
        changes.note(path, "physical_name", before, after, f"{path}: physical name")
        return
    if old.column != new.column:
        changes.add(
            f"{parent}.{old.name}",
            "column",
            Motion.RENAMED,
            f"{parent}.{old.column} was renamed to {new.column}: whoever reads or writes "
            f"{old.column} will fail",
            consumer=BREAKS,
            producer=BREAKS,
            bump=MAJOR,
        )
    elif old.name != new.name:
        changes.add(
            path,
            "name",
            Motion.RENAMED,
            f"{parent}.{old.name} is now called {new.name} in the contract; the column "
            f"{new.column} in the data stays",
            consumer=WARNS,
            bump=MINOR,
        )
    elif old.physical_name != new.physical_name:
        changes.note(
            path, "physical_name", old.physical_name, new.physical_name, f"{path}: physical name"
        )
