"""A contract that is converted is an equal contract, there and back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dagster_contracts.core.contract import Contract
from dagster_contracts.documents.conversion import Form, convert, write_form
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.odcs_validation import find_breaches
from dagster_contracts.documents.yaml_text import parse_yaml, to_json
from dagster_contracts.documents.yaml_writer import write_yaml
from dagster_contracts.errors import DocumentError
from tests.documents.rich_documents import Fields, compact_documents

ROOT = Path(__file__).parents[2]


def read(text: str) -> Contract:
    document = read_document(Path("x.yaml"), text=text, keep_references=True)
    assert document.contract is not None, (document.errors[:3], text)
    return document.contract


def same(one: Contract, other: Contract) -> bool:
    return replace(one, content_hash=other.content_hash) == other


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(compact_documents())
def test_a_compact_document_survives_odcs(document: Fields) -> None:
    contract = read(write_yaml(document))
    text = write_form(contract, Form.ODCS)
    assert find_breaches(to_json(parse_yaml(text, "x"))) == []
    assert same(read(text), contract)
    again = write_form(read(text), Form.COMPACT)
    assert same(read(again), contract)


def by_name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


OFFICIAL = sorted((ROOT / "tests" / "corpus" / "odcs-official").glob("*.yaml"))
OWN = sorted((ROOT / "contracts").glob("*/*.yaml"))


@pytest.mark.parametrize("path", [*OFFICIAL, *OWN], ids=by_name)
def test_every_document_survives_there_and_back(path: Path) -> None:
    there = convert(path)
    back = convert(Path("x.yaml"), text=there.text)
    assert {there.form, back.form} == set(Form)
    assert same(read(there.text), there.contract)
    assert same(read(back.text), there.contract)
    assert read(back.text).semantic_hash == there.contract.semantic_hash
    odcs = there if there.form is Form.ODCS else back
    assert find_breaches(to_json(parse_yaml(odcs.text, "x"))) == []


def test_schemas_in_files_stand_in_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "full.avsc").write_text(
        '{"type": "record", "name": "full", "namespace": "shop", "fields": ['
        '{"name": "id", "type": "long"}, {"name": "at", "type": ["null", '
        '{"type": "long", "logicalType": "timestamp-millis"}], "default": null}]}'
    )
    (tmp_path / "few.json").write_text(
        '{"type": "object", "properties": {"id": {"type": "integer", "minimum": 1}}}'
    )
    path = tmp_path / "orders.yaml"
    path.write_text(
        "data_contract:\n  name: orders\n  schema: full.avsc\n  resilience:\n"
        "    fallback_modes:\n      - {level: few, source: subset, schema: few}\n"
    )
    original = path.read_bytes()
    for form in Form:
        written = convert(path, to=form)
        assert written.schema_files == ("full.avsc", "few.json")
        assert read(written.text).semantic_hash == load_contract(path).semantic_hash
        assert same(read(written.text), load_contract(path))
    assert path.read_bytes() == original


SECRET = """
data_contract:
  name: orders
  owner: ${env:TEAM}
  schema: {fields: {id: {type: string, pattern: "^${env:PREFIX}"}}}
  extras: {servers: [{server: prod, type: postgres, host: "${env:HOST}", port: 1, database: d, \
schema: s}]}
"""


def test_references_to_the_environment_are_never_expanded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TEAM", "PREFIX", "HOST"):
        monkeypatch.setenv(name, "hunter2")
    there = convert(Path("orders.yaml"), text=SECRET)
    back = convert(Path("orders.yaml"), text=there.text)
    assert there.references == back.references == ("HOST", "PREFIX", "TEAM")
    for text in (there.text, back.text):
        assert "hunter2" not in text
        assert text.count("${env:") >= 3
    names = ("TEAM", "PREFIX", "HOST")
    expanded = load_contract("orders.yaml", text=SECRET, allowed_env=names)
    assert same(load_contract("orders.yaml", text=there.text, allowed_env=names), expanded)


def test_a_reference_that_would_have_to_be_expanded_is_refused() -> None:
    text = "data_contract: {name: x, schema: {fields: {id: integer}}, sla: {volume: '> ${env:N}'}}"
    with pytest.raises(DocumentError, match="references to the environment"):
        convert(Path("x.yaml"), text=text)


def test_mistakes_are_told_with_their_place() -> None:
    with pytest.raises(DocumentError, match="did you mean 'owner'"):
        convert(Path("x.yaml"), text="data_contract: {name: x, ownr: y, schema: {fields: {}}}")


OBJECTS = """
data_contract:
  name: shop
  asset: shop
  objects:
    - {name: orders, asset: raw_orders, schema: {fields: {id: integer, at: timestamp}}}
    - name: lines
      schema: {fields: {id: integer}}
      quality: [{name: some, metric: rowCount, must_be_greater_than: 0}]
    - {name: more, schema: {name: lines, fields: {id: string}}}
  sla: {freshness: {must: "< 1h", element: orders.at}}
  resilience: {fallback_modes: [{level: few, source: subset, schema: lines}]}
