"""The article's own contract, to the letter, in a deployment."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from demo.customers import navigation_events, sales_history
from demo.faults import FaultSwitch
from tests.orchestration.conftest import Deployment

CONTRACTS = Path(__file__).parent.parent.parent / "contracts"
CONTRACT = "customer_behavior_data"


@pytest.fixture
def shop(deployment: Deployment) -> Deployment:
    shutil.rmtree(deployment.root / "contracts")
    shutil.copytree(CONTRACTS / CONTRACT, deployment.root / "contracts" / CONTRACT)
    now = datetime.now(UTC)
    switch = FaultSwitch(deployment.root)
    deployment.delivered = {
        "navigation": navigation_events(now, switch),
        "sales": sales_history(now),
    }
    return deployment


def assets(shop: Deployment) -> list[Any]:
    @dg.asset
    def real_time_navigation() -> pd.DataFrame:
        return shop.source("navigation")

    @dg.asset(name="sales_history")
    def sales() -> pd.DataFrame:
        return shop.source("sales")

    @dg.asset
    def recommendations(real_time_navigation: pd.DataFrame) -> pd.DataFrame:
        return real_time_navigation

    return [real_time_navigation, sales, recommendations]


def test_it_governs_the_asset_that_its_primary_level_names(shop: Deployment, checks: Any) -> None:
    result = shop.run(shop.defs(*assets(shop), strict=True))

    assert checks(result) == {
        "schema": True,
        "sla_freshness": True,
        "sla_completeness": True,
        "circuit": True,
    }
    served = result.output_for_node("recommendations")
    assert list(served.columns) == list(shop.delivered["navigation"].columns)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("broken", "schema_validation_errors was 7"),
        ("stopped", "data_freshness was 40min"),
    ],
)
def test_each_of_its_conditions_opens_the_circuit_and_sales_history_serves(
    shop: Deployment, fault: str, why: str
) -> None:
    defs = shop.defs(*assets(shop))
    shop.run(defs)
    events = shop.delivered["navigation"]
    if fault == "broken":
        broken = events.copy()
        rows = broken.index[: int(len(broken) * 0.075)]
        broken.loc[rows, "customer_id"] = None
        shop.delivered["navigation"] = broken
    else:
        old = events["event_time"] - timedelta(minutes=40)
        shop.delivered["navigation"] = events.assign(event_time=old)

    result = shop.run(defs, "real_time_navigation", "recommendations")

    served = result.output_for_node("recommendations")
    minimal = ["product_id", "customer_id", "category"]
    assert set(served.columns) <= set(shop.delivered["sales"].columns)
    assert set(minimal) & set(served.columns)
    assert "event_id" not in served.columns
    assert len(served) == len(shop.delivered["sales"])
    (circuit,) = shop.runtime.breaker.circuits()
    assert circuit.effective_state.value == "open"
    assert why in (circuit.reason or "")


def test_a_late_feed_degrades_although_the_circuit_is_closed(shop: Deployment) -> None:
    defs = shop.defs(*assets(shop))
    shop.run(defs)
    events = shop.delivered["navigation"]
    late = events["event_time"] - timedelta(minutes=2)
    shop.delivered["navigation"] = events.assign(event_time=late)

    result = shop.run(defs, "real_time_navigation", "recommendations")

    assert shop.state(CONTRACT) == "closed"
    assert len(result.output_for_node("recommendations")) == len(shop.delivered["sales"])
    (read,) = shop.runtime.ledger.open_reads()
    assert "activation" in read.reason
