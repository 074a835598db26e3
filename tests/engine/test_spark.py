"""PySpark frames: settings, names, and what the session keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.frames import select_columns, to_arrow
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    INTEGER,
    TIMESTAMP,
    column,
    contract,
    expression,
    failed_rows,
    outcome,
)

pytestmark = pytest.mark.xdist_group("spark")


@pytest.fixture(params=["true", "false"], ids=["ansi", "lenient"])
def session(request: pytest.FixtureRequest, spark: Any) -> Iterator[Any]:
    before = spark.conf.get("spark.sql.ansi.enabled")
    spark.conf.set("spark.sql.ansi.enabled", request.param)
    yield spark
    spark.conf.set("spark.sql.ansi.enabled", before)


def test_both_modes_count_alike_and_the_session_is_left_as_it_was(session: Any):
    zone = session.conf.get("spark.sql.session.timeZone")
    assert zone != "UTC"
    data = session.sql(
        "SELECT * FROM VALUES (1, 9223372036854775807, timestamp '2024-01-01 00:00:00-05:00'),"
        " (0, 2, timestamp '2024-01-01 06:00:00+00:00') AS t(zero, big, t)"
    )
    made = contract(
        column("zero", INTEGER),
        column("big", INTEGER),
        column("t", TIMESTAMP, maximum=datetime(2024, 1, 1, 5, 30, tzinfo=UTC)),
        quality=(
            expression("wide", "big * big > big"),
            expression("by_zero", "big / zero > 100"),
            expression("rest", "big % zero = 0"),
            expression("hour", "hour(t) = 5"),
        ),
    )
    report = validate(data, made)
    assert failed_rows(report) == {"t.maximum": 1, "hour": 1}
    assert outcome(report, "t.maximum").samples[0]["t"] == "2024-01-01T06:00:00+00:00"
    assert report.event_time == datetime(2024, 1, 1, 6, tzinfo=UTC)
    assert session.conf.get("spark.sql.session.timeZone") == zone
    unread = validate(data, contract(column("nope", INTEGER)))
    assert outcome(unread, "nope.present").status is OutcomeStatus.FAILED
    assert session.conf.get("spark.sql.session.timeZone") == zone


def test_naive_timestamps_do_not_ask_where_python_runs(spark: Any, monkeypatch: pytest.MonkeyPatch):
    data = spark.sql("SELECT timestamp_ntz '2024-07-01 12:00:00.000001' AS t")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        limit = datetime(2024, 7, 1, 12)  # noqa: DTZ001 - a column without a zone
        assert failed_rows(validate(data, contract(column("t", TIMESTAMP, maximum=limit)))) == {
            "t.maximum": 1
        }
    finally:
        monkeypatch.undo()
        time.tzset()


def test_columns_of_a_frame_with_odd_names(spark: Any):
    data = spark.createDataFrame([(1, 2)], ["a.b", "we`ird"])
    assert to_arrow(data).to_pydict() == {"a.b": [1], "we`ird": [2]}
    assert to_arrow(select_columns(data, ["we`ird"])).column_names == ["we`ird"]
    twice = data.toDF("x", "x")
    report = validate(twice, contract(column("x", INTEGER)))
    assert "more than once" in (outcome(report, "schema").reason or "")
