"""Instants in DuckDB are shown in the zone of the user's session; no count depends on it."""

from __future__ import annotations

import duckdb
import pytest

from dagster_contracts.engine.validation import validate
from tests.engine.builders import TIMESTAMP, column, contract, expression, failed_rows, outcome

ROWS = """
    SELECT TIMESTAMPTZ '2019-05-01 00:00:00+00' AS seen,
        TIMESTAMPTZ '2024-10-27 00:30:00+00' AS until
    UNION ALL SELECT TIMESTAMPTZ '2024-10-27 00:30:00+00', TIMESTAMPTZ '2024-10-27 01:30:00+00'
    UNION ALL SELECT TIMESTAMPTZ '2024-10-27 01:30:00+00', NULL
"""


@pytest.mark.parametrize("zone", [None, "UTC", "Etc/UTC", "Europe/Zurich", "America/St_Johns"])
def test_bounds_on_instants_hold_in_every_zone_of_the_session(zone: str | None) -> None:
    connection = duckdb.connect()
    if zone is not None:
        connection.execute(f"SET TimeZone = '{zone}'")
    before = connection.execute("SELECT current_setting('TimeZone')").fetchall()
    made = contract(
        column(
            "seen",
            TIMESTAMP,
            timezone=True,
            minimum="2020-01-01T00:00:00Z",
            exclusive_maximum="2024-10-27T02:30:00+01:00",
        ),
        column("until", TIMESTAMP, enum=("2024-10-27T00:30:00Z",)),
        quality=(
            expression("after", "seen >= '2024-10-27T00:30:00Z'"),
            expression("lasting", "until - seen <= 1h"),
        ),
    )
    report = validate(connection.sql(ROWS), made)
    assert failed_rows(report) == {
        "seen.minimum": 1,
        "seen.exclusive_maximum": 1,
        "until.enum": 1,
        "after": 1,
        "lasting": 1,
    }
    assert not [one.reason for one in report.outcomes if one.reason]
    shown = outcome(report, "seen.minimum").samples[0]["seen"]
    assert shown.startswith(("2019-05-01T", "2019-04-30T"))
    assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == before
    nested = connection.sql(f"SELECT {{'seen': seen}} AS o, [seen] AS l FROM ({ROWS})")
    within = column("seen", TIMESTAMP, minimum="2020-01-01T00:00:00Z")
    items = column("item", TIMESTAMP, minimum="2020-01-01T00:00:00Z")
    report = validate(nested, contract(column("o", properties=(within,)), column("l", items=items)))
    assert failed_rows(report) == {"o.seen.minimum": 1, "l[].minimum": 1}
