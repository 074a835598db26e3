"""Rules that nothing can ever evaluate as they are declared: part of lint."""

from __future__ import annotations

from collections.abc import Iterator

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    LibraryMetric,
    LogicalType,
    QualityRule,
    RuleKind,
    SchemaObject,
    TypeOptions,
)
from dagster_contracts.core.expression import (
    Call,
    Column,
    Comparator,
    Comparison,
    ExpressionSyntaxError,
    Literal,
    Matches,
    Node,
    columns_in,
    nodes_of,
    parse_expression,
)
from dagster_contracts.core.near_names import near_names
from dagster_contracts.core.pattern import Dialect, UnportablePattern, translate
from dagster_contracts.core.rules import (
    Aggregate,
    All,
    Format,
    Length,
    MultipleOf,
    Path,
    Pattern,
    RuleTest,
    UniqueItems,
    Unmeasurable,
)
from dagster_contracts.documents.problem import Findings, did_you_mean, place_of
from dagster_contracts.errors import SourceLocation

_NUMBERS = frozenset({LogicalType.NUMBER, LogicalType.INTEGER})
_OF_NUMBERS = frozenset(LibraryMetric) - {LibraryMetric.ROW_COUNT, LibraryMetric.DISTINCT_COUNT}
_KINDS = {
    LogicalType.NUMBER: "a number",
    LogicalType.INTEGER: "a number",
    LogicalType.STRING: "text",
    LogicalType.BOOLEAN: "a truth value",
}
#: Functions that ask for text.
_OF_TEXT = frozenset({"length", "lower", "upper", "trim", "starts_with", "ends_with"})


def lint_rules(contract: Contract, findings: Findings) -> None:
    """Rules without a measure, of the wrong type, or of columns that do not exist."""
    for schema_object in contract.objects:
        plan = plan_checks(contract, schema_object)
        place = schema_object.location or place_of(contract)
        for planned in plan.checks[0].rules:
            if isinstance(planned.test, Unmeasurable):
                prop = schema_object.property_named(planned.column or "")
                where = (prop.location if prop is not None else None) or place
                _never(findings, where, planned.name, planned.test.reason)
        for check, rule in zip(plan.checks[1:], schema_object.all_quality(), strict=False):
            where = rule.location or place
            reason = _why_not(check.rules[0].test, schema_object)
            if reason is not None and not _is_told(rule):
                _never(findings, where, rule.name, reason)
            _expressions(rule, schema_object, where, findings)
        _references(contract, schema_object, place, findings)


def _never(findings: Findings, where: SourceLocation, name: str, reason: str) -> None:
    findings.warning(
        where,
        "never-evaluated",
        f"the rule {name!r} can never be evaluated as it is declared: {reason}",
        "mend it, or write it down as a text rule for people",
    )


def _is_told(rule: QualityRule) -> bool:
    """Whether the reader has already said what the rule lacks."""
    if rule.kind is RuleKind.TEXT or (rule.kind is RuleKind.LIBRARY and rule.metric is None):
        return True
    if rule.metric is LibraryMetric.INVALID_VALUES:
        return not (rule.valid_values or rule.pattern or rule.options not in (None, TypeOptions()))
    judged = rule.threshold is not None or rule.warn is not None
    return rule.kind in (RuleKind.LIBRARY, RuleKind.SQL) and not judged


def _why_not(test: RuleTest, schema_object: SchemaObject) -> str | None:
    """Why a test cannot be measured on a column of the declared type."""

    def kind_of(path: Path) -> LogicalType | None:
        prop = schema_object.property_named(path[0]) if len(path) == 1 else None
        return prop.logical_type if prop is not None else None

    match test:
        case Unmeasurable(reason):
            return reason
        case All(parts):
            return next((why for part in parts if (why := _why_not(part, schema_object))), None)
        case Aggregate(metric, str(column)) if metric in _OF_NUMBERS:
            kind, wanted = kind_of((column,)), _NUMBERS
            what = f"{metric.value} is of numbers"
        case Pattern(path, pattern):
            try:
                translate(pattern, Dialect.PYTHON)
            except UnportablePattern as error:
                return f"the pattern is not portable: {error}"
            kind, wanted = kind_of(path), frozenset({LogicalType.STRING})
            what = "a pattern is of text"
        case Format(path) | Length(path, items=False):
            kind, wanted = kind_of(path), frozenset({LogicalType.STRING})
            what = "lengths and formats are of text"
        case Length(path) | UniqueItems(path):
            kind, wanted = kind_of(path), frozenset({LogicalType.ARRAY})
            what = "only an array has items"
        case MultipleOf(path):
            kind, wanted = kind_of(path), _NUMBERS
            what = "multiples are of numbers"
        case _:
            return None
    if kind is None or kind in wanted:
        return None
    return f"{what}, and the column is of type {kind.value}"


