"""What a service level speaks of: whether the object and the column that it names exist.

A level about something that is not there must not be judged on something else: the age of another
column would pass in its place.
"""

from __future__ import annotations

from dagster_contracts.core.contract import Contract, LogicalType, SchemaProperty, SlaProperty

#: Levels whose element is the column with the moments that they are about.
OF_MOMENTS = ("freshness", "latency", "retention")
#: Types of columns that hold no moment.
NO_MOMENT: tuple[LogicalType, ...] = (
    LogicalType.OBJECT,
    LogicalType.ARRAY,
    LogicalType.MAP,
    LogicalType.BOOLEAN,
    LogicalType.INTEGER,
    LogicalType.NUMBER,
)


def why_nowhere(level: SlaProperty, contract: Contract) -> str | None:
    """Why there is nothing to judge a level on; ``None`` where there is.

    Of several elements one that exists is enough. A date in the contract's life holds whatever its
    element, and a contract that declares no columns cannot tell which there are.
    """
    paths = level.elements or ((_path(level),) if level.element else ())
    if not paths or level.moment is not None or not any(o.properties for o in contract.objects):
        return None
    reasons = [_why_not(path, level.property, contract) for path in paths]
    return None if None in reasons else reasons[0]


def momentless(level: SlaProperty, contract: Contract) -> SchemaProperty | None:
    """The column of a level about ages, where its type holds no moment."""
    if level.property not in OF_MOMENTS or not level.element:
        return None
    named = {level.schema_object} if level.schema_object else {o.name for o in contract.objects}
    asked = [o for o in contract.objects if {o.name, o.physical_name} & named]
    found = [p for o in asked if (p := o.property_named(level.element)) is not None]
    return found[0] if found and all(p.logical_type in NO_MOMENT for p in found) else None


def _path(level: SlaProperty) -> str:
    return ".".join(part for part in (level.schema_object, level.element) if part)


def _why_not(path: str, level_property: str, contract: Contract) -> str | None:
    objects = {name: o for o in contract.objects for name in (o.physical_name, o.name) if name}
    whole = [found for o in contract.objects if (found := o.property_named(path)) is not None]
    if path in objects or whole:
        return _why_no_moment(whole, level_property)
    owner, _, column = path.rpartition(".")
    if owner and owner not in objects:
        return f"{owner!r} is no object of the schema"
    if level_property not in OF_MOMENTS:
        return None
    asked = [objects[owner]] if owner else contract.objects
    if not all(o.properties for o in asked):
        return None
    there = [found for o in asked if (found := o.property_named(column)) is not None]
    return _why_no_moment(there, level_property) if there else f"there is no column {column!r}"


def _why_no_moment(found: list[SchemaProperty], level_property: str) -> str | None:
    """A column whose type holds no moments says nothing of an age."""
    if level_property in OF_MOMENTS and found and all(p.logical_type in NO_MOMENT for p in found):
        kind = found[0].logical_type
        assert kind is not None
        return f"the column {found[0].column!r} is of type {kind.value}, which holds no moment"
    return None
