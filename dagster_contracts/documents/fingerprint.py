"""What identifies a contract: the hash of its text, and the hash of its meaning."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from typing import Any

from dagster_contracts.core.contract import Contract

#: Fields that say nothing about how data is judged or served.
_SILENT = frozenset(
    {
        "location",
        "description",
        "extras",
        "tags",
        "business_name",
        "classification",
        "critical",
        "id",
        "text",
        "driver",
        "dimension",
    }
)
#: The parts of a contract that a circuit depends on.
_MEANINGFUL = ("objects", "schemas", "sla", "metrics", "resilience", "asset", "event_time")


def content_hash(document: bytes, schema_files: Mapping[str, bytes]) -> str:
    """SHA-256 (hex) of the document and of the schema files that it uses, by name.

    Each part is preceded by its length, so that no two sets of files give one stream of bytes.
    """
    digest = hashlib.sha256()
    for name, content in [("", document), *sorted(schema_files.items())]:
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def semantic_hash(contract: Contract) -> str:
    """SHA-256 (hex) of what the contract means, without comments, descriptions and people."""
    digest = hashlib.sha256()
    for part in _MEANINGFUL:
        digest.update(f"{part}={_canonical(getattr(contract, part))};".encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _meaningful_fields(kind: type[Any]) -> tuple[tuple[str, object], ...]:
    return tuple((f.name, f.default) for f in fields(kind) if f.name not in _SILENT)


def _canonical(value: object) -> str:
    """A text that is equal exactly for values of equal meaning."""
    if isinstance(value, Enum):
        return repr(value.value)
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, Mapping):
        pairs = sorted((str(key), _canonical(item)) for key, item in value.items())
        return "{" + ",".join(f"{key!r}:{item}" for key, item in pairs) + "}"
    if is_dataclass(value):
        kind: Any = type(value)
        shown = [
            f"{name}={_canonical(found)}"
            for name, default in _meaningful_fields(kind)
            # A default is left out: a field that a later release adds changes no hash.
            if (found := getattr(value, name)) != default
        ]
        return f"{kind.__name__}({','.join(shown)})"
    if isinstance(value, Fraction | Decimal | date | time | timedelta):
        return f"{type(value).__name__}({value})"
    raise TypeError(f"{type(value).__name__} has no canonical text")
