"""An inferred contract as YAML that says beside each guess what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from dagster_contracts.core.contract import Contract, Json, SchemaProperty
from dagster_contracts.core.inference import Guess
from dagster_contracts.documents.compact import ROOT_KEY
from dagster_contracts.documents.compact_writer import to_compact
from dagster_contracts.documents.odcs_writer import to_odcs
from dagster_contracts.documents.yaml_writer import Place, write_yaml


class Form(StrEnum):
    """The two forms of a contract document."""

    COMPACT = "compact"
    ODCS = "odcs"


_ODCS_KEYS = {"required": "required", "unique": "unique", "primary_key": "primaryKey",
              "classification": "classification", "enum": "enum"}  # fmt: skip
_ODCS_OPTIONS = {"minimum": "minimum", "maximum": "maximum", "pattern": "pattern",
                 "format": "format", "timezone": "timezone", "min_length": "minLength",
                 "max_length": "maxLength"}  # fmt: skip


def inferred_text(contract: Contract, guesses: Sequence[Guess], form: Form, *, head: str) -> str:
    """The document, ``head`` above it as comments, and each guess where it stands."""
    document = to_compact(contract) if form is Form.COMPACT else to_odcs(contract)
    said: dict[Place, list[str]] = {}
    for guess in guesses:
        place = (
            _compact_place(guess, contract)
            if form is Form.COMPACT
            else _odcs_place(guess, contract, document)
        )
        said.setdefault(place, []).append(guess.because)
    comments = {place: f"guessed: {'; '.join(because)}" for place, because in said.items()}
    above = "".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())
    return above + write_yaml(document, comments)


def _compact_place(guess: Guess, contract: Contract) -> Place:
    body: Place = (ROOT_KEY,)
    match guess.key:
        case "left_out":
            return (*body, "schema", "fields")
        case "rows":
            return (*body, "schema", "quality", 0)
        case "event_time":
            return (*body, "event_time")
        case "freshness":
            return (*body, "sla", "freshness")
    place: Place = (*body, "schema")
    for prop in _properties(guess, contract):
        place = (*place, "fields", prop.name)
    match guess.key:
        case "column":
            return place
        case "nulls":
            return (*place, "quality", 0)
        case _:
            return (*place, guess.key)


def _odcs_place(guess: Guess, contract: Contract, document: Mapping[str, Json]) -> Place:
    match guess.key:
        case "left_out":
            return ("schema",)
        case "rows":
            return ("schema", 0, "quality", 0)
        case "event_time":
            custom = document.get("customProperties")
            entries = custom if isinstance(custom, list) else []
            names = [entry.get("property") for entry in entries if isinstance(entry, dict)]
            return ("customProperties", names.index("eventTime") if "eventTime" in names else 0)
        case "freshness":
            return ("slaProperties", 0)
    place: Place = ("schema", 0)
    known = contract.objects[0].properties
    for prop in _properties(guess, contract):
        place = (*place, "properties", known.index(prop))
        known = prop.properties
    match guess.key:
        case "column":
            return place
        case "nulls":
            return (*place, "quality", 0)
        case key if key in _ODCS_OPTIONS:
            return (*place, "logicalTypeOptions", _ODCS_OPTIONS[key])
        case key:
            return (*place, _ODCS_KEYS[key])


def _properties(guess: Guess, contract: Contract) -> Sequence[SchemaProperty]:
    """The properties that lead to the one that a guess is about."""
    found: list[SchemaProperty] = []
    known = contract.objects[0].properties
    for name in guess.path:
        prop = next(prop for prop in known if prop.column == name)
        found.append(prop)
        known = prop.properties
    return found
