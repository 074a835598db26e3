"""What changed in a schema object: itself, its columns, its keys and references."""

from __future__ import annotations

from dagster_contracts.core.changes import Change, Motion
from dagster_contracts.core.compatibility.acceptance import Direction
from dagster_contracts.core.compatibility.columns import Demands, compare_properties
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    FINE,
    MAJOR,
    MINOR,
    PATCH,
    WARNS,
    ChangeList,
    motion_of,
    show,
)
from dagster_contracts.core.compatibility.matching import Matching, match_properties
from dagster_contracts.core.compatibility.quality import diff_quality
from dagster_contracts.core.contract import (
    ExtraColumns,
    Relationship,
    SchemaObject,
)


def diff_objects(
    old: SchemaObject, new: SchemaObject, *, label: str | None = None
) -> tuple[Change, ...]:
    """The changes between two versions of one schema object, in no particular order."""
    changes = ChangeList(schema_object=old.name)
    compare_objects(changes, old, new, label or new.name)
    return tuple(changes.items)


def compare_objects(changes: ChangeList, old: SchemaObject, new: SchemaObject, path: str) -> None:
    """Add the changes between two versions of one schema object to ``changes``."""
    _object_itself(changes, old, new, path)
    matching = match_properties(old.properties, new.properties)
    demands = _key_demands(old), _key_demands(new)
    compare_properties(
        changes,
        matching,
        path,
        extras=old.extra_columns,
        demands=demands,
        by_position=old.ordered and new.ordered,
    )
    _primary_key(changes, old, new, matching, path)
    _order(changes, old, new, matching, path)
    _relationships(changes, old, new, matching, path)
    renamed = {pair.old.column: pair.new.column for pair in matching.pairs}
    renamed |= {pair.old.name: pair.new.name for pair in matching.pairs}
    diff_quality(changes, old.quality, new.quality, path, renamed)
    for pair in matching.pairs:
        inner = changes.at(column=pair.old.column)
        diff_quality(inner, pair.old.quality, pair.new.quality, f"{path}.{pair.new.name}", renamed)


def _key_demands(schema_object: SchemaObject) -> Demands:
    """The columns that the primary key requires, and the one that is unique by it."""
    key = frozenset(schema_object.primary_key)
    return Demands(required=key, unique=key if len(key) == 1 else frozenset())


def _object_itself(changes: ChangeList, old: SchemaObject, new: SchemaObject, path: str) -> None:
    before, after = old.physical_name or old.name, new.physical_name or new.name
    if before != after:
        changes.add(
            path,
            "object",
            Motion.RENAMED,
            f"{before} is now called {after}: whoever reads {before} will fail",
            consumer=BREAKS,
            producer=BREAKS,
            bump=MAJOR,
        )
    elif old.name != new.name:
        changes.add(
            path,
            "object",
            Motion.RENAMED,
            f"{old.name} is now called {new.name} in the contract; the table {after} stays",
            consumer=WARNS,
            bump=MINOR,
        )
    elif old.physical_name != new.physical_name:  # spelled out, and the same as the name
        changes.note(
            path, "physical_name", old.physical_name, new.physical_name, f"{path}: physical name"
        )
    if old.asset != new.asset:
        changes.add(
            path,
            "asset",
            motion_of(old.asset, new.asset),
            f"{path} now governs the asset {show(new.asset)} instead of {show(old.asset)}: "
            "whoever reads the old one is no longer protected",
            consumer=BREAKS,
            producer=BREAKS,
            bump=MAJOR,
        )
    if (old.logical_type, old.physical_type) != (new.logical_type, new.physical_type):
        changes.ask(
            path,
            "object_type",
            f"{old.logical_type}/{show(old.physical_type)}",
            f"{new.logical_type}/{show(new.physical_type)}",
            f"the kind of {path}",
        )
    order = list(ExtraColumns)
    rank = order.index(new.extra_columns) - order.index(old.extra_columns)
    if rank:
        advisory = ExtraColumns.FORBID not in (old.extra_columns, new.extra_columns)
        changes.demand(
            path,
            "extra_columns",
            Direction.TIGHTENED if rank > 0 else Direction.LOOSENED,
            f"{path}: columns that the contract does not name were {_extras(old)}, "
            f"now they are {_extras(new)}",
            advisory=advisory,
        )
    if old.ordered != new.ordered:
        way = Direction.TIGHTENED if new.ordered else Direction.LOOSENED
        what = "matters now" if new.ordered else "no longer matters"
        changes.demand(path, "ordered", way, f"{path}: the order of the columns {what}")
    changes.note(path, "id", old.id, new.id, f"{path}: id")
    changes.note(path, "description", old.description, new.description, f"{path}: description")
    changes.note(path, "tags", old.tags, new.tags, f"{path}: tags")
    changes.settings(path, old.extras, new.extras)


