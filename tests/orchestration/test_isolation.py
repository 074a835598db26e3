"""One broken contract or circuit, and all the others in the same tick of each sensor."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.store.tables import circuit_events, circuits, metric_points
from tests.orchestration.conftest import BAD, GOOD, NEWER, ORDERS, Deployment
from tests.orchestration.test_circuit_sensor import SENSOR, run_requests
from tests.orchestration.test_heal_runs import IMPATIENT, WEATHER, copy, mend, reasons

MONITOR = "contract_monitor_sensor"
BROKEN, WELL = CircuitKey("orders", "orders"), CircuitKey("weather", "weather")


def spoil(deployment: Deployment, how: str) -> None:
    """Break the circuit's row, as a crash of the disk or another program may."""
    body = {
        "no json": "{",
        "no state": json.dumps({"contract": "orders", "asset": "orders", "state": "ajar"}),
    }
    with deployment.runtime.store.begin() as conn:
        if how == "history":
            conn.execute(
                sa.text(f"UPDATE {circuit_events.name} SET before = 'ajar' WHERE contract='orders'")
            )
        else:
            conn.execute(
                sa.text(f"UPDATE {circuits.name} SET body = :body WHERE contract = 'orders'"),
                {"body": body[how]},
            )


def both_open(deployment: Deployment) -> tuple[dg.Definitions, str]:
    """Two contracts whose circuits are open, and the cursor of a tick before that."""
    deployment.contract(IMPATIENT)
    deployment.contract(WEATHER, "weather")
    deployment.delivered["weather"] = GOOD
    defs = deployment.defs(
        deployment.asset("orders"),
        deployment.asset("weather"),
        copy("revenue", "orders"),
        copy("outlook", "weather"),
    )
    deployment.run(defs)
    cursor = deployment.tick(defs, SENSOR).cursor
    deployment.delivered.update(orders=BAD, weather=BAD)
    deployment.run(defs, raise_on_error=False)
    return defs, cursor


def shown(tick: Any) -> dict[str, str]:
    return {e.asset_key.to_user_string(): e.description for e in tick.asset_events}


@pytest.mark.parametrize(
    ("how", "first"), [("no json", True), ("no state", False), ("history", False)]
)
def test_a_healthy_circuit_is_probed_closed_and_healed_beside_a_broken_one(
    deployment: Deployment, how: str, first: bool
) -> None:
    defs, before = both_open(deployment)
    cursor = None if first else before
    spoil(deployment, how)
    deployment.delivered["weather"] = NEWER

    tick = deployment.tick(defs, SENSOR, cursor)
    probed = {r.asset_selection[0].to_user_string() for r in tick.run_requests}
    assert probed == ({"orders", "weather"} if how == "history" else {"weather"})
    run_requests(deployment, defs, tick)
    assert deployment.runtime.breaker.circuit(WELL).state == "closed"
    told = shown(tick)["orders"]
    assert told.startswith("the sensor could not look after the circuit orders/orders: ")

    later = deployment.tick(defs, SENSOR, tick.cursor)
    healed = {r.asset_selection[0].to_user_string() for r in later.run_requests}
    assert "outlook" in healed
    assert "orders" not in shown(later), "the same trouble is shown once"
    run_requests(deployment, defs, later)
    assert "outlook" not in reasons(deployment)
    quiet = deployment.tick(defs, SENSOR, later.cursor)
    if how != "history":
        assert "orders/orders cannot be judged" in (reasons(deployment)["revenue"] or "")
        assert quiet.skip_reason.skip_message.startswith("not all could be looked after: orders/")

    # Mended: the check says so, and it goes on.
    with deployment.runtime.store.begin() as conn:
        mine = circuits.c.contract == "orders"
        conn.execute(sa.delete(circuits).where(mine))
        conn.execute(sa.delete(circuit_events).where(circuit_events.c.contract == "orders"))
    mend(deployment, defs, "orders")
    mended = deployment.tick(defs, SENSOR, quiet.cursor)
    assert shown(mended)["orders"].startswith("closed")


def test_alerts_and_actions_of_others_go_on_beside_a_broken_contract(
    deployment: Deployment,
) -> None:
    active = """
  monitoring:
    actions: [{when: "row_count < 9", do: rematerialize, cooldown: 1h}]
"""
    for text, name in ((ORDERS, "orders"), (WEATHER, "weather")):
        deployment.contract(text + active, name)
    deployment.delivered["weather"] = BAD
    defs = deployment.defs(deployment.asset("orders"), deployment.asset("weather"))
    deployment.run(defs, raise_on_error=False)
    spoil(deployment, "no json")
    with deployment.runtime.store.begin() as conn:
        conn.execute(
            sa.text("UPDATE dagster_contracts_observations SET metrics = '{' WHERE asset='orders'")
        )
        conn.execute(sa.delete(metric_points).where(metric_points.c.asset == "orders"))

    tick = deployment.tick(defs, MONITOR)

    asked = [r.asset_selection for r in tick.run_requests]
    assert asked == [[dg.AssetKey("weather")]]
    told = (deployment.root / "alerts.jsonl").read_text()
    assert "weather" in told
    again = deployment.tick(defs, MONITOR)
    assert "not all could be done" in again.skip_reason.skip_message


def test_an_action_that_dagster_would_refuse_stops_no_tick(deployment: Deployment) -> None:
    days = dg.StaticPartitionsDefinition(["mon"])
    deployment.contract(
        ORDERS
        + """
  monitoring:
    actions: [{when: "row_count < 9", do: rematerialize, cooldown: 1h}]
"""
    )
    deployment.run(deployment.defs(deployment.asset("orders")))
    parted = deployment.defs(deployment.asset("orders", partitions_def=days))
    context = dg.build_sensor_context(
        instance=deployment.instance, repository_def=parted.get_repository_def()
    )
    tick = parted.get_sensor_def(MONITOR).evaluate_tick(context)
    assert tick.run_requests == []
    assert "orders has partitions, and nothing says which one" in tick.skip_message
