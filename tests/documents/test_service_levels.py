"""Service levels of both forms: every property has a meaning, or a reason why it has none."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from dagster_contracts.core.checks import plan_checks
from dagster_contracts.core.condition import render
from dagster_contracts.core.contract import Contract, Severity, SlaProperty
from dagster_contracts.core.outcome import OutcomeKind, OutcomeStatus
from dagster_contracts.core.service_levels import LIFE
from dagster_contracts.documents.compact_writer import to_compact
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.folder import load_contract
from dagster_contracts.documents.lint import lint_contract
from dagster_contracts.documents.odcs_writer import to_odcs
from dagster_contracts.documents.sla import KNOWN, canonical_property, warn_before
from dagster_contracts.engine.validation import validate
from dagster_contracts.errors import DocumentError

OFFICIAL = sorted((Path(__file__).parents[1] / "corpus" / "odcs-official").glob("*.yaml"))
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

HEAD = """\
data_contract:
  name: orders
  version: "1.0.0"
  schema:
    fields:
      id: {type: integer, required: true, primary_key: true}
      placed_at: timestamp
"""


def load(sla: str, more: str = "") -> Contract:
    """A contract with these service levels, written as a flow mapping."""
    return load_contract("orders.yaml", text=f"{HEAD}  sla: {{{sla}}}\n{more}")


def level(sla: str) -> SlaProperty:
    """The only service level."""
    (found,) = load(sla).sla
    return found


def codes(sla: str, more: str = "") -> list[str]:
    """What lint says of these service levels."""
    return [problem.code for problem in lint_contract(load(sla, more))]


@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.stem)
def test_each_level_of_the_official_examples_is_evaluated_or_says_why_not(path: Path) -> None:
    contract = load_contract(path)
    planned = set()
    for target in contract.objects:
        plan = plan_checks(contract, target)
        report = validate(pl.DataFrame({"x": [1]}), contract, schema_object=target, now=NOW)
        levels = [o for o in report.outcomes if o.kind is OutcomeKind.SLA]
        planned |= {o.description for o in levels}
        assert len(levels) == sum(c.kind is OutcomeKind.SLA for c in plan.checks)
        for outcome in levels:
            measured = outcome.status is not OutcomeStatus.NOT_EVALUATED
            assert outcome.reason
            assert measured is (outcome.value is not None)
    # No level is lost between the objects: each shows on one of them.
    assert len(planned) == len({x.description or f"{x.property} {x.text}" for x in contract.sla})


def test_the_official_levels_are_all_understood() -> None:
    (path,) = (path for path in OFFICIAL if path.stem == "database-table-sla.odcs")
    found = [
        (x.property, render(c) if (c := x.condition or x.warn) else x.not_evaluated)
        for x in load_contract(path).sla
    ]
    assert found == [
        ("latency", "data_latency <= 4d"),
        ("generalAvailability", "time_since_general_availability >= 0s"),
        ("endOfSupport", "time_to_end_of_support >= 0s"),
        ("endOfLife", "time_to_end_of_life >= 0s"),
        ("retention", "data_retention <= 1095d"),
        ("frequency", "materialization_age <= 1d"),
        ("timeOfAvailability", "delay_after.1700 <= 0s"),
        ("timeOfAvailability", "delay_after.1600 <= 0s"),
    ]


@pytest.mark.parametrize("name", KNOWN)
def test_a_property_is_known_in_any_spelling(name: str) -> None:
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    for spelling in (name, name.lower(), name.upper(), snake, snake.replace("_", "-")):
        assert canonical_property(spelling) == name


@pytest.mark.parametrize(
    ("sla", "condition"),
    [
        ("availability: 99.9%", "availability >= 99.9%"),
        ('availability: {must: "> 99%", window: 7d}', "availability.7d > 99%"),
        ("availability: {must: 99%, window: 36h}", "availability.36h >= 99%"),
        ("availability: {must: 99%, window: 30d}", "availability >= 99%"),
        ("throughput: 1000/min", "throughput >= 1000/min"),
        ('throughput: "< 5/s"', "throughput < 5/s"),
        ("retention: 90d", "data_retention <= 90d"),
        ("time_to_repair: 4h", "time_to_repair <= 4h"),
        ("timeOfAvailability: 09:00-08:00", "delay_after.1700 <= 0s"),
        (
            'timeOfAvailability: "08:30 America/New_York"',
            "delay_after.0830.America.New_York <= 0s",
        ),
        ('timeOfAvailability: "delay_after.1700 <= 15min"', "delay_after.1700 <= 15min"),
        ("frequency: 30s", "materialization_age <= 30s"),
        ("volume: 100", "row_count >= 100"),
    ],
)
def test_the_compact_form(sla: str, condition: str) -> None:
    found = level(sla)
    assert found.condition is not None
    assert render(found.condition) == condition


def test_dates_in_the_compact_form() -> None:
    support = level("endOfSupport: 2032-05-12")
    assert support.moment == datetime(2032, 5, 13, tzinfo=UTC)  # to the end of that day
    assert warn_before(support) is None
    assert support.severity is Severity.WARNING
    early = level('endOfLife: {must: "2032-05-12T09:30:10-08:00", warn_before: 90d}')
    assert early.moment == datetime(2032, 5, 12, 17, 30, 10, tzinfo=UTC)
    assert warn_before(early) == timedelta(days=90)
    begin = level("generalAvailability: 2026-03-01")
    assert begin.moment == datetime(2026, 3, 1, tzinfo=UTC)
    assert begin.condition is None


@pytest.mark.parametrize(
    ("sla", "said"),
    [
        ("endOfSupport: some day", "'some day'"),
        ("timeOfAvailability: noonish", "'noonish'"),
        ("throughput: 1000", "in which time?"),
        ("availability: {must: 99%, warn_before: 3d}", "warn_before"),
        ("freshness: {must: 2h, window: 3d}", "window"),
        ('throughput: "> 5/month"', "no fixed length"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_a_hint(sla: str, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load(sla)
    assert said in str(caught.value)
    assert "hint" in str(caught.value)


@pytest.mark.parametrize(
    ("sla", "found"),
    [
        ("availability: 150%", ["never-holds"]),
        ('availability: ">= 0%"', ["always-holds"]),
        ('time_to_repair: "< 0s"', ["never-holds"]),
        ('retention: "-3d"', ["never-holds"]),
        ("freshness: 0h", ["never-holds"]),
        ('frequency: "-1d"', ["never-holds"]),
        ('retention: "> 0d"', []),
        ("endOfSupport: 2030-01-01, endOfLife: 2029-01-01", ["dates-out-of-order"]),
        ("generalAvailability: 2030-01-01, endOfSupport: 2029-01-01", ["dates-out-of-order"]),
        ("generalAvailability: 2030-01-01, endOfLife: 2029-01-01", ["dates-out-of-order"]),
        ("generalAvailability: 2026-01-01, endOfSupport: 2029-01-01, endOfLife: 2029-01-01", []),
        ("availability: {must: 99%, severity: error}", ["refuses-for-service"]),
        ("retention: {must: 30d, element: placed_at}", []),
        ("availability: 99.9%, timeToRepair: 4h, throughput: 1/s, retention: 30d", []),
    ],
)
def test_lint(sla: str, found: list[str]) -> None:
    assert codes(sla) == found


def test_a_circuit_that_keeps_itself_open() -> None:
    breaker = "  resilience: {{circuit_breaker: {{open_when: [availability < 90%]{close}}}}}\n"
    assert codes("volume: 1", breaker.format(close="")) == ["feeds-itself"]
    closing = ', close_when: ["schema_validation_errors < 1%"]'
    assert codes("volume: 1", breaker.format(close=closing)) == []


def test_a_level_of_several_elements_is_judged_on_each_object_that_it_names() -> None:
    text = """
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
schema:
  - name: orders
    properties: [{name: placed_at, logicalType: timestamp}]
  - name: refunds
    properties: [{name: paid_at, logicalType: timestamp}, {name: seen_at, logicalType: timestamp}]
  - name: shops
    properties: [{name: opened_at, logicalType: timestamp}]
