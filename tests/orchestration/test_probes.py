"""Probes and healing of partitions, and of those that are gone."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import contract_asset
from dagster_contracts.core.circuit import CircuitKey, CircuitState, Override
from dagster_contracts.orchestration.materialized import known_partitions
from dagster_contracts.orchestration.step import PROBE_TAG
from tests.orchestration.conftest import ARCHIVE, BAD, GOOD, NEWER, ORDERS, Deployment, by_partition
from tests.orchestration.test_circuit_sensor import SENSOR, run_requests

IMPATIENT = ORDERS.replace("retry_after: 10s", "retry_after: 1ms").replace(
    "materializations >= 2", "materializations >= 1"
)
SHOPS = dg.DynamicPartitionsDefinition(name="shops")
REGIONS = dg.StaticPartitionsDefinition(["east", "north", "west"])


def assets(deployment: Deployment, partitions: Any = None) -> list[Any]:
    @contract_asset("orders", partitions_def=partitions)
    def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return deployment.source(context.partition_key if partitions else "orders")

    @dg.asset(partitions_def=partitions)
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    @dg.asset
    def order_archive() -> pd.DataFrame:
        return ARCHIVE

    return [orders, revenue, order_archive]


def requested(deployment: Deployment, defs: dg.Definitions) -> list[tuple[str, str | None]]:
    """What the daemon would be asked for; it raises where Dagster refuses a request."""
    context = dg.build_sensor_context(
        instance=deployment.instance, repository_def=defs.get_repository_def()
    )
    with known_partitions(deployment.instance):
        tick = defs.get_sensor_def(SENSOR).evaluate_tick(context)
    return [
        (request.asset_selection[0].to_user_string(), request.partition_key)
        for request in tick.run_requests or ()
        if request.asset_selection
    ]


@pytest.mark.parametrize("opening", [BAD, RuntimeError("boom")], ids=["bad", "failed"])
def test_the_probe_is_of_the_partition_that_opened(deployment: Deployment, opening: Any) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment, REGIONS))
    for region in ("east", "north", "west"):
        deployment.delivered[region] = GOOD
        deployment.run(defs, "orders", partition=region)
    deployment.delivered["north"] = opening
    deployment.run(defs, "orders", partition="north", raise_on_error=False)

    asked = deployment.tick(defs, SENSOR)
    assert [request.partition_key for request in asked.run_requests] == ["north"]
    run_requests(deployment, defs, asked)
    assert deployment.state() == "open"

    deployment.delivered["north"] = NEWER
    run_requests(deployment, defs, deployment.tick(defs, SENSOR))
    assert deployment.state() == "closed"


def test_each_bad_partition_is_probed_before_the_circuit_closes(deployment: Deployment) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment, SHOPS))
    shops = ["oslo", "rome", "sofia"]
    deployment.instance.add_dynamic_partitions("shops", shops)
    breaker, key = deployment.runtime.breaker, CircuitKey("orders", "orders")
    deployment.delivered.update(dict.fromkeys(shops, BAD))
    deployment.run(defs, "orders", partition="oslo", raise_on_error=False)
    breaker.force(key, Override.FORCED_OPEN, actor="ann", reason="no probe meanwhile")
    for shop in shops[1:]:
        deployment.run(defs, "orders", partition=shop, raise_on_error=False)
    breaker.force(key, Override.NONE, actor="ann", reason="done")
    deployment.instance.delete_dynamic_partition("shops", "rome")
    deployment.delivered.update(oslo=GOOD, sofia=GOOD)

    probed = []
    for left in (["sofia"], []):
        asked = deployment.tick(defs, SENSOR)
        probed += [request.partition_key for request in asked.run_requests]
        run_requests(deployment, defs, asked)
        assert [bad.name for bad in breaker.circuit(key).bad_partitions] == left
    assert deployment.state() == "closed"
    assert probed == ["oslo", "sofia"]


def test_without_a_partition_there_is_no_probe_and_no_retry_is_spent(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment, SHOPS))
    deployment.instance.add_dynamic_partitions("shops", ["rome"])
    deployment.delivered["rome"] = BAD
    deployment.run(defs, "orders", partition="rome", raise_on_error=False)
    deployment.instance.delete_dynamic_partition("shops", "rome")

    assert requested(deployment, defs) == []
    (circuit,) = deployment.runtime.breaker.circuits()
    assert (circuit.lease, circuit.attempts) == (None, 1)
    assert "nothing says which one" in (circuit.probe_blocked or "")

    # Another partition takes the place of one that is gone.
    deployment.instance.add_dynamic_partitions("shops", ["oslo"])
    deployment.delivered["oslo"] = GOOD
    assert requested(deployment, defs) == [("orders", "oslo")]


def test_a_probe_whose_partition_went_away_gives_its_lease_back(deployment: Deployment) -> None:
    deployment.contract(by_partition(IMPATIENT))
    defs = deployment.defs(*assets(deployment, SHOPS))
    deployment.instance.add_dynamic_partitions("shops", ["rome"])
    deployment.delivered["rome"] = BAD
    deployment.run(defs, "orders", partition="rome", raise_on_error=False)
    assert requested(deployment, defs) == [("orders", "rome")]
    deployment.instance.delete_dynamic_partition("shops", "rome")

    assert requested(deployment, defs) == []
    (circuit,) = deployment.runtime.breaker.circuits()
    assert (circuit.lease, circuit.attempts) == (None, 1)
    assert circuit.probe_blocked == "the partition rome of orders does not exist any more"


def test_a_consumer_that_cannot_be_healed_stops_no_tick(deployment: Deployment) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment, REGIONS))
    deployment.delivered["north"] = GOOD
    deployment.run(defs, "orders", "revenue", partition="north")
    deployment.delivered["north"] = BAD
    deployment.run(defs, "orders", "revenue", partition="north")
    deployment.delivered.update(orders=GOOD, north=GOOD)
    breaker = deployment.runtime.breaker
    breaker.reset(breaker.circuits()[0].key, actor="ann", reason="mended")

    changed = deployment.defs(*assets(deployment))
    for _ in range(4):
        assert requested(deployment, changed) == []
    (read,) = deployment.runtime.ledger.open_reads()
    assert (read.target, read.unhealed_because) == (
        ("revenue", "north"),
        "revenue has no partitions any more",
    )
    # It has spent no attempt: as soon as it can be built again, it is.
    assert deployment.runtime.healing.given_up() == ()
    deployment.run(defs, "orders", partition="north")
    assert requested(deployment, defs) == [("revenue", "north")]
    (read,) = deployment.runtime.ledger.open_reads()
    assert read.unhealed_because is None


def test_a_probe_whose_run_made_another_partition_gives_its_lease_back_when_it_ends(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment, REGIONS))
    deployment.delivered["north"] = BAD
    deployment.run(defs, "orders", partition="north", raise_on_error=False)
    (request,) = deployment.tick(defs, SENSOR).run_requests
    deployment.delivered["west"] = GOOD
    deployment.run(defs, "orders", partition="west", tags=request.tags)
    (circuit,) = deployment.runtime.breaker.circuits()
    assert (circuit.state, circuit.lease is None, circuit.attempts) == ("half_open", False, 1)

    deployment.tick(defs, SENSOR)
    (circuit,) = deployment.runtime.breaker.circuits()
    assert (circuit.lease, circuit.attempts) == (None, 2)


@pytest.mark.parametrize("override", [Override.FORCED_OPEN, Override.METRICS_ONLY])
def test_a_probe_that_ran_under_an_override_is_tried_again_when_it_ends(
    deployment: Deployment, override: Override
) -> None:
    deployment.contract(IMPATIENT.replace("max_retries: 2", "max_retries: 1"))
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", raise_on_error=False)
    asked = deployment.tick(defs, SENSOR)
    breaker, key = deployment.runtime.breaker, CircuitKey("orders", "orders")
    breaker.force(key, override, actor="ann", reason="to look at it")
    deployment.delivered["orders"] = GOOD
    (run,) = run_requests(deployment, defs, asked)
    assert run.success
    breaker.force(key, Override.NONE, actor="ann", reason="go on")

    again = deployment.tick(defs, SENSOR)
    assert [r.run_key != asked.run_requests[0].run_key for r in again.run_requests] == [True]
    run_requests(deployment, defs, again)
    assert deployment.state() == "closed"
    assert breaker.circuit(key).attempts == 0
    assert breaker.replay(key) == breaker.circuit(key)


def test_a_probe_that_outlives_an_override_gets_its_lease_back(deployment: Deployment) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment))
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", raise_on_error=False)
    (request,) = deployment.tick(defs, SENSOR).run_requests
    job = defs.resolve_implicit_global_asset_job_def()
    run = deployment.instance.create_run_for_job(
        job, asset_selection=frozenset(request.asset_selection), tags=request.tags
    )
    breaker, key = deployment.runtime.breaker, CircuitKey("orders", "orders")
    breaker.force(key, Override.FORCED_OPEN, actor="ann", reason="to look at it")
    breaker.force(key, Override.NONE, actor="ann", reason="go on")

    assert not deployment.tick(defs, SENSOR).run_requests
    lease = breaker.circuit(key).lease
    assert lease is not None
    assert lease.holder == request.tags[PROBE_TAG]
    assert not deployment.tick(defs, SENSOR).run_requests

    deployment.instance.report_run_failed(deployment.instance.get_run_by_id(run.run_id))
    deployment.tick(defs, SENSOR)
    assert (breaker.circuit(key).lease, breaker.circuit(key).attempts) == (None, 2)


def test_an_override_of_the_whole_asset_stops_probes_serves_fallbacks_and_is_healed(
    deployment: Deployment,
) -> None:
    deployment.contract(by_partition(IMPATIENT))
    defs = deployment.defs(*assets(deployment, REGIONS))
    deployment.run(defs, "order_archive")
    for region in ("east", "north"):
        deployment.delivered[region] = GOOD
        deployment.run(defs, "orders", partition=region)
    deployment.delivered["north"] = BAD
    deployment.run(defs, "orders", partition="north")
    breaker = deployment.runtime.breaker
    whole = CircuitKey("orders", "orders")
    breaker.force(whole, Override.FORCED_OPEN, actor="ada", reason="cents")

    shut = deployment.tick(defs, SENSOR)

    assert not shut.run_requests
    told = [e for e in shut.asset_events or () if isinstance(e, dg.AssetCheckEvaluation)]
    assert [(e.passed, "forced open by ada: cents" in e.description) for e in told] == [
        (False, True)
    ]
    # One that nobody had evaluated when the asset was forced.
    deployment.delivered["west"] = GOOD
    deployment.run(defs, "orders", "revenue", partition="west")
    (read,) = deployment.runtime.ledger.open_reads()
    assert (read.circuit.partition, read.level) == ("west", "archive")
    assert not deployment.tick(defs, SENSOR).run_requests

    breaker.force(whole, Override.NONE, actor="ada", reason="mended")
    assert sorted(requested(deployment, defs)) == [("orders", "north"), ("revenue", "west")]


@pytest.mark.parametrize("how", ["wait", "exhausted"])
def test_what_is_gone_is_not_waited_for_where_no_probe_is_started(
    deployment: Deployment, how: str
) -> None:
    retries = "probe: wait" if how == "wait" else "max_retries: 0"
    deployment.contract(IMPATIENT.replace("max_retries: 2", retries))
    defs = deployment.defs(*assets(deployment, SHOPS))
    deployment.instance.add_dynamic_partitions("shops", ["oslo", "rome", "sofia"])
    deployment.delivered.update(oslo=BAD, rome=BAD, sofia=GOOD)
    for shop in ("oslo", "rome"):
        deployment.run(defs, "orders", partition=shop, raise_on_error=False)
    breaker, key = deployment.runtime.breaker, CircuitKey("orders", "orders")

    for left in (["rome"], []):
        deployment.run(defs, "orders", partition="sofia")
        gone = "oslo" if left else "rome"
        deployment.instance.delete_dynamic_partition("shops", gone)
        assert requested(deployment, defs) == []
        circuit = breaker.circuit(key)
        assert circuit.state is not CircuitState.CLOSED
        assert [bad.name for bad in circuit.bad_partitions] == left
        noted = [entry for entry in breaker.history(key) if entry.kind == "partition_gone"]
        assert gone in noted[0].explanation
        assert "partition gone: " in noted[0].sentence()
    deployment.run(defs, "orders", partition="sofia")
    assert deployment.state() == "closed"


def test_a_partition_that_became_good_after_the_sensor_had_read_the_circuit_proves_nothing(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment, SHOPS))
    shops = ["oslo", "rome"]
    deployment.instance.add_dynamic_partitions("shops", shops)
    breaker, key = deployment.runtime.breaker, CircuitKey("orders", "orders")
    deployment.delivered.update(dict.fromkeys(shops, BAD))
    deployment.run(defs, "orders", partition="oslo", raise_on_error=False)
    breaker.force(key, Override.FORCED_OPEN, actor="ann", reason="no probe meanwhile")
    deployment.run(defs, "orders", partition="rome", raise_on_error=False)
    breaker.force(key, Override.NONE, actor="ann", reason="done")
    contract = deployment.runtime.read_folder().get("orders", "1.0.0")
    breaker.tick(contract, key)
    awaited = breaker.circuit(key).awaited_partition

    deployment.delivered["oslo"] = GOOD
    deployment.run(defs, "orders", partition="oslo")
    assert breaker.ask_probe(contract, key, "the sensor", partition=awaited) is None
    assert "rome is to be probed, and not oslo" in breaker.history(key)[0].explanation
    assert requested(deployment, defs) == [("orders", "rome")]
