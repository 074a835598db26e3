"""A consumer whose run failed was built on nothing: it is neither called so nor healed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts.core.circuit import CircuitKey
from tests.orchestration.conftest import BAD, NEWER, Deployment

ORDERS = CircuitKey("orders", "orders")


@pytest.fixture
def broken() -> list[str]:
    """Why the consumer fails, while anything stands in it."""
    return []


@pytest.fixture
def defs(deployment: Deployment, broken: list[str]) -> dg.Definitions:
    return deployment.defs(*made(deployment, broken))


def made(deployment: Deployment, broken: list[str]) -> tuple[Any, Any]:
    @dg.asset
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        if broken:
            raise RuntimeError(broken[0])
        return orders

    return deployment.asset("orders", "orders@^1"), revenue


@pytest.fixture
def tick(deployment: Deployment, defs: dg.Definitions) -> Callable[[], list[Any]]:
    """One tick of the sensor; the runs that it asks for."""
    return lambda: deployment.tick(defs, "contract_circuit_sensor").run_requests


def close(deployment: Deployment) -> None:
    deployment.runtime.breaker.reset(ORDERS, actor="ann", reason="mended")


def test_what_a_failed_consumer_stored_before_hands_nothing_on(
    deployment: Deployment, broken: list[str]
) -> None:
    @dg.asset
    def report(revenue: pd.DataFrame) -> pd.DataFrame:
        return revenue

    defs = deployment.defs(*made(deployment, broken), report)
    deployment.run(defs, "orders", "revenue")
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")
    broken.append("a bug")
    deployment.run(defs, "revenue", raise_on_error=False)

    result = deployment.run(defs, "report")

    (event,) = result.asset_materializations_for_node("report")
    assert "contract/degraded" not in event.metadata
    assert deployment.runtime.ledger.open_reads() == ()


def test_a_consumer_that_was_killed_is_not_healed_and_the_history_tells_it(
    deployment: Deployment, defs: dg.Definitions, broken: list[str], tick: Callable[[], list[Any]]
) -> None:
    deployment.run(defs, "orders")
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")
    broken.append("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        deployment.run(defs, "revenue")
    # Nobody knows yet: a run that is killed leaves its mark.
    assert [read.pending for read in deployment.runtime.ledger.open_reads()] == [True]
    close(deployment)

    assert tick() == []

    assert deployment.runtime.ledger.open_reads() == ()
    lines = deployment.runtime.breaker.history(ORDERS, 100)
    (told,) = [line.sentence() for line in lines if line.kind == "read_dropped"]
    assert "revenue was not built on last_valid of orders: run" in told
    assert told.endswith("ended as failure and stored nothing of it")


def test_what_was_built_on_a_fallback_before_is_healed_all_the_same(
    deployment: Deployment, defs: dg.Definitions, broken: list[str], tick: Callable[[], list[Any]]
) -> None:
    deployment.run(defs, "orders")
    deployment.delivered["orders"] = BAD
    deployment.run(defs)
    assert [read.pending for read in deployment.runtime.ledger.open_reads()] == [False]
    broken.append("a bug")
    deployment.run(defs, "revenue", raise_on_error=False)
    close(deployment)

    (request,) = tick()

    assert [key.to_user_string() for key in request.asset_selection] == ["revenue"]
    broken.clear()
    deployment.delivered["orders"] = NEWER
    deployment.run(defs)
    assert deployment.runtime.ledger.open_reads() == ()


def test_a_run_that_died_after_it_had_stored_is_healed(
    deployment: Deployment, defs: dg.Definitions, tick: Callable[[], list[Any]]
) -> None:
    deployment.run(defs, "orders")
    deployment.delivered["orders"] = BAD
    result = deployment.run(defs)
    (built,) = deployment.runtime.ledger.open_reads()
    # As if the process had been killed between storing and writing that down.
    runtime = deployment.runtime
    runtime.ledger.settle(
        consumer="revenue", consumer_partition=None, upstream="orders", run_id="x"
    )
    runtime.ledger.record(
        type(built)(
            circuit=built.circuit,
            consumer="revenue",
            upstream="orders",
            level=built.level,
            source=built.source,
            reason=built.reason,
            run_id=result.run_id,
            generation=built.generation,
            pending=True,
        )
    )
    close(deployment)

    (request,) = tick()

    assert [key.to_user_string() for key in request.asset_selection] == ["revenue"]
