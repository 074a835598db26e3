"""What Narwhals makes of expressions for Polars, so that it need not be made again.

For a small table, translating the expressions takes longer than running them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import narwhals as nw

if TYPE_CHECKING:
    import polars as pl


def as_polars(exprs: Sequence[nw.Expr]) -> tuple[pl.Expr, ...]:
    """The same expressions as Polars knows them."""
    if not exprs:
        return ()
    frame = nw.from_native(_recorder()()).lazy().select(*exprs)
    found: tuple[pl.Expr, ...] = frame.to_native().selected
    return found


def without_rows(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """A frame of the same schema that holds nothing."""
    import polars as pl  # late: importing the package must stay cheap

    return nw.from_native(pl.LazyFrame(schema=frame.to_native().collect_schema()))


@cache
def _recorder() -> Any:
    import polars as pl  # late: importing the package must stay cheap

    class Recorder(pl.LazyFrame):
        """A frame without columns that remembers what was selected of it."""

        selected: tuple[Any, ...] = ()

        def select(self, *exprs: Any, **_: Any) -> Recorder:
            recorder = Recorder()
            recorder.selected = exprs
            return recorder

    return Recorder
