"""What changed in the quality rules: which rule is which, and whose threshold became stricter."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.acceptance import (
    Direction,
    Span,
    clip,
    compare,
    contains,
    whole_numbers,
)
from dagster_contracts.core.compatibility.differences import (
    ChangeList,
    show,
)
from dagster_contracts.core.compatibility.query_text import normal_sql, without_layout
from dagster_contracts.core.compatibility.sameness import exact, same_options, same_rule
from dagster_contracts.core.compatibility.values import options_direction
from dagster_contracts.core.contract import (
    LibraryMetric,
    QualityRule,
    RuleKind,
    Severity,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
    TypeOptions,
)

COUNTED = frozenset(
    {
        LibraryMetric.NULL_VALUES,
        LibraryMetric.MISSING_VALUES,
        LibraryMetric.INVALID_VALUES,
        LibraryMetric.DUPLICATE_VALUES,
        LibraryMetric.ROW_COUNT,
        LibraryMetric.DISTINCT_COUNT,
    }
)
_SEVERITIES = list(Severity)


def diff_quality(
    changes: ChangeList,
    old: Sequence[QualityRule],
    new: Sequence[QualityRule],
    path: str,
    renamed: Mapping[str, str],
) -> None:
    """Add the changes between the quality rules of one object or property.

    ``renamed`` maps columns of the old version to their names in the new one, so that a rule
    follows its column.
    """
    followed = [_follow(rule, renamed) for rule in old]
    pairs, removed, added = match_rules(followed, new)
    for rule in removed:
        advisory = _is_advisory(rule)
        what = f"{path}: the rule {_title(rule)} was removed"
        changes.demand(
            f"{path}.{rule.name}", "quality", Direction.LOOSENED, what, advisory=advisory
        )
        _retell(changes, Motion.REMOVED)
    for rule in added:
        advisory = _is_advisory(rule)
        what = f"{path}: the rule {_title(rule)} was added"
        changes.demand(
            f"{path}.{rule.name}", "quality", Direction.TIGHTENED, what, advisory=advisory
        )
        _retell(changes, Motion.ADDED)
    for before, after in pairs:
        if not same_rule(before, after):
            seen = len(changes.items)
            _rule(changes, before, after, f"{path}.{after.name}")
            if len(changes.items) == seen:  # such as 0 rows and 0 %, which accept the same
                what = f"{path}.{after.name} is spelled otherwise and means the same"
                changes.add(f"{path}.{after.name}", "spelling", Motion.CHANGED, what)
    old_place = {id(rule): index for index, rule in enumerate(followed)}
    new_place = {id(rule): index for index, rule in enumerate(new)}
    pairs.sort(key=lambda pair: old_place[id(pair[0])])
    order = [new_place[id(after)] for _, after in pairs]
    if order != sorted(order):
        changes.add(path, "order", Motion.CHANGED, f"the rules of {path} stand in another order")


def _retell(changes: ChangeList, motion: Motion) -> None:
    # A rule that came or went is a demand tightened or loosened, and is named by what happened.
    last = changes.items[-1]
    changes.items[-1] = replace(last, kind=f"quality_{motion.value}", motion=motion)


def match_rules(
    old: Sequence[QualityRule], new: Sequence[QualityRule]
) -> tuple[list[tuple[QualityRule, QualityRule]], list[QualityRule], list[QualityRule]]:
    """Pair rules by id, else by meaning (closest first), else by name; the rest came or went."""
    before, after = list(old), list(new)
    pairs: list[tuple[QualityRule, QualityRule]] = []

    def take(key: Callable[[QualityRule], Hashable]) -> None:
        found: dict[Hashable, list[QualityRule]] = {}
        for rule in after:
            found.setdefault(key(rule), []).append(rule)
        left = []
        for rule in before:
            name = key(rule)
            partners = found.get(name) if name is not None else None
            if partners:
                pairs.append((rule, partners.pop(0)))
            else:
                left.append(rule)
        taken = {id(rule) for _, rule in pairs}
        before[:] = left
        after[:] = [rule for rule in after if id(rule) not in taken]

    take(lambda rule: rule.id)
    take(lambda rule: (rule.name, meaning(rule)))
    take(lambda rule: (meaning(rule), rule.threshold))
    take(meaning)
    take(lambda rule: (rule.name, rule.column))
    return pairs, before, after


def _follow(rule: QualityRule, renamed: Mapping[str, str]) -> QualityRule:
    if not renamed:
        return rule
    column = renamed.get(rule.column, rule.column) if rule.column else rule.column
    columns = tuple(renamed.get(name, name) for name in rule.columns)
    if (column, columns) == (rule.column, rule.columns):
        return rule
    return replace(rule, column=column, columns=columns)


def meaning(rule: QualityRule) -> Hashable:
    """What a rule measures: everything but its name, its thresholds and its documentation."""
    return (
        rule.kind,
        rule.column,
        rule.metric,
        rule.columns,
        rule.quantile,
        rule.filter,
        normal_sql(rule.query),
        without_layout(rule.expression),
        rule.engine,
        repr(rule.implementation),
        rule.description if rule.kind is RuleKind.TEXT else None,
    )


def _is_advisory(rule: QualityRule) -> bool:
    """Whether a failure of the rule refuses nothing."""
    return rule.kind is RuleKind.TEXT or rule.severity is not Severity.ERROR


def _rule(changes: ChangeList, old: QualityRule, new: QualityRule, path: str) -> None:
    advisory = _is_advisory(old) and _is_advisory(new)
    changes.note(path, "rule_name", old.name, new.name, f"{path}: the name of the rule")
    if meaning(old) != meaning(new):
        what = f"{path}: what the rule {_title(new)} measures is not what it was"
        changes.demand(path, "rule", Direction.CHANGED, what, advisory=advisory)
    else:
        _arguments(changes, old, new, path, advisory=advisory)
        changes.demand(
            path,
            "threshold",
            compare_thresholds(old, new),
            f"{path}: accepted was {describe(old.threshold)}, now it is {describe(new.threshold)}",
            advisory=advisory,
        )
    if old.warn != new.warn:
        warned, warns = replace(old, threshold=old.warn), replace(new, threshold=new.warn)
        changes.demand(
            path,
            "warn_threshold",
            compare_thresholds(warned, warns),
            f"{path}: no warning was given at {describe(old.warn)}, now at {describe(new.warn)}",
            advisory=True,
        )
    _severity(changes, old, new, path)
    changes.note(path, "dimension", old.dimension, new.dimension, f"{path}: the quality dimension")
    if old.kind is not RuleKind.TEXT:
        changes.note(path, "description", old.description, new.description, f"{path}: description")
    changes.note(path, "id", old.id, new.id, f"{path}: id")
    changes.settings(path, old.extras, new.extras)
    if meaning(old) == meaning(new):
        changes.note(path, "layout", old.query, new.query, f"{path}: the layout of its query")
        what = f"{path}: the layout of its expression"
        changes.note(path, "layout", old.expression, new.expression, what)


def _severity(changes: ChangeList, old: QualityRule, new: QualityRule, path: str) -> None:
    rank = _SEVERITIES.index(new.severity) - _SEVERITIES.index(old.severity)
    if not rank:
        return
    refuses = Severity.ERROR in (old.severity, new.severity) and old.kind is not RuleKind.TEXT
    way = Direction.TIGHTENED if rank > 0 else Direction.LOOSENED
    what = f"{path}: a failure was {_weight(old.severity)}, now it is {_weight(new.severity)}"
    changes.demand(path, "severity", way, what, advisory=not refuses)


def _weight(severity: Severity) -> str:
    return {Severity.ERROR: "an error", Severity.WARNING: "a warning", Severity.INFO: "a remark"}[
        severity
    ]


def _arguments(
    changes: ChangeList, old: QualityRule, new: QualityRule, path: str, *, advisory: bool
) -> None:
    """Arguments that say which values are bad."""
    before, after = frozenset(map(exact, old.valid_values)), frozenset(map(exact, new.valid_values))
    if before != after:
        way = Direction.CHANGED
        if not before or (after and after < before):
            way = Direction.TIGHTENED
        elif not after or before < after:
            way = Direction.LOOSENED
        was, now = show(old.valid_values), show(new.valid_values)
        what = f"{path}: valid values were {was}, now they are {now}"
        changes.demand(path, "valid_values", way, what, advisory=advisory)
    missing = frozenset(map(exact, old.missing_values))
    missed = frozenset(map(exact, new.missing_values))
    if missing != missed:
        way = Direction.CHANGED
        if missing < missed:
            way = Direction.TIGHTENED
        elif missed < missing:
            way = Direction.LOOSENED
        what = (
            f"{path}: counted as missing were {show(old.missing_values)}, "
            f"now {show(new.missing_values)}"
        )
        changes.demand(path, "missing_values", way, what, advisory=advisory)
    for aspect, left, right in (
        ("pattern", old.pattern, new.pattern),
        ("options", old.options, new.options),
    ):
        different = left != right
        if isinstance(left, TypeOptions) and isinstance(right, TypeOptions):
            different = not same_options(left, right)
        if different:
            way = Direction.CHANGED
            if left is None:
                way = Direction.TIGHTENED
            elif right is None:
                way = Direction.LOOSENED
            elif isinstance(left, TypeOptions) and isinstance(right, TypeOptions):
                way = options_direction(left, right)
            what = f"{path}: the {aspect} that values must fit changed"
            changes.demand(path, f"rule_{aspect}", way, what, advisory=advisory)


# --- thresholds -----------------------------------------------------------------------------------


def acceptance(rule: QualityRule, threshold: Threshold) -> tuple[Span, ...]:
    """The values that a threshold accepts, among those that the rule can measure."""
    spans = _spans(threshold)
    if threshold.unit is ThresholdUnit.PERCENT:
        return clip(spans, Fraction(0), Fraction(100))
    if rule.metric in COUNTED:
        return whole_numbers(clip(spans, Fraction(0), None))
    return spans


def _spans(threshold: Threshold) -> tuple[Span, ...]:
    first, last = threshold.values[0], threshold.values[-1]
    match threshold.operator:
        case ThresholdOperator.MUST_BE:
            return (Span(first, first),)
        case ThresholdOperator.MUST_NOT_BE:
            return (Span(None, first, high_open=True), Span(first, None, low_open=True))
        case ThresholdOperator.MUST_BE_GREATER_THAN:
            return (Span(first, None, low_open=True),)
        case ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO:
            return (Span(first, None),)
        case ThresholdOperator.MUST_BE_LESS_THAN:
            return (Span(None, first, high_open=True),)
        case ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO:
            return (Span(None, first),)
        case ThresholdOperator.MUST_BE_BETWEEN:
            return (Span(first, last),)
        case ThresholdOperator.MUST_NOT_BE_BETWEEN:
            return (Span(None, first, high_open=True), Span(last, None, low_open=True))


def compare_thresholds(old: QualityRule, new: QualityRule) -> Direction:
    """Whether the new threshold accepts fewer values than the old one.

    Counts and percentages of an unknown number of rows meet only at none and at all: ``0`` rows
    and ``0 %`` are the same, and any other pair of units cannot be compared.
    """
    if old.threshold == new.threshold:
        return Direction.SAME
    if old.threshold is None:
        return Direction.TIGHTENED
    if new.threshold is None:
        return Direction.LOOSENED
    before, after = acceptance(old, old.threshold), acceptance(new, new.threshold)
    if old.threshold.unit is new.threshold.unit:
        return compare(before, after)
    zero = (Span(Fraction(0), Fraction(0)),)
    none_before, none_after = contains(zero, before), contains(zero, after)
    if none_before and none_after:
        return Direction.SAME
    if none_before and contains(after, zero):
        return Direction.LOOSENED
    if none_after and contains(before, zero):
        return Direction.TIGHTENED
    return Direction.CHANGED


def describe(threshold: Threshold | None) -> str:
    """A threshold in words: ``at most 5 %``."""
    if threshold is None:
        return "anything"
    unit = " %" if threshold.unit is ThresholdUnit.PERCENT else ""
    low, high = show(threshold.values[0]) + unit, show(threshold.values[-1]) + unit
    match threshold.operator:
        case ThresholdOperator.MUST_BE:
            return f"exactly {low}"
        case ThresholdOperator.MUST_NOT_BE:
            return f"anything but {low}"
        case ThresholdOperator.MUST_BE_GREATER_THAN:
            return f"more than {low}"
        case ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO:
            return f"at least {low}"
        case ThresholdOperator.MUST_BE_LESS_THAN:
            return f"less than {low}"
        case ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO:
            return f"at most {low}"
        case ThresholdOperator.MUST_BE_BETWEEN:
            return f"{low} to {high}"
        case ThresholdOperator.MUST_NOT_BE_BETWEEN:
            return f"below {low} or above {high}"


def _title(rule: QualityRule) -> str:
    """A rule as a sentence names it."""
    subject = f" of {rule.column}" if rule.column else ""
    if rule.kind is RuleKind.LIBRARY and rule.metric is not None:
        return f'"{rule.metric}{subject}: {describe(rule.threshold)}"'
    return f'"{rule.description or rule.expression or rule.name}"'
