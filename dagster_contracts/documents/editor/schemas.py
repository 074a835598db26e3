"""JSON Schemas of both forms of a contract, with which editors complete and check documents.

They refuse whatever has the wrong shape: a key that does not exist, a word that is none of the
allowed ones, a list for a mapping. What a value means (whether a condition's metric exists, whether
a rule names a column that is there) is for the reader, which ``dagster-contracts lint`` runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Final

from dagster_contracts.core.contract import ExtraColumns, Json, Severity
from dagster_contracts.core.metrics import DEFAULT
from dagster_contracts.documents.compact import ROOT_KEY
from dagster_contracts.documents.sla import KNOWN, MEASURED
from dagster_contracts.documents.vocabulary.contract import CONTRACT, EXTENSIONS, TABLES
from dagster_contracts.documents.vocabulary.key import Key, Schema, Table
from dagster_contracts.documents.vocabulary.policies import LEVEL_VALUE

#: The schema of the compact form as it is installed with the package.
SHIPPED: Final = Path(__file__).with_name("compact.schema.json")

#: The newest draft that every version of the YAML language servers knows.
_DRAFT = "http://json-schema.org/draft-07/schema#"
_LEVELS = "service_levels"
_COMPACT_PLACE: Final = "#/definitions/"
_ODCS_PLACE: Final = "#/$defs/dagster_contracts."


def compact_schema() -> dict[str, Json]:
    """The JSON Schema (draft 7) of the compact form."""
    definitions = _definitions(_COMPACT_PLACE, (*TABLES, CONTRACT))
    return {
        "$schema": _DRAFT,
        "title": "dagster-contracts: a data contract in the compact form",
        "description": "Made by `make schemas` from the tables that the reader itself uses.",
        "type": "object",
        "required": [ROOT_KEY],
        "additionalProperties": False,
        "properties": {
            ROOT_KEY: {
                "description": CONTRACT.about,
                "$ref": f"{_COMPACT_PLACE}{CONTRACT.name}",
            }
        },
        "definitions": definitions,
    }


def odcs_schema() -> dict[str, Json]:
    """The official JSON Schema of ODCS (draft 2019-09), and our custom properties with it.

    The official one is taken from the installed package, as the reader takes it. Both stand in one
    ``allOf``; the definitions of the official one keep their place, so that its references hold.
    """
    source = files("open_data_contract_standard") / "schema.json"
    official: dict[str, Json] = json.loads(source.read_text(encoding="utf-8"))
    definitions = official.pop("$defs")
    assert isinstance(definitions, dict)
    draft = official.pop("$schema")
    place = _ODCS_PLACE.removeprefix("#/$defs/")
    ours = {f"{place}{name}": schema for name, schema in _definitions(_ODCS_PLACE, TABLES).items()}
    ours[f"{place}property"] = _schema_property(f"{_ODCS_PLACE}property")
    return {
        "$schema": draft,
        "title": "dagster-contracts: a data contract in ODCS",
        "allOf": [
            official,
            {
                "properties": {
                    "customProperties": {
                        "type": "array",
                        "items": _custom_property(EXTENSIONS, _ODCS_PLACE),
                    },
                    "schema": {"type": "array", "items": _schema_object(_ODCS_PLACE)},
                    "slaProperties": {
                        "type": "array",
                        "items": _with_custom({"severity": _enum(list(Severity))}),
                    },
                }
            },
        ],
        "$defs": {**definitions, **ours},
    }


def as_text(schema: Schema) -> str:
    """The schema as the text of a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def camel(name: str) -> str:
    """``open_when`` as ODCS would write it: ``openWhen``."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _definitions(place: str, tables: tuple[Table, ...]) -> dict[str, Json]:
    found: dict[str, Json] = {table.name: _table_schema(table, place) for table in tables}
    found[_LEVELS] = _levels_schema(place)
    return found


def _table_schema(table: Table, place: str) -> Json:
    written: dict[str, Json] = {key.name: _key_schema(key, place) for key in table.keys}
    others: dict[str, Json] = {}
    # Other spellings are accepted and not offered: editors complete properties, and no patterns.
    for name, inner in written.items():
        if "_" in name:
            others[f"^{camel(name)}$"] = inner
    for alias, name in table.aliases.items():
        others[f"^{camel(alias)}$"] = written[name]
    schema: dict[str, Json] = {
        "title": table.name,
        "description": table.about,
        "type": "object",
        "properties": written,
        "additionalProperties": False,
    }
    if others:
        schema["patternProperties"] = others
    required: list[Json] = [key.name for key in table.keys if key.required]
    if required:
        schema["required"] = required
    return schema


def _key_schema(key: Key, place: str) -> Json:
    schema: dict[str, Json] = {"description": key.meaning}
    schema.update(_placed(key.kind.schema, place))
    if key.default is not None:
        schema["default"] = deepcopy(key.default)
    return schema


def _placed(schema: Schema, place: str) -> dict[str, Json]:
    """The schema with its references to tables pointed to their ``place``."""

    def at(value: Json) -> Json:
        if isinstance(value, dict):
            return {
                key: f"{place}{inner}" if key == "$ref" else at(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [at(item) for item in value]
        return value

    return {key: f"{place}{v}" if key == "$ref" else at(v) for key, v in schema.items()}


def _levels_schema(place: str) -> Json:
    """``sla``: a mapping of names to levels, or a list."""
    shapes: list[Json] = [dict(LEVEL_VALUE.schema), {"$ref": f"{place}sla"}]
    meanings = dict.fromkeys(KNOWN, "A service level of ODCS.")
    meanings |= {
        name: f"Measured by the metric `{metric}`." for name, (metric, _) in MEASURED.items()
    }
    meanings |= {name: f"The metric `{name}`, in {d}." for name, d in DEFAULT.names.items()}
    known: dict[str, Json] = {
        name: {"description": meaning, "anyOf": shapes} for name, meaning in meanings.items()
    }
    return {
        "description": "How fresh, complete and punctual the data must be.",
        "anyOf": [
            # Any metric may carry a level, the contract's own too: their names are not known here.
            {"type": "object", "properties": known, "additionalProperties": {"anyOf": shapes}},
            {"type": "array", "items": {"$ref": f"{place}listed_sla"}},
        ],
    }


def _custom_property(table: Table, place: str) -> Json:
    """An item of ``customProperties`` whose ``value`` is judged by its ``property``."""
    branches: list[Json] = []
    for key in table.keys:
        spellings = list(dict.fromkeys((key.name, camel(key.name))))
        branches.append(
            {
                "if": {
                    "properties": {"property": {"enum": list[Json](spellings)}},
                    "required": ["property"],
                },
                "then": {"properties": {"value": _key_schema(key, place)}},
            }
        )
    return {
        "properties": {
            "property": {
                "anyOf": [
                    {"type": "string", "enum": [camel(key.name) for key in table.keys]},
                    {"type": "string"},
                ],
                "description": f"{table.about} Other names are carried along.",
            }
        },
        "allOf": branches,
    }


def _schema_object(place: str) -> Json:
    """Our words among the custom properties of a schema object, and of what is nested in it."""
    custom = _with_custom(
        {
            "asset": {"type": "string", "description": "The asset that this object governs."},
            "extra_columns": _enum(list(ExtraColumns)),
            "ordered": {"type": "boolean"},
        }
    )
    properties: Json = {"type": "array", "items": {"$ref": f"{place}property"}}
    custom["properties"] = {**_mapping(custom["properties"]), "properties": properties}
    return custom


def _schema_property(itself: str) -> Json:
    texts: Json = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    custom = _with_custom({"unit": {"type": "string"}, "aliases": texts})
    custom["properties"] = {
        **_mapping(custom["properties"]),
        "properties": {"type": "array", "items": {"$ref": itself}},
        "items": {"$ref": itself},
    }
    return custom


def _with_custom(values: Mapping[str, Json]) -> dict[str, Json]:
    """Something whose ``customProperties`` may hold ``values`` under their names."""
    branches: list[Json] = [
        {
            "if": {
                "properties": {"property": {"enum": list[Json](dict.fromkeys((n, camel(n))))}},
                "required": ["property"],
            },
            "then": {"properties": {"value": schema}},
        }
        for n, schema in values.items()
    ]
    return {
        "properties": {
            "customProperties": {"type": "array", "items": {"allOf": branches}},
        }
    }


def _enum(values: list[Severity] | list[ExtraColumns]) -> Json:
    return {"type": "string", "enum": [value.value for value in values]}


def _mapping(value: Json) -> dict[str, Json]:
    assert isinstance(value, dict)
    return value
