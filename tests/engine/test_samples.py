from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import polars as pl
import pytest

from dagster_contracts.engine.samples import json_value
from dagster_contracts.engine.validation import validate
from tests.engine.builders import INTEGER, STRING, column, contract, expression, outcome


def test_samples_show_the_key_first_and_no_more_than_asked_for():
    frame = pl.DataFrame({"x": [-1] * 9, "id": range(9), "other": ["o"] * 9})
    made = contract(
        column("x", INTEGER, minimum=0),
        column("id", INTEGER, primary_key_position=1),
        column("other", STRING),
    )
    found = outcome(validate(frame, made, samples=3), "x.minimum").samples
    assert [list(sample) for sample in found] == [["id", "x"]] * 3
    assert outcome(validate(frame, made, samples=0), "x.minimum").samples == ()


def test_without_a_key_rows_are_told_apart_by_their_number():
    frame = pl.DataFrame({"x": [1, -1, 2, -1]})
    report = validate(frame, contract(column("x", INTEGER, minimum=0)))
    assert outcome(report, "x.minimum").samples == ({"row": 1, "x": -1}, {"row": 3, "x": -1})


def test_of_many_rows_the_first_that_break_a_rule_are_shown_wherever_they_lie():
    rows = 40_000
    frame = pl.DataFrame(
        {
            "often": [-(n % 7 == 6) for n in range(rows)],
            "late": [-(n > 30_000) for n in range(rows)],
            "seldom": [-(n in (3, 20_000, rows - 1)) for n in range(rows)],
        }
    )
    made = contract(*[column(name, INTEGER, minimum=0) for name in frame.columns])
    for data in (frame, frame.to_pandas(), frame.to_arrow(), frame.lazy()):
        report = validate(data, made, samples=4)
        for name in frame.columns:
            broken = [row for row, value in enumerate(frame[name]) if value < 0]
            shown = outcome(report, f"{name}.minimum").samples
            assert [sample["row"] for sample in shown] == broken[:4]


def test_expressions_show_the_columns_that_they_speak_of():
    frame = pl.DataFrame({"a": [1, 5], "b": [2, 2], "c": [0, 0]})
    made = contract(
        column("a", INTEGER),
        column("b", INTEGER),
        column("c", INTEGER),
        quality=(expression("ordered", "a <= b"),),
    )
    assert outcome(validate(frame, made), "ordered").samples == ({"row": 1, "a": 5, "b": 2},)


@pytest.mark.parametrize(
    ("classification", "shown"),
    [
        (None, "s3cret"),
        ("public", "s3cret"),
        ("Internal", "s3cret"),
        ("confidential", "[redacted]"),
        ("PII", "[redacted]"),
        ("some word of their own", "[redacted]"),
    ],
)
def test_what_is_classified_is_not_shown(classification, shown):
    frame = pl.DataFrame({"id": [1], "s": ["s3cret"]})
    made = contract(
        column("id", INTEGER, primary_key_position=1),
        column("s", STRING, pattern="^x", classification=classification),
    )
    report = validate(frame, made)
    assert outcome(report, "s.pattern").samples == ({"id": 1, "s": shown},)


def test_secrets_are_hidden_in_keys_and_duplicates_and_type_failures_too():
    frame = pl.DataFrame({"s": ["s3cret", "s3cret"], "n": ["s3cret", "s3cret"]})
    made = contract(
        column("s", STRING, primary_key_position=1, classification="restricted"),
        column("n", INTEGER, classification="restricted"),
    )
    report = validate(frame, made)
    assert report.failures()
    assert "s3cret" not in str(report)


def test_every_value_becomes_json():
    values = [
        None,
        True,
        1,
        2**70,
        1.5,
        math.nan,
        math.inf,
        "x" * 5000,
        b"\x00\xff",
        date(2024, 1, 1),
        datetime(2024, 1, 1, tzinfo=UTC),
        time(1),
        timedelta(1),
        Decimal("1.10"),
        {"a": [Decimal(1)]},
        [[[[[[1]]]]]],
        {"k": {1, 2}},
    ]
    made = [json_value(value) for value in values]
    json.dumps(made, allow_nan=False)
    assert made[5:7] == ["nan", "inf"]
    assert len(str(made[7])) == 200
    assert made[13] == "1.10"
