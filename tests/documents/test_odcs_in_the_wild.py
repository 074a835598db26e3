"""ODCS as people write it: what older versions allowed, what tools leave out, nested rules."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.contract import (
    ContractStatus,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
)
from dagster_contracts.core.rules import Custom, Required, Unmeasurable
from dagster_contracts.documents.conversion import Form, convert, write_form
from dagster_contracts.documents.document import Document, read_document
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.lint import lint_contract
from dagster_contracts.documents.odcs_validation import OLDER
from dagster_contracts.documents.odcs_writer import to_odcs
from dagster_contracts.documents.problem import Problem, ProblemSeverity
from dagster_contracts.documents.yaml_text import parse_yaml, to_json
from dagster_contracts.documents.yaml_trouble import LOADER

Node = dict[str, Any]
PORT = {"port": 1}
OFFICIAL = sorted((Path(__file__).parents[1] / "corpus" / "odcs-official").glob("*.yaml"))


def document(version: str, **root: object) -> Node:
    head = {"apiVersion": version, "kind": "DataContract", "id": "tides", "version": "1.0.0"}
    return {**head, "status": "active", **root}


def table(*properties: Node, **more: object) -> list[Node]:
    return [{"name": "gauges", "properties": list(properties), **more}]


# libyaml's, where it was compiled in: ten times as fast.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read(content: Node) -> Document:
    return read_as_text(yaml.dump(content, Dumper=DUMPER, sort_keys=False))


def read_as_text(content: str) -> Document:
    return read_document(Path("f.yaml"), text=content)


def errors(content: Node) -> list[Problem]:
    return [p for p in read(content).problems if p.severity is ProblemSeverity.ERROR]


def warnings(content: Node) -> list[str]:
    return [p.message for p in read(content).problems if p.severity is ProblemSeverity.WARNING]


def planned_tests(content: Node) -> dict[str, object]:
    contract = load_contract("f.yaml", text=yaml.safe_dump(content, sort_keys=False))
    return {check.name: check.rules[0].test for check in plan_checks(contract).checks}


def test_exclusive_bounds_were_flags_before_3_1() -> None:
    level = {"minimum": 0, "exclusiveMinimum": False, "maximum": 12, "exclusiveMaximum": True}
    day = {"maximum": "2030-01-01", "exclusiveMaximum": True}
    content = document(
        "v3.0.2",
        schema=table(
            {"name": "level", "logicalType": "number", "logicalTypeOptions": level},
            {"name": "day", "logicalType": "date", "logicalTypeOptions": day},
        ),
    )
    contract = read(content).contract
    assert contract is not None
    first, second = contract.objects[0].properties
    assert (first.options.minimum, first.options.maximum) == (0, None)
    assert first.options.exclusive_maximum == 12
    assert str(second.options.exclusive_maximum) == "2030-01-01"
    assert to_odcs(contract)["schema"][0]["properties"][0]["logicalTypeOptions"] == level  # type: ignore[index, call-overload]
    assert len(errors({**content, "apiVersion": "v3.1.0"})) == 3


@pytest.mark.parametrize("place", ["root", "object", "property"])
def test_custom_properties_of_3_0_may_lack_a_name_or_a_value(place: str) -> None:
    custom = [{"property": "station"}, {"value": 3}]
    column: Node = {"name": "level"}
    content = document("v3.0.1", schema=table(column))
    holder = {"root": content, "object": content["schema"][0], "property": column}[place]
    holder["customProperties"] = custom
    found = read(content)
    assert found.contract is not None
    written = to_odcs(found.contract)
    holders = {
        "root": written,
        "object": written["schema"][0],  # type: ignore[index, call-overload]
        "property": written["schema"][0]["properties"][0],  # type: ignore[index, call-overload]
    }
    assert holders[place]["customProperties"] == custom  # type: ignore[index]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"rule": "spikes", "mustBe": 0}, "there is no library metric 'spikes'"),
        ({"rule": "rowCount"}, "rowCount needs an operator such as mustBeGreaterThan"),
        (
            {"rule": "rowCount", "mustBeGreaterThan": 1, "mustBeLessThan": 9},
            "the rule has several operators: mustBeGreaterThan, mustBeLessThan",
        ),
        (
            {"type": "sql", "query": "select 1", "mustBe": "high"},
            "mustBe compares with 'high', and only numbers are",
        ),
        (
            {"type": "sql", "query": "select 1", "mustBe": [1, 2]},
            "mustBe compares with [1, 2], and only numbers are",
        ),
    ],
)
def test_a_rule_that_3_0_allowed_and_nothing_can_judge_says_why(rule: Node, reason: str) -> None:
    content = document("v3.0.0", schema=table({"name": "level"}, quality=[{"name": "it", **rule}]))
    assert planned_tests(content)["it"] == Unmeasurable(reason)
    found = read(content)
    assert found.contract is not None
    written = to_odcs(found.contract)["schema"][0]["quality"][0]  # type: ignore[index, call-overload]
    assert {key: written[key] for key in rule} == rule  # type: ignore[index, call-overload]


def test_the_rules_of_3_0_are_todays_metrics() -> None:
    rules: list[Node] = [
        {"rule": "nullCheck"},
        {"rule": "nullPercent", "mustBeLessThan": 5},
        {"rule": "duplicateCount", "mustBeLessThan": 5},
    ]
    content = document("v3.0.2", schema=table({"name": "level", "quality": rules}))
    contract = read(content).contract
    assert contract is not None
    quality = contract.objects[0].properties[0].quality
    assert [rule.name for rule in quality] == [
        "level_null_values",
        "level_null_values_2",
        "level_duplicate_values",
    ]
    thresholds = [rule.threshold for rule in quality]
    assert [t and (t.values[0], t.unit) for t in thresholds] == [
        (Fraction(0), ThresholdUnit.ROWS),
        (Fraction(5), ThresholdUnit.PERCENT),
        (Fraction(5), ThresholdUnit.ROWS),
    ]
    listed = {
        **content,
        "schema": table({"name": "level", "quality": [{"type": "library"} | rules[0]]}),
    }
    (hint,) = [p.hint for p in read(listed).problems if "'metric'" in p.message]
    assert hint == "'rule' is called 'metric' now: write metric: nullValues"


def test_rules_of_nested_properties_are_planned() -> None:
    inner = {
        "name": "lat",
        "logicalType": "number",
        "quality": [{"metric": "nullValues", "mustBe": 0}],
    }
    sensor = {"type": "custom", "engine": "soda", "implementation": "checks"}
    content = document(
        "v3.1.0",
        schema=table(
            {"name": "place", "logicalType": "object", "properties": [inner]},
            {
                "name": "sensors",
                "logicalType": "array",
                "items": {
                    "logicalType": "object",
                    "properties": [{"name": "kind", "quality": [sensor]}],
                },
            },
            {"name": "raw", "logicalType": "object", "quality": [sensor]},
        ),
    )
    found = planned_tests(content)
    assert found["place_lat_null_values"] == Required(("place", "lat"))
    assert found["sensors_items_kind_custom"] == Unmeasurable(
        "such rules stand at columns, not at the items of arrays and maps"
    )
    assert found["raw_custom"] == Custom("soda", "checks", "raw")


def test_a_service_level_of_one_object_says_nothing_of_another() -> None:
    content = document(
        "v3.1.0",
        schema=[
            {"name": "stations", "properties": [{"name": "code"}]},
            {"name": "levels", "properties": [{"name": "measured", "logicalType": "date"}]},
        ],
        slaProperties=[
            {"property": "freshness", "value": 6, "unit": "h", "element": "levels.measured"},
            {"property": "retention", "value": 3, "unit": "y", "element": "levels"},
        ],
    )
    contract = read(content).contract
    assert contract is not None
    assert contract.event_time is None
    assert [p.message for p in lint_contract(contract)] == []


def test_one_mistake_of_several_service_levels_is_told_once() -> None:
    content = document(
        "v3.1.0",
        schema=table({"name": "at", "logicalType": "timestamp"}),
        slaProperties=[
            {"property": name, "value": 1, "unit": "d", "element": "gauge.at"}
            for name in ("freshness", "latency", "frequency")
        ],
    )
    contract = read(content).contract
    assert contract is not None
    (told,) = lint_contract(contract)
    assert told.message == (
        "the service level 'freshness' and 2 others speak of 'gauge', "
        "which is no object of the schema"
    )


@pytest.mark.parametrize(
    ("part", "message", "hint"),
    [
        (
            {"schema": table({"name": "code", "logicalType": "string", "properties": []})},
            "the property 'code' has the logicalType 'string', which has no 'properties'",
            "only an object has properties: write logicalType: object",
        ),
        (
            {
                "servers": [
                    {"server": "s", "type": "local", "path": "x", "format": "csv", "port": 1}
                ]
            },
            "the server 's' has the type 'local', which has no 'port'",
            "remove it, or give 'type' another value",
        ),
        (
            {"schema": table({"name": "code", "physicalType": None})},
            "'physicalType' must be text, not nothing",
            "give 'physicalType' a value, or remove it",
        ),
        (
            {"schema": table({"name": "code", "isNullable": False})},
            "the property 'code' has no key 'isNullable'",
            "write 'required: true' for what may not be null",
        ),
        (
            {"team": {"username": "mara"}},
            "'team' has no key 'username'",
            "people stand in the list 'members': members: [{username: ...}]",
        ),
        (
            {"schema": [{"name": "t", "id": "a.b"}]},
            "'id' has the wrong shape: the text 'a.b'",
            "an id is made of letters, digits, '_' and '-'",
        ),
        (
            {"schema": table({"name": "code", "relationships": [{"to": "codes"}]})},
            "'to' has none of the shapes that are allowed here",
            "write object.property, or schema/<object id>/properties/<property id>",
        ),
    ],
)
def test_what_the_standard_refuses_is_refused_in_one_message(
    part: Node, message: str, hint: str
) -> None:
    (found,) = errors(document("v3.1.0", **part))
    assert (found.message, found.hint) == (message, hint)


def test_a_relationship_without_ends_is_told_without_echoes() -> None:
    content = document("v3.1.0", schema=table(relationships=[{"type": "foreignKey"}]))
    assert [p.message for p in errors(content)] == [
        "the relationship needs 'from'",
        "the relationship needs 'to'",
    ]


def test_a_document_of_3_that_says_2_is_read() -> None:
    content = document("v2.2.2", schema=table({"name": "level"}))
    assert errors(content) == []
    assert warnings(content) == [
        "the document says ODCS v2.2.2 and has the shape of ODCS 3, as which it is read"
    ]
    (refused,) = errors(document("v2.2.2", dataset=[], datasetName="tides"))
    assert "is not read" in refused.message
    assert "'columns' becomes 'properties'" in (refused.hint or "")


def test_current_is_active() -> None:
    contract = read(document("v3.0.0") | {"status": "current"}).contract
    assert contract is not None
    assert contract.status is ContractStatus.ACTIVE


def test_custom_properties_of_others_may_have_our_names() -> None:
    others = [
        {"property": "owner", "value": ["harbour", "coast"]},
        {"property": "monitoring", "value": "daily"},
        {"property": "consumers", "value": "everybody"},
    ]
    level = {"property": "availability", "value": 99, "unit": "percent"}
    severe = [{"property": "severity", "value": "P1"}]
    content = document(
        "v3.2.0", customProperties=others, slaProperties=[{**level, "customProperties": severe}]
    )
    contract = read(content).contract
    assert contract is not None
    assert contract.extras["customProperties"] == others
    assert contract.sla[0].extras["customProperties"] == severe


def test_two_objects_of_one_name_are_pointed_out() -> None:
    twice = table({"name": "level"}) + table({"name": "code"})
    assert warnings(document("v3.1.0", schema=twice)) == [
        "the schema has two objects named 'gauges': nothing tells their assets apart"
    ]


def test_the_data_contract_specification_is_named() -> None:
    (found,) = errors({"dataContractSpecification": "1.1.0", "id": "x", "models": {}})
    assert "Data Contract Specification" in found.message
    assert "'models' become 'schema'" in (found.hint or "")


@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.stem)
def test_odcs_comes_out_of_convert_as_the_same_document(path: Path) -> None:
    before = to_json(parse_yaml(path.read_bytes(), str(path)))
    text = convert(path, to=Form.ODCS).text
    assert to_json(parse_yaml(text, "again.yaml")) == before


KEYS = ("name", "type", "properties", "items", "map", "enum", "quality", "mustBe", "rule", "foo")
VALUES: tuple[Any, ...] = (None, True, 0, 2.5, "x", "object", "map", [], {}, ["a"], {"a": 1})


@cache
def judge(version: str) -> jsonschema_rs.Draft201909Validator:
    documents = files("dagster_contracts.documents")
    older = documents / "odcs_schemas" / f"odcs-{OLDER.get(version)}.json"
    newest = files("open_data_contract_standard") / "schema.json"
    source = older if version in OLDER else newest
    return jsonschema_rs.Draft201909Validator(json.loads(source.read_text(encoding="utf-8")))


@cache
def official_json(path: Path) -> str:
    return json.dumps(yaml.load(path.read_text(encoding="utf-8"), LOADER), default=str)


def places(node: Any) -> Iterator[Any]:
    yield node
    for inner in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from places(inner)


@pytest.mark.parametrize("seed", range(120))
def test_what_the_official_schema_refuses_is_never_silent(seed: int) -> None:
    dice = random.Random(seed)
    content = json.loads(official_json(dice.choice(OFFICIAL)))
    spoilt = dice.choice([p for p in places(content) if isinstance(p, dict) and p])
    if dice.random() < 0.4:
        del spoilt[dice.choice(list(spoilt))]
    else:
        spoilt[dice.choice([*spoilt, *KEYS])] = dice.choice(VALUES)
    version = str(content.get("apiVersion"))
    breaches = [] if judge("").is_valid(content) else list(judge(version).iter_errors(content))
    found = read(content)
    # The newest schema asks for a map of every property that has no type: its own slip.
    real = [b for b in breaches if "map" not in str(getattr(b.kind, "property", ""))]
    assert bool(real) <= bool(found.problems), real
    if not breaches and spoilt is not content:
        assert all(p.code not in ("odcs", "odcs-version") for p in found.problems)


_RULE_OF_3_0 = """
apiVersion: v3.0.0
kind: DataContract
id: o
name: o
version: 1.0.0
status: active
schema:
  - name: o
    properties: [{{name: v, logicalType: number}}]
    quality: [{{type: library, metric: {metric}, column: v, name: r, {operator}: 5}}]
