"""The job ``operate_circuit``: an operator decides from the UI, and it is kept who and why."""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import ContractsWarning
from dagster_contracts.core.circuit import CircuitKey, Override
from dagster_contracts.errors import PolicyError
from tests.orchestration.conftest import BAD, GOOD, NEWER, ORDERS, Deployment, by_partition


@pytest.fixture
def defs(deployment: Deployment) -> dg.Definitions:
    @dg.asset
    def revenue(orders: pd.DataFrame) -> float:
        return float(orders["amount"].sum())

    made = deployment.asset("orders", "orders"), deployment.asset("order_archive")
    return deployment.defs(*made, revenue)


def of_partitions(deployment: Deployment, partitions: Any) -> dg.Definitions:
    """The definitions of orders whose partitions have a circuit each."""
    deployment.contract(by_partition(ORDERS))
    orders = deployment.asset("orders", "orders", partitions_def=partitions)
    return deployment.defs(orders, deployment.asset("order_archive"))


def operate(deployment: Deployment, defs: dg.Definitions, **config: Any) -> Any:
    job = defs.resolve_job_def("operate_circuit")
    return job.execute_in_process(
        run_config={"ops": {"decide": {"config": config}}},
        instance=deployment.instance,
        raise_on_error=False,
    )


def failure(result: Any) -> str:
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    data = event.event_specific_data
    return str(data.user_failure_data.description if data.user_failure_data else data.error)


def test_force_open_keeps_consumers_on_the_fallback(
    deployment: Deployment, defs: dg.Definitions
) -> None:
    deployment.run(defs, "orders", "revenue")
    deployment.delivered["orders"] = NEWER

    decided = operate(
        deployment, defs, contract="orders", decision="FORCE_OPEN", reason="cents", actor="ada",
        duration="2h",
    )  # fmt: skip

    assert decided.success
    assert deployment.state() == "open"
    (entry,) = [e for e in deployment.runtime.breaker.history() if e.actor == "ada"]
    assert "cents" in entry.explanation
    circuit = deployment.runtime.breaker.circuits()[0]
    assert circuit.override_until is not None


def test_reset_closes_what_a_bad_batch_opened(deployment: Deployment, defs: dg.Definitions) -> None:
    deployment.run(defs, "orders")
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")
    assert deployment.state() == "open"

    assert operate(
        deployment, defs, contract="orders", decision="RESET", reason="mended", actor="ada"
    ).success
    assert deployment.state() == "closed"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"contract": "ordrs"}, "ordrs has no circuit here"),
        ({"asset": "revenue"}, "orders on revenue has no circuit here"),
        ({"partition": "2026"}, "one circuit for all its partitions"),
        ({"reason": " "}, "say who does it and why"),
        ({"actor": ""}, "say who does it and why"),
        ({"duration": "soon"}, "'soon' cannot be the duration"),
        ({"duration": "5%"}, "'5%' is no duration"),
        ({"duration": "5%"}, "such as 5min or 1h30min"),
        ({"duration": "5000d"}, "a duration is at most ten years (3650d)"),
        ({"duration": "-2h"}, "a duration cannot be negative here"),
        ({"duration": "2x"}, "units of time are ms, s, min, h, d, w"),
        ({"decision": "RESET", "duration": "2h"}, "a reset has no duration"),
    ],
)
def test_a_decision_that_cannot_be_carried_out_says_why(
    deployment: Deployment, defs: dg.Definitions, config: dict[str, str], said: str
) -> None:
    asked = {"contract": "orders", "decision": "FORCE_OPEN", "reason": "x", "actor": "ada"}

    result = operate(deployment, defs, **{**asked, **config})

    assert not result.success
    assert said in failure(result)
    assert not any(c.override_actor for c in deployment.runtime.breaker.circuits())


