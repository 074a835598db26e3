"""The demo's contracts meet the real dirt as it is, and notice every fault."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

from dagster_contracts.core.contract import Contract
from dagster_contracts.core.outcome import ContractReport, OutcomeStatus
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.folder import ContractFolder, contract_files, read_folder
from dagster_contracts.engine.validation import validate
from demo.customers import navigation_events, sales_history
from demo.faults import Fault, FaultSwitch
from demo.flights import FIRST_DAY, LAST_DAY, Landing

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 3, 2, 6, 0, 30, tzinfo=UTC)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]
ALLOWED = Fraction(5, 100)  # more schema errors than this open each of the circuits


@pytest.fixture(scope="module")
def contracts() -> ContractFolder:
    return read_folder(ROOT / "contracts")


def judged(data: pd.DataFrame, contract: Contract, *, now: datetime = NOW) -> ContractReport:
    return validate(data, contract, now=now, arrived_at=now, last_materialized_at=now)


def failures(report: ContractReport) -> list[str]:
    return [
        f"{outcome.rule}: {outcome.failed_rows} {outcome.reason or ''}"
        for outcome in report.outcomes
        if outcome.status in (OutcomeStatus.FAILED, OutcomeStatus.NOT_EVALUATED)
    ]


@pytest.mark.parametrize(
    "path", list(contract_files(ROOT / "contracts")), ids=lambda path: path.parent.name
)
def test_nothing_is_to_be_said_against_a_contract(path: Path) -> None:
    assert read_document(path, root=ROOT / "contracts").problems == ()


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_every_real_day_keeps_the_contract(
    day: date, landing: Landing, contracts: ContractFolder
) -> None:
    flights = judged(landing.flights(day), contracts.resolve("flights@^1"))
    schedule = judged(landing.schedule(day), contracts.resolve("airline_schedule@^1"))

    assert failures(flights) == []
    assert failures(schedule) == []


@pytest.mark.parametrize("name", ["weather", "planes"])
def test_the_tables_of_the_year_keep_their_contracts(
    name: str, landing: Landing, contracts: ContractFolder
) -> None:
    data = {"weather": landing.weather, "planes": landing.planes}[name]()

    assert failures(judged(data, contracts.resolve(name))) == []


def test_the_running_feed_keeps_its_contract(
    faults: FaultSwitch, contracts: ContractFolder
) -> None:
    contract = contracts.resolve("customer_behavior_data")

    assert failures(judged(navigation_events(NOW, faults), contract)) == []


def test_the_schedule_is_what_the_flights_level_promises(
    landing: Landing, contracts: ContractFolder
) -> None:
    contract = contracts.resolve("flights@^1")
    planned = contract.schemas["planned_flights"]

    report = validate(landing.schedule(FIRST_DAY), contract, schema_object=planned, now=NOW)

    assert report.metrics["schema_validation_errors"] == 0


def test_the_sales_are_what_the_fallback_promises(contracts: ContractFolder) -> None:
    contract = contracts.resolve("customer_behavior_data")
    minimal = contract.schemas["minimal_product_data"]

    report = validate(sales_history(NOW), contract, schema_object=minimal, now=NOW)

    assert report.metrics["schema_validation_errors"] == 0


def test_broken_rows_are_counted(
    landing: Landing, faults: FaultSwitch, contracts: ContractFolder
) -> None:
    faults.turn_on(Fault.BROKEN_ROWS, since=NOW)
    flights = landing.flights(FIRST_DAY)

    report = judged(flights, contracts.resolve("flights@^1"))

    assert report.metrics["schema_validation_errors"] == Fraction(70, len(flights)) > ALLOWED


def test_a_renamed_column_breaks_the_schema(
    landing: Landing, faults: FaultSwitch, contracts: ContractFolder
) -> None:
    faults.turn_on(Fault.RENAMED_COLUMN, since=NOW)

    report = judged(landing.weather(), contracts.resolve("weather@^1"))

    assert report.metrics["schema_validation_errors"] == 1
    assert any("temp" in failure for failure in failures(report))


def test_a_stopped_feed_is_no_longer_fresh(faults: FaultSwitch, contracts: ContractFolder) -> None:
    faults.turn_on(Fault.STOPPED_FEED, since=NOW - timedelta(minutes=31))

    report = judged(navigation_events(NOW, faults), contracts.resolve("customer_behavior_data"))

    freshness = report.metrics["data_freshness"]
    assert freshness is not None
    assert freshness > 30 * 60
