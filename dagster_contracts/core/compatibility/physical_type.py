"""Physical types by meaning: which spellings are one type, and which type holds another."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

# Spellings of one type in SQL dialects, Arrow and Avro. The value is the family and its width.
_INTEGERS = {
    "tinyint": 8, "byteint": 8,
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
# PostgreSQL and DuckDB count bytes (int8 is a bigint), Arrow, NumPy and ClickHouse count bits.
_BYTES_OR_BITS = "int8"
_COUNTED_IN_BITS = re.compile(r"u?int(16|32|64|128)|uint8|float(16|32|64)")
_DECIMALS = {"decimal", "numeric", "number", "dec", "bignumeric", "decimal128"}
_TEXTS = {"text", "string", "clob", "long varchar", "longtext", "nclob", "utf8", "large_string"}
_VARCHARS = {"varchar", "character varying", "varchar2", "char varying"}
# Where a database has these beside the ones above, only these hold every character.
_NATIONAL_VARCHARS = {"nvarchar", "nvarchar2", "nchar varying", "national character varying"}
_CHARS = {"char", "character", "bpchar"}
_NATIONAL_CHARS = {"nchar", "national character"}
_TIMES = {"timestamp", "timestamp with time zone", "time", "time with time zone"}
_DEFAULT_PRECISION = 6  # digits of a second, as in PostgreSQL, Oracle, DuckDB and Spark
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
    r"\s*([a-z_][a-z0-9_ ]*?)\s*"
    r"(?:\(\s*(\w+)(?:\s+(?:char|byte))?\s*(?:,\s*(-?\d+)\s*)?\)\s*([a-z ]*?))?\s*$"
)
# Types made of others: array<int>, list<int>, map<text, int>, int[].
_COLLECTION = re.compile(r"\s*(array|list|map)\s*[<(](.*)[>)]\s*$", re.DOTALL)
_LISTED = re.compile(r"(.*?)\s*\[\s*\]\s*$", re.DOTALL)


class TypeChange(Enum):
    """How one physical type stands to another."""

    SAME = "same"
    WIDENED = "widened"
    NARROWED = "narrowed"
    CHANGED = "changed"


def compare_types(old: str, new: str) -> TypeChange:
    """Whether ``new`` is another spelling of ``old``, holds all of it, a part of it, or neither."""
    before, after = _normal(old), _normal(new)
    if before == after:
        return TypeChange.SAME
    outer, inner = _members(before), _members(after)
    if outer is not None and inner is not None and len(outer) == len(inner):
        return _joined({compare_types(*pair) for pair in zip(outer, inner, strict=True)})
    left, right = _parse(_in_words_of(after, before)), _parse(_in_words_of(before, after))
    wider, narrower = _holds(right, left), _holds(left, right)
    if wider and narrower:
        return TypeChange.SAME
    if wider:
        return TypeChange.WIDENED
    return TypeChange.NARROWED if narrower else TypeChange.CHANGED


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _in_words_of(other: str, text: str) -> str:
    """``int8`` as the other type's vocabulary means it; every other type as it is."""
    if text != _BYTES_OR_BITS:
        return text
    return "tinyint" if _COUNTED_IN_BITS.fullmatch(other) else "bigint"


def _members(text: str) -> tuple[str, ...] | None:
    """The types that a collection is made of, keys first; ``None`` for what is none."""
    listed = _LISTED.fullmatch(text)
    if listed is not None:
        return (listed.group(1),)
    match = _COLLECTION.fullmatch(text)
    if match is None:
        return None
    kind, inside = match.groups()
    if kind != "map":
        return (inside,)
    depth = 0
    for place, sign in enumerate(inside):
        depth += (sign in "<(") - (sign in ">)")
        if sign == "," and depth == 0:
            return inside[:place], inside[place + 1 :]
    return None


def _joined(changes: set[TypeChange]) -> TypeChange:
    """The change of a whole, from those of its parts."""
    moved = changes - {TypeChange.SAME}
    if not moved:
        return TypeChange.SAME
    return moved.pop() if len(moved) == 1 else TypeChange.CHANGED


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
        return ("string", (_UNLIMITED,))
    if name in _VARCHARS:
        return ("text", (size if size is not None else _UNLIMITED,))
    if name in _NATIONAL_VARCHARS:
        return ("national text", (size if size is not None else _UNLIMITED,))
    if name in _CHARS:
        return ("char", (size or 1,))
    if name in _NATIONAL_CHARS:
        return ("national char", (size or 1,))
    name = _ALIASES.get(name, name)
    if name in _TIMES:
        return (name, (size if size is not None else _DEFAULT_PRECISION,))
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
        case ("string", "text" | "national text" | "char" | "national char"):
            return True
        case ("text" | "national text", "string"):
            return size[0] >= _UNLIMITED
        case ("text", "char") | ("national text", "text" | "char" | "national char"):
            return size[0] >= part_size[0]
        case ("national char", "char"):
            return size[0] >= part_size[0]
    if kind != part or len(size) != len(part_size):
        return False
    return all(mine >= theirs for mine, theirs in zip(size, part_size, strict=True))
