"""``contract_registry_sensor``: new versions are recorded, and consumers told."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import DocumentError, VersionConflictError, contract_asset
from tests.orchestration.conftest import GOOD, ORDERS, Deployment

REGISTRY, MONITOR = "contract_registry_sensor", "contract_monitor_sensor"


def assets() -> list[Any]:
    @contract_asset("orders@^1")
    def orders() -> pd.DataFrame:
        return GOOD

    @dg.asset(owners=["team:finance"])
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    return [orders, revenue]


def alerts(deployment: Deployment) -> list[dict[str, Any]]:
    path = deployment.root / "alerts.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [alert for line in lines for alert in json.loads(line)["alerts"]]


def test_consumers_come_from_the_asset_graph(deployment: Deployment) -> None:
    defs = deployment.defs(*assets())

    deployment.tick(defs, REGISTRY)

    (consumer,) = deployment.runtime.registry.consumers("orders")
    assert consumer.asset == "revenue"
    assert consumer.owners == ("team:finance",)


def test_a_new_version_is_told_to_the_consumers_with_whom_it_breaks(
    deployment: Deployment,
) -> None:
    defs = deployment.defs(*assets())
    deployment.tick(defs, REGISTRY)
    deployment.tick(defs, MONITOR)
    assert alerts(deployment) == []

    newer = ORDERS.replace("version: 1.0.0", "version: 2.0.0").replace(
        "      country: {type: string}\n", ""
    )
    deployment.contract(newer, version="2.0.0")
    told = deployment.tick(defs, REGISTRY)
    deployment.tick(defs, MONITOR)
    deployment.tick(defs, REGISTRY)
    deployment.tick(defs, MONITOR)

    assert "published: orders@2.0.0" in told.skip_message
    (alert,) = alerts(deployment)
    assert alert["contract"] == "orders"
    assert "country" in alert["detail"]
    assert "revenue" in alert["detail"]


def test_an_edited_version_is_an_error_that_names_both_hashes(deployment: Deployment) -> None:
    defs = deployment.defs(*assets())
    deployment.tick(defs, REGISTRY)
    published = deployment.runtime.read_folder().get("orders", "1.0.0").content_hash
    deployment.contract(ORDERS.replace("minimum: 0", "minimum: 1"))
    edited = deployment.runtime.read_folder().get("orders", "1.0.0").content_hash

    with pytest.raises(VersionConflictError) as caught:
        deployment.tick(defs, REGISTRY)

    assert published[:12] in str(caught.value)
    assert edited[:12] in str(caught.value)


def test_a_broken_file_is_an_error_that_keeps_no_other_contract_from_being_told(
    deployment: Deployment,
) -> None:
    deployment.contract(ORDERS.replace("name: orders", "name: prices"), name="prices")
    defs = deployment.defs(*assets())
    deployment.tick(defs, REGISTRY)
    deployment.tick(defs, MONITOR)
    deployment.contract("data_contract: 3\n", name="prices", version="1.1.0")
    newer = ORDERS.replace("version: 1.0.0", "version: 2.0.0")
    deployment.contract(newer.replace("      country: {type: string}\n", ""), version="2.0.0")

    with pytest.raises(DocumentError, match=r"prices/1\.1\.0\.yaml:1:1: "):
        deployment.tick(defs, REGISTRY)
    deployment.tick(defs, MONITOR)

    assert [alert["contract"] for alert in alerts(deployment)] == ["orders"]
    recorded = [(each.contract, each.version) for each in deployment.runtime.registry.published()]
    assert recorded == [("orders", "1.0.0"), ("orders", "2.0.0"), ("prices", "1.0.0")]
