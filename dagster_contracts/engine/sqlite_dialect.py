"""What SQLite does its own way.

It keeps any value in any column: what is not of the declared type is a misfit. It has no NaN, no
patterns, and turns whole numbers beyond 64 bits into floats without a word. Times are text in ISO
8601, lists and objects are text in JSON.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dagster_contracts.core.contract import LogicalType

if TYPE_CHECKING:
    import ibis
    import ibis.expr.datatypes as dt

_EXACTLY = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "modulus": operator.mod,
}
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
_REPEATS = re.compile(r"(?<!\()[*+?{].*(?<!\()[*+?{]|\)[*+{]", re.DOTALL)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_TIME = re.compile(_CLOCK)
_INSTANT = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[Tt ]({_CLOCK}) ?([Zz]|[+-][0-9]{{2}}:?[0-9]{{2}})?"
)
_OF_TIME = (LogicalType.DATE, LogicalType.TIMESTAMP, LogicalType.TIME)
_OF_PARTS = (LogicalType.ARRAY, LogicalType.OBJECT, LogicalType.MAP)


def sqlite_column(
    quoted: str, reflected: Any, declared: LogicalType | None, first: Callable[[], Any]
) -> dict[str, Any]:
    """Value, type, misfit and refusal of a column, for :class:`SqlColumn`.

    Text is read as the times that the contract declares: SQLite has no type of its own for them.
    ``first`` gives the first value that is there, which tells whether the column has time zones.
    """
    import ibis.expr.datatypes as dt  # late: only tables in databases need it
    import sqlalchemy as sa

    match reflected, declared:
        case sa.String() | sa.Date() | sa.DateTime() | sa.Time(), kind if kind in _OF_TIME:
            return _temporal(quoted, kind, first)
        case sa.String(), kind if kind in _OF_PARTS:
            refusal = "SQLite keeps lists and objects as JSON text, which is not measured here"
            return {"value": quoted, "dtype": None, "refusal": refusal}
    match reflected:
        case sa.Boolean():
            return _typed(quoted, f"{quoted} IN (0, 1)", dt.boolean)
        case sa.Integer():
            return _typed(quoted, f"typeof({quoted}) = 'integer'", dt.int64)
        case sa.Float() | sa.Numeric():
            held = f"typeof({quoted}) IN ('real', 'integer')"
            return _typed(quoted, held, dt.float64, f"CAST({quoted} AS REAL)")
        case sa.String():
            return _typed(quoted, f"typeof({quoted}) = 'text'", dt.string)
        case sa.Date():
            return _temporal(quoted, LogicalType.DATE, first)
        case sa.DateTime():
            return _temporal(quoted, LogicalType.TIMESTAMP, first)
        case sa.Time():
            return _temporal(quoted, LogicalType.TIME, first)
        case _:
            refusal = f"SQLite keeps no type that could be measured for columns of type {reflected}"
            return {"value": quoted, "dtype": None, "refusal": refusal}


def _typed(quoted: str, held: str, dtype: Any, value: str | None = None) -> dict[str, Any]:
    return {
        "value": f"CASE WHEN {held} THEN {value or quoted} END COLLATE BINARY",
        "dtype": dtype,
        "misfit": f"{quoted} IS NOT NULL AND NOT ({held})",
    }


def _temporal(quoted: str, kind: LogicalType | None, first: Callable[[], Any]) -> dict[str, Any]:
    """A column of times, each in the one text form that is ordered as the times are."""
    import ibis.expr.datatypes as dt

    empty = False
    match kind:
        case LogicalType.DATE:
            # Moved by nothing, 30 February becomes 1 March.
            return _typed(quoted, f"{quoted} IS date({quoted}, '+0 days')", dt.date)
        case LogicalType.TIME:
            dtype, read = dt.time, f"contracts_time({quoted})"
        case _:
            value = first()
            found = _INSTANT.fullmatch(str(value))
            zone = "UTC" if found and found[3] else None
            dtype, read = dt.Timestamp(timezone=zone, scale=6), f"contracts_instant({quoted})"
            empty = value is None
    return {
        "empty": empty,
        "value": f"{read} COLLATE BINARY",
        "dtype": dtype,
        "misfit": f"{quoted} IS NOT NULL AND {read} IS NULL",
    }


def _instant(text: object) -> str | None:
    """``2024-01-01 12:00:00.5`` of an instant in ISO 8601, in UTC; what has no zone is in UTC."""
    found = _INSTANT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{(found[3] or '').upper()}")
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return moment.isoformat(" ")


def _time(text: object) -> str | None:
    """``12:00:00.5`` of a time of day without a zone."""
    if not isinstance(text, str) or _TIME.fullmatch(text) is None:
        return None
    try:
        return time.fromisoformat(text).isoformat()
    except ValueError:
        return None


def read_sqlite(value: Any, dtype: dt.DataType) -> Any:
    """A value as Python knows its type, where SQLite has none for it."""
    if value is None:
        return None
    if dtype.is_boolean():
        return bool(value)
    if not isinstance(value, str):
        return value
    if dtype.is_timestamp():
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if dtype.timezone else moment
    if dtype.is_date():
        return date.fromisoformat(value)
    return time.fromisoformat(value) if dtype.is_time() else value


def prepare_sqlite(connection: Any) -> None:
    """Give a connection the functions that the statements call."""
    from ibis.backends.sqlite.udf import register_all

    register_all(connection)
    connection.create_function("_ibis_regex_search", 2, _found, deterministic=True)
    connection.create_function("contracts_instant", 1, _instant, deterministic=True)
    connection.create_function("contracts_time", 1, _time, deterministic=True)
    for name in _EXACTLY:
        connection.create_function(f"contracts_{name}", 2, _whole(name), deterministic=True)


def _found(text: str | None, pattern: str | None) -> bool | None:
    """Whether the text has the pattern, in a time that grows as the text does.

    Where two repeats can share a text, Python tries every way to part it among them: 2^28 ways for
    28 letters and ``^(a+)+$``. RE2 does not, at ten times the price for what needs none of it.
    """
    if text is None or pattern is None:
        return None
    function, options = _searcher(pattern)
    if function is None:
        return re.search(pattern, text) is not None
    import pyarrow as pa  # late: importing the package must stay cheap

    found: bool = function.call([pa.scalar(text, pa.string())], options).as_py()
    return found


@lru_cache(maxsize=256)
def _searcher(pattern: str) -> tuple[Any, Any]:
    """Arrow's RE2 and the pattern as it reads it; nothing where a single character repeats."""
    if _REPEATS.search(pattern) is None:
        return None, None
    import pyarrow.compute as pc

    # The very end of the text is all that the two spell otherwise.
    spelled = _ESCAPED.sub(lambda found: "$" if found[0] == r"\Z" else found[0], pattern)
    return pc.get_function("match_substring_regex"), pc.MatchSubstringOptions(spelled)


