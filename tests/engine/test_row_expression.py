from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pytest

from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import as_kind, column, contract, expression, outcome

TABLE = pa.table(
    {
        "a": pa.array([1, 2, None, -7], pa.int64()),
        "b": pa.array([100, 2, 3, None], pa.int8()),
        "f": pa.array([0.5, float("nan"), None, -2.0], pa.float64()),
        "s": pa.array(["Ab", "c", None, " x "], pa.string()),
        "d": pa.array([date(2024, 1, 1), date(2024, 2, 29), None, date(2023, 12, 31)]),
        "t": pa.array(
            [datetime(2024, 1, 1, 1), datetime(2024, 2, 29), None, datetime(2023, 12, 31)],  # noqa: DTZ001
            pa.timestamp("us"),
        ),
        "u": pa.array(
            [datetime(2024, 1, 1, 3), datetime(2024, 2, 28), None, None],  # noqa: DTZ001
            pa.timestamp("us"),
        ),
        "o": pa.array([True, False, None, True]),
    }
)


@pytest.mark.parametrize("kind", ["polars", "pandas_arrow", "duckdb"])
@pytest.mark.parametrize(
    ("text", "failing"),
    [
        ("a >= 1", 1),
        ("a >= 1 or a is null", 1),
        ("a > 0.5", 1),
        ("a < b", 1),
        ("a <= 9223372036854775808", 0),
        ("b + b > 150 or b < 100", 0),  # 100 + 100 does not wrap in eight bits
        ("b * 2 = 200 or b < 100", 0),
        ("a / 0 = 1", 0),  # division by zero is unknown
        ("a % 3 in (1, 2)", 0),  # -7 % 3 is 2, the sign of the divisor
        ("f > 0", 1),
        ("f is not null", 2),
        ("not (f > 0)", 1),
        ("abs(a) < 7", 1),
        ("round(f) = f or f > 0", 0),
        ("length(s) = 2", 2),
        ("lower(s) = 'ab' or upper(s) = 'C' or trim(s) = 'x'", 0),
        ("starts_with(s, 'A') or ends_with(s, 'c')", 1),
        ("s in ('Ab', 'c')", 1),
        ("s matches '^[A-Za-z]+$'", 1),
        ("coalesce(b, a) > 0", 1),
        ("d >= '2024-01-01'", 1),
        ("d between '2024-01-01' and '2024-12-31'", 1),
        ("year(d) = 2024 and month(d) < 3", 1),
        ("day(d) in (1, 29)", 1),
        ("date(t) = d", 0),
        ("hour(t) = 0", 1),
        ("u >= t", 1),
        ("u - t <= 1h", 1),
        ("t + 1d > u", 0),
        ("t >= '2024-01-01T02:00:00'", 2),
        ("o", 1),
        ("o = true or a = 2", 0),
        ("a = 1 and true", 2),
        ("1 < a", 2),
    ],
)
def test_expressions_count_the_rows_for_which_they_are_false(kind, text, failing, tmp_path):
    made = contract(
        *(column(name) for name in TABLE.column_names), quality=(expression("e", text),)
    )
    found = outcome(validate(as_kind(TABLE, kind, tmp_path), made), "e")
    assert (found.failed_rows, found.reason) == (failing, None)


@pytest.mark.parametrize(
    "text",
    [
        "s > 1",
        "a + s > 1",
        "d + 1 > d",
        "length(a) > 1",
        "year(s) = 2024",
        "t > '12:00'",
        "a",
        "a = null",
        "s matches '(?=x)'",
        "true",
        "hour(d) = 1",
        "lower(1) = 'a'",
        "o > t",
    ],
)
def test_expressions_without_meaning_are_not_evaluated(text, tmp_path):
    made = contract(
        *(column(name) for name in TABLE.column_names), quality=(expression("e", text),)
    )
    found = outcome(validate(as_kind(TABLE, "polars", tmp_path), made), "e")
    assert found.status is OutcomeStatus.NOT_EVALUATED
    assert found.reason


def test_expressions_speak_the_contracts_names():
    table = pa.table({"amt": [1, -1]})
    made = contract(column("amount", physical_name="amt"), quality=(expression("e", "amount > 0"),))
    assert outcome(validate(table, made), "e").failed_rows == 1
