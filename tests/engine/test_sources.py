from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pytest

from dagster_contracts.core.contract import LibraryMetric
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.sql_table import SqlTable
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
    library,
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
        ",-3,2e3,FALSE,,2024-01-01 10:00:00,x\n"
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


def test_partitions_are_read_as_the_contract_declares_them(tmp_path):
    for code, day in (("007", "2024-01-01"), ("008", "2024-01-02")):
        folder = tmp_path / f"code={code}" / f"day={day}"
        folder.mkdir(parents=True)
        pl.DataFrame({"n": [1, -1]}).write_parquet(folder / "rows.parquet")
    made = contract(
        column("n", INTEGER, minimum=0),
        column("code", STRING, enum=("007",)),
        column("day", DATE, maximum=date(2024, 1, 1)),
    )
    expected = {"n.minimum": 2, "code.enum": 2, "day.maximum": 2}
    for path in (tmp_path, tmp_path / "**" / "*.parquet"):
        assert failed_rows(validate(path, made)) == expected


def test_csv_in_a_folder_by_glob_and_compressed(tmp_path):
    (tmp_path / "a.csv").write_text("n,s\n1,a\n-1,b\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"n,s\n,c\n"))
    made = contract(column("n", INTEGER, required=True, minimum=0), column("s", STRING))
    for path in (tmp_path, f"{tmp_path}/*.csv*"):
        assert failed_rows(validate(path, made)) == EXPECTED


def test_json_has_times_where_the_contract_says_so(tmp_path):
    rows = [
        {"n": 1, "at": "2024-01-01T10:00:00Z", "o": {"a": 1}},
        {"n": None, "at": "soon", "o": None},
    ]
    made = contract(
        column("n", INTEGER, required=True),
        column("at", TIMESTAMP, minimum=datetime(2025, 1, 1, tzinfo=UTC)),
    )
    (tmp_path / "array.json").write_text(json.dumps(rows))
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "lines.jsonl.gz").write_bytes(
        gzip.compress("\n".join(map(json.dumps, rows)).encode())
    )
    for path in tmp_path.iterdir():
        report = validate(path, made)
        assert failed_rows(report) == {"n.required": 1, "at.type": 1, "at.minimum": 1}, path
        assert outcome(report, "at.type").samples == ({"row": 1, "at": "soon"},)


def test_json_whose_later_rows_are_of_another_type(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"n": n}) for n in [*range(5000), 1.5]))
    assert (
        outcome(validate(path, contract(column("n", INTEGER))), "n.type").status.value == "failed"
    )


def test_arrow_files_and_streams(tmp_path):
    table = FRAME.to_arrow()
    FRAME.write_ipc(tmp_path / "file.arrow")
    FRAME.write_ipc_stream(tmp_path / "stream.arrow")
    pyarrow.feather.write_feather(table, tmp_path / "rows.feather")
    for path in tmp_path.iterdir():
        assert failed_rows(validate(path, MADE)) == EXPECTED, path


def test_globs_and_partitioned_folders_that_only_fsspec_knows():
    for s, rows in FRAME.group_by("s"):
        with fsspec.open(f"memory://parts/s={s[0]}/rows.parquet", "wb") as opened:
            rows.drop("s").write_parquet(opened)
        with fsspec.open(f"memory://flat/{s[0]}.csv", "wb") as opened:
            rows.write_csv(opened)
    assert failed_rows(validate("memory://parts/", MADE)) == EXPECTED
    assert failed_rows(validate("memory://flat/*.csv", MADE)) == EXPECTED


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nosuch://a/b.parquet", "no file system is known for nosuch"),
        ("memory://nowhere/b.parquet", "there is no file memory://nowhere/b.parquet"),
    ],
)
def test_places_that_cannot_be_read_say_why(url, said):
    report = validate(url, MADE)
    assert outcome(report, "schema").status is OutcomeStatus.FAILED
    assert said in (outcome(report, "schema").reason or "")


def test_a_file_system_that_is_not_installed_is_named():
    from fsspec.registry import get_filesystem_class, known_implementations

    for scheme in sorted(known_implementations):
        try:
            get_filesystem_class(scheme)
        except ImportError:
            if scheme in ("s3", "gs", "gcs", "az", "abfs", "http", "https"):
                continue
            report = validate(f"{scheme}://host/rows.parquet", MADE)
            assert f"{scheme}:// needs another package" in (outcome(report, "schema").reason or "")
            return
    pytest.skip("every file system is installed")


