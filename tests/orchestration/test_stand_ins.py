"""Under ``any_partition`` the partition that is nearest stands in, of every kind of level."""

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts.orchestration.stand_ins import stand_ins
from tests.orchestration.conftest import BAD, Deployment
from tests.orchestration.contract_text import contract_text

DAYS = dg.DailyPartitionsDefinition("2026-03-01", end_date="2026-03-08")
SIZES = dg.StaticPartitionsDefinition(["small", "large", "huge"])
LEVELS = {
    "last_valid": "level: last, source: last_valid, any_partition: true",
    "archive": "level: other, source: archive, any_partition: true",
}


@pytest.mark.parametrize(
    ("partitions", "wanted", "there", "order"),
    [
        (DAYS, "2026-03-04", ["2026-03-02", "2026-03-05", "2026-03-03", "2026-03-06"],
         ["2026-03-03", "2026-03-02", "2026-03-05", "2026-03-06"]),
        (DAYS, None, ["2026-03-02", None, "2026-03-03"], ["2026-03-03", "2026-03-02", None]),
        (SIZES, "large", ["huge", "gone", "small"], ["small", "huge", "gone"]),
        (SIZES, "other", ["small", "huge"], ["huge", "small"]),
        (dg.DynamicPartitionsDefinition(name="tenants"), "c", ["b", "z", "a"], ["b", "z", "a"]),
        (None, None, ["b", None], ["b", None]),
    ],
)  # fmt: skip
def test_the_nearest_comes_first(
    partitions: Any, wanted: str | None, there: list[str | None], order: list[str | None]
) -> None:
    assert stand_ins(partitions, wanted, there) == order


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("partitions", "stored", "asked", "served"),
    [
        (DAYS, ["2026-03-02", "2026-03-04", "2026-03-03", "2026-03-07"], "2026-03-06",
         "2026-03-04"),
        (DAYS, ["2026-03-05", "2026-03-04"], "2026-03-02", "2026-03-04"),
        (dg.DynamicPartitionsDefinition(name="tenants"), ["b", "a"], "c", "a"),
    ],
)  # fmt: skip
def test_the_nearest_stored_partition_stands_in(
    deployment: Deployment,
    level: str,
    partitions: Any,
    stored: list[str],
    asked: str,
    served: str,
) -> None:
    deployment.contract(contract_text("orders", LEVELS[level]))
    deployment.contract(contract_text("archive", LEVELS["last_valid"]), "archive")
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        deployment.instance.add_dynamic_partitions("tenants", sorted({*stored, asked}))

    @dg.asset(partitions_def=partitions)
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    made = [deployment.asset(n, n, partitions_def=partitions) for n in ("orders", "archive")]
    defs = deployment.defs(*made, revenue)
    source = "orders" if level == "last_valid" else "archive"
    for number, partition in enumerate(stored):
        good = pd.DataFrame({"order_id": [number], "amount": [1.0]})
        deployment.delivered[partition] = good
        deployment.run(defs, source, partition=partition)
    deployment.delivered[asked] = BAD

    result = deployment.run(defs, "orders", "revenue", partition=asked)

    assert result.output_for_node("revenue")["order_id"].tolist() == [stored.index(served)]
    (row,) = deployment.runtime.ledger.open_reads()
    assert f"[{served}]" in row.source
