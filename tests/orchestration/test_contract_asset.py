"""``@contract_asset``: the batch is judged before it is published."""

from __future__ import annotations

import traceback
import types
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pytest

from dagster_contracts import CircuitOpenError, WiringError, contract_asset
from tests.orchestration.conftest import ARCHIVE, BAD, GOOD, NEWER, Deployment


class Limit(dg.Config):
    """How many rows to keep; Dagster reads it from the run's config."""

    rows: int = 2


def assets(deployment: Deployment) -> list[Any]:
    @dg.asset
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders[["order_id", "amount"]].reset_index(drop=True)

    return [deployment.asset("orders", "orders@^1"), deployment.asset("order_archive"), revenue]


def test_a_good_batch_is_published_with_passed_checks(deployment: Deployment, checks: Any) -> None:
    defs = deployment.defs(*assets(deployment))

    result = deployment.run(defs, "orders", "revenue")

    assert checks(result) == {"schema": True, "circuit": True}
    assert result.output_for_node("revenue")["order_id"].tolist() == [1, 2, 3]
    assert deployment.state() == "closed"


def test_a_bad_batch_opens_the_circuit_and_the_same_run_reads_the_fallback(
    deployment: Deployment, checks: Any
) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue")

    assert result.success
    assert checks(result) == {"schema": False, "circuit": False}
    assert deployment.state() == "open"
    pd.testing.assert_frame_equal(result.output_for_node("revenue"), GOOD[["order_id", "amount"]])
    headline = next(
        e.description for e in result.get_asset_check_evaluations() if e.check_name == "schema"
    )
    assert headline is not None
    assert "2 of 3 rows (66.7%) break orders@1.0.0" in headline


def test_a_refused_batch_is_in_quarantine_and_not_in_the_primary(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")

    stored = pd.read_pickle(deployment.root / "io" / "orders")

    pd.testing.assert_frame_equal(stored, GOOD)
    (held,) = deployment.runtime.quarantine.list()
    assert held.rows == 3
    assert held.asset == "orders"


def test_without_a_last_valid_batch_the_next_level_serves_its_own_schema(
    deployment: Deployment,
) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs, "order_archive")
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue")

    served = result.output_for_node("revenue")
    pd.testing.assert_frame_equal(served, ARCHIVE[["order_id", "amount"]])


def test_a_read_of_another_asset_makes_no_instance_of_dagsters(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    original = dg.DagsterInstance.ephemeral

    def counted(*args: Any, **kwargs: Any) -> dg.DagsterInstance:
        made.extend(f.filename for f in traceback.extract_stack() if "io_manager" in f.filename)
        return original(*args, **kwargs)

    monkeypatch.setattr(dg.DagsterInstance, "ephemeral", staticmethod(counted))
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs, "order_archive")
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue")

    assert len(result.output_for_node("revenue")) == len(ARCHIVE)
    assert made == []


