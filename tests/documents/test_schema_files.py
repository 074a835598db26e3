"""Avro and JSON Schema files as schemas of contracts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    LogicalType,
    SchemaObject,
    SchemaProperty,
)
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.problem import Problem
from dagster_contracts.errors import DocumentError, SourceLocation


def contract_with(folder: Path, schema: object, name: str = "s.avsc") -> Path:
    text = schema if isinstance(schema, str) else json.dumps(schema, indent=1)
    (folder / name).write_text(text, encoding="utf-8")
    path = folder / "c.yaml"
    path.write_text(f"data_contract: {{name: c, schema: {name}}}\n", encoding="utf-8")
    return path


def fields_of(folder: Path, *fields: object) -> dict[str, SchemaProperty]:
    path = contract_with(folder, {"type": "record", "name": "r", "fields": list(fields)})
    return {prop.name: prop for prop in load_contract(path).objects[0].properties}


def warnings_of(path: Path) -> tuple[Problem, ...]:
    document = read_document(path)
    assert document.contract is not None
    return document.problems


def refused(path: Path) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        load_contract(path)
    return caught.value


def test_avro_primitives_unions_and_logical_types(tmp_path: Path) -> None:
    found = fields_of(
        tmp_path,
        {"name": "i", "type": "int", "doc": "a number", "aliases": ["old_i"]},
        {"name": "l", "type": ["null", "long"], "default": None},
        {"name": "f", "type": ["float", "null"]},
        {"name": "b", "type": "boolean"},
        {"name": "s", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "d", "type": {"type": "int", "logicalType": "date"}},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "lt", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "tm", "type": {"type": "int", "logicalType": "time-millis"}},
        {
            "name": "m",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        },
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
        {"name": "e2", "type": ["null", "E"]},
    )
    assert {name: prop.logical_type for name, prop in found.items()} == {
        "i": LogicalType.INTEGER,
        "l": LogicalType.INTEGER,
        "f": LogicalType.NUMBER,
        "b": LogicalType.BOOLEAN,
        "s": LogicalType.STRING,
        "d": LogicalType.DATE,
        "t": LogicalType.TIMESTAMP,
        "lt": LogicalType.TIMESTAMP,
        "tm": LogicalType.TIME,
        "m": LogicalType.NUMBER,
        "e": LogicalType.STRING,
        "e2": LogicalType.STRING,
    }
    assert {name for name, prop in found.items() if not prop.required} == {"l", "f", "e2"}
    assert (found["i"].description, found["i"].aliases) == ("a number", ("old_i",))
    assert found["l"].extras == {"avroDefault": None}
    assert found["m"].physical_type == "decimal(9,2)"
    assert found["s"].options.format == "uuid"
    assert (found["t"].options.timezone, found["lt"].options.timezone) == (True, False)
    assert found["e"].options.enum == found["e2"].options.enum == ("A", "B")


def test_avro_records_arrays_and_maps_nest(tmp_path: Path) -> None:
    found = fields_of(
        tmp_path,
        {
            "name": "lines",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "line",
                    "namespace": "x.y",
                    "fields": [{"name": "sku", "type": "string"}],
                },
            },
        },
        {"name": "tags", "type": {"type": "map", "values": ["null", "long"]}},
        {"name": "first", "type": ["null", "x.y.line"]},
    )
    lines = found["lines"].items
    assert lines is not None
    assert lines.logical_type is LogicalType.OBJECT
    assert lines.properties[0].name == "sku"
    tags = found["tags"].items
    assert tags is not None
    assert (tags.logical_type, tags.required) == (LogicalType.INTEGER, False)
    assert found["first"].properties[0].name == "sku"


def test_an_avro_union_of_several_types_is_refused_with_its_place(tmp_path: Path) -> None:
    error = refused(
        contract_with(
            tmp_path,
            '{"type": "record", "name": "r", "fields": [\n'
            '  {"name": "x", "type": ["null", "string", "long"]}\n]}',
        )
    )
    assert "string, long" in error.what
    assert error.where == SourceLocation(str(tmp_path / "s.avsc"), 2, 25)
    assert "split the field" in (error.hint or "")


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"name": "t", "type": "long", "logicalType": "timestamp-millis"}, "beside its type"),
        (
            {"name": "t", "type": {"type": "long", "logicalType": "timestamp-milis"}},
            "no logicalType",
        ),
        ({"name": "t", "type": {"type": "string", "logicalType": "date"}}, "stands on int"),
        ({"name": "t", "type": "long", "defualt": 1}, "'defualt'"),
    ],
)
def test_avro_slips_are_warnings(tmp_path: Path, field: object, words: str) -> None:
    (problem,) = warnings_of(
        contract_with(tmp_path, {"type": "record", "name": "r", "fields": [field]})
    )
    assert words in problem.message
    assert problem.hint
    assert problem.location.path.endswith("s.avsc")


def test_a_recursive_avro_record_is_read_to_its_first_level(tmp_path: Path) -> None:
    path = contract_with(
        tmp_path,
        {
            "type": "record",
            "name": "node",
            "fields": [{"name": "next", "type": ["null", "node"]}],
        },
    )
    assert "contains itself" in warnings_of(path)[0].message


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (
            '{"type": "record", "name": "r", "fields": [\n {"name": "x", "type": "strng"}]}',
            "'strng'",
        ),
        ('{"type": "record", "name": "r"}', "not an Avro schema"),
        ('"string"', "a record"),
        ('{"type": "record", "name": "r", "fields": [],}', "not JSON"),
        ('{"type": "record", "type": "x"}', "twice"),
        ("", "not JSON"),
        ("[" * 5000, "JSON"),
    ],
)
def test_what_is_no_avro(tmp_path: Path, schema: str, words: str) -> None:
    error = refused(contract_with(tmp_path, schema))
    assert words in str(error)
    assert "s.avsc" in str(error.where)


def test_tabs_and_escaped_pairs_are_json(tmp_path: Path) -> None:
    path = contract_with(
        tmp_path,
        '{\n\t"type": "record", "name": "r",\n\t"doc": "\\ud83d\\ude00",\n'
        '\t"fields": [{"name":\t"x", "type": "string"}]\n}',
    )
    main = load_contract(path).objects[0]
    assert main.description == "\U0001f600"
    assert main.properties[0].name == "x"


ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "An order",
    "type": "object",
    "required": ["id", "status", "note"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "integer", "minimum": 1, "exclusiveMaximum": 100, "multipleOf": 0.5},
        "status": {"enum": ["open", "closed"], "type": "string"},
        "note": {"type": ["string", "null"], "maxLength": 20},
        "email": {"type": "string", "format": "email", "pattern": "@"},
        "day": {"type": "string", "format": "date"},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "total": {"type": "number", "nullable": True},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
        "kind": {"const": "retail"},
    },
    "$defs": {
        "line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}
    },
}


def json_contract(folder: Path, schema: object = ORDER) -> Contract:
    return load_contract(contract_with(folder, schema, "s.json"))


def test_json_schema_becomes_a_schema(tmp_path: Path) -> None:
    (main,) = json_contract(tmp_path).objects
    found = {prop.name: prop for prop in main.properties}
    assert main.extra_columns is ExtraColumns.FORBID
    assert {name for name, prop in found.items() if prop.required} == {"id", "status"}
    assert found["id"].options.minimum == 1
    assert found["id"].options.exclusive_maximum == 100
    assert found["status"].options.enum == ("open", "closed")
    assert found["note"].options.max_length == 20
    assert (found["email"].options.format, found["email"].options.pattern) == ("email", "@")
    assert found["day"].logical_type is LogicalType.DATE
    assert found["at"].logical_type is LogicalType.TIMESTAMP
    assert found["total"].logical_type is LogicalType.NUMBER
    assert found["kind"].options.enum == ("retail",)
    lines = found["lines"].items
    assert lines is not None
    assert lines.properties[0].required


def test_a_json_schema_of_rows_is_that_of_one_row(tmp_path: Path) -> None:
    rows = {"type": "array", "items": {"properties": {"a": {"type": "string"}}}}
    assert json_contract(tmp_path, rows).objects[0].properties[0].name == "a"


def test_a_recursive_json_schema_is_read_to_its_first_level(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
            "tree": {"$ref": "#/$defs/tree"},
        },
        "required": ["parent", "tree"],
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "label": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                },
            }
        },
    }
    path = contract_with(tmp_path, schema, "s.json")

    name, parent, tree = load_contract(path).objects[0].properties

    assert (name.logical_type, name.properties) == (LogicalType.STRING, ())
    assert (parent.logical_type, parent.properties) == (LogicalType.OBJECT, ())
    assert (parent.required, tree.required) == (False, True)
    label, children = tree.properties
    assert label.logical_type is LogicalType.STRING
    assert children.items is not None
    assert (children.items.logical_type, children.items.properties) == (LogicalType.OBJECT, ())
    assert [problem.message for problem in warnings_of(path)] == [
        "'parent' is of a type that contains itself; only its first level is checked",
        "'items' is of a type that contains itself; only its first level is checked",
    ]


def test_a_json_schema_that_unfolds_without_end_is_refused_soon(tmp_path: Path) -> None:
    each = {f"to{n}": {"$ref": f"#/$defs/d{n}"} for n in range(9)}
    schema = {"properties": each, "$defs": {f"d{n}": {"properties": each} for n in range(9)}}
    assert "more than 10,000 properties" in str(refused(contract_with(tmp_path, schema, "s.json")))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"a": {"type": ["string", "integer"]}}}, "several types"),
        ({"properties": {"a": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}}, "several"),
        ({"properties": {"a": {"type": "strng"}}}, "no type 'strng'"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "leads nowhere"),
        ({"properties": {"a": {"$ref": "other.json"}}}, "leaves the file"),
        (
            {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/b"}}},
            "leads to itself",
        ),
        ({"type": "string"}, "object with properties"),
    ],
)
def test_what_a_json_schema_cannot_say(tmp_path: Path, schema: object, words: str) -> None:
    assert words in str(refused(contract_with(tmp_path, schema, "s.json")))


def test_keywords_that_nobody_checks_are_warnings(tmp_path: Path) -> None:
    schema = {"properties": {"a": {"type": "string", "not": {"const": "x"}, "x-own": 1}}}
    (problem,) = warnings_of(contract_with(tmp_path, schema, "s.json"))
    assert "'not'" in problem.message


RECORD = '{"type": "record", "name": "r", "fields": [{"name": "x", "type": "string"}]}'


def with_reference(folder: Path, reference: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(f'data_contract: {{name: c, schema: "{reference}"}}\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("file", "reference"),
    [
        ("s.avsc", "s"),
        ("s.avsc", "s.avsc"),
        ("s.json", "s"),
        ("s.schema.json", "s"),
        ("below/s.avsc", "below/s"),
    ],
)
def test_schemas_are_named_with_or_without_ending(
    tmp_path: Path, file: str, reference: str
) -> None:
    target = tmp_path / file
    target.parent.mkdir(exist_ok=True)
    avro = file.endswith(".avsc")
    target.write_text(RECORD if avro else '{"properties": {"x": {"type": "string"}}}')
    main: SchemaObject = load_contract(with_reference(tmp_path, reference)).objects[0]
    assert [prop.name for prop in main.properties] == ["x"]


@pytest.mark.parametrize(
    "reference", ["../s", "/etc/passwd", "a/../../s", "..", ".hidden", "a\\\\b", "C:s"]
)
def test_a_schema_cannot_leave_its_folder(tmp_path: Path, reference: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "s.avsc").write_text(RECORD)
    assert "no name of a schema" in str(refused(with_reference(inner, reference)))


def test_a_link_cannot_leave_the_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "s.avsc").write_text(RECORD)
    (inner / "s.avsc").symlink_to(tmp_path / "s.avsc")
    assert "outside" in str(refused(with_reference(inner, "s")))


def test_a_missing_schema_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "customer.avsc").write_text(RECORD)
    error = refused(with_reference(tmp_path, "custmer"))
    assert isinstance(error.where, SourceLocation)
    assert (error.where.line, error.where.column) == (1, 34)
    assert "customer.avsc" in (error.hint or "")


def test_an_avro_record_with_two_fields_of_one_name_is_refused(tmp_path: Path) -> None:
    field = {"name": "v", "type": "int"}
    error = refused(
        contract_with(tmp_path, {"type": "record", "name": "r", "fields": [field, field]})
    )
    assert "two fields named 'v'" in str(error)


def test_what_draft_4_of_json_schema_wrote_is_told_with_its_mend(tmp_path: Path) -> None:
    prop = {"type": "integer", "minimum": 3, "exclusiveMinimum": True}
    path = contract_with(tmp_path, {"type": "object", "properties": {"a": prop}}, "s.json")
    error = refused(path)
    assert "draft 4" in error.what
    assert error.hint == 'write "exclusiveMinimum": 3 in place of "minimum"'


def test_a_property_that_allows_no_value_is_pointed_out(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"a": False, "b": True}}
    (found,) = warnings_of(contract_with(tmp_path, schema, "s.json"))
    assert "'a' is false" in found.message
