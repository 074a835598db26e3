"""``contracts.resolve``: an asset that loads its data itself is switched, recorded and healed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import ContractsResource
from dagster_contracts.core.contract import SourceKind
from dagster_contracts.errors import WiringError
from dagster_contracts.orchestration.resolution import ResolvedSource
from tests.orchestration.conftest import BAD, GOOD, ORDERS, Deployment, by_partition


@pytest.fixture
def told() -> list[ResolvedSource]:
    return []


@pytest.fixture
def make(deployment: Deployment, told: list[ResolvedSource]) -> Callable[..., dg.Definitions]:
    def make(**options: Any) -> dg.Definitions:
        @dg.asset(deps=["orders"])
        def copy(contracts: ContractsResource) -> None:
            told.append(contracts.resolve("orders"))

        @dg.asset(deps=["copy"])
        def report(contracts: ContractsResource) -> None:
            told.append(contracts.resolve("copy"))

        orders, archive = deployment.asset("orders", "orders"), deployment.asset("order_archive")
        return deployment.defs(orders, archive, copy, report, **options)

    return make


def test_a_closed_circuit_resolves_to_the_primary(deployment, make, told) -> None:
    result = deployment.run(make(), "orders", "copy")

    assert result.success
    (source,) = told
    assert (source.kind, source.degraded, source.path) == (SourceKind.PRIMARY, False, None)
    assert source.asset_key == dg.AssetKey("orders")
    assert deployment.runtime.ledger.open_reads() == ()


def test_an_open_circuit_resolves_to_the_last_valid_file_in_the_same_run(
    deployment, make, told
) -> None:
    defs = make()
    deployment.run(defs, "orders")
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "copy", "report")

    first, second = told
    assert (first.kind, first.level, first.degraded) == (SourceKind.LAST_VALID, "last", True)
    assert isinstance(first.path, Path)
    assert pd.read_parquet(first.path)["order_id"].tolist() == GOOD["order_id"].tolist()
    assert "circuit is open" in first.reason
    assert (second.kind, second.degraded) == (SourceKind.PRIMARY, True), "copy is itself degraded"
    reads = {(r.consumer, r.upstream) for r in deployment.runtime.ledger.open_reads()}
    assert reads == {("copy", "orders"), ("report", "copy")}
    (made,) = result.asset_materializations_for_node("copy")
    assert made.metadata["contract/degraded"].value is True
    assert "last_valid" in made.metadata["contract/built_from"].value
    run = deployment.instance.get_run_by_id(result.run_id)
    assert run.tags["dagster-contracts/degraded"] == "orders"


def test_it_is_healed_once_it_has_read_good_data(deployment, make, told) -> None:
    defs = make()
    deployment.run(defs, "orders")
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", "copy")
    assert len(deployment.runtime.ledger.open_reads()) == 1
    deployment.delivered["orders"] = GOOD
    key = deployment.runtime.breaker.circuits()[0].key
    deployment.runtime.breaker.reset(key, actor="ada", reason="mended")

    deployment.run(defs, "orders", "copy")

    assert told[-1].degraded is False
    assert deployment.runtime.ledger.open_reads() == ()


def test_another_asset_is_named_by_its_key_with_the_promised_columns(
    deployment, make, told
) -> None:
    deployment.contract(ORDERS.replace("      - {level: last, source: last_valid}\n", ""))
    defs = make()
    deployment.run(defs, "orders", "order_archive")
    deployment.delivered["orders"] = BAD

    deployment.run(defs, "orders", "copy")

    assert told[0].kind is SourceKind.ASSET
    assert told[0].asset_key == dg.AssetKey("order_archive")
    assert told[0].columns == ("order_id", "amount")


def test_a_torn_file_is_not_handed_out(deployment, make, told) -> None:
    defs = make()
    deployment.run(defs, "orders", "order_archive")
    for path in (deployment.root / ".dagster_contracts" / "snapshots").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-10])
    deployment.delivered["orders"] = BAD

    deployment.run(defs, "orders", "copy")

    assert told[0].level == "archive"


def test_nothing_usable_is_an_error_that_says_so(deployment, make) -> None:
    defs = make()
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "copy", raise_on_error=False)

    assert not result.success
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "no level is usable" in str(event.event_specific_data.error)


def test_each_partition_is_resolved_by_itself(deployment, told) -> None:
    deployment.contract(by_partition(ORDERS))
    days = dg.StaticPartitionsDefinition(["a", "b"])
    deployment.delivered.update(a=GOOD, b=BAD)
    errors: list[str] = []

    @dg.asset(deps=["orders"], partitions_def=days)
    def daily(contracts: ContractsResource) -> None:
        told.append(contracts.resolve("orders"))

    @dg.asset(deps=["orders"])
    def whole(contracts: ContractsResource) -> None:
        with pytest.raises(WiringError) as caught:
            contracts.resolve("orders")
        errors.append(str(caught.value))
        told.extend(contracts.resolve("orders", partition=day) for day in "ab")

    orders = deployment.asset("orders", "orders", partitions_def=days)
    defs = deployment.defs(orders, deployment.asset("order_archive"), daily, whole)
    deployment.run(defs, "order_archive")
    for day in "ab":
        deployment.run(defs, "orders", "daily", partition=day)
    deployment.run(defs, "whole")

    assert [(s.partition, s.level) for s in told] == [
        ("a", "primary"), ("b", "archive"), ("a", "primary"), ("b", "archive"),
    ]  # fmt: skip
    assert "depends on 2 partitions" in errors[0]
    reads = {(r.consumer, r.consumer_partition) for r in deployment.runtime.ledger.open_reads()}
    assert reads == {("daily", "b"), ("whole", None)}


def test_what_is_no_dependency_is_refused(deployment) -> None:
    said: list[str] = []

    @dg.asset
    def stray(contracts: ContractsResource) -> None:
        with pytest.raises(WiringError) as caught:
            contracts.resolve("orders")
        said.append(str(caught.value))

    deployment.run(deployment.defs(deployment.asset("orders", "orders"), stray), "stray")
    assert "stray does not depend on orders" in said[0]
    assert 'deps=["orders"]' in said[0]


def test_outside_of_an_asset_it_is_refused(deployment, make) -> None:
    make()
    with pytest.raises(WiringError, match="outside of a running asset"):
        deployment.resource.resolve("orders")
