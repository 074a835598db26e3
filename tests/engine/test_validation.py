from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pandas as pd
import polars as pl
import pytest

from dagster_contracts.core.condition import parse_condition
from dagster_contracts.core.contract import LibraryMetric, Relationship, SlaProperty
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
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

NOW = datetime(2024, 1, 2, 12, tzinfo=UTC)


def level(property_name: str, condition: str, **fields) -> SlaProperty:
    return SlaProperty(property=property_name, condition=parse_condition(condition), **fields)


@pytest.mark.parametrize("data", [None, 42, "not a path", [1, 2], object(), {"a": [1]}])
def test_what_is_no_table_is_an_outcome_and_no_crash(data):
    made = contract(
        column("a", INTEGER, required=True),
        quality=(expression("e", "a > 0"),),
        sla=(level("freshness", "data_freshness < 1h"),),
    )
    report = validate(data, made)
    schema = outcome(report, "schema")
    assert schema.status is OutcomeStatus.FAILED
    assert (schema.reason or "").startswith(
        f"the asset returned no table but {type(data).__name__}"
    )
    others = [one for one in report.outcomes if one is not schema]
    assert {one.status for one in others} == {OutcomeStatus.NOT_EVALUATED}
    assert all(one.reason == schema.reason for one in others)
    assert report.rows is None
    assert report.metrics["schema_validation_errors"] == 1
    assert report.metrics["row_count"] is None
    assert "row_count" in report.unknown_because


def test_a_file_that_is_not_there_and_a_lazy_frame_that_cannot_run(tmp_path):
    made = contract(column("a", INTEGER))
    report = validate(tmp_path / "gone.parquet", made)
    assert "there is no file" in (outcome(report, "schema").reason or "")
    broken = pl.LazyFrame({"a": ["x"]}).with_columns(pl.col("a").cast(pl.Int64))
    report = validate(broken, made)
    assert "a cannot be read" in (outcome(report, "a.present").reason or "")
    assert report.metrics["schema_validation_errors"] == 1
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1 and then nothing")
    assert "cannot be read" in (outcome(validate(torn, made), "schema").reason or "")


def test_two_columns_of_one_name_are_refused_in_clear_words():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    report = validate(frame, contract(column("a", INTEGER)))
    assert outcome(report, "schema").reason == "the column 'a' occurs more than once"


def test_a_rule_that_fails_to_run_hides_no_other():
    deep = pl.DataFrame({"a": [1, -1, None], "s": ["x", "", "y"]})
    # Nothing is wrong with this pattern but that its automaton is larger than engines allow.
    huge = "(?:[a-z]{1000}){1000}"
    made = contract(
        column("a", INTEGER, required=True, minimum=0, unique=True),
        column("s", STRING, min_length=1, pattern=huge),
        quality=(library("mean", LibraryMetric.MEAN, "a", threshold=threshold("mustBe", 0)),),
    )
    report = validate(deep, made)
    assert outcome(report, "s.pattern").status is OutcomeStatus.NOT_EVALUATED
    assert "failed to run" in (outcome(report, "s.pattern").reason or "")
    assert failed_rows(report) == {"a.required": 1, "a.minimum": 1, "s.min_length": 1}
    assert outcome(report, "mean").status is OutcomeStatus.PASSED
    assert outcome(report, "a.unique").status is OutcomeStatus.PASSED
    assert report.metrics["schema_validation_errors"] == Fraction(2, 3)


def test_columns_of_mixed_objects_fail_alone():
    frame = pd.DataFrame({"a": pd.Series([1, "x", None], dtype=object), "b": [1, -2, 3]})
    made = contract(column("a", INTEGER, minimum=0), column("b", INTEGER, minimum=0))
    report = validate(frame, made)
    assert outcome(report, "a.type").reason == "a holds mixed objects, not integer"
    assert outcome(report, "b.minimum").failed_rows == 1
    periods = pd.DataFrame({"a": pd.period_range("2024-01", periods=2, freq="M")})
    assert outcome(validate(periods, made), "a.type").status is OutcomeStatus.FAILED


