"""The hash of what a version promises, its lifecycle left out.

A published version may be deprecated or retired in its document, and that is no edit; anything
else is. Fields at their default are left out too, so that a release which adds a field to the
model does not make every published version look edited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum

from dagster_contracts.core.contract import Contract, Json

_PLACES = frozenset({"location", "open_places", "close_places", "condition_places"})
_LIFECYCLE = frozenset({"status", "deprecated_until", "successor", "content_hash", "semantic_hash"})


def body_hash(contract: Contract) -> str:
    """SHA-256 (hex) of the contract without its lifecycle, its hashes and its locations."""
    body = {name: value for name, value in _fields(contract).items() if name not in _LIFECYCLE}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _fields(value: object) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for field in fields(value):  # type: ignore[arg-type] # only called with dataclasses
        if field.name in _PLACES:
            continue
        part = getattr(value, field.name)
        if field.default is not MISSING and part == field.default:
            continue
        if field.default_factory is not MISSING and part == field.default_factory():
            continue
        found[field.name] = _plain(part)
    return found


def _plain(value: object) -> Json:
    match value:
        case None | bool() | int() | float() | str():
            return value.value if isinstance(value, Enum) else value
        case Mapping():
            return {str(key): _plain(part) for key, part in value.items()}
        case tuple() | list():
            return [_plain(part) for part in value]
    if is_dataclass(value):
        return {"": type(value).__name__, **_fields(value)}
    return str(value)
