"""Schemas that are exported mean the same to the tools they are for, and to our own readers."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

from dagster_contracts.core.contract import (
    Contract,
    LogicalType,
    SchemaObject,
    SchemaProperty,
)
from dagster_contracts.documents.avro import read_avro
from dagster_contracts.documents.export.avro import to_avro
from dagster_contracts.documents.export.json_schema import to_json_schema
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.json_schema import read_json_schema
from dagster_contracts.documents.problem import Findings
from dagster_contracts.documents.section import Reading
from dagster_contracts.documents.yaml_writer import write_yaml
from tests.documents.rich_documents import Fields, schemas

ROOT = Path(__file__).parents[2]
EVERY = [
    *sorted((ROOT / "contracts").glob("*/*.yaml")),
    *sorted((ROOT / "tests" / "corpus" / "odcs-official").glob("*.yaml")),
]

ORDERS = """
data_contract:
  name: orders
  schema:
    primary_key: [id]
    extra_columns: forbid
    fields:
      id: {type: integer, minimum: 1, description: Its number}
      région: {type: string, required: true, enum: [CH, DE]}
      code: {type: string, pattern: "^[A-Z]{2}$", min_length: 2, max_length: 2}
      kind: {type: string, enum: ["a b", c]}
      key: {type: string, format: uuid, required: true}
      amount: {type: number, physical_type: "decimal(10, 2)", minimum: 0, maximum: 99.5}
      ratio: {type: number, multiple_of: 0.25, exclusive_maximum: 1}
      at: {type: timestamp, timezone: true, required: true, minimum: "2020-01-01T00:00:00Z"}
      local: {type: timestamp, timezone: false}
      day: {type: date, maximum: "2030-12-31"}
      clock: {type: time}
      ok: {type: boolean, required: true}
      tags: {type: map, items: {type: integer, required: true, minimum: 0}}
      parts:
        type: array
        min_items: 1
        items:
          required: true
          type: object
          fields:
            sku: {type: string, required: true, max_length: 5}
            prices: {type: map, items: {type: array, items: {type: number}}}
      address: {type: object, fields: {zip code: {type: string}, id: {type: integer}}}
