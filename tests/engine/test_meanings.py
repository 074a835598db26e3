"""What the design fixes where other tools disagree, on every kind of data."""

from __future__ import annotations

import math
import textwrap
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dagster_contracts.core.contract import ExtraColumns, LibraryMetric, LogicalType
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.documents.folder import load_contract
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
    expression,
    failed_rows,
    library,
    outcome,
    threshold,
)


def test_null_passes_every_rule_but_required(make):
    table = pa.table(
        {
            "s": pa.array([None, "a"], pa.string()),
            "f": pa.array([None, 1.0], pa.float64()),
            "d": pa.array([None, date(2024, 1, 1)], pa.date32()),
        }
    )
    made = contract(
        column("s", STRING, required=True, min_length=1, pattern="a", enum=("a",), unique=True),
        column("f", NUMBER, required=True, minimum=0, multiple_of=Decimal(1), enum=(1,)),
        column("d", DATE, minimum=date(2020, 1, 1)),
        quality=(expression("e", "f > 0 and s = 'a'"),),
    )
    assert failed_rows(validate(make(table), made)) == {"s.required": 1, "f.required": 1}


def test_nan_is_missing_whatever_container_it_came_in(make):
    table = pa.table({"f": pa.array([math.nan, 1.0, None, math.nan], pa.float64())})
    made = contract(
        column("f", NUMBER, required=True, unique=True, maximum=5, exclusive_minimum=0, enum=(1,)),
        quality=(
            library("nulls", LibraryMetric.NULL_VALUES, "f"),
            library("mean", LibraryMetric.MEAN, "f", threshold=threshold("mustBe", 1)),
            expression("positive", "f > 0"),
        ),
    )
    report = validate(make(table), made)
    assert failed_rows(report) == {"f.required": 3, "nulls": 3}
    assert outcome(report, "mean").value == 1.0
    assert report.metrics["null_ratio.f"] == Fraction(3, 4)


def test_duplicates_are_the_rows_beyond_the_first_and_nulls_are_none(make):
    table = pa.table(
        {
            "a": pa.array([1, 1, 1, 2, None, None], pa.int64()),
            "b": pa.array(["x", "x", None, "x", "y", "y"], pa.string()),
        }
    )
    made = contract(
        column("a", INTEGER, unique=True),
        column("b", STRING),
        quality=(
            library("pairs", LibraryMetric.DUPLICATE_VALUES, columns=("a", "b")),
            library(
                "b_values", LibraryMetric.DISTINCT_COUNT, "b", threshold=threshold("mustBe", 2)
            ),
        ),
    )
    report = validate(make(table), made)
    assert failed_rows(report) == {"a.unique": 2, "pairs": 1}
    assert outcome(report, "b_values").status is OutcomeStatus.PASSED
    shown = [sample["a"] for sample in outcome(report, "a.unique").samples]
    assert shown == [1, 1, 1], "the sample shows the whole group"


def test_a_pattern_is_searched_and_means_the_same_everywhere(make):
    table = pa.table({"s": ["xabx", "a", "é9", "a\n", "٣"]})
    made = contract(
        column("s", STRING),
        quality=tuple(
            library(name, LibraryMetric.INVALID_VALUES, "s", pattern=pattern)
            for name, pattern in {
                "found": "ab",
                "ends": "a$",
                "digit": r"\d",
                "word": r"^\w+$",
                "any": "^.*$",
            }.items()
        ),
    )
    assert failed_rows(validate(make(table), made)) == {
        "found": 4,
        "ends": 4,  # the line feed is part of the text
        "digit": 4,  # digits are 0 to 9
        "word": 3,  # neither é nor the line feed
        "any": 1,  # a dot is no line feed
    }


def test_bounds_are_inclusive_unless_they_say_exclusive(make):
    table = pa.table({"n": pa.array([1, 2, 3], pa.int64()), "f": [1.0, 2.0, 3.0]})
    made = contract(
        column("n", INTEGER, minimum=1, maximum=3),
        column("f", NUMBER, exclusive_minimum=1, exclusive_maximum=3),
    )
    assert failed_rows(validate(make(table), made)) == {
        "f.exclusive_minimum": 1,
        "f.exclusive_maximum": 1,
    }


