"""Columns of SQLite, which keeps any value in any column: what is not of the type is a misfit."""

from __future__ import annotations

from typing import Any


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
