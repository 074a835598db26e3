"""The SQL type of a column: its physical type where the dialect has it, else what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dagster_contracts.core.contract import LogicalType, SchemaProperty
from dagster_contracts.documents.export.sql_dialect import SqlDialect

_INTEGERS = "int|integer|bigint|smallint"
_DECIMALS = r"(?:numeric|decimal)(?:\(\d+(?:,\s*\d+)?\))?"
_TEXTS = r"text|(?:varchar|char|character varying|character|bpchar)(?:\(\d+\))?"
#: The types that a dialect has, by what they hold.
_KNOWN: dict[SqlDialect, dict[LogicalType, str]] = {
    SqlDialect.SQLITE: {
        LogicalType.INTEGER: rf"{_INTEGERS}|tinyint|mediumint|int2|int8|unsigned big int",
        LogicalType.NUMBER: rf"{_INTEGERS}|real|double|double precision|float|{_DECIMALS}",
        LogicalType.STRING: rf"{_TEXTS}|clob|nvarchar\(\d+\)|nchar\(\d+\)",
        LogicalType.BOOLEAN: "boolean|bool|integer|int",
        LogicalType.DATE: "date|text",
        LogicalType.TIMESTAMP: "datetime|timestamp|text",
        LogicalType.TIME: "time|text",
    },
    SqlDialect.DUCKDB: {
        LogicalType.INTEGER: rf"{_INTEGERS}|tinyint|hugeint|u(?:tinyint|smallint|integer|bigint|"
        rf"hugeint)|int[1248]|long|short",
        LogicalType.NUMBER: rf"{_INTEGERS}|hugeint|real|double|float|float[48]|{_DECIMALS}",
        LogicalType.STRING: rf"{_TEXTS}|string|uuid",
        LogicalType.BOOLEAN: "boolean|bool|logical",
        LogicalType.DATE: "date",
        LogicalType.TIMESTAMP: "timestamp|datetime|timestamptz|timestamp with time zone|"
        "timestamp_(?:s|ms|ns)",
        LogicalType.TIME: "time",
        LogicalType.OBJECT: "json",
        LogicalType.MAP: "json",
        LogicalType.ARRAY: "json",
    },
    SqlDialect.POSTGRESQL: {
        LogicalType.INTEGER: rf"{_INTEGERS}|int[248]|serial|bigserial|smallserial",
        LogicalType.NUMBER: rf"{_INTEGERS}|real|double precision|float[48]|float\(\d+\)|"
        rf"{_DECIMALS}",
        LogicalType.STRING: rf"{_TEXTS}|uuid|citext",
        LogicalType.BOOLEAN: "boolean|bool",
        LogicalType.DATE: "date",
        LogicalType.TIMESTAMP: r"timestamp(?:\(\d\))?(?: with(?:out)? time zone)?|timestamptz",
        LogicalType.TIME: r"time(?:\(\d\))?(?: without time zone)?",
        LogicalType.OBJECT: "jsonb?",
        LogicalType.MAP: "jsonb?",
        LogicalType.ARRAY: "jsonb?",
    },
}
_PLAIN: dict[SqlDialect, dict[LogicalType, str]] = {
    SqlDialect.SQLITE: {
        LogicalType.INTEGER: "INTEGER",
        LogicalType.NUMBER: "REAL",
        LogicalType.BOOLEAN: "BOOLEAN",
    },
    SqlDialect.DUCKDB: {
        LogicalType.INTEGER: "BIGINT",
        LogicalType.NUMBER: "DOUBLE",
        LogicalType.BOOLEAN: "BOOLEAN",
        LogicalType.DATE: "DATE",
        LogicalType.TIME: "TIME",
        LogicalType.OBJECT: "JSON",
        LogicalType.MAP: "JSON",
        LogicalType.ARRAY: "JSON",
    },
    SqlDialect.POSTGRESQL: {
        LogicalType.INTEGER: "bigint",
        LogicalType.NUMBER: "double precision",
        LogicalType.BOOLEAN: "boolean",
        LogicalType.DATE: "date",
        LogicalType.TIME: "time",
        LogicalType.OBJECT: "jsonb",
        LogicalType.MAP: "jsonb",
        LogicalType.ARRAY: "jsonb",
    },
}
_TEXT = {SqlDialect.DUCKDB: "VARCHAR", SqlDialect.SQLITE: "TEXT", SqlDialect.POSTGRESQL: "text"}
_SIZES: dict[SqlDialect, dict[str, str]] = {
    SqlDialect.SQLITE: {},
    SqlDialect.DUCKDB: {
        "i8": "TINYINT",
        "i16": "SMALLINT",
        "i32": "INTEGER",
        "i128": "HUGEINT",
        "u8": "UTINYINT",
        "u16": "USMALLINT",
        "u32": "UINTEGER",
        "u64": "UBIGINT",
        "u128": "UHUGEINT",
        "f32": "REAL",
    },
    SqlDialect.POSTGRESQL: {
        "i8": "smallint",
        "i16": "smallint",
        "i32": "integer",
        "u8": "smallint",
        "u16": "integer",
        "u64": "numeric(20, 0)",
        "i128": "numeric(39, 0)",
        "u128": "numeric(39, 0)",
        "f32": "real",
    },
}
_SCALARS = {
    LogicalType.STRING,
    LogicalType.INTEGER,
    LogicalType.NUMBER,
    LogicalType.BOOLEAN,
    LogicalType.DATE,
    LogicalType.TIMESTAMP,
    LogicalType.TIME,
}


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column; ``logical`` is what values its SQL operators compare.

    ``nested`` says that the type itself names the fields within, ``is_list`` that it is an array of
    the dialect. ``notes`` are what a reader of the table should know.
    """

    text: str
    logical: LogicalType | None
    nested: bool = False
    is_list: bool = False
    is_uuid: bool = False
    notes: tuple[str, ...] = ()


