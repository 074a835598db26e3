"""The table and the contract that the benchmarks share: 23 columns, 48 rules, about 1% dirt."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import polars as pl

from dagster_contracts.core.contract import (
    Contract,
    LogicalType,
    QualityRule,
    RuleKind,
    SchemaObject,
    SchemaProperty,
    Threshold,
    ThresholdOperator,
    TypeOptions,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
STATES = ("new", "paid", "shipped", "returned")
COUNTRIES = ("AT", "CH", "DE", "DK", "ES", "FR", "IT", "NL", "PL", "SE")
CHANNELS = ("app", "phone", "shop", "web")
CODE = r"^[A-Z]{2}-\d{6}$"
SKU = r"^SKU\d{4}$"
POSTCODE = r"^\d{5}$"
UUID = "^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"


_HEX = pl.Series([f"{number:04x}" for number in range(2**16)])


def orders(rows: int, *, dirt: float = 0.01, seed: int = 7, first: int = 0) -> pl.DataFrame:
    """A table of orders in which each column breaks its rules in about ``dirt`` of the rows.

    ``first`` is the smallest id, so that a long table can be written piece by piece.
    """
    rng = np.random.default_rng(seed)

    def dirty(values: np.ndarray, bad: object) -> np.ndarray:
        return np.where(rng.random(rows) < dirt, np.asarray(bad, dtype=values.dtype), values)

    def gaps(series: pl.Series) -> pl.Series:
        return (
            series.zip_with(
                pl.Series(rng.random(rows) >= dirt), pl.Series([None] * rows, dtype=series.dtype)
            )
            if rows
            else series
        )

    def picked(words: tuple[str, ...], bad: str) -> pl.Series:
        pool = pl.Series([*words, bad])
        index = dirty(rng.integers(0, len(words), rows), len(words))
        return pool.gather(pl.Series(index))

    def numbered(form: str, numbers: np.ndarray, bad: str) -> pl.Series:
        text = pl.select(pl.format(form, pl.Series(numbers).cast(pl.String))).to_series()
        return (
            text.zip_with(pl.Series(rng.random(rows) >= dirt), pl.Series([bad] * rows))
            if (rows)
            else text.cast(pl.String)
        )

    def hexed(numbers: np.ndarray, groups: int) -> list[pl.Series]:
        shifts = range(16 * (groups - 1), -1, -16)
        return [_HEX.gather(pl.Series((numbers >> shift) & 0xFFFF)) for shift in shifts]

    ids = np.arange(rows, dtype=np.int64)
    repeated = rng.random(rows) < dirt / 10
    ids = np.where(repeated, np.maximum(ids - 1, 0), ids) + first
    seconds = rng.integers(0, 30 * 86_400, rows)
    created = pl.Series(seconds).cast(pl.Duration("us")) * 1_000_000 + START.replace(tzinfo=None)
    high = rng.integers(0, 2**32, rows)
    amount = np.round(rng.gamma(2.0, 40.0, rows), 2)
    return pl.DataFrame(
        {
            "id": ids,
            "customer": dirty(rng.integers(1, 200_000, rows), -1),
            "code": numbered("AB-{}", rng.integers(100_000, 999_999, rows), "ab 1"),
            "token": pl.select(
                pl.format("{}{}-0000-4000-8000-{}{}{}", *hexed(high, 2), *hexed(ids, 3))
            ).to_series(),
            "email": numbered("user{}@example.com", rng.integers(1, 200_000, rows), "nobody"),
            "state": picked(STATES, "lost"),
            "country": picked(COUNTRIES, "Germany"),
            "channel": gaps(picked(CHANNELS, "fax")),
            "sku": gaps(numbered("SKU{}", rng.integers(1000, 9999, rows), "none")),
            "postcode": numbered("{}", rng.integers(10_000, 99_999, rows), "1O115"),
            "note": gaps(numbered("note number {}", rng.integers(0, 10**9, rows), "x" * 60)),
            "quantity": dirty(rng.integers(1, 20, rows), 0),
            "pack": dirty(rng.integers(1, 10, rows) * 6, 7),
            "amount": dirty(amount, -1.0),
            "discount": dirty(rng.random(rows) * 0.5, 1.5),
            "tax": dirty(np.round(amount * 0.19, 2), np.nan),
            "weight": dirty(rng.random(rows) * 30, 900.0),
            "latitude": dirty(rng.uniform(36, 60, rows), 260.0),
            "longitude": dirty(rng.uniform(-9, 25, rows), -999.0),
            "rating": gaps(pl.Series(dirty(rng.integers(1, 6, rows), 9))),
            "gift": gaps(pl.Series(rng.random(rows) < 0.1)),
            "created_at": created,
            "shipped_at": created
            + pl.Series(dirty(rng.integers(0, 200_000, rows), -50)).cast(pl.Duration("us"))
            * 1_000_000,
        }
    )


def column(name: str, logical_type: LogicalType, **fields: object) -> SchemaProperty:
    """A property; ``required``, ``unique`` and the key are its own, the rest are options."""
    own = {
        key: fields.pop(key)
        for key in ("required", "unique", "primary_key_position")
        if key in fields
    }
    return SchemaProperty(
        name=name, logical_type=logical_type, options=TypeOptions(**fields), **own
    )


def simple_contract() -> Contract:
    """The rules of the same table that need no pattern, no key and no other column."""
    whole = orders_contract()
    (orders,) = whole.objects
    properties = tuple(
        replace(
            prop,
            options=replace(prop.options, pattern=None, format=None),
            unique=False,
            primary_key_position=None,
        )
        for prop in orders.properties
    )
    return replace(whole, objects=(replace(orders, properties=properties, quality=()),))


def orders_contract() -> Contract:
    """48 rules about values, and the presence and type of each column."""
    integer, number, text = LogicalType.INTEGER, LogicalType.NUMBER, LogicalType.STRING
    properties = (
        column("id", integer, primary_key_position=1, minimum=0),  # required, minimum, key
        column("customer", integer, required=True, minimum=1),
        column("code", text, required=True, pattern=CODE, max_length=9),
        column("token", text, required=True, unique=True, format="uuid"),
        column("email", text, required=True, pattern=r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$"),
        column("state", text, required=True, enum=STATES),
        column("country", text, required=True, enum=COUNTRIES, min_length=2, max_length=2),
        column("channel", text, enum=CHANNELS),
        column("sku", text, required=True, pattern=SKU),
        column("postcode", text, required=True, pattern=POSTCODE),
        column("note", text, max_length=40),
        column("quantity", integer, required=True, minimum=1, maximum=100),
        column("pack", integer, multiple_of=Decimal(6)),
        column("amount", number, required=True, minimum=0, maximum=10_000),
        column("discount", number, minimum=0, exclusive_maximum=1),
        column("tax", number, required=True, minimum=0),
        column("weight", number, exclusive_minimum=-1, maximum=500),
        column("latitude", number, minimum=-90, maximum=90),
        column("longitude", number, minimum=-180, maximum=180),
        column("rating", integer, minimum=1, maximum=5),
        column("gift", LogicalType.BOOLEAN, required=True),
        column(
            "created_at", LogicalType.TIMESTAMP, required=True, minimum=START.replace(tzinfo=None)
        ),
        column("shipped_at", LogicalType.TIMESTAMP),
    )
    after = QualityRule(
        name="shipped_after_creation",
        kind=RuleKind.EXPRESSION,
        expression="shipped_at >= created_at",
        threshold=Threshold(ThresholdOperator.MUST_BE, (Fraction(0),)),
    )
    target = SchemaObject(name="orders", properties=properties, quality=(after,))
    return Contract(name="orders", version="1.0.0", objects=(target,), event_time="created_at")
