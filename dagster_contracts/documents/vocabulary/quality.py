"""The keys of a quality rule, and of what stands inside one."""

from __future__ import annotations

from typing import Final

from dagster_contracts.core.contract import (
    Json,
    LibraryMetric,
    RuleKind,
    Severity,
    ThresholdOperator,
)
from dagster_contracts.documents.vocabulary.key import (
    ANYTHING,
    EXTRAS,
    NUMBER,
    SCALARS,
    SPELLING,
    TEXT,
    TEXTS,
    Key,
    Kind,
    Table,
    choice,
    section,
)

_BETWEEN = {ThresholdOperator.MUST_BE_BETWEEN, ThresholdOperator.MUST_NOT_BE_BETWEEN}
_MEANINGS = {
    ThresholdOperator.MUST_BE: "The measured value must be exactly this.",
    ThresholdOperator.MUST_NOT_BE: "The measured value must not be this.",
    ThresholdOperator.MUST_BE_GREATER_THAN: "The measured value must be more than this.",
    ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO: "The measured value must be at least this.",
    ThresholdOperator.MUST_BE_LESS_THAN: "The measured value must be less than this.",
    ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO: "The measured value must be at most this.",
    ThresholdOperator.MUST_BE_BETWEEN: "The measured value must lie between these two, inclusive.",
    ThresholdOperator.MUST_NOT_BE_BETWEEN: "The measured value must not lie between these two, "
    "inclusive.",
}

_COMPARED = Kind("a number", {})
_PAIR = Kind(
    "two numbers",
    {"type": "array", "minItems": 2, "maxItems": 2},
)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


_METRICS: list[Json] = [metric.value for metric in LibraryMetric]
_METRIC = Kind(
    ", ".join(f"`{metric}`" for metric in _METRICS),
    {
        "anyOf": [
            {"type": "string", "enum": _METRICS},
            # ODCS 3.0's own names, and snake case: accepted, not offered.
            {"type": "string", "pattern": "^[a-z]+(_[a-z]+)*$|(Count|Percent|Check|Values)$"},
        ]
    },
)
_SEVERITY = Kind(
    ", ".join(f"`{severity}`" for severity in Severity),
    {"anyOf": [{"type": "string", "enum": [s.value for s in Severity]}, {"type": "string"}]},
)
_UNIT = Kind(
    "`rows` or `percent`",
    {"anyOf": [{"type": "string", "enum": ["rows", "percent"]}, {"type": "string"}]},
)

OPERATORS: Final = tuple(
    Key(
        _snake(operator.value),
        _PAIR if operator in _BETWEEN else _COMPARED,
        _MEANINGS[operator],
    )
    for operator in ThresholdOperator
)
_UNIT_KEY = Key("unit", _UNIT, "What the rule counts in.", "rows")

WARN: Final = Table(
    "warn",
    "A lower level, at which the check warns: one operator, as in the rule itself.",
    (*OPERATORS, _UNIT_KEY),
)

_ARGUMENTS = (
    Key("valid_values", SCALARS, "`invalidValues` counts every value that is none of these."),
    Key(
        "missing_values",
        Kind("a list of values", {"type": "array"}),
        "`missingValues` counts these as missing, beside null.",
    ),
    Key("pattern", TEXT, "`invalidValues` counts every text in which this is not found."),
    Key("columns", TEXTS, "The columns that together must be unique, for `duplicateValues`."),
    Key("quantile", NUMBER, "Which quantile is measured: 0.95 is the 95th percentile."),
)

ARGUMENTS: Final = Table(
    "arguments",
    "What a library metric is told, as ODCS writes it; the rule itself may hold the same keys.",
    _ARGUMENTS,
    aliases={"properties": "columns"},
)

RULE: Final = Table(
    "quality",
    "A quality rule; it becomes a check of its own. It has at most one `must_...` operator; a rule "
    "that counts failures allows none where it has none.",
    (
        Key("name", TEXT, "The name of the rule and of its check, from letters, digits and `_`."),
        Key(
            "type",
            choice(RuleKind),
            "How the rule is measured; told from its other keys where it is left out.",
        ),
        Key("column", TEXT, "The column that the rule speaks of; the whole table without one."),
        Key("metric", _METRIC, "What a library rule measures."),
        *OPERATORS,
        _UNIT_KEY,
        Key("warn", section("warn"), "A lower level, at which the check warns."),
        *_ARGUMENTS,
        Key("arguments", section("arguments"), "The same, as ODCS writes them."),
        Key("filter", TEXT, "Only rows for which this expression holds are looked at."),
        Key(
            "expression",
            TEXT,
            "What must hold in each row, such as `ended_at >= started_at`.",
        ),
        Key("query", TEXT, "An SQL query that gives one number; `${object}` is the table."),
        Key("engine", TEXT, "Who evaluates a custom rule: `pandera`, or an engine of yours."),
        Key("implementation", ANYTHING, "What that engine runs."),
        Key(
            "severity",
            _SEVERITY,
            "How much a failure weighs: only an `error` fails a report or refuses a batch, "
            "the others warn.",
            "error",
        ),
        Key("dimension", TEXT, "The dimension of quality, such as `completeness`, for people."),
        Key("description", TEXT, "What the rule is for, for people."),
        Key("id", SPELLING, "A name that stays the same when the rule changes."),
        EXTRAS,
    ),
    aliases={"rule": "metric", "sql": "query", "properties": "columns"},
)

FIELD_RULE: Final = RULE.without(
    "column", name="field_quality", about="A quality rule about the column that it stands in."
)

TABLES: Final = (RULE, FIELD_RULE, WARN, ARGUMENTS)
