"""Assets that know nothing of contracts: a separate check step, which is a barrier."""

from __future__ import annotations

import re
import shutil
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import ContractsWarning, WiringError
from tests.orchestration.conftest import ARCHIVE, BAD, GOOD, NEWER, ORDERS, Deployment

STRICT = """
data_contract:
  name: orders
  version: 1.0.0
  schema:
    fields:
      order_id: {type: integer, required: true}
      amount: {type: number, minimum: 0}
"""


def assets(deployment: Deployment) -> list[Any]:
    @dg.asset
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    return [deployment.asset("orders"), deployment.asset("order_archive"), revenue]


def test_the_checks_open_the_circuit_before_the_downstream_of_the_run_reads(
    deployment: Deployment, checks: Any
) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue")

    assert result.success
    assert checks(result) == {"schema": False, "circuit": False}
    pd.testing.assert_frame_equal(result.output_for_node("revenue"), GOOD)


def test_the_check_step_itself_sees_the_primary_while_the_circuit_is_open(
    deployment: Deployment, checks: Any
) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")
    assert deployment.state() == "open"

    again = deployment.run(defs, "orders")

    assert checks(again)["schema"] is False


def test_without_a_fallback_the_downstream_is_not_run(deployment: Deployment) -> None:
    deployment.contract(STRICT)
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue", raise_on_error=False)

    assert not result.success
    ran = {e.node_name for e in result.all_node_events if e.is_step_success}
    assert "revenue" not in ran


def test_the_data_is_loaded_once_for_all_checks(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))

    result = deployment.run(defs, "orders")

    loads = [e for e in result.all_node_events if e.event_type_value == "LOADED_INPUT"]
    assert len(loads) == 1


def test_the_users_own_asset_is_shown_with_its_contract(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))

    spec = defs.resolve_assets_def("orders").get_asset_spec(dg.AssetKey("orders"))

    assert spec.tags["dagster-contracts/contract"] == "orders"
    assert spec.tags["dagster-contracts/version"] == "1.0.0"
    assert list(spec.owners) == ["shop@example.com"]
    columns = {c.name: c for c in spec.metadata["dagster/column_schema"].columns}
    assert columns["order_id"].constraints.nullable is False
    assert ">= 0" in columns["amount"].constraints.other


def test_a_contract_without_an_asset_is_a_warning_with_the_nearest_name(
    deployment: Deployment,
) -> None:
    @dg.asset
    def order() -> pd.DataFrame:
        return GOOD

    with pytest.warns(ContractsWarning, match="the nearest is 'order'"):
        deployment.defs(order)
    with pytest.raises(WiringError, match="no asset 'orders'"):
        deployment.defs(order, strict=True)


def test_two_contracts_on_one_asset_are_refused(deployment: Deployment) -> None:
    deployment.contract(STRICT.replace("name: orders", "name: other\n  asset: orders"), "other")

    with pytest.raises(WiringError, match="two contracts govern the asset orders"):
        deployment.defs(*assets(deployment))


def test_a_missing_contracts_folder_is_an_error_with_its_place(deployment: Deployment) -> None:
    from dagster_contracts import ContractsResource, with_contracts

    with pytest.raises(WiringError, match="no contracts folder 'nowhere'"):
        with_contracts(dg.Definitions(), contracts=ContractsResource(path="nowhere"))


