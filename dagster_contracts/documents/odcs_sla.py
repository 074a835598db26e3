"""Service levels of ODCS: a value, its unit, and what our custom properties say beyond them."""

from __future__ import annotations

from datetime import timedelta

from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Dimension,
    parse_duration,
)
from dagster_contracts.core.contract import Json, Severity, SlaProperty
from dagster_contracts.core.near_names import meant_one_of, near_names
from dagster_contracts.core.service_levels import LIFE
from dagster_contracts.documents.quality import is_own
from dagster_contracts.documents.section import Section, exact
from dagster_contracts.documents.sla import (
    KNOWN,
    MEASURED,
    TIME_OF_AVAILABILITY,
    Level,
    canonical_property,
    column_of,
    daily_level,
    daily_of,
    date_level,
    default_severity,
    is_bare,
    object_of,
    paths_of,
    warned,
    within_window,
)
from dagster_contracts.documents.sla_value import EXAMPLES, read_quantity
from dagster_contracts.documents.yaml_text import ScalarNode, YamlNode, to_json
from dagster_contracts.errors import ConditionSyntaxError, SourceLocation


def read_odcs_sla(section: Section) -> tuple[SlaProperty, ...]:
    """``slaProperties``; a property nobody can measure keeps its text and says why."""
    found: list[SlaProperty] = []
    for item in section.sections("sla_properties"):
        name = item.spelling("property") or ""
        value = item.take("value")
        unit = item.spelling("unit")
        element = item.spelling("element")
        level = _level(item, name, value, unit)
        kept, own, severity, margin = _custom(item, default_severity(level.property))
        if level.moment is not None and level.condition is not None:
            level = warned(level, margin)
        if level.property == "availability":
            level = within_window(level, _extended_window(item))
        reason = own.text("not_evaluated") if own else None
        if reason is not None:
            level = Level(level.property, None, reason, level.text)
        column, schema_object = column_of(element), object_of(element)
        if isinstance(value, ScalarNode) and (unit is not None or not isinstance(value.value, str)):
            kept["value"] = value.value
        elif (
            level.condition is not None
            and level.moment is None
            and is_bare(level.text)
            and level.text != daily_of(level.condition)
        ):
            # A date is written as its text anyway; an amount would be written as its condition.
            kept["value"] = level.text
        if unit is not None:
            kept["unit"] = unit
        if element is not None and element != ".".join(filter(None, (schema_object, column))):
            kept["element"] = element
        if name != level.property:
            kept["property"] = name
        found.append(
            SlaProperty(
                property=level.property,
                condition=level.condition,
                not_evaluated=level.not_evaluated,
                text=level.text,
                element=column,
                schema_object=schema_object,
                elements=paths_of(element),
                warn=level.warn,
                moment=level.moment,
                severity=severity,
                id=own.text("id") if own and "id" in own else item.text("id"),
                driver=item.text("driver"),
                description=item.text("description"),
                location=item.location,
                extras={**kept, **item.rest(), **(own.mapping("extras") if own else {})},
            )
        )
    return tuple(found)


def _custom(
    item: Section, default: Severity
) -> tuple[dict[str, Json], Section | None, Severity, timedelta | None]:
    """The custom properties of others; our own one, the severity and the margin, which are ours."""
    own, severity, margin = None, default, None
    others: list[Json] = []
    for entry in item.sections("custom_properties"):
        if is_own(entry.node):
            own = entry.section("value")
            continue
        match entry.spelling("property"):
            case "severity" if _is_severity(entry):
                severity = entry.choice("value", Severity, default)
            case "warnBefore":
                margin = entry.duration("value")
            case _:
                others.append(to_json(entry.node))
    return ({"customProperties": others} if others else {}), own, severity, margin


def _is_severity(entry: Section) -> bool:
    """Whether a custom property of that name speaks our words; others use the name as well."""
    value = entry.node.entries.get("value")
    return isinstance(value, ScalarNode) and value.text in set(Severity)


def _extended_window(item: Section) -> timedelta | None:
    """The window of an availability, where ``valueExt`` is a duration (``7d``)."""
    found = item.rest().get("valueExt")
    if not isinstance(found, str):
        return None
    try:
        return parse_duration(found)
    except ConditionSyntaxError:
        return None


def _level(item: Section, name: str, value: YamlNode | None, unit: str | None) -> Level:
    canonical = canonical_property(name)
    scalar = value if isinstance(value, ScalarNode) else None
    text = "" if scalar is None else item.reading.expand(scalar, scalar.text).strip()
    shown = f"{text} {unit}" if unit else text
    own = item.reading.catalogue.find(name)
    if canonical not in KNOWN and own is not None and value is not None and not is_bare(text):
        condition = item.reading.condition(value, default_metric=own.name)
        return Level(name, condition, None, shown)
    if canonical not in KNOWN:
        return _not_evaluated(
            item,
            item.place("property"),
            Level(canonical, None, f"nothing measures {name!r}", shown),
            "nothing measures it",
            meant_one_of(near_names(name, KNOWN, count=1)),
        )
    if scalar is None or not text:
        return Level(canonical, None, "it has no value", shown)
    daily = canonical == TIME_OF_AVAILABILITY
    metric, operator = ("", ComparisonOperator.LE) if daily else MEASURED[canonical]
    if not is_bare(text):
        condition = item.reading.condition(scalar, default_metric=metric or None)
        return Level(canonical, condition, None, shown)
    read: Level | None
    if canonical in LIFE:
        read, what, hint = date_level(canonical, text), "date", "write it like 2032-05-12"
    elif daily:
        read = daily_level(canonical, text)
        what, hint = "time of the day", "write it like 09:00-08:00 or 09:00 Europe/Berlin"
    else:
        known = item.reading.catalogue.find(metric)
        dimension = known.dimension if known else Dimension.NUMBER
        is_number = isinstance(scalar.value, int | float) and not isinstance(scalar.value, bool)
        number = exact(scalar) if is_number else None
        letter = (unit or "").strip() if dimension is Dimension.DURATION else ""
        quantity = None if letter == "M" else read_quantity(text, number, unit, dimension)
        if letter == "m" and quantity is not None:
            item.findings.warning(
                item.place("unit"),
                "unit",
                f"the unit 'm' of the service level {name!r} is taken as minutes",
                "write unit: min, or unit: months",
            )
        read = (
            Level(canonical, Comparison(metric, operator, quantity), None, shown)
            if quantity is not None
            else None
        )
        what, hint = dimension.value, EXAMPLES.get(dimension, "write a plain number")
    if read is not None:
        return read
    reason = f"{shown!r} is no {what}"
    if what == Dimension.DURATION.value and (unit or "").strip() == "M":
        reason = f"{shown!r} may mean minutes or months"
        hint = "write unit: min or unit: months"
    return _not_evaluated(
        item, scalar.location, Level(canonical, None, reason, shown), reason, hint, name
    )


def _not_evaluated(
    item: Section,
    where: SourceLocation,
    level: Level,
    reason: str,
    hint: str | None,
    name: str | None = None,
) -> Level:
    item.findings.warning(
        where,
        "sla-not-evaluated",
        f"the service level {(name or level.property)!r} is reported as not evaluated: {reason}",
        hint,
    )
    return level
