"""What texts have in common: a named format, a fixed-width code, another type written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_contracts.core.contract import LogicalType
from dagster_contracts.core.pattern import Dialect, translate
from dagster_contracts.core.text_format import TEXT_FORMATS
from dagster_contracts.engine.csv_source import is_written

if TYPE_CHECKING:
    import polars as pl

# Formats that a value hardly has by accident; a host name is any word.
_TELLING_FORMATS = ("email", "uuid", "date-time", "date", "ipv4", "uri")
_WIDEST_CODE = 24
_PUNCTUATION = "-_./: "

CODE_OF_DIGITS = r"^[+-]?0[0-9]|^\+[0-9]{7,}$"
"""Digits that are a code and no number: 007 would become 7, +41791234567 is dialled."""

_WORDS_FOR_MISSING = ("na", "n/a", "nan", "null", "none", "nil", "#n/a", "-", "?", "unknown")

_WRITTEN_TYPES = (
    LogicalType.INTEGER,
    LogicalType.NUMBER,
    LogicalType.BOOLEAN,
    LogicalType.DATE,
    LogicalType.TIMESTAMP,
    LogicalType.TIME,
)


def format_of(texts: pl.Series) -> str | None:
    """The format that all of these distinct texts have."""
    for name in _TELLING_FORMATS:
        if texts.str.contains(translate(TEXT_FORMATS[name], Dialect.RUST)).all():
            return name
    return None


def code_pattern(texts: pl.Series) -> str | None:
    """The pattern of a fixed-width code such as ``^[A-Z]{3}$`` that all of these texts match."""
    lengths = texts.str.len_chars().unique().to_list()
    if len(lengths) != 1 or not 2 <= lengths[0] <= _WIDEST_CODE:
        return None
    classes: list[str] = []
    for place in range(lengths[0]):
        found = _class_of(set(texts.str.slice(place, 1).unique().to_list()))
        if found is None:
            return None
        classes.append(found)
    if not any(found.startswith("[") for found in classes):
        return None
    runs: list[tuple[str, int]] = []
    for found in classes:
        if runs and runs[-1][0] == found:
            runs[-1] = (found, runs[-1][1] + 1)
        else:
            runs.append((found, 1))
    written = (found if count == 1 else f"{found}{{{count}}}" for found, count in runs)
    return f"^{''.join(written)}$"


def _class_of(chars: set[str]) -> str | None:
    """The class of the characters of one place; punctuation is a class of its own."""
    if len(chars) == 1 and (char := next(iter(chars))) in _PUNCTUATION:
        return f"\\{char}" if char in ".-/" else char
    if not all(char.isascii() and char.isalnum() for char in chars):
        return None
    kinds = {"A-Z" if char.isupper() else "a-z" if char.islower() else "0-9" for char in chars}
    return f"[{''.join(sorted(kinds, key=('A-Z', 'a-z', '0-9').index))}]"


def written_type(texts: pl.Series) -> LogicalType | None:
    """The type that all of these texts can be read as; ``None`` where they are text, or none."""
    import polars as pl  # late: importing the package must stay cheap

    known = texts.drop_nulls().unique()
    if known.is_empty():
        return None
    codes = known.str.strip_chars().str.contains(CODE_OF_DIGITS).any()
    for candidate in _WRITTEN_TYPES:
        if candidate is LogicalType.BOOLEAN and _are_digits(known):
            continue
        if candidate in (LogicalType.INTEGER, LogicalType.NUMBER) and codes:
            # 0.5 begins with a zero as well, but no digit follows it.
            continue
        if not known.to_frame("text").select(is_written(pl.col("text"), candidate)).item():
            continue
        if candidate is LogicalType.NUMBER and _are_digits(known):
            # Integers that 64 bits cannot hold are identifiers; a float would round them.
            return None
        return candidate
    return None


def words_for_missing(texts: pl.Series) -> tuple[list[str], LogicalType | None]:
    """Texts that look as if they stood for what is missing, and the type of all the others."""
    import polars as pl  # late: importing the package must stay cheap

    known = texts.drop_nulls().unique()
    lowered = known.str.strip_chars().str.to_lowercase()
    there = lowered.is_in(_WORDS_FOR_MISSING) | (lowered == "")
    others = known.filter(~there)
    kind = written_type(others) if there.any() else None
    # A word alone may well be a value; among numbers and times it is none.
    sure = lowered.is_in(("na", "n/a", "nan", "null", "#n/a")) if kind is None else there
    return sorted(known.filter(sure).cast(pl.String).to_list())[:5], kind


def _are_digits(texts: pl.Series) -> bool:
    return bool(texts.str.strip_chars().str.contains("^[+-]?[0-9]+$").all())
