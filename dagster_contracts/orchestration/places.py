"""Levels behind a path or URL: files here or in a store that fsspec knows, tables of databases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dagster_contracts.core.uri import (
    LEVEL_ENDINGS,
    STORES,
    TEXT_ENDINGS,
    hide_password,
    is_database_uri,
)
from dagster_contracts.engine.sql_table import SqlTable, table_at
from dagster_contracts.errors import FallbackError

T = TypeVar("T")

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
_PARTITION = "{partition}"
_FOLDER_OF = ".parquet"


@dataclass(frozen=True)
class Place:
    """Where a level's file is: ``path`` where it is on this machine, else ``uri`` alone.

    A ``table`` is one of a database; ``uri`` names it too.
    """

    uri: str
    path: Path | None = None
    table: SqlTable | None = None

    @classmethod
    def of(cls, text: str, *, root: Path, partition: str | None) -> Place:
        """The place that ``text`` names, relative to ``root``; ``{partition}`` is filled in.

        Raises
        ------
        FallbackError
            The scheme is none of those that may be read, or the partition cannot stand in a path.
        UnreadableDataError
            The URL of a database names no table.
        """
        if is_database_uri(text):
            return cls._of_table(text, root)
        if _PARTITION in text:
            text = text.replace(_PARTITION, _in_a_path(text, partition))
        text = text.removeprefix("file://")
        found = _SCHEME.match(text)
        if found is None:
            path = (root / text).resolve()
            return cls(str(path), path)
        if found["scheme"].lower() not in STORES or "::" in text:
            raise FallbackError(
                f"{text} cannot be read as a level",
                why=f"its scheme is none of {', '.join(STORES)}, and it is no database's",
                hint="name a file, or make the data an asset and name that",
            )
        return cls(text)

    @classmethod
    def _of_table(cls, text: str, root: Path) -> Place:
        if _PARTITION in text:
            raise FallbackError(
                f"{hide_password(text)} cannot be read as a level",
                why="a table is read whole, not partition by partition",
                hint="name a table without {partition}, or files: seeds/{partition}.parquet",
            )
        table = table_at(text)
        assert isinstance(table.database, str)
        scheme, mark, file = table.database.partition(":///")
        if mark and scheme.startswith(("sqlite", "duckdb")) and not file.startswith(("/", "file:")):
            file, query, options = file.partition("?")
            beside = f"{scheme}:///{(root / file).resolve()}{query}{options}"
            table = SqlTable(beside, table.table)
        return cls(f"{table.database}#{table.table}", table=table)

    def modified_at(self) -> datetime | None:
        """When the file was written; ``None`` where the store does not say, or a table is read.

        A folder is as old as the newest of its files.

        Raises
        ------
        OSError
            There is no such file, the folder has none, or the store cannot be reached.
        FallbackError
            What fsspec needs for this store is not installed.
        """
        if self.table is not None:
            return None
        if self.path is not None:
            parts = self._within(self.path) if self.path.is_dir() else [self.path]
            newest = max(part.stat().st_mtime for part in parts)
            return datetime.fromtimestamp(newest, UTC)
        files, name = self._store()
        if not files.exists(name):
            raise FileNotFoundError(f"there is no {self.uri}")
        try:
            moments: list[datetime] = [files.modified(part) for part in self._parts(files, name)]
        except NotImplementedError:
            return None
        return max(m if m.tzinfo is not None else m.replace(tzinfo=UTC) for m in moments)

    @property
    def text(self) -> str | None:
        """The address of a file of text; ``None`` where it holds types of its own.

        What is a number, a moment or a code of digits in it, only a contract knows.
        """
        return self.uri if self.table is None and self._ending in TEXT_ENDINGS else None

    @property
    def _ending(self) -> str:
        return next((e for e in LEVEL_ENDINGS if self.uri.lower().endswith(e)), ".parquet")

    def read(self) -> Any:
        """The table, as a Polars frame; a folder of Parquet files is one table.

        Raises
        ------
        OSError, UnreadableDataError, UnreachableDataError
            It is not there, cannot be reached, or is no table.
        """
        if self.table is not None:
            # SQLAlchemy or DuckDB come with it; most levels are files.
            from dagster_contracts.engine.table_frame import read_table

            return read_table(self.table)
        # Polars is heavy, and most processes never read a level from a file.
        import polars as pl

        ending = self._ending
        if self.path is not None:
            return _parse(pl, self.path, ending)
        files, name = self._store()
        tables = []
        for part in self._parts(files, name):
            with files.open(part, "rb") as stream:
                tables.append(_parse(pl, stream, ending))
        return pl.concat(tables)

    def _within(self, folder: Path) -> list[Path]:
        return self._some([p for p in folder.rglob(f"*{_FOLDER_OF}") if p.is_file()])

    def _parts(self, files: Any, name: str) -> list[str]:
        """The file of a store, or those of a folder."""
        if files.isfile(name):
            return [name]
        return self._some(sorted(str(p) for p in files.find(name) if str(p).endswith(_FOLDER_OF)))

    def _some(self, parts: list[T]) -> list[T]:
        if not parts:
            raise FileNotFoundError(f"there is no {_FOLDER_OF} file in the folder {self.uri}")
        return parts

    def _store(self) -> tuple[Any, str]:
        # Dagster brings it; its stores come with packages of their own.
        import fsspec  # type: ignore[import-untyped]

        try:
            files, name = fsspec.core.url_to_fs(self.uri)
        except ImportError as error:
            raise FallbackError(
                f"{self.uri} cannot be read", why=str(error), hint="install that package"
            ) from error
        return files, str(name)


def _parse(pl: Any, source: Any, ending: str) -> Any:
    match ending:
        case ".csv":
            return pl.read_csv(source)
        case ".json" | ".jsonl" | ".ndjson":
            return pl.read_ndjson(source)
        case ".arrow" | ".feather":
            return pl.read_ipc(source)
        case _:
            return pl.read_parquet(source)


def _in_a_path(text: str, partition: str | None) -> str:
    if partition is None:
        raise FallbackError(
            f"{text} has a file for each partition, and none is asked for",
            hint="name one file, or read the asset partition by partition",
        )
    # A file whose name has *, ? or [ would be read as a pattern of several.
    leads_on = any(mark in partition for mark in ("..", "://", "*", "?", "["))
    if partition.startswith(("/", "\\")) or leads_on:
        raise FallbackError(f"the partition {partition!r} cannot stand in the path {text}")
    return partition
