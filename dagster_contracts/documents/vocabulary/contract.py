"""The keys of the whole document, and of our custom properties in an ODCS one."""

from __future__ import annotations

from typing import Final

from dagster_contracts.core.contract import ContractStatus
from dagster_contracts.core.quantity import Dimension
from dagster_contracts.documents.vocabulary import policies, quality, resilience, schema
from dagster_contracts.documents.vocabulary.key import (
    CARRIED,
    DAY,
    EXTRAS,
    NAME,
    SPELLING,
    TEXT,
    TEXTS,
    Key,
    Kind,
    Table,
    choice,
    either,
    section,
    sections,
)

_INLINE_SCHEMAS = Key(
    "schemas",
    Kind(
        "[a mapping of names to schemas](#schema)",
        {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "string"}, {"$ref": "schema"}]},
        },
    ),
    "Schemas by name, which the levels of `fallback_modes` may speak of.",
)
_RESILIENCE = Key(
    "resilience",
    section("resilience"),
    "When the circuit opens, and what consumers get meanwhile. Without it there is no circuit.",
)
_METRICS = Key(
    "metrics",
    Kind(
        "[a mapping of names to dimensions](#metrics)",
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "enum": [dimension.value for dimension in Dimension]},
                    {"$ref": "metrics"},
                    {"type": "null"},
                ]
            },
        },
    ),
    "Metrics of your own, which conditions may name.",
)
_CONSUMERS = Key(
    "consumers",
    Kind(
        "[a list of names or mappings](#consumers)",
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "consumers"}]}},
    ),
    "Who reads the data, and which columns.",
)
_ALERTS = Key("alerts", section("alerts"), "Who is told when something is wrong.")
_MONITORING = Key(
    "monitoring", section("monitoring"), "What is watched, and done, beyond the rules."
)
_COMPATIBILITY = Key(
    "compatibility", section("compatibility"), "Whom a new version must not break."
)
_EVENT_TIME = Key(
    "event_time",
    TEXT,
    "The column that says when a row happened; the only timestamp of the schema where it is left "
    "out.",
)
_DEPRECATED_UNTIL = Key(
    "deprecated_until", DAY, "Until when a deprecated contract is kept, such as `2027-06-30`."
)
_SUCCESSOR = Key("successor", TEXT, "The contract that takes its place: `orders@^2`.")
_OWNER = Key("owner", TEXT, "Who answers for the data: a team or a person.")
#: Keys of the compact form's root, and custom properties of the same meaning in ODCS.
_BEYOND_ODCS = (
    _EVENT_TIME,
    _METRICS,
    _RESILIENCE,
    _CONSUMERS,
    _ALERTS,
    _MONITORING,
    _COMPATIBILITY,
    _DEPRECATED_UNTIL,
    _SUCCESSOR,
)

_SCHEMA = Key(
    "schema",
    either(
        "[a schema](#schema), or the name of one",
        {"type": "string"},
        {"$ref": "schema"},
    ),
    "The columns: written out, or the name of a schema under `schemas` or of an Avro or "
    "JSON Schema file beside the contract.",
)
_QUALITY = Key("quality", sections("quality"), "Rules about more than one value.")

OBJECT: Final = Table(
    "objects",
    "One of several tables in one contract; each becomes an asset with checks of its own.",
    (
        Key("name", SPELLING, "The name of the table, where objects are a list and no mapping."),
        Key("asset", TEXT, "The asset that it governs; the asset of its own name without it."),
        _SCHEMA,
        _QUALITY,
    ),
)

CONTRACT: Final = Table(
    "data_contract",
    "The contract: the one key of the document's root.",
    (
        Key(
            "name",
            NAME,
            "The name of the contract, from letters, digits, `_`, `-` and `.`. In a folder "
            "`<name>/<version>.yaml` the place gives it.",
        ),
        Key(
            "version",
            SPELLING,
            "The version, `major.minor.patch`; the file's name gives it where that is a version.",
            "1.0.0",
        ),
        Key("status", choice(ContractStatus), "Where the contract stands in its life.", "active"),
        _OWNER,
        Key("description", TEXT, "What the data is, for people."),
        Key(
            "asset",
            TEXT,
            "The asset that the contract governs; without it the source of the primary level, "
            "else the asset of the contract's name.",
        ),
        _SCHEMA,
        Key(
            "objects",
            either(
                "[a mapping of names to objects](#objects)",
                {"type": "object", "additionalProperties": {"$ref": "objects"}},
                {
                    "type": "array",
                    "items": {"allOf": [{"$ref": "objects"}, {"required": ["name"]}]},
                },
            ),
            "Several tables in one contract, in place of `schema` and `quality`.",
        ),
        _INLINE_SCHEMAS,
        _QUALITY,
        Key(
            "sla",
            Kind("[service levels](#sla)", {"$ref": "service_levels"}),
            "How fresh, complete and punctual the data must be.",
        ),
        *_BEYOND_ODCS,
        Key("tags", TEXTS, "Words to find the contract by."),
        EXTRAS,
    ),
)

EXTENSIONS: Final = Table(
    "customProperties",
    "What ODCS has no key for stands in the root's `customProperties`, under these names.",
    (
        Key(
            "asset",
            either(
                "a name, or a mapping of objects to names",
                {"type": "string"},
                {"type": "object"},
            ),
            "The asset that the contract governs; with several schema objects, one for each.",
        ),
        _OWNER,
        _INLINE_SCHEMAS,
        *_BEYOND_ODCS,
        CARRIED,
    ),
)

#: Every section but the root, in the order of the reference.
TABLES: Final = (
    OBJECT,
    *schema.TABLES,
    *quality.TABLES,
    resilience.RESILIENCE,
    resilience.CIRCUIT_BREAKER,
    resilience.RECOVERY,
    resilience.FALLBACK_LEVEL,
    *policies.TABLES,
)
