"""Dagster types made of contracts."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pytest

from dagster_contracts import dagster_type
from tests.engine.builders import INTEGER, NUMBER, column, contract

MADE = contract(
    column("id", INTEGER, required=True, unique=True), column("amount", NUMBER, minimum=0)
)


@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_a_frame_that_breaks_the_contract_fails_in_words(backend: str) -> None:
    frame: Any = pd.DataFrame if backend == "pandas" else pl.DataFrame
    kind = dagster_type(MADE, backend=backend)
    assert kind.typing_type is frame
    good = dg.check_dagster_type(kind, frame({"id": [1, 2], "amount": [0.0, None]}))
    assert good.success, good.description
    bad = dg.check_dagster_type(kind, frame({"id": [1, 1], "amount": [-1.0, -2.0]}))
    assert not bad.success
    assert (
        bad.description == "the frame breaks orders@1.0.0: amount.minimum 2 rows, id.unique 1 row"
    )
    other = dg.check_dagster_type(kind, [1])
    assert other.description == f"a {backend} DataFrame is expected, not list"
    schema = kind.metadata["dagster/column_schema"].value
    assert [c.name for c in schema.columns] == ["id", "amount"]


def test_an_op_refuses_what_its_output_does_not_keep() -> None:
    @dg.op(out=dg.Out(dagster_type(MADE, "orders", name="Orders")))
    def read() -> pd.DataFrame:
        return pd.DataFrame({"amount": [1.0]})

    @dg.job
    def reading() -> None:
        read()

    result = reading.execute_in_process(raise_on_error=False)
    assert not result.success
    assert "the column id is missing" in str(result.failure_data_for_node("read").error)


def test_an_unknown_object_is_named() -> None:
    with pytest.raises(LookupError, match="has no object 'lines'; it has orders"):
        MADE.to_pandera("lines")
    assert set(MADE.to_pandera(backend="polars").columns) == {"id", "amount"}
