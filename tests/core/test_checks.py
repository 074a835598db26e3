from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    LibraryMetric,
    LogicalType,
    QualityRule,
    Relationship,
    RuleKind,
    SchemaObject,
    SchemaProperty,
    Severity,
    SlaProperty,
    Threshold,
    ThresholdOperator,
    TypeOptions,
)
from dagster_contracts.core.outcome import OutcomeKind
from dagster_contracts.core.rules import (
    Aggregate,
    All,
    Bound,
    BoundOperator,
    Enumerated,
    Exists,
    Length,
    NotMissing,
    Required,
    Unique,
    Unmeasurable,
    columns_of,
)

EXACTLY_ZERO = Threshold(ThresholdOperator.MUST_BE, (Fraction(0),))


def contract(**fields: object) -> Contract:
    sla = fields.pop("sla", ())
    target = SchemaObject(name="orders", **fields)
    return Contract(name="orders", version="1.0.0", objects=(target,), sla=sla)


def column(name: str, logical_type: LogicalType = LogicalType.STRING, **fields) -> SchemaProperty:
    options = fields.pop("options", {})
    return SchemaProperty(
        name=name, logical_type=logical_type, options=TypeOptions(**options), **fields
    )


def rule_names(plan) -> list[str]:
    return [rule.name for rule in plan.rules]


def test_the_schema_check_holds_every_constraint_of_every_column():
    plan = plan_checks(
        contract(
            properties=(
                column("id", LogicalType.INTEGER, primary_key_position=1),
                column(
                    "state",
                    required=True,
                    unique=True,
                    options={"enum": ("new", "paid"), "max_length": 4, "pattern": "^n"},
                ),
            ),
            extra_columns=ExtraColumns.FORBID,
            ordered=True,
        )
    )
    assert plan.names == ("schema",)
    assert rule_names(plan) == [
        "id.present",
        "id.type",
        "id.required",
        "state.present",
        "state.type",
        "state.required",
        "state.unique",
        "state.enum",
        "state.max_length",
        "state.pattern",
        "primary_key",
        "extra_columns",
        "column_order",
    ]
    assert {rule.kind for rule in plan.rules} == {OutcomeKind.SCHEMA}
    assert {rule.check for rule in plan.rules} == {"schema"}


def test_columns_are_named_as_the_data_names_them():
    plan = plan_checks(
        contract(
            properties=(column("amount", LogicalType.NUMBER, physical_name="amt_eur"),),
            quality=(
                QualityRule(
                    name="filled",
                    kind=RuleKind.LIBRARY,
                    metric=LibraryMetric.NULL_VALUES,
                    column="amount",
                ),
            ),
        )
    )
    assert rule_names(plan)[:2] == ["amt_eur.present", "amt_eur.type"]
    assert plan.check("filled").rules[0].test == Required(("amt_eur",))
    assert plan.check("filled").rules[0].column == "amt_eur"


def test_a_key_of_several_columns_keeps_its_own_order():
    plan = plan_checks(
        contract(
            properties=(
                column("second", primary_key_position=2),
                column("first", primary_key_position=1),
            )
        )
    )
    key = next(rule for rule in plan.rules if rule.name == "primary_key")
    assert key.test == Unique(("first", "second"))


def test_bounds_say_which_way_they_hold():
    options = {"minimum": 1, "exclusive_maximum": 10}
    plan = plan_checks(contract(properties=(column("n", LogicalType.INTEGER, options=options),)))
    tests = {rule.name: rule.test for rule in plan.rules}
    assert tests["n.minimum"] == Bound(("n",), BoundOperator.AT_LEAST, 1)
    assert tests["n.exclusive_maximum"] == Bound(("n",), BoundOperator.LESS_THAN, 10)


@pytest.mark.parametrize(
    ("form", "low", "high"), [("i8", -128, 127), ("u16", 0, 65_535), ("i64", -(2**63), 2**63 - 1)]
)
def test_integer_formats_are_ranges(form: str, low: int, high: int):
    plan = plan_checks(
        contract(properties=(column("n", LogicalType.INTEGER, options={"format": form}),))
    )
    test = next(rule.test for rule in plan.rules if rule.name == "n.format")
    assert test == All(
        (Bound(("n",), BoundOperator.AT_LEAST, low), Bound(("n",), BoundOperator.AT_MOST, high))
    )


def test_how_a_date_is_written_is_no_rule_about_typed_dates():
    options = {"format": "yyyy-MM-dd"}
    plan = plan_checks(contract(properties=(column("day", LogicalType.DATE, options=options),)))
    assert rule_names(plan) == ["day.present", "day.type"]