slaProperties:
  - {property: freshness, value: 2, unit: h, element: "orders.placed_at, refunds.paid_at"}
  - {property: retention, value: 1, unit: month, element: refunds.seen_at}
  - {property: errorRate, value: 1, unit: percent}
"""
    contract = load_contract("shop.odcs.yaml", text=text)
    names = {o.name: plan_checks(contract, o).names for o in contract.objects}
    assert names["orders"] == ("schema", "sla_freshness", "sla_errorRate")
    assert names["refunds"] == ("schema", "sla_freshness", "sla_retention", "sla_errorRate")
    assert names["shops"] == ("schema", "sla_errorRate")
    refunds = contract.objects[1]
    data = pl.DataFrame(
        {"paid_at": [NOW - timedelta(hours=3)], "seen_at": [NOW - timedelta(days=40)]}
    )
    report = validate(data, contract, schema_object=refunds, now=NOW)
    said = {o.check: (o.status.value, o.value) for o in report.outcomes if o.kind == "sla"}
    assert said == {
        "sla_freshness": ("failed", 3 * 3600.0),
        "sla_retention": ("failed", 40 * 86_400.0),
        "sla_errorRate": ("passed", 0.0),
    }


def test_a_future_event_is_unknown_and_never_fresh() -> None:
    contract = load('freshness: "< 2h", retention: 30d')
    for ahead, status in [
        (timedelta(minutes=4), OutcomeStatus.PASSED),  # clocks differ
        (timedelta(hours=1), OutcomeStatus.NOT_EVALUATED),
    ]:
        data = pl.DataFrame({"id": [1, 2], "placed_at": [NOW + ahead, NOW - timedelta(days=31)]})
        report = validate(data, contract, now=NOW)
        (fresh,) = report.of_check("sla_freshness")
        assert fresh.status is status
        (kept,) = report.of_check("sla_retention")
        assert kept.status is OutcomeStatus.FAILED
    assert "lies in the future" in str(fresh.reason)
    assert report.event_time is None
    assert report.metrics["data_freshness"] is None


def test_tomorrow_may_have_begun_somewhere() -> None:
    text = HEAD.replace("timestamp", "date") + "  event_time: placed_at\n  sla: {freshness: 2d}\n"
    contract = load_contract("orders.yaml", text=text)
    for day, known in [(3, True), (5, False)]:
        data = pl.DataFrame({"id": [1], "placed_at": [NOW.replace(day=day).date()]})
        found = validate(data, contract, now=NOW).metrics["data_freshness"]
        assert (found is not None) is known


def test_a_declared_column_that_is_not_there_is_not_complete() -> None:
    contract = load('completeness: "> 95%"')
    report = validate(pl.DataFrame({"id": [1, 2]}), contract, now=NOW)
    (found,) = report.of_check("sla_completeness")
    assert (found.status, found.value) == (OutcomeStatus.FAILED, 0.5)
    # Where it is there, only the required ones must be filled.
    data = pl.DataFrame({"id": [1, 2], "placed_at": [NOW, None]})
    (found,) = validate(data, contract, now=NOW).of_check("sla_completeness")
    assert found.value == 1.0


def test_completeness_of_one_column() -> None:
    contract = load('completeness: {must: "> 95%", element: placed_at}')
    data = pl.DataFrame({"id": [1, 2], "placed_at": [NOW, None]})
    (found,) = validate(data, contract, now=NOW).of_check("sla_completeness")
    assert found.value == 0.5
    (found,) = validate(pl.DataFrame({"id": [1]}), contract, now=NOW).of_check("sla_completeness")
    assert found.value == 0.0


def test_without_a_history_it_is_said_where_it_is_measured() -> None:
    report = validate(
        pl.DataFrame({"id": [1], "placed_at": [NOW]}),
        load("availability: 99%, timeToRepair: 4h, timeOfAvailability: '09:00Z'"),
        now=NOW,
    )
    for outcome in report.outcomes:
        if outcome.kind is OutcomeKind.SLA:
            assert outcome.status is OutcomeStatus.NOT_EVALUATED
            assert "dagster-contracts status" in str(outcome.reason)
    assert set(LIFE).isdisjoint(o.check for o in report.outcomes)


def test_levels_survive_both_forms() -> None:
    sla = """
    availability: {must: "> 99%", window: 7d, severity: error}
    timeToRepair: 4h
    throughput: 20 rows/min
    retention: {must: 90d, element: placed_at}
    generalAvailability: 2026-01-01
    endOfSupport: {must: 2030-05-12, warn_before: 90d}
    endOfLife: "2031-05-12T09:30:10-08:00"
    timeOfAvailability: "08:30 America/New_York"
    frequency: 1d