"""


@pytest.mark.parametrize(
    ("operator", "meant"),
    [
        ("mustBeGreaterThanOrEqualTo", ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO),
        ("mustBeLessThanOrEqualTo", ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO),
        ("mustbegreaterthan", ThresholdOperator.MUST_BE_GREATER_THAN),
        ("mustBeEqualTo", ThresholdOperator.MUST_BE),
    ],
)
def test_a_misspelt_operator_is_read_as_the_one_that_it_means(
    operator: str, meant: ThresholdOperator
) -> None:
    document = read_as_text(_RULE_OF_3_0.format(metric="nullValues", operator=operator))
    assert document.contract is not None
    (rule,) = document.contract.objects[0].quality
    assert rule.threshold == Threshold(meant, (Fraction(5),))
    assert {p.code for p in document.problems} == {"odcs-older"}


@pytest.mark.parametrize("metric", ["nullValues", "rowCount"])
def test_an_unknown_operator_never_becomes_another_limit(metric: str) -> None:
    content = _RULE_OF_3_0.format(metric=metric, operator="mustFoo")
    contract = read_as_text(content).contract
    assert contract is not None
    (check,) = (c for c in plan_checks(contract).checks if c.kind == "quality")
    assert check.rules[0].test == Unmeasurable("there is no operator 'mustFoo'")
    assert check.rules[0].threshold is None
    for form in Form:
        again = read_as_text(write_form(contract, form)).contract
        assert again is not None
        assert again.objects == contract.objects


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[1, 1]", "the two numbers of 'mustBeBetween' must differ, and both are 1"),
        ("[1]", "'mustBeBetween' must be two numbers, not 1 of them"),
        ("[1, x]", "'mustBeBetween' must be two numbers, not the text 'x'"),
        ("7", "'mustBeBetween' must be two numbers, not the number 7"),
    ],
)
def test_what_is_wrong_with_a_range_is_said(value: str, said: str) -> None:
    content = _RULE_OF_3_0.format(metric="nullValues", operator="mustBeBetween")
    content = content.replace("v3.0.0", "v3.1.0").replace("Between: 5", f"Between: {value}")
    content = content.replace("column: v, ", "")
    assert said in [problem.message for problem in read_as_text(content).errors]