def test_limits_between_whole_numbers_and_beyond_the_type_are_exact(make):
    table = pa.table({"n": pa.array([2, 3], pa.int64()), "b": pa.array([1, 127], pa.int8())})
    made = contract(
        column("n", INTEGER, minimum=Decimal("2.5"), exclusive_maximum=Decimal("3.5")),
        column("b", INTEGER, maximum=1000, minimum=-1000, exclusive_minimum=500),
    )
    assert failed_rows(validate(make(table), made)) == {
        "n.minimum": 1,
        "b.exclusive_minimum": 2,
    }


def test_integers_beyond_two_to_the_fifty_three_keep_their_last_digit(make):
    big = 2**53
    table = pa.table({"n": pa.array([big, big + 1], pa.int64())})
    made = contract(
        column("n", INTEGER, unique=True, maximum=big, enum=(big,)),
        quality=(expression("e", f"n <= {big}"),),
    )
    assert failed_rows(validate(make(table), made)) == {"n.maximum": 1, "n.enum": 1, "e": 1}


@pytest.mark.parametrize("beyond", [2**53 + 1, 2**2000])
def test_a_whole_number_that_no_float_is_equal_to_never_occurs(make, beyond):
    table = pa.table({"f": pa.array([2.0**53, 1.0], pa.float64())})
    made = contract(column("f", NUMBER, enum=(beyond, 1)))
    assert failed_rows(validate(make(table), made)) == {"f.enum": 1}


@pytest.mark.parametrize(
    ("values", "failed"),
    [
        (["a", None, "bb"], {"s.required": 1, "s.max_length": 1}),
        (["a", math.nan, "bb"], {"s.required": 1, "s.max_length": 1}),
        ([None, None, "bb"], {"s.required": 2, "s.max_length": 1}),
    ],
)
def test_gaps_of_any_kind_stand_among_the_texts_of_pandas(values, failed):
    frame = pd.DataFrame({"s": pd.Series(values, dtype=object)})
    made = contract(column("s", STRING, required=True, max_length=1))
    assert failed_rows(validate(frame, made)) == failed


def test_texts_of_pandas_among_other_objects_are_no_text():
    frame = pd.DataFrame({"s": pd.Series(["a", b"b"], dtype=object)})
    report = validate(frame, contract(column("s", STRING)))
    assert outcome(report, "s.type").status is OutcomeStatus.FAILED


def test_nan_in_parquet_that_duckdb_reads_is_missing(tmp_path):
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"f": [1.0, math.nan, 2.0, None]}).write_parquet(path)
    made = contract(column("f", NUMBER, required=True, maximum=1))
    report = validate(duckdb.connect().read_parquet(str(path)), made)
    assert failed_rows(report) == {"f.required": 2, "f.maximum": 1}


def test_sums_do_not_wrap(make):
    table = pa.table({"n": pa.array([2**62, 2**62, 2**62], pa.int64())})
    made = contract(
        column("n", INTEGER),
        quality=(
            library(
                "total", LibraryMetric.SUM, "n", threshold=threshold("mustBeGreaterThan", 2**63)
            ),
            expression("doubled", "n + n > n"),
        ),
    )
    assert validate(make(table), made).status is OutcomeStatus.PASSED


def test_whole_numbers_satisfy_number_but_fractions_no_integer(make):
    table = pa.table({"n": pa.array([1, 2], pa.int64()), "f": [1.5, 2.0]})
    made = contract(column("n", NUMBER), column("f", INTEGER))
    report = validate(make(table), made)
    assert {o.rule for o in report.failures()} == {"f.type"}


def test_a_timestamp_is_no_date(make):
    table = pa.table({"d": pa.array([datetime(2024, 1, 1, 12, tzinfo=UTC)], pa.timestamp("us"))})
    report = validate(make(table), contract(column("d", DATE)))
    assert outcome(report, "d.type").status is OutcomeStatus.FAILED


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_instants_are_compared_in_their_own_unit(make, unit):
    noon = datetime(2024, 1, 1, 12)  # noqa: DTZ001 - a column without a zone
    values = [noon, noon + timedelta(milliseconds=1)]
    table = pa.table({"t": pa.array(values, pa.timestamp(unit))})
    made = contract(
        column("t", TIMESTAMP, maximum=noon, minimum=datetime(1500, 1, 1)),  # noqa: DTZ001
    )
    assert failed_rows(validate(make(table), made)) == {"t.maximum": 1}


