"""The state store: one SQL database, opened, migrated and asked in transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa


class Store:
    """An open state store. Cheap to keep; each thread and process may use it."""

    @property
    def url(self) -> str:
        """The URL with its password hidden."""
        raise NotImplementedError

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction that writes: ``BEGIN IMMEDIATE`` on SQLite, READ COMMITTED elsewhere.

        Commits when the block ends, rolls back when it raises. ``StoreError`` for what the
        database refuses.
        """
        raise NotImplementedError

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: on SQLite it waits for no writer."""
        raise NotImplementedError

    def now(self, conn: sa.Connection) -> datetime:
        """The database's clock in UTC (the ``clock`` given to :func:`open_store` in tests)."""
        raise NotImplementedError

    def lock(self, conn: sa.Connection, name: str) -> None:
        """Hold ``name`` until the transaction ends: one holder over all processes."""
        raise NotImplementedError

    def close(self) -> None:
        """Give all connections back."""
        raise NotImplementedError


def open_store(url: str, *, clock: Callable[[], datetime] | None = None) -> Store:
    """Open the store at ``url``, and create or upgrade its schema under a lock.

    ``url`` is ``sqlite:///path`` or ``postgresql+psycopg://...``. ``StoreError`` with a hint where it
    cannot be opened, ``SchemaTooNewError`` where a newer release wrote it.
    """
    raise NotImplementedError
