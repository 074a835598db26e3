"""What changed in the columns: which came and went, their names and types."""

from __future__ import annotations

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.acceptance import Direction
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    FINE,
    MAJOR,
    MINOR,
    WARNS,
    ChangeList,
    show,
)
from dagster_contracts.core.compatibility.matching import Matching, likely_rename, match_properties
from dagster_contracts.core.compatibility.physical_type import TypeChange, compare_types
from dagster_contracts.core.compatibility.quality import diff_quality
from dagster_contracts.core.compatibility.values import compare_options
from dagster_contracts.core.contract import (
    ExtraColumns,
    LogicalType,
    SchemaProperty,
)

_READER_FAILS = "whoever reads it will fail"
_COMPARED_NAMES = 2_500


def compare_properties(
    changes: ChangeList, matching: Matching, path: str, *, extras: ExtraColumns | None
) -> None:
    """``extras`` is the old object's rule for top-level columns, ``None`` inside a nested one."""
    nested = extras is None
    # Where very much came and went it is a rewrite, and comparing all names would take seconds.
    pairs = len(matching.removed) * len(matching.added)
    candidates = matching.added if pairs <= _COMPARED_NAMES else ()
    for gone in matching.removed:
        where = f"{path}.{gone.name}"
        here = changes if nested else changes.at(column=gone.column)
        rename = likely_rename(gone, candidates)
        advice = ""
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
        if fresh.required:
            tail = "producers must deliver it, with a value in every row"
        if forbidden:
            tail += "; consumers that refuse columns they do not know will fail"
        here = changes if nested else changes.at(column=fresh.column)
        here.add(
            where,
            "required_column" if fresh.required else "column",
            Motion.ADDED,
            f"{where} was added{' and is required' if fresh.required else ''}: {tail}",
            consumer=BREAKS if forbidden else FINE,
            producer=BREAKS if fresh.required else FINE,
            bump=MAJOR if forbidden else MINOR,
        )
    for pair in matching.pairs:
        if pair.old == pair.new:
            continue
        here = changes if nested else changes.at(column=pair.old.column)
        _property(here, pair.old, pair.new, f"{path}.{pair.new.name}", path, nested=nested)


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
    _types(changes, old, new, path)
    if old.required != new.required:
        if new.required:
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
    if old.unique != new.unique:
        way = Direction.TIGHTENED if new.unique else Direction.LOOSENED
        what = "must now be unique" if new.unique else "may now repeat"
        changes.demand(path, "unique", way, f"{path}: values {what}")
    compare_options(changes, old.options, new.options, path)
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
    changes.settings(path, old.extras, new.extras)
    if old.properties or new.properties:
        inner = match_properties(old.properties, new.properties)
        compare_properties(changes, inner, path, extras=None)
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
    elif old.items is not None and new.items is not None and old.items != new.items:
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


def _types(changes: ChangeList, old: SchemaProperty, new: SchemaProperty, path: str) -> None:
    if old.logical_type is not new.logical_type:
        _logical_type(changes, old.logical_type, new.logical_type, path)
        return
    before, after = old.physical_type, new.physical_type
    if before == after:
        return
    if before is None or after is None:
        if old.logical_type is not None:
            changes.ask(path, "physical_type", before, after, f"the physical type of {path}")
            return
        way = Direction.LOOSENED if after is None else Direction.TIGHTENED
        changes.demand(path, "type", way, f"{path}: the type {show(before)} became {show(after)}")
        return
    match compare_types(before, after):
        case TypeChange.SAME:
            changes.note(path, "type_spelling", before, after, f"{path}: the spelling of its type")
        case TypeChange.WIDENED:
            changes.add(
                path,
                "type",
                Motion.LOOSENED,
                f"the type of {path} was widened from {before} to {after}: readers with a fixed "
                f"width should check that {after} fits",
                consumer=WARNS,
                bump=MINOR,
            )
        case TypeChange.NARROWED:
            changes.add(
                path,
                "type",
                Motion.TIGHTENED,
                f"the type of {path} was narrowed from {before} to {after}: values that do not fit "
                "can no longer be delivered",
                producer=BREAKS,
                bump=MAJOR,
            )
        case TypeChange.CHANGED:
            _type_changed(changes, before, after, path)


def _logical_type(
    changes: ChangeList, old: LogicalType | None, new: LogicalType | None, path: str
) -> None:
    match old, new:
        case (None, LogicalType()):
            way = Direction.TIGHTENED
            changes.demand(path, "type", way, f"{path}: its type is now fixed to {new}")
        case (LogicalType(), None):
            way = Direction.LOOSENED
            changes.demand(path, "type", way, f"{path}: its type {old} is no longer promised")
        case (LogicalType.INTEGER, LogicalType.NUMBER):
            changes.add(
                path,
                "type",
                Motion.LOOSENED,
                f"{path} was an integer and is now any number: who reads whole numbers will fail",
                consumer=BREAKS,
                bump=MAJOR,
            )
        case (LogicalType.NUMBER, LogicalType.INTEGER):
            changes.add(
                path,
                "type",
                Motion.TIGHTENED,
                f"{path} was any number and is now an integer: fractions cannot be delivered",
                producer=BREAKS,
                bump=MAJOR,
            )
        case _:
            _type_changed(changes, str(old), str(new), path)


def _type_changed(changes: ChangeList, old: str, new: str, path: str) -> None:
    changes.add(
        path,
        "type",
        Motion.CHANGED,
        f"the type of {path} changed from {old} to {new}: whoever reads or writes it will fail",
        consumer=BREAKS,
        producer=BREAKS,
        bump=MAJOR,
    )