def _whole(name: str) -> Any:
    def computed(left: int | None, right: int | None) -> int | None:
        if left is None or right is None:
            return None
        if name == "modulus" and right == 0:
            return None
        # SQLite itself refuses what is beyond 64 bits, and so fails the statement.
        return int(_EXACTLY[name](left, right))

    return computed


def for_sqlite(native: ibis.Table) -> ibis.Table:
    """The same query without questions for NaN, and with exact arithmetic of whole numbers."""
    import ibis
    import ibis.expr.datatypes as dt
    import ibis.expr.operations as ops

    def function(name: str) -> Any:
        signature = ((dt.int64, dt.int64), dt.int64)
        return ibis.udf.scalar.builtin(_whole(name), name=f"contracts_{name}", signature=signature)

    exact = {
        ops.Add: function("add"),
        ops.Subtract: function("subtract"),
        ops.Multiply: function("multiply"),
        ops.Modulus: function("modulus"),
    }

    def replaced(node: Any, parts: Any) -> Any:
        if isinstance(node, ops.IsNan):
            return ops.Literal(False, dt.boolean)
        made = node.__recreate__(parts) if parts else node
        if isinstance(made, ops.TimestampAdd | ops.TimestampSub):
            # SQLite would answer to the millisecond, and in another form of text.
            raise ValueError("SQLite has no timestamps to be moved")  # noqa: TRY004
        if isinstance(made, ops.Cast) and made.to.is_timestamp():
            if made.arg.dtype.is_timestamp():
                return made.arg
            raise ValueError(f"SQLite does not turn {made.arg.dtype} into timestamps")
        if type(made) in exact and made.dtype.is_integer():
            return exact[type(made)](made.left.to_expr(), made.right.to_expr()).op()
        return made

    return native.op().replace(replaced).to_expr()
