"""Service levels over several materializations, in Dagster, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from dagster_contracts.store.database import open_store
from tests.orchestration.conftest import BAD, GOOD, NEWER, Deployment
from tests.orchestration.contract_text import contract_text
from tests.orchestration.test_registry_sensor import alerts

SLA = """
sla:
  availability: "> 90%"
  timeToRepair: 1h
  timeToDetect: 1min
  throughput: 20 rows/h
  frequency: 3h
  retention: 30d
  endOfSupport: "2026-03-20"
"""
ACTIONS = """
monitoring:
  actions:
    - {when: "time_to_repair > 30min", do: rematerialize, cooldown: 1h}
"""
ORDERS = contract_text(
    "orders", "level: last, source: last_valid", sections=SLA + ACTIONS, retry_after="10s"
)


@pytest.fixture
def timed(deployment: Deployment, clock: Any) -> Deployment:
    """The deployment under the contract of these tests, its store on the test's clock."""
    deployment.contract(ORDERS)
    deployment.runtime.__dict__["store"] = open_store(
        deployment.runtime.settings.store_url, clock=clock
    )
    return deployment


def definitions(deployment: Deployment) -> dg.Definitions:
    return deployment.defs(deployment.asset("orders", "orders@^1"))


def levels(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """The checks of the service levels."""
    return {
        each.check_name.removeprefix("sla_"): each
        for each in result.get_asset_check_evaluations()
        if each.check_name.startswith("sla_")
    }


def shown(check: dg.AssetCheckEvaluation, key: str) -> Any:
    """A value of a check's metadata."""
    return check.metadata[key].value


def test_the_service_is_measured_from_one_materialization_to_the_next(
    timed: Deployment, clock: Any
) -> None:
    defs = definitions(timed)

    first = levels(timed.run(defs))
    assert "no earlier materialization" in str(first["throughput"].description)
    assert not first["throughput"].passed
    assert "not evaluated yet" in str(first["availability"].description)
    assert first["frequency"].passed
    assert "no event time" in str(first["retention"].description)
    assert first["endOfSupport"].severity is dg.AssetCheckSeverity.WARN
    assert "support ends 2026-03-21 00:00 UTC, in 18d 18h" in str(first["endOfSupport"].description)

    clock.advance(minutes=6)  # three rows in six minutes are thirty in an hour
    timed.delivered["orders"] = NEWER
    second = levels(timed.run(defs))
    assert second["throughput"].passed
    assert shown(second["throughput"], "value") == pytest.approx(30 / 3600, rel=1e-5)
    assert shown(second["throughput"], "threshold") == "throughput >= 20/h"
    assert "throughput was 30/h, which is >= 20/h" in str(second["throughput"].description)
    assert shown(second["availability"], "value") == 1
    assert shown(second["timeToRepair"], "value") == 0

    clock.advance(minutes=54)
    timed.delivered["orders"] = BAD
    timed.run(defs, raise_on_error=False)
    assert timed.state() == "open"

    clock.advance(hours=2)
    timed.delivered["orders"] = GOOD
    mended = levels(timed.run(defs))
    assert timed.state() == "closed"
    # Judged before this very batch closes the circuit: an hour of three was good.
    assert shown(mended["availability"], "value") == pytest.approx(1 / 3, rel=1e-5)
    assert not mended["availability"].passed
    assert mended["availability"].severity is dg.AssetCheckSeverity.WARN
    assert "availability was 33.3%, which is not > 90%" in str(mended["availability"].description)
    assert shown(mended["timeToRepair"], "value") == 7200
    assert not mended["timeToRepair"].passed
    assert mended["timeToDetect"].passed
    assert not mended["throughput"].passed  # three rows in two hours

    clock.advance(days=40)
    later = levels(timed.run(defs))
    assert shown(later["timeToRepair"], "value") == 0
    assert not later["endOfSupport"].passed
    assert "support ended" in str(later["endOfSupport"].description)


@pytest.mark.parametrize(
    ("condition", "quiet", "over", "reason"),
    [
        ("delay_after.0900 > 30min", {"hours": 27, "minutes": 29}, {"minutes": 2}, "delay_after"),
        ("availability < 90%", {"hours": 3, "minutes": 19}, {"minutes": 3}, "availability"),
        ("time_to_end_of_support < 1d", {"days": 17}, {"hours": 19}, "time_to_end_of_support"),
        ("materialization_age > 30min", {"minutes": 29}, {"minutes": 2}, "materialization_age"),
        ("data_freshness > 30min", {"minutes": 29}, {"minutes": 2}, "data_freshness"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_a_silent_feed_opens_its_circuit_at_a_tick_once(
    timed: Deployment,
    clock: Any,
    condition: str,
    quiet: dict[str, float],
    over: dict[str, float],
    reason: str,
) -> None:
    timed.contract(ORDERS.replace("schema_validation_errors > 5%", condition))
    defs = definitions(timed)
    timed.run(defs)
    first = timed.tick(defs, "contract_circuit_sensor")

    clock.advance(**quiet)
    before = timed.tick(defs, "contract_circuit_sensor", first.cursor)
    assert timed.state() == "closed"

    clock.advance(**over)
    opened = timed.tick(defs, "contract_circuit_sensor", before.cursor)
    assert timed.state() == "open"
    (shown,) = opened.asset_events
    assert reason in str(shown.description)
    again = timed.tick(defs, "contract_circuit_sensor", opened.cursor)
    assert not again.asset_events
    (circuit,) = timed.runtime.breaker.circuits()
    assert circuit.generation == 1
    history = timed.runtime.breaker.history(circuit.key, transitions_only=True)
    assert [(entry.cause, entry.evaluation_id) for entry in history] == [("tick", None)]

    timed.tick(defs, "contract_monitor_sensor")
    timed.tick(defs, "contract_monitor_sensor")
    (told,) = [each for each in alerts(timed) if each["kind"] == "circuit.open"]
    assert told["state"] == "firing"
    assert reason in told["summary"].lower()


def test_a_breach_of_the_service_refuses_no_batch(timed: Deployment, clock: Any) -> None:
    timed.contract(contract_text("orders", sections=SLA))
    defs = definitions(timed)
    timed.run(defs)
    clock.advance(hours=1)
    timed.delivered["orders"] = BAD
    timed.run(defs, raise_on_error=False)
    clock.advance(minutes=9)
    timed.delivered["orders"] = GOOD
    result = timed.run(defs)
    assert not levels(result)["availability"].passed
    materialized = result.asset_materializations_for_node("orders")
    assert len(materialized) == 1
    assert "contract/quarantine" not in materialized[0].metadata


def test_the_monitor_sees_it_without_a_materialization_and_acts(
    timed: Deployment, clock: Any
) -> None:
    defs = definitions(timed)
    timed.run(defs)
    clock.advance(hours=1)
    timed.delivered["orders"] = BAD
    timed.run(defs, raise_on_error=False)
    clock.advance(minutes=20)
    quiet = timed.tick(defs, "contract_monitor_sensor")
    assert not quiet.run_requests
    clock.advance(minutes=50)
    tick = timed.tick(defs, "contract_monitor_sensor")
    assert [request.asset_selection for request in tick.run_requests] == [[dg.AssetKey("orders")]]
    alerts = timed.root / "alerts.jsonl"
    said = alerts.read_text()
    assert "time_to_repair was 1h 10min, which is not <= 1h" in said
