"""``contract_monitor_sensor``: alerts are delivered once, and actions are carried out."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import WiringError
from tests.orchestration.conftest import BAD, GOOD, ORDERS, Deployment
from tests.orchestration.test_registry_sensor import alerts

MONITOR = "contract_monitor_sensor"
ACTIVE = (
    ORDERS
    + """
  monitoring:
    anomaly_metrics: [row_count]
    min_history: 5
    actions:
      - {when: "row_count < 2", do: rematerialize, cooldown: 1h}
"""
)


def assets(deployment: Deployment) -> list[Any]:
    return [deployment.asset("orders", "orders@^1")]


def test_each_transition_is_told_once(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)

    deployment.tick(defs, MONITOR)
    deployment.tick(defs, MONITOR)

    (alert,) = alerts(deployment)
    assert alert["contract"] == "orders"
    assert alert["state"] == "firing"
    assert "66.7%" in alert["detail"] + alert["summary"]


def test_a_reset_resolves_the_alert(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)
    deployment.tick(defs, MONITOR)
    (circuit,) = deployment.runtime.breaker.circuits()

    deployment.runtime.breaker.reset(circuit.key, actor="ada", reason="mended")
    deployment.tick(defs, MONITOR)

    assert [a["state"] for a in alerts(deployment)] == ["firing", "resolved"]


def test_a_batch_unlike_those_before_it_warns_and_does_not_fail(
    deployment: Deployment, checks: Any
) -> None:
    deployment.contract(ACTIVE)
    defs = deployment.defs(*assets(deployment))
    for n in range(8):
        deployment.delivered["orders"] = pd.concat([GOOD] * (40 + n % 2)).assign(
            order_id=range(3 * (40 + n % 2))
        )
        deployment.run(defs)
    deployment.delivered["orders"] = GOOD

    result = deployment.run(defs)
    deployment.tick(defs, MONITOR)

    assert checks(result)["schema"] is True
    (materialization,) = result.asset_materializations_for_node("orders")
    assert "row_count" in str(materialization.metadata["contract/anomalies"].value)
    assert any("row_count" in a["summary"] + a["detail"] for a in alerts(deployment))


def test_a_corrective_action_is_carried_out_once_in_its_cooldown(deployment: Deployment) -> None:
    deployment.contract(ACTIVE)
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = GOOD.head(1)
    deployment.run(defs)

    first = deployment.tick(defs, MONITOR)
    second = deployment.tick(defs, MONITOR)

    assert [r.asset_selection for r in first.run_requests] == [[dg.AssetKey("orders")]]
    assert not second.run_requests


def test_an_action_that_runs_a_job_unknown_here_is_refused(deployment: Deployment) -> None:
    deployment.contract(ACTIVE.replace("do: rematerialize", "do: run_job, job: repair"))

    with pytest.raises(WiringError, match="repair"):
        deployment.defs(*assets(deployment))


def test_what_a_consumer_reports_reaches_the_producer(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)

    deployment.resource.report_problem("orders", "amounts are in cents", consumer="finance")
    deployment.tick(defs, MONITOR)

    (alert,) = alerts(deployment)
    assert "amounts are in cents" in alert["detail"] + alert["summary"]