def test_zoned_instants_are_instants_and_never_meet_naive_ones(make):
    values = [datetime(2024, 3, 31, 0, 30, tzinfo=UTC), datetime(2024, 3, 31, 1, 30, tzinfo=UTC)]
    table = pa.table({"t": pa.array(values, pa.timestamp("us", "Europe/Paris"))})
    zoned = datetime(2024, 3, 31, 1, 0, tzinfo=UTC)
    report = validate(make(table), contract(column("t", TIMESTAMP, maximum=zoned, timezone=True)))
    assert failed_rows(report) == {"t.maximum": 1}
    naive = zoned.replace(tzinfo=None)
    report = validate(make(table), contract(column("t", TIMESTAMP, maximum=naive)))
    assert outcome(report, "t.maximum").status is OutcomeStatus.NOT_EVALUATED
    in_paris = naive + timedelta(hours=2)
    made = contract(column("t", TIMESTAMP, maximum=in_paris, default_timezone="Europe/Paris"))
    assert failed_rows(validate(make(table), made)) == {"t.maximum": 1}
    report = validate(make(table), contract(column("t", TIMESTAMP, timezone=False)))
    assert outcome(report, "t.type").status is OutcomeStatus.FAILED


def test_decimals_are_exact(make):
    values = [Decimal("0.10"), Decimal("0.30")]
    table = pa.table({"m": pa.array(values, pa.decimal128(10, 2))})
    made = contract(
        column("m", NUMBER, maximum=Decimal("0.1"), enum=(Decimal("0.1"), 0.25)),
        quality=(library("total", LibraryMetric.SUM, "m", threshold=threshold("mustBe", "0.4")),),
    )
    report = validate(make(table), made)
    assert failed_rows(report) == {"m.maximum": 1, "m.enum": 1}
    assert outcome(report, "total").status is OutcomeStatus.PASSED


def test_a_fraction_of_a_document_is_the_decimal_that_it_says(make):
    text = """
        data_contract:
          name: m
          schema:
            fields:
              d: {type: number, minimum: 0.1, maximum: 19.99, enum: [0.1, 0.15, 0.2, 19.99]}
            quality:
              - {name: ok, column: d, metric: invalidValues, valid_values: [0.1, 0.15, 19.99, 0.2]}
              - {name: gaps, column: d, metric: missingValues, missing_values: [0.1], must_be: 1}
    """
    made = load_contract("m.yaml", text=textwrap.dedent(text))
    values = [Decimal(each) for each in ("0.10", "0.15", "0.20", "19.99")]

    table = pa.table({"d": pa.array(values, pa.decimal128(10, 2))})
    report = validate(make(table), made)

    assert report.status is OutcomeStatus.PASSED, failed_rows(report)


def test_an_empty_table_has_no_broken_rows(make):
    table = pa.table(
        {
            "n": pa.array([], pa.int64()),
            "s": pa.array([], pa.string()),
            "t": pa.array([], pa.timestamp("us")),
        }
    )
    made = contract(
        column("n", INTEGER, primary_key_position=1, minimum=0),
        column("s", STRING, required=True, pattern="x"),
        column("t", TIMESTAMP),
        quality=(
            library("rows", LibraryMetric.ROW_COUNT, threshold=threshold("mustBe", 0)),
            library("mean", LibraryMetric.MEAN, "n", threshold=threshold("mustBe", 0)),
        ),
    )
    report = validate(make(table), made)
    assert report.rows == 0
    assert report.metrics["schema_validation_errors"] == 0
    assert report.metrics["row_count"] == 0
    assert report.metrics["data_freshness"] is None
    assert not report.failures()
    assert outcome(report, "mean").status is OutcomeStatus.NOT_EVALUATED


def test_a_column_of_nothing_has_any_type(make):
    table = pa.table({"a": pa.nulls(2), "b": pa.array([1, 2], pa.int64())})
    made = contract(column("a", INTEGER, minimum=0, enum=(1,)), column("b", INTEGER, minimum=2))
    report = validate(make(table), made)
    assert failed_rows(report) == {"b.minimum": 1}
    report = validate(make(table), contract(column("a", STRING, required=True)))
    assert failed_rows(report) == {"a.required": 2}