def type_of(prop: SchemaProperty, dialect: SqlDialect) -> ColumnType:
    """The type of a column in a dialect."""
    kind = prop.logical_type
    physical = " ".join((prop.physical_type or "").split())
    notes: tuple[str, ...] = ()
    if physical:
        known = _KNOWN[dialect].get(kind) if kind else None
        if kind is None:
            logical = _logical_of(physical, dialect)
            if logical is not None:
                return ColumnType(physical, logical, is_uuid=physical.lower() == "uuid")
        elif known and re.fullmatch(known, physical, re.IGNORECASE):
            return ColumnType(physical, kind, is_uuid=physical.lower() == "uuid")
        wide = {"double": "DOUBLE PRECISION", "float8": "DOUBLE PRECISION"}.get(physical.lower())
        if wide and kind is LogicalType.NUMBER and dialect is SqlDialect.POSTGRESQL:
            # The word of other databases for the same eight bytes.
            return ColumnType(wide.lower(), kind)
        notes = (f"its physical type {physical} is none of {dialect.value} for this column",)
    if kind is None:
        return ColumnType("" if dialect is SqlDialect.SQLITE else _TEXT[dialect], None, notes=notes)
    return _composite(prop, dialect, notes) or ColumnType(_plain(prop, dialect), kind, notes=notes)


def _logical_of(physical: str, dialect: SqlDialect) -> LogicalType | None:
    return next(
        (
            kind
            for kind, known in _KNOWN[dialect].items()
            if re.fullmatch(known, physical, re.IGNORECASE)
        ),
        None,
    )


def _plain(prop: SchemaProperty, dialect: SqlDialect) -> str:
    kind, options = prop.logical_type, prop.options
    sized = _SIZES[dialect].get(options.format or "")
    if sized is not None and kind in (LogicalType.INTEGER, LogicalType.NUMBER):
        return sized
    if kind is LogicalType.TIMESTAMP and dialect is not SqlDialect.SQLITE:
        zoned = "TIMESTAMPTZ" if options.timezone else "TIMESTAMP"
        return zoned if dialect is SqlDialect.DUCKDB else zoned.lower()
    return _PLAIN[dialect].get(kind, _TEXT[dialect]) if kind else _TEXT[dialect]


