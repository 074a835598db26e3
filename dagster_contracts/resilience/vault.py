"""Parquet files named by their content: written whole or not at all, verified when read."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_contracts.errors import FallbackError, StoreError
from dagster_contracts.store.checkpoint import Checkpoint

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of the vault: SHA-256 (hex) of its bytes and of its Arrow schema, its size."""

    sha256: str
    schema_sha256: str
    rows: int
    bytes: int


class ParquetVault:
    """Parquet files below ``root``.

    A file is written beside its place, flushed to the disk, and then moved there in one step, so a
    killed process leaves a temporary file and never a torn one. What the rows of a store do not
    name is an orphan, and is swept once it is older than any write that could still be under way.
    """

    def __init__(self, root: Path, *, checkpoint: Checkpoint) -> None:
        self._root = root
        self._checkpoint = checkpoint

    def path(self, sha256: str) -> Path:
        """Where the file of that content stands."""
        return self._root / sha256[:2] / f"{sha256}.parquet"

    def write(self, table: pa.Table) -> StoredFile:
        """Write a table durably; ``StoreError`` where the disk refuses."""
        # Arrow takes a quarter of a second to import; a circuit that is read needs none of it.
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._root.mkdir(parents=True, exist_ok=True)
            temporary = self._root / f"{uuid.uuid4().hex}.tmp"
            try:
                # The names that Arrow gives to list items, rather than Parquet's own "element".
                pq.write_table(
                    table, temporary, compression="zstd", use_compliant_nested_type=False
                )
                self._checkpoint("vault.written")
                with pa.memory_map(str(temporary)) as source:
                    digest = _sha256(source.read_buffer())
                schema = _schema_sha256(pq.read_schema(temporary))
                _flush(temporary)
                size = temporary.stat().st_size
                target = self.path(digest)
                target.parent.mkdir(exist_ok=True)
                self._checkpoint("vault.flushed")
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
            self._checkpoint("vault.moved")
            # The name is only durable once its folder is, and the folder once its parent is.
            _flush(target.parent)
            _flush(self._root)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                "a batch could not be written",
                where=str(self._root),
                why=str(error),
                hint="check space and permissions; nothing of the batch was kept",
            ) from error
        return StoredFile(
            sha256=digest,
            schema_sha256=schema,
            rows=table.num_rows,
            bytes=size,
        )

    def read(self, sha256: str, schema_sha256: str) -> pa.Table:
        """Read a file whose bytes and schema are those that were written.

        ``FallbackError`` where the file is gone, torn or changed. The bytes that were verified are
        the bytes that are parsed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path(sha256)
        hint = "the next fallback level is tried; the file must not be edited or removed by hand"
        try:
            with pa.memory_map(str(path)) as source:
                content = source.read_buffer()
            found = _sha256(content)
            if found != sha256:
                raise FallbackError(
                    "a kept batch is not what was written",
                    where=str(path),
                    why=f"its SHA-256 is {found}, expected {sha256}",
                    hint=hint,
                )
            # Not read_table: it refuses two columns of one name.
            table = pq.ParquetFile(pa.BufferReader(content)).read()
        except (OSError, pa.ArrowException) as error:
            raise FallbackError(
                "a kept batch cannot be read", where=str(path), why=str(error), hint=hint
            ) from error
        if _schema_sha256(table.schema) != schema_sha256:
            raise FallbackError(
                "a kept batch has not the schema that was written",
                where=str(path),
                why=f"found {', '.join(f'{f.name} {f.type}' for f in table.schema)}",
                hint=hint,
            )
        return table

    def columns(self, sha256: str) -> tuple[str, ...]:
        """The names of a file's columns, by its footer; ``FallbackError`` where it has none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path(sha256)
        try:
            return tuple(pq.read_schema(path).names)
        except (OSError, pa.ArrowException) as error:
            raise FallbackError(
                "a kept batch cannot be read", where=str(path), why=str(error)
            ) from error

    def exists(self, sha256: str) -> bool:
        """Whether there is a file of that name; its content is only verified when it is read."""
        return self.path(sha256).is_file()

    def orphans(self, named: Collection[str], *, older_than: float) -> list[Path]:
        """Files that no row names, or left over by a write; last changed before a POSIX time."""
        found = []
        for path in [*self._root.glob("*/*.parquet"), *self._root.glob("*.tmp")]:
            try:
                if path.stem not in named and path.stat().st_mtime < older_than:
                    found.append(path)
            except FileNotFoundError:
                continue
        return sorted(found)


def _sha256(content: pa.Buffer) -> str:
    return hashlib.sha256(memoryview(content)).hexdigest()


def _schema_sha256(schema: pa.Schema) -> str:
    # Names and types, in order; the metadata of pandas or of a newer Arrow may differ.
    text = "\n".join(f"{field.name!r}:{field.type}" for field in schema)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