def test_a_reader_is_read_whole_and_once():
    reader = FRAME.to_arrow().to_reader(max_chunksize=1)
    assert failed_rows(validate(reader, MADE)) == EXPECTED
    again = validate(reader, MADE)
    assert "read to its end before" in (outcome(again, "schema").reason or "")
    assert again.rows is None


def test_two_columns_of_one_name_are_refused():
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["n", "n"])
    for data in (table, pd.DataFrame([[1, 2]], columns=["n", "n"])):
        report = validate(data, MADE)
        assert outcome(report, "schema").reason == "the column 'n' occurs more than once"


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.tsv"])
def test_a_csv_file_that_names_a_column_twice_is_refused(tmp_path, name):
    path = tmp_path / name
    text = 'n,s,"n"\n1,a,x\n' if name != "rows.tsv" else "n\ts\tn\n1\ta\tx\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    report = validate(path, contract(column("n", INTEGER), column("s", STRING)))
    assert outcome(report, "schema").reason == "the column 'n' occurs more than once"


def test_a_csv_column_may_have_a_name_like_that_of_a_second_one(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("\ufeffn,n_duplicated_0\n1,-1\n")
    made = contract(column("n", INTEGER), column("n_duplicated_0", INTEGER, minimum=0))
    assert failed_rows(validate(path, made)) == {"n_duplicated_0.minimum": 1}


def test_the_index_of_pandas_is_left_alone():
    frame = FRAME.to_pandas().set_index(pd.Index([7, 7, 8], name="n2"))
    before = frame.copy()
    assert failed_rows(validate(frame, MADE)) == EXPECTED
    pd.testing.assert_frame_equal(frame, before)


def as_text_in(path, values):
    path.write_text("n,at\n" + "".join(f"{n or ''},{at or ''}\n" for n, at in values))
    return path


def as_lines_of_json(path, values):
    path = path.with_suffix(".jsonl")
    path.write_text("\n".join(json.dumps({"n": n, "at": at}) for n, (_, at) in enumerate(values)))
    return path


def as_sqlite(path, values):
    with closing(sqlite3.connect(path.with_suffix(".db"))) as connection:
        connection.execute("CREATE TABLE t (n INTEGER, at TIMESTAMP)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", values)
        connection.commit()
    return SqlTable(f"sqlite:///{path.with_suffix('.db')}", "t")


@pytest.mark.parametrize("held", [as_text_in, as_lines_of_json, as_sqlite])
def test_what_cannot_be_read_as_its_type_breaks_the_type_and_is_not_missing(tmp_path, held):
    data = held(
        tmp_path / "rows.csv",
        [("x", "soon"), (1, "2024-01-01T10:00:00"), (None, None), ("y", "2025-13-01")],
    )
    bound = datetime(2024, 1, 1)  # noqa: DTZ001 - as it is written in the data
    made = contract(
        column("n", INTEGER, required=True, unique=True),
        column("at", TIMESTAMP, required=True, minimum=bound),
        quality=(library("nulls", LibraryMetric.NULL_VALUES, "at"),),
    )
    report = validate(data, made)
    of_n = {"n.type": 2, "n.required": 1} if held is not as_lines_of_json else {}
    assert failed_rows(report) == {
        **of_n,
        "at.type": 2,
        "at.required": 1,
        "nulls": 1,
    }
    assert report.metrics["null_ratio.at"] == pytest.approx(1 / 4)
    assert report.metrics["schema_validation_errors"] == pytest.approx(3 / 4)
    assert len(outcome(report, "at.required").samples) == 1


def test_a_column_that_polars_cannot_hold_costs_no_other():
    wide = pa.array([Decimal(1), None], pa.decimal256(50, 2))
    table = pa.table({"wide": wide, "n": [1, -1]})
    made = contract(
        column("wide", NUMBER, required=True, minimum=0), column("n", INTEGER, minimum=0)
    )
    report = validate(table, made)
    assert failed_rows(report) == {"n.minimum": 1, "wide.required": 1}
    assert outcome(report, "wide.present").status is OutcomeStatus.PASSED
    found = outcome(report, "wide.minimum")
    assert found.status is OutcomeStatus.NOT_EVALUATED
    assert "decimal256(50, 2)" in (found.reason or "")
    again = validate(table.select(["n", "wide"]).to_reader(), made)
    assert failed_rows(again) == {"n.minimum": 1, "wide.required": 1}
