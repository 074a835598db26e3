"""A step that is tried again: what counts is what the attempt that succeeded has read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts.core.circuit import CircuitKey
from tests.orchestration.conftest import BAD, GOOD, Deployment
from tests.orchestration.contract_text import contract_text

ONCE = dg.RetryPolicy(max_retries=1)
LAST = "level: last, source: last_valid"
NAMES = ("orders", "stock")


@pytest.fixture
def attempts() -> list[Any]:
    """What the consumer read in each attempt: the first ids of its inputs."""
    return []


@pytest.fixture
def two(deployment: Deployment) -> Callable[..., dg.Definitions]:
    """Definitions of consumers of ``orders`` and ``stock``, both of which have a good batch."""
    for name in NAMES:
        deployment.contract(contract_text(name, LAST), name)
        deployment.delivered[name] = GOOD

    def build(*consumers: Any) -> dg.Definitions:
        defs = deployment.defs(*(deployment.asset(name, name) for name in NAMES), *consumers)
        deployment.run(defs, *NAMES)
        return defs

    return build


@pytest.fixture
def degraded(deployment: Deployment, two: Callable[..., dg.Definitions]) -> Callable[..., Any]:
    """The run that builds consumers while the circuits of these sources are open."""

    def run(*consumers: dg.AssetsDefinition, of: Sequence[str] = ("orders",)) -> Any:
        defs = two(*consumers)
        break_(deployment, defs, *of)
        names = [key.to_user_string() for consumer in consumers for key in consumer.keys]
        return deployment.run(defs, *names)

    return run


def break_(deployment: Deployment, defs: dg.Definitions, *names: str) -> None:
    """Open the circuits of these sources; each of their primaries keeps the good batch."""
    for name in names:
        deployment.delivered[name] = BAD
    deployment.run(defs, *names)


def mend(deployment: Deployment, *names: str) -> None:
    for name in names:
        deployment.runtime.breaker.reset(CircuitKey(name, name), actor="ann", reason="mended")


def said(result: dg.ExecuteInProcessResult, name: str) -> str | None:
    """What the materialization of an asset says that it was built from."""
    *_, event = result.asset_materializations_for_node(name)
    told = event.metadata.get("contract/built_from")
    return None if told is None else str(told.value)


def marks(deployment: Deployment) -> list[tuple[str, str, bool]]:
    """The open rows of the ledger."""
    found = deployment.runtime.ledger.open_reads()
    return sorted((row.consumer, row.upstream, row.pending) for row in found)


def first(frame: pd.DataFrame) -> int:
    return int(frame["order_id"].iloc[0])


def test_an_attempt_that_read_the_primary_is_not_built_on_the_fallback_of_the_one_before(
    deployment: Deployment, two: Callable[..., dg.Definitions], attempts: list[Any]
) -> None:
    @dg.asset(retry_policy=ONCE)
    def revenue(context: dg.AssetExecutionContext, orders: pd.DataFrame) -> pd.DataFrame:
        attempts.append(first(orders))
        if context.retry_number == 0:
            mend(deployment, "orders")
            raise RuntimeError("flaky")
        return orders

    defs = two(revenue)
    break_(deployment, defs, "orders")

    result = deployment.run(defs, "revenue")

    assert attempts == [1, 1]
    assert said(result, "revenue") is None
    assert marks(deployment) == []
    assert deployment.tick(defs, "contract_circuit_sensor").run_requests == []
    lines = deployment.runtime.breaker.history(CircuitKey("orders", "orders"), 100)
    (told,) = [line.sentence() for line in lines if line.kind == "read_dropped"]
    assert "revenue was not built on last_valid of orders" in told


def test_an_attempt_that_read_a_fallback_after_a_primary_is_built_on_it(
    deployment: Deployment, two: Callable[..., dg.Definitions], attempts: list[Any]
) -> None:
    @dg.asset(retry_policy=ONCE)
    def revenue(context: dg.AssetExecutionContext, orders: pd.DataFrame) -> pd.DataFrame:
        attempts.append(first(orders))
        if context.retry_number == 0:
            break_(deployment, defs, "orders")
            raise RuntimeError("flaky")
        return orders

    defs = two(revenue)

    result = deployment.run(defs, "revenue")

    assert len(attempts) == 2
    assert "last_valid of orders" in str(said(result, "revenue"))
    assert marks(deployment) == [("revenue", "orders", False)]


def test_only_the_fallbacks_of_the_last_attempt_stay_marked(
    deployment: Deployment, two: Callable[..., dg.Definitions]
) -> None:
    @dg.asset(retry_policy=ONCE)
    def revenue(
        context: dg.AssetExecutionContext, orders: pd.DataFrame, stock: pd.DataFrame
    ) -> pd.DataFrame:
        if context.retry_number == 0:
            mend(deployment, "orders")
            break_(deployment, defs, "stock")
            raise RuntimeError("flaky")
        return orders

    defs = two(revenue)
    break_(deployment, defs, "orders")

    result = deployment.run(defs, "revenue")

    told = str(said(result, "revenue"))
    assert "last_valid of stock" in told
    assert "last_valid of orders" not in told
    assert marks(deployment) == [("revenue", "stock", False)]


def test_what_only_an_earlier_attempt_asked_for_is_not_marked(
    deployment: Deployment, degraded: Callable[..., Any]
) -> None:
    @dg.asset(deps=NAMES, retry_policy=ONCE)
    def revenue(context: dg.AssetExecutionContext) -> None:
        resource = deployment.resource
        if context.retry_number == 0:
            assert resource.resolve("orders").degraded
            raise RuntimeError("flaky")
        assert resource.resolve("stock").degraded

    result = degraded(revenue, of=NAMES)

    assert "last_valid of orders" not in str(said(result, "revenue"))
    assert marks(deployment) == [("revenue", "stock", False)]


def test_a_step_that_stored_before_it_was_tried_again_stores_the_good_data_anew(
    deployment: Deployment, degraded: Callable[..., Any]
) -> None:
    @dg.multi_asset(
        outs={"left": dg.AssetOut(), "right": dg.AssetOut()},
        retry_policy=ONCE,
    )
    def both(context: dg.AssetExecutionContext, orders: pd.DataFrame) -> Iterator[Any]:
        yield dg.Output(orders, "left")
        if context.retry_number == 0:
            assert marks(deployment) == [("left", "orders", False), ("right", "orders", True)]
            mend(deployment, "orders")
            raise RuntimeError("flaky")
        yield dg.Output(orders, "right")

    result = degraded(both)

    assert said(result, "both") is None
    assert marks(deployment) == []


def test_an_op_of_a_graph_that_is_tried_again_counts_as_it_read_last(
    deployment: Deployment, degraded: Callable[..., Any]
) -> None:
    @dg.op(retry_policy=ONCE)
    def load(context: dg.OpExecutionContext, orders: pd.DataFrame) -> pd.DataFrame:
        if context.retry_number == 0:
            mend(deployment, "orders")
            raise RuntimeError("flaky")
        return orders

    @dg.op
    def keep(loaded: pd.DataFrame) -> pd.DataFrame:
        return loaded

    @dg.graph_asset
    def revenue(orders: pd.DataFrame) -> Any:
        return keep(load(orders))

    result = degraded(revenue)

    assert said(result, "revenue.keep") is None
    assert marks(deployment) == []


def test_what_another_op_of_the_graph_read_from_a_fallback_stays_marked(
    deployment: Deployment, degraded: Callable[..., Any]
) -> None:
    @dg.op(retry_policy=ONCE)
    def load(context: dg.OpExecutionContext, orders: pd.DataFrame) -> pd.DataFrame:
        if context.retry_number == 0:
            raise RuntimeError("flaky")
        return orders

    @dg.op
    def other(orders: pd.DataFrame, loaded: Any) -> pd.DataFrame:
        mend(deployment, "orders")
        return orders

    @dg.op(retry_policy=ONCE)
    def keep(context: dg.OpExecutionContext, orders: pd.DataFrame, one: Any) -> pd.DataFrame:
        if context.retry_number == 0:
            raise RuntimeError("flaky")
        return one

    @dg.graph_asset
    def revenue(orders: pd.DataFrame) -> Any:
        return keep(orders, other(orders, load(orders)))

    result = degraded(revenue)

    assert "last_valid of orders" in str(said(result, "revenue.keep"))
    assert marks(deployment) == [("revenue", "orders", False)]


def test_a_mapped_op_that_is_tried_again_leaves_the_marks_of_the_others(
    deployment: Deployment, degraded: Callable[..., Any]
) -> None:
    @dg.op(out=dg.DynamicOut())
    def fan() -> Iterator[Any]:
        yield from (dg.DynamicOutput(number, mapping_key=f"k{number}") for number in range(2))

    @dg.op(retry_policy=ONCE)
    def load(context: dg.OpExecutionContext, number: int, orders: pd.DataFrame) -> pd.DataFrame:
        if number == 1 and context.retry_number == 0:
            mend(deployment, "orders")
            raise RuntimeError("flaky")
        return orders

    @dg.op
    def keep(loaded: list[pd.DataFrame]) -> pd.DataFrame:
        return loaded[0]

    @dg.graph_asset
    def revenue(orders: pd.DataFrame) -> Any:
        return keep(fan().map(lambda number: load(number, orders)).collect())

    result = degraded(revenue)

    assert "last_valid of orders" in str(said(result, "revenue.keep"))
    assert marks(deployment) == [("revenue", "orders", False)]


def test_the_new_run_of_a_failed_one_is_marked_for_what_it_read_itself(
    deployment: Deployment, two: Callable[..., dg.Definitions]
) -> None:
    broken = [True]

    @dg.asset
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        if broken:
            raise RuntimeError(broken.pop())
        return orders

    defs = two(revenue)
    break_(deployment, defs, "orders")
    failed = deployment.run(defs, "revenue", raise_on_error=False)
    assert marks(deployment) == []
    mend(deployment, "orders")

    tags = {"dagster/parent_run_id": failed.run_id, "dagster/root_run_id": failed.run_id}
    result = deployment.run(defs, "revenue", tags=tags)

    assert said(result, "revenue") is None
    assert deployment.tick(defs, "contract_circuit_sensor").run_requests == []
    assert marks(deployment) == []


def test_what_is_built_from_several_fallbacks_hands_them_all_on(
    deployment: Deployment, degraded: Callable[..., Any]
) -> None:
    @dg.asset
    def joined(orders: pd.DataFrame, stock: pd.DataFrame) -> pd.DataFrame:
        return orders

    @dg.asset
    def report(joined: pd.DataFrame) -> pd.DataFrame:
        return joined

    result = degraded(joined, report, of=NAMES)

    told = str(said(result, "report"))
    assert "joined was itself built from last_valid of orders and last_valid of stock" in told
    assert len(marks(deployment)) == 4
