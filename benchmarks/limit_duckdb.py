"""The limit in SQL: the same questions, written and fused by hand for DuckDB."""

from __future__ import annotations

from typing import Any

from benchmarks.orders import CHANNELS, CODE, COUNTRIES, POSTCODE, SKU, STATES, UUID

_EMAIL = r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$"
_FLOATS = ("amount", "discount", "tax", "weight", "latitude", "longitude")
_QUALITY = "shipped_after_creation"


def sql_flags() -> dict[str, str]:
    """One condition for each row-level rule, true for the rows that break it."""

    def matches(name: str, pattern: str) -> str:
        return f"NOT regexp_matches({name}, '{pattern}')"

    def above(name: str, comparison: str) -> str:
        return f"{name} {comparison} AND NOT isnan({name})"

    required = ("id", "customer", "code", "token", "email", "state", "country", "sku", "postcode")
    required += ("quantity", "gift", "created_at")
    flags = {f"{name}.required": f"{name} IS NULL" for name in required}
    flags |= {f"{n}.required": f"{n} IS NULL OR isnan({n})" for n in ("amount", "tax")}
    minima = {"id": 0, "customer": 1, "quantity": 1, "amount": 0, "discount": 0, "tax": 0}
    minima |= {"latitude": -90, "longitude": -180, "rating": 1}
    flags |= {f"{name}.minimum": f"{name} < {limit}" for name, limit in minima.items()}
    maxima = {"amount": 10_000, "weight": 500, "latitude": 90, "longitude": 180}
    flags |= {f"{name}.maximum": above(name, f"> {limit}") for name, limit in maxima.items()}
    return flags | {
        "code.pattern": matches("code", CODE),
        "code.max_length": "length(code) > 9",
        "token.format": matches("token", UUID),
        "email.pattern": matches("email", _EMAIL),
        "state.enum": f"state NOT IN {STATES}",
        "country.enum": f"country NOT IN {COUNTRIES}",
        "country.min_length": "length(country) < 2",
        "country.max_length": "length(country) > 2",
        "channel.enum": f"channel NOT IN {CHANNELS}",
        "sku.pattern": matches("sku", SKU),
        "postcode.pattern": matches("postcode", POSTCODE),
        "note.max_length": "length(note) > 40",
        "quantity.maximum": "quantity > 100",
        "pack.multiple_of": "pack % 6 <> 0",
        "discount.exclusive_maximum": above("discount", ">= 1"),
        "weight.exclusive_minimum": "weight <= -1",
        "rating.maximum": "rating > 5",
        "created_at.minimum": "created_at < TIMESTAMP '2024-01-01'",
        _QUALITY: "shipped_at < created_at",
    }


def by_sql(connection: Any, table: str, *, samples: int = 5) -> dict[str, int]:
    """Failing rows by rule; the rows that break any rule, gaps and samples are asked for too."""
    flags = sql_flags()
    broken = [f"coalesce({test}, false)" for name, test in flags.items() if name != _QUALITY]
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]
    gaps = [f"{n} IS NULL OR isnan({n})" if n in _FLOATS else f"{n} IS NULL" for n in names]
    asked = [*flags.values(), " OR ".join(broken), *gaps]
    counted = ", ".join(f"count(*) FILTER (WHERE {test})" for test in asked)
    row = connection.execute(f"SELECT {counted}, max(created_at) FROM {table}").fetchone()
    found = dict(zip(flags, row, strict=False))
    for rule, key in {"primary_key": "id", "token.unique": "token"}.items():
        groups = connection.execute(
            f"SELECT {key}, count(*) AS n FROM {table} WHERE {key} IS NOT NULL "
            f"GROUP BY {key} HAVING n > 1 ORDER BY n DESC"
        ).fetchall()
        found[rule] = sum(rows for _, rows in groups) - len(groups)
        if groups:
            connection.execute(
                f"SELECT * FROM {table} WHERE list_contains(?, {key}) LIMIT {samples}",
                [[value for value, _ in groups[:3]]],
            ).fetchall()
    found = {rule: count for rule, count in found.items() if count}
    for rule in found.keys() & flags.keys():
        shown = "*" if rule == _QUALITY else f"id, {rule.partition('.')[0]}"
        connection.execute(
            f"SELECT {shown} FROM {table} WHERE {flags[rule]} LIMIT {samples}"
        ).fetchall()
    return found
