"""Great Expectations on a pandas frame, in memory: counts and some of the failing values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

from benchmarks.peers.worker import Peer, Rule, serve


def prepare(path: Path, rules: list[Rule]) -> Peer:
    """One expectation for each rule; there is none for multiples."""
    frame = pd.read_parquet(path)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("orders")
    definition = asset.add_batch_definition_whole_dataframe("whole")
    made = [(rule, _expectation(rule)) for rule in rules]
    suite = gx.ExpectationSuite("orders", expectations=[found for _, found in made if found])
    # BASIC: counts and up to twenty of the failing values.
    shown = {"result_format": "BASIC"}

    def run() -> Any:
        batch = definition.get_batch(batch_parameters={"dataframe": frame})
        return batch.validate(suite, result_format=shown)

    return Peer(run, _counts, [rule.name for rule, found in made if found is None])


def _expectation(rule: Rule) -> Any:
    named = {"meta": {"rule": rule.name}}
    column = {"column": rule.column, **named}
    match rule.kind:
        case "required":
            return gxe.ExpectColumnValuesToNotBeNull(**column)
        case "unique":
            return gxe.ExpectColumnValuesToBeUnique(**column)
        case "enum":
            return gxe.ExpectColumnValuesToBeInSet(value_set=rule.value, **column)
        case "minimum":
            return gxe.ExpectColumnValuesToBeBetween(min_value=rule.value, **column)
        case "maximum":
            return gxe.ExpectColumnValuesToBeBetween(max_value=rule.value, **column)
        case "exclusive_minimum":
            return gxe.ExpectColumnValuesToBeBetween(
                min_value=rule.value, strict_min=True, **column
            )
        case "exclusive_maximum":
            return gxe.ExpectColumnValuesToBeBetween(
                max_value=rule.value, strict_max=True, **column
            )
        case "min_length":
            return gxe.ExpectColumnValueLengthsToBeBetween(min_value=rule.value, **column)
        case "max_length":
            return gxe.ExpectColumnValueLengthsToBeBetween(max_value=rule.value, **column)
        case "pattern":
            return gxe.ExpectColumnValuesToMatchRegex(regex=rule.value, **column)
        case "expression":
            return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A="shipped_at", column_B="created_at", or_equal=True, **named
            )
        case _:
            return None


def _counts(result: Any) -> dict[str, int]:
    return {
        found.expectation_config.meta["rule"]: found.result["unexpected_count"]
        for found in result.results
    }


if __name__ == "__main__":
    serve(prepare)
