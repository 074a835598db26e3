"""Rows that are written once, whatever the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_once(conn: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Insert one row; False where a unique key was there already, and then nothing changes.

    On PostgreSQL a second writer of the same key waits until the first one has ended.
    """
    statement: sqlite.Insert | postgresql.Insert
    if conn.dialect.name == "postgresql":
        statement = postgresql.insert(table).values(**values).on_conflict_do_nothing()
    else:
        statement = sqlite.insert(table).values(**values).on_conflict_do_nothing()
    # What RETURNING gives is what was inserted; rowcount is -1 on psycopg for some tables.
    return conn.execute(statement.returning(sa.literal(1))).first() is not None
