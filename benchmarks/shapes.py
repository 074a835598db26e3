"""The benchmark's table in other shapes: what is quick on one may be slow on another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from benchmarks.orders import orders

_FEW = 20


def _skewed(rows: int, dirt: float) -> pl.DataFrame:
    """Nine rows of ten have one and the same key."""
    frame = orders(rows, dirt=dirt)
    same = pl.Series(np.random.default_rng(3).random(rows) < 0.9)
    return frame.with_columns(
        pl.when(same).then(pl.col(name).first()).otherwise(pl.col(name)).alias(name)
        for name in ("id", "token", "customer")
    )


def _wide_text(rows: int, dirt: float) -> pl.DataFrame:
    """Texts of some hundred characters where the rules allow them."""
    long = pl.lit("a word and " * 40)
    return orders(rows, dirt=dirt).with_columns(
        pl.concat_str(pl.col("note"), long), pl.concat_str(pl.lit("x" * 300), pl.col("email"))
    )


def _few(rows: int, dirt: float) -> pl.DataFrame:
    """Each column has few distinct values, keys too."""
    return orders(rows, dirt=dirt).with_columns(pl.all().gather(pl.int_range(rows) % _FEW))


def _gaps(rows: int, dirt: float) -> pl.DataFrame:
    """Six values of ten are null, in each column other rows."""
    frame, chance = orders(rows, dirt=dirt), np.random.default_rng(4)
    return frame.with_columns(
        pl.when(pl.Series(chance.random(rows) < 0.4)).then(pl.col(name)).alias(name)
        for name in frame.columns
    )


SHAPES: dict[str, Callable[[int, float], pl.DataFrame]] = {
    "orders": lambda rows, dirt: orders(rows, dirt=dirt),
    "clean": lambda rows, _: orders(rows, dirt=0),
    "bad": lambda rows, _: orders(rows, dirt=1),
    "skewed": _skewed,
    "wide-text": _wide_text,
    "few-values": _few,
    "nulls": _gaps,
}
"""A table by its name, of so many rows; ``clean`` and ``bad`` have no and nothing but dirt."""
