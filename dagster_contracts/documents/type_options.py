"""Constraints on values: ODCS's ``logicalTypeOptions``, and the same keys of a compact field."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dagster_contracts.core.contract import LogicalType, Scalar, TypeOptions
from dagster_contracts.core.pattern import Dialect, UnportablePattern, translate
from dagster_contracts.documents.section import Section, describe
from dagster_contracts.documents.vocabulary.schema import OPTION_NAMES
from dagster_contracts.documents.yaml_text import MappingNode, ScalarNode, YamlNode

_NONE = TypeOptions()
_BOUNDS = frozenset({"minimum", "maximum", "exclusive_minimum", "exclusive_maximum"})
_COUNTS = frozenset(
    {"min_length", "max_length", "min_items", "max_items", "min_properties", "max_properties"}
)
_TEXTS = frozenset({"pattern", "format", "default_timezone"})
_FLAGS = frozenset({"timezone", "unique_items"})
_MOMENTS = frozenset({LogicalType.DATE, LogicalType.TIMESTAMP, LogicalType.TIME})
_NUMBERS = frozenset({LogicalType.NUMBER, LogicalType.INTEGER})
_STRINGS = frozenset({LogicalType.STRING})
_LISTS = frozenset({LogicalType.ARRAY})
_MAPPINGS = frozenset({LogicalType.OBJECT, LogicalType.MAP})
_ZONED = frozenset({LogicalType.TIMESTAMP, LogicalType.TIME})
#: The types that a constraint says something about; those that fit every type are not here.
_FITTING = {
    **dict.fromkeys(_BOUNDS, _MOMENTS | _NUMBERS),
    "multiple_of": _NUMBERS,
    **dict.fromkeys(("min_length", "max_length", "pattern"), _STRINGS),
    "format": _STRINGS | _MOMENTS | _NUMBERS,
    **dict.fromkeys(("timezone", "default_timezone"), _ZONED),
    **dict.fromkeys(("min_items", "max_items", "unique_items"), _LISTS),
    **dict.fromkeys(("min_properties", "max_properties"), _MAPPINGS),
}
# The table is what a compact document may hold; these are what is read in either form.
_KEYS = _BOUNDS | _COUNTS | _TEXTS | _FLAGS | {"multiple_of", "enum"}
assert _KEYS == OPTION_NAMES


def read_options(
    section: Section | None,
    logical_type: LogicalType | None,
    *,
    required_properties: tuple[str, ...] = (),
    enum: tuple[Scalar, ...] = (),
) -> TypeOptions:
    """The constraints that ``section`` holds, with bounds in the values of ``logical_type``."""
    present = section.present(_KEYS) if section is not None else ()
    if section is None or not present:
        if not required_properties and not enum:
            return _NONE
        return TypeOptions(required_properties=required_properties, enum=enum)
    found: dict[str, Any] = {"required_properties": required_properties, "enum": enum}
    for key in present:
        if key in _COUNTS:
            found[key] = section.integer(key, minimum=0)
        elif key in _TEXTS:
            found[key] = section.text(key)
        elif key in _FLAGS:
            found[key] = section.flag(key)
    zone = None
    if found.get("timezone"):
        zone = default_zone(section)
    for key in present:
        if key in _BOUNDS and not is_flag_of_3_0(section, key):
            node = section.take(key)
            if node is not None:
                found[key] = read_scalar(section, key, node, logical_type, zone)
    for key in present:
        if is_flag_of_3_0(section, key) and section.flag(key):
            found[key] = found.pop(key.removeprefix("exclusive_"), None)
    if "multiple_of" in present:
        found["multiple_of"] = _multiple(section)
    if "enum" in present and not enum:
        found["enum"] = read_enum(section, logical_type, zone)
    options = TypeOptions(**found)
    if len(present) > 1:
        _check_order(section, options)
    if logical_type is not None:
        _check_fit(section, present, logical_type)
    if options.pattern is not None:
        _check_pattern(section, options.pattern)
    return options


def is_flag_of_3_0(section: Section, key: str) -> bool:
    """Whether ``exclusiveMaximum: true`` says of ``maximum`` that it is excluded: ODCS before 3.1.

    The compact form never had that: there it is a mistake.
    """
    node = section.take(key) if key.startswith("exclusive_") else None
    truth = isinstance(node, ScalarNode) and isinstance(node.value, bool)
    return truth and not section.reading.strict


def _multiple(section: Section) -> Decimal | None:
    multiple = section.number("multiple_of")
    if multiple is None or multiple > 0:
        return None if multiple is None else _decimal(multiple)
    section.reading.complain(
        section.place("multiple_of"), "wrong-value", "'multipleOf' must be more than 0"
    )
    return None


def read_enum(
    section: Section, logical_type: LogicalType | None, zone: ZoneInfo | None = None
) -> tuple[Scalar, ...]:
    """The values of ``enum``, written plainly or, as ODCS 3.2 does, with labels."""
    found = []
    for item in section.items("enum"):
        node = _enum_value(item)
        if isinstance(node, ScalarNode) and node.value is None:
            section.reading.complain(
                node.location,
                "wrong-value",
                "'enum' lists null, which is no value: what may be missing is told by 'required'",
                "remove it: without 'required: true' null is allowed; quote \"null\" if the word "
                "is meant",
            )
            continue
        found.append(read_scalar(section, "enum", node, logical_type, zone))
    return tuple(value for value in found if value is not None)


def read_scalar(
    section: Section,
    key: str,
    node: YamlNode,
    logical_type: LogicalType | None,
    zone: ZoneInfo | None = None,
) -> Scalar | None:
    """One value in the Python type of ``logical_type``; ``None``, and a finding, if it has none."""
    if not isinstance(node, ScalarNode) or node.value is None:
        section.reading.complain(
            node.location, "wrong-type", f"{key!r} must be a single value, not {describe(node)}"
        )
        return None
    match logical_type:
        case LogicalType.DATE | LogicalType.TIMESTAMP | LogicalType.TIME:
            return _moment(section, key, node, logical_type, zone)
        case LogicalType.NUMBER | LogicalType.INTEGER:
            if isinstance(node.value, bool) or not isinstance(node.value, int | float):
                section.reading.complain(
                    node.location,
                    "wrong-type",
                    f"{key!r} of values of type {logical_type} must be a number, "
                    f"not {describe(node)}",
                    "write it without quotes",
                )
                return None
        case LogicalType.STRING:
            return node.text
        case _:
            pass
    if isinstance(node.value, float) and len(node.text.strip("+-0").replace(".", "")) > 15:
        return Decimal(node.text)
    return node.value


def _moment(
    section: Section,
    key: str,
    node: ScalarNode,
    logical_type: LogicalType,
    zone: ZoneInfo | None,
) -> Scalar | None:
    text = node.text.strip()
    try:
        if logical_type is LogicalType.DATE:
            return date.fromisoformat(text)
        if logical_type is LogicalType.TIME:
            return time.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        example = {"date": "2026-12-31", "time": "23:59:59"}.get(
            logical_type.value, "2026-12-31T23:59:59Z"
        )
        section.reading.complain(
            node.location,
            "wrong-value",
            f"{key!r} of values of type {logical_type} cannot be read: {text!r}",
            f'write it as ISO 8601: "{example}"',
        )
        return None
    return moment.replace(tzinfo=zone) if zone and moment.tzinfo is None else moment


def default_zone(section: Section | None) -> ZoneInfo | None:
    """The zone of a moment that is written without one, on a column whose moments have one."""
    if section is None or not section.flag("timezone"):
        return None
    name = section.text("default_timezone")
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        section.reading.complain(
            section.place("default_timezone"),
            "wrong-value",
            f"{name!r} is no time zone",
            "use a name of the IANA database, such as Europe/Zurich or Etc/UTC",
        )
        return None


def _enum_value(node: YamlNode) -> YamlNode:
    # ODCS 3.2 writes {value: ..., label: ...}; the compact form writes the value.
    if isinstance(node, MappingNode) and "value" in node.entries:
        return node.entries["value"]
    return node


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _check_fit(section: Section, present: list[str], logical_type: LogicalType) -> None:
    for key in present:
        fitting = _FITTING.get(key)
        if fitting is not None and logical_type not in fitting:
            names = " or ".join(sorted(kind.value for kind in fitting))
            section.findings.warning(
                section.place(key),
                "option-without-effect",
                f"{key!r} does nothing to values of type {logical_type}: it is for {names}",
                "remove it, or mend the type",
            )


def _check_pattern(section: Section, pattern: str) -> None:
    # The engines differ in a few limits; what Python's dialect refuses no engine can be given.
    try:
        translate(pattern, Dialect.PYTHON)
    except UnportablePattern as error:
        section.findings.warning(
            section.place("pattern"),
            "pattern",
            f"the pattern cannot be evaluated: {error}",
            "write it in the plain subset that all engines share; quote it in single quotes",
        )


def _check_order(section: Section, options: TypeOptions) -> None:
    pairs: tuple[tuple[str, str, object, object], ...] = (
        ("minimum", "maximum", options.minimum, options.maximum),
        ("exclusive_minimum", "maximum", options.exclusive_minimum, options.maximum),
        ("minimum", "exclusive_maximum", options.minimum, options.exclusive_maximum),
        ("min_length", "max_length", options.min_length, options.max_length),
        ("min_items", "max_items", options.min_items, options.max_items),
        ("min_properties", "max_properties", options.min_properties, options.max_properties),
    )
    for low, high, least, most in pairs:
        if least is None or most is None or type(least) is not type(most):
            continue
        try:
            crossed = least > most  # type: ignore[operator]
        except TypeError:  # a moment with an offset against one without
            continue
        if crossed:
            section.reading.complain(
                section.place(low),
                "wrong-value",
                f"no value can be at least {least} ({low}) and at most {most} ({high})",
                "swap the two",
            )