def test_pandas_floats_and_timestamps_stand_in_for_integers_and_dates():
    frame = pd.DataFrame(
        {
            "n": [1.0, float("nan"), 2.5],
            "d": pd.to_datetime(["2024-01-01", "2024-01-01T12:00", None], format="ISO8601"),
        }
    )
    report = validate(frame, contract(column("n", INTEGER), column("d", DATE)))
    assert failed_rows(report) == {"n.type": 1, "d.type": 1}
    assert outcome(report, "n.type").samples[0]["n"] == 2.5


def test_the_index_of_pandas_is_left_alone():
    frame = pd.DataFrame({"a": [1, -1]}, index=pd.Index([7, 7], name="a"))
    report = validate(frame, contract(column("a", INTEGER, minimum=0)))
    assert failed_rows(report) == {"a.minimum": 1}


def test_rules_nobody_can_measure_say_why():
    made = contract(
        column("a", STRING, pattern=r"(?<=x)y", format="klingon"),
        quality=(expression("e", "a >"), expression("f", "nowhere > 1")),
    )
    report = validate(pl.DataFrame({"a": ["y"]}), made)
    reasons = {o.rule: o.reason for o in report.outcomes if o.reason}
    assert "not portable" in reasons["a.pattern"]
    assert "klingon" in reasons["a.format"]
    assert "cannot be read" in reasons["e"]
    assert reasons["f"] == "there is no column nowhere"
    assert report.status is OutcomeStatus.PASSED


def test_service_levels_are_conditions_over_the_metrics_of_the_report():
    frame = pl.DataFrame(
        {"t": [datetime(2024, 1, 2, 11), None], "n": [1, None]},  # noqa: DTZ001
    )
    made = contract(
        column("t", TIMESTAMP),
        column("n", INTEGER, required=True),
        sla=(
            level("freshness", "data_freshness < 2h"),
            level("latency", "data_latency < 10min"),
            level("completeness", "completeness > 95%"),
            level("volume", "row_count_change > -50%"),
            SlaProperty(property="availability", condition=None, not_evaluated="measured outside"),
        ),
    )
    report = validate(frame, made, now=NOW, arrived_at=NOW - timedelta(minutes=30))
    levels = {o.check: o for o in report.outcomes if o.check.startswith("sla_")}
    assert {name: o.status for name, o in levels.items()} == {
        "sla_freshness": OutcomeStatus.PASSED,
        "sla_latency": OutcomeStatus.FAILED,
        "sla_completeness": OutcomeStatus.FAILED,
        "sla_volume": OutcomeStatus.NOT_EVALUATED,
        "sla_availability": OutcomeStatus.NOT_EVALUATED,
    }
    assert levels["sla_freshness"].value == 3600
    assert "earlier row count" in (levels["sla_volume"].reason or "")
    assert levels["sla_availability"].reason == "measured outside"
    assert report.event_time == datetime(2024, 1, 2, 11, tzinfo=UTC)


def test_the_metrics_of_a_report():
    frame = pl.DataFrame({"id": [1, 1, 2, 3], "n": [1, None, None, -1], "s": ["a", None, "b", ""]})
    made = contract(
        column("id", INTEGER, primary_key_position=1),
        column("n", NUMBER, required=True, minimum=0),
        column("s", STRING),
        quality=(expression("small", "id < 3"), library("s_there", LibraryMetric.NULL_VALUES, "s")),
    )
    report = validate(
        frame,
        made,
        now=NOW,
        history={"row_count": [7, 8, 9]},
        last_materialized_at=NOW - timedelta(minutes=5),
    )
    metrics = report.metrics
    assert metrics["row_count"] == 4
    assert metrics["row_count_change"] == Fraction(-1, 2)
    assert metrics["schema_validation_errors"] == 1, "three rows by their values, one by its key"
    assert metrics["quality_errors"] == Fraction(1, 2)
    assert metrics["duplicates"] == Fraction(1, 4)
    assert metrics["null_ratio.n"] == Fraction(1, 2)
    assert metrics["null_ratio.s"] == Fraction(1, 4)
    assert metrics["completeness"] == Fraction(3, 4)
    assert metrics["failed_ratio.n.minimum"] == Fraction(1, 4)
    assert metrics["failed_ratio.small"] == Fraction(1, 4)
    assert metrics["data_freshness"] == 300
    assert metrics["data_latency"] is None


