"""What SQLite does its own way.

It keeps any value in any column: what is not of the declared type is a misfit. It has no NaN, no
patterns, and turns whole numbers beyond 64 bits into floats without a word.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ibis

_EXACTLY = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}


def sqlite_column(quoted: str, reflected: Any) -> dict[str, Any]:
    """Value, type, misfit and refusal of a column, for :class:`SqlColumn`."""
    import ibis.expr.datatypes as dt  # late: only tables in databases need it
    import sqlalchemy as sa

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
            return _typed(quoted, f"{quoted} IS date({quoted})", dt.date)
        case _:
            refusal = f"SQLite keeps no type that could be measured for columns of type {reflected}"
            return {"value": quoted, "dtype": None, "refusal": refusal}


def _typed(quoted: str, held: str, dtype: Any, value: str | None = None) -> dict[str, Any]:
    return {
        "value": f"CASE WHEN {held} THEN {value or quoted} END COLLATE BINARY",
        "dtype": dtype,
        "misfit": f"{quoted} IS NOT NULL AND NOT ({held})",
    }


def prepare_sqlite(connection: Any) -> None:
    """Give a connection the functions that the statements call."""
    from ibis.backends.sqlite.udf import register_all

    register_all(connection)
    for name in _EXACTLY:
        connection.create_function(f"contracts_{name}", 2, _whole(name), deterministic=True)


def _whole(name: str) -> Any:
    def computed(left: int | None, right: int | None) -> int | None:
        if left is None or right is None:
            return None
        # SQLite itself refuses what is beyond 64 bits, and so fails the statement.
        return int(_EXACTLY[name](left, right))

    return computed


def for_sqlite(native: ibis.Table) -> ibis.Table:
    """The same query without questions for NaN, and with exact sums of whole numbers."""
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
    }

    def replaced(node: Any, parts: Any) -> Any:
        if isinstance(node, ops.IsNan):
            return ops.Literal(False, dt.boolean)
        made = node.__recreate__(parts) if parts else node
        if type(made) in exact and made.dtype.is_integer():
            return exact[type(made)](made.left.to_expr(), made.right.to_expr()).op()
        return made

    return native.op().replace(replaced).to_expr()
