"""Service levels of the compact form: comparisons by the name of their property."""

from __future__ import annotations

from dagster_contracts.core.condition import Comparison, Dimension, Quantity, parse_quantity
from dagster_contracts.core.contract import Severity, SlaProperty
from dagster_contracts.core.near_names import meant_one_of, near_names
from dagster_contracts.core.service_levels import LIFE
from dagster_contracts.documents.section import Reading, Section
from dagster_contracts.documents.sla import (
    KNOWN,
    MEASURED,
    TIME_OF_AVAILABILITY,
    Level,
    canonical_property,
    column_of,
    daily_level,
    date_level,
    default_severity,
    is_bare,
    object_of,
    paths_of,
    warned,
    within_window,
)
from dagster_contracts.documents.vocabulary.policies import SERVICE_LEVEL
from dagster_contracts.documents.yaml_text import MappingNode, ScalarNode, SequenceNode, YamlNode
from dagster_contracts.errors import ConditionSyntaxError

_LISTED = (
    'write it like - {property: freshness, must: "< 2h"}, or without a list: freshness: "< 2h"'
)


def read_compact_sla(parent: Section) -> tuple[SlaProperty, ...]:
    """``sla``: ``{freshness: "< 5min"}``, or ``{freshness: {must: "< 5min", element: loaded_at}}``.

    A list of ``{property: freshness, must: ...}`` serves where a property occurs twice.
    """
    node = parent.take("sla")
    if isinstance(node, SequenceNode):
        items = parent.sections("sla", mend=lambda _: _LISTED)
        return tuple(level for item in items for level in _read_listed_level(item))
    section = parent.section("sla")
    return () if section is None else _read_levels(section)


def _read_listed_level(item: Section) -> tuple[SlaProperty, ...]:
    item.what = "a service level"
    if "property" not in item:
        item.missing("property", _LISTED)
        return ()
    name = item.required_text("property")
    if not name:
        return ()
    # The same mapping under its name: {property: freshness, must: ...} as {freshness: {must: ...}}.
    body = MappingNode(item.node.path, item.node.line, item.node.column)
    for key, value in item.node.entries.items():
        if key != "property":
            body.entries[key] = value
            body.keys[key] = item.node.keys.get(key, (item.node.line, item.node.column))
    named = MappingNode(item.node.path, item.node.line, item.node.column)
    named.entries[name] = body
    return _read_levels(Section(named, item.reading, "sla"))


def _read_levels(section: Section) -> tuple[SlaProperty, ...]:
    found: list[SlaProperty] = []
    for key, node in section.node.entries.items():
        if isinstance(node, ScalarNode) and node.value is None:
            section.wrong(node, key, 'a comparison such as "< 5min"')
            continue
        if isinstance(node, SequenceNode):
            section.wrong(node, key, 'a comparison such as "< 5min", or a mapping')
            continue
        if isinstance(node, ScalarNode):
            level = _level(section, key, node)
            found.append(
                SlaProperty(
                    property=level.property,
                    condition=level.condition,
                    not_evaluated=level.not_evaluated,
                    text=level.text,
                    warn=level.warn,
                    moment=level.moment,
                    severity=default_severity(level.property),
                    location=section.node.key_location(key),
                )
            )
            continue
        inner = Section(node, section.reading, f"the service level {key!r}")
        must, reason = inner.take("must"), inner.text("not_evaluated")
        if must is None:
            inner.missing("must", 'add must: "< 5min"')
            level = Level(key, None, "it has no 'must'", "")
        elif reason is None:
            level = _level(section, key, must)
        else:
            text = must.text if isinstance(must, ScalarNode) else ""
            level = Level(canonical_property(key), None, reason, text)
        level = _options(inner, level)
        element = inner.text("element")
        found.append(
            SlaProperty(
                property=level.property,
                condition=level.condition,
                not_evaluated=level.not_evaluated,
                text=level.text,
                element=column_of(element),
                schema_object=object_of(element),
                elements=paths_of(element),
                warn=level.warn,
                moment=level.moment,
                severity=inner.choice("severity", Severity, default_severity(level.property)),
                id=inner.text("id"),
                driver=inner.text("driver"),
                description=inner.text("description"),
                location=section.node.key_location(key),
                extras=inner.mapping("extras"),
            )
        )
        inner.finish(
            SERVICE_LEVEL, synonyms={"column": "element", "value": "must", "condition": "must"}
        )
    return tuple(found)