"""


def orders() -> Contract:
    return load_contract("orders.yaml", text=ORDERS)


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "région": "CH",
        "code": "AB",
        "kind": "a b",
        "key": "8f14e45f-ceea-467f-a8dd-000000000001",
        "amount": 5.5,
        "ratio": 0.5,
        "at": "2024-01-01T10:00:00Z",
        "local": "2024-01-01T10:00:00",
        "day": "2024-01-01",
        "clock": "10:00:00",
        "ok": True,
        "tags": {"x": 1},
        "parts": [{"sku": "a", "prices": {"x": [1.5, None]}}],
        "address": {"zip code": "8000", "id": None},
        **changes,
    }


def test_json_schema_accepts_what_the_contract_promises() -> None:
    schema = to_json_schema(orders())
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    assert [error.message for error in judge.iter_errors(record())] == []
    assert judge.is_valid(record(code=None, kind=None, amount=None, address=None, tags=None))


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": None},
        {"id": 0},
        {"région": "FR"},
        {"code": "abc"},
        {"kind": "d"},
        {"key": "no"},
        {"amount": -1},
        {"ratio": 1},
        {"ratio": 0.3},
        {"day": "2024-13-01"},
        {"ok": "yes"},
        {"tags": {"x": -1}},
        {"tags": {"x": None}},
        {"parts": []},
        {"parts": [{"prices": None}]},
        {"parts": [{"sku": "toolong"}]},
        {"colour": "red"},
    ],
    ids=lambda wrong: f"{wrong}",
)
def test_json_schema_refuses_what_breaks_the_contract(wrong: dict[str, Any]) -> None:
    judge = jsonschema.Draft202012Validator(
        to_json_schema(orders()), format_checker=jsonschema.FormatChecker()
    )
    assert not judge.is_valid(record(**wrong))


def test_several_objects_stand_under_defs() -> None:
    text = """
    data_contract:
      name: shop
      objects:
        a/b~c d: {schema: {fields: {id: {type: integer, required: true}}}}
        lines: {schema: {fields: {id: {type: string, required: true}}}}
    """
    contract = load_contract("shop.yaml", text=text)
    schema = to_json_schema(contract)
    judge = jsonschema.Draft202012Validator(schema)
    assert judge.is_valid({"id": 1})
    assert judge.is_valid({"id": "x"})
    assert not judge.is_valid({"id": 1.5})
    assert not jsonschema.Draft202012Validator(
        to_json_schema(contract, contract.objects[1])
    ).is_valid({"id": 1})


def said(prop: SchemaProperty, *, items: bool = False) -> SchemaProperty:
    """What JSON Schema has words for: types, nullability of fields, constraints."""
    options = replace(prop.options, required_properties=(), default_timezone=None)
    asked = prop.options.required_properties
    if prop.logical_type is LogicalType.TIMESTAMP:
        options = replace(options, timezone=options.timezone is not False)
    else:
        options = replace(options, timezone=None)
    if prop.logical_type in (LogicalType.DATE, LogicalType.TIMESTAMP, LogicalType.TIME):
        options = replace(options, format=None)
    inner = tuple(
        replace(
            said(found), required=found.required or found.name in asked or found.column in asked
        )
        for found in prop.properties
    )
    return SchemaProperty(
        name=prop.column,
        logical_type=prop.logical_type,
        description=prop.description or None,
        required=prop.required and not items,
        options=options,
        properties=inner if prop.logical_type is LogicalType.OBJECT else (),
        items=replace(
            said(prop.items, items=True),
            name="values" if prop.logical_type is LogicalType.MAP else "items",
        )
        if prop.items and prop.logical_type in (LogicalType.ARRAY, LogicalType.MAP)
        else None,
    )


def by_json_schema(contract: Contract, schema: SchemaObject) -> tuple[SchemaProperty, ...]:
    text = json.dumps(to_json_schema(contract, schema))
    reading = Reading("x.json")
    found = read_json_schema(text, "x.json", "x", reading)
    assert reading.findings.errors == ()
    return found.properties


def with_keys(schema: SchemaObject) -> tuple[SchemaProperty, ...]:
    key = schema.primary_key
    return tuple(
        replace(said(p), required=p.required or p.column in key) for p in schema.properties
    )


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_contract_goes_through_json_schema_and_back(path: Path) -> None:
    contract = load_contract(path)
    for schema in contract.objects:
        found = tuple(said(prop) for prop in by_json_schema(contract, schema))
        assert found == with_keys(schema)


def test_a_rich_schema_goes_through_json_schema_and_back() -> None:
    contract = orders()
    found = tuple(said(prop) for prop in by_json_schema(contract, contract.objects[0]))
    assert found == with_keys(contract.objects[0])


def in_avro(prop: SchemaProperty) -> SchemaProperty:
    """What an export to Avro keeps: names, types, nullability and every constraint."""
    asked = prop.options.required_properties
    inner = tuple(
        replace(
            in_avro(found), required=found.required or bool({found.name, found.column} & {*asked})
        )
        for found in prop.properties
    )
    items = prop.items
    if items is None and prop.logical_type in (LogicalType.ARRAY, LogicalType.MAP):
        items = SchemaProperty(name="items", logical_type=LogicalType.STRING)
    return SchemaProperty(
        name=prop.column,
        logical_type=prop.logical_type,
        description=prop.description or None,
        required=prop.required,
        aliases=prop.aliases,
        options=prop.options,
        properties=inner if prop.logical_type is LogicalType.OBJECT else (),
        items=replace(in_avro(items), name="items", aliases=(), description=None)
        if items and prop.logical_type in (LogicalType.ARRAY, LogicalType.MAP)
        else None,
    )


def by_avro(contract: Contract, schema: SchemaObject) -> tuple[SchemaProperty, ...]:
    written = to_avro(contract, schema)
    fastavro.parse_schema(written)
    findings = Findings()
    found = read_avro(json.dumps(written), "x.avsc", schema.name, findings)
    assert [problem.message for problem in findings.sorted()] == []
    return tuple(in_avro(replace(p, physical_name=None)) for p in unnamed(found.properties))


def unnamed(properties: tuple[SchemaProperty, ...]) -> tuple[SchemaProperty, ...]:
    """With the names of the contract, where Avro had to take others."""
    return tuple(
        replace(
            prop,
            physical_name=None,
            properties=unnamed(prop.properties),
            items=unnamed((prop.items,))[0] if prop.items else None,
        )
        for prop in properties
    )


def expected_in_avro(schema: SchemaObject) -> tuple[SchemaProperty, ...]:
    key = schema.primary_key
    return tuple(
        replace(in_avro(p), required=p.required or p.column in key) for p in schema.properties
    )


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_contract_goes_through_avro_and_back(path: Path) -> None:
    contract = load_contract(path)
    for schema in contract.objects:
        assert by_avro(contract, schema) == expected_in_avro(schema)


def test_a_rich_schema_goes_through_avro_and_back() -> None:
    contract = orders()
    assert by_avro(contract, contract.objects[0]) == expected_in_avro(contract.objects[0])


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(schemas())
def test_any_schema_goes_through_avro_and_json_schema_and_back(schema: Fields) -> None:
    document = {"data_contract": {"name": "orders", "schema": schema}}
    contract = load_contract("x.yaml", text=write_yaml(document))
    (target,) = contract.objects
    assert by_avro(contract, target) == expected_in_avro(target)
    written = to_json_schema(contract)
    jsonschema.Draft202012Validator.check_schema(written)
    found = tuple(said(prop) for prop in by_json_schema(contract, target))
    assert found == with_keys(target)


def test_a_record_is_written_and_read_under_the_avro_schema() -> None:
    schema = fastavro.parse_schema(to_avro(orders()))
    names = {field["name"] for field in schema["fields"]}
    assert "r_gion" in names
    assert "région" not in names
    row = {
        "id": 1,
        "r_gion": "CH",
        "code": None,
        "kind": "a b",
        "key": "8f14e45f-ceea-467f-a8dd-000000000001",
        "amount": Decimal("5.50"),
        "ratio": 0.5,
        "at": datetime(2024, 1, 1, 10, tzinfo=UTC),
        "local": datetime(2024, 1, 1, 10),  # noqa: DTZ001 - a local time
        "day": date(2024, 1, 1),
        "clock": time(10, 30),
        "ok": True,
        "tags": {"x": 1},
        "parts": [{"sku": "a", "prices": {"x": [1.5, None]}}],
        "address": {"zip_code": "8000", "id": None},
    }
    file = io.BytesIO()
    fastavro.writer(file, schema, [row, {**row, "tags": None}])
    file.seek(0)
    first, second = fastavro.reader(file)
    assert {**first, "key": str(first["key"])} == row
    assert second["tags"] is None


def test_a_missing_field_takes_its_default() -> None:
    schema = fastavro.parse_schema(to_avro(orders()))
    old = fastavro.parse_schema({**to_avro(orders()), "fields": to_avro(orders())["fields"][:1]})
    file = io.BytesIO()
    fastavro.schemaless_writer(file, old, {"id": 7})
    file.seek(0)
    newer = {**schema, "fields": [f for f in schema["fields"] if f["name"] in ("id", "code")]}
    assert fastavro.schemaless_reader(file, old, newer) == {"id": 7, "code": None}


def test_what_a_schema_of_records_cannot_say_is_named_in_its_comment() -> None:
    text = """
data_contract:
  name: orders
  schema:
    primary_key: [id]
    fields:
      id: {type: integer}
      code: {type: string, unique: true}
      shop: {type: string, references: shops.id}
      at: {type: timestamp, minimum: 2020-01-01T00:00:00}
      days: {type: array, items: {type: date, maximum: 2030-12-31}}
    quality: [{name: enough, metric: rowCount, must_be_greater_than: 1}]
"""
    contract = load_contract("orders.yaml", text=text)
    several = (
        "primary key (id)",
        "code never repeats",
        "shop refers to shops.id",
        "quality rule enough",
    )
    moments = ("at is at least 2020-01-01T00:00:00", "days[] is at most 2030-12-31")
    record: Any = to_avro(contract)
    assert record["contract"] == {"comment": "not said here: " + "; ".join(several)}
    fastavro.parse_schema(record)
    schema: Any = to_json_schema(contract)
    assert schema["$comment"] == "not said here: " + "; ".join([*several, *moments])
