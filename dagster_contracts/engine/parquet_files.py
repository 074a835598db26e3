"""Parquet files that belong together and differ: one schema over all of them.

Writers drift: a file has ``int32`` where the others have ``int64``, lacks a column or has one more.
That concerns the rules of this column, and no other.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_contracts.engine.scan import Scan

if TYPE_CHECKING:
    import polars as pl

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Drift:
    """What several files have in common, in the order in which columns are met.

    ``schema`` has the columns that all files can be read as; ``mixed`` says of the others which
    types they have, ``lacking`` of columns in which files they are missing.
    """

    schema: Mapping[str, pl.DataType]
    order: Sequence[str]
    mixed: Mapping[str, str] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """How Polars is told to read the files."""
        import polars as pl  # late: importing the package must stay cheap

        return {
            "schema": dict(self.schema),
            "missing_columns": "insert",
            "extra_columns": "ignore",  # those in ``mixed``
            "cast_options": pl.ScanCastOptions(
                integer_cast=["upcast", "allow-float"], float_cast=["upcast"]
            ),
        }

    def told(self, scan: Scan, partitions: Sequence[str]) -> Scan:
        """The scan, which knows the columns that cannot be read as well."""
        import narwhals as nw

        schema = {name: scan.schema.get(name, nw.Unknown()) for name in self.order}
        folders = {name: scan.schema[name] for name in partitions if name in scan.schema}
        return replace(
            scan,
            schema={**schema, **folders},
            strange={**scan.strange, **self.mixed},
            gaps={name: why for name, why in self.lacking.items() if name not in folders},
        )


def drift(source: Any) -> Drift | None:
    """How the files of a local path, or the contents of several, differ; ``None``: they do not.

    Raises ``OSError`` or an error of Polars where a file cannot be read.
    """
    files = _files(source)
    if len(files) < 2:
        return None
    import polars as pl  # late: importing the package must stay cheap

    schemas = {label: pl.read_parquet_schema(file) for label, file in files.items()}
    first = next(iter(schemas.values()))
    if all(list(schema.items()) == list(first.items()) for schema in schemas.values()):
        return None
    order = list(dict.fromkeys(name for schema in schemas.values() for name in schema))
    common, mixed, lacking = {}, {}, {}
    for name in order:
        found: dict[pl.DataType, list[str]] = {}
        for label, schema in schemas.items():
            if name in schema:
                found.setdefault(schema[name], []).append(label)
        absent = [label for label, schema in schemas.items() if name not in schema]
        if absent:
            lacking[name] = f"the column {name} is missing in {_listed(absent)}"
        widest = _widest(list(found))
        if widest is None:
            mixed[name] = " and ".join(f"{t} in {_listed(labels)}" for t, labels in found.items())
        else:
            common[name] = widest
    return Drift(common, order, mixed, lacking)


def _files(source: Any) -> dict[str, Any]:
    """The files by their labels; none where they cannot be listed here."""
    if isinstance(source, list):
        return {f"file {number}": file for number, file in enumerate(source, 1)}
    if not isinstance(source, str) or "://" in source:
        return {}
    root = Path(source)
    if root.is_dir():
        paths = sorted(root.rglob("*.parquet"))
        return {str(path.relative_to(root)): path for path in paths}
    if not glob.has_magic(source):
        return {}
    paths = [Path(path) for path in sorted(glob.glob(source, recursive=True))]
    unlike = len({path.name for path in paths}) < len(paths)
    return {str(path) if unlike else path.name: path for path in paths if path.is_file()}


def _widest(types: Sequence[pl.DataType]) -> pl.DataType | None:
    """The type as which Polars reads values of all of them; ``None`` where there is none.

    Whole numbers become floats beside floats: writers do so where a file has gaps.
    """
    import polars as pl  # late: importing the package must stay cheap

    types = [dtype for dtype in types if dtype != pl.Null] or list(types)  # null is of every type
    if len(types) == 1:
        return types[0]
    if all(dtype.is_float() for dtype in types):
        return max(types, key=_bits)
    if any(dtype.is_float() for dtype in types):
        numeric = all(dtype.is_float() or dtype.is_integer() for dtype in types)
        return pl.Float64() if numeric else None
    if all(dtype.is_signed_integer() for dtype in types):
        return max(types, key=_bits)
    if all(dtype.is_unsigned_integer() for dtype in types):
        return max(types, key=_bits)
    return None


def _bits(dtype: pl.DataType) -> int:
    return int("".join(c for c in str(dtype) if c.isdigit()))


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - _MOST_NAMED
    return ", ".join(labels[:_MOST_NAMED]) + (f" and {more} more files" if more > 0 else "")
