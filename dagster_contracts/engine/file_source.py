"""Files, folders and globs of Parquet, CSV, JSON and Arrow, here or where fsspec reaches."""

from __future__ import annotations

import csv
import glob
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.csv_source import RAW_PREFIX, scan_csv, scan_json
from dagster_contracts.engine.parquet_files import drift
from dagster_contracts.engine.scan import (
    Scan,
    UnreadableDataError,
    polars_scan,
    refuse_duplicates,
)

if TYPE_CHECKING:
    import polars as pl

_SMALL_FILES = 96 * 2**20
"""Bytes on disk up to which files are read into memory once; Parquet grows about fourfold there."""

_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".arrow": "arrow_file",
    ".feather": "arrow_file",
    ".ipc": "arrow_file",
}
_COMPRESSED = ("csv", "json")
_OF_POLARS = ("file", "s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https")


def file_kind(path: str) -> str | None:
    """``parquet``, ``csv``, ``json`` or ``arrow_file``, by the name; ``None`` for other names.

    A URL that ends with a slash is a folder of Parquet files.
    """
    lowered = path.lower().rstrip("/")
    plain = lowered.removesuffix(".gz")
    for suffix, kind in _SUFFIXES.items():
        if plain.endswith(suffix):
            return kind if plain == lowered or kind in _COMPRESSED else None
    # A folder of Parquet or CSV files, partitioned or not.
    if "://" in path and lowered != path.lower():
        return "parquet"
    if Path(path).is_dir():
        for kind in ("parquet", "csv"):
            if next(Path(path).rglob(f"*.{kind}"), None) is not None:
                return kind
    return None


def scan_files(
    kind: str, path: str, columns: Collection[str] | None, declared: Mapping[str, LogicalType]
) -> Scan:
    """A scan of the files at a path; raises :class:`UnreadableDataError` where there are none."""
    import polars as pl  # late: importing the package must stay cheap

    source = _source(kind, path)
    try:
        return _scan(kind, path, source, columns, declared)
    except pl.exceptions.PolarsError:
        trouble = text_trouble(path) if kind in _COMPRESSED else None
        if trouble is None:
            raise
        raise trouble from None


def _scan(
    kind: str,
    path: str,
    source: Any,
    columns: Collection[str] | None,
    declared: Mapping[str, LogicalType],
) -> Scan:
    import polars as pl  # late: importing the package must stay cheap

    match kind:
        case "parquet":
            scan = _scan_parquet(source, declared)
        case "csv":
            separator = "\t" if ".tsv" in path.lower() else ","
            lazy = pl.scan_csv(source, infer_schema=False, separator=separator)
            names = lazy.collect_schema().names()
            _refuse_separator(names, separator, path, declared)
            _refuse_renamed(names, source, separator)
            scan = scan_csv(lazy, columns, declared)
        case "json":
            scan = scan_json(_scan_json(source), columns, declared)
        case _:
            scan = polars_scan(kind, _scan_arrow(source))
    return _read_once(scan, path, columns)


def _refuse_separator(
    names: Sequence[str], separator: str, path: str, declared: Mapping[str, LogicalType]
) -> None:
    """Raise where the first line is separated by another character than was looked for."""
    if len(names) != 1 or names[0] in declared:
        return
    for other, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if other != separator and other in names[0]:
            wanted = "tabs" if separator == "\t" else "commas"
            raise UnreadableDataError(
                f"{path}: its first line has {word} and no {wanted}",
                hint=f"save it with {wanted} between the fields"
                + ("" if other != "\t" else ", or name it .tsv"),
            )


def _refuse_renamed(names: Sequence[str], source: Any, separator: str) -> None:
    """Raise where the first line names a column twice: Polars gives the second another name."""
    import polars as pl  # late: importing the package must stay cheap

    if not any("_duplicated_" in name for name in names):
        return
    head = pl.scan_csv(source, infer_schema=False, separator=separator, has_header=False, n_rows=1)
    refuse_duplicates([str(name).removeprefix("\ufeff") for name in head.collect().row(0)])


def text_trouble(path: str) -> UnreadableDataError | None:
    """Where a CSV or JSON file is no UTF-8, or a line has too many fields; ``None``: not found."""
    file = Path(path)
    if not file.is_file() or file.suffix.lower() == ".gz":
        return None
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return UnreadableDataError(
                    f"{path}:{number}:{error.start + 1}: byte 0x{line[error.start]:02x} is no "
                    "UTF-8",
                    hint="save the file as UTF-8, for example with iconv -f LATIN1 -t UTF-8",
                )
    if file_kind(path) != "csv":
        return None
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, delimiter="\t" if ".tsv" in path.lower() else ",")
        try:
            width = len(next(rows, []))
            for row in rows:
                if len(row) > width:
                    return UnreadableDataError(
                        f"{path}:{rows.line_num}: {len(row)} fields, and the first line names "
                        f"{width}",
                        hint="quote the values that hold a separator",
                    )
        except csv.Error as error:
            return UnreadableDataError(f"{path}:{rows.line_num}: {error}")
    return None


def _source(kind: str, path: str) -> Any:
    """A path that Polars reads itself, or the bytes of the files that only fsspec reaches."""
    scheme = path.partition("://")[0] if "://" in path else ""
    if scheme and scheme not in _OF_POLARS:
        return _remote(kind, path)
    if not scheme:
        root = Path(path)
        if kind == "csv" and root.is_dir():
            return [str(found) for found in sorted(root.rglob("*.csv"))]
        if not root.exists() and not glob.glob(path, recursive=True):
            raise UnreadableDataError(f"there is no file {path}")
    return path


