"""The operator of a quality rule, its numbers and its unit."""

from __future__ import annotations

import re
from fractions import Fraction

from dagster_contracts.core.checks import is_operator
from dagster_contracts.core.contract import (
    Json,
    LibraryMetric,
    RuleKind,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
)
from dagster_contracts.documents.section import Section, describe, exact, snake
from dagster_contracts.documents.yaml_text import MappingNode, ScalarNode, SequenceNode, to_json
from dagster_contracts.errors import SourceLocation

OPERATORS = {snake(operator.value): operator for operator in ThresholdOperator}
_BETWEEN = {ThresholdOperator.MUST_BE_BETWEEN, ThresholdOperator.MUST_NOT_BE_BETWEEN}
_COUNTS_FAILURES = {
    LibraryMetric.NULL_VALUES,
    LibraryMetric.MISSING_VALUES,
    LibraryMetric.INVALID_VALUES,
    LibraryMetric.DUPLICATE_VALUES,
}
_PER_CENT = frozenset({"percent", "%", "percentage"})
_PER_CENT_TEXT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*%")
_ROWS = frozenset({"rows", "row", "count"})


def read_threshold(
    section: Section, metric: LibraryMetric | None, kind: RuleKind, *, required: bool = False
) -> Threshold | None:
    """The threshold that the keys of a rule say; ``None``, and a finding, where they say none."""
    written = [key for key in OPERATORS if section.take(key) is not None]
    unit = _unit(section)
    if len(written) > 1:
        names = " and ".join(repr(OPERATORS[key].value) for key in written)
        _complain(
            section,
            section.place(written[1]),
            f"a quality rule has exactly one operator, and this one has {names}",
            "write mustBeBetween: [low, high], or two rules",
        )
        return None
    if not written:
        if _has_unknown_operator(section):
            # It says when it fails, in a word that nobody knows: no other limit may take its place.
            return None
        if kind is RuleKind.EXPRESSION or metric in _COUNTS_FAILURES:
            return None if required else Threshold(ThresholdOperator.MUST_BE, (Fraction(0),), unit)
        if kind in (RuleKind.LIBRARY, RuleKind.SQL) or required:
            more = "must_be_greater_than" if section.reading.strict else "mustBeGreaterThan"
            _complain(
                section,
                section.location,
                "the rule has no operator: nothing says when it fails",
                f"add one, such as {more}: 0",
            )
        return None
    operator = OPERATORS[written[0]]
    node = section.take(written[0])
    nodes = node.items if isinstance(node, SequenceNode) else [node]
    values: list[Fraction] = []
    for item in nodes:
        if isinstance(item, ScalarNode) and isinstance(item.value, bool):
            values.append(Fraction(int(item.value)))
        elif isinstance(item, ScalarNode) and isinstance(item.value, int | float):
            values.append(exact(item))
        elif isinstance(item, ScalarNode) and (per_cent := _PER_CENT_TEXT.fullmatch(item.text)):
            number = per_cent[1]
            _complain(
                section,
                item.location,
                f"{operator.value} compares with a plain number, not with {item.text!r}",
                f"write {written[0]}: {number} and unit: percent",
            )
            return None
        elif item is not None:
            section.findings.warning(
                item.location,
                "not-evaluated",
                f"{operator.value} compares with {describe(item)}, and only numbers are compared",
                "this rule will be reported as not evaluated",
            )
            return None
    wanted = 2 if operator in _BETWEEN else 1
    if len(values) != wanted:
        _complain(
            section,
            section.place(written[0]),
            f"{operator.value} takes {wanted} number{'s' if wanted > 1 else ''}, "
            f"and here {'is' if len(values) == 1 else 'are'} {len(values)}",
            f"{operator.value}: [low, high]" if wanted > 1 else None,
        )
        return None
    if wanted == 2 and values[0] > values[1]:
        section.findings.error(
            section.place(written[0]),
            "wrong-value",
            f"the range of {operator.value} is empty: {values[0]} is more than {values[1]}",
            "swap the two",
        )
    return Threshold(operator, tuple(values), unit)


def _has_unknown_operator(section: Section) -> bool:
    """Whether the rule, or what it carries along, has an operator that is none of ours."""
    carried = section.node.entries.get("extras")
    keys = list(carried.entries) if isinstance(carried, MappingNode) else []
    if not section.reading.strict:
        keys += section.node.entries
    return any(is_operator(key) and snake(key) not in OPERATORS for key in keys)


def _complain(section: Section, where: SourceLocation, message: str, hint: str | None) -> None:
    """An error; in ODCS, where 3.0 allowed it, a warning unless the validation has already said it.

    Such a rule is reported as not evaluated.
    """
    said = (p.location for p in section.findings if p.code == "odcs-older")
    if section.reading.strict or not any(place in (where, section.location) for place in said):
        section.reading.complain(where, "operators", message, hint)


def unread_threshold(section: Section, threshold: Threshold | None) -> dict[str, Json]:
    """The operator and the unit in the document's words, where the threshold does not hold them."""
    kept: dict[str, Json] = {}
    for key, operator in OPERATORS.items():
        node = section.take(key)
        if node is not None and threshold is None:
            kept[operator.value] = to_json(node)
    unit = section.take("unit")
    if unit is not None and (
        threshold is None or to_json(unit) not in (threshold.unit.value, *_unit_words(threshold))
    ):
        kept["unit"] = to_json(unit)
    return kept


def _unit_words(threshold: Threshold) -> frozenset[str]:
    return _PER_CENT if threshold.unit is ThresholdUnit.PERCENT else _ROWS


def _unit(section: Section) -> ThresholdUnit:
    node = section.take("unit")
    if node is None:
        rule = section.node.entries.get("rule")  # not asked for: `warn` has none
        # ODCS 3.0 said it in the name of the rule: nullPercent, duplicatePercent.
        of_rows = not (isinstance(rule, ScalarNode) and rule.text.lower().endswith("percent"))
        return ThresholdUnit.ROWS if of_rows else ThresholdUnit.PERCENT
    text = node.text.lower() if isinstance(node, ScalarNode) else ""
    if text in _PER_CENT:
        return ThresholdUnit.PERCENT
    if text not in _ROWS:
        section.findings.warning(
            node.location,
            "unknown-value",
            f"a quality rule counts in rows or percent, not in {text!r}; rows are taken",
            "write unit: rows or unit: percent",
        )
    return ThresholdUnit.ROWS
