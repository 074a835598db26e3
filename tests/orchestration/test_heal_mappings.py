"""What waits for which partition's circuit: that is the partition mapping's, not the names'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from dagster_contracts.core.circuit import CircuitKey
from tests.orchestration.conftest import BAD, GOOD, NEWER, Deployment, by_partition
from tests.orchestration.test_heal_runs import IMPATIENT, copy, healed, mend, reasons
from tests.orchestration.test_probes import REGIONS
from tests.orchestration.test_range_provenance import said

PARTED = by_partition(IMPATIENT).replace("retry_after: 1ms", "retry_after: 1h")
DAYS = dg.DailyPartitionsDefinition("2026-03-02", end_date="2026-03-04")
KINDS = dg.StaticPartitionsDefinition(["coast", "hills"])
SIDES = dg.StaticPartitionsDefinition(["east", "west"])
BOTH = dg.MultiPartitionsDefinition({"kind": KINDS, "region": SIDES})
GROUPS = dg.StaticPartitionMapping({"east": "coast", "west": "coast", "north": "hills"})
YESTERDAY = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)


@pytest.mark.parametrize(
    ("of", "mapping", "below", "made", "first", "second", "waits"),
    [
        (REGIONS, GROUPS, KINDS, "coast", "east", "west", True),
        (DAYS, YESTERDAY, DAYS, "2026-03-03", "2026-03-02", "2026-03-03", False),
        (SIDES, dg.LastPartitionMapping(), None, None, "west", "east", False),
        (BOTH, None, KINDS, "coast", "coast|east", "hills|east", False),
        (KINDS, None, BOTH, "coast|east", "coast", "hills", False),
    ],
    ids=["static", "offset", "last", "several-to-one", "one-to-several"],
)
def test_only_circuits_of_partitions_that_are_read_are_waited_for(
    deployment: Deployment,
    of: Any,
    mapping: Any,
    below: Any,
    made: str | None,
    first: str,
    second: str,
    waits: bool,
) -> None:
    deployment.contract(PARTED)
    board = copy("board", "orders", partitions=below, mapping=mapping)
    defs = deployment.defs(deployment.asset("orders", partitions_def=of), board)
    for part in of.get_partition_keys():
        deployment.delivered[str(part)] = GOOD
        deployment.run(defs, "orders", partition=str(part))
    deployment.delivered[first] = BAD
    deployment.run(defs, "orders", partition=first, raise_on_error=False)
    deployment.run(defs, "board", partition=made)
    deployment.delivered[second] = BAD
    deployment.run(defs, "orders", partition=second, raise_on_error=False)
    deployment.delivered[first] = NEWER
    deployment.run(defs, "orders", partition=first, raise_on_error=False)
    breaker = deployment.runtime.breaker
    breaker.reset(CircuitKey("orders", "orders", first), actor="ann", reason="mended")

    name = f"board[{made}]" if made else "board"
    assert healed(deployment, defs, 1) == ([] if waits else ["board"])
    closed = f"the circuit orders/orders[{second}] is not closed"
    assert reasons(deployment) == ({name: closed} if waits else {})


def test_of_one_step_an_asset_without_partitions_is_marked_beside_one_with_them(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)

    @dg.multi_asset(
        specs=[
            dg.AssetSpec("daily", deps=["orders"], partitions_def=DAYS),
            dg.AssetSpec("summary", deps=["orders"]),
        ],
        ins={"orders": dg.AssetIn()},
        can_subset=True,
    )
    def both(orders: Any) -> Iterator[dg.MaterializeResult]:
        for key in sorted(dg.AssetExecutionContext.get().selected_asset_keys):
            yield dg.MaterializeResult(asset_key=key)

    defs = deployment.defs(deployment.asset("orders", "orders"), both)
    deployment.run(defs, "orders")
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", raise_on_error=False)

    result = deployment.run(defs, "daily", "summary", partition="2026-03-02")

    marked = {read.target for read in deployment.runtime.ledger.open_reads()}
    assert marked == {("daily", "2026-03-02"), ("summary", None)}
    for asset, partition in marked:
        assert said(result, asset)[str(partition)]["contract/degraded"] is True

    mend(deployment, defs, "orders")
    assert sorted(healed(deployment, defs)) == ["daily", "summary"]
    assert not deployment.runtime.ledger.open_reads()
