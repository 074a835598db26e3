"""Quality rules as ODCS writes them; the compact form may write the same keys in snake case."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction

from dagster_contracts.core.contract import (
    Json,
    LibraryMetric,
    QualityRule,
    RuleKind,
    Scalar,
    Severity,
    ThresholdOperator,
    ThresholdUnit,
)
from dagster_contracts.core.expression import ExpressionSyntaxError, parse_expression
from dagster_contracts.documents.problem import did_you_mean
from dagster_contracts.documents.section import Section, snake
from dagster_contracts.documents.threshold import OPERATORS, read_threshold, unread_threshold
from dagster_contracts.documents.vocabulary import quality as words
from dagster_contracts.documents.vocabulary.key import OWN_PROPERTY
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    to_json,
)
from dagster_contracts.errors import ConditionSyntaxError

_SEVERITIES = {
    "error": Severity.ERROR,
    "critical": Severity.ERROR,
    "blocker": Severity.ERROR,
    "fatal": Severity.ERROR,
    "high": Severity.ERROR,
    "major": Severity.ERROR,
    "warning": Severity.WARNING,
    "warn": Severity.WARNING,
    "medium": Severity.WARNING,
    "minor": Severity.WARNING,
    "info": Severity.INFO,
    "information": Severity.INFO,
    "low": Severity.INFO,
    "trivial": Severity.INFO,
}
#: What ODCS 3.0 called its library metrics (key ``rule``).
_OLD_METRICS = {
    "duplicateCount": "duplicateValues",
    "duplicatePercent": "duplicateValues",
    "duplicates": "duplicateValues",
    "uniqueCheck": "duplicateValues",
    "nullCheck": "nullValues",
    "nullCount": "nullValues",
    "nullPercent": "nullValues",
    "validValues": "invalidValues",
    "invalidCount": "invalidValues",
    "countCheck": "rowCount",
}
#: The engine under which rules that ODCS has no words for are written as custom ones.
OWN_ENGINE = "dagster_contracts"
#: The library metrics of ODCS itself; the others are ours.
STANDARD_METRICS = frozenset(
    {
        LibraryMetric.NULL_VALUES,
        LibraryMetric.MISSING_VALUES,
        LibraryMetric.INVALID_VALUES,
        LibraryMetric.DUPLICATE_VALUES,
        LibraryMetric.ROW_COUNT,
    }
)
_EXPRESSION_HINT = "write it like amount > 0 or country in ('DE', 'FR')"
#: Our own names among the custom properties of a rule.
_RULE_EXTENSIONS = ("column", "warn", "filter")
_SYNONYMS = {
    "max": "must_be_less_or_equal_to",
    "min": "must_be_greater_or_equal_to",
    "threshold": "an operator such as must_be_less_than",
    "must_be_less_than_or_equal_to": "must_be_less_or_equal_to",
    "must_be_greater_than_or_equal_to": "must_be_greater_or_equal_to",
    "must_be_at_least": "must_be_greater_or_equal_to",
    "must_be_at_most": "must_be_less_or_equal_to",
}


#: Operators of ODCS in the spellings of those who write them by heart, without case.
_SPELLINGS = {operator.value.lower(): operator for operator in ThresholdOperator} | {
    "mustbegreaterthanorequalto": ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO,
    "mustbegreaterthanorequal": ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO,
    "mustbegreaterorequal": ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO,
    "mustbeatleast": ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO,
    "mustbelessthanorequalto": ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO,
    "mustbelessthanorequal": ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO,
    "mustbelessorequal": ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO,
    "mustbeatmost": ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO,
    "mustbeequalto": ThresholdOperator.MUST_BE,
    "mustequal": ThresholdOperator.MUST_BE,
    "mustnotbeequalto": ThresholdOperator.MUST_NOT_BE,
}


def metric_of_3_0(rule: str) -> str | None:
    """The library metric that a ``rule`` of ODCS 3.0 is called today."""
    known = _OLD_METRICS.get(rule, rule)
    return known if known in {metric.value for metric in LibraryMetric} else None


def read_rule(section: Section, *, column: str | None, strict: bool) -> QualityRule | None:
    """One rule; its name may still be empty (:func:`name_rules` gives it one).

    ``strict`` (the compact form) makes unknown keys errors; ODCS was validated before, and keeps
    what is not understood in ``extras``.
    """
    section.what = "a quality rule"
    if not strict:
        section = _unwrapped(section)
    column_is_free = column is None
    kind = _kind(section)
    name = section.text("name") or ""
    metric = _metric(section, kind)
    threshold = read_threshold(section, metric, kind)
    warn_section = section.section("warn")
    warn = None
    if warn_section is not None:
        warn_section.what = "'warn'"
        warn = read_threshold(warn_section, metric, kind, required=True)
        warn_section.finish(words.WARN)
    unread = unread_threshold(section, threshold)
    unread |= {
        key: to_json(node)
        for key in ("metric", "rule")
        if (node := section.take(key)) is not None
        and (metric is None or to_json(node) != metric.value or "rule" in section)
    }
    arguments = section.section("arguments")
    valid, missing, pattern, columns, quantile, kept = _arguments(section, arguments)
    severity, severity_text = _severity(section)
    if column is None:
        column = section.text("column")
    query, sql = section.text("query"), section.text("sql")
    implementation = section.take("implementation")
    rule = QualityRule(
        name=name,
        kind=kind,
        column=column,
        metric=metric,
        threshold=threshold,
        warn=warn,
        valid_values=valid,
        missing_values=missing,
        pattern=pattern,
        columns=columns,
        quantile=quantile,
        filter=section.text("filter") or None,
        query=query or sql,
        expression=section.text("expression"),
        engine=section.text("engine"),
        implementation=None if implementation is None else to_json(implementation),
        severity=severity,
        dimension=section.text("dimension"),
        description=section.text("description"),
        id=section.spelling("id"),
        location=section.location,
    )
    extras: dict[str, Json] = {**kept, **unread}
    if severity_text is not None:
        extras["severity"] = severity_text
    if strict:
        extras.update(section.mapping("extras"))
        section.finish(words.RULE if column_is_free else words.FIELD_RULE, synonyms=_SYNONYMS)
    else:
        ours = section.mapping("extras")
        extras.update({**section.rest(), **ours})
    _check(section, rule)
    for key in ("expression", "filter"):
        _check_expression(section, key, rule)
    return replace(rule, extras=extras) if extras else rule


def mend_rule(node: YamlNode) -> str | None:
    """How to write as a rule what stands where one should, bare: ``amount > 0``."""
    if not isinstance(node, ScalarNode):
        return None
    text = node.text.strip()
    if re.match(r"row_?count\b", text, re.IGNORECASE):
        return "write it like - {metric: rowCount, must_be_greater_than: 0}"
    try:
        parse_expression(text)
    except ExpressionSyntaxError:
        return "write it like - {expression: amount > 0}"
    return f"write - {{expression: {json.dumps(text, ensure_ascii=False)}}}"


def _unwrapped(section: Section) -> Section:
    """An ODCS rule with our own words where the compact form has them.

    Those are the custom properties ``column``, ``warn`` and ``filter``, and the rule that a custom
    one of our own engine holds in its implementation.
    """
    node = section.node
    found = MappingNode(node.path, node.line, node.column)
    found.entries, found.keys = dict(node.entries), dict(node.keys)
    for key, value in node.entries.items():
        # ODCS 3.0 allows any key here: an operator that is nearly one is meant as one.
        meant = _SPELLINGS.get(key.replace("_", "").lower())
        if meant is not None and meant.value not in found.entries and snake(key) not in OPERATORS:
            del found.entries[key]
            found.entries[meant.value] = value
            found.keys[meant.value] = found.keys.get(key, (node.line, node.column))
    engine, body = node.entries.get("engine"), node.entries.get("implementation")
    if (
        isinstance(engine, ScalarNode)
        and engine.text == OWN_ENGINE
        and isinstance(body, MappingNode)
    ):
        for key in ("type", "engine", "implementation"):
            found.entries.pop(key, None)
        found.entries.update(body.entries)
        found.keys.update(body.keys)
    custom = node.entries.get("customProperties")
    if isinstance(custom, SequenceNode):
        others: list[YamlNode] = []
        for item in custom.items:
            word = item.entries.get("property") if isinstance(item, MappingNode) else None
            ours = isinstance(word, ScalarNode) and word.text in _RULE_EXTENSIONS
            if (
                isinstance(item, MappingNode)
                and isinstance(word, ScalarNode)
                and ours
                and "value" in item.entries
            ):
                found.entries[word.text] = item.entries["value"]
                found.keys[word.text] = (word.line, word.column)
            elif isinstance(item, MappingNode) and is_own(item):
                # What the standard has no place for: an id or a dimension of other words, extras.
                value = item.entries["value"]
                found.entries.update(value.entries if isinstance(value, MappingNode) else {})
            else:
                others.append(item)
        if others:
            found.entries["customProperties"] = SequenceNode(
                node.path, custom.line, custom.column, others
            )
        else:
            del found.entries["customProperties"]
    changed = found.entries != node.entries
    return Section(found, section.reading, section.what) if changed else section


def is_own(item: MappingNode) -> bool:
    """Whether a custom property is the one that carries what the standard has no place for."""
    word = item.entries.get("property")
    return (
        isinstance(word, ScalarNode)
        and word.text == OWN_PROPERTY
        and isinstance(item.entries.get("value"), MappingNode)
    )


def _kind(section: Section) -> RuleKind:
    if "type" in section:
        return section.choice("type", RuleKind, RuleKind.LIBRARY)
    section.take("type")
    if "metric" in section or "rule" in section:
        return RuleKind.LIBRARY
    if "query" in section or "sql" in section:
        return RuleKind.SQL
    if "expression" in section:
        return RuleKind.EXPRESSION
    if "engine" in section or "implementation" in section:
        return RuleKind.CUSTOM
    return RuleKind.TEXT


def _metric(section: Section, kind: RuleKind) -> LibraryMetric | None:
    metric_node, rule_node = section.take("metric"), section.take("rule")
    if kind is not RuleKind.LIBRARY:
        return None
    node = metric_node if "metric" in section else rule_node
    if not isinstance(node, ScalarNode):
        section.missing("metric", "known: " + ", ".join(metric.value for metric in LibraryMetric))
        return None
    for metric in LibraryMetric:
        if metric.value in (node.text, _OLD_METRICS.get(node.text)):
            return metric
        if node.text == snake(metric.value):
            return metric
    # ODCS 3.0 leaves the word open: there the rule is kept, and reported as not evaluated.
    section.reading.complain(
        node.location,
        "unknown-value",
        f"there is no library metric {node.text!r}",
        did_you_mean(node.text, [metric.value for metric in LibraryMetric]),
    )
    return None


def _arguments(
    section: Section, arguments: Section | None
) -> tuple[
    tuple[Scalar, ...],
    tuple[Scalar | None, ...],
    str | None,
    tuple[str, ...],
    Fraction | None,
    dict[str, Json],
]:
    """What a library metric is told, from ``arguments`` or from the rule itself."""
    valid: list[Scalar] = []
    missing: list[Scalar | None] = []
    pattern: str | None = None
    columns: tuple[str, ...] = ()
    quantile: Fraction | None = None
    exactly_kept = True
    for source in (section, arguments):
        if source is None:
            continue
        for node in _values(source, "valid_values"):
            if isinstance(node, ScalarNode) and node.value is not None:
                valid.append(node.value)
            else:
                # Null passes every rule but `required`: it needs no place among the valid values.
                exactly_kept = False
        missing += [n.value for n in _values(source, "missing_values") if isinstance(n, ScalarNode)]
        pattern = source.text("pattern") or pattern
        named, properties = source.texts("columns"), source.texts("properties")
        columns = named or properties or columns
        quantile = source.number("quantile") or quantile
    kept: dict[str, Json] = {}
    if arguments is not None:
        arguments.agree(words.ARGUMENTS)
    if arguments is not None and (arguments.rest() or not exactly_kept):
        kept["arguments"] = to_json(arguments.node)
    return tuple(valid), tuple(missing), pattern, columns, quantile, kept


def _values(source: Section, key: str) -> list[YamlNode]:
    """The items of a list; in ODCS, where arguments are free, one value may stand without it."""
    node = source.take(key)
    if isinstance(node, ScalarNode) and not source.reading.strict:
        return [node]
    return source.items(key)


def _severity(section: Section) -> tuple[Severity, str | None]:
    """The severity, and its text where it was another word than ours."""
    node = section.take("severity")
    if node is None:
        return Severity.ERROR, None
    text = node.text if isinstance(node, ScalarNode) else ""
    found = _SEVERITIES.get(text.lower())
    if found is None:
        section.findings.warning(
            node.location,
            "unknown-value",
            f"the severity {text!r} is taken as an error",
            did_you_mean(text, [severity.value for severity in Severity]),
        )
    severity = found or Severity.ERROR
    return severity, text if text != severity.value else None


def _check(section: Section, rule: QualityRule) -> None:
    needed = {
        RuleKind.SQL: ("query", rule.query),
        RuleKind.EXPRESSION: ("expression", rule.expression),
        RuleKind.CUSTOM: ("engine", rule.engine),
    }.get(rule.kind)
    if needed is not None and not needed[1]:
        section.missing(needed[0])
    if rule.metric is LibraryMetric.INVALID_VALUES and not (
        rule.valid_values or rule.pattern or "arguments" in section
    ):
        section.findings.warning(
            section.location,
            "rule-without-arguments",
            "invalidValues has neither validValues nor a pattern: nothing says what is valid",
            "add arguments: {validValues: [...]}",
        )
    in_percent = rule.threshold is not None and rule.threshold.unit is ThresholdUnit.PERCENT
    if rule.metric is LibraryMetric.ROW_COUNT and in_percent:
        section.findings.warning(
            section.place("unit"), "wrong-value", "a row count has no percentage"
        )


def _check_expression(section: Section, key: str, rule: QualityRule) -> None:
    """An expression that cannot be read would be told with each batch, and mended with none."""
    text, node = (rule.expression if key == "expression" else rule.filter), section.take(key)
    if not text or node is None or rule.kind not in (RuleKind.LIBRARY, RuleKind.EXPRESSION):
        return
    if "${env:" in text:
        return  # a reference that is kept, to be written out again
    try:
        parse_expression(text)
    except ExpressionSyntaxError as error:
        what, hint = f"the {key} of the rule cannot be read: {error.what}", _EXPRESSION_HINT
        if section.reading.strict:
            raised = ConditionSyntaxError(what, text=text, offset=error.offset, hint=hint)
            section.findings.raised(raised, node.location, "expression")
        else:
            section.findings.warning(
                node.location,
                "expression",
                f"{what} in column {error.offset + 1} of {text!r}",
                hint,
            )
