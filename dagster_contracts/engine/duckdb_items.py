"""Rules about the items of arrays and the values of maps, as DuckDB tests them.

A list is tested where it is: its items pass through the same expression as a column would, in the
SQL that Narwhals makes of it for a relation whose column they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.rules import VALUES, Path, Required, is_of_items, split_at_items
from dagster_contracts.engine.compiler import ItemTest, UncompilableError, is_map, made
from dagster_contracts.engine.scan import first_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_BEGINS, _ENDS = "contracts_begins", "contracts_ends"
_BETWEEN = re.compile(f'AS "?{_BEGINS}"?, (.*) AS "?{_ENDS}"? FROM ', re.DOTALL)


def with_flags(relation: DuckDBPyRelation, flags: Mapping[str, str]) -> DuckDBPyRelation:
    """The relation with more columns: their SQL by their name."""
    import duckdb  # late: importing the package must stay cheap

    added = [duckdb.SQLExpression(text).alias(name) for name, text in flags.items()]
    return relation.select(duckdb.StarExpression(), *added)


def flag_in_duckdb(
    test: ItemTest,
    relation: DuckDBPyRelation,
    dtype: nw.dtypes.DType | None,
    path: Path,
    compiled: Callable[[str, nw.dtypes.DType, Path], nw.Expr],
    depth: int = 0,
) -> str:
    """SQL, true where an item breaks the test; raises :class:`UncompilableError`.

    ``path`` leads from a column of the relation into the items; ``dtype`` is the type that holds
    them. ``compiled`` gives the flag for items in a column of this name and type, at a path within.
    """
    import duckdb  # late: importing the package must stay cheap

    outer, rest = split_at_items(path)
    items, item = _items_of(_value_at(outer), dtype, rest[0])
    name, inner = f"contracts_item{depth}", rest[1:]
    try:
        laid_out = relation.select(duckdb.SQLExpression(f"unnest({items})").alias(name))
        if item == nw.Unknown and not (isinstance(test, Required) and not inner):
            kind = str(laid_out.types[0]).strip('"')
            if kind == "NULL":  # there are no items, or all are null
                return "false"
            raise UncompilableError(f"values of type {kind} are not measured here")
        if is_of_items(inner):
            for field in split_at_items(inner)[0]:
                item = field_type(item, field)
            broken = flag_in_duckdb(test, laid_out, item, (name, *inner), compiled, depth + 1)
        else:
            broken = _sql_of(compiled(name, item, inner), laid_out)
    except duckdb.Error as error:
        raise UncompilableError(f"DuckDB cannot lay out the items: {first_line(error)}") from error
    return f"coalesce(list_bool_or([{broken} for {name} in {items}]), false)"


def field_type(dtype: nw.dtypes.DType, name: str) -> nw.dtypes.DType:
    """The type of a field of items; raises :class:`UncompilableError` where there is none."""
    fields: Mapping[str, Any] = (
        {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, nw.Struct) else {}
    )
    if name not in fields:
        raise UncompilableError(f"there is no field {name}")
    return made(fields[name])


def _value_at(path: Path) -> str:
    value = '"' + path[0].replace('"', '""') + '"'
    for name in path[1:]:
        literal = "'" + name.replace("'", "''") + "'"
        value = f"struct_extract({value}, {literal})"
    return value


def _items_of(
    value: str, dtype: nw.dtypes.DType | None, marker: str
) -> tuple[str, nw.dtypes.DType]:
    """The SQL of the items as a list, and their type."""
    held: Any = dtype
    if is_map(dtype) and marker == VALUES:
        return f"map_values({value})", made(held.value)
    if isinstance(dtype, nw.List | nw.Array) and marker != VALUES:
        return value, made(held.inner)
    raise UncompilableError(f"a column of type {dtype} has no items")


def _sql_of(flag: nw.Expr, relation: DuckDBPyRelation) -> str:
    """An expression over the columns of a relation, in SQL."""
    begins = nw.lit(value=True).alias(_BEGINS)
    chosen = nw.from_native(relation).lazy().select(begins, flag.alias(_ENDS)).to_native()
    found = _BETWEEN.search(chosen.sql_query())
    if found is None:
        raise UncompilableError("this DuckDB does not tell the SQL of an expression")
    return found[1]
