"""What a finding may say of columns whose values must stay hidden.

Samples hide the values themselves; here go the other ways by which one gets out: an engine's or the
team's words, which may quote it, and an aggregate that is one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from dagster_contracts.core.checks import PlannedRule
from dagster_contracts.core.contract import LibraryMetric
from dagster_contracts.core.rules import Aggregate, Custom, RowExpression, SqlQuery, columns_of
from dagster_contracts.engine.compiler import expression_columns
from dagster_contracts.engine.finding import Finding

_SHOWS_A_VALUE = (
    LibraryMetric.MINIMUM,
    LibraryMetric.MAXIMUM,
    LibraryMetric.QUANTILE,
    # One value among gaps or zeros, or two alike, are told by these.
    LibraryMetric.SUM,
    LibraryMetric.MEAN,
)
_OF_ENGINE = re.compile(r"(.*cannot be read: \w+): .+", re.DOTALL)
_COUNTS = re.compile(r"\s*select\s+count\s*\([^()]*\)(\s+as\s+\w+)?\s+from\b", re.IGNORECASE)


def without_engine_text(reason: str, hidden: Collection[str]) -> str:
    """Why data cannot be read; an engine's own words are left out, where they may quote a value."""
    found = _OF_ENGINE.match(reason) if hidden else None
    return f"{found[1]}; {_withheld('the rest', sorted(hidden))}" if found else reason


@dataclass(frozen=True, slots=True)
class Redaction:
    """The ``hidden`` columns of the data; ``names`` are its columns by their properties."""

    hidden: frozenset[str]
    names: Mapping[str, str]

    def apply(self, rule: PlannedRule, finding: Finding) -> Finding:
        """The finding, without what could show a value of a hidden column."""
        touched = self._touched(rule)
        if not touched:
            return finding
        if finding.quoted is not None:
            # The type of an error stays in the reason; a reason of the code's own goes whole.
            alone = finding.broken is None and finding.unmeasured is None
            finding = replace(finding, quoted=_withheld("the reason", touched) if alone else None)
        if finding.value is not None and _is_telling(rule):
            finding = replace(finding, withheld=_withheld("the value", touched))
        return finding

    def _touched(self, rule: PlannedRule) -> Collection[str]:
        """The hidden columns that a rule reads, or may read where it is code."""
        if not self.hidden:
            return ()
        if isinstance(rule.test, SqlQuery | Custom):
            # The column at which it stands need not be all that it reads.
            return sorted(self.hidden)
        read = {*columns_of(rule.test)}
        for text in (rule.filter, rule.test.text if isinstance(rule.test, RowExpression) else None):
            if text is not None:
                read.update(expression_columns(text, self.names))
        return sorted(self.hidden & read)


def _is_telling(rule: PlannedRule) -> bool:
    """Whether the number may be a value of the data, and is no count."""
    match rule.test:
        case Aggregate(metric):
            return metric in _SHOWS_A_VALUE
        case SqlQuery(query):
            return _COUNTS.match(query) is None
        case _:
            return False


def _withheld(what: str, touched: Collection[str]) -> str:
    return f"{what} is not shown, it may tell values of {', '.join(touched)}"
