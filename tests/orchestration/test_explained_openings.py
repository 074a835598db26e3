"""Which partitions' circuits an open one above explains: those built from its partition."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from dagster_contracts.core.circuit import CircuitKey
from tests.orchestration.conftest import BAD, GOOD, Deployment, by_partition
from tests.orchestration.test_circuit_sensor import SENSOR
from tests.orchestration.test_heal_mappings import PARTED
from tests.orchestration.test_heal_runs import FEW, copy

DAYS = dg.DailyPartitionsDefinition("2026-03-02", end_date="2026-03-05")
YESTERDAY = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
REGIONS = dg.StaticPartitionsDefinition(["east", "west", "north"])
KINDS = dg.StaticPartitionsDefinition(["coast", "hills"])
GROUPS = dg.StaticPartitionMapping({"east": "coast", "west": "coast", "north": "hills"})


def chain(deployment: Deployment, of: Any, mapping: Any, below: Any) -> dg.Definitions:
    """``orders``, what is built from it, and ``revenue``, which is built from that."""
    deployment.contract(PARTED)
    deployment.contract(by_partition(FEW.format(name="revenue")), "revenue")
    return deployment.defs(
        deployment.asset("orders", partitions_def=of),
        copy("between", "orders", partitions=below, mapping=mapping),
        copy("revenue", "between", partitions=below),
    )


def explained_by(deployment: Deployment) -> dict[str | None, tuple[str, ...]]:
    circuits = deployment.runtime.breaker.circuits_of(["revenue"])
    return {circuit.key.partition: circuit.upstream for circuit in circuits}


@pytest.mark.parametrize(
    ("of", "mapping", "below", "bad", "explained", "apart"),
    [
        (DAYS, None, DAYS, "2026-03-03", "2026-03-03", "2026-03-04"),
        (DAYS, YESTERDAY, DAYS, "2026-03-03", "2026-03-04", "2026-03-03"),
        (REGIONS, GROUPS, KINDS, "west", "coast", "hills"),
    ],
    ids=["same", "offset", "static"],
)
def test_an_open_circuit_explains_what_is_built_from_its_partition_through_others_too(
    deployment: Deployment, of: Any, mapping: Any, below: Any, bad: str, explained: str, apart: str
) -> None:
    defs = chain(deployment, of, mapping, below)
    for part in of.get_partition_keys():
        deployment.delivered[part] = GOOD
        deployment.run(defs, "orders", partition=part)
    for part in (explained, apart):
        deployment.run(defs, "between", "revenue", partition=part)
    deployment.delivered[bad] = BAD
    deployment.run(defs, "orders", partition=bad, raise_on_error=False)
    deployment.tick(defs, SENSOR)
    assert explained_by(deployment) == {explained: (f"orders/orders[{bad}]",), apart: ()}


def test_any_open_circuit_may_explain_a_partition_of_an_earlier_definition(
    deployment: Deployment,
) -> None:
    defs = chain(deployment, DAYS, None, DAYS)
    deployment.delivered["2026-03-03"] = BAD
    deployment.run(defs, "orders", partition="2026-03-03", raise_on_error=False)
    runtime = deployment.runtime
    gone = CircuitKey("revenue", "revenue", "week-10")
    runtime.breaker.set_upstream(runtime.folder.resolve("revenue"), gone, ["raw/raw"])
    deployment.tick(defs, SENSOR)
    assert explained_by(deployment) == {"week-10": ("orders/orders[2026-03-03]",)}
