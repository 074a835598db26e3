"""Service levels: ODCS's ``slaProperties`` and the compact form's ``sla`` to conditions.

Both say how good the data must be, one as a value with a unit (latency, 4, d), the other as a
comparison (``freshness: "< 5min"``). What can be measured becomes a condition that must hold; what
cannot keeps its text and says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Condition,
    Dimension,
    Quantity,
    parse_quantity,
)
from dagster_contracts.core.contract import Json, Severity, SlaProperty
from dagster_contracts.core.quantity import find_unit
from dagster_contracts.documents.problem import nearest
from dagster_contracts.documents.section import Reading, Section, exact, snake
from dagster_contracts.documents.vocabulary.policies import SERVICE_LEVEL
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    to_json,
)
from dagster_contracts.errors import ConditionSyntaxError

_AT_MOST = ComparisonOperator.LE
_AT_LEAST = ComparisonOperator.GE

#: Property of ODCS (its DP QoS list): the metric that measures it, and how a bare value is meant.
MEASURED: dict[str, tuple[str, ComparisonOperator]] = {
    "freshness": ("data_freshness", _AT_MOST),
    "latency": ("data_latency", _AT_MOST),
    "frequency": ("materialization_age", _AT_MOST),
    "completeness": ("completeness", _AT_LEAST),
    "errorRate": ("schema_validation_errors", _AT_MOST),
    "duplicates": ("duplicates", _AT_MOST),
    "volume": ("row_count", _AT_LEAST),
}

#: What no single batch of data can show, and why.
NOT_MEASURED: dict[str, str] = {
    "availability": "availability is a share of time, and one batch of data shows none",
    "throughput": "throughput is rows per time, and one batch of data shows no time",
    "retention": "how long data is kept shows in the storage, not in one batch of data",
    "generalAvailability": "a date in the life of the contract, not a property of the data",
    "endOfSupport": "a date in the life of the contract, not a property of the data",
    "endOfLife": "a date in the life of the contract, not a property of the data",
    "timeToDetect": "how soon people learn of a failure does not show in the data",
    "timeToNotify": "how soon people are told of a failure does not show in the data",
    "timeToRepair": "how soon a failure is mended does not show in the data",
    "timeOfAvailability": "a time of day at which the data is there does not show in the data",
}

_SPELLINGS = {snake(name).replace("_", ""): name for name in (*MEASURED, *NOT_MEASURED)} | {
    "ga": "generalAvailability",
    "errors": "errorRate",
}
_YEAR = Fraction(365 * 86_400)
_LONG_UNITS = {
    "y": _YEAR,
    "yr": _YEAR,
    "year": _YEAR,
    "years": _YEAR,
    "month": _YEAR / 12,
    "months": _YEAR / 12,
    # ODCS writes the unit apart from the value, so that here "m" can only be minutes.
    "m": Fraction(60),
}


@dataclass(frozen=True, slots=True)
class _Level:
    """What a service level says, before it is a condition."""

    property: str
    condition: Condition | None
    not_evaluated: str | None
    text: str


def read_compact_sla(parent: Section) -> tuple[SlaProperty, ...]:
    """``sla``: ``{freshness: "< 5min"}``, or ``{freshness: {must: "< 5min", element: loaded_at}}``.

    A list of ``{property: freshness, must: ...}`` serves where a property occurs twice.
    """
    node = parent.take("sla")
    if isinstance(node, SequenceNode):
        return tuple(level for item in parent.sections("sla") for level in _read_listed_level(item))
    section = parent.section("sla")
    return () if section is None else _read_levels(section)


def _read_listed_level(item: Section) -> tuple[SlaProperty, ...]:
    item.what = "a service level"
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
            level = _compact_level(section, key, node)
            found.append(
                SlaProperty(
                    property=level.property,
                    condition=level.condition,
                    not_evaluated=level.not_evaluated,
                    text=level.text,
                    location=section.node.key_location(key),
                )
            )
            continue
        inner = Section(node, section.reading, f"the service level {key!r}")
        must, reason = inner.take("must"), inner.text("not_evaluated")
        if must is None:
            inner.missing("must", 'add must: "< 5min"')
            level = _Level(key, None, "it has no 'must'", "")
        else:
            if reason is None:
                level = _compact_level(section, key, must)
            else:
                text = must.text if isinstance(must, ScalarNode) else ""
                level = _Level(key, None, reason, text)
        element = inner.text("element")
        found.append(
            SlaProperty(
                property=level.property,
                condition=level.condition,
                not_evaluated=level.not_evaluated,
                text=level.text,
                element=_column(element),
                schema_object=_object(element),
                severity=inner.choice("severity", Severity, Severity.ERROR),
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


def _compact_level(section: Section, key: str, node: YamlNode) -> _Level:
    reading = section.reading
    name = canonical_property(key)
    text = node.text if isinstance(node, ScalarNode) else ""
    if name in NOT_MEASURED:
        return _Level(name, None, NOT_MEASURED[name], text)
    if name in MEASURED:
        metric, operator = MEASURED[name]
    else:
        # Any metric of the catalogue may carry a service level of its own.
        found = reading.catalogue.find(key)
        if found is None:
            near = nearest(key, [*MEASURED, *NOT_MEASURED, *reading.catalogue.names])
            reading.findings.error(
                section.node.key_location(key),
                "unknown-key",
                f"there is no service level {key!r}",
                f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else "known: " + ", ".join([*MEASURED, *NOT_MEASURED]) + ", or a metric",
            )
            return _Level(key, None, "it is not known", text)
        metric, operator = found.name, None
    if isinstance(node, ScalarNode) and operator is not None and _is_bare(text):
        text = f"{operator.value} {text}"
        try:
            quantity = parse_quantity(node.text)
        except ConditionSyntaxError:
            quantity = None
        if quantity is not None and quantity.dimension is not Dimension.NUMBER:
            return _Level(name, Comparison(metric, operator, quantity), None, text)
    return _Level(name, reading.condition(node, default_metric=metric), None, text)


def _is_bare(text: str) -> bool:
    return not any(sign in text for sign in "<>=!")


def read_odcs_sla(section: Section) -> tuple[SlaProperty, ...]:
    """``slaProperties``; a property nobody can measure keeps its text and says why."""
    found: list[SlaProperty] = []
    for item in section.sections("sla_properties"):
        name = item.spelling("property") or ""
        value = item.take("value")
        unit = item.spelling("unit")
        element = item.spelling("element")
        level = _odcs_level(item, name, value, unit)
        kept, severity = _odcs_custom(item)
        column, schema_object = _column(element), _object(element)
        if isinstance(value, ScalarNode) and (unit is not None or not isinstance(value.value, str)):
            kept["value"] = value.value
        elif level.condition is not None and _is_bare(level.text):
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
                severity=severity,
                id=item.text("id"),
                driver=item.text("driver"),
                description=item.text("description"),
                location=item.location,
                extras={**kept, **item.rest()},
            )
        )
    return tuple(found)


def _odcs_custom(item: Section) -> tuple[dict[str, Json], Severity]:
    """The custom properties that are not ours, and the severity, which is."""
    severity = Severity.ERROR
    others: list[Json] = []
    for entry in item.sections("custom_properties"):
        if entry.spelling("property") == "severity":
            severity = entry.choice("value", Severity, Severity.ERROR)
        else:
            others.append(to_json(entry.node))
    return ({"customProperties": others} if others else {}), severity


def _odcs_level(item: Section, name: str, value: YamlNode | None, unit: str | None) -> _Level:
    canonical = canonical_property(name)
    text = value.text if isinstance(value, ScalarNode) else ""
    shown = f"{text} {unit}" if unit else text
    if canonical in NOT_MEASURED:
        return _Level(canonical, None, NOT_MEASURED[canonical], shown)
    own = item.reading.catalogue.find(name)
    if canonical not in MEASURED and own is not None and value is not None and not _is_bare(text):
        condition = item.reading.condition(value, default_metric=own.name)
        return _Level(name, condition, None, shown)
    if canonical not in MEASURED:
        near = nearest(name, [*MEASURED, *NOT_MEASURED], count=1)
        item.findings.warning(
            item.place("property"),
            "sla-not-evaluated",
            f"the service level {name!r} is reported as not evaluated: nothing measures it",
            f"did you mean {near[0]!r}?" if near else None,
        )
        return _Level(canonical, None, f"nothing measures {name!r}", shown)
    metric, operator = MEASURED[canonical]
    if not isinstance(value, ScalarNode) or not text.strip():
        return _Level(canonical, None, "it has no value", shown)
    if not _is_bare(text):
        condition = item.reading.condition(value, default_metric=metric)
        return _Level(canonical, condition, None, shown)
    known = item.reading.catalogue.find(metric)
    dimension = known.dimension if known else Dimension.NUMBER
    quantity = _odcs_quantity(item.reading, value, unit, dimension)
    if quantity is None:
        item.findings.warning(
            value.location,
            "sla-not-evaluated",
            f"the service level {name!r} is reported as not evaluated: "
            f"{shown!r} is no {dimension.value}",
            {
                Dimension.DURATION: "write value: 4 and unit: h, or value: 4h",
                Dimension.RATIO: "write value: 95 and unit: percent",
            }.get(dimension, "write a plain number"),
        )
        return _Level(canonical, None, f"{shown!r} is no {dimension.value}", shown)
    return _Level(canonical, Comparison(metric, operator, quantity), None, shown)


def _odcs_quantity(
    reading: Reading, value: ScalarNode, unit: str | None, dimension: Dimension
) -> Quantity | None:
    text = reading.expand(value, value.text).strip()
    number: Fraction | None = None
    if isinstance(value.value, int | float) and not isinstance(value.value, bool):
        number = exact(value)
    else:
        try:
            quantity = parse_quantity(text)
        except ConditionSyntaxError:
            return None
        if quantity.dimension is not Dimension.NUMBER:
            return quantity if quantity.dimension is dimension else None
        number = quantity.value
    word = (unit or "").strip().lower()
    if dimension is Dimension.DURATION:
        if word in _LONG_UNITS:
            return Quantity(number * _LONG_UNITS[word], dimension)
        known = find_unit(word)
        if known is None or known[0] is not Dimension.DURATION:
            return None
        return Quantity(number * known[1], dimension)
    if dimension is Dimension.RATIO:
        if word in {"percent", "%", "percentage", "pct"} or (not word and number > 1):
            return Quantity(number / 100, dimension)
        return Quantity(number, dimension) if not word or word == "ratio" else None
    return Quantity(number, dimension)


def canonical_property(name: str) -> str:
    """The ODCS spelling of a property: ``error_rate`` and ``ErrorRate`` are ``errorRate``."""
    return _SPELLINGS.get(name.replace("_", "").replace("-", "").lower(), name)


def _column(element: str | None) -> str | None:
    # ODCS's element is a path, object.property, or several with commas between: the first counts.
    if not element:
        return None
    return element.partition(",")[0].strip().rpartition(".")[2] or None


def _object(element: str | None) -> str | None:
    if not element:
        return None
    return element.partition(",")[0].strip().rpartition(".")[0] or None
