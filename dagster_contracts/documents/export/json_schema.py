"""The schema of a contract as JSON Schema (draft 2020-12): one record of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from dagster_contracts.documents.export.unsaid import comment, of_several_records

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
    cannot say of a record (keys, rules about several rows, references, limits of dates) is named in
    ``$comment``.
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
            "$comment": comment(
                [*of_several_records(schema), *_bounds_of_moments(schema.properties)]
            ),
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


def _bounds_of_moments(properties: Sequence[SchemaProperty], above: str = "") -> Iterator[str]:
    """Limits of dates and times: the standard has none, and only ajv reads ``formatMinimum``."""
    for prop in properties:
        options, label = prop.options, f"{above}{prop.column}"
        bounds = {
            "at least": options.minimum,
            "more than": options.exclusive_minimum,
            "at most": options.maximum,
            "less than": options.exclusive_maximum,
        }
        if prop.logical_type in _TEMPORAL:
            for words, bound in bounds.items():
                if bound is not None:
                    yield f"{label} is {words} {write_scalar(bound)}"
        yield from _bounds_of_moments(prop.properties, f"{label}.")
        if prop.items is not None:
            yield from _bounds_of_moments(
                (replace(prop.items, name="[]", physical_name=None),), label
            )


def _short(written: Written, keep: Sequence[str] = ()) -> Written:
    kept = ("additionalProperties", *keep)
    return {
        key: value
        for key, value in written.items()
        if value is not None and ((value != [] and value != {}) or key in kept)
    }
