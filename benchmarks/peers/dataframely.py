"""dataframely on a polars frame: a filter, its counts and some of the failing rows."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from benchmarks.peers.worker import Peer, Rule, serve

_TYPES = {
    pl.Int64: dy.Int64,
    pl.Float64: dy.Float64,
    pl.String: dy.String,
    pl.Boolean: dy.Bool,
    pl.Datetime: dy.Datetime,
}


def prepare(path: Path, rules: list[Rule]) -> Peer:
    """A schema class; what its columns have no option for is a check of theirs."""
    frame = pl.read_parquet(path)
    members: dict[str, Any] = {}
    by_name: dict[str, str] = {}
    for name, dtype in frame.schema.items():
        options: dict[str, Any] = {"nullable": True}
        checks: dict[str, Any] = {}
        for rule in (rule for rule in rules if rule.column == name):
            option = _option(rule)
            if option is None:
                key = rule.name.replace(".", "_")
                checks[key] = _test(rule)
                by_name[f"{name}|check__{key}"] = rule.name
            else:
                kind, value, reported = option
                options[kind] = value
                by_name[f"{name}|{reported}"] = rule.name
        if dtype == pl.Float64:
            # A NaN is a missing value, and only for columns that are required a failure.
            options["allow_nan"] = options["nullable"]
            by_name[f"{name}|nan"] = f"{name}.required"
        members[name] = _TYPES[dtype.base_type()](**options, check=checks or None)
    for rule in (rule for rule in rules if rule.kind == "expression"):
        members[rule.name] = dy.rule()(lambda _: pl.col("shipped_at") >= pl.col("created_at"))
        by_name[rule.name] = rule.name
    schema = type("Orders", (dy.Schema,), members)

    def run() -> dict[str, int]:
        failure = schema.filter(frame).failure  # type: ignore[attr-defined]
        counts = failure.counts()
        details = failure.details()
        for name in counts:
            details.filter(pl.col(name) == "invalid").head(5)
        return counts

    def counts(found: dict[str, int]) -> dict[str, int]:
        failed: dict[str, int] = defaultdict(int)
        for name, rows in found.items():
            failed[by_name[name]] += rows
        return failed

    return Peer(run, counts)


def _option(rule: Rule) -> tuple[str, Any, str] | None:
    """The option of the column, its value, and the name under which it is reported."""
    match rule.kind:
        case "required":
            return "nullable", False, "nullability"
        case "minimum" | "maximum":
            return rule.kind[:3], rule.value, rule.kind[:3]
        case "exclusive_minimum" | "exclusive_maximum":
            reported = f"{rule.kind[10:13]}_exclusive"
            return reported, rule.value, reported
        case "min_length" | "max_length":
            return rule.kind, rule.value, rule.kind
        case "pattern":
            return "regex", rule.value, "regex"
        case "unique":
            return "unique", True, "unique"
        case _:
            return None


def _test(rule: Rule) -> Any:
    if rule.kind == "enum":
        return lambda column: column.is_in(rule.value)
    if rule.kind == "multiple_of":
        return lambda column: column % rule.value == 0
    raise ValueError(rule.kind)


if __name__ == "__main__":
    serve(prepare)