def test_relative_paths_are_resolved_against_the_code_location(deployment: Deployment) -> None:
    import subprocess
    import sys

    code = deployment.root / "src" / "location.py"
    code.parent.mkdir()
    code.write_text(
        "import dagster as dg\n"
        "from dagster_contracts import ContractsResource, with_contracts\n"
        "defs = with_contracts(dg.Definitions(), contracts=ContractsResource(path='contracts'))\n"
        "print(defs.resources['contracts'].path, defs.resources['contracts'].store)\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(code)],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )

    path, store = done.stdout.split()
    assert path == str(deployment.root / "contracts")
    assert store == f"sqlite:///{deployment.root / '.dagster_contracts' / 'state.db'}"


def test_an_input_whose_file_is_gone_is_served_from_the_fallback(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    (deployment.root / "io" / "orders").unlink()

    result = deployment.run(defs, "revenue")

    pd.testing.assert_frame_equal(result.output_for_node("revenue"), GOOD)
    (read,) = deployment.runtime.ledger.open_reads()
    assert read.level == "last"


def test_a_fallback_that_breaks_its_own_promise_is_passed_over(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["order_archive"] = ARCHIVE.drop(columns="amount")
    deployment.run(defs, "order_archive")
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue", raise_on_error=False)

    (failure,) = [e for e in result.all_node_events if e.is_step_failure]
    error = failure.step_failure_data.error
    assert "does not keep the schema that it promises" in str(error) + str(error.cause)


def test_a_consumer_that_stores_its_data_itself_is_settled_too(deployment: Deployment) -> None:
    stored: list[Any] = []

    @dg.asset
    def export(orders: pd.DataFrame) -> None:
        stored.append(orders["order_id"].tolist())

    defs = deployment.defs(*assets(deployment), export)
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", "export")
    (read,) = deployment.runtime.ledger.open_reads(consumer="export")

    deployment.runtime.breaker.reset(read.circuit, actor="ada", reason="mended")
    deployment.delivered["orders"] = NEWER
    deployment.run(defs, "orders", "export")

    assert stored == [[1, 2, 3], [1, 2, 3], [4, 5, 6]]
    assert deployment.runtime.ledger.open_reads(consumer="export") == ()


def test_a_consumer_that_fails_is_not_healed(deployment: Deployment) -> None:
    @dg.asset
    def fragile(orders: pd.DataFrame) -> None:
        if orders["order_id"].tolist() == [4, 5, 6]:
            raise RuntimeError("the warehouse is away")

    defs = deployment.defs(*assets(deployment), fragile)
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", "fragile")
    (read,) = deployment.runtime.ledger.open_reads(consumer="fragile")
    deployment.runtime.breaker.reset(read.circuit, actor="ada", reason="mended")
    deployment.delivered["orders"] = NEWER

    deployment.run(defs, "orders", "fragile", raise_on_error=False)

    assert len(deployment.runtime.ledger.open_reads(consumer="fragile")) == 1


def test_a_cascade_is_no_failure_of_the_contracted_consumer(deployment: Deployment) -> None:
    deployment.contract(
        """
        data_contract:
          name: revenue
          version: 1.0.0
          schema: {fields: {order_id: {type: integer}}}
          resilience: {circuit_breaker: {open_when: ["failed_materializations >= 1"]}}
        """,
        "revenue",
    )
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = BAD

    assert not deployment.run(defs, "orders", "revenue", raise_on_error=False).success

    assert "revenue" not in {
        c.key.contract for c in deployment.runtime.breaker.circuits() if c.attempts
    }
    assert deployment.state("orders") == "open"


def test_a_refused_batch_without_a_fallback_is_no_failed_materialization(
    deployment: Deployment,
) -> None:
    deployment.contract(
        STRICT + '  resilience: {circuit_breaker: {open_when: ["schema_validation_errors > 5%"]}}\n'
    )

    defs = deployment.defs(deployment.asset("orders", "orders"))
    deployment.delivered["orders"] = BAD

    assert not deployment.run(defs, "orders", raise_on_error=False).success

    entries = deployment.runtime.breaker.history(limit=20)
    assert [e.kind for e in entries if e.kind == "failed"] == []


def test_skip_leaves_the_downstream_out_of_the_run(deployment: Deployment) -> None:
    deployment.contract(
        STRICT
        + "  resilience:\n"
        + '    circuit_breaker: {open_when: ["schema_validation_errors > 5%"]}\n'
        + "    on_exhausted: skip\n"
    )

    @dg.asset
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    defs = deployment.defs(deployment.asset("orders", "orders"), revenue)
    deployment.delivered["orders"] = BAD

    result = deployment.run(defs, "orders", "revenue")

    assert result.success
    assert "revenue" not in {e.node_name for e in result.all_node_events if e.is_step_success}


def test_the_stores_url_takes_names_from_the_environment(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_contracts import ContractsResource, StoreError

    monkeypatch.setenv("CONTRACTS_DB", "elsewhere.db")
    written = ContractsResource(store="sqlite:///${env:CONTRACTS_DB}")
    assert written.resolved(deployment.root).store == f"sqlite:///{deployment.root}/elsewhere.db"

    monkeypatch.delenv("CONTRACTS_DB")
    with pytest.raises(StoreError, match="CONTRACTS_DB"):
        written.resolved(deployment.root)


def test_a_fallback_that_nobody_makes_is_told_when_the_location_loads(
    deployment: Deployment,
) -> None:
    deployment.contract(ORDERS.replace("source: order_archive", "source: order_archve"))

    with pytest.warns(ContractsWarning, match="the nearest is 'order_archive'") as told:
        deployment.defs(*assets(deployment))
    (said,) = [str(each.message) for each in told if "order_archve" in str(each.message)]
    assert re.match(r"\S+\.yaml:\d+:\d+: the level ", said)
    assert "a file begins with ./ or ends with .parquet, .csv" in said
    with pytest.raises(WiringError, match="order_archve"):
        deployment.defs(*assets(deployment), strict=True)


@pytest.mark.parametrize("store", ["bogus", "mysql://db/x", "sqlite:///contracts"])
def test_a_store_that_can_never_be_opened_is_an_error_at_load_time(
    deployment: Deployment, store: str
) -> None:
    from dagster_contracts import ContractsResource, StoreError

    with pytest.raises(StoreError, match="hint"):
        ContractsResource(store=store).resolved(deployment.root)


def test_a_state_that_was_deleted_under_a_process_begins_anew(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")
    assert deployment.state() == "open"

    shutil.rmtree(deployment.root / ".dagster_contracts")
    deployment.delivered["orders"] = GOOD
    deployment.run(defs, "orders", "revenue")

    assert (deployment.root / ".dagster_contracts" / "state.db").exists()
    assert deployment.state() == "closed"
