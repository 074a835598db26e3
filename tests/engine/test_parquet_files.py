"""Files of one folder that differ: each difference concerns the rules of its column alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from dagster_contracts.core.contract import ExtraColumns
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    INTEGER,
    NUMBER,
    STRING,
    column,
    contract,
    failed_rows,
    outcome,
)

MADE = contract(
    column("a", INTEGER, minimum=0),
    column("f", NUMBER, minimum=0),
    column("s", STRING, required=True),
    extra_columns=ExtraColumns.FORBID,
)
ROWS: dict[str, Any] = {"a": [1, -1], "f": [1.5, -1.5], "s": ["x", None]}
SOUND = {"a.minimum": 1, "f.minimum": 1, "s.required": 1}


def written(folder: Path, *frames: pl.DataFrame) -> Path:
    for number, frame in enumerate(frames, 1):
        frame.write_parquet(folder / f"{number}.parquet")
    return folder


@pytest.mark.parametrize("reverse", [False, True])
def test_narrower_types_are_read_as_the_widest(tmp_path, reverse):
    frame = pl.DataFrame(ROWS)
    narrow = frame.with_columns(a=pl.col("a").cast(pl.Int16), f=pl.col("f").cast(pl.Int32))
    frames = [frame, narrow.select("s", "f", "a")]
    path = written(tmp_path, *(reversed(frames) if reverse else frames))
    for place in (path, f"{path}/*.parquet"):
        report = validate(place, MADE)
        assert failed_rows(report) == {name: 2 * count for name, count in SOUND.items()}


def test_a_column_that_one_file_lacks_is_missing_there_and_null(tmp_path):
    frame = pl.DataFrame(ROWS)
    path = written(tmp_path, frame.drop("s"), frame)
    report = validate(path, MADE)
    assert outcome(report, "s.present").reason == "the column s is missing in 1.parquet"
    assert failed_rows(report) == {"a.minimum": 2, "f.minimum": 2, "s.required": 3, "s.present": 4}


def test_types_that_have_nothing_in_common_break_the_rules_of_their_column(tmp_path):
    frame = pl.DataFrame(ROWS)
    path = written(tmp_path, frame, frame.with_columns(a=pl.lit("q")), frame)
    report = validate(path, MADE)
    reason = "a holds Int64 in 1.parquet, 3.parquet and String in 2.parquet, not integer"
    assert outcome(report, "a.type").reason == reason
    assert outcome(report, "a.minimum").reason == reason
    assert failed_rows(report) == {"a.type": 6, "a.minimum": 6, "f.minimum": 3, "s.required": 3}


def test_a_column_that_one_file_has_more_is_one_too_many(tmp_path):
    frame = pl.DataFrame(ROWS)
    report = validate(written(tmp_path, frame, frame.with_columns(z=1)), MADE)
    assert outcome(report, "extra_columns").reason == "not in the contract: z"
    assert outcome(report, "extra_columns").status is OutcomeStatus.FAILED


def test_partitions_of_unlike_files_keep_their_text(tmp_path):
    frame = pl.DataFrame(ROWS)
    for code, rows in (("007", frame), ("008", frame.with_columns(a=pl.col("a").cast(pl.Int8)))):
        folder = tmp_path / f"code={code}"
        folder.mkdir()
        rows.write_parquet(folder / "rows.parquet")
    made = contract(column("a", INTEGER, minimum=0), column("code", STRING, enum=("007",)))
    for place in (tmp_path, tmp_path / "**" / "*.parquet"):
        assert failed_rows(validate(place, made)) == {"a.minimum": 2, "code.enum": 2}


def test_a_file_without_any_value_in_a_column_is_of_every_type(tmp_path):
    frame = pl.DataFrame(ROWS)
    report = validate(written(tmp_path, frame.with_columns(a=None, s=None), frame), MADE)
    assert failed_rows(report) == {"a.minimum": 1, "f.minimum": 2, "s.required": 3}


def test_files_of_different_kinds_in_one_place_are_refused(tmp_path):
    frame = pl.DataFrame(ROWS)
    path = written(tmp_path, frame)
    inner = tmp_path / "day=1"
    inner.mkdir()
    frame.write_csv(inner / "2.csv")
    (tmp_path / "notes.txt").write_text("of no kind")
    remote = fsspec.filesystem("memory")
    remote.put(str(tmp_path), "/mixed", recursive=True)
    for place in (str(path), f"{path}/**/*", "memory://mixed"):
        report = validate(place, MADE)
        assert report.rows is None
        reason = outcome(report, "schema").reason
        assert f"{place} holds files of different kinds: 2.csv and 1.parquet" in reason
        assert "name one kind by a pattern such as" in reason
    remote.rm("/mixed", recursive=True)
    assert validate(f"{path}/*.parquet", MADE).rows == 2
    assert validate(path / "1.parquet", MADE).rows == 2