def _composite(
    prop: SchemaProperty, dialect: SqlDialect, notes: tuple[str, ...]
) -> ColumnType | None:
    """A type that names what it holds, where the dialect has one and the contract says it."""
    kind = prop.logical_type
    if dialect is SqlDialect.POSTGRESQL:
        item = prop.items
        if kind is LogicalType.ARRAY and item and item.logical_type in _SCALARS:
            return ColumnType(f"{type_of(item, dialect).text}[]", kind, is_list=True, notes=notes)
        return None
    if dialect is not SqlDialect.DUCKDB or kind in _SCALARS or not _is_known(prop):
        return None
    text = _structure(prop)
    return ColumnType(text, kind, nested=True, is_list=kind is LogicalType.ARRAY, notes=notes)


def _structure(prop: SchemaProperty) -> str:
    """DuckDB's type: ``STRUCT("a" BIGINT)``, ``BIGINT[]``, ``MAP(VARCHAR, BIGINT)``."""
    match prop.logical_type:
        case LogicalType.ARRAY if prop.items:
            return f"{_structure(prop.items)}[]"
        case LogicalType.MAP if prop.items:
            return f"MAP(VARCHAR, {_structure(prop.items)})"
        case LogicalType.OBJECT if prop.properties:
            fields = ", ".join(
                f"{SqlDialect.DUCKDB.quote(inner.column)} {_structure(inner)}"
                for inner in prop.properties
            )
            return f"STRUCT({fields})"
        case _:
            return type_of(prop, SqlDialect.DUCKDB).text


def _is_known(prop: SchemaProperty) -> bool:
    """Whether the contract says what a value holds, and no two names fold into one."""
    match prop.logical_type:
        case LogicalType.ARRAY | LogicalType.MAP:
            return prop.items is not None
        case LogicalType.OBJECT:
            names = {inner.column.lower() for inner in prop.properties}
            named = all(inner.column and "\0" not in inner.column for inner in prop.properties)
            return bool(names) and len(names) == len(prop.properties) and named
        case _:
            return True


def type_check(prop: SchemaProperty, found: ColumnType, dialect: SqlDialect) -> str | None:
    """What SQLite, whose columns hold any value, must be told of a column's type."""
    if dialect is not SqlDialect.SQLITE or found.logical is None:
        return None
    name = dialect.quote(prop.column)
    match found.logical:
        case LogicalType.INTEGER:
            return f"typeof({name}) IN ('integer', 'null')"
        case LogicalType.NUMBER:
            return f"typeof({name}) IN ('integer', 'real', 'null')"
        case LogicalType.STRING:
            return f"typeof({name}) IN ('text', 'null')"
        case LogicalType.BOOLEAN:
            return f"{name} IN (0, 1)"
        case LogicalType.DATE:
            # Moved by nothing, 30 February becomes 1 March.
            return f"{name} IS date({name}, '+0 days')"
        case LogicalType.TIMESTAMP:
            # julianday alone also takes numbers, 'now', days without a time, and 30 February.
            day = f"substr({name}, 1, 10)"
            shape = f"{name} GLOB '????-??-??[T ]??:??*' AND date({day}, '+0 days') = {day}"
            return f"{name} IS NULL OR ({shape} AND julianday({name}) NOT NULL)"
        case LogicalType.TIME:
            return f"{name} IS NULL OR ({name} GLOB '??:??*' AND time({name}) NOT NULL)"
        case LogicalType.ARRAY:
            return f"{name} IS NULL OR (json_valid({name}) AND json_type({name}) = 'array')"
        case LogicalType.OBJECT | LogicalType.MAP:
            return f"{name} IS NULL OR (json_valid({name}) AND json_type({name}) = 'object')"