def test_where_each_partition_has_its_circuit_one_is_named_or_all_are_meant(
    deployment: Deployment,
) -> None:
    defs = of_partitions(deployment, dg.StaticPartitionsDefinition(["a", "b"]))
    asked = {"contract": "orders", "decision": "FORCE_OPEN", "reason": "x", "actor": "ada"}
    unknown = failure(operate(deployment, defs, **asked, partition="aa"))
    assert "orders has no partition 'aa'" in unknown
    assert "did you mean 'a'?" in unknown
    assert not deployment.runtime.breaker.circuits()
    assert operate(deployment, defs, **asked, partition="b").success
    states = {
        c.key.partition: c.effective_state.value for c in deployment.runtime.breaker.circuits()
    }
    assert states == {"b": "open"}
    every = operate(deployment, defs, **asked)
    (event,) = [e for e in every.all_events if e.event_type_value == "STEP_OUTPUT"]
    said = event.event_specific_data.metadata["circuit"].value
    assert "orders/orders: forced open" in said
    assert "every partition of orders obeys it, those that come later too" in said
    assert "which they keep: b" in said
    deployment.delivered["a"] = GOOD
    deployment.run(defs, "orders", partition="a")
    assert {c.effective_state.value for c in deployment.runtime.breaker.circuits()} == {"open"}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (("ordrs", "orders"), "did you mean 'orders'?"),
        (("orders", "revenue"), "orders does not govern 'revenue'"),
        (("orders", "orders", "2026"), "one circuit for all its partitions"),
    ],
)
@pytest.mark.parametrize("defined", [True, False])
def test_from_python_too_a_circuit_that_nobody_would_ask_is_refused(
    deployment: Deployment,
    request: pytest.FixtureRequest,
    key: tuple[str, ...],
    said: str,
    defined: bool,
) -> None:
    if defined:
        request.getfixturevalue("defs")
    breaker = deployment.runtime.breaker
    refused = CircuitKey(*key)

    with pytest.raises(PolicyError) as forced:
        breaker.force(refused, Override.FORCED_OPEN, actor="ada", reason="x")
    with pytest.raises(PolicyError) as reset:
        breaker.reset(refused, actor="ada", reason="x")

    assert said in str(forced.value)
    assert said in str(reset.value)
    assert not breaker.circuits()
    breaker.force(CircuitKey("orders", "orders"), Override.FORCED_OPEN, actor="ada", reason="x")
    assert len(breaker.circuits()) == 1


@pytest.mark.parametrize("defined", [True, False], ids=["dynamic partitions", "no definitions"])
def test_where_the_definitions_do_not_tell_a_partition_must_have_been_evaluated(
    deployment: Deployment, defined: bool
) -> None:
    defs = of_partitions(deployment, dg.DynamicPartitionsDefinition(name="regions"))
    deployment.instance.add_dynamic_partitions("regions", ["eu", "us"])
    deployment.delivered["eu"] = GOOD
    deployment.run(defs, "orders", partition="eu")
    if not defined:
        deployment.runtime.bound = None
    breaker = deployment.runtime.breaker
    by = {"actor": "ada", "reason": "x"}

    with pytest.raises(PolicyError, match="nothing was ever evaluated of the partition 'banana'"):
        breaker.force(CircuitKey("orders", "orders", "banana"), Override.FORCED_OPEN, **by)
    with pytest.raises(PolicyError, match="did you mean 'eu'"):
        breaker.reset(CircuitKey("orders", "orders", "eu1"), **by)
    breaker.force(CircuitKey("orders", "orders", "eu"), Override.FORCED_OPEN, **by)
    assert [circuit.key.partition for circuit in breaker.circuits()] == ["eu"]
    with pytest.raises(PolicyError, match="consumers ask this circuit"):
        breaker.dismiss(CircuitKey("orders", "orders", "eu"), **by)


@pytest.mark.parametrize(
    ("partitions", "good", "wrong"),
    [
        (dg.StaticPartitionsDefinition(["eu", "us"]), "us", "uk"),
        (dg.DailyPartitionsDefinition("2026-03-01"), "2031-01-01", "2026-3-1"),
        (dg.DailyPartitionsDefinition("2026-03-01"), "2026-03-01", "2026-02-28"),
        (None, None, "eu"),
    ],
)
def test_the_partition_must_be_one_of_the_assets(
    deployment: Deployment, partitions: Any, good: str | None, wrong: str
) -> None:
    of_partitions(deployment, partitions)
    breaker = deployment.runtime.breaker
    with pytest.raises(PolicyError, match=f"orders has no partition '{wrong}'"):
        breaker.reset(CircuitKey("orders", "orders", wrong), actor="ada", reason="x")
    breaker.reset(CircuitKey("orders", "orders", good), actor="ada", reason="x")


def test_a_job_of_the_same_name_stays_the_users_own(deployment: Deployment) -> None:
    @dg.job
    def operate_circuit() -> None: ...

    from dagster_contracts import with_contracts

    with pytest.warns(ContractsWarning, match="operate_circuit"):
        defs = with_contracts(
            dg.Definitions(assets=[deployment.asset("orders")], jobs=[operate_circuit]),
            contracts=deployment.resource,
        )
    assert defs.resolve_job_def("operate_circuit").nodes == []


def test_without_a_circuit_there_is_no_job(deployment: Deployment) -> None:
    deployment.contract(ORDERS.partition("  resilience:")[0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        defs = deployment.defs(deployment.asset("orders"))
    assert not defs.jobs
