"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exact; ``ValueError`` for a naive time."""
    if moment.tzinfo is None:
        raise ValueError(f"a stored time needs a time zone: {moment.isoformat()}")
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment, in UTC, that :func:`to_micros` made a number of."""
    return _EPOCH + timedelta(microseconds=micros)


class UtcTime(TypeDecorator[datetime]):
    """A moment as microseconds since 1970 in UTC: one order and one precision on every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Store the number."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Give the moment back, in UTC."""
        return None if value is None else from_micros(int(value))


class PlainText(TypeDecorator[str]):
    """Text without what PostgreSQL refuses: NUL and lone surrogates become U+FFFD.

    Explanations quote users' data and errors quote drivers; neither may break a transition.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Replace the characters that no database takes."""
        if value is None:
            return None
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class JsonText(TypeDecorator[Any]):
    """JSON as ASCII text: the same bytes on every database, and any string fits in it.

    ``jsonb`` refuses NUL and reorders keys, so it is not used.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write compact JSON with sorted keys."""
        if value is None:
            return None
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Read the JSON back."""
        return None if value is None else json.loads(value)


def serial() -> sa.BigInteger:
    """The type of an ascending id: SQLite only numbers by itself what is declared INTEGER."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
