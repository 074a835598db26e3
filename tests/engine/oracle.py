"""What the rules mean, in plain Python and one row at a time: the judge of the engine's counts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from dagster_contracts.core.contract import SchemaObject, SchemaProperty

Row = Mapping[str, Any]


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def exact(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, Decimal | int):
        return Fraction(value)
    return value


def broken_by(prop: SchemaProperty, value: Any) -> set[str]:
    """The names of the rules of a column that a single value breaks."""
    options = prop.options
    if is_missing(value):
        return {"required"} if prop.required else set()
    found = set()

    def limit(of: Any) -> Any:
        # A float is compared with the float that the limit is.
        if isinstance(value, float):
            return float(of)
        # Beside an exact value it is the number that was written: 0.1 is a tenth.
        return Fraction(repr(of)) if isinstance(of, float) and math.isfinite(of) else exact(of)

    number = exact(value)
    if options.enum and not any(limit(allowed) == number for allowed in options.enum):
        found.add("enum")
    if options.minimum is not None and number < limit(options.minimum):
        found.add("minimum")
    if options.maximum is not None and number > limit(options.maximum):
        found.add("maximum")
    if options.exclusive_minimum is not None and number <= limit(options.exclusive_minimum):
        found.add("exclusive_minimum")
    if options.exclusive_maximum is not None and number >= limit(options.exclusive_maximum):
        found.add("exclusive_maximum")
    if options.min_length is not None and len(value) < options.min_length:
        found.add("min_length")
    if options.max_length is not None and len(value) > options.max_length:
        found.add("max_length")
    if options.pattern is not None:
        # Our $ is the very end and our classes are ASCII, which Python has other words for.
        spelled = options.pattern.replace("$", r"\Z")
        if not re.search(spelled, value, re.ASCII):
            found.add("pattern")
    if options.multiple_of is not None and (
        (isinstance(value, float) and math.isinf(value))
        or Fraction(value) % Fraction(options.multiple_of) != 0
    ):
        found.add("multiple_of")
    return found


def duplicates(rows: Sequence[Row], columns: Sequence[str]) -> int:
    """Rows beyond the first of their key; a key with a hole is nobody's duplicate."""
    keys = [tuple(row[name] for name in columns) for row in rows]
    counted = Counter(key for key in keys if not any(is_missing(part) for part in key))
    return sum(count - 1 for count in counted.values())


def counts(target: SchemaObject, rows: Sequence[Row]) -> dict[str, int]:
    """Rule and number of failing rows, where there are any; ``*`` has the rows that break any."""
    found: Counter[str] = Counter()
    any_broken = 0
    for row in rows:
        broken = [
            f"{prop.name}.{what}"
            for prop in target.properties
            for what in broken_by(prop, row[prop.name])
        ]
        found.update(broken)
        any_broken += bool(broken)
    repeated = 0
    for prop in target.properties:
        if prop.unique:
            found[f"{prop.name}.unique"] = duplicates(rows, [prop.name])
            repeated += found[f"{prop.name}.unique"]
    if target.primary_key:
        found["primary_key"] = duplicates(rows, target.primary_key)
        repeated += found["primary_key"]
    found["*"] = min(len(rows), any_broken + repeated)
    return {name: count for name, count in found.items() if count}


def _within(prop: SchemaProperty, value: Any, label: str) -> set[str]:
    """The rules of a nested property that its value breaks, by their names."""
    options = prop.options
    if isinstance(value, list):
        found = set()
        if options.min_items is not None and len(value) < options.min_items:
            found.add(f"{label}.min_items")
        if options.unique_items and len(set(value)) < len(value):
            found.add(f"{label}.unique_items")
        assert prop.items is not None
        for item in value:
            pair = isinstance(item, tuple)
            marker = "{}" if pair else "[]"
            found |= _within(prop.items, item[1] if pair else item, label + marker)
        return found
    if isinstance(value, dict):
        inner = (_within(p, value[p.column], f"{label}.{p.column}") for p in prop.properties)
        return set().union(*inner)
    return {f"{label}.{what}" for what in broken_by(prop, value)}


def nested_counts(target: SchemaObject, rows: Sequence[Row]) -> dict[str, int]:
    """Rule and number of rows in which a value, or an item or field of it, breaks the rule.

    A map is a list of its pairs.
    """
    found: Counter[str] = Counter()
    for row in rows:
        for prop in target.properties:
            found.update(_within(prop, row[prop.name], prop.name))
    return dict(found)
