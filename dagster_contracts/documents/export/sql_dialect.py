"""How names, values and comments are written in each dialect of SQL."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from dagster_contracts.core.contract import Scalar

_LONGEST_NAME = 63


class SqlDialect(StrEnum):
    """The databases that tables are written for."""

    SQLITE = "sqlite"
    DUCKDB = "duckdb"
    POSTGRESQL = "postgresql"

    def quote(self, name: str) -> str:
        """A name in double quotes, whatever is in it."""
        return '"' + name.replace('"', '""') + '"'

    def folded(self, name: str) -> str:
        """What two names must not share."""
        if self is SqlDialect.POSTGRESQL:
            return name.encode()[:_LONGEST_NAME].decode(errors="ignore")
        return name.lower()

    def comment(self, text: str) -> str:
        """A comment of one line: whatever could end it is a blank."""
        return "-- " + " ".join("".join(c if c.isprintable() else " " for c in text).split())

    def literal(self, value: Scalar) -> str:
        """A value as an expression of its type."""
        match value:
            case bool():
                words = ("0", "1") if self is SqlDialect.SQLITE else ("FALSE", "TRUE")
                return words[value]
            case int():
                return str(value)
            case float() | Decimal():
                return _number(value)
            case datetime():
                return self._moment(value)
            case date():
                text = f"'{value.isoformat()}'"
                return text if self is SqlDialect.SQLITE else f"DATE {text}"
            case time():
                text = f"'{value.isoformat()}'"
                return text if self is SqlDialect.SQLITE else f"TIME {text}"
            case str():
                return self.text(value)

    def text(self, value: str) -> str:
        """A text in single quotes; a NUL, which no text column holds, is left out."""
        return "'" + value.replace("\0", "").replace("'", "''") + "'"

    def _moment(self, value: datetime) -> str:
        text = f"'{value.isoformat(sep=' ')}'"
        if self is SqlDialect.SQLITE:
            return f"julianday({text})"
        return f"{'TIMESTAMPTZ' if value.tzinfo else 'TIMESTAMP'} {text}"


def _number(value: float | Decimal) -> str:
    """Digits, without the exponent that would make a float of a decimal."""
    exact = Fraction(str(value))
    if exact.denominator == 1:
        return str(exact.numerator)
    return format(Decimal(str(value)), "f")
