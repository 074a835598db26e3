"""Keys that repeat often: the same duplicates and samples by either way of finding them."""

from __future__ import annotations

import polars as pl
import pytest

from dagster_contracts.engine import keys
from dagster_contracts.engine.validation import validate
from tests.engine.builders import INTEGER, STRING, column, contract, failed_rows, outcome

MADE = contract(
    column("a", INTEGER, primary_key_position=1),
    column("b", STRING, primary_key_position=2),
    column("c", INTEGER, unique=True),
)


@pytest.mark.parametrize("most", [0, 1, 249, 250, 100_000])
def test_many_hashes_that_occur_again_change_nothing(monkeypatch, most):
    # 250 keys occur three times each, and 250 once; of c, each value but null twice.
    rows = [(n % 250, f"k{n % 250}", n // 2 if n < 600 else None) for n in range(750)]
    rows += [(n, "once", None) for n in range(250)]
    frame = pl.DataFrame(rows, schema=["a", "b", "c"], orient="row")
    monkeypatch.setattr(keys, "_MOST_HASHES", most)
    report = validate(frame, MADE, samples=6)
    assert failed_rows(report) == {"primary_key": 500, "c.unique": 300}
    assert outcome(report, "c.unique").rows_tested == 1000
    shown = [sample["c"] for sample in outcome(report, "c.unique").samples]
    assert shown == [0, 0, 1, 1, 2, 2]
    assert [sample["a"] for sample in outcome(report, "primary_key").samples] == [0, 1, 2] * 2
