"""pandera on a polars frame: lazy, so that every rule is run and the failing values are listed."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pandera.errors
import pandera.polars as pa
import polars as pl

from benchmarks.peers.pandera_check import own_check
from benchmarks.peers.worker import Peer, Rule, serve


def prepare(path: Path, rules: list[Rule]) -> Peer:
    """Columns with pandera's own checks; multiples, keys and the expression as functions."""
    frame = pl.read_parquet(path)
    checks: dict[str, list[pa.Check]] = {name: [] for name in frame.columns}
    required, whole = set(), []
    for rule in rules:
        match rule.kind:
            case "required":
                required.add(rule.column)
            case "unique":
                checks[rule.column].append(_own(rule, pl.col(rule.column).is_first_distinct()))
            case "expression":
                whole.append(_own(rule, ~(pl.col("shipped_at") < pl.col("created_at"))))
            case "multiple_of":
                checks[rule.column].append(_own(rule, pl.col(rule.column) % rule.value == 0))
            case _:
                checks[rule.column].append(own_check(pa.Check, rule))
    schema = pa.DataFrameSchema(
        {
            name: pa.Column(checks=found, nullable=name not in required)
            for name, found in checks.items()
        },
        checks=whole,
    )
    return Peer(lambda: _failures(schema, frame), _counts)


def _own(rule: Rule, expression: pl.Expr) -> pa.Check:
    return pa.Check(lambda data: data.lazyframe.select(expression), name=rule.name, error=rule.name)


def _failures(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> pl.DataFrame | None:
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        return errors.failure_cases
    return None


def _counts(found: pl.DataFrame | None) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    if found is None:
        return counts
    for column, check, rows in found.group_by("column", "check").len().iter_rows():
        counts[f"{column}.required" if check.startswith("not_null") else check] += rows
    return counts


if __name__ == "__main__":
    serve(prepare)
