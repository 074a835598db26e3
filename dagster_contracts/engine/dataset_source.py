"""Arrow datasets, and the files that Polars alone cannot read, a batch at a time.

Polars reads Parquet and Arrow files faster than through Arrow, so that this is for those files of
which a column has a type that Polars lacks, or takes for another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.arrow_source import frame_of
from dagster_contracts.engine.arrow_types import is_held, standing_in, unheld_types
from dagster_contracts.engine.file_list import FileList
from dagster_contracts.engine.scan import Scan, polars_scan

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_FORMATS = {"parquet": "parquet", "arrow_file": "ipc"}


def scan_dataset(kind: str, dataset: Any) -> Scan:
    """A scan of an Arrow dataset."""
    import polars as pl  # late: importing the package must stay cheap

    if is_held(dataset.schema):
        # Filters that Arrow runs compare time zones and unsigned integers in their own way.
        return polars_scan(kind, pl.scan_pyarrow_dataset(dataset, allow_pyarrow_filter=False))
    return _told(polars_scan(kind, _lazy(dataset)), dataset.schema)


def scan_awkward(
    files: FileList, declared: Mapping[str, LogicalType], doubted: Collection[str] = ()
) -> Scan | None:
    """A scan of local files alike that Polars would misread; ``None`` where it is not that.

    ``doubted`` are columns of moments for Polars that may be dates.
    """
    import pyarrow as pa  # late: importing the package must stay cheap
    import pyarrow.dataset

    if files.kind not in _FORMATS or not files.is_local:
        return None
    try:
        sources = [pyarrow.dataset.dataset(p, format=_FORMATS[files.kind]) for p in files.paths]
    except (pa.ArrowException, OSError):  # no such file at all; it is told elsewhere
        return None
    schema = sources[0].schema
    # Of Parquet, Arrow itself reads such dates in the shorter form.
    as_dates = any(pa.types.is_date(schema.field(name).type) for name in doubted)
    if is_held(schema) and not as_dates:
        return None
    if not all(source.schema.equals(schema) for source in sources):
        return None
    import polars as pl  # late: importing the package must stay cheap

    lazy = pl.concat(
        [
            _lazy(source).with_columns(**_folders(files.folders(path), declared))
            for path, source in zip(files.paths, sources, strict=True)
        ]
    )
    return _told(polars_scan(files.kind, lazy), schema)


def _told(scan: Scan, schema: pa.Schema) -> Scan:
    """The scan, which knows the columns for which flags stand in."""
    unheld = unheld_types(schema)
    return replace(
        scan,
        schema={**scan.schema, **dict.fromkeys(unheld, nw.Unknown())},
        refused={n: f"values of type {kind} are not measured here" for n, kind in unheld.items()},
    )


def _lazy(dataset: Any) -> pl.LazyFrame:
    import pyarrow as pa
    import pyarrow.compute as pc
    from polars.io.plugins import register_io_source

    schema: pa.Schema = dataset.schema
    unheld = unheld_types(schema)

    def frames(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        del size  # Arrow's own batches are of a good one
        # Without a column a frame would have no rows.
        read = (schema.names if columns is None else columns) or schema.names[:1]
        left = rows
        for batch in dataset.to_batches(columns={name: pc.field(name) for name in read}):
            if left is not None and left <= 0:
                return
            frame = frame_of(standing_in(pa.Table.from_batches([batch]), unheld))
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            yield frame if predicate is None else frame.filter(predicate)

    empty = frame_of(standing_in(schema.empty_table(), unheld))
    return register_io_source(frames, schema=empty.schema)


def _folders(values: Mapping[str, str], declared: Mapping[str, LogicalType]) -> dict[str, pl.Expr]:
    """The columns that the names of folders give, of the types that are declared for them."""
    import polars as pl  # late: importing the package must stay cheap

    types: dict[LogicalType | None, Any] = {
        LogicalType.INTEGER: pl.Int64,
        LogicalType.NUMBER: pl.Float64,
        LogicalType.DATE: pl.Date,
    }
    found = {}
    for name, text in values.items():
        value = pl.lit(None if text == _NO_VALUE else unquote(text), dtype=pl.String)
        found[name] = value.cast(types.get(declared.get(name), pl.String), strict=False)
    return found
