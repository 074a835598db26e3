"""Runs and reads that fail: which of them speak of the newest data, and which of nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import contract_asset
from dagster_contracts.errors import FallbackError
from dagster_contracts.orchestration.step import BACKFILL_TAG, HEAL_TAG
from tests.orchestration.conftest import GOOD, Deployment

DAYS = dg.DailyPartitionsDefinition("2019-01-01")
TODAY = datetime.now(UTC).date()
NEWEST = str(TODAY - timedelta(days=1))
MADE = str(TODAY - timedelta(days=2))
BACKFILL = {BACKFILL_TAG: "all"}
CONTRACT = """
data_contract:
  name: orders
  version: 1.0.0
  owner: shop@example.com
  schema: {fields: {order_id: {type: integer, required: true}}}
  resilience:
    circuit_breaker:
      open_when: ["failed_materializations >= 2", "source_unavailable >= 2"]
"""
LEVELS = """    fallback_modes: [{level: cached, source: last_valid}]
"""


@contract_asset("orders", partitions_def=DAYS)
def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Has no archive of 2019, and fails where it is told to."""
    if context.run.tags.get("fails") or context.partition_key < "2020":
        raise RuntimeError("no archive that old")
    return GOOD


@contract_asset(
    "orders", name="in_one", partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run()
)
def in_one() -> pd.DataFrame:
    raise RuntimeError("no archive that old")


@dg.asset(partitions_def=DAYS)
def revenue(orders: pd.DataFrame) -> pd.DataFrame:
    return orders


@dg.asset(ins={"orders": dg.AssetIn(partition_mapping=dg.LastPartitionMapping())})
def newest(orders: pd.DataFrame) -> pd.DataFrame:
    return orders


def test_a_backfill_whose_old_partitions_fail_opens_nothing(deployment: Deployment) -> None:
    deployment.contract(CONTRACT + LEVELS)
    defs = deployment.defs(orders)
    deployment.run(defs, "orders", partition=NEWEST)
    for tags in (BACKFILL, {**BACKFILL, HEAL_TAG: "x"}, {}):
        for day in ("2019-01-01", "2019-01-02"):
            run = deployment.run(defs, "orders", partition=day, tags=tags, raise_on_error=False)
            assert not run.success
    assert deployment.state() == "closed"
    for _ in range(2):
        deployment.run(
            defs, "orders", partition=NEWEST, tags={"fails": "yes"}, raise_on_error=False
        )
        deployment.run(defs, "orders", partition=MADE, tags=BACKFILL)
    assert deployment.state() == "open"


def test_a_backfill_of_a_range_in_one_run_opens_nothing(deployment: Deployment) -> None:
    deployment.contract(CONTRACT)
    defs = deployment.defs(in_one)
    for end in ("2019-01-03", "2019-01-04", "2019-01-05"):
        span = {
            "dagster/asset_partition_range_start": "2019-01-01",
            "dagster/asset_partition_range_end": end,
        }
        run = deployment.run(defs, "in_one", tags={**BACKFILL, **span}, raise_on_error=False)
        assert not run.success
    assert deployment.state() == "closed"


def error_of(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    return str(event.event_specific_data.error.to_string())  # type: ignore[union-attr]


@pytest.mark.parametrize("levels", ["", LEVELS])
def test_to_read_a_partition_that_was_never_made_is_the_consumers_mistake(
    deployment: Deployment, levels: str
) -> None:
    deployment.contract(CONTRACT + levels)
    defs = deployment.defs(orders, revenue)
    deployment.run(defs, "orders", partition=MADE)
    for _ in range(3):
        result = deployment.run(defs, "revenue", partition="2024-01-04", raise_on_error=False)
        said = error_of(result)
        assert "orders [2024-01-04] was never materialized" in said
        assert (FallbackError.__name__ if levels else "FileNotFoundError") in said
        assert "force-closed" not in said
    assert deployment.state() == "closed"
    assert deployment.runtime.breaker.circuits()[0].failures == ()


def test_a_read_that_succeeds_ends_the_row_of_those_that_failed(deployment: Deployment) -> None:
    deployment.contract(CONTRACT + LEVELS)
    defs = deployment.defs(orders, revenue)
    for day in (MADE, NEWEST):
        deployment.run(defs, "orders", partition=day)
    stored = deployment.root / "io" / "orders" / NEWEST
    kept = stored.read_bytes()

    def read(*, there: bool) -> Any:
        stored.write_bytes(kept) if there else stored.unlink()
        return deployment.run(defs, "revenue", partition=NEWEST, raise_on_error=False)

    def failures() -> int:
        return deployment.runtime.breaker.circuits()[0].in_a_row("source_unavailable")

    read(there=False)
    assert failures() == 1
    assert read(there=True).success
    assert failures() == 0
    before = len(deployment.runtime.breaker.history())
    assert read(there=True).success
    assert len(deployment.runtime.breaker.history()) == before, "nothing is written every day"
    read(there=False)
    assert deployment.state() == "closed"
    stored.write_bytes(kept)
    read(there=False)
    assert deployment.state() == "open"