# --- expressions and filters -------------------------------------------------------------------


def _expressions(
    rule: QualityRule, schema_object: SchemaObject, where: SourceLocation, findings: Findings
) -> None:
    known = {name for p in schema_object.properties for name in (p.name, p.column)}
    for what, text in expressions_of(rule):
        try:
            tree = parse_expression(text)
        except ExpressionSyntaxError:
            continue  # the reader has told it, with its place
        named = columns_in(tree)
        if not named:
            _never(findings, where, rule.name, f"its {what} names no column")
        for column in named:
            if not known or column in known:
                continue
            # A table may hold more than its contract says; a name like another one is a slip.
            may_exist = schema_object.extra_columns is not ExtraColumns.FORBID
            slip = bool(near_names(column, known)) or not may_exist
            said = findings.error if slip else findings.warning
            said(
                where,
                "unknown-column",
                f"the {what} of the rule {rule.name!r} names {column!r}, "
                "and there is no such column",
                did_you_mean(column, known),
            )
        for reason in dict.fromkeys(_clashes(tree, schema_object)):
            _never(findings, where, rule.name, f"in its {what} {reason}")


def expressions_of(rule: QualityRule) -> Iterator[tuple[str, str]]:
    """The row-level expressions of a rule, each with the key that holds it."""
    if rule.kind is RuleKind.EXPRESSION and (rule.expression or rule.query):
        yield "expression", rule.expression or rule.query or ""
    if rule.kind in (RuleKind.EXPRESSION, RuleKind.LIBRARY) and rule.filter:
        yield "filter", rule.filter


def _clashes(tree: Node, schema_object: SchemaObject) -> Iterator[str]:
    """Comparisons of text with numbers, and functions of text on what is none."""

    def kind_of(node: Node) -> str | None:
        match node:
            case Literal(bool()):
                return "a truth value"
            case Literal(value) if isinstance(value, str):
                return "text"
            case Literal(value) if value is not None and not hasattr(value, "total_seconds"):
                return "a number"
            case Column(name):
                prop = schema_object.property_named(name)
                kind = prop.logical_type if prop is not None else None
                return _KINDS.get(kind) if kind is not None else None
            case _:
                return None

    for node in nodes_of(tree):
        match node:
            case Comparison(comparator, left, right):
                first, second = kind_of(left), kind_of(right)
                # A number is never equal to a text, and so that can be told.
                is_equality = comparator in (Comparator.EQ, Comparator.NE)
                told = is_equality and "text" in (
                    kind_of(side) for side in (left, right) if isinstance(side, Literal)
                )
                if first and second and first != second and not told:
                    yield f"{first} is compared with {second}"
            case Matches(operand) if kind_of(operand) not in (None, "text"):
                yield f"{kind_of(operand)} is matched with a pattern"
            case Call(function, arguments) if function in _OF_TEXT:
                if kind_of(arguments[0]) not in (None, "text"):
                    yield f"{function} is asked of {kind_of(arguments[0])}"
            case _:
                pass


# --- references --------------------------------------------------------------------------------


def _references(
    contract: Contract, schema_object: SchemaObject, place: SourceLocation, findings: Findings
) -> None:
    """References into the contract's own objects must name columns that exist."""
    own = {name: o for o in contract.objects for name in (o.physical_name, o.name) if name}
    own |= {f"{contract.name}.{o.name}": o for o in contract.objects}
    if len(contract.objects) == 1:
        own.setdefault(contract.name, contract.objects[0])
    for relationship in schema_object.relationships:
        for near, path in zip(relationship.columns, relationship.to, strict=False):
            table, _, column = path.rpartition(".")
            target = own.get(table)
            if target is None or not target.properties or target.property_named(column):
                continue
            prop = schema_object.property_named(near)
            findings.error(
                (prop.location if prop is not None else None) or place,
                "unknown-column",
                f"{near!r} refers to {path!r}, and {target.name!r} has no such column",
                did_you_mean(column, {p.name for p in target.properties}),
            )
