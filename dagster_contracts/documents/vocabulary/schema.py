"""The keys of a schema that is written out: its fields, their constraints, its references."""

from __future__ import annotations

from typing import Final

from dagster_contracts.core.contract import ExtraColumns, LogicalType, SchemaObject, SchemaProperty
from dagster_contracts.documents.vocabulary.key import (
    EXTRAS,
    FLAG,
    NUMBER,
    SCALAR,
    TEXT,
    TEXTS,
    Key,
    Kind,
    Table,
    choice,
    either,
    integer,
    sections,
    shown,
)

_FIELD = SchemaProperty(name="")
_SCHEMA = SchemaObject(name="")

#: Constraints on values, in the order of the reference.
OPTIONS: Final = (
    Key(
        "enum",
        Kind("a list of values", {"type": "array"}),
        "The allowed values; all others fail.",
    ),
    Key("minimum", SCALAR, "The smallest allowed number or the earliest moment."),
    Key("maximum", SCALAR, "The largest allowed number or the latest moment."),
    Key("exclusive_minimum", SCALAR, "Values must be more than this."),
    Key("exclusive_maximum", SCALAR, "Values must be less than this."),
    Key("multiple_of", NUMBER, "Numbers must be a multiple of this; more than 0."),
    Key("min_length", integer(0), "The least number of characters of a text."),
    Key("max_length", integer(0), "The largest number of characters of a text."),
    Key(
        "pattern",
        TEXT,
        "A regular expression that is searched in the text: write `^...$` for the whole.",
    ),
    Key("format", TEXT, "The form of a text or of a moment, such as `email` or `uuid`."),
    Key(
        "timezone",
        FLAG,
        "Of timestamps: true wants a time zone, false refuses one; either will do where it is "
        "left out.",
    ),
    Key("default_timezone", TEXT, "The zone of bounds that are written without one."),
    Key("min_items", integer(0), "The least number of items of a list."),
    Key("max_items", integer(0), "The largest number of items of a list."),
    Key("unique_items", FLAG, "No item of a list may occur twice.", default=False),
    Key("min_properties", integer(0), "The least number of keys of an object or a map."),
    Key("max_properties", integer(0), "The largest number of keys of an object or a map."),
    Key("required_properties", TEXTS, "Fields of an object that must be there."),
)
#: What ODCS's ``logicalTypeOptions`` hold under the same names.
OPTION_NAMES: Final = frozenset(key.name for key in OPTIONS) - {"required_properties"}

_TYPE = choice(LogicalType)
_FIELDS = either(
    "[a mapping of names to fields](#fields)",
    {
        "type": "object",
        "additionalProperties": {
            "anyOf": [dict(_TYPE.schema), {"$ref": "fields"}, {"type": "null"}]
        },
    },
    {"type": "array", "items": {"allOf": [{"$ref": "fields"}, {"required": ["name"]}]}},
)

FIELD: Final = Table(
    "fields",
    "A field: its type alone, or a mapping with these keys.",
    (
        Key("name", TEXT, "The name of the field, where fields are a list and not a mapping."),
        Key(
            "type",
            _TYPE,
            "What the values mean, whatever the database calls it; not checked where it is left "
            "out.",
        ),
        Key(
            "required",
            FLAG,
            "Neither the column nor a value may be missing.",
            _FIELD.required,
        ),
        Key("unique", FLAG, "No value may occur twice; nulls are no duplicates.", _FIELD.unique),
        Key(
            "primary_key",
            either("true, or its place in the key", {"type": "boolean"}, {"type": "integer"}),
            "The field is the primary key, or a part of it.",
            default=False,
        ),
        *OPTIONS,
        Key(
            "references",
            TEXT,
            "The column in which each value must occur: `contract.column`.",
        ),
        Key(
            "quality", sections("field_quality", described_as="quality"), "Rules about this column."
        ),
        Key("fields", _FIELDS, "The fields of an object."),
        Key(
            "items",
            either("a type or [a field](#fields)", _TYPE.schema, {"$ref": "fields"}),
            "What a list, or the values of a map, hold.",
        ),
        Key("physical_name", TEXT, "The name of the column in the data, where it is another."),
        Key("physical_type", TEXT, "The database's own type, such as `varchar(20)`."),
        Key("partition_key", integer(1), "The place of the field in the partition key."),
        Key("critical", FLAG, "The field is a critical data element.", _FIELD.critical),
        Key("description", TEXT, "What the values are, for people."),
        Key("business_name", TEXT, "What people call the field."),
        Key("unit", TEXT, "The unit of the values, such as `EUR` or `km/h`, for people."),
        Key("classification", TEXT, "How confidential the values are, such as `restricted`."),
        Key("aliases", TEXTS, "Earlier names, so that a renaming is known as one."),
        Key("tags", TEXTS, "Words to find the field by."),
        Key("id", TEXT, "A name that stays the same when the field is renamed."),
        EXTRAS,
    ),
)

SCHEMA: Final = Table(
    "schema",
    "A schema that is written out.",
    (
        Key("fields", _FIELDS, "The columns, by their names.", required=True),
        Key("primary_key", TEXTS, "The columns that together are unique and never null."),
        Key("quality", sections("quality"), "Rules about more than one value."),
        Key(
            "extra_columns",
            choice(ExtraColumns),
            "What a column that the schema does not name means.",
            shown(_SCHEMA.extra_columns),
        ),
        Key("ordered", FLAG, "The columns must stand in this order.", _SCHEMA.ordered),
        Key("relationships", sections("relationships"), "References to other tables."),
        Key("name", TEXT, "The name of the table, where it is not that of the contract."),
        Key("physical_name", TEXT, "The name of the table in the database."),
        Key("physical_type", TEXT, "What it is there: a table, a view, a topic."),
        Key("description", TEXT, "What a row is, for people."),
        Key("tags", TEXTS, "Words to find the schema by."),
        Key("id", TEXT, "A name that stays the same when the schema is renamed."),
        EXTRAS,
    ),
)

RELATIONSHIP: Final = Table(
    "relationships",
    "A reference to another table: every key without a null must exist there.",
    (
        Key("columns", TEXTS, "The columns here.", required=True),
        Key(
            "to", TEXTS, "For each of them, where it must exist: `contract.column`.", required=True
        ),
        EXTRAS,
    ),
)

TABLES: Final = (SCHEMA, FIELD, RELATIONSHIP)
