"""Contracts and data of the kinds that other contract tools are tested with, and their verdicts.

The tables are small enough to be judged by eye; the verdicts are those that the tools agree on.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pyarrow as pa
import pytest

from dagster_contracts.core.contract import LibraryMetric, ThresholdOperator, ThresholdUnit
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine.validation import validate
from tests.engine.builders import INTEGER, STRING, column, contract, library, outcome, threshold
from tests.engine.conformance.kinds import Places, make

ONE_OF_EACH_ENGINE = ("polars", "pandas", "duckdb", "postgresql", "sqlite")

CODES = pa.table({"n": [1, 2, 3, 4], "code": ["ID1", "XXX", "N/A", None]})
"""One good value, one bad, one that stands for a missing one, and one that is missing."""

NULLS, MISSING = LibraryMetric.NULL_VALUES, LibraryMetric.MISSING_VALUES
INVALID, TWICE = LibraryMetric.INVALID_VALUES, LibraryMetric.DUPLICATE_VALUES

OF_CODES: dict[str, tuple[LibraryMetric, dict[str, Any], int]] = {
    "nulls": (NULLS, {}, 1),
    "missing": (MISSING, {"missing_values": (None, "N/A")}, 2),
    "missing_null_unnamed": (MISSING, {"missing_values": ("N/A",)}, 2),
    "missing_none_there": (MISSING, {"missing_values": (None, "-")}, 1),
    "invalid": (INVALID, {"valid_values": ("ID1",)}, 2),
    "invalid_all_listed": (INVALID, {"valid_values": ("ID1", "XXX", "N/A")}, 0),
    "invalid_pattern": (INVALID, {"pattern": "^ID[0-9]$"}, 2),
    "invalid_both": (INVALID, {"valid_values": ("ID1", "XXX"), "pattern": "^X"}, 2),
    "duplicates": (TWICE, {}, 0),
    "nulls_of_some": (NULLS, {"filter": "n <= 2"}, 0),
    "invalid_of_some": (INVALID, {"valid_values": ("ID1",), "filter": "n <= 2"}, 1),
}


@pytest.mark.parametrize("kind", ONE_OF_EACH_ENGINE)
def test_codes(kind: str, places: Places) -> None:
    rules = tuple(library(n, m, "code", **given) for n, (m, given, _) in OF_CODES.items())
    made = contract(column("n", INTEGER), column("code", STRING), quality=rules)
    report = validate(make(CODES, kind, places), made)
    found = {name: outcome(report, name).failed_rows for name in OF_CODES}
    assert found == {name: count for name, (_, _, count) in OF_CODES.items()}
    for name, (_, given, count) in OF_CODES.items():
        assert outcome(report, name).rows_tested == (2 if "filter" in given else 4)
        expected = OutcomeStatus.FAILED if count else OutcomeStatus.PASSED
        assert outcome(report, name).status is expected


def accepts(operator: str, value: float, limits: tuple[float, ...]) -> bool:
    first, last = limits[0], limits[-1]
    return {
        "mustBe": value == first,
        "mustNotBe": value != first,
        "mustBeGreaterThan": value > first,
        "mustBeGreaterOrEqualTo": value >= first,
        "mustBeLessThan": value < first,
        "mustBeLessOrEqualTo": value <= first,
        "mustBeBetween": first <= value <= last,
        "mustNotBeBetween": not first <= value <= last,
    }[operator]


# Each metric counts 2 of 8 rows: 25 per cent.
EIGHT = pa.table(
    {
        "nulls": [None, None, 1, 2, 3, 4, 5, 6],
        "missing": ["", None, "a", "b", "c", "d", "e", "f"],
        "invalid": ["a", "b", None, "a", "x", "y", "b", "a"],
        "twice": [1, 1, 1, 2, 3, 4, None, None],
    }
)
METRICS = {"nulls": NULLS, "missing": MISSING, "invalid": INVALID, "twice": TWICE}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "missing": {"missing_values": ("",)},
    "invalid": {"valid_values": ("a", "b")},
}
AROUND = {ThresholdUnit.ROWS: (1, 2, 3), ThresholdUnit.PERCENT: (24.5, 25, 25.5)}


@pytest.mark.parametrize("kind", ONE_OF_EACH_ENGINE)
def test_each_metric_with_each_operator_in_rows_and_per_cent(kind: str, places: Places) -> None:
    rules, expected = [], {}
    for of, operator, (unit, values) in product(METRICS, ThresholdOperator, AROUND.items()):
        two = operator.value.endswith("Between")
        for limits in product(values, repeat=2) if two else [(value,) for value in values]:
            if list(limits) != sorted(limits):
                continue
            name = f"{of} {operator.value} {limits} {unit.value}"
            limit = threshold(operator.value, *limits, percent=unit is ThresholdUnit.PERCENT)
            rules.append(library(name, METRICS[of], of, threshold=limit, **ARGUMENTS.get(of, {})))
            expected[name] = accepts(operator.value, values[1], limits)
    properties = [
        column(name, STRING if name in ARGUMENTS else INTEGER) for name in EIGHT.column_names
    ]
    report = validate(
        make(EIGHT, kind, places), contract(*properties, quality=tuple(rules)), samples=0
    )
    assert {outcome(report, name).failed_rows for name in expected} == {2}
    passed = {name: outcome(report, name).status is OutcomeStatus.PASSED for name in expected}
    assert passed == expected


@pytest.mark.parametrize("kind", ONE_OF_EACH_ENGINE)
def test_row_counts_with_each_operator(kind: str, places: Places) -> None:
    rules, expected = [], {}
    for operator, number in product(ThresholdOperator, (7, 8, 9)):
        limits = (number, number + 1) if operator.value.endswith("Between") else (number,)
        name = f"{operator.value} {limits}"
        limit = threshold(operator.value, *limits)
        rules.append(library(name, LibraryMetric.ROW_COUNT, threshold=limit))
        expected[name] = accepts(operator.value, 8, limits)
    report = validate(make(EIGHT, kind, places), contract(quality=tuple(rules)), samples=0)
    assert {outcome(report, name).value for name in expected} == {8}
    passed = {name: outcome(report, name).status is OutcomeStatus.PASSED for name in expected}
    assert passed == expected
