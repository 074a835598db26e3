"""The kinds of data that assets return, and the ways between them through Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def frame_kind(data: object) -> str | None:
    """The kind of ``data``: ``pandas``, ``polars``, ``polars_lazy``, ``pyarrow``, ``duckdb``, ...

    ``None`` where it is no table.
    """
    raise NotImplementedError


def frame_columns(data: object) -> list[tuple[str, str]]:
    """Names of the columns and their types in words, in order; TypeError where it is no table."""
    raise NotImplementedError


def select_columns(data: object, columns: Sequence[str]) -> object:
    """The same kind of data with these columns alone, in this order; KeyError names a missing one."""
    raise NotImplementedError


def to_arrow(data: object) -> pa.Table:
    """All rows as an Arrow table; the pandas index is left out."""
    raise NotImplementedError


def convert_table(table: pa.Table, to: type | str) -> object:
    """``table`` as ``pandas``, ``polars``, ``polars_lazy`` or ``pyarrow`` (a name or the type)."""
    raise NotImplementedError
