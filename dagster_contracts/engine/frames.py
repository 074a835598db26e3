"""The kinds of data that assets return, and the ways between them through Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.arrow_source import read_whole
from dagster_contracts.engine.scan import Backend, Scan
from dagster_contracts.engine.sources import kind_of, open_scan
from dagster_contracts.engine.structure import type_text

if TYPE_CHECKING:
    import pyarrow as pa


def frame_kind(data: object) -> str | None:
    """The kind of ``data``: ``pandas``, ``polars``, ``polars_lazy``, ``pyarrow``, ``duckdb``, ...

    ``None`` where it is no table.
    """
    return kind_of(data)


def frame_columns(data: object) -> list[tuple[str, str]]:
    """Names of the columns and their types in words, in order; TypeError where it is no table.

    No value is read but where a pandas column of objects must be looked at to know its type.
    """
    if kind_of(data) is None:
        raise TypeError(f"no table but {type(data).__name__}")
    with closing(open_scan(data, columns=_undecided(data))) as scan:
        return [
            (name, scan.strange.get(name) or ("Null" if name in scan.untyped else type_text(dtype)))
            for name, dtype in scan.schema.items()
        ]


def _undecided(data: Any) -> list[str]:
    if kind_of(data) != "pandas":
        return []
    return [str(name) for name, dtype in data.dtypes.items() if str(dtype) == "object"]


def select_columns(data: Any, columns: Sequence[str]) -> Any:
    """The same kind of data with these columns alone, in this order; KeyError names a missing one.

    A path becomes a lazy Polars frame; a pandas frame keeps its index.
    """
    known = {name for name, _ in frame_columns(data)}
    for name in columns:
        if name not in known:
            raise KeyError(name)
    wanted = list(columns)
    match kind_of(data):
        case "polars" | "polars_lazy" | "pyarrow" | "pyarrow_batch" | "narwhals" | "ibis":
            return data.select(wanted)
        case "pandas":
            names = [str(name) for name in data.columns]
            return data.iloc[:, [names.index(name) for name in wanted]]
        case "pyarrow_reader":
            return read_whole(data).select(wanted)
        case "pyarrow_dataset":
            return data.scanner(columns=wanted).to_table()
        case "duckdb":
            return data.project(", ".join(_quoted(name) for name in wanted))
        case "pyspark":
            return data.select(*[f"`{name.replace('`', '``')}`" for name in wanted])
        case "sql_table":
            return to_arrow(data).select(wanted)
        case _:
            return open_scan(data).frame.select(*wanted).to_native()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def to_arrow(data: Any, declared: Mapping[str, LogicalType] | None = None) -> pa.Table:
    """All rows as an Arrow table; the pandas index is left out.

    ``declared`` are the contract's types, by which the text of a file is read.
    TypeError where it is no table, or names the columns of unlike objects, which Arrow cannot hold.
    """
    import pyarrow as pa  # late: importing the package must stay cheap

    match kind_of(data):
        case None:
            raise TypeError(f"no table but {type(data).__name__}")
        case "pyarrow":
            return data
        case "pandas":
            return _from_pandas(data)
        case "polars":
            return _from_polars(data)
        case "polars_lazy":
            return _from_polars(data.collect(engine="streaming"))
        case "pyarrow_batch":
            return pa.Table.from_batches([data])
        case "pyarrow_reader":
            return read_whole(data)
        case "pyarrow_dataset":
            return data.to_table()
        case _:
            with closing(open_scan(data, None, declared)) as scan:
                return _rows_of(scan)


def held_columns(data: Any, declared: Mapping[str, LogicalType] | None = None) -> pa.Table:
    """The columns of a table that Arrow can hold; those of unlike objects are left out."""
    try:
        return to_arrow(data, declared)
    except TypeError:
        match kind_of(data):
            case "pandas":
                lost = _lost(data)
                kept = [place for place, name in enumerate(data.columns) if str(name) not in lost]
                return _from_pandas(data.iloc[:, kept])
            case "polars" | "polars_lazy":
                frame = data.lazy().collect(engine="streaming")
                return _from_polars(frame.drop(_objects(frame)))
            case None:
                raise
            case _:
                with closing(open_scan(data, None, declared)) as scan:
                    held = [name for name in scan.schema if name not in scan.refused]
                    return scan.frame.select(*held).collect("pyarrow").to_native()


def _from_pandas(data: Any) -> pa.Table:
    import pyarrow as pa  # late: importing the package must stay cheap

    try:
        return pa.Table.from_pandas(data, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        lost = _lost(data)
        if not lost:
            raise
        # What Arrow says of it quotes a value.
        raise TypeError(f"Arrow cannot hold the values of {', '.join(lost)}") from None


def _lost(data: Any) -> list[str]:
    """The columns of a pandas frame that Arrow cannot hold."""
    import pyarrow as pa  # late: importing the package must stay cheap

    lost = []
    for place, name in enumerate(data.columns):
        try:
            pa.Array.from_pandas(data.iloc[:, place])
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            lost.append(str(name))
    return lost


def _from_polars(data: Any) -> pa.Table:
    # Polars gives the addresses of Python objects.
    lost = _objects(data)
    if lost:
        raise TypeError(f"Arrow cannot hold the values of {', '.join(lost)}")
    return data.to_arrow()


def _objects(data: Any) -> list[str]:
    import polars as pl  # late: importing the package must stay cheap

    return [name for name, dtype in data.schema.items() if dtype == pl.Object]


def _rows_of(scan: Scan) -> pa.Table:
    """Every row of a scan, under the columns' own names."""
    if scan.refused and scan.backend is Backend.POLARS:  # only flags of them are there
        raise TypeError(f"the values of {', '.join(scan.refused)} cannot be had")
    # Arrow has no whole numbers of 128 bits.
    long = [name for name, dtype in scan.schema.items() if dtype == nw.Int128]
    exact = {name: scan.column(name).cast(nw.Decimal(38, 0)) for name in long}
    frame = scan.frame.select(*[exact.get(n, scan.column(n)).alias(n) for n in scan.schema])
    if scan.run is None:
        return frame.collect("pyarrow").to_native()
    import pyarrow as pa  # late: importing the package must stay cheap

    types = frame.to_native().schema().to_pyarrow()
    return pa.Table.from_pylist(scan.collect([frame])[0], schema=types)


