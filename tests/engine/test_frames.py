from __future__ import annotations

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dagster_contracts.engine.frames import (
    convert_table,
    frame_columns,
    frame_kind,
    select_columns,
    to_arrow,
)

TABLE = pa.table({"a": pa.array([1, None], pa.int64()), "b c": ["x", "y"], "f": [1.0, 2.0]})


def test_columns_come_with_their_types_in_words(make, kind):
    found = dict(frame_columns(make(TABLE)))
    assert list(found) == ["a", "b c", "f"]
    assert found["b c"] == "String"
    assert found["f"] == "Float64"
    assert found["a"] == ("Float64" if kind in ("pandas", "pandas_objects") else "Int64")


def test_selecting_keeps_the_kind_and_the_order_asked_for(make, kind):
    data = make(TABLE)
    chosen = select_columns(data, ["f", "b c"])
    assert [name for name, _ in frame_columns(chosen)] == ["f", "b c"]
    if kind != "parquet":
        assert type(chosen) is type(data)
    with pytest.raises(KeyError, match="nope"):
        select_columns(data, ["nope"])


def test_every_kind_becomes_arrow_and_back(make):
    table = to_arrow(make(TABLE))
    assert table.column_names == ["a", "b c", "f"]
    assert table["b c"].to_pylist() == ["x", "y"]
    for to, kind in (
        (pd.DataFrame, "pandas"),
        ("polars", "polars"),
        (pl.LazyFrame, "polars_lazy"),
        (pa.Table, "pyarrow"),
    ):
        assert frame_kind(convert_table(table, to)) == kind


def test_the_index_of_pandas_is_left_out():
    frame = pd.DataFrame({"a": [1]}, index=pd.Index([9], name="i"))
    assert to_arrow(frame).column_names == ["a"]
    assert list(select_columns(frame, ["a"]).index) == [9]


def test_what_is_no_table_is_a_type_error():
    for thing in (None, 3, "text"):
        assert frame_kind(thing) is None
        with pytest.raises(TypeError):
            frame_columns(thing)
        with pytest.raises(TypeError):
            to_arrow(thing)
    with pytest.raises(TypeError):
        convert_table(TABLE, dict)
