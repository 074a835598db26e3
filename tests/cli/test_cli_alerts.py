"""The alerts that a store holds."""

from __future__ import annotations

import pytest

from dagster_contracts.core.contract import Severity
from dagster_contracts.monitoring.alerts import AlertBook, AlertKind, AlertLabels
from tests.cli.conftest import Project

OPEN = AlertLabels(kind=AlertKind.CIRCUIT_OPEN, contract="orders", asset="orders")
ODD = AlertLabels(kind=AlertKind.ANOMALY, contract="prices", asset="prices", subject="row_count")


@pytest.fixture
def alerted(project: Project) -> Project:
    """The project with one alert that fires and one that was resolved."""
    store = project.store()
    book = AlertBook(store)
    with store.begin() as conn:
        now = store.now(conn)
        book.fire(
            conn,
            OPEN,
            severity=Severity.ERROR,
            summary="orders opened",
            detail="schema_validation_errors was 7.0%, which is > 5%",
            recipients=["shop"],
            now=now,
        )
        book.fire(conn, ODD, severity=Severity.WARNING, summary="few rows", now=now)
        book.resolve(conn, ODD, now=now)
    store.close()
    return project


def test_what_fires_is_told_with_its_reason(alerted: Project) -> None:
    ran = alerted.run("alerts")

    assert ran.code == 0
    assert "firing circuit.open orders/orders: orders opened" in ran.stdout
    assert "told shop" in ran.stdout
    assert "schema_validation_errors was 7.0%, which is > 5%" in ran.stdout
    assert "few rows" not in ran.stdout
    assert ran.stdout.endswith("1 alert\n")


def test_all_has_the_resolved_ones_too(alerted: Project) -> None:
    found = alerted.run("alerts", "--all", "--format", "json").json["alerts"]

    assert {(alert["contract"], alert["state"]) for alert in found} == {
        ("orders", "firing"),
        ("prices", "resolved"),
    }


def test_the_alerts_of_one_contract(alerted: Project) -> None:
    assert alerted.run("alerts", "prices").stdout == "no alert\n"
    assert len(alerted.run("alerts", "orders", "--format", "json").json["alerts"]) == 1
