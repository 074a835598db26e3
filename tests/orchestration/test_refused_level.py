"""A level that another asset stands behind is as old as what that asset last stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pandas as pd

from dagster_contracts import contract_asset
from dagster_contracts.orchestration.materialized import stored_at
from tests.orchestration.conftest import BAD, GOOD, NEWER, Deployment
from tests.orchestration.contract_text import contract_text

DAYS = dg.DailyPartitionsDefinition("2026-03-01", end_date="2026-03-05")
ARCHIVE_KEY = dg.AssetKey("archive")

ARCHIVED = "level: other, source: archive, any_partition: true"
ORDERS = contract_text("orders", ARCHIVED)

ARCHIVE = contract_text("archive")


def build(
    deployment: Deployment, served: list[list[int]], partitions=None, contract: str = ORDERS
) -> dg.Definitions:
    deployment.contract(contract)
    deployment.contract(ARCHIVE, "archive")

    @contract_asset("orders", partitions_def=partitions)
    def orders() -> pd.DataFrame:
        return deployment.source("orders")

    @contract_asset("archive", partitions_def=partitions)
    def archive() -> pd.DataFrame:
        return deployment.source("archive")

    @dg.asset(partitions_def=partitions)
    def revenue(orders: pd.DataFrame) -> None:
        served.append(orders["order_id"].tolist())

    return deployment.defs(orders, archive, revenue)


def test_a_refused_batch_does_not_make_what_is_stored_young(deployment: Deployment) -> None:
    defs = build(deployment, [])
    deployment.delivered["archive"] = GOOD
    deployment.run(defs, "archive")
    first = deployment.instance.get_latest_materialization_event(ARCHIVE_KEY)
    deployment.delivered["archive"] = BAD
    for _ in range(3):
        deployment.run(defs, "archive", raise_on_error=False)
    latest = deployment.instance.get_latest_materialization_event(ARCHIVE_KEY)
    assert latest.timestamp > first.timestamp

    assert stored_at(deployment.instance, ARCHIVE_KEY) == datetime.fromtimestamp(
        first.timestamp, UTC
    )

    runtime = deployment.runtime
    reader = runtime.reader
    assert reader is not None
    binding = reader.binding(dg.AssetKey("orders"))
    assert binding is not None
    level = binding.resilience.fallbacks[0]
    now = datetime.fromtimestamp(latest.timestamp, UTC) + timedelta(hours=1)
    facts = reader.sources.facts(
        binding, level, partition=None, instance=deployment.instance, now=now
    )
    assert facts.age == now - datetime.fromtimestamp(first.timestamp, UTC)


def test_the_newest_partition_of_a_level_is_one_that_was_stored(deployment: Deployment) -> None:
    served: list[list[int]] = []
    defs = build(deployment, served, DAYS)
    deployment.delivered |= {"archive": NEWER, "orders": BAD}
    deployment.run(defs, "archive", partition="2026-03-01")
    deployment.run(defs, "orders", partition="2026-03-03")
    deployment.delivered["archive"] = BAD
    deployment.run(defs, "archive", partition="2026-03-02", raise_on_error=False)

    result = deployment.run(defs, "revenue", partition="2026-03-03")

    assert served == [NEWER["order_id"].tolist()]
    (made,) = result.asset_materializations_for_node("revenue")
    told = str(made.metadata["contract/built_from"].value)
    assert "orders [2026-03-03] was read from archive [2026-03-01] (level other)" in told
    (row,) = deployment.runtime.ledger.open_reads()
    assert row.source == "archive [2026-03-01]"


def test_the_last_valid_batch_of_another_partition_is_named(deployment: Deployment) -> None:
    served: list[list[int]] = []
    last = "level: last, source: last_valid, any_partition: true"
    defs = build(deployment, served, DAYS, contract_text("orders", last))
    deployment.delivered["orders"] = GOOD
    deployment.run(defs, "orders", partition="2026-03-01")
    deployment.delivered["orders"] = BAD

    deployment.run(defs, "orders", "revenue", partition="2026-03-02")

    assert served == [GOOD["order_id"].tolist()]
    (row,) = deployment.runtime.ledger.open_reads()
    assert row.source == "last_valid [2026-03-01] of orders"


def test_a_level_of_which_every_batch_was_refused_says_so(deployment: Deployment) -> None:
    defs = build(deployment, [])
    deployment.delivered |= {"archive": BAD, "orders": BAD}
    deployment.run(defs, "archive", raise_on_error=False)
    deployment.run(defs, "orders")

    result = deployment.run(defs, "revenue", raise_on_error=False)

    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "archive only delivered refused batches" in str(failure.step_failure_data)


def test_a_refused_batch_of_a_contract_without_a_circuit_names_what_failed(
    deployment: Deployment,
) -> None:
    defs = build(deployment, [])
    deployment.delivered["archive"] = BAD

    result = deployment.run(defs, "archive", raise_on_error=False)

    (made,) = result.asset_materializations_for_node("archive")
    told = str(made.metadata["contract/refused_because"].value)
    assert told.startswith("failed: ")
    assert "amount" in told