def test_a_missing_column_fails_its_own_rules_and_nothing_else(make):
    table = pa.table({"a": pa.array([1, -1], pa.int64())})
    made = contract(
        column("a", INTEGER, minimum=0),
        column("b", INTEGER, required=True, minimum=0),
        quality=(expression("e", "b > 0"), expression("f", "a < 5")),
    )
    report = validate(make(table), made)
    assert {o.rule for o in report.failures()} == {
        "a.minimum",
        "b.present",
        "b.type",
        "b.required",
        "b.minimum",
        "e",
    }
    assert outcome(report, "b.minimum").reason == "the column b is missing"
    assert report.metrics["schema_validation_errors"] == 1
    assert outcome(report, "a.minimum").failed_rows == 1
    assert outcome(report, "f").status is OutcomeStatus.PASSED
    assert report.metrics["null_ratio.b"] is None


def test_a_column_of_the_wrong_type_fails_its_own_rules_and_nothing_else(make):
    table = pa.table({"a": ["1", "2"], "b": pa.array([1, -1], pa.int64())})
    made = contract(column("a", INTEGER, minimum=0, required=True), column("b", INTEGER, minimum=0))
    report = validate(make(table), made)
    assert {o.rule for o in report.failures()} == {
        "a.type",
        "a.required",
        "a.minimum",
        "b.minimum",
    }
    assert "String" in (outcome(report, "a.type").reason or "")
    assert report.metrics["schema_validation_errors"] == 1
    assert outcome(report, "b.minimum").failed_rows == 1


def test_names_of_columns_are_taken_to_the_letter(make):
    table = pa.table({"ID": pa.array([1], pa.int64())})
    report = validate(make(table), contract(column("id", INTEGER)))
    assert outcome(report, "id.present").reason == "the column id is missing; the data has 'ID'"


@pytest.mark.parametrize(
    "name", ["a b", "select", 'qu"ote', "it's", "grüße", "a.b", "from", "100%"]
)
def test_odd_column_names_are_only_names(make, name):
    table = pa.table({name: pa.array([1, 1, None, 5], pa.int64())})
    made = contract(
        column(name, INTEGER, required=True, unique=True, maximum=3, enum=(1, 2)),
        quality=(library("mean", LibraryMetric.MEAN, name, threshold=threshold("mustBe", 0)),),
    )
    report = validate(make(table), made)
    assert failed_rows(report) == {
        f"{name}.required": 1,
        f"{name}.unique": 1,
        f"{name}.maximum": 1,
        f"{name}.enum": 1,
    }
    assert outcome(report, f"{name}.maximum").samples[0][name] == 5


def test_extra_columns_and_their_order(make):
    table = pa.table({"b": [1], "x": [1], "a": [1]})
    columns = (column("a", INTEGER), column("b", INTEGER))
    report = validate(make(table), contract(*columns))
    assert report.status is OutcomeStatus.PASSED
    report = validate(make(table), contract(*columns, extra_columns=ExtraColumns.WARN))
    assert outcome(report, "extra_columns").status is OutcomeStatus.WARNED
    assert report.metrics["schema_validation_errors"] == 0
    report = validate(make(table), contract(*columns, extra_columns=ExtraColumns.FORBID))
    assert outcome(report, "extra_columns").status is OutcomeStatus.FAILED
    assert outcome(report, "extra_columns").reason == "not in the contract: x"
    assert report.metrics["schema_validation_errors"] == 1
    report = validate(make(table), contract(*columns, ordered=True))
    assert outcome(report, "column_order").reason == "b stands where a is declared"


def test_each_row_counts_once_in_schema_validation_errors(make):
    table = pa.table({"a": pa.array([-1, -1, 5], pa.int64()), "s": ["", "x", "x"]})
    made = contract(column("a", INTEGER, minimum=0, maximum=3), column("s", STRING, min_length=1))
    report = validate(make(table), made)
    assert report.metrics["schema_validation_errors"] == 1
    made = contract(column("a", INTEGER, minimum=0), column("s", STRING, min_length=1))
    assert validate(make(table), made).metrics["schema_validation_errors"] == Fraction(2, 3)


