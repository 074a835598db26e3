"""The contract as a pandera schema, and pandera as a second judge of the engine's counts."""

from __future__ import annotations

import math
from decimal import Decimal

import pandas as pd
import pandera.errors
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_contracts.core.contract import ExtraColumns
from dagster_contracts.engine.pandera import to_pandera
from dagster_contracts.engine.validation import validate
from tests.engine.builders import INTEGER, NUMBER, STRING, column, contract, failed_rows

MADE = contract(
    column("i", INTEGER, required=True, minimum=0, exclusive_maximum=5, unique=True),
    column("f", NUMBER, maximum=2, exclusive_minimum=-1),
    column("s", STRING, required=True, pattern="^a", min_length=1, max_length=3, enum=("a", "ab")),
)
BACKENDS = {"pandas": lambda table: table.to_pandas(), "polars": pl.DataFrame}


def by_pandera(schema, frame) -> dict[str, int]:
    """Rule and number of failing rows, as pandera counts them."""
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        rows = cases.to_dicts() if isinstance(cases, pl.DataFrame) else cases.to_dict("records")
        found: dict[str, set] = {}
        for row in rows:
            name = "required" if row["check"] == "not_nullable" else row["check"]
            label = f"{row['column']}.required" if name == "required" else name
            found.setdefault(label, set()).add(row["index"])
        return {name: len(numbers) for name, numbers in found.items()}
    return {}


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.integers(-2, 7),
            st.none() | st.sampled_from([-1.0, 0.5, 2.0, 2.5]),
            st.none() | st.sampled_from(["", "a", "ab", "abc", "abcd", "b"]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_pandera_counts_what_the_engine_counts(backend, rows):
    table = pa.table(
        {
            "i": pa.array([row[0] for row in rows], pa.int64()),
            "f": pa.array([row[1] for row in rows], pa.float64()),
            "s": pa.array([row[2] for row in rows], pa.string()),
        }
    )
    frame = BACKENDS[backend](table)
    counted = by_pandera(to_pandera(MADE, backend=backend), frame)
    assert counted == failed_rows(validate(frame, MADE))


def test_types_are_tested_as_the_contract_means_them():
    schema = to_pandera(contract(column("n", INTEGER), column("s", STRING)))
    schema.validate(pd.DataFrame({"n": [1.0, None], "s": ["a", None]}))
    schema.validate(pd.DataFrame({"n": pd.array([1, None], dtype="Int32"), "s": ["a", "b"]}))
    for wrong in ({"n": [1.5], "s": ["a"]}, {"n": [1], "s": [2]}):
        with pytest.raises(pandera.errors.SchemaErrors):
            schema.validate(pd.DataFrame(wrong), lazy=True)
    lazy = to_pandera(contract(column("n", INTEGER)), backend="polars")
    with pytest.raises(pandera.errors.SchemaErrors):
        lazy.validate(pl.DataFrame({"n": [1.0]}), lazy=True)


@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_nan_is_missing_and_passes_every_test_of_values(backend):
    made = contract(
        column("f", NUMBER, enum=(1, 2), minimum=1, maximum=2, multiple_of=Decimal(1), unique=True)
    )
    table = pa.table({"f": pa.array([1.0, math.nan, None, math.nan], from_pandas=False)})
    frame = BACKENDS[backend](table)
    assert failed_rows(validate(frame, made)) == {}
    to_pandera(made, backend=backend).validate(frame, lazy=True)
    worse = BACKENDS[backend](pa.table({"f": pa.array([3.5, math.nan, 3.5], from_pandas=False)}))
    with pytest.raises(pandera.errors.SchemaErrors):
        to_pandera(made, backend=backend).validate(worse, lazy=True)


def test_extra_columns_and_what_is_left_out():
    made = contract(column("a", STRING, pattern="(?i)x"), extra_columns=ExtraColumns.FORBID)
    schema = to_pandera(made)
    assert schema.metadata["left_out"] == ["a.pattern", "extra_columns"]
    with pytest.raises(pandera.errors.SchemaErrors):
        schema.validate(pd.DataFrame({"a": ["x"], "b": [1]}), lazy=True)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="pandas or polars"):
        to_pandera(MADE, backend="spark")
