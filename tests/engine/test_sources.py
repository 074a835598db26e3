from __future__ import annotations

from datetime import date

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    BOOLEAN,
    DATE,
    INTEGER,
    NUMBER,
    STRING,
    TIMESTAMP,
    column,
    contract,
    failed_rows,
    outcome,
)

FRAME = pl.DataFrame({"n": [1, -1, None], "s": ["a", "b", "c"], "day": [date(2024, 1, 1)] * 3})
MADE = contract(
    column("n", INTEGER, required=True, minimum=0), column("s", STRING), column("day", DATE)
)
EXPECTED = {"n.required": 1, "n.minimum": 1}


def test_paths_folders_and_globs_of_parquet(tmp_path):
    FRAME.head(2).write_parquet(tmp_path / "a.parquet")
    FRAME.tail(1).write_parquet(tmp_path / "b.parquet")
    for path in (tmp_path, str(tmp_path / "*.parquet"), str(tmp_path)):
        assert failed_rows(validate(path, MADE)) == EXPECTED
    assert failed_rows(validate(str(tmp_path / "a.parquet"), MADE)) == {"n.minimum": 1}


def test_a_partitioned_folder_has_its_partitions_as_columns(tmp_path):
    for s, rows in FRAME.group_by("s"):
        folder = tmp_path / f"s={s[0]}"
        folder.mkdir()
        rows.drop("s").write_parquet(folder / "rows.parquet")
    assert failed_rows(validate(tmp_path, MADE)) == EXPECTED


def test_a_file_system_that_only_fsspec_knows():
    with fsspec.open("memory://folder/rows.parquet", "wb") as opened:
        FRAME.write_parquet(opened)
    assert failed_rows(validate("memory://folder/rows.parquet", MADE)) == EXPECTED


def test_arrow_readers_batches_and_datasets(tmp_path):
    table = FRAME.to_arrow()
    for data in (
        table.to_reader(),
        table.combine_chunks().to_batches()[0],
        pyarrow.dataset.dataset(table),
    ):
        assert failed_rows(validate(data, MADE)) == EXPECTED


def test_json_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    FRAME.select("n", "s").write_ndjson(path)
    made = contract(column("n", INTEGER, required=True, minimum=0), column("s", STRING))
    assert failed_rows(validate(path, made)) == EXPECTED


def test_csv_is_text_that_is_read_as_the_contract_declares_it(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(
        "code,n,f,b,d,t,extra\n"
        "007,1,1.5,true,2024-01-01,2024-01-01T10:00:00,x\n"
        "008,x,,no,2024-13-01,yesterday,x\n"
        ",-3,2e3,FALSE,,2024-01-01 10:00:00+02:00,x\n"
    )
    made = contract(
        column("code", STRING, required=True, min_length=3),
        column("n", INTEGER, minimum=0),
        column("f", NUMBER, required=True),
        column("b", BOOLEAN),
        column("d", DATE),
        column("t", TIMESTAMP),
    )
    report = validate(path, made)
    assert failed_rows(report) == {
        "code.required": 1,
        "n.type": 1,
        "n.minimum": 1,
        "f.required": 1,
        "b.type": 1,
        "d.type": 1,
        "t.type": 1,
    }
    assert outcome(report, "n.type").samples == ({"row": 1, "n": "x"},)
    assert report.metrics["schema_validation_errors"] == pytest.approx(2 / 3)


def test_categories_are_text(tmp_path):
    frame = FRAME.with_columns(pl.col("s").cast(pl.Categorical))
    made = contract(column("s", STRING, pattern="^[ab]$", enum=("a",), max_length=1, unique=True))
    for data in (
        frame,
        frame.to_pandas(),
        frame.to_arrow(),
        FRAME.with_columns(pl.col("s").cast(pl.Enum(["a", "b", "c"]))),
    ):
        assert failed_rows(validate(data, made)) == {"s.pattern": 1, "s.enum": 2}


def test_three_hundred_columns_and_long_texts():
    frame = pl.DataFrame({f"c{i}": ["x" * 5000, None] for i in range(300)})
    made = contract(*(column(f"c{i}", STRING, required=True, max_length=4999) for i in range(300)))
    report = validate(frame, made, samples=1)
    assert len(report.failures()) == 600
    assert {o.status for o in report.outcomes} == {OutcomeStatus.FAILED, OutcomeStatus.PASSED}


def test_a_frame_without_columns_and_one_without_the_right_ones():
    for data in (pl.DataFrame(), pd.DataFrame(), pa.table({}), pd.DataFrame({"z": [1]})):
        report = validate(data, MADE)
        assert outcome(report, "n.present").status is OutcomeStatus.FAILED
        assert report.metrics["schema_validation_errors"] == 1