def test_nested_fields_and_items_are_planned_by_their_path():
    plan = plan_checks(
        contract(
            properties=(
                column(
                    "address",
                    LogicalType.OBJECT,
                    properties=(column("zip", required=True, options={"min_length": 5}),),
                    options={"required_properties": ("zip",)},
                ),
                column(
                    "tags",
                    LogicalType.ARRAY,
                    items=column("", options={"max_length": 3}),
                    options={"max_items": 4},
                ),
            )
        )
    )
    tests = {rule.name: rule.test for rule in plan.rules}
    assert tests["address.zip.required"] == Required(("address", "zip"))
    assert "address.zip.min_length" in tests
    assert tests["tags[].max_length"] == Length(("tags", "[]"), maximum=3)
    assert "tags.max_items" in tests


def test_relationships_become_references():
    link = Relationship(columns=("customer",), to=("crm.customers.id",))
    broken = Relationship(columns=("customer",), to=("a.id", "b.id"))
    plan = plan_checks(contract(properties=(column("customer"),), relationships=(link, broken)))
    tests = [rule.test for rule in plan.rules if ".references" in rule.name]
    assert tests[0] == Exists(("customer",), "crm.customers", ("id",))
    assert isinstance(tests[1], Unmeasurable)


def test_each_quality_rule_is_a_check_and_no_name_is_taken_twice():
    def counted(name: str) -> QualityRule:
        return QualityRule(
            name=name, kind=RuleKind.LIBRARY, metric=LibraryMetric.NULL_VALUES, column="a"
        )

    plan = plan_checks(
        contract(
            properties=(column("a", quality=(counted("filled"),)),),
            quality=(counted("filled"), counted("schema"), counted("circuit")),
        )
    )
    assert plan.names == ("schema", "filled", "schema_2", "circuit_2", "filled_2")
    assert all(rule.check == rule.name for check in plan.checks[1:] for rule in check.rules)


def test_library_metrics_become_tests():
    def planned(metric: LibraryMetric, **fields):
        rule = QualityRule(name="r", kind=RuleKind.LIBRARY, metric=metric, **fields)
        return plan_checks(contract(properties=(column("a"),), quality=(rule,))).check("r").rules[0]

    assert planned(LibraryMetric.MISSING_VALUES, column="a", missing_values=(None, "")).test == (
        NotMissing(("a",), ("",))
    )
    assert planned(LibraryMetric.INVALID_VALUES, column="a", valid_values=("x",)).test == (
        Enumerated(("a",), ("x",))
    )
    assert planned(LibraryMetric.DUPLICATE_VALUES, columns=("a", "b")).test == Unique(("a", "b"))
    assert planned(LibraryMetric.ROW_COUNT, threshold=EXACTLY_ZERO).test == (
        Aggregate(LibraryMetric.ROW_COUNT)
    )


@pytest.mark.parametrize(
    ("metric", "fields"),
    [
        (LibraryMetric.ROW_COUNT, {}),
        (LibraryMetric.MEAN, {"column": "a"}),
        (LibraryMetric.NULL_VALUES, {}),
        (LibraryMetric.DUPLICATE_VALUES, {}),
        (LibraryMetric.INVALID_VALUES, {"column": "a"}),
        (LibraryMetric.QUANTILE, {"column": "a", "threshold": EXACTLY_ZERO}),
    ],
)
def test_a_rule_that_says_too_little_is_planned_as_unmeasurable(metric, fields):
    rule = QualityRule(name="r", kind=RuleKind.LIBRARY, metric=metric, **fields)
    test = plan_checks(contract(quality=(rule,))).check("r").rules[0].test
    assert isinstance(test, Unmeasurable)


def test_service_levels_are_checks_even_where_nothing_measures_them():
    plan = plan_checks(
        contract(
            sla=(
                SlaProperty(property="freshness", condition=parse_condition("data_freshness < 1h")),
                SlaProperty(
                    property="general availability", condition=None, not_evaluated="a date"
                ),
            )
        )
    )
    assert plan.names == ("schema", "sla_freshness", "sla_general_availability")
    assert plan.check("sla_general_availability").rules[0].test == Unmeasurable("a date")


def test_extra_columns_warn_where_the_contract_only_warns():
    for policy, severity in (
        (ExtraColumns.WARN, Severity.WARNING),
        (ExtraColumns.FORBID, Severity.ERROR),
    ):
        plan = plan_checks(contract(properties=(column("a"),), extra_columns=policy))
        assert plan.check("schema").rules[-1].severity is severity
    plan = plan_checks(contract(properties=(column("a"),)))
    assert "extra_columns" not in rule_names(plan)


def test_descriptions_are_sentences_about_the_column():
    options = {"minimum": Decimal("0.5"), "enum": tuple("abcdefghij")}
    plan = plan_checks(contract(properties=(column("n", options=options),)))
    words = {rule.name: rule.description for rule in plan.rules}
    assert words["n.minimum"] == "n is >= 0.5"
    assert words["n.enum"].endswith("'h' and 2 more")


def test_columns_of_names_every_column_once():
    assert columns_of(All((Required(("a", "b")), Required(("a",))))) == ("a",)
    assert columns_of(Unique(("x", "y"))) == ("x", "y")
    assert columns_of(Aggregate(LibraryMetric.ROW_COUNT)) == ()
