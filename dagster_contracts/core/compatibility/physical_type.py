"""Physical types by meaning: which spellings are one type, and which type holds another."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

# Spellings of one type in SQL dialects, Arrow and Avro. The value is the family and its width.
_INTEGERS = {
    "tinyint": 8, "int8": 8, "byteint": 8,
    "smallint": 16, "int2": 16, "int16": 16, "short": 16, "smallserial": 16,
    "int": 32, "integer": 32, "int4": 32, "int32": 32, "mediumint": 24, "serial": 32,
    "bigint": 64, "int64": 64, "long": 64, "bigserial": 64, "hugeint": 128, "int128": 128,
}  # fmt: skip
_UNSIGNED = {
    "utinyint": 8, "uint8": 8, "usmallint": 16, "uint16": 16, "uinteger": 32, "uint32": 32,
    "ubigint": 64, "uint64": 64,
}  # fmt: skip
_FLOATS = {
    "float16": 16, "halffloat": 16,
    "real": 32, "float4": 32, "float32": 32, "float": 32,
    "double": 64, "double precision": 64, "float8": 64, "float64": 64,
}  # fmt: skip
_DECIMALS = {"decimal", "numeric", "number", "dec", "bignumeric", "decimal128"}
_TEXTS = {"text", "string", "clob", "long varchar", "longtext", "nclob", "utf8", "large_string"}
_VARCHARS = {"varchar", "character varying", "nvarchar", "varchar2", "nvarchar2", "char varying"}
_CHARS = {"char", "character", "nchar", "bpchar"}
_ALIASES = {
    "bool": "boolean", "bit": "boolean",
    "datetime": "timestamp", "timestamp without time zone": "timestamp",
    "timestamp_ntz": "timestamp",
    "timestamptz": "timestamp with time zone", "timestamp_tz": "timestamp with time zone",
    "timetz": "time with time zone", "time without time zone": "time", "date32": "date",
    "varbinary": "binary", "bytea": "binary", "blob": "binary", "bytes": "binary",
    "json": "json", "jsonb": "json",
}  # fmt: skip
# A name, and perhaps sizes and what follows them: "timestamp(3) with time zone".
_SHAPE = re.compile(
    r"\s*([a-z_][a-z0-9_ ]*?)\s*(?:\(\s*(\w+)\s*(?:,\s*(-?\d+)\s*)?\)\s*([a-z ]*?))?\s*$"
)


class TypeChange(Enum):
    """How one physical type stands to another."""

    SAME = "same"
    WIDENED = "widened"
    NARROWED = "narrowed"
    CHANGED = "changed"


def compare_types(old: str, new: str) -> TypeChange:
    """Whether ``new`` is another spelling of ``old``, holds all of it, a part of it, or neither."""
    if old.strip().lower() == new.strip().lower():
        return TypeChange.SAME
    before, after = _parse(old.strip().lower()), _parse(new.strip().lower())
    if before == after:
        return TypeChange.SAME
    wider, narrower = _holds(after, before), _holds(before, after)
    if wider and narrower:
        return TypeChange.SAME
    if wider:
        return TypeChange.WIDENED
    return TypeChange.NARROWED if narrower else TypeChange.CHANGED


_Type = tuple[str, tuple[int, ...]]
_UNLIMITED = 1 << 40


@lru_cache(maxsize=4096)
def _parse(text: str) -> _Type:
    match = _SHAPE.fullmatch(text)
    if match is None:
        return (text, ())
    base, first, second, tail = match.groups()
    name = f"{base} {tail}".strip() if tail else base
    unsigned = name.endswith(" unsigned")
    name = name.removesuffix(" unsigned")
    size = int(first) if first and first.isdigit() else None
    if name in _INTEGERS:
        return ("unsigned" if unsigned else "integer", (_INTEGERS[name],))
    if name in _UNSIGNED:
        return ("unsigned", (_UNSIGNED[name],))
    if name == "float" and size is not None:  # FLOAT(p): single up to 24 bits, as in SQL
        return ("float", (32 if size <= 24 else 64,))
    if name in _FLOATS:
        return ("float", (_FLOATS[name],))
    if name in _DECIMALS:
        if size is None:
            return ("decimal", (_UNLIMITED, _UNLIMITED))
        scale = int(second or 0)
        return ("decimal", (size - scale, scale))
    if name in _TEXTS:
        return ("text", (_UNLIMITED,))
    if name in _VARCHARS:
        return ("text", (size if size is not None else _UNLIMITED,))
    if name in _CHARS:
        return ("char", (size or 1,))
    name = _ALIASES.get(name, name)
    sizes = tuple(int(part) for part in (first, second) if part and part.lstrip("-").isdigit())
    if first and not sizes:
        return (text, ())
    return (name, sizes)


def _holds(outer: _Type, inner: _Type) -> bool:
    """Whether every value of ``inner`` is a value of ``outer``."""
    (kind, size), (part, part_size) = outer, inner
    match kind, part:
        case ("integer", "unsigned"):
            return size[0] > part_size[0]
        case ("float", "integer" | "unsigned"):  # exact up to the mantissa
            return part_size[0] <= (24 if size[0] == 32 else 53 if size[0] == 64 else 11)
        case ("decimal", "integer" | "unsigned"):
            return size[0] >= len(str(2 ** part_size[0]))
        case ("text", "char"):
            return size[0] >= part_size[0]
    if kind != part or len(size) != len(part_size):
        return False
    return all(mine >= theirs for mine, theirs in zip(size, part_size, strict=True))
