"""pandera on a pandas frame: lazy, so that every rule is run and the failing values are listed."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pandas as pd
import pandera.errors
import pandera.pandas as pa

from benchmarks.peers.pandera_check import own_check
from benchmarks.peers.worker import Peer, Rule, serve


def prepare(path: Path, rules: list[Rule]) -> Peer:
    """Columns with pandera's own checks; multiples and the expression as functions."""
    frame = pd.read_parquet(path)
    checks: dict[str, list[pa.Check]] = {name: [] for name in frame.columns}
    required, unique, whole = set(), set(), []
    for rule in rules:
        match rule.kind:
            case "required":
                required.add(rule.column)
            case "unique":
                unique.add(rule.column)
            case "expression":
                whole.append(
                    pa.Check(
                        lambda table: ~(table["shipped_at"] < table["created_at"]),
                        name=rule.name,
                        error=rule.name,
                    )
                )
            case "multiple_of":
                checks[rule.column].append(
                    pa.Check(
                        lambda column, divisor=rule.value: column % divisor == 0,
                        name=rule.name,
                        error=rule.name,
                    )
                )
            case _:
                checks[rule.column].append(own_check(pa.Check, rule))
    schema = pa.DataFrameSchema(
        {
            name: pa.Column(
                checks=found,
                nullable=name not in required,
                unique=name in unique,
                report_duplicates="exclude_first",
            )
            for name, found in checks.items()
        },
        checks=whole,
    )
    keys = {rule.column: rule.name for rule in rules if rule.kind == "unique"}
    return Peer(lambda: _failures(schema, frame), lambda found: _counts(found, keys))


def _failures(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame | None:
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        return errors.failure_cases
    return None


def _counts(found: pd.DataFrame | None, keys: dict[str, str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    if found is None:
        return counts
    for (column, check), rows in found.groupby(["column", "check"])["index"].nunique().items():
        if check == "not_nullable":
            counts[f"{column}.required"] += int(rows)
        elif check == "field_uniqueness":
            counts[keys[column]] += int(rows)
        else:
            # A check of the whole frame is listed once for each of its columns.
            counts[check] = max(counts[check], int(rows))
    return counts


if __name__ == "__main__":
    serve(prepare)
