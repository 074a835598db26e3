"""ODCS: the official examples, the standard's mistakes in its words, nothing dropped."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagster_contracts.core.condition import render
from dagster_contracts.core.contract import (
    Contract,
    ContractStatus,
    ExtraColumns,
    HealMode,
    LibraryMetric,
    LogicalType,
    RuleKind,
    Severity,
    SourceKind,
    ThresholdUnit,
)
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.odcs_writer import to_odcs
from dagster_contracts.documents.problem import Problem, ProblemSeverity

OFFICIAL = Path(__file__).parents[1] / "corpus" / "odcs-official"
EXAMPLES = sorted(OFFICIAL.glob("*.yaml"))

Document = dict[str, Any]


def document(version: str = "v3.1.0", **root: object) -> Document:
    return {"apiVersion": version, "kind": "DataContract", "id": "x", "version": "1.0.0", **root}


def table(*properties: Document, **more: object) -> list[Document]:
    return [{"name": "t", "properties": list(properties), **more}]


def problems(content: Document) -> tuple[Problem, ...]:
    text = yaml.safe_dump(content, sort_keys=False)
    return read_document(Path("f.yaml"), text=text).problems


def load(content: Document) -> Contract:
    return load_contract("f.yaml", text=yaml.safe_dump(content, sort_keys=False))


def column(**keys: object) -> Document:
    return document(schema=table({"name": "a", "logicalType": "string", **keys}))


def test_the_corpus_is_whole() -> None:
    assert len(EXAMPLES) == 18


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_official_examples_load_with_at_most_warnings(path: Path) -> None:
    found = read_document(path)
    assert found.contract is not None
    assert found.errors == ()
    assert found.contract.objects


def test_the_full_example_is_read() -> None:
    contract = load_contract(OFFICIAL / "full-example.odcs.yaml")
    table_, receivers = contract.objects
    assert contract.owner == "my-team"
    assert contract.description == "Views built on top of the seller tables."
    assert table_.physical_name == "tbl_1"
    assert [(r.columns, r.to) for r in table_.relationships] == [
        (("rcvr_id",), ("receivers.id",)),
        (("rcvr_id", "rcvr_cntry_code"), ("receivers.id", "receivers.country_code")),
    ]
    assert receivers.primary_key == ("id", "country_code")
    assert receivers.relationships[0].columns == ("receiver_type",)
    first = table_.properties[0]
    assert (first.name, first.column) == ("transaction_reference_date", "txn_ref_dt")
    assert first.partition_key_position == 1
    names = [rule.name for rule in table_.all_quality()]
    assert names == ["row_count", "rcvr_cntry_code_null_values"]
    latency = contract.sla[0]
    assert latency.condition is not None
    assert render(latency.condition) == "data_latency <= 4d"
    assert (latency.element, latency.schema_object) == ("txn_ref_dt", "tab1")
    for key in ("servers", "price", "roles", "support", "tenant", "domain", "team", "dataProduct"):
        assert key in contract.extras
    kept = contract.extras["customProperties"]
    assert isinstance(kept, list)
    assert len(kept) == 3


def test_every_service_level_is_measured_or_says_why_not() -> None:
    contract = load_contract(OFFICIAL / "database-table-sla.odcs.yaml")
    assert len(contract.sla) == 8
    for level in contract.sla:
        assert (level.condition is None and level.warn is None) != (level.not_evaluated is None)
        assert level.text


@pytest.mark.parametrize(
    ("content", "where", "what", "hint"),
    [
        (document(shema=[]), (5, 1), "no key 'shema'", "'schema'"),
        (document(statis="active"), (5, 1), "no key 'statis'", "'status'"),
        ({**document(), "version": 1.0}, (4, 10), "must be text", '"1.0"'),
        (document(resilience={}), (5, 1), "no key 'resilience'", "customProperties"),
        (column(requierd=True), (10, 5), "'a' has no key 'requierd'", "'required'"),
        (column(nullable=False), (10, 5), "no key 'nullable'", "required: true"),
        (column(logicalType="int"), (9, 18), "cannot be 'int'", "'integer'"),
        (column(logicalTypeOptions={"minimum": 1}), (11, 7), "no key 'minimum'", "minLength"),
        (
            column(quality=[{"metric": "rowCount", "mustBe": 1, "mustBeLessThan": 3}]),
            (13, 7),
            "exactly one operator",
            "mustBeBetween",
        ),
        (column(quality=[{"metric": "rowCount"}]), (11, 7), "no operator", "mustBe: 0"),
        (
            column(quality=[{"metric": "rowCount", "mustBeLess": 3}]),
            (12, 7),
            "no key 'mustBeLess'",
            "'mustBeLessThan'",
        ),
        (
            column(quality=[{"metric": "rowCount", "mustBeLessThan": "3"}]),
            (12, 23),
            "must be a number",
            "without quotes",
        ),
        (
            column(quality=[{"metric": "rows", "mustBe": 3}]),
            (11, 15),
            "cannot be 'rows'",
            "rowCount",
        ),
        (column(quality=[{"type": "sql", "mustBe": 3}]), (11, 7), "needs 'query'", "query"),
        (document(slaProperties=[{"property": "latency"}]), (6, 3), "needs 'value'", "value"),
        (document(customProperties={"a": 1}), (6, 3), "must be a list", ""),
        (document(version="v3.9.0"), (1, 13), "cannot be 'v3.9.0'", "v3.2.0"),
        (document(version="v2.2.2", dataset=[]), (1, 13), "not read", "v3.1.0"),
    ],
)
def test_the_standards_mistakes_have_a_place_and_a_mend(
    content: Document, where: tuple[int, int], what: str, hint: str
) -> None:
    found = problems(content)
    errors = [p for p in found if p.severity is ProblemSeverity.ERROR]
    assert len(errors) == 1, errors
    assert (errors[0].location.line, errors[0].location.column) == where
    assert what in errors[0].message
    assert hint in (errors[0].hint or "")


def test_what_an_older_version_allowed_is_a_warning() -> None:
    newer = document("v3.2.0", schema=table({"name": "m", "logicalType": "map"}))
    assert [p.severity for p in problems(newer)] == [ProblemSeverity.ERROR]
    older = document("v3.1.0", schema=table({"name": "m", "logicalType": "map"}))
    assert [p.severity for p in problems(older)] == [ProblemSeverity.WARNING]
    assert load(older).objects[0].properties[0].logical_type is LogicalType.MAP
    never = document("v3.0.2", schema=table({"name": "a", "logicalTipe": "map"}))
    assert [p.severity for p in problems(never)] == [ProblemSeverity.ERROR]


def test_quality_rules_of_all_types() -> None:
    content = column(
        quality=[
            {"type": "text", "description": "Looks fine"},
            {"metric": "invalidValues", "arguments": {"validValues": ["x", None]}, "mustBe": 0},
            {"metric": "nullValues", "mustBeLessThan": 2.5, "unit": "percent", "severity": "warn"},
            {"type": "sql", "query": "select 1", "mustBeBetween": [1, 2], "name": "my rule"},
            {"type": "custom", "engine": "soda", "implementation": "x: y"},
        ]
    )
    rules = load(content).objects[0].properties[0].quality
    assert [rule.kind for rule in rules] == [
        RuleKind.TEXT,
        RuleKind.LIBRARY,
        RuleKind.LIBRARY,
        RuleKind.SQL,
        RuleKind.CUSTOM,
    ]
    assert [rule.name for rule in rules] == [
        "a_text",
        "a_invalid_values",
        "a_null_values",
        "my_rule",
        "a_custom",
    ]
    assert rules[1].metric is LibraryMetric.INVALID_VALUES
    assert rules[1].valid_values == ("x",)
    assert rules[1].extras == {"arguments": {"validValues": ["x", None]}}
    assert rules[2].threshold is not None
    assert rules[2].threshold.values == (Fraction(5, 2),)
    assert rules[2].threshold.unit is ThresholdUnit.PERCENT
    assert rules[2].severity is Severity.WARNING
    assert rules[3].extras == {"name": "my rule"}
    assert rules[4].implementation == "x: y"


def test_names_of_rules_are_unique_and_valid_check_names() -> None:
    rules = [
        {"metric": "rowCount", "mustBe": number, "name": name}
        for number, name in enumerate(["schema", "circuit", "sla_x", "a b", "a-b", "a_b", "ü"])
    ]
    found = load(document(schema=table(quality=rules))).objects[0].quality
    assert [rule.name for rule in found] == [
        "rule_schema",
        "rule_circuit",
        "rule_sla_x",
        "a_b",
        "a_b_2",
        "a_b_3",
        "row_count",
    ]


def test_our_extensions_stand_in_custom_properties() -> None:
    content = document(
        schema=table(
            {"name": "at", "logicalType": "timestamp"},
            {"name": "other", "logicalType": "timestamp"},
            customProperties=[{"property": "extraColumns", "value": "forbid"}],
        ),
        customProperties=[
            {"property": "asset", "value": "raw/x"},
            {"property": "eventTime", "value": "at"},
            {"property": "metrics", "value": {"depth": "count"}},
            {"property": "owner", "value": "sales"},
            {"property": "foreign", "value": 1},
            {"property": "consumers", "value": ["report"]},
            {"property": "schemas", "value": {"small": {"fields": {"at": "timestamp"}}}},
            {
                "property": "resilience",
                "value": {
                    "circuit_breaker": {"open_when": ["depth > 5"]},
                    "fallback_modes": [{"level": "s", "source": "subset", "schema": "small"}],
                },
            },
        ],
    )
    contract = load(content)
    (main,) = contract.objects
    assert contract.asset_names(main) == ("raw/x",)
    assert contract.event_time == "at"
    assert contract.owner == "sales"
    assert main.extra_columns is ExtraColumns.FORBID
    assert contract.consumers[0].name == "report"
    assert contract.resilience is not None
    assert contract.resilience.fallbacks[0].source.kind is SourceKind.SUBSET
    assert set(contract.schemas) == {"small"}
    assert contract.extras["customProperties"] == [{"property": "foreign", "value": 1}]


@pytest.mark.parametrize(("written", "mode"), [(False, HealMode.OFF), (True, HealMode.RUN)])
def test_healing_may_be_switched_off_by_a_flag(written: bool, mode: HealMode) -> None:
    content = document(customProperties=[{"property": "resilience", "value": {"heal": written}}])
    resilience = load(content).resilience
    assert resilience is not None
    assert resilience.heal is mode


def test_a_mistake_in_an_extension_is_an_error_with_its_place() -> None:
    content = document(
        customProperties=[{"property": "resilience", "value": {"circuit_braker": {}}}]
    )
    errors = [p for p in problems(content) if p.severity is ProblemSeverity.ERROR]
    assert [(p.location.line, p.location.column) for p in errors] == [(8, 5)]
    assert "'circuit_breaker'" in (errors[0].hint or "")


def test_several_objects_are_several_assets() -> None:
    content = document(
        schema=[{"name": "a", "physicalName": "A1"}, {"name": "b"}],
        customProperties=[{"property": "asset", "value": {"b": "lake/b"}}],
    )
    contract = load(content)
    first, second = contract.objects
    assert contract.asset_names(first) == ("A1", "a")
    assert contract.asset_names(second) == ("lake/b",)


def test_types_of_3_2() -> None:
    content = document(
        "v3.2.0",
        schema=table(
            {
                "name": "m",
                "logicalType": "map",
                "map": {"key": {"logicalType": "string"}, "value": {"logicalType": "integer"}},
            },
            {"name": "v", "logicalType": "vector", "logicalTypeOptions": {"dimensions": 3}},
            {
                "name": "e",
                "logicalType": "string",
                "enum": [{"value": "a", "label": "A"}, {"value": "b"}],
            },
            {
                "name": "day",
                "logicalType": "date",
                "logicalTypeOptions": {"minimum": "2020-01-01", "maximum": "sometime"},
            },
        ),
    )
    mapped, vector, enumerated, day = load(content).objects[0].properties
    assert mapped.items is not None
    assert mapped.items.logical_type is LogicalType.INTEGER
    assert vector.logical_type is LogicalType.ARRAY
    assert vector.extras["logicalType"] == "vector"
    assert vector.extras["logicalTypeOptions"] == {"dimensions": 3}
    assert enumerated.options.enum == ("a", "b")
    assert day.options.minimum == date(2020, 1, 1)
    assert [p.code for p in problems(content)] == ["wrong-value"]


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ({"name": "orders", "id": "x"}, "orders"),
        ({"name": "Orders Event Stream", "id": "orders"}, "orders"),
        (
            {"name": "Orders Event Stream", "id": "53581432-6c55-4ba2-a65f-72344a91553a"},
            "orders_event_stream",
        ),
        ({"id": "abc123"}, "abc123"),
    ],
)
def test_the_name_of_a_contract(root: Document, name: str) -> None:
    assert load({**document(), **root}).name == name


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("active", ContractStatus.ACTIVE),
        ("Deprecated", ContractStatus.DEPRECATED),
        ("production", ContractStatus.ACTIVE),
        ("in development", ContractStatus.DRAFT),
        ("whatever", ContractStatus.DRAFT),
    ],
)
def test_statuses_are_free_text_in_odcs(written: str, taken: ContractStatus) -> None:
    assert load(document(status=written)).status is taken


@pytest.mark.parametrize(
    ("level", "condition"),
    [
        ({"property": "latency", "value": 4, "unit": "d"}, "data_latency <= 4d"),
        ({"property": "freshness", "value": 90, "unit": "minutes"}, "data_freshness <= 90min"),
        ({"property": "freshness", "value": "20min"}, "data_freshness <= 20min"),
        ({"property": "freshness", "value": "< 1h"}, "data_freshness < 1h"),
        ({"property": "frequency", "value": 1, "unit": "y"}, "materialization_age <= 365d"),
        ({"property": "completeness", "value": 99.5, "unit": "percent"}, "completeness >= 99.5%"),
        ({"property": "completeness", "value": 0.9}, "completeness >= 90%"),
        ({"property": "errorRate", "value": 2, "unit": "%"}, "schema_validation_errors <= 2%"),
        ({"property": "latency", "value": 4, "unit": "parsecs"}, None),
        ({"property": "latency", "value": 4}, None),
        ({"property": "availability", "value": 99}, "availability >= 99%"),
        ({"property": "Availability", "value": "99.9%"}, "availability >= 99.9%"),
        ({"property": "av", "value": "99.9", "unit": "percent"}, "availability >= 99.9%"),
        (
            {"property": "availability", "value": 99, "unit": "%", "valueExt": "7d"},
            "availability.7d >= 99%",
        ),
        ({"property": "throughput", "value": 1000, "unit": "rows/min"}, "throughput >= 1000/min"),
        ({"property": "throughput", "value": "20/s"}, "throughput >= 20/s"),
        ({"property": "throughput", "value": 7, "unit": "records per second"}, "throughput >= 7/s"),
        ({"property": "throughput", "value": 5, "unit": "MB/s"}, None),
        ({"property": "retention", "value": 3, "unit": "y"}, "data_retention <= 1095d"),
        ({"property": "retention", "value": "P3M"}, "data_retention <= 91d6h"),
        ({"property": "retention", "value": ">= 90d"}, "data_retention >= 90d"),
        ({"property": "timeToDetect", "value": 30, "unit": "sec"}, "time_to_detect <= 30s"),
        ({"property": "time_to_notify", "value": 15, "unit": "m"}, "time_to_notify <= 15min"),
        ({"property": "tr", "value": 4, "unit": "hours"}, "time_to_repair <= 4h"),
        ({"property": "timeOfAvailability", "value": "09:00-08:00"}, "delay_after.1700 <= 0s"),
        (
            {"property": "timeOfAvailability", "value": "09:00 Europe/Berlin"},
            "delay_after.0900.Europe.Berlin <= 0s",
        ),
        ({"property": "timeOfAvailability", "value": "noonish"}, None),
        ({"property": "endOfSupport", "value": "2032-05-12"}, "time_to_end_of_support >= 0s"),
        ({"property": "endOfLife", "value": "some day"}, None),
        ({"property": "charm", "value": 7}, None),
    ],
)
def test_service_levels(level: Document, condition: str | None) -> None:
    (found,) = load(document(slaProperties=[level])).sla
    if condition is None:
        assert found.condition is None
        assert found.not_evaluated
    else:
        assert found.condition is not None
        assert render(found.condition) == condition


def test_a_column_that_is_declared_twice_is_an_error() -> None:
    twice = [{"name": "a"}, {"name": "b", "physicalName": "a"}]
    for content in (
        document(schema=table(*twice)),
        document(schema=table({"name": "o", "logicalType": "object", "properties": twice})),
    ):
        (found,) = [p for p in problems(content) if p.code == "duplicate-field"]
        assert found.severity is ProblemSeverity.ERROR
        assert "the column 'a'" in found.message


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("Release 2", "Release-2"),
        ("1.0.0 (draft)", "1.0.0-draft"),
        ("1.0.0+build 5", "1.0.0+build-5"),
    ],
)
def test_a_version_of_any_text_is_made_fit_and_kept(written: str, taken: str) -> None:
    content = document(schema=table({"name": "a"}), name="x", status="active")
    content["version"] = written
    (found,) = [p for p in problems(content) if p.code == "version"]
    assert found.severity is ProblemSeverity.WARNING
    assert taken in found.message
    contract = load(content)
    assert contract.version == taken
    assert to_odcs(contract)["version"] == written
    assert load(to_odcs(contract)).extras == contract.extras


def test_a_version_without_any_letter_or_number_is_an_error() -> None:
    content = {**document(schema=table({"name": "a"})), "version": "..."}
    (found,) = [p for p in problems(content) if p.code == "version"]
    assert found.severity is ProblemSeverity.ERROR
