"""Service levels: ODCS's ``slaProperties`` and the compact form's ``sla`` to conditions.

Both say how good the data must be, one as a value with a unit (latency, 4, d), the other as a
comparison (``freshness: "< 5min"``). Each becomes a condition that must hold, over a metric that
somebody measures; what nobody here can measure keeps its text and says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Condition,
    Dimension,
    Quantity,
    parse_duration,
    parse_quantity,
    render_quantity,
)
from dagster_contracts.core.contract import Json, Severity, SlaProperty
from dagster_contracts.core.metrics import (
    AVAILABILITY,
    RETENTION,
    SINCE_AVAILABLE,
    THROUGHPUT,
    TIME_TO_DETECT,
    TIME_TO_NOTIFY,
    TIME_TO_REPAIR,
    TO_END_OF_LIFE,
    TO_END_OF_SUPPORT,
)
from dagster_contracts.core.service_levels import LIFE, WINDOW
from dagster_contracts.documents.problem import nearest
from dagster_contracts.documents.quality import is_own
from dagster_contracts.documents.section import Reading, Section, exact
from dagster_contracts.documents.sla_value import (
    EXAMPLES,
    daily_metric,
    daily_text,
    read_moment,
    read_quantity,
)
from dagster_contracts.documents.vocabulary.policies import SERVICE_LEVEL
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    to_json,
)
from dagster_contracts.errors import ConditionSyntaxError, SourceLocation

_LISTED = (
    'write it like - {property: freshness, must: "< 2h"}, or without a list: freshness: "< 2h"'
)
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
    "availability": (AVAILABILITY, _AT_LEAST),
    "throughput": (THROUGHPUT, _AT_LEAST),
    "retention": (RETENTION, _AT_MOST),
    "timeToDetect": (TIME_TO_DETECT, _AT_MOST),
    "timeToNotify": (TIME_TO_NOTIFY, _AT_MOST),
    "timeToRepair": (TIME_TO_REPAIR, _AT_MOST),
    # Dates: what counts from the first and to the others must not be negative.
    "generalAvailability": (SINCE_AVAILABLE, _AT_LEAST),
    "endOfSupport": (TO_END_OF_SUPPORT, _AT_LEAST),
    "endOfLife": (TO_END_OF_LIFE, _AT_LEAST),
}

TIME_OF_AVAILABILITY = "timeOfAvailability"
KNOWN = (*MEASURED, TIME_OF_AVAILABILITY)
"""Every property that has a meaning here."""

#: A breach of these says nothing of a batch: to refuse one for it would mend nothing, so that they
#: warn unless the contract says otherwise.
_OF_SERVICE = frozenset(
    {"availability", "timeToDetect", "timeToNotify", "timeToRepair", TIME_OF_AVAILABILITY, *LIFE}
)

WARN_BEFORE = timedelta(days=30)
"""How long before the end of support or life a level begins to warn."""

# The two letters are the synonyms that the standard gives.
_SPELLINGS = {name.lower(): name for name in KNOWN} | {
    "av": "availability",
    "th": "throughput",
    "er": "errorRate",
    "errors": "errorRate",
    "ga": "generalAvailability",
    "es": "endOfSupport",
    "eos": "endOfSupport",
    "el": "endOfLife",
    "eol": "endOfLife",
    "re": "retention",
    "fy": "frequency",
    "frequencyofupdate": "frequency",
    "ly": "latency",
    "td": "timeToDetect",
    "tn": "timeToNotify",
    "tr": "timeToRepair",
}


def default_severity(property_name: str) -> Severity:
    """What a breach is where the document does not say: a warning, if no batch is to blame."""
    return Severity.WARNING if property_name in _OF_SERVICE else Severity.ERROR


def warn_before(level: SlaProperty) -> timedelta | None:
    """How long before its end a level warns, where it is not the usual margin."""
    if level.property == "generalAvailability" or not isinstance(level.warn, Comparison):
        return None
    margin = timedelta(seconds=float(level.warn.quantity.value))
    return None if margin == WARN_BEFORE else margin


@dataclass(frozen=True, slots=True)
class _Level:
    """What a service level says: its condition, or why it has none."""

    property: str
    condition: Condition | None
    not_evaluated: str | None
    text: str
    warn: Condition | None = None
    moment: datetime | None = None


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
            level = _compact_level(section, key, node)
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
            level = _Level(key, None, "it has no 'must'", "")
        elif reason is None:
            level = _compact_level(section, key, must)
        else:
            text = must.text if isinstance(must, ScalarNode) else ""
            level = _Level(canonical_property(key), None, reason, text)
        level = _compact_options(inner, level)
        element = inner.text("element")
        found.append(
            SlaProperty(
                property=level.property,
                condition=level.condition,
                not_evaluated=level.not_evaluated,
                text=level.text,
                element=_column(element),
                schema_object=_object(element),
                elements=_elements(element),
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


def _compact_options(inner: Section, level: _Level) -> _Level:
    """``warn_before`` of a date, ``window`` of an availability."""
    margin, window = inner.duration("warn_before"), inner.duration("window")
    if level.moment is not None and level.condition is not None:
        level = _warned(level, margin)
    elif margin is not None:
        inner.findings.error(
            inner.place("warn_before"),
            "misplaced-key",
            f"{inner.what} has no end that 'warn_before' could speak of",
            "it stands with the date of endOfSupport or endOfLife",
        )
    if level.property == "availability":
        return _within(level, window)
    if window is not None:
        inner.findings.error(
            inner.place("window"),
            "misplaced-key",
            f"{inner.what} is not measured over a window",
            "only availability is",
        )
    return level


def _compact_level(section: Section, key: str, node: YamlNode) -> _Level:
    reading = section.reading
    name = canonical_property(key)
    text = reading.expand(node, node.text).strip() if isinstance(node, ScalarNode) else ""
    if isinstance(node, ScalarNode) and _is_bare(text):
        if name in LIFE:
            return _date(name, text) or _no_value(section, node, name, text, "a date")
        if name == TIME_OF_AVAILABILITY:
            return _daily(name, text) or _no_value(section, node, name, text, "a time of the day")
    if name in MEASURED:
        metric, operator = MEASURED[name]
    elif name == TIME_OF_AVAILABILITY:
        metric, operator = "", None
    else:
        # Any metric of the catalogue may carry a service level of its own.
        found = reading.catalogue.find(key)
        if found is None:
            near = nearest(key, [*KNOWN, *reading.catalogue.names])
            reading.findings.error(
                section.node.key_location(key),
                "unknown-key",
                f"there is no service level {key!r}",
                f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else "known: " + ", ".join(KNOWN) + ", or a metric",
            )
            return _Level(key, None, "it is not known", text)
        metric, operator = found.name, None
    if isinstance(node, ScalarNode) and operator is not None and _is_bare(text):
        text = f"{operator.value} {text}"
        quantity = _bare_quantity(node, reading, metric)
        if quantity is not None:
            return _Level(name, Comparison(metric, operator, quantity), None, text)
        # What is wrong with it is said of the comparison that it stands for.
        node = ScalarNode(node.path, node.line, node.column, text, text, quoted=False)
    return _Level(name, reading.condition(node, default_metric=metric or None), None, text)


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


def _no_value(section: Section, node: ScalarNode, name: str, text: str, what: str) -> _Level:
    example = "2032-05-12" if name in LIFE else "09:00-08:00"
    section.reading.complain(
        node.location,
        "sla-value",
        f"the service level {name!r} is {what}, not {text!r}",
        f"write it like {example!r}",
    )
    return _Level(name, None, f"{text!r} is not {what}", text)


def _date(name: str, text: str) -> _Level | None:
    """A date in the contract's life; ``None`` where the text is none.

    Before general availability a consumer is early, which warns; past its end a level is broken.
    """
    moment = read_moment(text, ends=name != "generalAvailability")
    if moment is None:
        return None
    metric, operator = MEASURED[name]
    kept = Comparison(metric, operator, Quantity(Fraction(0), Dimension.DURATION))
    if name == "generalAvailability":
        return _Level(name, None, None, text, warn=kept, moment=moment)
    return _warned(_Level(name, kept, None, text, moment=moment), None)


def _warned(level: _Level, margin: timedelta | None) -> _Level:
    assert isinstance(level.condition, Comparison)
    before = WARN_BEFORE if margin is None else margin
    quantity = Quantity(Fraction(before // timedelta(microseconds=1), 10**6), Dimension.DURATION)
    return replace(level, warn=replace(level.condition, quantity=quantity))


def _within(level: _Level, window: timedelta | None) -> _Level:
    """Availability over another window than the usual one: ``availability.7d``."""
    found = level.condition
    if window is None or window == WINDOW or not isinstance(found, Comparison):
        return level
    if found.metric != AVAILABILITY or window < timedelta(minutes=1):
        return level
    whole = Quantity(Fraction(int(window.total_seconds())), Dimension.DURATION)
    shown = render_quantity(whole)
    if not shown.rstrip("dhmin").isdigit():
        shown = f"{int(window.total_seconds() // 60)}min"
    return replace(level, condition=replace(found, metric=f"{AVAILABILITY}.{shown}"))


def _daily(name: str, text: str) -> _Level | None:
    metric = daily_metric(text)
    if metric is None:
        return None
    kept = Comparison(metric, _AT_MOST, Quantity(Fraction(0), Dimension.DURATION))
    return _Level(name, kept, None, text)


def daily_of(condition: Condition | None) -> str | None:
    """The time of the day that a condition demands data by; ``None`` where it says more."""
    if isinstance(condition, Comparison) and condition == Comparison(
        condition.metric, _AT_MOST, Quantity(Fraction(0), Dimension.DURATION)
    ):
        return daily_text(condition.metric)
    return None


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
        kept, own, severity, margin = _odcs_custom(item, default_severity(level.property))
        if level.moment is not None and level.condition is not None:
            level = _warned(level, margin)
        if level.property == "availability":
            level = _within(level, _extended_window(item))
        reason = own.text("not_evaluated") if own else None
        if reason is not None:
            level = _Level(level.property, None, reason, level.text)
        column, schema_object = _column(element), _object(element)
        if isinstance(value, ScalarNode) and (unit is not None or not isinstance(value.value, str)):
            kept["value"] = value.value
        elif (
            level.condition is not None
            and level.moment is None
            and _is_bare(level.text)
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
                elements=_elements(element),
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


def _odcs_custom(
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


def _odcs_level(item: Section, name: str, value: YamlNode | None, unit: str | None) -> _Level:
    canonical = canonical_property(name)
    scalar = value if isinstance(value, ScalarNode) else None
    text = "" if scalar is None else item.reading.expand(scalar, scalar.text).strip()
    shown = f"{text} {unit}" if unit else text
    own = item.reading.catalogue.find(name)
    if canonical not in KNOWN and own is not None and value is not None and not _is_bare(text):
        condition = item.reading.condition(value, default_metric=own.name)
        return _Level(name, condition, None, shown)
    if canonical not in KNOWN:
        near = nearest(name, KNOWN, count=1)
        return _not_evaluated(
            item,
            item.place("property"),
            _Level(canonical, None, f"nothing measures {name!r}", shown),
            "nothing measures it",
            f"did you mean {near[0]!r}?" if near else None,
        )
    if scalar is None or not text:
        return _Level(canonical, None, "it has no value", shown)
    daily = canonical == TIME_OF_AVAILABILITY
    metric, operator = ("", _AT_MOST) if daily else MEASURED[canonical]
    if not _is_bare(text):
        condition = item.reading.condition(scalar, default_metric=metric or None)
        return _Level(canonical, condition, None, shown)
    read: _Level | None
    if canonical in LIFE:
        read, what, hint = _date(canonical, text), "date", "write it like 2032-05-12"
    elif daily:
        read = _daily(canonical, text)
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
            _Level(canonical, Comparison(metric, operator, quantity), None, shown)
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
        item, scalar.location, _Level(canonical, None, reason, shown), reason, hint, name
    )


def _not_evaluated(
    item: Section,
    where: SourceLocation,
    level: _Level,
    reason: str,
    hint: str | None,
    name: str | None = None,
) -> _Level:
    item.findings.warning(
        where,
        "sla-not-evaluated",
        f"the service level {(name or level.property)!r} is reported as not evaluated: {reason}",
        hint,
    )
    return level


def canonical_property(name: str) -> str:
    """The ODCS spelling of a property: ``error_rate`` and ``ErrorRate`` are ``errorRate``."""
    return _SPELLINGS.get(name.replace("_", "").replace("-", "").lower(), name)


def _column(element: str | None) -> str | None:
    # ODCS's element is a path, object.property, or several with commas between: the first counts.
    if not element:
        return None
    return element.partition(",")[0].strip().rpartition(".")[2] or None


def _elements(element: str | None) -> tuple[str, ...]:
    """Every path of an element that names several; empty for one."""
    paths = tuple(part.strip() for part in (element or "").split(",") if part.strip())
    return paths if len(paths) > 1 else ()


def _object(element: str | None) -> str | None:
    if not element:
        return None
    return element.partition(",")[0].strip().rpartition(".")[0] or None
