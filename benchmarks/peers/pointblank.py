"""pointblank on a polars frame: one step for each rule, the first failing rows of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pointblank as pb
import polars as pl

from benchmarks.peers.worker import Peer, Rule, serve


def prepare(path: Path, rules: list[Rule]) -> Peer:
    """A plan with one step for each rule, made anew for each run, as its plans run once."""
    frame = pl.read_parquet(path)

    def run() -> Any:
        plan = pb.Validate(data=frame)
        for rule in rules:
            plan = _step(plan, rule)
        return plan.interrogate(get_first_n=5, collect_tbl_checked=False)

    def counts(found: Any) -> dict[str, int]:
        failed = found.n_failed()
        return {rule.name: failed[number] for number, rule in enumerate(rules, start=1)}

    return Peer(run, counts)


def _step(plan: Any, rule: Rule) -> Any:
    where = {"columns": rule.column, "na_pass": True}
    match rule.kind:
        case "required":
            return plan.col_vals_not_null(columns=rule.column)
        case "unique":
            return plan.rows_distinct(columns_subset=[rule.column])
        case "enum":
            return plan.col_vals_expr(
                pl.col(rule.column).is_in(rule.value) | pl.col(rule.column).is_null()
            )
        case "minimum":
            return plan.col_vals_ge(value=rule.value, **where)
        case "maximum":
            return plan.col_vals_le(value=rule.value, **where)
        case "exclusive_minimum":
            return plan.col_vals_gt(value=rule.value, **where)
        case "exclusive_maximum":
            return plan.col_vals_lt(value=rule.value, **where)
        case "min_length":
            return plan.col_vals_str_len(min_val=rule.value, **where)
        case "max_length":
            return plan.col_vals_str_len(max_val=rule.value, **where)
        case "pattern":
            return plan.col_vals_regex(pattern=rule.value, **where)
        case "multiple_of":
            return plan.col_vals_expr(pl.col(rule.column) % rule.value == 0)
        case "expression":
            return plan.col_vals_expr(~(pl.col("shipped_at") < pl.col("created_at")))
        case _:
            raise ValueError(rule.kind)


if __name__ == "__main__":
    serve(prepare)
