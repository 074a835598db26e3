"""``contract_circuit_sensor``: what happens to circuits outside runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from dagster_contracts import contract_asset
from dagster_contracts.core.circuit import Override
from dagster_contracts.store.database import open_store
from dagster_contracts.store.tables import degraded_reads
from tests.orchestration.conftest import BAD, GOOD, NEWER, ORDERS, Deployment

if TYPE_CHECKING:
    from tests.conftest import FakeClock

SENSOR = "contract_circuit_sensor"
IMPATIENT = ORDERS.replace("retry_after: 10s", "retry_after: 1ms")
FEED = """
data_contract:
  name: feed
  version: 1.0.0
  schema:
    fields:
      id: {type: integer, required: true}
      seen_at: {type: timestamp, required: true}
  sla: {freshness: "< 1h"}
  resilience:
    circuit_breaker: {open_when: ["data_freshness > 2h"]}
    fallback_modes: [{level: last, source: last_valid}]
"""


def assets(deployment: Deployment) -> list[Any]:
    @dg.asset
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        return orders

    @dg.asset
    def forecast(revenue: pd.DataFrame) -> pd.DataFrame:
        return revenue

    return [deployment.asset("orders", "orders@^1"), revenue, forecast]


def run_requests(deployment: Deployment, defs: dg.Definitions, result: Any) -> list[Any]:
    """Launch what a tick asked for, as the daemon would."""
    done = []
    for request in result.run_requests or []:
        names = [key.to_user_string() for key in request.asset_selection]
        tags = {**request.tags, "dagster/run_key": request.run_key}
        done.append(
            deployment.run(
                defs, *names, partition=request.partition_key, tags=tags, raise_on_error=False
            )
        )
    return done


def test_probe_recovery_and_healing_in_the_order_of_the_graph(deployment: Deployment) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)
    assert deployment.state() != "closed"
    marked = {r.consumer for r in deployment.runtime.ledger.open_reads()}
    assert marked == {"revenue", "forecast"}

    deployment.delivered["orders"] = NEWER
    probing = deployment.tick(defs, SENSOR)
    assert [r.asset_selection for r in probing.run_requests] == [[dg.AssetKey("orders")]]
    run_requests(deployment, defs, probing)
    assert deployment.state() == "closed"

    healed: list[str] = []
    for _ in range(4):
        tick = deployment.tick(defs, SENSOR)
        healed += [r.asset_selection[0].to_user_string() for r in tick.run_requests or []]
        run_requests(deployment, defs, tick)

    assert healed == ["revenue", "forecast"]
    assert deployment.runtime.ledger.open_reads() == ()
    stored = pd.read_pickle(deployment.root / "io" / "forecast")
    pd.testing.assert_frame_equal(stored, NEWER)


def test_a_bad_probe_keeps_the_circuit_open_and_the_probe_reads_nothing_bad(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)

    run_requests(deployment, defs, deployment.tick(defs, SENSOR))

    assert deployment.state() == "open"
    pd.testing.assert_frame_equal(pd.read_pickle(deployment.root / "io" / "orders"), GOOD)


def test_a_probe_that_was_never_launched_is_asked_for_again_under_its_key(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)

    first = deployment.tick(defs, SENSOR)
    second = deployment.tick(defs, SENSOR, first.cursor)

    (asked,), (again,) = first.run_requests, second.run_requests
    assert again.run_key == asked.run_key

    run_requests(deployment, defs, second)
    later = [r.run_key for r in deployment.tick(defs, SENSOR).run_requests or []]
    assert asked.run_key not in later


def test_a_probe_whose_run_died_is_a_bad_probe(deployment: Deployment) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)
    (asked,) = deployment.tick(defs, SENSOR).run_requests
    job = defs.resolve_implicit_global_asset_job_def()
    run = deployment.instance.create_run_for_job(job, tags=dict(asked.tags))
    deployment.instance.report_run_failed(run)

    deployment.tick(defs, SENSOR)

    (circuit,) = deployment.runtime.breaker.circuits()
    assert circuit.lease is None or circuit.lease.holder != asked.run_key


def test_outputs_that_one_step_makes_are_probed_and_healed_together(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)

    @dg.multi_asset(outs={"orders": dg.AssetOut(), "returns": dg.AssetOut()})
    def both() -> tuple[pd.DataFrame, pd.DataFrame]:
        return deployment.source("orders"), GOOD

    @dg.multi_asset(outs={"revenue": dg.AssetOut(), "costs": dg.AssetOut()})
    def books(orders: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        return orders, orders

    defs = deployment.defs(both, books)
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)
    deployment.delivered["orders"] = NEWER

    probing = deployment.tick(defs, SENSOR)
    (probe,) = probing.run_requests
    assert set(probe.asset_selection) == {dg.AssetKey("orders"), dg.AssetKey("returns")}
    run_requests(deployment, defs, probing)
    for _ in range(2):
        run_requests(deployment, defs, deployment.tick(defs, SENSOR))

    assert deployment.state() == "closed"
    assert deployment.runtime.ledger.open_reads() == ()


def test_a_wait_for_a_probe_is_as_long_as_it_was_where_the_clock_is_set_back(
    deployment: Deployment, clock: FakeClock
) -> None:
    deployment.runtime.__dict__["store"] = open_store(
        deployment.runtime.settings.store_url, clock=clock
    )
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs, "orders")
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")
    before = deployment.tick(defs, SENSOR)

    clock.advance(hours=-3)  # Else the circuit would not be looked at for three hours.
    back = deployment.tick(defs, SENSOR, before.cursor)
    assert not back.run_requests
    clock.advance(seconds=9)
    early = deployment.tick(defs, SENSOR, back.cursor)
    assert not early.run_requests
    clock.advance(seconds=2)
    (probe,) = deployment.tick(defs, SENSOR, early.cursor).run_requests
    assert probe.asset_selection == [dg.AssetKey("orders")]


def test_a_feed_that_stopped_trips_the_circuit_without_a_run(deployment: Deployment) -> None:
    deployment.contract(FEED, "feed")

    @dg.asset
    def feed() -> pd.DataFrame:
        # The store's clock decides; the newest event stands just short of the two hours.
        newest = datetime.now(UTC) - timedelta(hours=2) + timedelta(seconds=1)
        return pd.DataFrame({"id": [1], "seen_at": [newest]})

    defs = deployment.defs(feed, *assets(deployment))
    deployment.run(defs, "feed")
    assert deployment.state("feed") == "closed"

    result, cursor = None, None
    for _ in range(200):
        result = deployment.tick(defs, SENSOR, cursor)
        cursor = result.cursor
        if deployment.state("feed") == "open":
            break
    assert deployment.state("feed") == "open"
    assert result is not None
    (shown,) = [e for e in result.asset_events if e.asset_key == dg.AssetKey("feed")]
    assert shown.check_name == "circuit"
    assert not shown.passed
    assert "data_freshness" in (shown.description or "")


def test_a_check_result_that_somebody_else_reported_counts_once(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("orders"),
            check_name="schema",
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"schema_validation_errors": 0.5},
        )
    )

    deployment.tick(defs, SENSOR)
    deployment.tick(defs, SENSOR)

    assert deployment.state() == "open"
    circuit = deployment.runtime.breaker.circuits()[0]
    assert circuit.generation == 1


def test_changes_are_shown_once_by_the_check_circuit(deployment: Deployment) -> None:
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")

    first = deployment.tick(defs, SENSOR)
    second = deployment.tick(defs, SENSOR, first.cursor)

    assert [e.passed for e in first.asset_events] == [False]
    assert not second.asset_events


def test_what_a_closed_circuit_degraded_is_healed_when_its_condition_is_over(
    deployment: Deployment,
) -> None:
    deployment.contract(
        ORDERS.replace(
            "{level: last, source: last_valid}",
            '{level: last, source: last_valid, activation_conditions: ["row_count < 3"]}',
        )
    )
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = NEWER.head(2)
    deployment.run(defs, "orders", "revenue")
    assert deployment.state() == "closed"
    assert {r.consumer for r in deployment.runtime.ledger.open_reads()} == {"revenue"}

    assert not deployment.tick(defs, SENSOR).run_requests

    deployment.delivered["orders"] = NEWER
    deployment.run(defs, "orders")
    healing = deployment.tick(defs, SENSOR)
    assert [r.asset_selection for r in healing.run_requests] == [[dg.AssetKey("revenue")]]
    run_requests(deployment, defs, healing)
    assert deployment.runtime.ledger.open_reads() == ()


def test_a_consumer_stays_on_its_level_for_min_dwell_when_the_condition_is_over(
    deployment: Deployment,
) -> None:
    deployment.contract(
        ORDERS.replace(
            "{level: last, source: last_valid}",
            "{level: last, source: last_valid, min_dwell: 1h,"
            ' activation_conditions: ["row_count < 3"]}',
        )
    )
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = NEWER.head(2)
    deployment.run(defs, "orders", "revenue")
    deployment.delivered["orders"] = NEWER

    deployment.run(defs, "orders", "revenue")
    (read,) = deployment.runtime.ledger.open_reads()
    assert (read.level, "serves for at least 1:00:00" in read.reason) == ("last", True)
    assert not deployment.tick(defs, SENSOR).run_requests

    with deployment.runtime.store.begin() as conn:
        begun = deployment.runtime.now() - timedelta(hours=1)
        conn.execute(degraded_reads.update().values(since=begun))
    healing = deployment.tick(defs, SENSOR)
    assert [r.asset_selection for r in healing.run_requests] == [[dg.AssetKey("revenue")]]
    run_requests(deployment, defs, healing)
    assert deployment.runtime.ledger.open_reads() == ()


def test_min_dwell_does_not_outlast_what_an_operator_forced(deployment: Deployment) -> None:
    deployment.contract(
        ORDERS.replace(
            "{level: last, source: last_valid}",
            "{level: last, source: last_valid, min_dwell: 1h,"
            ' activation_conditions: ["row_count < 1"]}',
        )
    )
    defs = deployment.defs(*assets(deployment))
    deployment.run(defs)
    deployment.delivered["orders"] = NEWER
    deployment.run(defs, "orders")
    breaker = deployment.runtime.breaker
    key = breaker.circuits()[0].key
    breaker.force(key, Override.FORCED_OPEN, actor="ada", reason="cents")
    deployment.run(defs, "revenue")
    assert {read.level for read in deployment.runtime.ledger.open_reads()} == {"last"}
    breaker.force(key, Override.NONE, actor="ada", reason="mended")

    deployment.run(defs, "revenue")

    assert deployment.runtime.ledger.open_reads() == ()


def test_what_is_built_from_a_contracted_asset_that_was_built_from_a_fallback_is_marked(
    deployment: Deployment,
) -> None:
    deployment.contract(FEED, name="feed")

    @contract_asset("feed@^1")
    def feed(orders: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"id": range(len(orders)), "seen_at": datetime.now(UTC)})

    @dg.asset
    def board(feed: pd.DataFrame) -> pd.DataFrame:
        return feed

    defs = deployment.defs(*assets(deployment)[:1], feed, board)
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)
    assert deployment.state("feed") == "closed"
    reads = deployment.runtime.ledger.open_reads()
    assert {(r.consumer, r.via) for r in reads} == {("feed", None), ("board", "feed")}
    assert {r.circuit.contract for r in reads} == {"orders"}
