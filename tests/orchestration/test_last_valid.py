"""What ``last_valid`` serves: batches that passed, of the schema that is promised today."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts.core.circuit import CircuitKey, Override
from tests.orchestration.conftest import BAD, GOOD, ORDERS, Deployment

KEY = CircuitKey("orders", "orders")
OPEN_WHEN = '["schema_validation_errors > 5%", "failed_materializations >= 2"]'


def wired(deployment: Deployment, *, audited: bool = True, archive: bool = False) -> dg.Definitions:
    @dg.asset
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    orders = deployment.asset("orders", "orders" if audited else None)
    others = [deployment.asset("order_archive")] if archive else []
    return deployment.defs(orders, revenue, *others)


def stored(deployment: Deployment, defs: dg.Definitions, *batches: pd.DataFrame) -> None:
    """Batches that are delivered one after the other, and read by nobody."""
    for batch in batches:
        deployment.delivered["orders"] = batch
        deployment.run(defs, "orders")


def served(deployment: Deployment, defs: dg.Definitions, batch: Any) -> pd.DataFrame:
    deployment.delivered["orders"] = batch
    frame: pd.DataFrame = deployment.run(defs, "orders", "revenue").output_for_node("revenue")
    return frame


def consumed(deployment: Deployment, defs: dg.Definitions) -> pd.DataFrame:
    frame: pd.DataFrame = deployment.run(defs, "revenue").output_for_node("revenue")
    return frame


def numbered(batch: pd.DataFrame, number: int) -> pd.DataFrame:
    return batch.assign(order_id=batch["order_id"] + number)


@pytest.mark.parametrize(
    ("patience", "audited"),
    [
        ('open_when: ["schema_validation_errors > 5% for 3 checks"]', True),
        (f"open_when: {OPEN_WHEN}\n      window: 4\n      min_observations: 4", False),
    ],
)
def test_a_bad_batch_that_the_circuit_was_patient_with_is_never_the_last_valid(
    deployment: Deployment, patience: str, audited: bool
) -> None:
    deployment.contract(ORDERS.replace(f"open_when: {OPEN_WHEN}", patience))
    defs = wired(deployment, audited=audited)
    stored(deployment, defs, GOOD)
    for number in range(2):
        batch = numbered(BAD, number)
        pd.testing.assert_frame_equal(served(deployment, defs, batch), batch)
        assert deployment.state() == "closed"

    pd.testing.assert_frame_equal(served(deployment, defs, numbered(BAD, 2)), GOOD)
    assert deployment.state() == "open"


def test_a_batch_that_was_published_and_not_kept_says_so(deployment: Deployment) -> None:
    patient = OPEN_WHEN.replace("5%", "5% for 3 checks")
    deployment.contract(ORDERS.replace(OPEN_WHEN, patient))
    defs = wired(deployment)
    deployment.delivered["orders"] = BAD

    (made,) = deployment.run(defs, "orders").asset_materializations_for_node("orders")

    said = made.metadata["contract/not_kept_as_last_valid"].value
    assert said == "it did not pass: schema_validation_errors was 66.7%, which is > 5%"


@pytest.mark.parametrize(
    ("override", "audited"), [(Override.FORCED_CLOSED, True), (Override.METRICS_ONLY, False)]
)
def test_a_bad_batch_under_an_override_is_never_the_last_valid(
    deployment: Deployment, audited: bool, override: Override
) -> None:
    defs = wired(deployment, audited=audited)
    stored(deployment, defs, GOOD)
    breaker = deployment.runtime.breaker
    breaker.force(KEY, override, actor="ann", reason="because")
    pd.testing.assert_frame_equal(served(deployment, defs, BAD), BAD)
    breaker.force(KEY, Override.NONE, actor="ann", reason="over")

    pd.testing.assert_frame_equal(served(deployment, defs, numbered(BAD, 9)), GOOD)


def test_a_bad_batch_under_metrics_only_is_never_the_last_valid(deployment: Deployment) -> None:
    deployment.contract(ORDERS.replace("recovery:", "mode: metrics_only\n      recovery:"))
    defs = wired(deployment)
    stored(deployment, defs, GOOD)
    pd.testing.assert_frame_equal(served(deployment, defs, BAD), BAD)
    deployment.contract(ORDERS)

    pd.testing.assert_frame_equal(served(deployment, wired(deployment), numbered(BAD, 9)), GOOD)


def test_what_the_contract_tolerates_is_valid(deployment: Deployment) -> None:
    deployment.contract(ORDERS.replace("> 5%", "> 40%"))
    defs = wired(deployment)
    tolerated = GOOD.assign(amount=[10.0, 20.0, -1.0])
    stored(deployment, defs, tolerated)

    pd.testing.assert_frame_equal(served(deployment, defs, BAD), tolerated)


def test_a_batch_of_an_older_version_is_not_served_without_the_columns_of_today(
    deployment: Deployment,
) -> None:
    stored(deployment, wired(deployment), GOOD)
    grown = ORDERS.replace("version: 1.0.0", "version: 1.1.0").replace(
        "      country: {type: string}\n",
        "      country: {type: string}\n      added: {type: string, required: true}\n",
    )
    deployment.contract(grown, version="1.1.0")
    defs = wired(deployment)
    deployment.delivered["orders"] = BAD.assign(added="x")

    result = deployment.run(defs, "orders", "revenue", raise_on_error=False)

    (failure,) = [e for e in result.all_node_events if e.is_step_failure]
    assert "last: FallbackError" in str(failure.step_failure_data.error)
    assert "the last valid batch, of version 1.0.0, lacks added" in str(
        failure.step_failure_data.error
    )

    declared = (
        "  consumers:\n    - {name: revenue, asset: revenue, columns: [added]}\n  resilience:"
    )
    deployment.contract(grown.replace("  resilience:", declared), version="1.1.0")
    result = deployment.run(wired(deployment), "revenue", raise_on_error=False)
    (failure,) = [e for e in result.all_node_events if e.is_step_failure]
    wanted = "last: it lacks columns that this consumer needs: added"
    assert wanted in str(failure.step_failure_data.error)


@pytest.mark.parametrize("audited", [True, False])
def test_force_open_serves_the_batch_before_the_one_that_is_distrusted(
    deployment: Deployment, audited: bool
) -> None:
    defs = wired(deployment, audited=audited)
    stored(deployment, defs, GOOD, numbered(GOOD, 10))
    breaker = deployment.runtime.breaker
    breaker.force(KEY, Override.FORCED_OPEN, actor="ann", reason="because")

    pd.testing.assert_frame_equal(consumed(deployment, defs), GOOD)
    for number in range(20, 60, 10):
        pd.testing.assert_frame_equal(served(deployment, defs, numbered(GOOD, number)), GOOD)
    breaker.force(KEY, Override.FORCED_OPEN, actor="bob", reason="longer")
    deployment.runtime.snapshots.sweep()
    pd.testing.assert_frame_equal(consumed(deployment, defs), GOOD)

    breaker.force(KEY, Override.NONE, actor="ann", reason="over")
    pd.testing.assert_frame_equal(served(deployment, defs, BAD), numbered(GOOD, 50))


def test_force_open_with_nothing_before_it_leaves_no_last_valid_batch(
    deployment: Deployment,
) -> None:
    defs = wired(deployment)
    stored(deployment, defs, GOOD)
    deployment.runtime.breaker.force(KEY, Override.FORCED_OPEN, actor="ann", reason="because")
    deployment.delivered["orders"] = numbered(GOOD, 10)

    result = deployment.run(defs, "orders", "revenue", raise_on_error=False)

    (failure,) = [e for e in result.all_node_events if e.is_step_failure]
    assert "last: no batch from before the one that was forced open" in str(
        failure.step_failure_data.error
    )


def test_force_open_after_a_bad_batch_still_serves_the_last_good_one(
    deployment: Deployment,
) -> None:
    defs = wired(deployment, audited=False)
    stored(deployment, defs, GOOD, BAD)
    deployment.runtime.breaker.force(KEY, Override.FORCED_OPEN, actor="ann", reason="because")

    pd.testing.assert_frame_equal(consumed(deployment, defs), GOOD)


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_a_batch_from_before_an_edit_is_refused_and_the_next_level_serves(
    deployment: Deployment, version: str
) -> None:
    added = ORDERS.replace(
        "      country: {type: string}\n",
        "      country: {type: string}\n      note: {type: string}\n",
    ).replace("version: 1.0.0", f"version: {version}")
    defs = wired(deployment, archive=True)
    deployment.run(defs, "order_archive")
    stored(deployment, defs, GOOD)
    deployment.contract(added, version=version)
    defs = wired(deployment, archive=True)

    fell_back = served(deployment, defs, BAD.assign(note="x"))

    assert fell_back.to_dict("records") == [{"order_id": 100, "amount": 5.0}]
    (read,) = deployment.runtime.ledger.open_reads()
    assert read.level == "archive"
    assert "last cannot be read: FallbackError: " in read.reason
    assert "the last valid batch, of version 1.0.0, lacks note" in read.reason


def test_a_batch_that_lacks_a_column_may_be_published_and_is_never_the_last_valid(
    deployment: Deployment,
) -> None:
    deployment.contract(ORDERS.replace("schema_validation_errors > 5%", "row_count < 1"))
    defs = wired(deployment, archive=True)
    deployment.run(defs, "order_archive")
    narrow = GOOD.drop(columns="country")
    pd.testing.assert_frame_equal(served(deployment, defs, narrow), narrow)

    assert served(deployment, defs, GOOD[:0])["order_id"].tolist() == [100]


def test_a_batch_that_the_edited_rules_refuse_is_not_served(deployment: Deployment) -> None:
    defs = wired(deployment, archive=True)
    deployment.run(defs, "order_archive")
    stored(deployment, defs, GOOD)
    deployment.contract(ORDERS.replace("minimum: 0", "minimum: 15"))
    defs = wired(deployment, archive=True)

    assert served(deployment, defs, BAD)["order_id"].tolist() == [100]
    (read,) = deployment.runtime.ledger.open_reads()
    assert "last cannot be read: FallbackError: " in read.reason
    assert "does not keep the schema that it promises" in read.reason


def daily(deployment: Deployment, level: str = "", scope: str = "asset") -> dg.Definitions:
    text = ORDERS.replace(
        "{level: last, source: last_valid}", f"{{level: last, source: last_valid{level}}}"
    )
    deployment.contract(text.replace("circuit_breaker:", f"circuit_breaker:\n      scope: {scope}"))
    days = dg.StaticPartitionsDefinition(["a", "b", "c"])

    @dg.asset(partitions_def=days)
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    return deployment.defs(deployment.asset("orders", "orders", partitions_def=days), revenue)


def stored_of(deployment: Deployment, defs: dg.Definitions, *batches: tuple[int, str]) -> None:
    """Good batches, each with its number and day, that are read by nobody."""
    for number, day in batches:
        deployment.delivered[day] = numbered(GOOD, number)
        deployment.run(defs, "orders", partition=day)


def of_day(deployment: Deployment, defs: dg.Definitions, day: str, batch: Any = None) -> Any:
    names = ["revenue"] if batch is None else ["orders", "revenue"]
    deployment.delivered[day] = batch
    ran = deployment.run(defs, *names, partition=day, raise_on_error=False)
    if ran.success:
        return ran.output_for_node("revenue")["order_id"].min()
    (failure,) = [e for e in ran.all_node_events if e.is_step_failure]
    return str(failure.step_failure_data.error)


def test_force_open_distrusts_what_each_partition_had_and_what_came_since(
    deployment: Deployment,
) -> None:
    defs = daily(deployment)
    stored_of(deployment, defs, (10, "a"), (20, "a"), (30, "b"), (40, "b"), (50, "c"))
    deployment.runtime.breaker.force(KEY, Override.FORCED_OPEN, actor="ann", reason="because")

    assert of_day(deployment, defs, "a") == 11
    assert of_day(deployment, defs, "b", numbered(GOOD, 60)) == 31
    assert "last: no batch from before the one that was forced open" in of_day(
        deployment, defs, "c"
    )
    assert of_day(deployment, defs, "c", numbered(GOOD, 70)).count("forced open") > 0


def test_force_open_with_any_partition_takes_its_own_older_batch_first(
    deployment: Deployment,
) -> None:
    defs = daily(deployment, level=", any_partition: true")
    stored_of(deployment, defs, (10, "a"), (20, "a"), (30, "b"), (40, "b"), (50, "c"))
    deployment.runtime.breaker.force(KEY, Override.FORCED_OPEN, actor="ann", reason="because")

    assert of_day(deployment, defs, "a") == 11
    assert of_day(deployment, defs, "c") == 31, "the newest that is trusted, of any day"


def test_a_partition_that_is_forced_open_distrusts_only_its_own(deployment: Deployment) -> None:
    defs = daily(deployment, level=", any_partition: true", scope="partition")
    stored_of(deployment, defs, (10, "a"), (20, "b"))
    key = CircuitKey("orders", "orders", "b")
    deployment.runtime.breaker.force(key, Override.FORCED_OPEN, actor="ann", reason="because")

    assert of_day(deployment, defs, "a") == 11
    assert of_day(deployment, defs, "b") == 11, "another day's, which nobody distrusts"


def test_a_sweep_by_age_keeps_what_force_open_may_serve(deployment: Deployment) -> None:
    defs = daily(deployment)
    stored_of(deployment, defs, (10, "a"), (20, "a"))
    deployment.runtime.breaker.force(KEY, Override.FORCED_OPEN, actor="ann", reason="because")
    stored_of(deployment, defs, (30, "a"), (40, "a"), (50, "a"))

    archive = deployment.runtime.snapshots
    archive.sweep(retain_count=1, retain_for=timedelta(0), grace=timedelta(0))
    assert of_day(deployment, defs, "a") == 11

    deployment.runtime.breaker.force(KEY, Override.NONE, actor="ann", reason="over")
    archive.sweep(retain_count=9, retain_for=timedelta(0), grace=timedelta(0))
    assert len(archive.newest("orders", "orders", "a")) == 2
