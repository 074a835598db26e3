"""The schema of a contract as JSON Schema (draft 2020-12): one record of the data."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    Json,
    LogicalType,
    SchemaObject,
    SchemaProperty,
)
from dagster_contracts.documents.compact_writer import write_scalar

Written = dict[str, Json]

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_TYPES = {
    LogicalType.STRING: "string",
    LogicalType.INTEGER: "integer",
    LogicalType.NUMBER: "number",
    LogicalType.BOOLEAN: "boolean",
    LogicalType.OBJECT: "object",
    LogicalType.MAP: "object",
    LogicalType.ARRAY: "array",
    LogicalType.DATE: "string",
    LogicalType.TIMESTAMP: "string",
    LogicalType.TIME: "string",
}
_TEMPORAL = {LogicalType.DATE: "date", LogicalType.TIMESTAMP: "date-time", LogicalType.TIME: "time"}
#: JSON Schema's own ``date-time`` asks for a zone; this name is one that validators pass over.
LOCAL = "local-date-time"


def to_json_schema(contract: Contract, schema_object: SchemaObject | None = None) -> Written:
    """JSON Schema of one object's records; of all objects, under ``$defs``, where none is given.

    A contract of one object is that object. Columns are called as in the data. What JSON Schema
    cannot say of a record (keys, rules about several rows, references) is named in ``$comment``.
    """
    chosen = schema_object
    if chosen is None and len(contract.objects) == 1:
        chosen = contract.objects[0]
    title = {"$schema": DRAFT, "title": f"{contract.name} {contract.version}"}
    if chosen is not None:
        return {**title, **_object(chosen, description=chosen.description or contract.description)}
    # A pointer within a URI: first the pointer's own escapes, then those of the URI.
    pointers = (quote(o.name.replace("~", "~0").replace("/", "~1")) for o in contract.objects)
    return _short(
        {
            **title,
            "description": contract.description,
            "anyOf": [{"$ref": f"#/$defs/{pointer}"} for pointer in pointers],
            "$defs": {
                found.name: _object(found, description=found.description)
                for found in contract.objects
            },
        }
    )


def _object(schema: SchemaObject, *, description: str | None) -> Written:
    key = schema.primary_key
    required: list[Json] = [p.column for p in schema.properties if p.required or p.column in key]
    return _short(
        {
            "description": description,
            "$comment": _unsaid(schema),
            "type": "object",
            "properties": {
                prop.column: _property(prop, required=prop.required or prop.column in key)
                for prop in schema.properties
            },
            "required": required,
            "additionalProperties": False if schema.extra_columns is ExtraColumns.FORBID else None,
        },
        keep=("properties",),
    )


def _property(prop: SchemaProperty, *, required: bool) -> Written:
    kind, options = prop.logical_type, prop.options
    written: Written = {
        "title": prop.business_name,
        "description": prop.description,
        "deprecated": True if prop.extras.get("deprecated") is True else None,
        "type": _type(kind, required=required),
    }
    words = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    bounds = (
        options.minimum,
        options.maximum,
        options.exclusive_minimum,
        options.exclusive_maximum,
    )
    for word, bound in zip(words, bounds, strict=True):
        # The words of the standard compare numbers; ajv's formatMinimum has the order of a format.
        name = f"format{word[0].upper()}{word[1:]}" if kind in _TEMPORAL else word
        written[name] = write_scalar(bound)
    written |= {
        "multipleOf": write_scalar(options.multiple_of),
        "minLength": options.min_length,
        "maxLength": options.max_length,
        "pattern": options.pattern,
        "format": options.format,
        "minItems": options.min_items,
        "maxItems": options.max_items,
        "uniqueItems": options.unique_items or None,
        "minProperties": options.min_properties,
        "maxProperties": options.max_properties,
    }
    if kind in _TEMPORAL:
        local = kind is LogicalType.TIMESTAMP and options.timezone is False
        written["format"] = LOCAL if local else _TEMPORAL[kind]
    if options.enum:
        values: list[Json] = [write_scalar(value) for value in options.enum]
        written["enum"] = values if required or kind is None else [*values, None]
    written |= _nested(prop)
    return _short(written)


def _nested(prop: SchemaProperty) -> Written:
    match prop.logical_type:
        case LogicalType.MAP:
            inner = prop.items
            return {"additionalProperties": _items(inner) if inner else {}}
        case LogicalType.ARRAY:
            return {"items": _items(prop.items)} if prop.items else {}
        case _ if prop.properties:
            asked = set(prop.options.required_properties)
            needed = {
                inner.column
                for inner in prop.properties
                if inner.required or {inner.name, inner.column} & asked
            }
            required: list[Json] = [p.column for p in prop.properties if p.column in needed]
            return {
                "properties": {
                    inner.column: _property(inner, required=inner.column in needed)
                    for inner in prop.properties
                },
                "required": required,
                "additionalProperties": False
                if prop.extras.get("additionalProperties") is False
                else None,
            }
        case _:
            return {}


def _items(prop: SchemaProperty) -> Written:
    return _property(prop, required=prop.required)


def _type(kind: LogicalType | None, *, required: bool) -> Json:
    if kind is None:
        return None
    return _TYPES[kind] if required else [_TYPES[kind], "null"]


def _unsaid(schema: SchemaObject) -> str | None:
    """What is true of several records, in words."""
    said: list[str] = []
    if schema.primary_key:
        said.append(f"primary key ({', '.join(schema.primary_key)})")
    said += [f"{prop.column} never repeats" for prop in schema.properties if prop.unique]
    said += [
        f"{', '.join(found.columns)} refers to {', '.join(found.to)}"
        for found in schema.relationships
    ]
    said += [f"quality rule {rule.name}" for rule in schema.all_quality()]
    return "not said here: " + "; ".join(said) if said else None


def _short(written: Written, keep: Sequence[str] = ()) -> Written:
    kept = ("additionalProperties", *keep)
    return {
        key: value
        for key, value in written.items()
        if value is not None and ((value != [] and value != {}) or key in kept)
    }
