"""Patterns of short codes such as ``^[A-Z]{2}-[0-9]{6}$``, eight letters of text at a time.

Where each place of a text has its own class and all together are at most twelve, Polars and Arrow
keep the text beside its length in sixteen bytes, so that a few additions of whole numbers tell
whether each byte lies within the class of its place: a quarter of what a regular expression costs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from dagster_contracts.core.pattern import Dialect, translate

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Words = np.ndarray[Any, np.dtype[np.uint64]]

_PLACES = re.compile(
    r"""(?P<class>
        \\[dw]
      | \\[-.^$*+?{}()|\[\]\\/]
      | \[(?!\^)(?:[^\\\[\]^&~|]|\\[dw.\\/-])+\]
      | [^\\\[\](){}*+?|^$.]
    )(?:\{(?P<count>[0-9]+)\})?""",
    re.VERBOSE,
)
_LONGEST = 12
_VIEW = 16
_MOST_RANGES = 5
_AT_ONCE = 16_384
"""Rows whose words stay in a processor's cache."""
_FEW_ROWS = 4_096
"""So many are tested by the regular expression: to begin costs more."""
_TOP_BITS = 0x8080808080808080

Range: TypeAlias = tuple[int, int]
"""The first and the last byte."""


def places_of(pattern: str) -> tuple[tuple[Range, ...], ...] | None:
    """For each place of the text the bytes that may stand there; ``None`` for other patterns.

    What a class holds is asked of the engine's own regular expressions.
    """
    if not (pattern.isascii() and pattern.startswith("^") and pattern.endswith("$")):
        return None
    at, found = 1, list[tuple[Range, ...]]()
    while at < len(pattern) - 1:
        place = _PLACES.match(pattern, at, len(pattern) - 1)
        count = int(place["count"] or 1) if place else 0
        if place is None or not 1 <= count <= _LONGEST - len(found):
            return None
        ranges = _ranges(place["class"])
        if not 1 <= len(ranges) <= _MOST_RANGES:
            return None
        found += [ranges] * count
        at = place.end()
    return tuple(found) or None


def _ranges(written: str) -> tuple[Range, ...]:
    import polars as pl  # late: importing the package must stay cheap

    texts = pl.Series([chr(byte) for byte in range(128)])
    held = texts.str.contains(translate(f"^{written}$", Dialect.RUST)).to_list()
    starts = [byte for byte in range(128) if held[byte] and not (byte and held[byte - 1])]
    ends = [byte for byte in range(128) if held[byte] and not (byte < 127 and held[byte + 1])]
    return tuple(zip(starts, ends, strict=True))


def unlike(column: str, pattern: str) -> pl.Expr | None:
    """True for the texts of a column that the pattern does not match; not true for null.

    ``None`` where the pattern is not that of a short code.
    """
    import polars as pl  # late: importing the package must stay cheap

    places = places_of(pattern)
    if places is None:
        return None
    limits = _limits(places)
    written = translate(pattern, Dialect.RUST)

    def test(texts: pl.Series) -> pl.Series:
        if len(texts) <= _FEW_ROWS:
            return ~texts.str.contains(written)
        flags = [_flags(chunk, limits, written) for chunk in texts.get_chunks()]
        return pl.concat(flags) if len(flags) > 1 else flags[0]

    tested: pl.Expr = pl.col(column).map_batches(test, return_dtype=pl.Boolean, is_elementwise=True)
    return tested


def _limits(places: Sequence[Sequence[Range]]) -> list[tuple[Words, Words]]:
    """What to add to each byte so that its top bit tells: not too small, and too large.

    One pair for each range that a place may have; they are as long as the words of the rows that
    are tested at once.
    """
    import numpy as np  # late: importing the package must stay cheap

    length = [((size, size),) for size in len(places).to_bytes(4, "little")]
    rest = [((0, 0),)] * (_VIEW - 4 - len(places))
    lanes = [*length, *places, *rest]
    if sys.byteorder == "big":
        lanes[:4] = lanes[3::-1]
    pairs = []
    for number in range(max(map(len, lanes))):
        chosen = [ranges[min(number, len(ranges) - 1)] for ranges in lanes]
        low = np.array([0x80 - first for first, _ in chosen], np.uint8).view(np.uint64)
        high = np.array([0x7F - last for _, last in chosen], np.uint8).view(np.uint64)
        pairs.append((np.tile(low, _AT_ONCE), np.tile(high, _AT_ONCE)))
    return pairs


def _flags(texts: pl.Series, limits: Sequence[tuple[Words, Words]], written: str) -> pl.Series:
    import numpy as np  # late: importing the package must stay cheap
    import polars as pl
    import pyarrow as pa

    array = texts.to_arrow(compat_level=pl.CompatLevel.newest())
    if not isinstance(array, pa.Array) or not pa.types.is_string_view(array.type):
        return ~texts.str.contains(written)
    words = np.frombuffer(array.buffers()[1], np.uint64, 2 * len(array), _VIEW * array.offset)
    unlike = np.empty(len(array), np.bool_)
    for start in range(0, len(array), _AT_ONCE):
        these = words[2 * start : 2 * (start + _AT_ONCE)]
        outside = _outside(these, limits)
        # A byte beyond ASCII is carried into the next ones, but its own top bit tells of it.
        outside |= these
        either = outside[::2] | outside[1::2]
        either &= np.uint64(_TOP_BITS)
        np.not_equal(either, 0, out=unlike[start : start + _AT_ONCE])
    if texts.null_count():
        unlike &= texts.is_not_null().to_numpy()
    return pl.Series(texts.name, unlike)


def _outside(words: Words, limits: Sequence[tuple[Words, Words]]) -> Words:
    """Words in which the top bit of each byte tells that it lies in no range of its place."""
    import numpy as np  # late: importing the package must stay cheap

    found: Words | None = None
    for low, high in limits:
        below = words + low[: len(words)]
        np.invert(below, out=below)
        below |= words + high[: len(words)]
        found = below if found is None else np.bitwise_and(found, below, out=found)
    assert found is not None
    return found
