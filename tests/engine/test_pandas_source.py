from __future__ import annotations

import math
import pickle
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from dagster_contracts.engine.frames import frame_columns
from dagster_contracts.engine.sources import open_scan
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    column,
    contract,
    failed_rows,
    outcome,
)

MANY = 12_000
"""Enough rows for objects to be looked at by their address."""


def converted(values: object) -> pl.Series:
    frame = open_scan(pd.DataFrame({"v": values})).frame.collect("polars").to_native()
    series: pl.Series = frame["v"]
    return series


def missing_in(values: list[object]) -> int:
    return sum(1 for value in values if value is None or value is pd.NA or value != value)


@pytest.mark.parametrize("gap", [None, math.nan, pd.NA, pd.NaT])
@pytest.mark.parametrize(
    "pool",
    [
        [True, False],
        ["a", "b", "a text of more than twelve bytes"],
        [f"word {number}" for number in range(40)],
        [Decimal("1.50"), Decimal("-2")],
        [date(2024, 2, 29), date(1970, 1, 1)],
        [1, 2**53 + 1],
    ],
    ids=["bool", "text", "words", "decimal", "date", "integer"],
)
def test_columns_that_repeat_a_few_objects_keep_each_in_its_row(pool, gap):
    chosen = np.random.default_rng(5).integers(0, len(pool) + 1, MANY)
    values = [[*pool, gap][place] for place in chosen]
    values[777] = rare = pickle.loads(pickle.dumps(pool[-1]))  # equal, in another place
    series = converted(pd.Series(values, dtype=object))
    expected = [None if place == len(pool) else pool[place] for place in chosen]
    expected[777] = rare
    assert series.to_list() == expected
    assert series.null_count() == missing_in(values)


def test_an_object_that_is_seen_once_is_not_lost():
    texts = ["a", "b"] * (MANY // 2)
    texts[31] = "a text that no sample of a thousand finds"
    made = contract(column("s", STRING, enum=("a", "b"), required=True))
    frame = pd.DataFrame({"s": pd.Series(texts, dtype=object)})
    report = validate(frame, made)
    assert failed_rows(report) == {"s.enum": 1}
    assert outcome(report, "s.enum").samples[0]["s"] == texts[31]


def test_objects_that_are_all_different_are_counted_as_they_are():
    texts = [None if n % 7 == 0 else math.nan if n % 11 == 0 else f"t{n}" for n in range(MANY)]
    frame = pd.DataFrame({"s": pd.Series(texts, dtype=object)})
    made = contract(column("s", STRING, required=True, pattern="^t[0-9]*3$"))
    known = [text for text in texts if isinstance(text, str)]
    assert failed_rows(validate(frame, made)) == {
        "s.required": MANY - len(known),
        "s.pattern": sum(not text.endswith("3") for text in known),
    }


@pytest.mark.parametrize(
    "odd",
    [["a", b"b"], [b"a", "b"], [math.nan, "a", b"b"], ["a", 1], [1, "a"], [True, "a"], [{}, 1]],
    ids=str,
)
def test_an_odd_column_of_objects_concerns_itself_alone(odd):
    rows = len(odd)
    frame = pd.DataFrame(
        {"odd": pd.Series(odd, dtype=object), "s": ["ab"] * rows, "f": [-0.5] * rows}
    )
    made = contract(
        column("odd", STRING, max_length=1),
        column("s", STRING, max_length=1),
        column("f", NUMBER, minimum=0),
    )
    report = validate(frame, made)
    assert outcome(report, "odd.type").reason == "odd holds mixed objects, not string"
    assert failed_rows(report) == {
        "odd.type": rows,
        "odd.max_length": rows,
        "s.max_length": rows,
        "f.minimum": rows,
    }


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Vienna"])
def test_moments_are_the_same_with_and_without_gaps(unit, zone, gaps):
    moments = pd.Series(
        pd.to_datetime(["2024-03-31T01:59:59", "1969-12-31T00:00:00", "2024-10-27T12:00:00"])
    )
    moments = moments.dt.tz_localize(zone).dt.as_unit(unit)
    if gaps:
        moments[1] = pd.NaT
    series = converted(moments)
    assert series.to_list() == [None if m is pd.NaT else m.to_pydatetime() for m in moments]
    assert series.dtype == pl.Datetime("ms" if unit == "s" else unit, zone)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "Float64", "double[pyarrow]", ">f8"])
def test_floats_are_the_same_with_and_without_gaps(dtype, gaps):
    values = [1.5, -math.inf, math.nan if gaps else 0.0, math.inf]
    series = converted(pd.Series(values).astype(dtype))
    plain = [1.5, -math.inf, None if gaps else 0.0, math.inf]
    assert [None if value != value else value for value in series.to_list()] == plain


def test_numbers_are_shared_and_not_copied():
    frame = pd.DataFrame({"f": np.arange(5.0), "n": np.arange(5)})
    found = open_scan(frame).frame.collect("polars").to_native()
    for name in ("f", "n"):
        assert np.shares_memory(found[name].to_numpy(), frame[name].to_numpy()), name


def test_columns_of_every_other_row_are_read_in_step():
    frame = pd.DataFrame(np.arange(12.0).reshape(6, 2), columns=["a", "b"])[::2]
    assert open_scan(frame).frame.collect("polars").to_native().to_dict(as_series=False) == {
        "a": [0.0, 4.0, 8.0],
        "b": [1.0, 5.0, 9.0],
    }


def sparse() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": pd.arrays.SparseArray([0, 0, -3, 0]),
            "f": pd.arrays.SparseArray([math.nan, 2.5, math.nan, 4.0]),
            "b": pd.arrays.SparseArray([False, True, False, False]),
            "s": pd.arrays.SparseArray(np.array([None, "x", None, "yy"], dtype=object)),
        }
    )


def test_sparse_columns_are_measured_like_dense_ones():
    made = contract(
        column("n", INTEGER, minimum=0, unique=True),
        column("f", INTEGER, required=True, maximum=3),
        column("b", BOOLEAN, enum=(False,)),
        column("s", STRING, required=True, max_length=1),
    )
    counts = failed_rows(validate(sparse(), made))
    assert counts == {
        "n.minimum": 1,
        "n.unique": 2,
        "f.type": 1,
        "f.required": 2,
        "f.maximum": 1,
        "b.enum": 1,
        "s.required": 2,
        "s.max_length": 1,
    }
    dense = pd.DataFrame({name: np.asarray(held) for name, held in sparse().items()})
    assert counts == failed_rows(validate(dense, made))


def test_a_sparse_column_that_no_rule_names_has_its_type():
    types = dict(frame_columns(sparse()))
    assert types == {"n": "Int64", "f": "Float64", "b": "Boolean", "s": "String"}


@pytest.mark.parametrize("values", [["a", "b", None, "a"], [3, 1, None, 3]])
def test_categories_are_their_values(values):
    series = converted(pd.Series(pd.Categorical(values)))
    assert series.to_list() == values
