"""Files, folders and globs of Parquet, CSV, JSON and Arrow, here or where fsspec reaches."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import narwhals as nw

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.engine.csv_source import scan_csv, scan_json, settled, source_name
from dagster_contracts.engine.dataset_source import scan_awkward
from dagster_contracts.engine.file_list import FileList, list_files, removal
from dagster_contracts.engine.file_trouble import trouble_in
from dagster_contracts.engine.parquet_files import drift, lacking
from dagster_contracts.engine.parquet_statistics import Proofs, Statistics, read_statistics
from dagster_contracts.engine.scan import (
    Scan,
    UnreadableDataError,
    is_panic,
    polars_scan,
    refuse_duplicates,
)

if TYPE_CHECKING:
    import polars as pl

_SMALL_FILES = 96 * 2**20
"""Bytes on disk up to which files are read into memory once; Parquet grows about fourfold there."""
_WORTH_PROVING = 8 * 2**20
"""Bytes on disk from which footers are read for proofs: the library for it takes 0.1 s to load."""
_PACKED = 8
"""How often a compressed text file is larger than it is on disk, at a guess."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"

Prove = Callable[[Scan, Statistics], Proofs]
"""What the statistics of files prove of the rows of a scan, none of which has been read."""


def scan_files(
    path: str,
    columns: Collection[str] | None,
    declared: Mapping[str, LogicalType],
    prove: Prove | None = None,
) -> Scan:
    """A scan of the files at a path; raises :class:`UnreadableDataError` where there are none."""
    import polars as pl  # late: importing the package must stay cheap

    files = list_files(path)
    try:
        return _scan(files, columns, declared, prove)
    except BaseException as error:
        trouble = None
        if isinstance(error, pl.exceptions.PolarsError | OSError):
            trouble = trouble_in(files, error)
        files.close()
        if trouble is not None:
            raise trouble from error
        raise


def _scan(
    files: FileList,
    columns: Collection[str] | None,
    declared: Mapping[str, LogicalType],
    prove: Prove | None,
) -> Scan:
    match files.kind:
        case "parquet" | "arrow_file":
            scan = _scan_columns(files, declared)
            if prove is not None and files.kind == "parquet":
                scan = _with_proofs(scan, files, prove)
            if scan.proofs is not None and scan.proofs.columns is not None:
                columns = scan.proofs.columns
        case "csv":
            lazy, gaps = _scan_csv(files, declared)
            scan = replace(scan_csv(_unpruned(lazy), columns, declared), gaps=gaps)
        case _:
            lazy = _together([_scan_json(path) for path in files.paths])
            scan = scan_json(lazy, columns, declared)
    scan = _read_once(replace(scan, close=files.close), files, columns)
    if files.kind not in ("csv", "json"):
        return scan
    try:
        return settled(scan, declared)
    except BaseException:
        scan.close()
        raise


def _scan_columns(files: FileList, declared: Mapping[str, LogicalType]) -> Scan:
    """A scan of files that state the types of their columns."""
    try:
        if files.kind == "parquet":
            scan = _scan_parquet(files, declared)
        else:
            scan = polars_scan(files.kind, _together([_scan_arrow(path) for path in files.paths]))
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        # A type that Polars has not fails the whole file, in many ways; Arrow knows them all.
        other = scan_awkward(files, declared)
        if other is None:
            raise
        return other
    moments = [name for name, dtype in scan.schema.items() if dtype == nw.Datetime("ms")]
    doubted = [name for name in moments if declared.get(name) is LogicalType.DATE]
    # Polars takes dates of 64 bits for moments.
    return (scan_awkward(files, declared, doubted) if doubted else None) or scan


def _with_proofs(scan: Scan, files: FileList, prove: Prove) -> Scan:
    """The scan, which knows what need not be measured, where it is worth it to look."""
    if not files.is_local or _size(files) < _WORTH_PROVING:
        return scan
    statistics = read_statistics(files, scan)
    return scan if statistics is None else replace(scan, proofs=prove(scan, statistics))


