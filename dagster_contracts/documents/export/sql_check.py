"""A test of one row as the condition of a ``CHECK``: true, or unknown for what is missing."""

from __future__ import annotations

from collections.abc import Mapping

from dagster_contracts.core.contract import LogicalType, Scalar
from dagster_contracts.core.pattern import Dialect, UnportablePattern, translate
from dagster_contracts.core.rules import (
    All,
    Bound,
    Enumerated,
    Format,
    Length,
    MultipleOf,
    NotMissing,
    Path,
    Pattern,
    Required,
    RuleTest,
    Unmeasurable,
)
from dagster_contracts.core.text_format import TEXT_FORMATS
from dagster_contracts.documents.export.sql_dialect import SqlDialect
from dagster_contracts.documents.export.sql_type import ColumnType

_NUMBERS = (LogicalType.INTEGER, LogicalType.NUMBER)
_PATTERNS = {SqlDialect.DUCKDB: Dialect.RE2, SqlDialect.POSTGRESQL: Dialect.POSTGRESQL}


class Unsayable(ValueError):  # noqa: N818 - a verdict on a rule, told to people in a comment
    """The dialect has no words for a test; the text says why."""


def check_of(test: RuleTest, types: Mapping[str, ColumnType], dialect: SqlDialect) -> str:
    """The condition of a ``CHECK``; raises :class:`Unsayable`."""
    match test:
        case All(parts):
            return " AND ".join(f"({check_of(part, types, dialect)})" for part in parts)
        case Required(path):
            return f"{_column(path, types, dialect)[0]} IS NOT NULL"
        case Enumerated(path, values):
            name, kind = _column(path, types, dialect)
            return f"{_plain(name, kind, dialect)} IN ({_list(values, kind, dialect)})"
        case NotMissing(path, values):
            name, kind = _column(path, types, dialect)
            there = f"{name} IS NOT NULL"
            if not values:
                return there
            listed = _list(values, kind, dialect)
            return f"{there} AND {_plain(name, kind, dialect)} NOT IN ({listed})"
        case Bound(path, operator, limit):
            name, kind = _column(path, types, dialect)
            if dialect is SqlDialect.SQLITE and kind.logical is LogicalType.TIMESTAMP:
                name = f"julianday({name})"
            if dialect is SqlDialect.POSTGRESQL and isinstance(limit, str):
                name += ' COLLATE "C"'
            return f"{name} {operator.value} {_literal(limit, kind, dialect)}"
        case Length(path, minimum, maximum, items):
            name, kind = _column(path, types, dialect)
            size = _items(name, kind, dialect) if items else _characters(name, kind)
            bounds = [("<=", maximum), (">=", minimum)]
            return " AND ".join(f"{size} {sign} {x}" for sign, x in bounds if x is not None)
        case Pattern(path, pattern):
            return _match(pattern, path, types, dialect)
        case Format(path, form):
            if form not in TEXT_FORMATS:
                raise Unsayable("the format has no pattern")
            return _match(TEXT_FORMATS[form], path, types, dialect)
        case MultipleOf(path, divisor):
            name, kind = _column(path, types, dialect)
            if kind.logical not in _NUMBERS:
                raise Unsayable("the column is no number")
            quotient = f"({name} * 1.0 / {dialect.literal(divisor)})"
            return f"abs({quotient} - round({quotient})) <= 0.000000001"
        case Unmeasurable(reason):
            raise Unsayable(reason)
        case _:
            raise Unsayable("")


def _column(
    path: Path, types: Mapping[str, ColumnType], dialect: SqlDialect
) -> tuple[str, ColumnType]:
    if len(path) > 1:
        raise Unsayable("it speaks of a nested value")
    if path[0] not in types:
        raise Unsayable("there is no such column")
    return dialect.quote(path[0]), types[path[0]]


def _plain(name: str, kind: ColumnType, dialect: SqlDialect) -> str:
    if dialect is SqlDialect.SQLITE and kind.logical is LogicalType.TIMESTAMP:
        return f"julianday({name})"
    return name


def _list(values: tuple[Scalar, ...], kind: ColumnType, dialect: SqlDialect) -> str:
    return ", ".join(_literal(value, kind, dialect) for value in values)


def _literal(value: Scalar, kind: ColumnType, dialect: SqlDialect) -> str:
    fits = {
        LogicalType.STRING: isinstance(value, str),
        LogicalType.BOOLEAN: isinstance(value, bool),
        LogicalType.OBJECT: False,
        LogicalType.MAP: False,
        LogicalType.ARRAY: False,
        None: False,
    }
    wanted = kind.logical
    if wanted in _NUMBERS:
        good = not isinstance(value, bool | str) and not hasattr(value, "isoformat")
    elif wanted in fits:
        good = fits[wanted] and not (kind.is_uuid and not isinstance(value, str))
    else:
        good = hasattr(value, "isoformat")
    if not good or (isinstance(value, str) and "\0" in value):
        raise Unsayable(f"{value!r} does not compare with the column")
    return dialect.literal(value)


def _characters(name: str, kind: ColumnType) -> str:
    if kind.logical is not LogicalType.STRING or kind.is_uuid:
        raise Unsayable("the column is no text")
    return f"length({name})"


def _items(name: str, kind: ColumnType, dialect: SqlDialect) -> str:
    if kind.logical is not LogicalType.ARRAY:
        raise Unsayable("the column is no list")
    match dialect:
        case SqlDialect.SQLITE:
            return f"json_array_length({name})"
        case SqlDialect.DUCKDB:
            return f"len({name})" if kind.is_list else f"json_array_length({name})"
        case SqlDialect.POSTGRESQL:
            return f"cardinality({name})" if kind.is_list else f"jsonb_array_length({name}::jsonb)"


def _match(pattern: str, path: Path, types: Mapping[str, ColumnType], dialect: SqlDialect) -> str:
    name, kind = _column(path, types, dialect)
    if kind.logical is not LogicalType.STRING or kind.is_uuid:
        raise Unsayable("the column is no text")
    flavour = _PATTERNS.get(dialect)
    if flavour is None:
        raise Unsayable(f"{dialect.value} has no regular expressions")
    try:
        text = dialect.text(translate(pattern, flavour))
    except UnportablePattern as error:
        raise Unsayable(str(error)) from None
    if dialect is SqlDialect.POSTGRESQL:
        return f"{name} ~ {text}"
    return f"regexp_matches({name}, {text})"
