"""What changed in the type of a column, and who can no longer read or write it."""

from __future__ import annotations

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.acceptance import Direction
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    MAJOR,
    MINOR,
    WARNS,
    ChangeList,
    show,
)
from dagster_contracts.core.compatibility.physical_type import TypeChange, compare_types
from dagster_contracts.core.contract import LogicalType, SchemaProperty


def compare_column_types(
    changes: ChangeList, old: SchemaProperty, new: SchemaProperty, path: str
) -> None:
    """Add the change of a column's logical type, else that of its physical one."""
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