"""


def test_several_objects_in_the_compact_form() -> None:
    contract = read(OBJECTS)
    assert [found.name for found in contract.objects] == ["orders", "lines", "more"]
    assert contract.objects[0].asset == "raw_orders"
    assert contract.asset_names(contract.objects[1]) == ("lines",)
    assert [rule.name for rule in contract.objects[1].quality] == ["some"]
    assert contract.event_time == "at"
    for form in Form:
        assert same(read(write_form(contract, form)), contract)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("objects: {}", "names no object"),
        ("objects: [{schema: {fields: {}}}]", "needs a 'name'"),
        ("objects: {a: {shema: x}}", "no key 'shema'"),
        ("objects: {a: {fields: {x: string}}}", "no key 'fields'"),
        ("objects: {a: {schema: {fields: {}}}}, schema: {fields: {}}", "beside 'objects'"),
        ("objects: {a: {schema: {fields: {}}}}, quality: [{description: x}]", "beside 'objects'"),
        ("objects: [{name: a}, {name: a}]", "two objects named 'a'"),
        ("objects: x", "must be a mapping"),
    ],
)
def test_mistakes_about_objects(body: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        load_contract("x.yaml", text=f"data_contract: {{name: x, {body}}}")


def test_what_odcs_has_no_word_for_and_the_model_no_place_comes_back() -> None:
    text = """
apiVersion: v3.2.0
kind: DataContract
id: x
version: 1.0.0
status: active
schema:
  - name: t
    properties:
      - {name: a, logicalType: string, partitioned: true, primaryKeyPosition: 2, examples: []}
      - name: m
        logicalType: map
        map: {key: {logicalType: integer}, value: {logicalType: string}}
      - name: o
        logicalType: object
        properties:
          - {name: p, logicalType: integer, relationships: [{to: other.id}]}
      - name: l
        logicalType: array
        items: {name: element, logicalType: string, quality: [{metric: nullValues, mustBe: 0}]}
    quality:
      - {metric: rowCount, mustBe: many, unit: crates, schedule: 0 20 * * *, scheduler: cron}
      - {type: text, description: d, dimension: accuracy, businessImpact: much}
    relationships:
      - {from: [t.a], to: [other.id], customProperties: [{property: x, value: [1]}]}
slaProperties:
  - {property: interval, value: 5, unit: parsec, element: "t.zz, t.a", schedule: x}
customProperties:
  - {property: theirs, value: {a: [1, null]}}
"""
    contract = read(text)
    raw = to_json(parse_yaml(text, "x"))
    back = to_json(parse_yaml(write_form(read(write_form(contract, Form.COMPACT)), Form.ODCS), "x"))
    assert isinstance(raw, dict)
    assert missing(raw, back) == []


def missing(said: object, written: object, place: str = "") -> list[str]:
    """What the first says and the second does not, at the same places."""
    if isinstance(said, dict) and isinstance(written, dict):
        return [
            lost
            for key, value in said.items()
            for lost in missing(value, written.get(key), f"{place}.{key}")
        ]
    if isinstance(said, list) and isinstance(written, list) and len(said) <= len(written):
        return [
            lost
            for number, value in enumerate(said)
            for lost in missing(value, written[number], f"{place}[{number}]")
        ]
    return (
        []
        if written in (said, [said]) or said == [written]
        else [f"{place}: {said!r} is {written!r}"]
    )


@pytest.mark.parametrize(
    "level",
    [
        "endOfSupport: 2032-05-12",
        "endOfLife: {must: 2032-05-12}",
        "endOfLife: {must: 2032-05-12, warn_before: 60d, severity: error}",
        'endOfSupport: "2032-05-12T10:00:00+02:00"',
        "generalAvailability: 2020-01-01",
        'timeOfAvailability: "08:30 Europe/Berlin"',
        'timeOfAvailability: "09:00-08:00"',
    ],
)
def test_dates_and_times_of_the_day_survive_odcs_as_they_were_written(level: str) -> None:
    document = f"data_contract: {{name: o, schema: {{fields: {{a: integer}}}}, sla: {{{level}}}}}"
    contract = read(document)
    text = write_form(contract, Form.ODCS)
    assert same(read(text), contract)
    assert same(read(write_form(read(text), Form.COMPACT)), contract)
    (written,) = to_json(parse_yaml(text, "x"))["slaProperties"]  # type: ignore[call-overload,index]
    assert "delay_after" not in written["value"]  # type: ignore[operator]


def test_every_contract_of_the_documentation_can_be_converted() -> None:
    """What people copy from the guide must survive the next command of the guide."""
    blocks = []
    for page in ("write-a-contract.md", "compact-form.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        blocks += re.findall(r"```yaml\n(data_contract:\n.*?)```", text, re.DOTALL)
    whole = [(b, c) for b in blocks if (c := read_document(Path("x.yaml"), text=b).contract)]
    assert len(whole) > 5
    for block, contract in whole:
        assert same(read(write_form(contract, Form.ODCS)), contract), block
