"""Conditions and service levels in the words of people who do not know the catalogue of metrics."""

from __future__ import annotations

from dagster_contracts.core.condition import (
    Both,
    Comparison,
    ComparisonOperator,
    Condition,
    Either,
    Negation,
    render_quantity,
)
from dagster_contracts.core.contract import Contract, SlaProperty
from dagster_contracts.core.level_element import why_nowhere
from dagster_contracts.documents.compact_writer import write_duration
from dagster_contracts.documents.sla import daily_of, warn_before

_METRICS = {
    "row_count": "the number of rows",
    "row_count_change": "the change of the number of rows",
    "schema_validation_errors": "the share of rows that break the schema",
    "quality_errors": "the share of rows that break a quality rule",
    "completeness": "the share of values that are there",
    "duplicates": "the share of duplicates",
    "data_freshness": "the age of the newest data",
    "data_latency": "the time from the event to its arrival",
    "real_time_data_latency": "the time from the event to its arrival",
    "materialization_age": "the time since the last materialization",
    "failed_materializations": "the number of failed materializations in a row",
    "source_unavailable": "the time for which the source cannot be read",
    "consumer_reports": "the number of open reports of consumers",
    "availability": "the share of time in which the data was good",
    "throughput": "the number of rows in a time",
    "retention": "the age of the oldest data",
}
_OF_COLUMN = {
    "null_ratio": "the share of missing values of {}",
    "failed_ratio": "the share of rows that break {}",
    "anomaly_score": "the anomaly score of {}",
}
_DATES = {
    "generalAvailability": "generally available from",
    "endOfSupport": "support ends",
    "endOfLife": "life ends",
}
_OPERATORS = {
    ComparisonOperator.LT: "is less than",
    ComparisonOperator.LE: "is at most",
    ComparisonOperator.GT: "is more than",
    ComparisonOperator.GE: "is at least",
    ComparisonOperator.EQ: "is",
    ComparisonOperator.NE: "is not",
}


def in_words(condition: Condition) -> str:
    """``the share of rows that break the schema is more than 5%, 3 checks in a row``."""
    match condition:
        case Comparison():
            amount = render_quantity(condition.quantity)
            words = f"{_metric(condition.metric)} {_OPERATORS[condition.operator]} {amount}"
            hold = condition.hold
            if hold is None:
                return words
            if hold.checks is not None:
                return f"{words}, {hold.checks} checks in a row"
            return f"{words} for {write_duration(hold.duration)}" if hold.duration else words
        case Both(left, right):
            return f"{_grouped(left)}, and {_grouped(right)}"
        case Either(left, right):
            return f"{_grouped(left)}, or {_grouped(right)}"
        case Negation(operand):
            return f"it is not so that {_grouped(operand)}"


def level_in_words(level: SlaProperty, contract: Contract) -> str:
    """What a service level promises: ``support ends 2032-05-12``, ``the data is there by 08:30``.

    Of one that nothing can judge, the text of the document and the reason.
    """
    nowhere = why_nowhere(level, contract)
    if nowhere is None:
        said = date_in_words(level) or (in_words(level.condition) if level.condition else None)
        if said is not None:
            return said
    reason = nowhere or level.not_evaluated or "nothing measures it"
    return f"{level.text or 'declared'} (not evaluated: {reason})"


def date_in_words(level: SlaProperty) -> str | None:
    """A level that is a date, or a time of the day; ``None`` for any other."""
    daily = daily_of(level.condition)
    if daily is not None:
        zone = "" if " " in daily else " UTC"
        return f"the data of the day is there by {daily}{zone}"
    if level.moment is None or level.property not in _DATES:
        return None
    margin = warn_before(level)
    warns = f", and the check warns {write_duration(margin)} before" if margin else ""
    return f"{_DATES[level.property]} {level.text or level.moment.isoformat()}{warns}"


def _metric(name: str) -> str:
    if name in _METRICS:
        return _METRICS[name]
    family, _, member = name.partition(".")
    if family in _OF_COLUMN and member:
        return _OF_COLUMN[family].format(_METRICS.get(member, member))
    return name.replace("_", " ")


def _grouped(condition: Condition) -> str:
    words = in_words(condition)
    return f"({words})" if isinstance(condition, Both | Either) else words