def _remote(kind: str, path: str) -> Any:
    """The contents of the files at an fsspec URL; a partitioned folder stays an Arrow dataset."""
    import fsspec  # type: ignore[import-untyped]  # late: only for what Polars does not know

    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except ImportError as error:
        scheme = path.partition("://")[0]
        raise UnreadableDataError(f"{scheme}:// needs another package: {error}") from None
    except ValueError as error:
        raise UnreadableDataError(f"no file system is known for {path}: {error}") from None
    if filesystem.isdir(root):
        import pyarrow.dataset

        form = {"arrow_file": "arrow"}.get(kind, kind)
        return pyarrow.dataset.dataset(
            root, filesystem=filesystem, format=form, partitioning="hive"
        )
    found = sorted(filesystem.glob(root)) if glob.has_magic(root) else [root]
    if not found or not all(filesystem.exists(one) for one in found):
        raise UnreadableDataError(f"there is no file {path}")
    contents = [filesystem.cat_file(one) for one in found]
    return contents if len(contents) > 1 else contents[0]


def _scan_parquet(source: Any, declared: Mapping[str, LogicalType]) -> Scan:
    """A scan that knows the columns which stand in the names of folders alone."""
    import polars as pl  # late: importing the package must stay cheap

    if not isinstance(source, str | bytes | list):
        return polars_scan("parquet", pl.scan_pyarrow_dataset(source))
    partitions = _partitions(source) if isinstance(source, str) else []
    differing = drift(source)
    options = differing.options if differing is not None else {}
    lazy = pl.scan_parquet(source, hive_partitioning=True if partitions else None, **options)
    if partitions and isinstance(source, str):
        lazy = _with_text_partitions(source, lazy, partitions, declared, options)
    scan = polars_scan("parquet", lazy)
    return scan if differing is None else differing.told(scan, partitions)


def _with_text_partitions(
    source: str,
    lazy: pl.LazyFrame,
    partitions: Sequence[str],
    declared: Mapping[str, LogicalType],
    options: Mapping[str, Any],
) -> pl.LazyFrame:
    """The scan, with partitions as text where the contract says so."""
    import polars as pl  # late: importing the package must stay cheap

    # Polars guesses their types, and 007 would become 7.
    found = lazy.collect_schema()
    text = {n for n in partitions if declared.get(n) is LogicalType.STRING}
    schema = {n: pl.String() if n in text else found[n] for n in partitions if n in found}
    return pl.scan_parquet(source, hive_schema=schema, hive_partitioning=True, **options)


def _partitions(path: str) -> list[str]:
    """The columns that the folders of the first file below a path or glob name."""
    root = Path(path)
    if root.is_dir():
        first = next(iter(sorted(root.rglob("*.parquet"))), None)
        below = first.relative_to(root).parts[:-1] if first is not None else ()
    else:
        found = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
        fixed = next((n for n, part in enumerate(root.parts) if glob.has_magic(part)), 0)
        below = Path(found[0]).parts[fixed:-1] if found else ()
    return [part.partition("=")[0] for part in below if "=" in part]


def _scan_json(source: Any) -> pl.LazyFrame:
    """An array of rows, or one row a line; types are those of all rows, not only of the first."""
    import polars as pl  # late: importing the package must stay cheap

    if isinstance(source, str) and "://" not in source and Path(source).is_file():
        with Path(source).open("rb") as file:
            start = file.read(4096)
    else:
        start = source[:4096] if isinstance(source, bytes) else b""
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return pl.read_json(source, infer_schema_length=None).lazy()
    return pl.scan_ndjson(source, infer_schema_length=None)


def _scan_arrow(source: Any) -> pl.LazyFrame:
    """Arrow's file format, or its stream format under the same name."""
    import polars as pl  # late: importing the package must stay cheap

    try:
        lazy = pl.scan_ipc(source)
        lazy.collect_schema()
    except pl.exceptions.ComputeError:
        return pl.read_ipc_stream(source).lazy()
    return lazy


def _read_once(scan: Scan, path: str, columns: Collection[str] | None) -> Scan:
    """The scan over the columns in memory, where the files are small; else over the files.

    Counts, keys and samples are several queries, and a file would be decoded for each.
    """
    if not _is_small(path):
        return scan
    lazy: pl.LazyFrame = scan.frame.to_native()
    held = lazy.collect_schema().names()
    wanted = [name for name in held if columns is None or name.removeprefix(RAW_PREFIX) in columns]
    if not wanted or set(wanted) & set(scan.strange):
        return scan
    rows = lazy.select(wanted).collect(engine="streaming")
    return replace(scan, frame=nw.from_native(rows.lazy()))


def _is_small(path: str) -> bool:
    """Whether the files, all of them local, are small enough to be held decoded."""
    if "://" in path:
        return False
    root = Path(path)
    files = [root] if root.is_file() else list(root.rglob("*")) if root.is_dir() else None
    if files is None:
        files = [Path(found) for found in glob.glob(path, recursive=True)]
    return sum(file.stat().st_size for file in files if file.is_file()) <= _SMALL_FILES
