"""Which columns may be the key of a table, judged by its first rows.

What repeats there repeats in the whole, so only what is left must be asked of all rows. A set of
columns counts only where its uniqueness is no accident: a few hundred prices never repeat either.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from dagster_contracts.core.column_names import event_likeness, key_likeness

if TYPE_CHECKING:
    import polars as pl

_MOST_COLUMNS = 14
_MOST_SINGLE = 6
_MOST_COMPOSITE = 4
_LONGEST_KEY = 64
_ROWS_FOR_NAMED = 20
_ROWS_FOR_SINGLE = 1_000
_ROWS_FOR_COMPOSITE = 100
_COLLISIONS_EXPECTED = 5
"""How often columns that know nothing of each other would repeat, where a key never does."""


def likely_keys(first: pl.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Sets of up to three columns that do not repeat in these rows, the likeliest first."""
    rows = first.height
    if rows < _ROWS_FOR_NAMED:
        return ()
    suited = [name for name in first.columns if _suits(first[name])]
    suited.sort(key=lambda name: -_rank(first[name]))
    distinct = {name: first[name].n_unique() for name in suited}
    single = [name for name in suited if distinct[name] == rows]
    single = [name for name in single if key_likeness(name) > 0 or rows >= _ROWS_FOR_SINGLE]
    if single:
        return tuple((name,) for name in single[:_MOST_SINGLE])
    if rows < _ROWS_FOR_COMPOSITE:
        return ()
    # A column that repeats a value all over tells rows apart no better than none.
    useful = [name for name in suited if 1 < distinct[name] < rows][:_MOST_COLUMNS]
    codes = {name: _codes(first[name]) for name in useful}
    pairs = rows * (rows - 1) / 2
    found: list[tuple[str, ...]] = []
    for size in (2, 3):
        ranked = sorted(
            combinations(useful, size), key=lambda key: -sum(_rank(first[name]) for name in key)
        )
        for key in ranked:
            spread = 1
            for name in key:
                spread *= distinct[name]
            if spread < rows or pairs / spread < _COLLISIONS_EXPECTED:
                continue
            if _mixed([codes[name] for name in key], [distinct[name] for name in key]) == rows:
                found.append(tuple(sorted(key, key=first.columns.index)))
        if found:
            break
    return tuple(found[:_MOST_COMPOSITE])


def _suits(values: pl.Series) -> bool:
    """Whether a key may have this column: never null, and of a type that identifies."""
    import polars as pl  # late: importing the package must stay cheap

    dtype = values.dtype
    if values.null_count():
        return False
    if dtype.is_integer() or dtype.is_temporal():
        return dtype != pl.Duration
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        longest = values.cast(pl.String).str.len_chars().max()
        return isinstance(longest, int) and longest <= _LONGEST_KEY
    return False


def _rank(values: pl.Series) -> int:
    """How likely a column is part of a key, by its name first and its type then."""
    likeness = 4 * key_likeness(values.name)
    if values.dtype.is_temporal():
        return likeness + 1 + event_likeness(values.name)
    return likeness + (2 if values.dtype.is_integer() else 1)


def _codes(values: pl.Series) -> pl.Series:
    """The values numbered from 0."""
    import polars as pl  # late: importing the package must stay cheap

    return values.rank("dense").cast(pl.UInt64) - 1


def _mixed(codes: list[pl.Series], sizes: list[int]) -> int:
    """How many combinations occur; three columns of 20,000 values fit 64 bits."""
    whole = codes[0]
    for code, size in zip(codes[1:], sizes[1:], strict=True):
        whole = whole * size + code
    return whole.n_unique()
