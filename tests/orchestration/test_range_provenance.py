"""In one run over a range, the materialization of each partition tells of that partition alone."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import contract_asset
from tests.orchestration.conftest import BAD, GOOD, NEWER, Deployment
from tests.orchestration.contract_text import contract_text

DAYS = dg.DailyPartitionsDefinition("2026-03-01", end_date="2026-03-05")
ONE, TWO = "2026-03-01", "2026-03-02"
SINGLE = dg.BackfillPolicy.single_run()
ORDERS = contract_text("orders", "level: cached, source: last_valid", scope="partition")


class ByPartition(dg.IOManager):
    """Keeps each partition's table by itself, as a database does."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Any] = {}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        for partition, table in obj.items():
            self.kept[context.asset_key.to_user_string(), partition] = table

    def load_input(self, context: dg.InputContext) -> Any:
        asset = context.asset_key.to_user_string()
        found = {str(p): self.kept[asset, str(p)] for p in context.asset_partition_keys}
        return found if len(found) > 1 else next(iter(found.values()))


def said(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, dict[str, Any]]:
    """By partition, what the materializations of a run say of contracts."""
    return {
        str(event.partition): {
            name: value.value
            for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset)
    }


@pytest.fixture
def ranged(deployment: Deployment) -> dg.ExecuteInProcessResult:
    """The second of two days was refused, and its consumer read what passed before."""
    deployment.contract(ORDERS)

    @contract_asset("orders", partitions_def=DAYS, backfill_policy=SINGLE)
    def orders(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
        return {day: deployment.source(day) for day in context.partition_keys}

    @dg.asset(partitions_def=DAYS, backfill_policy=SINGLE)
    def revenue(orders: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        return dict(orders)

    @dg.op
    def summed(orders: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        return dict(orders)

    @dg.graph_asset(partitions_def=DAYS, backfill_policy=SINGLE)
    def shipped(orders: Any) -> Any:
        return summed(orders)

    defs = deployment.defs(orders, revenue, shipped)
    tags = {
        "dagster/asset_partition_range_start": ONE,
        "dagster/asset_partition_range_end": TWO,
    }
    deployment.delivered |= {ONE: GOOD, TWO: NEWER}
    deployment.run(defs, tags=tags)
    deployment.delivered |= {TWO: BAD}
    return deployment.run(defs, tags=tags)


@pytest.fixture
def deployment(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The deployment, with storage that takes the partitions of a range by name."""
    storage = ByPartition()
    monkeypatch.setattr(dg, "FilesystemIOManager", lambda **_: storage)
    return deployment


def test_a_refused_partition_says_so_and_no_other_does(
    ranged: dg.ExecuteInProcessResult,
) -> None:
    orders = said(ranged, "orders")

    assert orders[ONE]["contract/published"] is True
    assert "contract/refused_because" not in orders[ONE]
    assert orders[ONE]["dagster/row_count"] == len(GOOD)
    assert orders[TWO]["contract/published"] is False
    assert "schema_validation_errors" in orders[TWO]["contract/refused_because"]
    assert isinstance(orders[TWO]["contract/quarantine"], int)


@pytest.mark.parametrize("consumer", ["revenue", "shipped"])
def test_only_the_partition_that_read_a_fallback_is_degraded(
    ranged: dg.ExecuteInProcessResult, consumer: str
) -> None:
    built = said(ranged, consumer)

    assert "contract/degraded" not in built[ONE]
    assert built[TWO]["contract/degraded"] is True
    assert f"orders [{TWO}] was read from last_valid" in built[TWO]["contract/built_from"]
    assert ONE not in built[TWO]["contract/built_from"]
