"""JSON files as tables: an array of rows, or one row a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagster_contracts.core.contract import LogicalType, SchemaObject

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".json", ".jsonl", ".ndjson")


def read_json_rows(path: Path, schema_object: SchemaObject) -> pl.DataFrame:
    """Read a JSON file; ``click.UsageError`` where it holds no rows.

    JSON has no type for dates and times: a column that the contract declares as one, and whose
    values all read as one, becomes one. Otherwise it stays text, and fails its rule with samples.
    """
    # Polars takes a while to import, and no other format needs it here.
    import polars as pl

    try:
        with path.open("rb") as file:
            is_array = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        frame = pl.read_json(path) if is_array else pl.read_ndjson(path)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{str(path)!r} is no JSON table: {error}") from None
    for prop in schema_object.properties:
        if frame.schema.get(prop.column) == pl.String:
            frame = frame.with_columns(_timed(frame[prop.column], prop.logical_type))
    return frame


def _timed(column: pl.Series, logical_type: LogicalType | None) -> pl.Series:
    import polars as pl

    try:
        if logical_type is LogicalType.DATE:
            return column.str.to_date("%Y-%m-%d", strict=True)
        if logical_type is LogicalType.TIMESTAMP:
            return column.str.to_datetime(strict=True)
    except pl.exceptions.PolarsError:
        return column
    return column