def test_freshness_of_zoned_event_times_and_of_a_named_column():
    berlin = pl.Series([datetime(2024, 1, 2, 10)]).dt.replace_time_zone("Europe/Berlin")  # noqa: DTZ001
    frame = pl.DataFrame({"made": berlin, "seen": [datetime(2020, 1, 1)]})  # noqa: DTZ001
    made = contract(column("made", TIMESTAMP), column("seen", TIMESTAMP))
    assert validate(frame, made, now=NOW).metrics["data_freshness"] is None
    named = replace(made, event_time="made")
    assert validate(frame, named, now=NOW).metrics["data_freshness"] == 3 * 3600


def test_references_are_looked_up_in_the_data_of_the_other_object():
    frame = pl.DataFrame({"c": [1, 2, 2, None, 9], "x": list("abcde")})
    made = contract(
        column("c", INTEGER),
        column("x", STRING),
        relationships=(Relationship(columns=("c",), to=("crm.customers.id",)),),
    )
    customers = pd.DataFrame({"id": pd.array([1, 9], dtype="int32")})
    for name in ("crm.customers", "customers", "crm"):
        report = validate(frame, made, references={name: customers})
        found = outcome(report, "c.references")
        assert (found.failed_rows, found.rows_tested) == (2, 5)
        assert found.samples == ({"c": 2, "rows": 2},)
        assert report.metrics["schema_validation_errors"] == Fraction(2, 5)
    alone = outcome(validate(frame, made), "c.references")
    assert alone.status is OutcomeStatus.NOT_EVALUATED
    text = pl.DataFrame({"id": ["1"]})
    mixed = outcome(validate(frame, made, references={"customers": text}), "c.references")
    assert "cannot be compared" in (mixed.reason or "")


def test_a_reference_of_several_columns_across_engines():
    import duckdb

    rows = pl.DataFrame({"a": [1, 1, 2], "b": ["x", "y", None]})
    other = pl.DataFrame({"p": [1], "q": ["x"]})
    connection = duckdb.connect(":memory:")
    made = contract(
        column("a", INTEGER),
        column("b", STRING),
        relationships=(Relationship(columns=("a", "b"), to=("o.p", "o.q")),),
    )
    for data in (rows, connection.from_arrow(rows.to_arrow())):
        for target in (other, connection.from_arrow(other.to_arrow())):
            found = outcome(validate(data, made, references={"o": target}), "a_b.references")
            assert (found.failed_rows, found.samples[0]["b"]) == (1, "y")


def test_importing_the_engine_imports_no_engine():
    code = (
        "import sys, dagster_contracts.engine.validation;"
        "print([m for m in ('pandas','polars','duckdb','pyarrow','dagster') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_report_carries_what_identifies_it():
    report = validate(
        pl.DataFrame({"a": [1]}),
        contract(column("a", INTEGER)),
        now=NOW,
        evaluation_id="e1",
        asset="orders",
        partition="2024-01-01",
    )
    assert (report.ref, report.evaluation_id, report.evaluated_at) == ("orders@1.0.0", "e1", NOW)
    assert (report.asset, report.partition) == ("orders", "2024-01-01")
    again = validate(pl.DataFrame({"a": [1]}), contract(column("a", INTEGER)))
    assert again.evaluation_id != validate(pl.DataFrame(), contract()).evaluation_id