def convert_table(table: pa.Table, to: type | str) -> Any:
    """``table`` as ``pandas``, ``polars``, ``polars_lazy`` or ``pyarrow`` (a name or the type)."""
    kind = to if isinstance(to, str) else _kind_of_type(to)
    match kind:
        case "pyarrow":
            return table
        case "pandas":
            return table.to_pandas()
        case "polars" | "polars_lazy":
            import polars as pl  # late: importing the package must stay cheap

            frame = pl.DataFrame(table)
            return frame.lazy() if kind == "polars_lazy" else frame
        case _:
            raise TypeError(
                f"a table cannot become {to!r}; known: pandas, polars, polars_lazy, pyarrow"
            )


def _kind_of_type(wanted: type) -> str | None:
    root = wanted.__module__.split(".")[0]
    names = {
        ("pandas", "DataFrame"): "pandas",
        ("polars", "DataFrame"): "polars",
        ("polars", "LazyFrame"): "polars_lazy",
        ("pyarrow", "Table"): "pyarrow",
    }
    return names.get((root, wanted.__name__))


def as_text(data: Any) -> pa.Table:
    """All rows as an Arrow table whatever they hold: to be looked at, not to be served.

    Columns that Arrow cannot hold become text; columns of the same name are numbered.
    """
    try:
        return to_arrow(data)
    except Exception:  # objects of any kind, two columns of one name: shown as text
        import pyarrow as pa  # late: importing the package must stay cheap

        names, arrays = [], []
        for position, name in enumerate(map(str, data.columns)):
            values = list(data.iloc[:, position]) if hasattr(data, "iloc") else list(data[name])
            try:
                array = pa.array(values, from_pandas=True)
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
                array = pa.array([None if value is None else str(value) for value in values])
            names.append(name if name not in names else f"{name}#{position}")
            arrays.append(array)
        return pa.Table.from_arrays(arrays, names=names)