def _options(inner: Section, level: Level) -> Level:
    """``warn_before`` of a date, ``window`` of an availability."""
    margin, window = inner.duration("warn_before"), inner.duration("window")
    if level.moment is not None and level.condition is not None:
        level = warned(level, margin)
    elif margin is not None:
        inner.findings.error(
            inner.place("warn_before"),
            "misplaced-key",
            f"{inner.what} has no end that 'warn_before' could speak of",
            "it stands with the date of endOfSupport or endOfLife",
        )
    if level.property == "availability":
        return within_window(level, window)
    if window is not None:
        inner.findings.error(
            inner.place("window"),
            "misplaced-key",
            f"{inner.what} is not measured over a window",
            "only availability is",
        )
    return level


def _level(section: Section, key: str, node: YamlNode) -> Level:
    reading = section.reading
    name = canonical_property(key)
    text = reading.expand(node, node.text).strip() if isinstance(node, ScalarNode) else ""
    if isinstance(node, ScalarNode) and is_bare(text):
        if name in LIFE:
            return date_level(name, text) or _no_value(section, node, name, text, "a date")
        if name == TIME_OF_AVAILABILITY:
            return daily_level(name, text) or _no_value(
                section, node, name, text, "a time of the day"
            )
    if name in MEASURED:
        metric, operator = MEASURED[name]
    elif name == TIME_OF_AVAILABILITY:
        metric, operator = "", None
    else:
        # Any metric of the catalogue may carry a service level of its own.
        found = reading.catalogue.find(key)
        if found is None:
            reading.findings.error(
                section.node.key_location(key),
                "unknown-key",
                f"there is no service level {key!r}",
                meant_one_of(near_names(key, [*KNOWN, *reading.catalogue.names]))
                or "known: " + ", ".join(KNOWN) + ", or a metric",
            )
            return Level(key, None, "it is not known", text)
        metric, operator = found.name, None
    if isinstance(node, ScalarNode) and operator is not None and is_bare(text):
        text = f"{operator.value} {text}"
        quantity = _bare_quantity(node, reading, metric)
        if quantity is not None:
            return Level(name, Comparison(metric, operator, quantity), None, text)
        # What is wrong with it is said of the comparison that it stands for.
        node = ScalarNode(node.path, node.line, node.column, text, text, quoted=False)
    return Level(name, reading.condition(node, default_metric=metric or None), None, text)


def _bare_quantity(node: ScalarNode, reading: Reading, metric: str) -> Quantity | None:
    """A value without an operator (``completeness: 95%``); it must bring its unit."""
    try:
        quantity = parse_quantity(reading.expand(node, node.text))
    except ConditionSyntaxError:
        return None
    known = reading.catalogue.find(metric)
    dimension = known.dimension if known else Dimension.NUMBER
    if dimension is Dimension.COUNT and quantity.dimension is Dimension.NUMBER:
        return Quantity(quantity.value, dimension)
    return quantity if quantity.dimension is dimension else None


def _no_value(section: Section, node: ScalarNode, name: str, text: str, what: str) -> Level:
    example = "2032-05-12" if name in LIFE else "09:00-08:00"
    section.reading.complain(
        node.location,
        "sla-value",
        f"the service level {name!r} is {what}, not {text!r}",
        f"write it like {example!r}",
    )
    return Level(name, None, f"{text!r} is not {what}", text)
