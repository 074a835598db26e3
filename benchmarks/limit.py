"""The limit: the same questions, written by hand for one engine and fused by hand."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from benchmarks.orders import CHANNELS, CODE, COUNTRIES, POSTCODE, SKU, START, STATES, UUID

Answer = tuple[dict[str, int], int]


def flags() -> Mapping[str, pl.Expr]:
    """One flag for each row-level rule, by the name that the engine gives it."""
    c = pl.col

    def above(name: str, limit: float) -> pl.Expr:
        return (c(name) > limit) & c(name).is_not_nan()

    return {
        "id.required": c("id").is_null(),
        "id.minimum": c("id") < 0,
        "customer.required": c("customer").is_null(),
        "customer.minimum": c("customer") < 1,
        "code.required": c("code").is_null(),
        "code.pattern": ~c("code").str.contains(CODE),
        "code.max_length": c("code").str.len_chars() > 9,
        "token.required": c("token").is_null(),
        "token.format": ~c("token").str.contains(UUID),
        "email.required": c("email").is_null(),
        "email.pattern": ~c("email").str.contains(r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$"),
        "state.required": c("state").is_null(),
        "state.enum": ~c("state").is_in(STATES),
        "country.required": c("country").is_null(),
        "country.enum": ~c("country").is_in(COUNTRIES),
        "country.min_length": c("country").str.len_chars() < 2,
        "country.max_length": c("country").str.len_chars() > 2,
        "channel.enum": ~c("channel").is_in(CHANNELS),
        "sku.required": c("sku").is_null(),
        "sku.pattern": ~c("sku").str.contains(SKU),
        "postcode.required": c("postcode").is_null(),
        "postcode.pattern": ~c("postcode").str.contains(POSTCODE),
        "note.max_length": c("note").str.len_chars() > 40,
        "quantity.required": c("quantity").is_null(),
        "quantity.minimum": c("quantity") < 1,
        "quantity.maximum": c("quantity") > 100,
        "pack.multiple_of": c("pack") % 6 != 0,
        "amount.required": c("amount").is_null() | c("amount").is_nan(),
        "amount.minimum": c("amount") < 0,
        "amount.maximum": above("amount", 10_000),
        "discount.minimum": c("discount") < 0,
        "discount.exclusive_maximum": (c("discount") >= 1) & c("discount").is_not_nan(),
        "tax.required": c("tax").is_null() | c("tax").is_nan(),
        "tax.minimum": c("tax") < 0,
        "weight.exclusive_minimum": c("weight") <= -1,
        "weight.maximum": above("weight", 500),
        "latitude.minimum": c("latitude") < -90,
        "latitude.maximum": above("latitude", 90),
        "longitude.minimum": c("longitude") < -180,
        "longitude.maximum": above("longitude", 180),
        "rating.minimum": c("rating") < 1,
        "rating.maximum": c("rating") > 5,
        "gift.required": c("gift").is_null(),
        "created_at.required": c("created_at").is_null(),
        "created_at.minimum": c("created_at") < START.replace(tzinfo=None),
        "shipped_after_creation": c("shipped_at") < c("created_at"),
    }


_FLOATS = ("amount", "discount", "tax", "weight", "latitude", "longitude")


def _repeated(frame: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """The values of a key that occur more than once, grouped: what most people would write."""
    grouped = frame.filter(pl.col(name).is_not_null()).group_by(name).agg(pl.len().alias("n"))
    return grouped.filter(pl.col("n") > 1)


def _among_suspects(frame: pl.LazyFrame, names: tuple[str, ...]) -> list[pl.LazyFrame]:
    """The same, grouping only rows whose hash repeats: the engine's own way, for a tight limit."""
    ordered = [
        frame.select(pl.col(name).drop_nulls().hash().sort().alias("h"))
        .filter(pl.col("h") == pl.col("h").shift())
        .unique()
        for name in names
    ]
    suspects = pl.collect_all(ordered, engine="streaming")
    return [
        _repeated(frame.filter(pl.col(name).hash().is_in(found["h"].implode())).select(name), name)
        for name, found in zip(names, suspects, strict=True)
    ]


def by_hand(frame: pl.LazyFrame, *, samples: int = 5, hashed: bool = False) -> Answer:
    """Failing rows by rule and the rows that break any schema rule; samples are taken as well.

    ``hashed`` finds the duplicates of keys as the engine does, through sorted hashes.
    """
    names = frame.collect_schema().names()
    tests = flags()
    schema_tests = [name for name in tests if name != "shipped_after_creation"]
    # Flags first, sums after: in one step Polars computes each flag twice (seen: 490 against 250).
    fused = frame.with_columns([test.alias(name) for name, test in tests.items()]).select(
        pl.len().alias("rows"),
        *[pl.col(name).sum() for name in tests],
        *[
            (pl.col(n).is_null() | pl.col(n).is_nan() if n in _FLOATS else pl.col(n).is_null())
            .sum()
            .alias(f"missing {n}")
            for n in names
        ],
        pl.any_horizontal(schema_tests).sum().alias("any"),
        pl.col("created_at").max().alias("newest"),
    )
    keyed = ("id", "token")
    groups = _among_suspects(frame, keyed) if hashed else [_repeated(frame, n) for n in keyed]
    totals = [g.select(pl.col("n").sum() - pl.len()) for g in groups]
    heads = [g.sort("n", descending=True).head(3) for g in groups]
    row, ids, tokens, *keys = pl.collect_all([fused, *totals, *heads], engine="streaming")
    found = {name: count for name, count in row.to_dicts()[0].items() if name in tests and count}
    repeated = {"primary_key": ids.item() or 0, "token.unique": tokens.item() or 0}
    found.update({name: count for name, count in repeated.items() if count})
    wanted = [
        frame.filter(tests[name])
        .select(list(dict.fromkeys(["id", name.partition(".")[0]])))
        .head(samples)
        for name in found
        if name in tests and name != "shipped_after_creation"
    ]
    wanted += [
        frame.with_row_index()
        .filter(pl.col(name).is_in(keys[number][name].implode()))
        .head(samples)
        for number, name in enumerate(("id", "token"))
        if keys[number].height
    ]
    pl.collect_all(wanted, engine="streaming")
    rows = row["rows"].item()
    return found, min(rows, row["any"].item() + sum(repeated.values()))
