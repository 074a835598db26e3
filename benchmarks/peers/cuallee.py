"""cuallee on a polars frame: counts alone, it shows no rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from cuallee import Check, CheckLevel

from benchmarks.peers.worker import Peer, Rule, serve


def prepare(path: Path, rules: list[Rule]) -> Peer:
    """One check with a rule of cuallee's for each; lengths and multiples as expressions."""
    frame = pl.read_parquet(path)
    check = Check(CheckLevel.WARNING, "orders")
    made = [rule for rule in rules if _add(check, rule)]
    left_out = [rule.name for rule in rules if rule not in made]

    def counts(found: Any) -> dict[str, int]:
        return {
            rule.name: int(violations)
            for rule, violations in zip(made, found["violations"], strict=True)
        }

    return Peer(lambda: check.validate(frame), counts, left_out)


def _add(check: Any, rule: Rule) -> bool:
    match rule.kind:
        case "required":
            check.is_complete(rule.column)
        case "unique":
            check.is_unique(rule.column)
        case "enum":
            check.is_contained_in(rule.column, rule.value)
        case "minimum" if isinstance(rule.value, int | float):
            check.is_greater_or_equal_than(rule.column, rule.value)
        case "maximum":
            check.is_less_or_equal_than(rule.column, rule.value)
        case "exclusive_minimum":
            check.is_greater_than(rule.column, rule.value)
        case "exclusive_maximum":
            check.is_less_than(rule.column, rule.value)
        case "pattern":
            check.has_pattern(rule.column, rule.value)
        case _:
            return False
    return True


if __name__ == "__main__":
    serve(prepare)
