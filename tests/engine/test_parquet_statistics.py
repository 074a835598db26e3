"""Footers of Parquet files prove rules without their rows, and change nothing in the report."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.contract import Contract, LibraryMetric
from dagster_contracts.engine import file_source
from dagster_contracts.engine.compiler import Columns
from dagster_contracts.engine.file_list import list_files
from dagster_contracts.engine.parquet_statistics import Proofs, Statistics, read_statistics
from dagster_contracts.engine.scan import polars_scan
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
    threshold,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOME = threshold("mustBeLessThan", 2)
MOMENTS = st.sampled_from(
    [
        "1960-02-29T23:59:59.999",
        "1970-01-01",
        "2024-03-31T01:30",
        "2024-03-31T01:30:00.000250",
        "2024-10-27T00:30",
        "2240-01-01",
    ]
).map(datetime.fromisoformat)
ZONED = {f"t_{unit}": pa.timestamp(unit, "Europe/Paris") for unit in ("ms", "us", "ns")}
TYPES: dict[str, tuple[Any, pa.DataType, st.SearchStrategy, st.SearchStrategy]] = {
    "i": (
        INTEGER,
        pa.int64(),
        st.sampled_from([-(2**63), -3, 0, 2, 2**53 + 1, 2**63 - 1]),
        st.sampled_from([-(2**70), -3, 0, Decimal("0.5"), 2, 2**53, 2**53 + 1, 2**70]),
    ),
    "small": (INTEGER, pa.int8(), st.integers(-128, 127), st.integers(-130, 130)),
    "u": (INTEGER, pa.uint32(), st.integers(0, 2**32 - 1), st.integers(-1, 2**32)),
    "f": (
        NUMBER,
        pa.float64(),
        st.sampled_from([-1.5, 0.0, 2.5, float("nan"), float("inf")]),
        st.sampled_from([-2, 0, Decimal("2.5")]),
    ),
    "m": (
        NUMBER,
        pa.decimal128(9, 2),
        st.integers(-300, 300).map(lambda cents: Decimal(cents) / 100),
        st.integers(-3, 3),
    ),
    "s": (STRING, pa.string(), st.text(max_size=3), st.nothing()),
    "b": (BOOLEAN, pa.bool_(), st.booleans(), st.nothing()),
    "d": (
        DATE,
        pa.date32(),
        st.dates(date(1969, 12, 30), date(1970, 1, 3)),
        st.dates(date(1969, 12, 30), date(1970, 1, 3)),
    ),
    "naive": (TIMESTAMP, pa.timestamp("us"), MOMENTS, MOMENTS),
    **{
        name: (
            TIMESTAMP,
            dtype,
            MOMENTS.map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC)),
            MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
        )
        for name, dtype in ZONED.items()
    },
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[Contract, list[pa.Table]]:
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=4, unique=True))
    columns = []
    for name in names:
        logical_type, _, _, limits = TYPES[name]
        bounds = st.sampled_from(("minimum", "maximum", "exclusive_minimum", "exclusive_maximum"))
        fields: dict[str, Any] = {"required": draw(st.booleans())}
        if not limits.is_empty:
            fields |= draw(st.dictionaries(bounds, limits, max_size=2))
        columns.append(column(name, logical_type, **fields))
    tables = []
    for _ in range(draw(st.integers(1, 2))):
        size = draw(st.integers(0, 9))
        filled = draw(st.booleans())
        values = {
            name: draw(
                st.lists(
                    TYPES[name][2] if filled else st.none() | TYPES[name][2],
                    min_size=size,
                    max_size=size,
                )
            )
            for name in names
        }
        tables.append(pa.table({name: pa.array(values[name], TYPES[name][1]) for name in names}))
    quality = (library("gaps", LibraryMetric.NULL_VALUES, names[0], threshold=SOME),)
    return contract(*columns, quality=quality), tables


def written(path: Path, table: pa.Table, writer: str, group: int) -> None:
    if writer == "polars":
        pl.DataFrame(table).write_parquet(path, row_group_size=group)
    else:
        pq.write_table(table, path, row_group_size=group, version="1.0" if group == 2 else "2.6")


@pytest.fixture
def always(monkeypatch):
    """Footers are read of the smallest files."""
    monkeypatch.setattr(file_source, "_WORTH_PROVING", 0)


@given(
    tables(),
    st.lists(st.sampled_from(["polars", "pyarrow"]), min_size=2, max_size=2),
    st.integers(1, 4),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_report_is_the_same_with_and_without_proofs(tmp_path, case, writers, group):
    made, parts = case
    for number in (1, 2):
        (tmp_path / f"{number}.parquet").unlink(missing_ok=True)
    for number, (table, writer) in enumerate(zip(parts, writers, strict=False), 1):
        written(tmp_path / f"{number}.parquet", table, writer, group)
    reports = []
    for least in (2**62, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file_source, "_WORTH_PROVING", least)
            reports.append(validate(tmp_path, made, now=NOW, evaluation_id="one"))
    assert reports[0] == reports[1]


def proofs_of(path: Path, made: Contract) -> Proofs:
    files = list_files(str(path))
    scan = polars_scan("parquet", pl.scan_parquet(files.paths, hive_partitioning=False))
    statistics = read_statistics(files, scan)
    assert isinstance(statistics, Statistics)
    return statistics.prove(plan_checks(made).rules, Columns(scan=scan, schema=scan.schema))


EVERY = contract(
    column("i", INTEGER, required=True, minimum=-5, exclusive_maximum=Decimal("9.5")),
    column("u", INTEGER, required=True, minimum=0),
    column("f", NUMBER, required=True, minimum=0),
    column("m", NUMBER, required=True, minimum=0),
    column("s", STRING, required=True, min_length=1),
    column("b", BOOLEAN, required=True),
    column("d", DATE, required=True, minimum=date(2020, 1, 1)),
    column("t", TIMESTAMP, required=True, maximum=datetime(2020, 1, 1, tzinfo=UTC)),
)
ROWS = pa.table(
    {
        "i": pa.array([-5, 9], pa.int32()),
        "u": pa.array([1, 2], pa.uint32()),
        "f": [0.5, 1.5],
        "m": pa.array([Decimal("0.50"), Decimal("1.50")], pa.decimal128(9, 2)),
        "s": ["x", "y"],
        "b": [True, False],
        "d": [date(2020, 1, 1), date(2021, 1, 1)],
        "t": pa.array([0, 1_577_836_800], pa.timestamp("s", "UTC")).cast(
            pa.timestamp("ns", "Europe/Paris")
        ),
    }
)
PROVEN = {f"{name}.required" for name in "iumsbdt"} | {
    *("i.minimum", "i.exclusive_maximum", "d.minimum", "t.maximum")
}


@pytest.mark.parametrize("writer", ["polars", "pyarrow"])
def test_what_is_proven_and_what_is_not(tmp_path, writer):
    path = tmp_path / "rows.parquet"
    written(path, ROWS, writer, 1)
    proofs = proofs_of(path, EVERY)
    # Not: floats, which may be NaN; unsigned numbers, decimals and text, whose order is doubtful.
    assert proofs.rules == PROVEN
    assert proofs.missing == dict.fromkeys("iumsbdt", 0)


def test_a_value_beyond_a_bound_and_a_gap_are_no_proof(tmp_path):
    path = tmp_path / "rows.parquet"
    worse = pl.DataFrame(ROWS).with_columns(i=pl.Series([10, None], dtype=pl.Int32))
    worse.write_parquet(path, row_group_size=1)
    proofs = proofs_of(path, EVERY)
    assert proofs.rules == PROVEN - {"i.required", "i.exclusive_maximum"}
    assert proofs.missing["i"] == 1


def test_one_group_of_rows_without_statistics_leaves_its_columns_unproven(tmp_path):
    whole = ["i", "d"]
    pq.write_table(ROWS, tmp_path / "1.parquet")
    pq.write_table(ROWS, tmp_path / "2.parquet", write_statistics=whole)
    proofs = proofs_of(tmp_path, EVERY)
    assert proofs.rules == {name for name in PROVEN if name[0] in whole}
    assert proofs.missing == dict.fromkeys(whole, 0)


def test_moments_before_1970_and_those_of_old_writers(tmp_path):
    path = tmp_path / "rows.parquet"
    moment = datetime.fromisoformat("1960-01-01")
    moments = pa.table({"t": pa.array([moment], pa.timestamp("ns"))})
    made = contract(column("t", TIMESTAMP, required=True, maximum=moment))
    pq.write_table(moments, path)
    assert proofs_of(path, made).rules == {"t.required", "t.maximum"}
    pq.write_table(moments, path, use_deprecated_int96_timestamps=True)
    assert "t.maximum" not in proofs_of(path, made).rules


def test_gaps_within_lists_and_objects_are_not_those_of_the_column(tmp_path):
    path = tmp_path / "rows.parquet"
    frame = pl.DataFrame({"l": [[1], [None]], "o": [{"i": 1}, {"i": None}], "o.i": [1, 2]})
    frame.write_parquet(path)
    proofs = proofs_of(path, contract(column("l"), column("o"), column("o.i", minimum=1)))
    assert proofs.missing == {"o.i": 0}


def test_partitions_and_rules_with_a_filter_are_measured(tmp_path, always):
    folder = tmp_path / "i=-1"
    folder.mkdir()
    pl.DataFrame({"i": [5], "v": [1]}).write_parquet(folder / "1.parquet")
    quality = (library("gaps", LibraryMetric.NULL_VALUES, "v", threshold=SOME, filter="i >= 0"),)
    made = contract(column("i", INTEGER, minimum=0), column("v", INTEGER), quality=quality)
    report = validate(tmp_path, made)
    assert failed_rows(report) == {"i.minimum": 1}
    assert next(one for one in report.outcomes if one.rule == "gaps").rows_tested == 0


def test_a_file_that_proves_all_is_not_read(tmp_path, always):
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"a": range(1000), "k": range(1000)}).write_parquet(path, compression="zstd")
    made = contract(
        column("a", INTEGER, required=True, minimum=0),
        column("k", INTEGER, primary_key_position=1),
    )
    footer = pq.read_metadata(path)
    place = footer.row_group(0).column(0).data_page_offset
    torn = bytearray(path.read_bytes())
    torn[place : place + 40] = bytes(40)
    path.write_bytes(bytes(torn))
    # Nothing but the pages of ``a`` is torn, and nobody asks for them.
    report = validate(path, made)
    assert report.rows == 1000
    assert report.metrics["null_ratio.a"] == Fraction(0)
    assert failed_rows(report) == {}
    assert validate(path, contract(column("a", INTEGER, multiple_of=Decimal(1)))).rows is None
