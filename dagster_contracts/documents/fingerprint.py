"""What identifies a contract: the hash of its text, and the hash of its meaning."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from operator import attrgetter
from typing import Any, TypeAlias

from dagster_contracts.core.contract import Contract

_Write: TypeAlias = Callable[[Any], str]
_Read: TypeAlias = Callable[[Any], tuple[object, ...]]

#: Fields that say nothing about how data is judged or served.
_SILENT = frozenset(
    {
        "location",
        "open_places",
        "close_places",
        "condition_places",
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


@cache
def _meaningful_fields(kind: Any) -> tuple[_Read, tuple[tuple[str, object], ...]]:
    """What reads the meaningful fields of a dataclass in one call, their names and defaults."""
    found = tuple((f.name, f.default) for f in fields(kind) if f.name not in _SILENT)
    names = [name for name, _ in found]
    if len(names) > 1:
        return attrgetter(*names), found
    return lambda value: tuple(getattr(value, name) for name in names), found


def _canonical(value: object) -> str:
    """A text that is equal exactly for values of equal meaning."""
    write = _WRITERS.get(type(value))
    return write(value) if write is not None else _writer_of(type(value))(value)


def _writer_of(kind: type[Any]) -> _Write:
    """How values of this type are written; looked up once for each type."""
    for base, write in _FAMILIES:
        if issubclass(kind, base):
            return _WRITERS.setdefault(kind, write)
    if is_dataclass(kind):
        return _WRITERS.setdefault(kind, _dataclass)
    raise TypeError(f"{kind.__name__} has no canonical text")


def _sequence(value: Iterable[object]) -> str:
    return "[" + ",".join(map(_canonical, value)) + "]"


def _mapping(value: Mapping[object, object]) -> str:
    pairs = sorted((str(key), _canonical(item)) for key, item in value.items())
    return "{" + ",".join(f"{key!r}:{item}" for key, item in pairs) + "}"


def _dataclass(value: Any) -> str:
    kind: Any = type(value)
    read, known = _meaningful_fields(kind)
    shown = [
        f"{name}={_canonical(found)}"
        for (name, default), found in zip(known, read(value), strict=True)
        # A default is left out: a field that a later release adds changes no hash.
        if found is not default and found != default
    ]
    return f"{kind.__name__}({','.join(shown)})"


_FAMILIES: tuple[tuple[Any, _Write], ...] = (
    (Enum, lambda value: repr(value.value)),
    ((str, int, float, type(None)), repr),
    ((tuple, list), _sequence),
    (Mapping, _mapping),
    ((Fraction, Decimal, date, time, timedelta), lambda value: f"{type(value).__name__}({value})"),
)
# The types of a contract are few, and a contract has thousands of values.
_WRITERS: dict[type[Any], _Write] = {}
