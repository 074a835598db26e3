"""Parquet files that belong together and differ: one schema over all of them.

Writers drift: a file has ``int32`` where the others have ``int64``, lacks a column or has one more.
That concerns the rules of this column, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dagster_contracts.engine.file_list import FileList
from dagster_contracts.engine.file_trouble import trouble_in
from dagster_contracts.engine.scan import Scan

if TYPE_CHECKING:
    import polars as pl

_MOST_NAMED = 3
_AT_ONCE = 16


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


def drift(files: FileList) -> Drift | None:
    """How the files differ; ``None``: they do not.

    Raises :class:`UnreadableDataError` where one cannot be read.
    """
    if len(files.paths) < 2:
        return None
    schemas = {files.name(path): schema for path, schema in _schemas(files).items()}
    first = next(iter(schemas.values()))
    if all(list(schema.items()) == list(first.items()) for schema in schemas.values()):
        return None
    order = list(dict.fromkeys(name for schema in schemas.values() for name in schema))
    common, mixed = {}, {}
    for name in order:
        found: dict[pl.DataType, list[str]] = {}
        for label, schema in schemas.items():
            if name in schema:
                found.setdefault(schema[name], []).append(label)
        widest = _widest(list(found))
        if widest is None:
            mixed[name] = " and ".join(f"{t} in {_listed(labels)}" for t, labels in found.items())
        else:
            common[name] = widest
    return Drift(common, order, mixed, lacking(schemas))


def lacking(columns: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Of columns that some files lack: in which they are missing."""
    held = {label: frozenset(names) for label, names in columns.items()}
    every = dict.fromkeys(name for names in columns.values() for name in names)
    found = {}
    for name in every:
        absent = [label for label, names in held.items() if name not in names]
        if absent:
            found[name] = f"the column {name} is missing in {_listed(absent)}"
    return found


def _schemas(files: FileList) -> dict[str, Mapping[str, pl.DataType]]:
    """The columns of each file, read from its footer."""
    import polars as pl  # late: importing the package must stay cheap

    def schema(path: str) -> Mapping[str, pl.DataType]:
        try:
            return pl.read_parquet_schema(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise trouble_in(files, error, path) from error

    if files.is_local:
        return {path: schema(path) for path in files.paths}
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # each waits for the network
        return dict(zip(files.paths, pool.map(schema, files.paths), strict=True))


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
