"""Who breaks by a change: the table of the design, every field of the model, and its algebra."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.core.compatibility import (
    Changes,
    Ignore,
    Motion,
    Verdict,
    VersionBump,
    diff,
)
from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Dimension,
    Hold,
    Quantity,
    parse_condition,
)
from dagster_contracts.core.contract import (
    AlertPolicy,
    CircuitMode,
    CircuitPolicy,
    CircuitScope,
    CompatibilityPolicy,
    ConsumerDeclaration,
    Contract,
    ContractStatus,
    CorrectiveAction,
    CorrectiveActionKind,
    ExtraColumns,
    FallbackLevel,
    FallbackSource,
    HealMode,
    LibraryMetric,
    LogicalType,
    MetricDeclaration,
    MonitoringPolicy,
    OnExhausted,
    OnUnknown,
    ProbeMode,
    Protects,
    QualityRule,
    Recovery,
    Relationship,
    Resilience,
    RuleKind,
    SchemaObject,
    SchemaProperty,
    Severity,
    SlaProperty,
    SourceKind,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
    TypeOptions,
)

FINE, WARNS, BREAKS = Verdict.FINE, Verdict.WARNS, Verdict.BREAKS
NONE, PATCH, MINOR, MAJOR = VersionBump
Op = ThresholdOperator


def prop(name: str = "amount", **fields: Any) -> SchemaProperty:
    return SchemaProperty(name=name, **{"logical_type": LogicalType.STRING, **fields})


def contract(*properties: SchemaProperty, **fields: Any) -> Contract:
    table = {key: fields.pop(key) for key in list(fields) if key in OBJECT_FIELDS}
    orders = SchemaObject(name="orders", properties=properties, **table)
    return Contract(**{"name": "orders", "version": "1.0.0", "objects": (orders,), **fields})


OBJECT_FIELDS = {f.name for f in fields(SchemaObject)} - {
    "name",
    "properties",
    "description",
    "tags",
    "extras",
    "asset",
}


def above(limit: str, metric: str = "data_freshness", hold: Hold | None = None) -> Comparison:
    quantity = Quantity(Fraction(limit), Dimension.DURATION)
    return Comparison(metric, ComparisonOperator.GT, quantity, hold)


def below(limit: str, metric: str = "data_freshness") -> Comparison:
    return Comparison(metric, ComparisonOperator.LT, Quantity(Fraction(limit), Dimension.DURATION))


def rule(
    operator: Op = Op.MUST_BE_LESS_OR_EQUAL_TO,
    *values: int | Fraction,
    unit: ThresholdUnit = ThresholdUnit.PERCENT,
    **fields: Any,
) -> QualityRule:
    threshold = Threshold(operator, tuple(Fraction(v) for v in values or (5,)), unit)
    settings = {
        "name": "few_nulls",
        "kind": RuleKind.LIBRARY,
        "column": "amount",
        "metric": LibraryMetric.NULL_VALUES,
        "threshold": threshold,
    }
    return QualityRule(**{**settings, **fields})


def verdict(old: Contract, new: Contract) -> tuple[Verdict, Verdict, VersionBump]:
    changes = diff(old, new)
    return changes.consumer, changes.producer, changes.bump


def kinds(changes: Changes) -> list[str]:
    return [change.kind for change in changes]


def number(**options: Any) -> SchemaProperty:
    return prop(logical_type=LogicalType.NUMBER, options=TypeOptions(**options))


def with_rules(*rules: QualityRule) -> Contract:
    return contract(prop(), quality=rules)


def with_sla(*conditions: Comparison) -> Contract:
    levels = tuple(SlaProperty(property="freshness", condition=each) for each in conditions)
    return contract(prop(), sla=levels)


PRIMARY = FallbackLevel(name="primary", source=FallbackSource(SourceKind.PRIMARY, "feed"))
FALLBACK = FallbackLevel(name="fallback", source=FallbackSource(SourceKind.LAST_VALID))


def protected(*levels: FallbackLevel, **policy: Any) -> Contract:
    circuit = CircuitPolicy(**{"open_when": (above("1800"),), **policy})
    return contract(prop(), resilience=Resilience(circuit=circuit, levels=(PRIMARY, *levels)))


TABLE = [
    # columns
    ("optional column added", contract(prop()), contract(prop(), prop("note")), FINE, FINE, MINOR),
    (
        "optional column added where extras are forbidden",
        contract(prop(), extra_columns=ExtraColumns.FORBID),
        contract(prop(), prop("note"), extra_columns=ExtraColumns.FORBID),
        BREAKS,
        FINE,
        MAJOR,
    ),
    (
        "required column added",
        contract(prop()),
        contract(prop(), prop("note", required=True)),
        FINE,
        BREAKS,
        MINOR,
    ),
    ("column removed", contract(prop(), prop("note")), contract(prop()), BREAKS, FINE, MAJOR),
    (
        "column renamed",
        contract(prop("amount", id="a")),
        contract(prop("total", id="a")),
        BREAKS,
        BREAKS,
        MAJOR,
    ),
    (
        "type widened",
        contract(prop(physical_type="INT")),
        contract(prop(physical_type="BIGINT")),
        WARNS,
        FINE,
        MINOR,
    ),
    (
        "type narrowed",
        contract(prop(physical_type="VARCHAR(20)")),
        contract(prop(physical_type="VARCHAR(10)")),
        FINE,
        BREAKS,
        MAJOR,
    ),
    (
        "type spelled otherwise",
        contract(prop(physical_type="INT")),
        contract(prop(physical_type="integer")),
        FINE,
        FINE,
        PATCH,
    ),
    (
        "integer to number",
        contract(prop(logical_type=LogicalType.INTEGER)),
        contract(prop(logical_type=LogicalType.NUMBER)),
        BREAKS,
        FINE,
        MAJOR,
    ),
    (
        "string to date",
        contract(prop()),
        contract(prop(logical_type=LogicalType.DATE)),
        BREAKS,
        BREAKS,
        MAJOR,
    ),
    (
        "no longer required",
        contract(prop(required=True)),
        contract(prop()),
        BREAKS,
        FINE,
        MAJOR,
    ),
    ("required", contract(prop()), contract(prop(required=True)), FINE, BREAKS, MINOR),
    ("no longer unique", contract(prop(unique=True)), contract(prop()), BREAKS, FINE, MAJOR),
    ("unit changed", contract(prop(unit="m")), contract(prop(unit="ft")), WARNS, WARNS, MINOR),
    (
        "classification changed",
        contract(prop(classification="public")),
        contract(prop(classification="restricted")),
        WARNS,
        WARNS,
        MINOR,
    ),
    (
        "primary key added",
        contract(prop()),
        contract(prop(primary_key_position=1)),
        BREAKS,
        BREAKS,
        MAJOR,
    ),
    ("described", contract(prop()), contract(prop(description="in euro")), FINE, FINE, PATCH),
    ("tagged", contract(prop()), contract(prop(), tags=("sales",)), FINE, FINE, PATCH),
    (
        "columns in another order",
        contract(prop("a"), prop("b")),
        contract(prop("b"), prop("a")),
        FINE,
        FINE,
        PATCH,
    ),
    (
        "columns in another order where the order matters",
        contract(prop("a"), prop("b"), ordered=True),
        contract(prop("b"), prop("a"), ordered=True),
        BREAKS,
        BREAKS,
        MAJOR,
    ),
    # values
    (
        "enum widened",
        contract(prop(options=TypeOptions(enum=("a",)))),
        contract(prop(options=TypeOptions(enum=("a", "b")))),
        BREAKS,
        FINE,
        MAJOR,
    ),
    (
        "enum narrowed",
        contract(prop(options=TypeOptions(enum=("a", "b")))),
        contract(prop(options=TypeOptions(enum=("a",)))),
        FINE,
        BREAKS,
        MINOR,
    ),
    (
        "enum added",
        contract(prop()),
        contract(prop(options=TypeOptions(enum=("a",)))),
        FINE,
        BREAKS,
        MINOR,
    ),
    (
        "yes and no are not 1 and 0",
        contract(prop(logical_type=None, options=TypeOptions(enum=(0, 1)))),
        contract(prop(logical_type=None, options=TypeOptions(enum=(False, True)))),
        BREAKS,
        BREAKS,
        MAJOR,
    ),
    (
        "bound tightened",
        contract(number(minimum=0)),
        contract(number(minimum=1)),
        FINE,
        BREAKS,
        MINOR,
    ),
    (
        "bound loosened",
        contract(number(maximum=9)),
        contract(number(maximum=10)),
        BREAKS,
        FINE,
        MAJOR,
    ),
    ("bound removed", contract(number(maximum=9)), contract(number()), BREAKS, FINE, MAJOR),
    (
        "inclusive to exclusive",
        contract(number(minimum=0)),
        contract(number(exclusive_minimum=0)),
        FINE,
        BREAKS,
        MINOR,
    ),
    (
        "bounds moved",
        contract(number(minimum=0, maximum=9)),
        contract(number(minimum=1, maximum=10)),
        BREAKS,
        BREAKS,
        MAJOR,
    ),
    (
        "pattern added",
        contract(prop()),
        contract(prop(options=TypeOptions(pattern="^a"))),
        FINE,
        BREAKS,
        MINOR,
    ),
    (
        "pattern changed",
        contract(prop(options=TypeOptions(pattern="^b"))),
        contract(prop(options=TypeOptions(pattern="^a"))),
        BREAKS,
        BREAKS,
        MAJOR,
    ),
    (
        "multiples of a tenth become multiples of a half",
        contract(number(multiple_of=Decimal("0.1"))),
        contract(number(multiple_of=Decimal("0.5"))),
        FINE,
        BREAKS,
        MINOR,
    ),
    # quality
    ("rule added", with_rules(), with_rules(rule()), FINE, BREAKS, MINOR),
    ("rule removed", with_rules(rule()), with_rules(), BREAKS, FINE, MAJOR),
    (
        "rule tightened",
        with_rules(rule()),
        with_rules(rule(Op.MUST_BE_LESS_THAN, 5)),
        FINE,
        BREAKS,
        MINOR,
    ),
    (
        "rule loosened",
        with_rules(rule()),
        with_rules(rule(Op.MUST_BE_LESS_OR_EQUAL_TO, 6)),
        BREAKS,
        FINE,
        MAJOR,
    ),
    (
        "rule of a warning removed",
        with_rules(rule(severity=Severity.WARNING)),
        with_rules(),
        WARNS,
        FINE,
        MINOR,
    ),
    (
        "rule weighs less",
        with_rules(rule()),
        with_rules(rule(severity=Severity.INFO)),
        BREAKS,
        FINE,
        MAJOR,
    ),
    (
        "relationship added",
        contract(prop()),
        contract(prop(), relationships=(Relationship(columns=("amount",), to=("x.y",)),)),
        FINE,
        BREAKS,
        MINOR,
    ),
    # service levels
    (
        "service level tightened",
        with_sla(below("600")),
        with_sla(below("300")),
        FINE,
        BREAKS,
        MINOR,
    ),
    ("service level loosened", with_sla(below("300")), with_sla(below("600")), BREAKS, FINE, MAJOR),
    ("service level removed", with_sla(below("300")), with_sla(), BREAKS, FINE, MAJOR),
    ("service level added", with_sla(), with_sla(below("300")), FINE, BREAKS, MINOR),
    # life
    (
        "deprecated",
        contract(prop()),
        contract(prop(), status=ContractStatus.DEPRECATED),
        WARNS,
        FINE,
        MINOR,
    ),
    (
        "retired",
        contract(prop()),
        contract(prop(), status=ContractStatus.RETIRED),
        BREAKS,
        FINE,
        MAJOR,
    ),
    # protection
    ("breaker weakened", protected(), protected(open_when=(above("3600"),)), WARNS, FINE, MINOR),
    (
        "breaker slower by a hold",
        protected(),
        protected(open_when=(above("1800", hold=Hold(checks=3)),)),
        WARNS,
        FINE,
        MINOR,
    ),
    ("breaker strengthened", protected(), protected(open_when=(above("60"),)), FINE, FINE, MINOR),
    (
        "another condition opens it too",
        protected(),
        protected(open_when=(above("1800"), above("9", "data_latency"))),
        FINE,
        FINE,
        MINOR,
    ),
    ("fallback removed", protected(FALLBACK), protected(), BREAKS, FINE, MAJOR),
    ("fallback added", protected(), protected(FALLBACK), FINE, FINE, MINOR),
    (
        "resilience with a fallback removed",
        protected(FALLBACK),
        contract(prop()),
        BREAKS,
        FINE,
        MAJOR,
    ),
    (
        "server removed",
        contract(prop(), extras={"servers": [{"server": "prod", "type": "s3"}]}),
        contract(prop(), extras={"servers": []}),
        BREAKS,
        FINE,
        MAJOR,
    ),
    (
        "server moved",
        contract(prop(), extras={"servers": [{"server": "prod", "host": "a"}]}),
        contract(prop(), extras={"servers": [{"server": "prod", "host": "b"}]}),
        BREAKS,
        BREAKS,
        MAJOR,
    ),
    (
        "role removed",
        contract(prop(), extras={"roles": [{"role": "reader"}]}),
        contract(prop()),
        BREAKS,
        FINE,
        MAJOR,
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "consumer", "producer", "bump"),
    [pytest.param(*row[1:], id=row[0]) for row in TABLE],
)
def test_the_table(
    old: Contract, new: Contract, consumer: Verdict, producer: Verdict, bump: VersionBump
) -> None:
    assert verdict(old, new) == (consumer, producer, bump)


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in TABLE])
def test_reversal_turns_every_motion_round(row: tuple[Any, ...]) -> None:
    forth, back = diff(row[1], row[2]), diff(row[2], row[1])

    assert sorted(c.motion.reverse for c in forth) == sorted(c.motion for c in back)


# --- every field of the model ---------------------------------------------------------------------

RULE = rule(id="r")
LEVEL = replace(FALLBACK, name="fallback")
SAMPLES: dict[type, Any] = {
    TypeOptions: TypeOptions(),
    Relationship: Relationship(columns=("amount",), to=("x.y",)),
    QualityRule: RULE,
    SchemaProperty: prop(),
    SchemaObject: SchemaObject(name="orders", properties=(prop(),)),
    SlaProperty: SlaProperty(property="freshness", condition=below("300")),
    FallbackLevel: LEVEL,
    Recovery: Recovery(),
    CircuitPolicy: CircuitPolicy(open_when=(above("1800"),)),
    Resilience: Resilience(levels=(PRIMARY, LEVEL)),
    MonitoringPolicy: MonitoringPolicy(),
    CompatibilityPolicy: CompatibilityPolicy(),
    MetricDeclaration: MetricDeclaration(name="lag"),
    Contract: contract(prop(), resilience=Resilience(levels=(PRIMARY, LEVEL))),
}
# What a field is changed to, where its type does not say it.
OTHERS: dict[tuple[type, str], Any] = {
    (SlaProperty, "warn"): below("2"),
    (SlaProperty, "moment"): datetime(2026, 6, 1, tzinfo=UTC),
    (TypeOptions, "minimum"): 1,
    (TypeOptions, "maximum"): 9,
    (TypeOptions, "exclusive_minimum"): 1,
    (TypeOptions, "exclusive_maximum"): 9,
    (TypeOptions, "multiple_of"): Decimal(2),
    (TypeOptions, "timezone"): True,
    (QualityRule, "kind"): RuleKind.SQL,
    (QualityRule, "metric"): LibraryMetric.ROW_COUNT,
    (QualityRule, "threshold"): Threshold(Op.MUST_BE, (Fraction(3),)),
    (QualityRule, "warn"): Threshold(Op.MUST_BE, (Fraction(3),)),
    (QualityRule, "quantile"): Fraction(1, 2),
    (QualityRule, "options"): TypeOptions(minimum=1),
    (QualityRule, "implementation"): {"expectation": "x"},
    (QualityRule, "severity"): Severity.WARNING,
    (SchemaProperty, "logical_type"): LogicalType.DATE,
    (SchemaProperty, "options"): TypeOptions(minimum=1),
    (SchemaProperty, "properties"): (prop("inner"),),
    (SchemaProperty, "items"): prop("item"),
    (SchemaProperty, "quality"): (RULE,),
    (SchemaObject, "properties"): (prop("other"),),
    (SchemaObject, "extra_columns"): ExtraColumns.FORBID,
    (SchemaObject, "quality"): (RULE,),
    (SchemaObject, "relationships"): (Relationship(columns=("amount",), to=("x.y",)),),
    (SlaProperty, "condition"): below("1"),
    (SlaProperty, "severity"): Severity.INFO,
    (FallbackLevel, "source"): FallbackSource(SourceKind.ASSET, "sales"),
    (FallbackLevel, "activation_conditions"): (above("1"),),
    (FallbackLevel, "max_age"): timedelta(hours=1),
    (Recovery, "probe"): ProbeMode.WAIT,
    (CircuitPolicy, "open_when"): (above("1"),),
    (CircuitPolicy, "close_when"): (below("1"),),
    (CircuitPolicy, "recovery"): Recovery(probes=2),
    (CircuitPolicy, "scope"): CircuitScope.PARTITION,
    (CircuitPolicy, "mode"): CircuitMode.METRICS_ONLY,
    (CircuitPolicy, "on_unknown"): OnUnknown.OPEN,
    (Resilience, "circuit"): CircuitPolicy(window=3),
    (Resilience, "levels"): (PRIMARY,),
    (Resilience, "on_exhausted"): OnExhausted.SKIP,
    (Resilience, "heal"): HealMode.OFF,
    (MonitoringPolicy, "actions"): (
        CorrectiveAction(when=above("1"), kind=CorrectiveActionKind.HEAL),
    ),
    (CompatibilityPolicy, "protects"): Protects.FULL,
    (MetricDeclaration, "dimension"): Dimension.RATIO,
    (Contract, "objects"): (SchemaObject(name="orders", properties=(prop("other"),)),),
    (Contract, "status"): ContractStatus.DEPRECATED,
    (Contract, "schemas"): {"small": SchemaObject(name="small")},
    (Contract, "sla"): (SlaProperty(property="freshness", condition=below("1")),),
    (Contract, "metrics"): (MetricDeclaration(name="lag"),),
    (Contract, "resilience"): None,
    (Contract, "consumers"): (ConsumerDeclaration(name="finance"),),
    (Contract, "alerts"): AlertPolicy(channels=("ops",)),
    (Contract, "monitoring"): MonitoringPolicy(min_history=20),
    (Contract, "compatibility"): CompatibilityPolicy(transitive=True),
    (Contract, "deprecated_until"): date(2030, 1, 1),
}
# Not part of what a contract says; the version is what is judged.
SILENT = {"location", "content_hash", "semantic_hash", "version"}


def other(kind: type, name: str, value: Any) -> Any:
    if (kind, name) in OTHERS:
        return OTHERS[kind, name]
    match value:
        case bool():
            return not value
        case int() | float() | Fraction():
            return value + 1
        case timedelta():
            return value + timedelta(minutes=1)
        case None:
            return (
                1 if name.endswith(("_position", "_length", "_items", "_properties")) else "other"
            )
        case Enum():
            raise AssertionError(f"say what {kind.__name__}.{name} becomes")
        case str():
            return f"{value}_other"
        case tuple():
            return (*value, "other")
        case dict():
            return {**value, "other": "x"}
    raise AssertionError(f"say what {kind.__name__}.{name} becomes")


def embedded(value: Any) -> Contract:
    match value:
        case TypeOptions():
            return contract(prop(options=value))
        case Relationship():
            return contract(prop(), relationships=(value,))
        case QualityRule():
            return with_rules(value)
        case SchemaProperty():
            return contract(value)
        case SchemaObject():
            return Contract(name="orders", version="1.0.0", objects=(value,))
        case SlaProperty():
            return contract(prop(), sla=(value,))
        case FallbackLevel():
            return contract(prop(), resilience=Resilience(levels=(PRIMARY, value)))
        case Recovery():
            circuit = CircuitPolicy(recovery=value)
            return contract(prop(), resilience=Resilience(circuit=circuit, levels=(PRIMARY, LEVEL)))
        case CircuitPolicy():
            return contract(prop(), resilience=Resilience(circuit=value, levels=(PRIMARY, LEVEL)))
        case Resilience():
            return contract(prop(), resilience=value)
        case MonitoringPolicy():
            return contract(prop(), monitoring=value)
        case CompatibilityPolicy():
            return contract(prop(), compatibility=value)
        case MetricDeclaration():
            return contract(prop(), metrics=(value,))
        case Contract():
            return value
    raise AssertionError(value)


FIELDS = [
    pytest.param(kind, field.name, id=f"{kind.__name__}.{field.name}")
    for kind in SAMPLES
    for field in fields(kind)
    if field.name not in SILENT and field.compare
]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_change_of_any_field_is_seen_in_both_directions(kind: type, name: str) -> None:
    before = SAMPLES[kind]
    after = replace(before, **{name: other(kind, name, getattr(before, name))})

    forth, back = diff(embedded(before), embedded(after)), diff(embedded(after), embedded(before))

    assert len(forth) > 0
    assert forth.bump is not NONE
    assert len(back) > 0
    assert all(change.message for change in (*forth, *back))


def test_every_value_of_the_model_is_among_the_samples() -> None:
    seen: set[type] = set()

    def walk(value: Any) -> None:
        if is_dataclass(value) and not isinstance(value, type):
            if type(value).__module__.endswith("core.contract"):
                seen.add(type(value))
            for field in fields(value):
                default = field.default if field.default is not MISSING else None
                for part in (getattr(value, field.name), default):
                    for each in part if isinstance(part, tuple) else (part,):
                        walk(each)

    for sample in SAMPLES.values():
        walk(sample)
    # These are compared as a whole: what is in them is nobody's promise.
    assert seen - set(SAMPLES) <= {Threshold, FallbackSource, AlertPolicy}


# --- what other tools say -------------------------------------------------------------------------

INT, BIGINT = prop(physical_type="INT"), prop(physical_type="BIGINT")
ONE, TWO = prop(options=TypeOptions(enum=("a",))), prop(options=TypeOptions(enum=("a", "b")))
# A schema registry calls a change FORWARD compatible where those who know the old schema read new
# data (our consumers), and BACKWARD where old data is read with the new schema (our producers).
REGISTRY = [
    ("optional field added", (prop(),), (prop(), prop("b")), True, True),
    ("required field added", (prop(),), (prop(), prop("b", required=True)), True, False),
    ("required field removed", (prop(), prop("b", required=True)), (prop(),), False, True),
    ("enum symbol added", (ONE,), (TWO,), False, True),
    ("enum symbol removed", (TWO,), (ONE,), True, False),
    ("nullable made required", (prop(),), (prop(required=True),), True, False),
    ("required made nullable", (prop(required=True),), (prop(),), False, True),
    ("type changed", (prop(),), (prop(logical_type=LogicalType.BOOLEAN),), False, False),
    ("int to long", (INT,), (BIGINT,), None, True),
    ("optional field removed", (prop(), prop("b")), (prop(),), None, True),
]


@pytest.mark.parametrize(
    ("old", "new", "forward", "backward"), [pytest.param(*row[1:], id=row[0]) for row in REGISTRY]
)
def test_verdicts_agree_with_schema_registries(
    old: tuple[SchemaProperty, ...],
    new: tuple[SchemaProperty, ...],
    forward: bool | None,
    backward: bool,
) -> None:
    """``None`` where tables differ from messages on purpose.

    A wider integer reads well in SQL and warns; a column of a table is read by its name, so its
    removal breaks readers even where it was optional.
    """
    changes = diff(contract(*old), contract(*new))

    if forward is not None:
        assert (changes.consumer is not BREAKS) is forward
    assert (changes.producer is not BREAKS) is backward


def test_an_optional_column_is_delivered_from_then_on() -> None:
    (change,) = diff(contract(prop()), contract(prop(), prop("note")))

    assert change.message == (
        "orders.note was added: readers need not change; producers deliver it, empty where they "
        "have no value"
    )


def test_an_asset_that_is_spelled_out_is_the_same_asset() -> None:
    implied = contract(prop())

    assert verdict(implied, replace(implied, asset="orders")) == (FINE, FINE, PATCH)
    assert verdict(implied, replace(implied, asset="sales")) == (BREAKS, BREAKS, MAJOR)


@pytest.mark.parametrize(
    ("old", "new", "sides"),
    [
        (TypeOptions(minimum=1), TypeOptions(minimum=2), (FINE, BREAKS)),
        (TypeOptions(minimum=2), TypeOptions(minimum=1), (BREAKS, FINE)),
        (TypeOptions(minimum=1, maximum=5), TypeOptions(minimum=2, maximum=6), (BREAKS, BREAKS)),
        (TypeOptions(enum=("a", "b")), TypeOptions(enum=("a",), max_length=1), (FINE, BREAKS)),
    ],
)
def test_the_arguments_of_a_rule_become_stricter_or_looser(
    old: TypeOptions, new: TypeOptions, sides: tuple[Verdict, Verdict]
) -> None:
    changes = diff(with_rules(rule(options=old)), with_rules(rule(options=new)))

    assert (changes.consumer, changes.producer) == sides


# --- matching -------------------------------------------------------------------------------------


def test_a_column_is_followed_by_its_alias() -> None:
    changes = diff(contract(prop("cust_id")), contract(prop("customer", aliases=("cust_id",))))

    assert "column_renamed" in kinds(changes)
    assert "column_removed" not in kinds(changes)


def test_a_column_that_keeps_its_physical_name_only_changes_in_the_contract() -> None:
    old = contract(prop("amount", physical_name="amt"))
    new = contract(prop("total", physical_name="amt"))

    assert verdict(old, new) == (WARNS, FINE, MINOR)


def test_a_likely_rename_is_offered_and_still_breaks() -> None:
    changes = diff(contract(prop("cust_id")), contract(prop("customer_id")))
    gone = next(change for change in changes if change.kind == "column_removed")

    assert gone.renamed_to == "customer_id"
    assert gone.consumer is BREAKS
    assert "looks like its new name" in gone.message


def test_what_is_not_alike_is_no_rename() -> None:
    changes = diff(contract(prop("discount")), contract(prop("zip")))

    assert all(change.renamed_to is None for change in changes)


def test_swapped_names_are_followed_by_id() -> None:
    old = contract(prop("a", id="1"), prop("b", id="2", logical_type=LogicalType.DATE))
    new = contract(prop("b", id="1"), prop("a", id="2", logical_type=LogicalType.DATE))

    assert sorted(set(kinds(diff(old, new)))) == ["column_renamed"]


def test_a_rule_without_an_id_is_matched_by_its_meaning() -> None:
    old, new = with_rules(rule(name="a")), with_rules(rule(name="b"))

    assert kinds(diff(old, new)) == ["rule_name_changed"]


def test_a_rule_follows_its_renamed_column() -> None:
    old = contract(prop("amount", id="x"), quality=(rule(),))
    new = contract(prop("total", id="x"), quality=(rule(column="total"),))

    assert kinds(diff(old, new)) == ["column_renamed"]


def test_layout_of_a_query_is_no_change_of_the_rule() -> None:
    old = with_rules(rule(kind=RuleKind.SQL, metric=None, query="select  1\nfrom t"))
    new = with_rules(rule(kind=RuleKind.SQL, metric=None, query="select 1 from t"))

    assert verdict(old, new) == (FINE, FINE, PATCH)


def test_nested_fields_are_compared() -> None:
    address = prop(
        "address", logical_type=LogicalType.OBJECT, properties=(prop("city"), prop("zip"))
    )
    changes = diff(contract(address), contract(replace(address, properties=(prop("zip"),))))

    assert [(c.path, c.consumer) for c in changes] == [("orders.address.city", BREAKS)]
    assert changes.items[0].column == "address"


def test_items_of_an_array_are_compared() -> None:
    tags = prop("tags", logical_type=LogicalType.ARRAY, items=prop("tag", required=True))
    changes = diff(contract(tags), contract(replace(tags, items=prop("tag"))))

    assert [c.path for c in changes] == ["orders.tags[]"]
    assert changes.consumer is BREAKS


def test_a_promise_that_nothing_measures_is_compared_as_text() -> None:
    def promise(text: str) -> Contract:
        level = SlaProperty(property="support", condition=None, text=text, not_evaluated="text")
        return contract(prop(), sla=(level,))

    assert verdict(promise("24/7"), promise("office hours")) == (WARNS, WARNS, MINOR)
    assert len(diff(promise("24/7"), promise("24/7"))) == 0


def promised(name: str, text: str, **fields: Any) -> Contract:
    """A contract with one service level of the service, whose breach only warns."""
    condition = parse_condition(text) if text else None
    level = SlaProperty(
        property=name, condition=condition, severity=Severity.WARNING, text=text, **fields
    )
    return contract(prop(), sla=(level,))


def until(name: str, day: str) -> Contract:
    """A contract with a date in its life."""
    return promised(name, "", moment=datetime.fromisoformat(day).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("old", "new", "consumer", "producer", "bump"),
    [
        ("availability >= 99%", "availability >= 99.9%", FINE, BREAKS, MINOR),
        ("availability >= 99.9%", "availability >= 99%", BREAKS, FINE, MAJOR),
        ("availability.7d >= 99%", "availability >= 99%", BREAKS, BREAKS, MAJOR),
        ("time_to_repair <= 4h", "time_to_repair <= 8h", BREAKS, FINE, MAJOR),
        ("delay_after.0900 <= 0s", "delay_after.0800 <= 0s", FINE, BREAKS, MINOR),
        ("delay_after.0900 <= 0s", "delay_after.1000 <= 0s", BREAKS, FINE, MAJOR),
        ("delay_after.2330 <= 0s", "delay_after.0030 <= 0s", BREAKS, FINE, MAJOR),
        ("delay_after.0900 <= 0s", "delay_after.0900.Europe.Berlin <= 0s", BREAKS, BREAKS, MAJOR),
    ],
)
def test_promises_of_the_service_are_promises_though_their_breach_only_warns(
    old: str, new: str, consumer: Verdict, producer: Verdict, bump: VersionBump
) -> None:
    found = verdict(promised("availability", old), promised("availability", new))
    assert found == (consumer, producer, bump)


def test_a_shorter_retention_takes_data_away_and_a_higher_throughput_asks_for_more() -> None:
    def level(text: str) -> Contract:
        return contract(prop(), sla=(SlaProperty(property="x", condition=parse_condition(text)),))

    shorter = verdict(level("data_retention <= 365d"), level("data_retention <= 90d"))
    assert shorter == (BREAKS, BREAKS, MAJOR)
    assert verdict(level("throughput >= 5/s"), level("throughput >= 9/s")) == (FINE, BREAKS, MINOR)


@pytest.mark.parametrize(
    ("name", "old", "new", "consumer"),
    [
        ("endOfSupport", "2027-01-01", "2028-01-01", FINE),
        ("endOfSupport", "2028-01-01", "2027-01-01", BREAKS),
        ("endOfLife", "2028-01-01", "2027-01-01", BREAKS),
        ("generalAvailability", "2027-01-01", "2027-03-01", BREAKS),
        ("generalAvailability", "2027-03-01", "2027-01-01", FINE),
    ],
)
def test_dates_in_the_life_of_a_contract(name: str, old: str, new: str, consumer: Verdict) -> None:
    changes = diff(until(name, old), until(name, new))
    assert changes.consumer is consumer
    assert f"it was {old} 00:00 UTC, now it is {new} 00:00 UTC" in changes.items[0].message


# --- words, JSON, versions ------------------------------------------------------------------------


def test_a_sentence_that_a_consumer_understands() -> None:
    changes = diff(contract(prop(), prop("discount")), contract(prop()))

    assert changes.items[0].message == "orders.discount was removed: whoever reads it will fail"


def test_json() -> None:
    old = contract(prop(), prop("discount"))
    document = diff(old, replace(contract(prop()), version="1.1.0")).to_json()

    assert document["consumer"] == "breaks"
    assert document["producer"] == "fine"
    assert document["bump"] == "major"
    assert document["declared_bump"] == "minor"
    assert document["changes"] == [
        {
            "path": "orders.discount",
            "kind": "column_removed",
            "consumer": "breaks",
            "producer": "fine",
            "bump": "major",
            "message": "orders.discount was removed: whoever reads it will fail",
        }
    ]


@pytest.mark.parametrize(
    ("old", "new", "declared"),
    [
        ("1.0.0", "1.0.0", NONE),
        ("1.0.0", "1.0.1", PATCH),
        ("1.0", "1.1", MINOR),
        ("1.9.9", "2", MAJOR),
        ("v1.0.0", "v1.0.1-rc.1", PATCH),
        ("2.0.0", "1.9.0", NONE),
        ("latest", "1.0.0", None),
    ],
)
def test_declared_bump(old: str, new: str, declared: VersionBump | None) -> None:
    assert Changes("orders", old, new).declared_bump is declared


@pytest.mark.parametrize(
    ("protects", "old", "new", "version", "enough"),
    [
        (Protects.CONSUMER, contract(prop()), contract(prop(required=True)), "1.1.0", True),
        (Protects.FULL, contract(prop()), contract(prop(required=True)), "1.1.0", False),
        (Protects.PRODUCER, contract(prop()), contract(prop(required=True)), "1.1.0", False),
        (Protects.PRODUCER, contract(prop(required=True)), contract(prop()), "1.1.0", True),
        (Protects.CONSUMER, contract(prop(required=True)), contract(prop()), "1.1.0", False),
        (Protects.CONSUMER, contract(prop(required=True)), contract(prop()), "2.0.0", True),
        (Protects.CONSUMER, contract(prop()), contract(prop()), "1.0.0", True),
    ],
)
def test_whether_the_bump_is_enough(
    protects: Protects, old: Contract, new: Contract, version: str, enough: bool
) -> None:
    assert diff(old, replace(new, version=version)).is_enough(protects) is enough


def test_under_version_zero_a_minor_bump_may_break() -> None:
    old = replace(contract(prop(required=True)), version="0.2.0")

    assert diff(old, replace(contract(prop()), version="0.3.0")).is_enough()
    assert not diff(old, replace(contract(prop()), version="0.2.1")).is_enough()


def test_an_agreed_change_does_not_count_until_it_expires() -> None:
    changes = diff(contract(prop(), prop("discount")), contract(prop()))
    agreed = Ignore(path="orders.disc*", reason="nobody reads it", until=date(2026, 3, 1))

    before = changes.ignoring([agreed], date(2026, 3, 1))
    after = changes.ignoring([agreed], date(2026, 3, 2))

    assert (before.consumer, before.bump) == (FINE, NONE)
    assert before.items[0].ignored_because == "nobody reads it"
    assert after.consumer is BREAKS


def test_a_reader_notices_only_what_touches_its_columns() -> None:
    changes = diff(
        contract(prop("a", required=True), prop("b", required=True)),
        contract(prop("a"), prop("b", required=True), description="new"),
    )

    assert [c.path for c in changes.touching(["a"])] == ["orders.a", "description"]
    assert [c.path for c in changes.touching(["b"])] == ["description"]


# --- algebra --------------------------------------------------------------------------------------

small = st.integers(0, 6)
thresholds = st.one_of(
    st.builds(
        lambda op, value, unit: Threshold(op, (Fraction(value),), unit),
        st.sampled_from([op for op in Op if "etween" not in op.value]),
        small,
        st.just(ThresholdUnit.ROWS),
    ),
    st.builds(
        lambda op, low, width: Threshold(op, (Fraction(low), Fraction(low + width))),
        st.sampled_from([Op.MUST_BE_BETWEEN, Op.MUST_NOT_BE_BETWEEN]),
        small,
        small,
    ),
)


@given(thresholds, thresholds)
def test_threshold_verdicts_are_those_of_the_accepted_counts(
    old: Threshold, new: Threshold
) -> None:
    """Counts of rows are whole and not negative: beyond 20 these thresholds accept all or none."""
    counts = range(21)
    before = {n for n in counts if old.accepts(Fraction(n))}
    after = {n for n in counts if new.accepts(Fraction(n))}

    changes = diff(with_rules(rule(id="r", threshold=old)), with_rules(rule(id="r", threshold=new)))

    assert (changes.consumer is BREAKS) == (not after <= before)
    assert (changes.producer is BREAKS) == (not before <= after)


names = st.sampled_from(["amount", "note", "day", "customer_id", "zip"])
options = st.builds(
    TypeOptions,
    minimum=st.none() | small,
    maximum=st.none() | small,
    enum=st.lists(st.sampled_from("abc"), unique=True).map(tuple),
    pattern=st.none() | st.sampled_from(["^a", "b$"]),
)
columns = st.builds(
    SchemaProperty,
    name=names,
    logical_type=st.none() | st.sampled_from([LogicalType.INTEGER, LogicalType.NUMBER]),
    physical_type=st.none() | st.sampled_from(["INT", "BIGINT", "VARCHAR(9)", "TEXT"]),
    required=st.booleans(),
    unique=st.booleans(),
    unit=st.none() | st.sampled_from(["m", "ft"]),
    options=options,
)
contracts = st.builds(
    contract_of := lambda found, rules, sla: contract(*found, quality=tuple(rules), sla=tuple(sla)),
    st.lists(columns, max_size=4, unique_by=lambda column: column.name),
    st.lists(
        st.builds(lambda t, name: rule(threshold=t, name=name), thresholds, names),
        max_size=2,
        unique_by=lambda each: each.name,
    ),
    st.lists(
        st.builds(
            lambda limit: SlaProperty(property="freshness", condition=below(str(limit))), small
        ),
        max_size=1,
    ),
)


@given(contracts)
def test_nothing_changes_from_a_contract_to_itself(given_contract: Contract) -> None:
    changes = diff(given_contract, given_contract)

    assert list(changes) == []
    assert changes.bump is NONE


@given(contracts, contracts)
def test_reversal_swaps_additions_and_removals(left: Contract, right: Contract) -> None:
    forth, back = diff(left, right), diff(right, left)

    def came(changes: Changes, motion: Motion) -> list[str]:
        return sorted(
            c.kind.replace("required_column_", "column_") for c in changes if c.motion is motion
        )

    def turned(kinds: list[str]) -> list[str]:
        opposite = {motion.value: motion.reverse.value for motion in Motion}
        return sorted(f"{a}_{opposite[m]}" for a, _, m in (k.rpartition("_") for k in kinds))

    for motion in Motion:
        assert turned(came(forth, motion)) == came(back, motion.reverse)


@given(contracts, contracts, st.data())
def test_more_changes_never_need_less(left: Contract, right: Contract, data: st.DataObject) -> None:
    changes = diff(left, right)
    some = data.draw(st.sets(st.sampled_from(changes.items))) if changes.items else set()
    part = replace(changes, items=tuple(c for c in changes if c in some))

    assert part.bump <= changes.bump
    assert part.consumer <= changes.consumer
    assert part.producer <= changes.producer


@given(contracts, contracts)
def test_whatever_breaks_a_consumer_is_major(left: Contract, right: Contract) -> None:
    for change in diff(left, right):
        if change.consumer is BREAKS:
            assert change.bump is MAJOR
        assert change.bump is not NONE


# --- the same promise in other words --------------------------------------------------------------


def integer(**options: Any) -> SchemaProperty:
    return prop(logical_type=LogicalType.INTEGER, options=TypeOptions(**options))


def nested(*inner: SchemaProperty, **options: Any) -> SchemaProperty:
    return prop(logical_type=LogicalType.OBJECT, properties=inner, options=TypeOptions(**options))


def referring(*pairs: tuple[str, str]) -> Contract:
    columns, to = tuple(left for left, _ in pairs), tuple(right for _, right in pairs)
    return contract(prop("a"), prop("b"), relationships=(Relationship(columns=columns, to=to),))


def by_query(query: str) -> Contract:
    return with_rules(rule(kind=RuleKind.SQL, metric=None, query=query))


def stored(physical_type: str) -> Contract:
    return contract(prop(physical_type=physical_type))


KEY: dict[str, Any] = {"primary_key_position": 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            contract(integer(minimum=1)), contract(integer(exclusive_minimum=0)), id="above 0"
        ),
        pytest.param(
            contract(prop(options=TypeOptions(min_length=0))), contract(prop()), id="no length"
        ),
        pytest.param(
            contract(integer(multiple_of=Decimal(1))), contract(integer()), id="multiples of 1"
        ),
        pytest.param(
            contract(integer(multiple_of=Decimal("1.5"))),
            contract(integer(multiple_of=Decimal(3))),
            id="whole multiples of 1.5",
        ),
        pytest.param(
            contract(prop(required=True, **KEY)), contract(prop(**KEY)), id="a key is required"
        ),
        pytest.param(
            contract(prop(unique=True, **KEY)), contract(prop(**KEY)), id="a key is unique"
        ),
        pytest.param(
            contract(nested(prop("x"), required_properties=("x",))),
            contract(nested(prop("x", required=True))),
            id="required key",
        ),
        pytest.param(
            referring(("a", "o.a"), ("b", "o.b")),
            referring(("b", "o.b"), ("a", "o.a")),
            id="pairs of a reference",
        ),
        pytest.param(
            by_query("SELECT COUNT(*)  -- all\nFROM t"),
            by_query("select count(*) from t"),
            id="letter case of SQL",
        ),
        pytest.param(
            protected(FALLBACK, open_when=(parse_condition("row_count < 5"),)),
            protected(FALLBACK, open_when=(parse_condition("row_count <= 4"),)),
            id="counted rows",
        ),
        pytest.param(stored("bigint"), stored("int8"), id="bigint"),
        pytest.param(stored("timestamp"), stored("timestamp(6)"), id="microseconds"),
        pytest.param(stored("array<int>"), stored("list<INTEGER>"), id="array"),
    ],
)
def test_the_same_promise_in_other_words_is_a_patch(old: Contract, new: Contract) -> None:
    assert verdict(old, new) == verdict(new, old) == (FINE, FINE, PATCH)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("where c = 'a  b'", "where c = 'a b'"),
        ("where c = 'OR'", "where c = 'or'"),
        ("select a from Orders", "select a from orders"),
        ("select 1 -- x\n from t", "select 1 -- x from t"),
        ("select ${Column}", "select ${column}"),
    ],
)
def test_what_stands_within_quotes_and_names_is_not_layout(old: str, new: str) -> None:
    assert verdict(by_query(old), by_query(new)) == (BREAKS, BREAKS, MAJOR)


def test_the_layout_of_a_query_is_shown_without_what_is_not_there() -> None:
    (change,) = diff(by_query("select  1"), by_query("select 1"))

    assert change.message.endswith("from select  1 to select 1")


def test_columns_of_a_key_of_two_may_each_repeat() -> None:
    second = prop("b", primary_key_position=2)

    old, new = contract(prop(unique=True, **KEY), second), contract(prop(**KEY), second)

    assert verdict(old, new) == (BREAKS, FINE, MAJOR)


def test_steps_of_no_number_are_called_any() -> None:
    (change,) = diff(contract(number()), contract(number(multiple_of=Decimal(5))))

    assert "values were any, now they are multiples of 5" in change.message


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("int4", "int8"),
        ("int2", "int8"),
        ("int", "int8"),
        ("int8", "int16"),
        ("int8", "int64"),
        ("varchar2(20 char)", "varchar2(40 char)"),
        ("varchar(20)", "nvarchar(20)"),
        ("nvarchar(20)", "text"),
        ("array<int>", "array<bigint>"),
        ("int[]", "bigint[]"),
        ("map<string, decimal(8, 2)>", "map<string, decimal(10, 2)>"),
        ("timestamp(3)", "timestamp"),
    ],
)
def test_physical_types_are_ordered_by_what_they_hold(narrow: str, wide: str) -> None:
    assert verdict(stored(narrow), stored(wide)) == (WARNS, FINE, MINOR)
    assert verdict(stored(wide), stored(narrow)) == (FINE, BREAKS, MAJOR)


@pytest.mark.parametrize(("narrow", "wide"), [("i32", "i64"), ("u8", "i16"), ("f32", "f64")])
def test_formats_of_numbers_are_ordered_by_what_they_hold(narrow: str, wide: str) -> None:
    old, new = contract(number(format=narrow)), contract(number(format=wide))

    assert verdict(old, new) == (BREAKS, FINE, MAJOR)
    assert verdict(new, old) == (FINE, BREAKS, MINOR)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (True, False, (BREAKS, BREAKS, MAJOR)),
        (True, None, (BREAKS, FINE, MAJOR)),
        (None, True, (FINE, BREAKS, MINOR)),
    ],
)
def test_a_time_zone_is_a_demand_that_is_checked(
    old: bool | None, new: bool | None, expected: tuple[Verdict, Verdict, VersionBump]
) -> None:
    def moment(timezone: bool | None) -> Contract:
        options = TypeOptions(timezone=timezone)
        return contract(prop(logical_type=LogicalType.TIMESTAMP, options=options))

    assert verdict(moment(old), moment(new)) == expected


def test_where_the_order_matters_a_column_in_front_moves_the_others() -> None:
    old = contract(prop("a"), ordered=True)
    front = contract(prop("b"), prop("a"), ordered=True)
    behind = contract(prop("a"), prop("b"), ordered=True)

    assert verdict(old, front) == (BREAKS, BREAKS, MAJOR)
    assert not any("readers need not change" in change.message for change in diff(old, front))
    assert verdict(old, behind) == (FINE, FINE, MINOR)


@pytest.mark.parametrize("stable", [None, "x"])
def test_a_column_that_only_its_contract_calls_otherwise_stays(stable: str | None) -> None:
    old = contract(prop("order_id"))
    new = contract(prop("orderId", physical_name="order_id", id=stable))

    for one, other in ((old, new), (new, old)):
        assert verdict(one, other) == (WARNS, FINE, MINOR)
        assert "name_renamed" in kinds(diff(one, other))


def test_an_object_that_only_its_contract_calls_otherwise_stays() -> None:
    rest = SchemaObject(name="rest", properties=(prop(),))
    old = SchemaObject(name="orders", properties=(prop(),))
    new = SchemaObject(name="sales", physical_name="orders", properties=(prop(),))

    forth = diff(contract(objects=(old, rest)), contract(objects=(rest, new)))

    assert (forth.consumer, forth.producer, forth.bump) == (WARNS, FINE, MINOR)


def on_column(element: str, hours: int, **settings: Any) -> SlaProperty:
    limit = Quantity(Fraction(hours * 3600), Dimension.DURATION)
    kept = Comparison("data_latency", ComparisonOperator.LE, limit)
    return SlaProperty(property="latency", condition=kept, element=element, **settings)


def test_service_levels_of_one_property_are_told_apart_by_their_column() -> None:
    two, five = on_column("t", 2), on_column("u", 5)

    assert verdict(contract(sla=(two, five)), contract(sla=(five, two))) == (FINE, FINE, PATCH)
    (added,) = diff(contract(sla=(two,)), contract(sla=(five, two)))
    assert (added.path, added.kind) == ("sla.latency.u", "sla_added")
    (removed,) = diff(contract(sla=(five, two)), contract(sla=(two,)))
    assert (removed.path, removed.kind) == ("sla.latency.u", "sla_removed")


def test_a_service_level_keeps_its_id_on_another_column() -> None:
    old = contract(sla=(on_column("t", 2, id="a"), on_column("u", 2, id="b")))
    new = contract(sla=(on_column("t", 2, id="b"), on_column("u", 2, id="a")))

    assert "sla_element_changed" in kinds(diff(old, new))


def test_where_values_come_from_is_a_matter_of_meaning() -> None:
    old, new = (contract(prop(extras={"transformLogic": text})) for text in ("a + b", "a - b"))

    assert verdict(old, new) == (WARNS, WARNS, MINOR)


def test_too_many_names_to_compare_are_said_to_be() -> None:
    old = contract(*(prop(f"old_{place}") for place in range(60)))
    new = contract(*(prop(f"new_{place}") for place in range(60)))

    gone = next(change for change in diff(old, new) if change.kind == "column_removed")

    assert "60 columns gone and 60 come no new name was looked for" in gone.message


def test_valid_values_tell_yes_from_1() -> None:
    old, new = (
        with_rules(rule(metric=LibraryMetric.INVALID_VALUES, valid_values=values))
        for values in ((0, 1), (False, True))
    )

    assert verdict(old, new) == (BREAKS, BREAKS, MAJOR)


def test_a_field_that_its_object_requires_from_now_on_is_required() -> None:
    old, new = contract(nested(prop("x"))), contract(nested(prop("x"), required_properties=("x",)))

    assert verdict(old, new) == (FINE, BREAKS, MINOR)
    assert verdict(new, old) == (BREAKS, FINE, MAJOR)
    assert "orders.amount.x" in [change.path for change in diff(old, new)]
