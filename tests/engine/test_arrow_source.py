from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest

from dagster_contracts.engine import arrow_source
from dagster_contracts.engine.sources import open_scan
from dagster_contracts.engine.validation import validate
from tests.engine.builders import STRING, column, contract, failed_rows

TEXTS = ["a", None, "", "twelve bytes", "thirteen byte", "grüße " * 20, "日本語"] * 3


def read(table: pa.Table) -> pl.DataFrame:
    frame: pl.DataFrame = open_scan(table).frame.collect("polars").to_native()
    return frame


@pytest.mark.parametrize("dtype", [pa.string(), pa.large_string(), pa.string_view()])
def test_text_of_any_layout_is_the_same_text(dtype):
    column = pa.chunked_array(
        [pa.array(TEXTS, dtype), pa.array([], dtype), pa.array(TEXTS, dtype)[3:5]]
    )
    assert read(pa.table({"s": column}))["s"].to_list() == [*TEXTS, *TEXTS[3:5]]


def test_what_a_field_says_of_its_categories_is_kept():
    states = pl.Enum(["new", "paid"])
    frame = pl.DataFrame({"state": pl.Series(["new", None, "paid"], dtype=states), "s": ["a"] * 3})
    found = read(frame.to_arrow())
    assert found.schema == frame.schema
    assert found.equals(frame)


def test_few_chunks_stay_apart_and_very_many_are_joined():
    chunk = pa.array(["x"] * 20_000)
    large = pa.table({"s": pa.chunked_array([chunk] * 3)})
    assert read(large)["s"].n_chunks() == 3
    small = pa.table({"s": pa.chunked_array([["x"]] * 500)})
    assert read(small)["s"].n_chunks() == 1


def test_numbers_beside_text_share_their_memory():
    numbers = pa.array(range(5), pa.int64())
    found = read(pa.table({"s": ["a"] * 5, "n": numbers}))["n"]
    assert found.to_arrow().buffers()[1].address == numbers.buffers()[1].address


def test_threads_answer_in_order():
    rows = 60_000
    table = pa.table({f"c{n}": [str(n)] * rows for n in range(8)})
    made = contract(*(column(f"c{n}", STRING, enum=("3",)) for n in range(8)))
    counts = failed_rows(validate(table, made))
    assert counts == {f"c{n}.enum": rows for n in range(8) if n != 3}
    assert arrow_source.convert_each(range(50), lambda n: n * n, rows) == [n * n for n in range(50)]
