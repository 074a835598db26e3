"""A table in a database, named so that it can be validated where it is.

PostgreSQL, SQLite and DuckDB; the rows stay there, only counts and samples come back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster_contracts.core.uri import hide_password
from dagster_contracts.engine.scan import UnreadableDataError

if TYPE_CHECKING:
    import sqlalchemy as sa

_IDENTIFIER = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


@dataclass(frozen=True, slots=True)
class SqlTable:
    """A table or view of a database.

    Parameters
    ----------
    database:
        A SQLAlchemy URL (``postgresql://...``, ``sqlite:///...``, ``duckdb:///...``) or engine.
    table:
        Its name, as ``table`` or ``schema.table``; a part with a dot stands in double quotes.
    timeout:
        Seconds after which PostgreSQL gives up on one statement; no limit where ``None``.
    """

    database: str | sa.Engine
    table: str
    timeout: float | None = None

    def __repr__(self) -> str:
        return f"SqlTable({self.shown_database!r}, {self.table!r})"

    @property
    def shown_database(self) -> str:
        """The database's URL without its password."""
        if isinstance(self.database, str):
            return hide_password(self.database)
        return self.database.url.render_as_string(hide_password=True)

    @property
    def path(self) -> tuple[str | None, str]:
        """Schema, if one is named, and table; raises :class:`UnreadableDataError`."""
        parts, at = [], 0
        while found := _IDENTIFIER.match(self.table, at):
            parts.append(found[1].replace('""', '"') if found[1] else found[2])
            at = found.end() + 1
            if at > len(self.table) or self.table[found.end()] != ".":
                break
        if at != len(self.table) + 1 or len(parts) > 2:
            raise UnreadableDataError(
                f"{self.table!r} names no table; write table or schema.table, "
                "and a part with a dot in double quotes"
            )
        return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def table_at(uri: str) -> SqlTable:
    """``postgresql://...#schema.table`` as a table; raises :class:`UnreadableDataError`."""
    url, _, table = uri.rpartition("#")
    if not url or not table:
        raise UnreadableDataError(
            f"{hide_password(uri)} names no table; end it with #table or #schema.table"
        )
    return SqlTable(url, table)
