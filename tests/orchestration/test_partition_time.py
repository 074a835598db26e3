"""The time of a partition, and that an older one changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import contract_asset
from dagster_contracts.orchestration.partition_time import time_of_partition
from tests.orchestration.conftest import GOOD, ORDERS, Deployment

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05", timezone="Europe/Berlin")
SHOPS = dg.StaticPartitionsDefinition(["x", "y"])
FEW_ROWS = ORDERS.replace('"failed_materializations >= 2"', '"row_count < 2"')


@pytest.mark.parametrize(
    ("partitions", "key", "begins"),
    [
        (DAYS, "2024-01-02", datetime(2024, 1, 1, 23, tzinfo=UTC)),
        (
            dg.MultiPartitionsDefinition({"day": DAYS, "shop": SHOPS}),
            "2024-01-02|x",
            datetime(2024, 1, 1, 23, tzinfo=UTC),
        ),
        (
            dg.MultiPartitionsDefinition({"a": SHOPS, "b": dg.StaticPartitionsDefinition(["1"])}),
            "x|1",
            None,
        ),
        (SHOPS, "x", None),
        (dg.DynamicPartitionsDefinition(name="shops"), "x", None),
        (DAYS, "no day", None),
        (dg.MultiPartitionsDefinition({"day": DAYS, "shop": SHOPS}), "no day", None),
        (DAYS, None, None),
        (None, "2024-01-02", None),
    ],
)
def test_a_partition_begins_when_its_window_does(
    partitions: Any, key: str | None, begins: datetime | None
) -> None:
    assert time_of_partition(partitions, key) == begins


@pytest.mark.parametrize("audited", [True, False])
def test_an_older_partition_changes_nothing_without_a_column_of_event_times(
    deployment: Deployment, audited: bool
) -> None:
    deployment.contract(FEW_ROWS)

    def made() -> pd.DataFrame:
        return deployment.delivered[dg.AssetExecutionContext.get().partition_key]

    if audited:
        orders = contract_asset("orders", name="orders", partitions_def=DAYS)(made)
    else:
        orders = dg.asset(name="orders", partitions_def=DAYS)(made)
    defs = deployment.defs(orders)
    for day in ("2024-01-02", "2024-01-03"):
        deployment.delivered[day] = GOOD
        deployment.run(defs, "orders", partition=day)
    deployment.delivered |= {"2024-01-01": GOOD.head(1), "2024-01-04": GOOD.head(1)}

    deployment.run(defs, "orders", partition="2024-01-01")

    assert deployment.state() == "closed"
    assert "late" in deployment.runtime.breaker.history()[0].kind
    deployment.run(defs, "orders", partition="2024-01-04")
    assert deployment.state() == "open"