def _together(scans: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The rows of all; what one lacks is null, and types become those that can hold all values."""
    import polars as pl  # late: importing the package must stay cheap

    return scans[0] if len(scans) == 1 else pl.concat(scans, how="diagonal_relaxed")


def _scan_csv(
    files: FileList, declared: Mapping[str, LogicalType]
) -> tuple[pl.LazyFrame, Mapping[str, str]]:
    """Text columns under the names of all files' first lines, and where columns are missing.

    Files whose first lines differ, in their order too, and those of each partition are scanned for
    themselves.
    """
    import polars as pl  # late: importing the package must stay cheap

    headers = {path: _header(files, path, declared) for path in files.paths}
    folders = {path: files.folders(path) for path in files.paths}
    scans = []
    alike = groupby(files.paths, key=lambda path: (headers[path], folders[path]))
    for (_, values), group in alike:
        paths = list(group)
        lazy = pl.scan_csv(paths, infer_schema=False, separator=_separator(paths[0]), glob=False)
        # Polars keeps the two quotes that stand for one within a name.
        spelled = dict(zip(lazy.collect_schema().names(), headers[paths[0]], strict=True))
        if any(name != quoted for quoted, name in spelled.items()):
            lazy = lazy.rename(spelled)
        if values:
            lazy = lazy.with_columns(
                **{
                    name: pl.lit(None if value == _NO_VALUE else unquote(value), dtype=pl.String)
                    for name, value in values.items()
                }
            )
        scans.append(lazy)
    of = {files.name(path): [*headers[path], *folders[path]] for path in files.paths}
    return _together(scans), lacking(of)


def _separator(path: str) -> str:
    return "\t" if ".tsv" in path.lower() else ","


def _header(files: FileList, path: str, declared: Mapping[str, LogicalType]) -> tuple[str, ...]:
    """The names in the first line of a CSV file."""
    import polars as pl  # late: importing the package must stay cheap

    separator = _separator(path)
    names = pl.scan_csv(path, infer_schema=False, separator=separator, glob=False)
    found = names.collect_schema().names()
    shown = files.shown(path)
    _refuse_separator(found, separator, shown, declared)
    try:
        _refuse_renamed(found, path, separator)
    except UnreadableDataError as error:
        if len(files.paths) == 1:
            raise
        raise UnreadableDataError(f"{shown}: {error}", hint=error.hint) from None
    if any('""' in name for name in found):
        found = _first_line(path, separator)
        refuse_duplicates(found)
    return tuple(found)


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


def _refuse_renamed(names: Sequence[str], source: str, separator: str) -> None:
    """Raise where the first line names a column twice: Polars gives the second another name."""
    if any("_duplicated_" in name for name in names):
        refuse_duplicates(_first_line(source, separator))


def _first_line(source: str, separator: str) -> list[str]:
    """The names in the first line as they are meant, each as often as it is there."""
    import polars as pl  # late: importing the package must stay cheap

    head = pl.scan_csv(
        source, infer_schema=False, separator=separator, has_header=False, n_rows=1, glob=False
    )
    # An unnamed column is no null.
    return [str(name or "").removeprefix("\ufeff") for name in head.collect().row(0)]


def _unpruned(lazy: pl.LazyFrame) -> pl.LazyFrame:
    """The same rows, of which no column is left unread.

    Polars finds a line with too many fields only where it reads all of them.
    """
    return lazy.map_batches(lambda rows: rows, projection_pushdown=False, streamable=True)


def _scan_parquet(files: FileList, declared: Mapping[str, LogicalType]) -> Scan:
    """A scan that knows the columns which stand in the names of folders alone."""
    import polars as pl  # late: importing the package must stay cheap

    partitions = list(dict.fromkeys(n for path in files.paths for n in files.folders(path)))
    differing = drift(files)
    options = dict(differing.options) if differing is not None else {}
    if not partitions:
        scan = pl.scan_parquet(files.paths, glob=False, hive_partitioning=False, **options)
        told = polars_scan("parquet", scan)
        return told if differing is None else differing.told(told, ())
    options |= {"glob": False, "hive_partitioning": True}
    lazy = pl.scan_parquet(files.paths, **options)
    found = lazy.collect_schema()
    # Polars guesses their types, and 007 would become 7; it also takes the folders above for some.
    above = [name for name in _pairs(files.base) if name not in partitions]
    text = {n for n in partitions if declared.get(n) is LogicalType.STRING}
    schema = {n: pl.String() if n in text else found[n] for n in (*partitions, *above)}
    lazy = pl.scan_parquet(files.paths, hive_schema=schema, **options).drop(above)
    told = polars_scan("parquet", lazy)
    return told if differing is None else differing.told(told, partitions)


def _pairs(folder: str) -> list[str]:
    """The columns that the parts of a path would name."""
    parts = Path(folder).parts
    return [part.partition("=")[0] for part in parts if "=" in part]


def _scan_json(source: str) -> pl.LazyFrame:
    """An array of rows, or one row a line; types are those of all rows, not only of the first."""
    import polars as pl  # late: importing the package must stay cheap

    start = b""
    if "://" not in source:
        with Path(source).open("rb") as file:
            start = file.read(4096)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return pl.read_json(source, infer_schema_length=None).lazy()
    return pl.scan_ndjson(source, infer_schema_length=None)


def _scan_arrow(source: str) -> pl.LazyFrame:
    """Arrow's file format, or its stream format under the same name."""
    import polars as pl  # late: importing the package must stay cheap

    try:
        lazy = pl.scan_ipc(source, glob=False)
        lazy.collect_schema()
    except pl.exceptions.ComputeError:
        return pl.read_ipc_stream(source).lazy()
    return lazy


def _read_once(scan: Scan, files: FileList, columns: Collection[str] | None) -> Scan:
    """The scan over columns that have been read, where that is worth it; else over the files.

    Counts, keys and samples are several queries, and a file would be decoded for each. Small files
    are held in memory; text, which is slow to read, is otherwise kept on disk in a fast format.
    """
    is_text = files.kind in ("csv", "json")
    small = _is_small(files)
    lazy: pl.LazyFrame = scan.frame.to_native()
    held = lazy.collect_schema().names()
    wanted = [name for name in held if columns is None or source_name(name) in columns]
    if is_text and columns:
        wanted = wanted or held[:1]  # for the number of rows
    if not (small or is_text) or not wanted or set(wanted) & set(scan.strange):
        return scan
    chosen = lazy.select(wanted)
    if small:
        rows = chosen.collect(engine="streaming")
        return replace(scan, frame=nw.from_native(rows.lazy()))
    return _kept_on_disk(scan, chosen)


def _kept_on_disk(scan: Scan, lazy: pl.LazyFrame) -> Scan:
    import polars as pl  # late: importing the package must stay cheap

    folder = tempfile.mkdtemp(prefix="dagster_contracts_")
    remove = removal(folder)

    def close() -> None:
        remove()
        scan.close()

    path = Path(folder, "rows")
    try:
        if scan.kind == "csv":
            # Smaller and faster than Arrow's format, which holds objects without fields too.
            lazy.sink_parquet(path, compression="lz4", statistics=False, engine="streaming")
            kept = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        else:
            lazy.sink_ipc(path, compression="lz4", engine="streaming")
            kept = pl.scan_ipc(path, glob=False)
    except BaseException:
        remove()
        raise
    return replace(scan, frame=nw.from_native(kept), close=close)


def _is_small(files: FileList) -> bool:
    """Whether the files, all of them local, are small enough to be held decoded."""
    return files.is_local and _size(files) <= _SMALL_FILES


def _size(files: FileList) -> int:
    """Bytes on disk, or about what compressed text would be there."""
    return sum(
        Path(path).stat().st_size * (_PACKED if path.lower().endswith(".gz") else 1)
        for path in files.paths
    )
