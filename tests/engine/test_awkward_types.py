"""Columns of types that Polars lacks or takes for others: they cost no other column."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet
import pytest

from dagster_contracts.core.contract import LogicalType, QualityRule, RuleKind
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.frames import to_arrow
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    DATE,
    INTEGER,
    NUMBER,
    STRING,
    TIMESTAMP,
    column,
    contract,
    failed_rows,
    outcome,
    threshold,
)

FIRST = date(2024, 1, 1)
LONG = pa.decimal256(50, 2)


def _parquet(table: pa.Table, folder: Path) -> Path:
    pyarrow.parquet.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


def _partitions(table: pa.Table, folder: Path) -> Path:
    for year in (2023, 2024):
        (folder / f"year={year}").mkdir()
        part = table.slice(0, 1) if year == 2023 else table.slice(1)
        pyarrow.parquet.write_table(part, folder / f"year={year}" / "rows.parquet")
    return folder


def _arrow_file(table: pa.Table, folder: Path) -> Path:
    pyarrow.feather.write_feather(table, folder / "rows.arrow")
    return folder / "rows.arrow"


WAYS = {
    "pyarrow": lambda table, folder: table,
    "pyarrow_reader": lambda table, folder: table.to_reader(max_chunksize=1),
    "pyarrow_dataset": lambda table, folder: pyarrow.dataset.dataset(table),
    "pandas_arrow": lambda table, folder: table.to_pandas(types_mapper=pd.ArrowDtype),
    "parquet": _parquet,
    "partitions": _partitions,
    "arrow_file": _arrow_file,
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_dates_of_64_bits_are_dates(way: str, tmp_path: Path) -> None:
    days = pa.array([FIRST, None, date(2024, 1, 3)], pa.date64())
    made = contract(column("d", DATE, required=True, minimum=date(2024, 1, 2), unique=True))
    report = validate(WAYS[way](pa.table({"d": days}), tmp_path), made)
    assert failed_rows(report) == {"d.required": 1, "d.minimum": 1}
    assert outcome(report, "d.minimum").samples[0]["d"] == "2024-01-01"


def test_moments_of_milliseconds_are_no_dates(tmp_path: Path) -> None:
    moments = pa.array([FIRST], pa.date32()).cast(pa.timestamp("ms"))
    report = validate(_parquet(pa.table({"d": moments}), tmp_path), contract(column("d", DATE)))
    assert outcome(report, "d.type").reason == "d has the type Datetime[ms], not date"


def test_numbers_that_are_too_long_cost_only_their_column(way: str, tmp_path: Path) -> None:
    table = pa.table({"n": [1, 5, 9], "m": pa.array([Decimal(1), None, Decimal(2)], LONG)})
    made = contract(
        column("n", INTEGER, maximum=4, unique=True),
        column("m", NUMBER, required=True, minimum=2),
        quality=(
            QualityRule(
                name="sum",
                kind=RuleKind.SQL,
                query="select sum(n) from {table}",
                threshold=threshold("mustBe", 15),
            ),
        ),
    )
    report = validate(WAYS[way](table, tmp_path), made, allow_sql=True)
    assert report.rows == 3
    assert outcome(report, "n.maximum").failed_rows == 2
    assert outcome(report, "sum").status is OutcomeStatus.PASSED
    if way != "pandas_arrow":  # there it has a type of its own, which is told as wrong
        assert failed_rows(report) == {"n.maximum": 2, "m.required": 1}
        found = outcome(report, "m.minimum")
        assert found.status is OutcomeStatus.NOT_EVALUATED
        assert "decimal256(50, 2)" in (found.reason or "")


def test_types_within_others_are_held_as_well(way: str, tmp_path: Path) -> None:
    table = pa.table(
        {
            "l": pa.array([[FIRST], [], [date(2024, 1, 3)]], pa.list_(pa.date64())),
            "m": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        }
    )
    made = contract(
        column("l", LogicalType.ARRAY, items=column("d", DATE, minimum=date(2024, 1, 2))),
        column("m", LogicalType.MAP, items=column("n", INTEGER, minimum=2)),
    )
    report = validate(WAYS[way](table, tmp_path), made)
    dates = {} if way in ("parquet", "partitions", "arrow_file") else {"l[].minimum": 1}
    assert {"m{}.minimum": 1, **dates}.items() <= failed_rows(report).items()


def test_folders_beside_such_a_column_are_columns(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2, 3], "m": pa.array([None] * 3, LONG)})
    made = contract(
        column("n", INTEGER), column("m", NUMBER), column("year", INTEGER, minimum=2024)
    )
    report = validate(_partitions(table, tmp_path), made)
    assert failed_rows(report) == {"year.minimum": 1}


def test_a_zone_that_is_an_offset_is_one(way: str, tmp_path: Path) -> None:
    moments = pa.array([0, None, 3_600_000_000], pa.timestamp("us", "+05:30"))
    table = pa.table({"t": moments, "n": [1, 2, 3]})
    limit = pd.Timestamp("1970-01-01T00:30:00+00:00").to_pydatetime()
    made = contract(
        column("t", TIMESTAMP, required=True, minimum=limit), column("n", INTEGER, minimum=2)
    )
    report = validate(WAYS[way](table, tmp_path), made)
    assert failed_rows(report) == {"t.required": 1, "t.minimum": 1, "n.minimum": 1}


OBJECTS: list[Any] = [1, "secret"]


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"a": OBJECTS, "n": [1, 2]}),
        pl.DataFrame({"a": pl.Series(OBJECTS, dtype=pl.Object), "n": [1, 2]}),
        pl.DataFrame({"a": pl.Series(OBJECTS, dtype=pl.Object), "n": [1, 2]}).lazy(),
    ],
    ids=["pandas", "polars", "polars_lazy"],
)
def test_unlike_objects_are_named_and_cost_no_other_sql_rule(data: Any) -> None:
    with pytest.raises(TypeError, match="cannot hold the values of a") as raised:
        to_arrow(data)
    assert "secret" not in str(raised.value)

    def counted(name: str, query: str) -> QualityRule:
        return QualityRule(
            name=name, kind=RuleKind.SQL, query=query, threshold=threshold("mustBe", 1)
        )

    made = contract(
        column("a", STRING),
        column("n", INTEGER),
        quality=(
            counted("of_n", "select count(*) from {table} where n > 1"),
            counted("of_a", "select count(*) from {table} where a is null"),
        ),
    )
    report = validate(data, made, allow_sql=True)
    assert outcome(report, "of_n").status is OutcomeStatus.PASSED
    assert outcome(report, "of_a").status is OutcomeStatus.NOT_EVALUATED