"""
    contract = load_contract("orders.yaml", text=f"{HEAD}  sla:\n{sla.lstrip(chr(10))}")
    for write in (to_compact, to_odcs):
        again = load_contract("orders.yaml", text=json.dumps(write(contract)))
        assert [replace(x, extras={}) for x in again.sla] == [
            replace(x, extras={}) for x in contract.sla
        ]


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ("nope.placed_at", "'nope' is no object of the schema"),
        ("orders.nope", "there is no column 'nope'"),
        ("orders.id", "the column 'id' is of type integer, which holds no moment"),
        ("nope.a, nope.b", "'nope' is no object of the schema"),
    ],
)
def test_a_level_of_something_that_is_not_there_is_never_judged_on_something_else(
    element: str, reason: str
) -> None:
    contract = load("retention: {must: 3d, element: " + f'"{element}"' + "}, completeness: 90%")
    data = pl.DataFrame({"id": [1], "placed_at": [NOW - timedelta(hours=1)]})
    report = validate(data, contract, now=NOW)
    said = {o.check: (o.status.value, o.reason) for o in report.outcomes if o.kind == "sla"}
    assert said["sla_retention"] == ("not_evaluated", reason)
    assert said["sla_completeness"][0] == "passed"


def test_a_date_holds_whatever_its_element() -> None:
    contract = load("endOfSupport: {must: 2032-05-12, element: nope.id}")
    report = validate(pl.DataFrame({"id": [1], "placed_at": [NOW]}), contract, now=NOW)
    (outcome,) = (o for o in report.outcomes if o.kind == "sla")
    assert outcome.status is OutcomeStatus.PASSED


@pytest.mark.parametrize("named", ["freshness: {must: 1h, element: id}", "retention: 1h"])
def test_a_number_is_no_event_time(named: str) -> None:
    assert load(named).event_time == "placed_at"


def test_a_number_as_a_moment_is_told() -> None:
    assert codes("freshness: {must: 1h, element: id}") == ["no-moment"]
    told = [p.code for p in lint_contract(load("retention: 1h", "  event_time: id\n"))]
    assert "no-moment" in told


@pytest.mark.parametrize(
    ("unit", "code", "condition", "reason"),
    [
        ("m", "unit", "data_retention <= 6min", None),
        ("M", "sla-not-evaluated", None, "'6 M' may mean minutes or months"),
    ],
)
def test_a_unit_that_may_mean_minutes_or_months_is_told(
    unit: str, code: str, condition: str | None, reason: str | None
) -> None:
    text = f"""
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
schema: [{{name: shop, properties: [{{name: at, logicalType: timestamp}}]}}]
slaProperties: [{{property: retention, value: 6, unit: {unit}}}]
"""
    document = read_document(Path("shop.odcs.yaml"), text=text)
    assert document.contract is not None
    (found,) = document.contract.sla
    assert (found.condition and render(found.condition)) == condition
    assert found.not_evaluated == reason
    (problem,) = document.problems
    assert problem.code == code
    assert "months" in (problem.hint or "")
