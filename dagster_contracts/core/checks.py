"""What will be measured: the checks of a contract and the rules that each one shows.

A plan is a pure function of the contract, so that Dagster can be given the specs of the checks when
definitions load, and the engine measures the very same rules when data arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    LibraryMetric,
    LogicalType,
    QualityRule,
    RuleKind,
    Scalar,
    SchemaObject,
    SchemaProperty,
    Severity,
    SlaProperty,
    Threshold,
    ThresholdOperator,
    TypeOptions,
)
from dagster_contracts.core.level_element import why_nowhere
from dagster_contracts.core.outcome import OutcomeKind
from dagster_contracts.core.rules import (
    ITEMS,
    VALUES,
    Aggregate,
    All,
    Bound,
    BoundOperator,
    ColumnOrder,
    Custom,
    Enumerated,
    Exists,
    Format,
    Length,
    MultipleOf,
    NoExtraColumns,
    NotMissing,
    Path,
    Pattern,
    Presence,
    Required,
    RowExpression,
    RowTest,
    RuleTest,
    ServiceLevel,
    SqlQuery,
    TypeMatch,
    Unique,
    UniqueItems,
    Unmeasurable,
    path_text,
)

SCHEMA_CHECK = "schema"
"""Name of the check that shows every schema rule."""

# Names that belong to checks of our own; a quality rule of that name gets a suffix.
_RESERVED = frozenset({SCHEMA_CHECK, "circuit"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRule:
    """One rule, measured on its own and shown within its check.

    ``name`` is unique in the plan (``tailnum.required``). ``threshold`` is ``None`` where a single
    failing row fails the rule. ``filter`` is a row-level expression: the rows the rule is about.
    """

    check: str
    name: str
    kind: OutcomeKind
    test: RuleTest
    description: str
    severity: Severity = Severity.ERROR
    threshold: Threshold | None = None
    warn: Threshold | None = None
    filter: str | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCheck:
    """One Dagster check and the rules that it shows. ``severity`` is its rules' worst."""

    name: str
    kind: OutcomeKind
    description: str
    severity: Severity
    rules: tuple[PlannedRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPlan:
    """All checks of one schema object: the schema, the quality rules, the service levels."""

    contract: str
    version: str
    schema_object: SchemaObject
    checks: tuple[PlannedCheck, ...]

    @property
    def rules(self) -> tuple[PlannedRule, ...]:
        """Every rule, in the order of the checks."""
        return tuple(rule for check in self.checks for rule in check.rules)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the checks."""
        return tuple(check.name for check in self.checks)

    def check(self, name: str) -> PlannedCheck:
        """The check of that name; KeyError where there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


def plan_checks(contract: Contract, schema_object: SchemaObject | None = None) -> CheckPlan:
    """The checks of one schema object of a contract; of its first where none is given."""
    target = schema_object if schema_object is not None else contract.objects[0]
    checks = [
        PlannedCheck(
            name=SCHEMA_CHECK,
            kind=OutcomeKind.SCHEMA,
            description=f"The data has the schema of {contract.ref}.",
            severity=Severity.ERROR,
            rules=_unique_names(tuple(_schema_rules(target))),
        )
    ]
    taken = set(_RESERVED)
    for rule in target.all_quality():
        name = _free_name(rule.name, taken)
        planned = _quality_rule(rule, target, name)
        checks.append(_single_check(planned))
    for sla in _levels_of(contract, target):
        name = _free_name("sla_" + _identifier(sla.property), taken)
        checks.append(_single_check(_sla_rule(sla, name, why_nowhere(sla, contract))))
    return CheckPlan(
        contract=contract.name,
        version=contract.version,
        schema_object=target,
        checks=tuple(checks),
    )


def _levels_of(contract: Contract, target: SchemaObject) -> Iterator[SlaProperty]:
    """The service levels that speak of an object: those that name it, or no object there is."""
    known = {name for o in contract.objects for name in (o.name, o.physical_name)}
    for level in contract.sla:
        paths = level.elements or ((level.element or ""),)
        named = {path.rpartition(".")[0] for path in paths} - {""}
        if level.schema_object is not None:
            named.add(level.schema_object)
        if not named & known or named & {target.name, target.physical_name}:
            yield level


def _single_check(rule: PlannedRule) -> PlannedCheck:
    return PlannedCheck(
        name=rule.check,
        kind=rule.kind,
        description=rule.description,
        severity=rule.severity,
        rules=(rule,),
    )


def _identifier(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text)


def _free_name(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name


def _unique_names(rules: tuple[PlannedRule, ...]) -> tuple[PlannedRule, ...]:
    taken: set[str] = set()
    return tuple(replace(rule, name=_free_name(rule.name, taken)) for rule in rules)


# --- schema rules ------------------------------------------------------------------------------


def _schema_rules(target: SchemaObject) -> Iterator[PlannedRule]:
    key = target.primary_key
    for prop in target.properties:
        yield from _property_rules(prop, (prop.column,), in_key=prop.column in key)
    if key:
        words = ", ".join(key)
        yield _rule("primary_key", Unique(key), f"no two rows share the key ({words})", None)
    columns = tuple(prop.column for prop in target.properties)
    if target.extra_columns is not ExtraColumns.ALLOW:
        forbidden = target.extra_columns is ExtraColumns.FORBID
        words = "no column but the declared ones"
        none = Threshold(ThresholdOperator.MUST_BE, (Fraction(0),))
        yield replace(
            _rule("extra_columns", NoExtraColumns(columns), words, None),
            severity=Severity.ERROR if forbidden else Severity.WARNING,
            threshold=none if forbidden else None,
            warn=None if forbidden else none,
        )
    if target.ordered:
        order = ColumnOrder(columns)
        yield _rule("column_order", order, "the columns stand in the declared order", None)
    for relationship in target.relationships:
        near = tuple(_column_of(target, name) for name in relationship.columns)
        name = f"{'_'.join(near)}.references"
        far = [path.rpartition(".") for path in relationship.to]
        words = f"{', '.join(near)} occurs in {', '.join(relationship.to)}"
        column = near[0] if len(near) == 1 else None
        targets = {table for table, _, _ in far}
        test: RuleTest
        if len(targets) != 1 or "" in targets:
            test = Unmeasurable("a reference must name the properties of one other object")
        elif len(near) != len(far):
            test = Unmeasurable("a reference needs as many columns on each side")
        else:
            test = Exists(near, targets.pop(), tuple(column for _, _, column in far))
        yield _rule(name, test, words, column)


def _rule(name: str, test: RuleTest, description: str, column: str | None) -> PlannedRule:
    return PlannedRule(
        check=SCHEMA_CHECK,
        name=name,
        kind=OutcomeKind.SCHEMA,
        test=test,
        description=description,
        column=column,
    )


def _property_rules(
    prop: SchemaProperty, path: Path, *, in_key: bool = False, demanded: bool = False
) -> Iterator[PlannedRule]:
    label, column = path_text(path), path[0]

    def rule(what: str, test: RuleTest, words: str) -> PlannedRule:
        return _rule(f"{label}.{what}", test, f"{label} {words}", column)

    if path[-1] not in (ITEMS, VALUES):
        yield rule("present", Presence(path), "exists")
    if prop.logical_type is not None:
        zone = prop.options.timezone if prop.logical_type is LogicalType.TIMESTAMP else None
        words = f"is of type {prop.logical_type.value}"
        if zone is not None:
            words += " with a time zone" if zone else " without a time zone"
        yield rule("type", TypeMatch(path, prop.logical_type, zone), words)
    if prop.required or in_key or demanded:
        # A key with a null identifies nothing, so the columns of the key are required as well.
        yield rule("required", Required(path), "is never missing")
    if prop.unique:
        nested = Unmeasurable("uniqueness within nested values is not measured")
        yield rule("unique", Unique(path) if len(path) == 1 else nested, "never repeats")
    for what, test, words in option_tests(prop.options, path, prop.logical_type):
        yield rule(what, test, words)
    match prop.logical_type:
        case LogicalType.MAP if prop.properties:
            reason = "the keys of a map are not known beforehand"
            yield rule("keys", Unmeasurable(reason), "keeps the rules of its keys")
        case _:
            asked = set(prop.options.required_properties)
            for inner in prop.properties:
                wanted = inner.name in asked or inner.column in asked
                yield from _property_rules(inner, (*path, inner.column), demanded=wanted)
    if prop.items is not None:
        marker = VALUES if prop.logical_type is LogicalType.MAP else ITEMS
        yield from _property_rules(prop.items, (*path, marker))


def option_tests(
    options: TypeOptions, path: Path, logical_type: LogicalType | None
) -> Iterator[tuple[str, RowTest | Unmeasurable, str]]:
    """The tests that type options ask for: name of the rule, test, and what it says in words."""
    if options.enum:
        shown = ", ".join(_quoted(value) for value in options.enum[:8])
        more = f" and {len(options.enum) - 8} more" if len(options.enum) > 8 else ""
        yield "enum", Enumerated(path, options.enum), f"is one of {shown}{more}"
    for what, operator, limit in (
        ("minimum", BoundOperator.AT_LEAST, options.minimum),
        ("maximum", BoundOperator.AT_MOST, options.maximum),
        ("exclusive_minimum", BoundOperator.MORE_THAN, options.exclusive_minimum),
        ("exclusive_maximum", BoundOperator.LESS_THAN, options.exclusive_maximum),
    ):
        if limit is not None:
            bound = Bound(path, operator, limit, options.default_timezone)
            yield what, bound, f"is {operator.value} {_quoted(limit)}"
    if options.min_length is not None:
        words = f"has at least {options.min_length} characters"
        yield "min_length", Length(path, minimum=options.min_length), words
    if options.max_length is not None:
        words = f"has at most {options.max_length} characters"
        yield "max_length", Length(path, maximum=options.max_length), words
    if options.pattern is not None:
        yield "pattern", Pattern(path, options.pattern), f"matches {options.pattern}"
    if options.format is not None:
        yield from _format_tests(options.format, path, logical_type)
    if options.multiple_of is not None:
        words = f"is a multiple of {options.multiple_of}"
        yield "multiple_of", MultipleOf(path, options.multiple_of), words
    if options.min_items is not None:
        words = f"has at least {options.min_items} items"
        yield "min_items", Length(path, minimum=options.min_items, items=True), words
    if options.max_items is not None:
        words = f"has at most {options.max_items} items"
        yield "max_items", Length(path, maximum=options.max_items, items=True), words
    if options.unique_items:
        yield "unique_items", UniqueItems(path), "repeats no item"
    if options.min_properties is not None or options.max_properties is not None:
        reason = "the number of properties of an object is not measured"
        yield "properties", Unmeasurable(reason), "has the declared number of properties"


_UNTESTED_FORMATS = frozenset({"password", "binary", "f32", "f64"})
_TEMPORAL = (LogicalType.DATE, LogicalType.TIMESTAMP, LogicalType.TIME)


def _format_tests(
    name: str, path: Path, logical_type: LogicalType | None
) -> Iterator[tuple[str, RowTest, str]]:
    if logical_type in _TEMPORAL or name in _UNTESTED_FORMATS:
        # How a typed value would be written, or what a form field shows: nothing to measure.
        return
    kind, bits = name[:1], name[1:]
    if kind in ("i", "u") and bits in ("8", "16", "32", "64", "128"):
        size = int(bits)
        low, high = (0, 2**size - 1) if kind == "u" else (-(2 ** (size - 1)), 2 ** (size - 1) - 1)
        fits = All(
            (Bound(path, BoundOperator.AT_LEAST, low), Bound(path, BoundOperator.AT_MOST, high))
        )
        yield "format", fits, f"fits {name}"
        return
    yield "format", Format(path, name), f"has the format {name}"


def _quoted(value: Scalar) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


# --- quality rules and service levels ----------------------------------------------------------

_COUNTS_OF_ROWS = frozenset(
    {
        LibraryMetric.NULL_VALUES,
        LibraryMetric.MISSING_VALUES,
        LibraryMetric.INVALID_VALUES,
        LibraryMetric.DUPLICATE_VALUES,
    }
)


def _column_of(target: SchemaObject, name: str) -> str:
    prop = target.property_named(name)
    return prop.column if prop is not None else name


def _path_of(target: SchemaObject, name: str) -> Path:
    if target.property_named(name) is None:
        head, *rest = name.replace(ITEMS, f".{ITEMS}").split(".")
        prop = target.property_named(head)
        if prop is not None and rest and prop.logical_type in _NESTED:
            return _nested_path(prop, rest)
    return (_column_of(target, name),)


_NESTED = (LogicalType.OBJECT, LogicalType.ARRAY, LogicalType.MAP)


def _nested_path(prop: SchemaProperty, names: Sequence[str]) -> Path:
    """The path from a property; a map's values are written as an array's items are."""
    path, inner = [prop.column], prop
    for name in names:
        within: SchemaProperty | None
        if name == ITEMS:
            path.append(VALUES if inner.logical_type is LogicalType.MAP else ITEMS)
            within = inner.items
        else:
            within = next((p for p in inner.properties if name in (p.name, p.column)), None)
            path.append(within.column if within is not None else name)
        inner = within or SchemaProperty(name=name)
    return tuple(path)


def _quality_rule(rule: QualityRule, target: SchemaObject, name: str) -> PlannedRule:
    test = _quality_test(rule, target)
    return PlannedRule(
        check=name,
        name=name,
        kind=OutcomeKind.QUALITY,
        test=test,
        description=rule.description or _quality_words(rule),
        severity=rule.severity,
        threshold=rule.threshold,
        warn=rule.warn,
        filter=rule.filter,
        column=_column_of(target, rule.column) if rule.column is not None else None,
    )


def _quality_words(rule: QualityRule) -> str:
    where = f" of {rule.column}" if rule.column else ""
    match rule.kind:
        case RuleKind.LIBRARY:
            return f"{rule.metric.value if rule.metric else 'metric'}{where}"
        case RuleKind.EXPRESSION:
            return rule.expression or "row expression"
        case RuleKind.SQL:
            return f"SQL query{where}"
        case RuleKind.CUSTOM:
            return f"custom rule{where} run by {rule.engine or 'python'}"
        case RuleKind.TEXT:
            return f"text{where}"


def _quality_test(rule: QualityRule, target: SchemaObject) -> RuleTest:
    unjudged = _why_unjudged(rule)
    if unjudged is not None:
        return Unmeasurable(unjudged)
    within_items = rule.column is not None and ITEMS in rule.column
    if within_items and rule.kind in (RuleKind.SQL, RuleKind.CUSTOM):
        return Unmeasurable("such rules stand at columns, not at the items of arrays and maps")
    match rule.kind:
        case RuleKind.LIBRARY:
            return _library_test(rule, target)
        case RuleKind.EXPRESSION:
            text = rule.expression or rule.query
            return RowExpression(text) if text else Unmeasurable("the rule has no expression")
        case RuleKind.SQL:
            if not rule.query:
                return Unmeasurable("the rule has no query")
            column = _column_of(target, rule.column) if rule.column else None
            return SqlQuery(rule.query, column)
        case RuleKind.CUSTOM:
            column = _column_of(target, rule.column) if rule.column else None
            return Custom(rule.engine or "python", rule.implementation, column)
        case RuleKind.TEXT:
            return Unmeasurable("a text rule is written for people")


def is_operator(key: str) -> bool:
    """Whether a key of a rule means to say when it fails, in ODCS's way of saying it."""
    return key.startswith(("must", "Must"))


def _why_unjudged(rule: QualityRule) -> str | None:
    """Why nothing says when the rule fails; what could not be read stands in its extras."""
    if rule.kind not in (RuleKind.LIBRARY, RuleKind.SQL, RuleKind.EXPRESSION):
        return None
    known = {operator.value for operator in ThresholdOperator}
    unknown = [key for key in rule.extras if is_operator(key) and key not in known]
    if unknown and rule.threshold is None and rule.warn is None:
        return f"there is no operator {unknown[0]!r}"
    if rule.kind is RuleKind.EXPRESSION:
        return None
    if rule.kind is RuleKind.LIBRARY and rule.metric is None:
        named = rule.extras.get("metric") or rule.extras.get("rule")
        return f"there is no library metric {named!r}" if named else "the rule names no metric"
    if rule.threshold is not None or rule.warn is not None:
        return None
    written = [operator.value for operator in ThresholdOperator if operator.value in rule.extras]
    if len(written) > 1:
        return f"the rule has several operators: {', '.join(written)}"
    if written:
        return f"{written[0]} compares with {rule.extras[written[0]]!r}, and only numbers are"
    if rule.metric in _COUNTS_OF_ROWS:
        # Without an operator no row may break it.
        return None
    what = rule.metric.value if rule.metric else "the query"
    return f"{what} needs an operator such as mustBeGreaterThan"


def _library_test(rule: QualityRule, target: SchemaObject) -> RuleTest:
    metric = rule.metric
    if metric is None:
        return Unmeasurable("the rule names no metric")
    if metric is LibraryMetric.ROW_COUNT:
        return Aggregate(metric)
    if metric is LibraryMetric.DUPLICATE_VALUES:
        names = rule.columns or ((rule.column,) if rule.column else ())
        if not names:
            return Unmeasurable("duplicateValues names no column")
        if any(len(_path_of(target, name)) > 1 for name in names):
            return Unmeasurable("uniqueness within nested values is not measured")
        return Unique(tuple(_column_of(target, name) for name in names))
    if rule.column is None:
        return Unmeasurable(f"{metric.value} names no column")
    path = _path_of(target, rule.column)
    match metric:
        case LibraryMetric.NULL_VALUES:
            return Required(path)
        case LibraryMetric.MISSING_VALUES:
            # A null is missing whether or not the list names it.
            return NotMissing(path, tuple(v for v in rule.missing_values if v is not None))
        case LibraryMetric.INVALID_VALUES:
            return _validity_test(rule, target, path)
        case _ if len(path) > 1:
            return Unmeasurable("aggregates of nested values are not measured")
        case LibraryMetric.QUANTILE if rule.quantile is None:
            return Unmeasurable("quantile needs the argument quantile, from 0 to 1")
        case _:
            return Aggregate(metric, path[0], rule.quantile)


def _validity_test(rule: QualityRule, target: SchemaObject, path: Path) -> RuleTest:
    parts: list[RowTest] = []
    if rule.valid_values:
        parts.append(Enumerated(path, rule.valid_values))
    if rule.pattern is not None:
        parts.append(Pattern(path, rule.pattern))
    prop = target.property_named(path[0])
    logical_type = prop.logical_type if prop is not None and len(path) == 1 else None
    for _, test, _ in option_tests(rule.options or TypeOptions(), path, logical_type):
        if isinstance(test, Unmeasurable):
            return test
        parts.append(test)
    if not parts:
        return Unmeasurable("invalidValues says neither validValues nor a pattern")
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _sla_rule(sla: SlaProperty, name: str, nowhere: str | None) -> PlannedRule:
    test: RuleTest = ServiceLevel(sla) if nowhere is None else Unmeasurable(nowhere)
    if sla.condition is None and sla.warn is None:
        test = Unmeasurable(sla.not_evaluated or f"nothing here measures {sla.property}")
    return PlannedRule(
        check=name,
        name=name,
        kind=OutcomeKind.SLA,
        test=test,
        description=sla.description or f"{sla.property} {sla.text}".strip(),
        severity=sla.severity,
        column=sla.element,
    )
