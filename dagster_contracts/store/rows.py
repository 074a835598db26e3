"""Rows that are written once, whatever the database."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert


def insert_once(conn: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Insert one row; False where a unique key was there already, and then nothing changes.

    On PostgreSQL a second writer of the same key waits until the first one has ended.
    """
    return conn.execute(_once(table, conn.dialect.name), values).first() is not None


@cache
def _once(table: sa.Table, dialect: str) -> ReturningInsert[tuple[int]]:
    # Built once: building a statement takes SQLAlchemy longer than running it.
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    # What RETURNING gives is what was inserted; rowcount is -1 on psycopg for some tables.
    return insert(table).on_conflict_do_nothing().returning(sa.literal(1))
