"""Relationships to other assets, evaluated within Dagster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import contract_asset
from tests.orchestration.conftest import Deployment

LINES = """
data_contract:
  name: order_lines
  version: 1.0.0
  schema:
    fields:
      line: {type: integer, required: true}
      order: {type: integer, references: orders.order_id}
"""
ORDERS = """
data_contract:
  name: orders
  version: 1.0.0
  schema:
    fields:
      order_id: {type: integer, required: true, physical_name: id}
"""
DAYS = dg.StaticPartitionsDefinition(["mon", "tue", "wed"])
KNOWN = pd.DataFrame({"id": [1, 2, 3]})
LINE_ROWS = pd.DataFrame({"line": [1, 2, 3], "order": [1, 9, 3]})


@pytest.fixture
def shop(deployment: Deployment) -> Deployment:
    deployment.contract(ORDERS)
    deployment.contract(LINES, "order_lines")
    deployment.delivered = {"orders": KNOWN, "order_lines": LINE_ROWS}
    return deployment


def lines_of(deployment: Deployment, *, audited: bool, **options: Any) -> dg.AssetsDefinition:
    return deployment.asset("order_lines", "order_lines" if audited else None, **options)


def schema_check(result: dg.ExecuteInProcessResult, asset: str = "order_lines") -> Any:
    found = [
        e
        for e in result.get_asset_check_evaluations()
        if e.check_name == "schema" and e.asset_key.path[-1] == asset
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("audited", [False, True])
def test_keys_that_the_other_asset_lacks_are_counted(shop: Deployment, audited: bool) -> None:
    defs = shop.defs(shop.asset("orders"), lines_of(shop, audited=audited, deps=["orders"]))
    shop.run(defs, "orders")

    result = shop.run(defs, "order_lines", raise_on_error=False)

    found = schema_check(result)
    assert not found.passed
    assert found.description == "1 of 3 rows (33.3%) break order_lines@1.0.0: order.references 1"
    shop.delivered["orders"] = pd.DataFrame({"id": [1, 3, 9]})
    again = shop.run(defs, "orders", "order_lines")
    assert schema_check(again).passed


@pytest.mark.parametrize("governed", [True, False])
def test_the_text_of_a_file_has_the_types_of_its_contract(
    deployment: Deployment, tmp_path: Path, governed: bool
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("id,order_id\n1,1\n2,2\n03,03\n")
    if governed:
        deployment.contract(ORDERS)
    deployment.contract(LINES, "order_lines")
    deployment.delivered = {"orders": str(path), "order_lines": LINE_ROWS}

    @dg.asset
    def orders() -> object:
        return deployment.source("orders")

    defs = deployment.defs(orders, lines_of(deployment, audited=True, deps=["orders"]))
    deployment.run(defs, "orders")
    result = deployment.run(defs, "order_lines", raise_on_error=False)
    assert "order.references 1" in schema_check(result).description


def test_the_graph_of_the_user_stays_as_it_is(shop: Deployment) -> None:
    defs = shop.defs(shop.asset("orders"), lines_of(shop, audited=False))
    graph = defs.resolve_asset_graph()
    assert graph.get(dg.AssetKey("order_lines")).parent_keys == set()
    assert graph.get(dg.AssetKey("orders")).child_keys == set()


@pytest.mark.parametrize("audited", [False, True])
def test_what_is_not_stored_yet_is_not_evaluated(shop: Deployment, audited: bool) -> None:
    defs = shop.defs(shop.asset("orders"), lines_of(shop, audited=audited))
    found = schema_check(shop.run(defs, "order_lines"))
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "the asset orders has not been materialized yet" in (found.description or "")


def test_an_asset_that_is_not_here_is_named(shop: Deployment) -> None:
    with pytest.warns(UserWarning, match="no asset 'orders' here"):
        defs = shop.defs(lines_of(shop, audited=False))
    found = schema_check(shop.run(defs, "order_lines"))
    assert "no asset of this code location is governed by orders" in (found.description or "")


def test_a_verdict_never_rests_on_what_the_run_is_about_to_replace(shop: Deployment) -> None:
    lines = lines_of(shop, audited=True)

    @dg.asset(deps=[lines])
    def orders() -> pd.DataFrame:
        return KNOWN

    defs = shop.defs(orders, lines)
    shop.run(defs, "orders")
    found = schema_check(shop.run(defs, "order_lines", "orders"))
    assert "orders is made in the same run and was not ready" in (found.description or "")


def test_assets_may_refer_to_each_other_and_to_themselves(shop: Deployment) -> None:
    shop.contract(
        """
        data_contract:
          name: orders
          version: 1.0.0
          schema:
            fields:
              order_id: {type: integer, physical_name: id, references: order_lines.order}
              parent: {type: integer, references: orders.order_id}
        """
    )
    shop.delivered["orders"] = KNOWN.assign(parent=[1, 1, 7])
    defs = shop.defs(shop.asset("orders"), lines_of(shop, audited=False))

    result = shop.run(defs, raise_on_error=False)

    words = "2 of 3 rows (66.7%) break orders@1.0.0: id.references 1, parent.references 1"
    assert schema_check(result, "orders").description == words
    assert schema_check(result).description.endswith("order.references 1")


def test_every_partition_of_the_other_asset_counts(shop: Deployment) -> None:
    @dg.asset(partitions_def=DAYS)
    def orders(context) -> pd.DataFrame:
        return pd.DataFrame({"id": {"mon": [1, 2], "tue": [2, 3]}[context.partition_key]})

    defs = shop.defs(orders, lines_of(shop, audited=True, deps=[orders]))
    for day in ("mon", "tue"):
        shop.run(defs, "orders", partition=day)
    found = schema_check(shop.run(defs, "order_lines", raise_on_error=False))
    assert found.description.endswith("order.references 1")


def test_a_partition_may_refer_to_the_others_of_its_own_asset(shop: Deployment) -> None:
    shop.contract(LINES.replace("orders.order_id", "order_lines.line"), "order_lines")

    @contract_asset("order_lines", partitions_def=DAYS)
    def order_lines(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return shop.source(context.partition_key)

    defs = shop.defs(shop.asset("orders"), order_lines)
    shop.delivered = {
        "mon": pd.DataFrame({"line": [1, 2], "order": [1, 1]}),
        "tue": pd.DataFrame({"line": [3], "order": [2]}),
        "wed": pd.DataFrame({"line": [4, 5], "order": [5, 6]}),
    }
    for day in ("mon", "tue"):
        assert schema_check(shop.run(defs, "order_lines", partition=day)).passed
    last = shop.run(defs, "order_lines", partition="wed", raise_on_error=False)
    assert schema_check(last).description.endswith("order.references 1")


def test_what_cannot_be_loaded_says_so(shop: Deployment) -> None:
    shop.contract(LINES.replace("orders.order_id", "ungoverned.id"), "order_lines")

    @dg.asset
    def ungoverned() -> pd.DataFrame:
        return pd.DataFrame({"other": [1]})

    defs = shop.defs(
        shop.asset("orders"), ungoverned, lines_of(shop, audited=False, deps=[ungoverned])
    )
    found = schema_check(shop.run(defs))
    assert "the other table has no column id" in (found.description or "")
    (shop.root / "io" / "ungoverned").unlink()
    lost = schema_check(shop.run(defs, "order_lines"))
    assert "the asset ungoverned cannot be loaded: FileNotFoundError" in (lost.description or "")


class Narrow(dg.IOManager):
    """Loads the columns that it is asked for, as the I/O managers of databases do."""

    def __init__(self) -> None:
        self.kept: dict[Any, pd.DataFrame] = {}
        self.asked: list[list[str]] = []

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame) -> None:
        self.kept[context.asset_key] = obj

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        whole = self.kept[context.asset_key]
        columns = (context.definition_metadata or {}).get("columns", list(whole))
        self.asked.append(columns)
        return whole[columns]


def test_the_other_assets_own_io_manager_loads_the_key_alone(shop: Deployment) -> None:
    from dagster_contracts import with_contracts

    narrow = Narrow()
    defs = with_contracts(
        dg.Definitions(
            assets=[
                shop.asset("orders", io_manager_key="narrow"),
                lines_of(shop, audited=True, deps=["orders"]),
            ],
            resources={"narrow": narrow, "io_manager": dg.mem_io_manager},
        ),
        contracts=shop.resource,
    )
    result = shop.run(defs, raise_on_error=False)
    assert schema_check(result).description.endswith("order.references 1")
    assert narrow.asked[-1] == ["id"]