def test_thresholds_in_rows_and_per_cent_with_two_levels(make):
    table = pa.table({"s": ["a", None, "c", "d"]})

    def status(**levels):
        rule = library("r", LibraryMetric.NULL_VALUES, "s", **levels)
        return outcome(validate(make(table), contract(column("s", STRING), quality=(rule,))), "r")

    assert status().status is OutcomeStatus.FAILED
    fine = status(threshold=threshold("mustBeLessOrEqualTo", 25, percent=True))
    assert (fine.status, fine.value, fine.failed_rows) == (OutcomeStatus.PASSED, 25.0, 1)
    assert fine.threshold == "at most 25%"
    assert status(threshold=threshold("mustBe", 1)).status is OutcomeStatus.PASSED
    between = status(threshold=threshold("mustBeBetween", 2, 5))
    assert (between.status, between.threshold) == (OutcomeStatus.FAILED, "between 2 and 5 rows")
    two = status(threshold=threshold("mustBeLessThan", 3), warn=threshold("mustBe", 0))
    assert two.status is OutcomeStatus.WARNED
    assert status(warn=threshold("mustBe", 0)).status is OutcomeStatus.WARNED


def test_a_filter_picks_the_rows_that_a_rule_is_about(make):
    table = pa.table({"kind": ["a", "a", "b", None], "n": pa.array([1, -1, -1, -1], pa.int64())})
    made = contract(
        column("kind", STRING),
        column("n", INTEGER),
        quality=(
            expression("positive", "n > 0", filter="kind = 'a'"),
            library(
                "rows",
                LibraryMetric.ROW_COUNT,
                filter="kind = 'a'",
                threshold=threshold("mustBe", 2),
            ),
            library("twice", LibraryMetric.DUPLICATE_VALUES, "n", filter="kind = 'a'"),
            library(
                "least",
                LibraryMetric.MINIMUM,
                "n",
                filter="n > 0",
                threshold=threshold("mustBe", 1),
            ),
        ),
    )
    report = validate(make(table), made)
    positive = outcome(report, "positive")
    assert (positive.rows_tested, positive.failed_rows) == (2, 1)
    assert {o.rule for o in report.failures()} == {"positive"}


def test_missing_values_are_nulls_and_their_stand_ins(make):
    table = pa.table({"s": ["", "n/a", None, "x"]})
    rule = library("r", LibraryMetric.MISSING_VALUES, "s", missing_values=("", "n/a"))
    report = validate(make(table), contract(column("s", STRING), quality=(rule,)))
    assert failed_rows(report) == {"r": 3}


def test_aggregates(make):
    table = pa.table({"n": pa.array([1, 2, 3, 4], pa.int64())})
    wanted = {
        LibraryMetric.MEAN: 2.5,
        LibraryMetric.SUM: 10,
        LibraryMetric.MINIMUM: 1,
        LibraryMetric.MAXIMUM: 4,
        LibraryMetric.DISTINCT_COUNT: 4,
    }
    rules = [
        library(metric.name, metric, "n", threshold=threshold("mustBe", value))
        for metric, value in wanted.items()
    ]
    rules.append(
        library(
            "spread", LibraryMetric.STDDEV, "n", threshold=threshold("mustBeBetween", 1.29, 1.3)
        )
    )
    rules.append(
        library(
            "median",
            LibraryMetric.QUANTILE,
            "n",
            quantile=Fraction(1, 2),
            threshold=threshold("mustBe", 2.5),
        )
    )
    report = validate(make(table), contract(column("n", INTEGER), quality=tuple(rules)))
    assert [o.rule for o in report.outcomes if o.status is not OutcomeStatus.PASSED] == []


def test_booleans_and_lists_and_fields(make, kind):
    table = pa.table(
        {
            "b": [True, None, False],
            "l": [[1, 2, 3], [], None],
            "o": [{"zip": "1234"}, {"zip": None}, None],
        }
    )
    zip_code = column("zip", STRING, required=True, min_length=5)
    made = contract(
        column("b", BOOLEAN, enum=(True,)),
        column("l", LogicalType.ARRAY, min_items=1, max_items=2),
        column("o", LogicalType.OBJECT, properties=(zip_code,)),
    )
    report = validate(make(table), made)
    assert failed_rows(report) == {
        "b.enum": 1,
        "l.min_items": 1,
        "l.max_items": 1,
        "o.zip.required": 1,
        "o.zip.min_length": 1,
    }
