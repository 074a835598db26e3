"""Partitions: each read is routed by itself, and never mixed in silence."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import contract_asset
from tests.orchestration.conftest import ARCHIVE, BAD, GOOD, NEWER, ORDERS, Deployment, by_partition

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")
FIRST, SECOND = "2024-01-01", "2024-01-02"


def assets(deployment: Deployment) -> list[Any]:
    @contract_asset("orders", partitions_def=DAYS)
    def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return deployment.delivered[context.partition_key]

    @dg.asset(partitions_def=DAYS)
    def order_archive() -> pd.DataFrame:
        return ARCHIVE

    @dg.asset(partitions_def=DAYS)
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    @dg.asset
    def total(orders: dict[str, pd.DataFrame]) -> pd.DataFrame:
        return pd.concat(orders.values(), ignore_index=True)

    return [orders, order_archive, revenue, total]


@pytest.fixture
def partitioned(deployment: Deployment) -> Deployment:
    deployment.delivered = {FIRST: GOOD, SECOND: NEWER}
    return deployment


def test_a_fallback_for_a_partition_is_that_partition(partitioned: Deployment) -> None:
    defs = partitioned.defs(*assets(partitioned))
    partitioned.run(defs, "orders", "revenue", partition=FIRST)
    partitioned.run(defs, "order_archive", partition=SECOND)
    partitioned.delivered[SECOND] = BAD

    result = partitioned.run(defs, "orders", "revenue", partition=SECOND)

    # The last valid batch of the first day is not the second day's: the archive serves.
    served = result.output_for_node("revenue")
    pd.testing.assert_frame_equal(served, ARCHIVE[["order_id", "amount"]])


def test_scope_partition_opens_the_circuit_of_one_day_alone(partitioned: Deployment) -> None:
    partitioned.contract(by_partition(ORDERS))
    defs = partitioned.defs(*assets(partitioned))
    partitioned.run(defs, "orders", partition=FIRST)
    partitioned.delivered[SECOND] = BAD
    partitioned.run(defs, "orders", "order_archive", partition=SECOND)

    states = {
        c.key.partition: c.effective_state.value for c in partitioned.runtime.breaker.circuits()
    }
    assert states == {FIRST: "closed", SECOND: "open"}

    first = partitioned.run(defs, "revenue", partition=FIRST)
    pd.testing.assert_frame_equal(first.output_for_node("revenue"), GOOD)
    second = partitioned.run(defs, "revenue", partition=SECOND)
    pd.testing.assert_frame_equal(
        second.output_for_node("revenue"), ARCHIVE[["order_id", "amount"]]
    )


def test_a_fan_in_mixes_the_primary_and_fallbacks_partition_by_partition(
    partitioned: Deployment,
) -> None:
    partitioned.contract(by_partition(ORDERS))
    defs = partitioned.defs(*assets(partitioned))
    for day in ("2024-01-03", "2024-01-04"):
        partitioned.delivered[day] = GOOD
        partitioned.run(defs, "orders", partition=day)
    partitioned.run(defs, "orders", partition=FIRST)
    partitioned.delivered[SECOND] = BAD
    partitioned.run(defs, "orders", "order_archive", partition=SECOND)

    result = partitioned.run(defs, "total")

    served = result.output_for_node("total")
    assert served["order_id"].tolist() == [1, 2, 3, 100, 1, 2, 3, 1, 2, 3]
    (read,) = [r for r in partitioned.runtime.ledger.open_reads() if r.consumer == "total"]
    assert read.upstream_partition == SECOND


def test_the_probe_of_a_partitioned_asset_runs_the_partition_that_opened_it(
    partitioned: Deployment,
) -> None:
    partitioned.contract(ORDERS.replace("retry_after: 10s", "retry_after: 1ms"))
    defs = partitioned.defs(*assets(partitioned))
    partitioned.run(defs, "orders", partition=FIRST)
    partitioned.delivered[SECOND] = BAD
    partitioned.run(defs, "orders", partition=SECOND)

    tick = partitioned.tick(defs, "contract_circuit_sensor")

    (probe,) = tick.run_requests
    assert probe.partition_key == SECOND


def plain(partitioned: Deployment) -> list[Any]:
    @dg.asset(partitions_def=DAYS)
    def orders(context) -> pd.DataFrame:  # type: ignore[no-untyped-def]
        return partitioned.delivered[context.partition_key]

    @dg.asset(partitions_def=DAYS)
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    return [orders, revenue]


def test_the_check_step_of_a_plain_asset_judges_the_partition_of_the_run(
    partitioned: Deployment, checks: Any
) -> None:
    defs = partitioned.defs(*plain(partitioned))

    assert checks(partitioned.run(defs, "orders", partition=FIRST))["schema"] is True
    partitioned.delivered[SECOND] = BAD
    assert checks(partitioned.run(defs, "orders", partition=SECOND))["schema"] is False

    observed = partitioned.runtime.history.latest("orders", "orders")
    assert observed is not None
    assert observed.partition == SECOND
