"""Something to query: a lazy Narwhals frame, its schema, and a way to collect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.pattern import Dialect
from dagster_contracts.errors import UnreadableDataError as UnreadableDataError

if TYPE_CHECKING:
    import polars as pl

    from dagster_contracts.engine.parquet_statistics import Proofs


class UnreachableDataError(UnreadableDataError):
    """Where the data is kept cannot be reached or does not answer: nothing is known of it."""


class Backend(StrEnum):
    """Where the queries run."""

    POLARS = "polars"
    DUCKDB = "duckdb"
    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"
    PYSPARK = "pyspark"

    @property
    def dialect(self) -> Dialect:
        """Whose regular expressions it speaks."""
        match self:
            case Backend.POLARS:
                return Dialect.RUST
            case Backend.DUCKDB:
                return Dialect.RE2
            case Backend.POSTGRESQL:
                return Dialect.POSTGRESQL
            case Backend.SQLITE:
                return Dialect.PYTHON
            case Backend.PYSPARK:
                return Dialect.JAVA

    @property
    def widest_integer(self) -> nw.dtypes.DType:
        """The type in which whole numbers are added and multiplied without an overflow."""
        match self:
            case Backend.POLARS | Backend.DUCKDB:
                return nw.Int128()
            case Backend.POSTGRESQL | Backend.PYSPARK:
                return nw.Decimal(38, 0)
            case Backend.SQLITE:
                return nw.Int64()


MISFIT = "_misfit"
"""What follows a column's name in that of the flag for values that are not of its type."""

Row = dict[str, Any]
Run = Callable[[nw.LazyFrame[Any]], list[Row]]


@dataclass(frozen=True, slots=True)
class Scan:
    """A table to be measured.

    ``schema`` has every column of the data, in order; ``frame`` may have only those that were asked
    for. ``strange`` names the type of columns that no engine can hold (mixed Python objects,
    periods), ``untyped`` the columns that hold nothing and so have no type.

    ``spelled`` are the names of columns in ``frame`` where they differ from the data's own: some
    engines misread names such as ``a.b``. ``refused`` says of columns why this engine cannot
    measure their values, ``gaps`` in which files a column is missing, whose rows have null there.

    ``type_flags``: columns of a container that has no type of its own for what the contract
    declares, tested value by value: an expression, true where the value is not of the declared
    type. pandas keeps integers with gaps as floats and dates as timestamps, CSV keeps all as text.
    ``nulls_misfits``: such a value is null in ``frame``; it is not missing for that.

    ``narrow`` gives a frame of these columns alone (by the data's names), where that is cheaper
    than to select them. ``run`` runs one query where the engine needs more than Narwhals for it;
    ``close`` gives back what was opened for the scan (a connection, a setting). ``proofs``: what
    files say of their rows, which then need not be looked at.
    """

    kind: str
    backend: Backend
    frame: nw.LazyFrame[Any]
    schema: Mapping[str, nw.dtypes.DType]
    strange: Mapping[str, str] = field(default_factory=dict)
    untyped: frozenset[str] = frozenset()
    type_flags: Mapping[str, nw.Expr] = field(default_factory=dict)
    spelled: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)
    nulls_misfits: bool = False
    folds_case: bool = True
    narrow: Callable[[Collection[str]], nw.LazyFrame[Any]] | None = None
    run: Run | None = None
    proofs: Proofs | None = None
    close: Callable[[], None] = field(default=lambda: None)

    def column(self, name: str) -> nw.Expr:
        """A column of the data."""
        return nw.col(self.spelled.get(name, name))

    def only(self, names: Iterable[str]) -> nw.LazyFrame[Any]:
        """The frame with these columns and no more than needed: most engines bind all they get."""
        wanted = tuple(dict.fromkeys(names))
        if self.backend is Backend.POLARS or not wanted:
            return self.frame
        if self.narrow is not None:
            return self.narrow(wanted)
        return self.frame.select(*[self.spelled.get(name, name) for name in wanted])

    def collect(
        self, frames: Sequence[nw.LazyFrame[Any]], *, shared: bool = True
    ) -> list[list[Row]]:
        """Run queries over this scan, together where the engine can; rows as dictionaries.

        ``shared``: what they have in common is computed once, and in whole. Queries for the first
        rows of each kind are better off without: they stop when they have them.
        """
        if not frames:
            return []
        if self.backend is Backend.POLARS:
            import polars as pl  # late: importing the package must stay cheap

            lazy = [frame.to_native() for frame in frames]
            common = pl.QueryOptFlags(comm_subplan_elim=shared)
            try:
                collected = pl.collect_all(lazy, engine="streaming", optimizations=common)
            except pl.exceptions.PanicException as error:
                raise RuntimeError(first_line(error)) from None  # no Exception, as it comes
            return [found.to_dicts() for found in collected]
        return [(self.run or run_by_narwhals)(frame) for frame in frames]


def run_by_narwhals(frame: nw.LazyFrame[Any]) -> list[Row]:
    """One query, collected as Arrow."""
    rows: list[Row] = frame.collect("pyarrow").to_native().to_pylist()
    return rows


def is_panic(error: BaseException) -> bool:
    """Whether Polars broke down: what it raises then is no ``Exception``."""
    return type(error).__name__ == "PanicException"


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first line of an error's text, cut to ``limit`` characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def polars_scan(kind: str, lazy: pl.LazyFrame) -> Scan:
    """A scan that Polars runs."""
    import polars as pl  # late: importing the package must stay cheap

    native = lazy.collect_schema()
    strange = {
        name: str(dtype).lower()
        for name, dtype in native.items()
        if dtype == pl.Object or isinstance(dtype, pl.Unknown | pl.BaseExtension)
    }
    frame = nw.from_native(lazy)
    return Scan(
        kind=kind,
        backend=Backend.POLARS,
        frame=frame,
        schema=dict(frame.collect_schema()),
        strange=strange,
        untyped=frozenset(name for name, dtype in native.items() if dtype == pl.Null),
    )


def refuse_duplicates(names: Sequence[str]) -> None:
    """Raise :class:`UnreadableDataError` where two columns share a name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UnreadableDataError(f"the column {name!r} occurs more than once")
        seen.add(name)


def rows_only(rows: int) -> pl.DataFrame:
    """A frame that has nothing but its number of rows."""
    import polars as pl  # late: importing the package must stay cheap

    return pl.DataFrame({"": pl.repeat(True, rows, eager=True)})
