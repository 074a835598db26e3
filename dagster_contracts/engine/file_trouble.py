"""Why a file cannot be read, where it says so, and what mends it."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dagster_contracts.engine.file_list import FileList
from dagster_contracts.engine.scan import UnreadableDataError, first_line

_AGAIN = "write the file again; a writer that was stopped leaves such a file"
_MAGIC = b"PAR1"
_PACKED = b"\x1f\x8b"
_KINDS = {"parquet": "Parquet", "csv": "CSV", "json": "JSON", "arrow_file": "Arrow"}


def trouble_in(files: FileList, error: Exception, path: str | None = None) -> UnreadableDataError:
    """What the caller is told of ``error``; ``path`` is the file that raised it, where known."""
    for each in [path] if path is not None else files.paths:
        found = _trouble(files.kind, each, files.shown(each))
        if found is not None:
            return found
    if isinstance(error, FileNotFoundError):
        return UnreadableDataError(f"there is no file {files.place}")
    where = files.shown(path) if path is not None else files.place
    said = f"{type(error).__name__}: {first_line(error)}"
    return UnreadableDataError(f"{where} cannot be read: {said}")


def _trouble(kind: str, path: str, shown: str) -> UnreadableDataError | None:
    """What is wrong with a local file of this kind, ``None`` where nothing was found."""
    file = Path(path)
    if "://" in path:
        return None
    try:
        if not file.exists():
            return UnreadableDataError(
                f"{shown} has gone: it was there when the files were listed",
                hint="do not move files while they are read",
            )
        if file.stat().st_size == 0:
            return UnreadableDataError(
                f"{shown} cannot be read: it is empty, and 0 bytes are no {_KINDS[kind]} file, not "
                "even one without rows",
                hint=_AGAIN,
            )
        match kind:
            case "parquet":
                return _parquet_trouble(file, shown)
            case "csv":
                return _text_trouble(file, shown) or _csv_trouble(file, shown)
            case "json":
                return _text_trouble(file, shown) or _json_trouble(file, shown)
            case _:
                file.open("rb").close()
                return None
    except PermissionError as error:
        return UnreadableDataError(
            f"{shown} may not be read: {error.strerror}",
            hint="give the user that runs this leave to read it",
        )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return UnreadableDataError(
            f"{shown}: its compressed bytes are cut off or broken: {first_line(error)}", hint=_AGAIN
        )


def _parquet_trouble(file: Path, shown: str) -> UnreadableDataError | None:
    with file.open("rb") as opened:
        first = opened.read(4)
        opened.seek(-min(4, file.stat().st_size), 2)
        last = opened.read(4)
    if first != _MAGIC:
        return UnreadableDataError(
            f"{shown} cannot be read: it is no Parquet file, for it begins with {first!r} and not "
            f"with {_MAGIC!r}",
            hint="name it after what it holds (.csv, .json, .arrow)",
        )
    if last != _MAGIC:
        return UnreadableDataError(
            f"{shown} cannot be read: it is cut off; a Parquet file ends with {_MAGIC!r}, and this "
            f"one with {last!r}",
            hint=_AGAIN,
        )
    return None


def _bytes_of(file: Path) -> IO[bytes]:
    with file.open("rb") as opened:
        packed = opened.read(2) == _PACKED
    return gzip.open(file, "rb") if packed else file.open("rb")  # type: ignore[return-value]


def _text_trouble(file: Path, shown: str) -> UnreadableDataError | None:
    """Where a file is no UTF-8, or holds nothing."""
    blank = True
    with _bytes_of(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                return UnreadableDataError(
                    f"{shown}:{number}:{error.start + 1}: byte 0x{line[error.start]:02x} is no "
                    "UTF-8",
                    hint="save the file as UTF-8, for example with iconv -f LATIN1 -t UTF-8",
                )
            blank = blank and not text.strip("\ufeff \t\r\n")
    if not blank:
        return None
    return UnreadableDataError(
        f"{shown} cannot be read: it is empty but for blank lines", hint=_AGAIN
    )


def _texts(file: Path) -> Iterator[str]:
    with _bytes_of(file) as lines:
        for number, line in enumerate(lines):
            yield line.decode("utf-8-sig" if number == 0 else "utf-8")


def _csv_trouble(file: Path, shown: str) -> UnreadableDataError | None:
    """Where a line has too many fields, or a quote is not closed."""
    rows = csv.reader(_texts(file), delimiter="\t" if ".tsv" in file.name.lower() else ",")
    started = 1
    try:
        width = len(next(rows, []))
        for row in rows:
            if len(row) > width:
                return UnreadableDataError(
                    f"{shown}:{rows.line_num}: {len(row)} fields, and the first line names {width}",
                    hint="quote the values that hold a separator",
                )
            if rows.line_num - started > 1 and row and row[-1].endswith("\n"):
                return UnreadableDataError(
                    f"{shown}:{started + 1}: a quote is opened and not closed before the end",
                    hint="close the quote, or double the quotes within a value",
                )
            started = rows.line_num
    except csv.Error as error:
        return UnreadableDataError(f"{shown}:{rows.line_num}: {error}")
    return None


def _json_trouble(file: Path, shown: str) -> UnreadableDataError | None:
    """Where the text is no JSON: of an array as a whole, or of one of the lines."""
    texts = _texts(file)
    first = next(texts, "")
    if first.lstrip().startswith("["):
        try:
            json.loads(first + "".join(texts))
        except ValueError as error:
            return _json_error(shown, 1, error)
        return None
    for number, line in enumerate([first, *texts], 1):
        try:
            if line.strip():
                json.loads(line.rstrip())
        except ValueError as error:
            return _json_error(shown, number, error)
    return None


def _json_error(shown: str, line: int, error: ValueError) -> UnreadableDataError:
    if not isinstance(error, json.JSONDecodeError):
        return UnreadableDataError(f"{shown}:{line}: {first_line(error)}")
    at = f"{shown}:{line + error.lineno - 1}:{error.colno}"
    return UnreadableDataError(
        f"{at}: no JSON: {error.msg}", hint="an array of objects, or one object a line"
    )
