"""Generated contracts and tables in PostgreSQL and SQLite, counted by plain Python."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from dagster_contracts.engine.validation import validate
from tests.engine.builders import failed_rows
from tests.engine.conformance.kinds import Places, make
from tests.engine.oracle import counts
from tests.engine.test_against_oracle import cases

# SQLite keeps no exact decimals, and NaN as null.
_NOT_IN_SQLITE = {"m", "f"}


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases())
def test_every_count_is_what_plain_python_counts(kind: str, case, places: Places) -> None:
    made, table = case
    if kind == "sqlite" and _NOT_IN_SQLITE & set(table.column_names):
        return
    report = validate(make(table, kind, places), made)
    expected = counts(made.objects[0], table.to_pylist())
    any_broken = expected.pop("*", 0)
    assert not [o for o in report.outcomes if o.status.value == "not_evaluated"]
    assert failed_rows(report) == expected
    assert report.metrics["schema_validation_errors"] * max(table.num_rows, 1) == any_broken