def _extras(schema_object: SchemaObject) -> str:
    return {
        ExtraColumns.ALLOW: "allowed",
        ExtraColumns.WARN: "warned of",
        ExtraColumns.FORBID: "forbidden",
    }[schema_object.extra_columns]


def _primary_key(
    changes: ChangeList, old: SchemaObject, new: SchemaObject, matching: Matching, path: str
) -> None:
    renamed = {pair.old.column: pair.new.column for pair in matching.pairs}
    if tuple(renamed.get(column, column) for column in old.primary_key) == new.primary_key:
        return
    if not old.primary_key:
        what = f"{path} now has the primary key {show(new.primary_key)}"
    elif not new.primary_key:
        what = f"{path} no longer has its primary key {show(old.primary_key)}"
    else:
        before, after = show(old.primary_key), show(new.primary_key)
        what = f"the primary key of {path} changed from {before} to {after}"
    changes.add(
        path,
        "primary_key",
        motion_of(old.primary_key, new.primary_key),
        f"{what}: joins, merges and deduplication on it will go wrong",
        consumer=BREAKS,
        producer=BREAKS,
        bump=MAJOR,
    )


def _order(
    changes: ChangeList, old: SchemaObject, new: SchemaObject, matching: Matching, path: str
) -> None:
    partner = {id(pair.new): pair.old for pair in matching.pairs}
    place = {id(prop): index for index, prop in enumerate(old.properties)}
    moved = [
        (place[id(partner[id(prop)])], now)
        for now, prop in enumerate(new.properties)
        if id(prop) in partner
    ]
    order = [was for was, _ in moved]
    matters = old.ordered and new.ordered
    what = f"the columns of {path} stand in another order"
    if order == sorted(order):
        # A column that comes or goes in front of others gives them another position.
        if not matters or all(was == now for was, now in moved):
            return
        what = f"columns of {path} stand at other positions than before"
    tail = "whoever reads or writes by position will fail" if matters else "nobody has to change"
    changes.add(
        path,
        "order",
        Motion.CHANGED,
        f"{what}: {tail}",
        consumer=BREAKS if matters else FINE,
        producer=BREAKS if matters else FINE,
        bump=MAJOR if matters else PATCH,
    )


def _relationships(
    changes: ChangeList, old: SchemaObject, new: SchemaObject, matching: Matching, path: str
) -> None:
    renamed = {pair.old.name: pair.new.name for pair in matching.pairs}

    def meaning(
        relation: Relationship, names: dict[str, str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        columns = tuple(names.get(column, column) for column in relation.columns)
        if len(columns) != len(relation.to):
            return columns, relation.to
        # Which of its pairs stands first does not change a reference.
        pairs = sorted(zip(columns, relation.to, strict=True))
        return tuple(column for column, _ in pairs), tuple(to for _, to in pairs)

    before = {meaning(relation, renamed): relation for relation in old.relationships}
    after = {meaning(relation, {}): relation for relation in new.relationships}
    for key in [*before, *(key for key in after if key not in before)]:
        name = f"{show(key[0])} → {show(key[1])}"
        left, right = before.get(key), after.get(key)
        if left is None:
            way = Direction.TIGHTENED
            changes.demand(path, "relationship", way, f"{path}: every {name} must exist now")
        elif right is None:
            way = Direction.LOOSENED
            changes.demand(path, "relationship", way, f"{path}: {name} need no longer exist")
        else:
            what = f"the kind of the reference {name} of {path}"
            changes.ask(path, "relationship_type", left.type, right.type, what)
            pairs = (
                (tuple(renamed.get(column, column) for column in left.columns), left.to),
                (right.columns, right.to),
            )
            if pairs[0] != pairs[1]:
                what = f"{path}: the pairs of the reference {name} stand in another order"
                changes.add(path, "order", Motion.CHANGED, what)
            changes.settings(f"{path}: {name}", left.extras, right.extras)