def test_no_usable_level_fails_the_consumer_in_clear_words(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue", raise_on_error=False)

    assert not result.success
    (failure,) = [e for e in result.all_node_events if e.is_step_failure]
    assert failure.node_name == "revenue"
    error = failure.step_failure_data.error
    text = str(error) + str(error.cause)
    assert CircuitOpenError.__name__ in text
    for part in ("orders", "since", "last: ", "archive: ", "hint"):
        assert part in text


def test_what_the_asset_is_built_from_is_on_its_materialization(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue")

    (materialization,) = result.asset_materializations_for_node("revenue")
    assert materialization.metadata["contract/degraded"].value is True
    assert "last_valid of orders" in str(materialization.metadata["contract/built_from"].value)
    run = deployment.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster-contracts/degraded"] == "orders"


def test_a_rebuilt_consumer_settles_its_row_in_the_ledger(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", "revenue")
    (read,) = deployment.runtime.ledger.open_reads()
    assert (read.consumer, read.upstream, read.level) == ("revenue", "orders", "last")

    deployment.runtime.breaker.reset(read.circuit, actor="me", reason="mended")
    deployment.delivered["orders"] = NEWER
    deployment.run(defs, "orders", "revenue")

    assert deployment.runtime.ledger.open_reads() == ()


@pytest.mark.parametrize(
    "nothing",
    [
        pytest.param(None, id="None"),
        pytest.param(42, id="a number"),
        pytest.param(pd.DataFrame(), id="no columns"),
        pytest.param(pd.DataFrame({"order_id": [1, "a"], "amount": [1.0, 2.0]}), id="mixed"),
        pytest.param(pd.concat([BAD, BAD], axis="columns"), id="columns twice"),
    ],
)
def test_what_is_no_table_is_an_outcome_and_no_crash(
    deployment: Deployment, checks: Any, nothing: Any
) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = nothing

    result = deployment.run(defs, "orders", "revenue")

    assert result.success
    assert checks(result)["schema"] is False
    assert deployment.state() == "open"


def test_an_empty_table_with_its_columns_keeps_the_contract(
    deployment: Deployment, checks: Any
) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = GOOD.iloc[:0]

    assert checks(deployment.run(defs, "orders"))["schema"] is True


def test_an_asset_that_raises_counts_as_failed_materialization(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = FileNotFoundError("orders.csv is not there")
    for _ in range(2):
        assert not deployment.run(defs, "orders", raise_on_error=False).success

    assert deployment.state() == "open"


def test_polars_in_polars_out_through_the_fallback(deployment: Deployment) -> None:
    @contract_asset("orders")
    def orders() -> pl.DataFrame:
        return pl.from_pandas(deployment.source("orders"))

    @dg.asset
    def revenue(orders: pl.DataFrame) -> pl.DataFrame:
        assert isinstance(orders, pl.DataFrame)
        return orders.select("order_id")

    defs = deployment.defs(orders, revenue)
    deployment.run(defs)
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs)

    assert result.output_for_node("revenue")["order_id"].to_list() == [1, 2, 3]


def test_context_config_and_resources_still_reach_the_function(deployment: Deployment) -> None:
    @contract_asset("orders", group_name="shop", kinds={"pandas"})
    def orders(context: dg.AssetExecutionContext, config: Limit) -> dg.Output[pd.DataFrame]:
        context.log.info("hello")
        return dg.Output(GOOD.head(config.rows), metadata={"mine": 1})

    defs = deployment.defs(orders)
    result = deployment.run(defs)

    (materialization,) = result.asset_materializations_for_node("orders")
    assert materialization.metadata["mine"].value == 1
    assert materialization.metadata["dagster/row_count"].value == 2
    spec = defs.resolve_assets_def("orders").get_asset_spec(dg.AssetKey("orders"))
    assert spec.group_name == "shop"
    assert "pandas" in spec.kinds
    assert spec.tags["dagster-contracts/contract"] == "orders"


def test_generators_and_coroutines_are_audited_too(deployment: Deployment, checks: Any) -> None:
    @contract_asset("orders")
    def orders() -> Any:
        yield dg.AssetObservation(asset_key="orders", description="halfway")
        yield dg.Output(BAD)

    @contract_asset("orders", key=["async", "orders"])
    async def later() -> pd.DataFrame:
        return BAD

    generated = deployment.run(deployment.defs(orders))
    assert checks(generated)["schema"] is False
    awaited = deployment.run(deployment.defs(later))
    assert checks(awaited)["schema"] is False


def test_definitions_that_skipped_with_contracts_refuse_to_run(deployment: Deployment) -> None:
    orders, *_ = assets(deployment)

    result = dg.materialize([orders], instance=deployment.instance, raise_on_error=False)

    (failure,) = [e for e in result.all_node_events if e.is_step_failure]
    assert "with_contracts" in str(failure.step_failure_data.error)


def test_bad_use_of_the_decorator_is_refused_when_the_module_loads() -> None:
    with pytest.raises(WiringError, match="parentheses"):
        contract_asset(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(WiringError, match="check_specs"):
        contract_asset("orders", check_specs=[])


def test_a_good_batch_that_arrow_cannot_hold_is_published_and_not_kept(
    deployment: Deployment, checks: Any
) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = GOOD.assign(note=[1, "x", object()])

    result = deployment.run(defs, "orders", "revenue")

    assert checks(result) == {"schema": True, "circuit": True}
    (materialization,) = result.asset_materializations_for_node("orders")
    assert "contract/not_kept_as_last_valid" in materialization.metadata


def test_a_key_prefix_given_afterwards_holds_for_deps_too(deployment: Deployment) -> None:
    module = types.ModuleType("shop_assets")

    @dg.asset
    def base() -> None: ...

    @contract_asset("orders", deps=[base])
    def orders() -> pd.DataFrame:
        return GOOD

    module.base, module.orders = base, orders  # type: ignore[attr-defined]
    loaded = dg.load_assets_from_modules([module], key_prefix="wh")

    defs = deployment.defs(*loaded)

    spec = defs.resolve_assets_def(dg.AssetKey(["wh", "orders"])).get_asset_spec()
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["wh", "base"])]
