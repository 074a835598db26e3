"""What is healed, in which order and when not: on real runs of a real instance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts.core.circuit import CircuitKey
from dagster_contracts.orchestration.materialized import known_partitions
from dagster_contracts.resilience.healing import Healing
from tests.orchestration.conftest import ARCHIVE, BAD, GOOD, NEWER, ORDERS, Deployment, by_partition
from tests.orchestration.test_circuit_sensor import SENSOR, run_requests
from tests.orchestration.test_probes import REGIONS, SHOPS, requested
from tests.orchestration.test_registry_sensor import alerts

IMPATIENT = ORDERS.replace("retry_after: 10s", "retry_after: 1ms")
ARCHIVED = IMPATIENT.replace("      - {level: last, source: last_valid}\n", "")
WEATHER = IMPATIENT.replace("name: orders", "name: weather").replace(
    "source: orders}", "source: weather}"
)
# A contract that opens when it is built from a fallback of one row.
FEW = """
data_contract:
  name: {name}
  version: 1.0.0
  schema:
    fields:
      order_id: {{type: integer, required: true}}
  resilience:
    circuit_breaker:
      open_when: ["row_count < 3"]
      recovery: {{retry_after: 1ms, max_retries: 2, jitter: 0}}
    fallback_modes:
      - {{level: last, source: last_valid}}
"""


def copy(
    asset: str, of: str, *others: str, partitions: Any = None, mapping: Any = None
) -> dg.AssetsDefinition:
    """An asset that is built from these; ``mapping`` is of the first one's partitions."""

    @dg.asset(
        name=asset,
        partitions_def=partitions,
        ins={"first": dg.AssetIn(of, partition_mapping=mapping)}
        | {f"in_{n}": dg.AssetIn(n) for n in others},
    )
    def made(first: Any, **_: Any) -> Any:
        parts = first.values() if isinstance(first, dict) else [first]
        return pd.concat(list(parts))

    return made


def mend(deployment: Deployment, defs: dg.Definitions, contract: str, **how: Any) -> None:
    """A good batch, and the circuit is closed by hand."""
    deployment.delivered[how.get("partition") or contract] = NEWER
    deployment.run(defs, contract, raise_on_error=False, **how)
    for circuit in deployment.runtime.breaker.circuits_of([contract]):
        deployment.runtime.breaker.reset(circuit.key, actor="ann", reason="mended")


def healed(deployment: Deployment, defs: dg.Definitions, ticks: int = 4) -> list[str]:
    """What is run until nothing is asked for, in order."""
    done: list[str] = []
    cursor = None
    for _ in range(ticks):
        tick = deployment.tick(defs, SENSOR, cursor)
        cursor = tick.cursor
        asked = tick.run_requests or []
        done += ["+".join(k.to_user_string() for k in r.asset_selection) for r in asked]
        run_requests(deployment, defs, tick)
    return done


def reasons(deployment: Deployment) -> dict[str, str | None]:
    return {r.consumer_text: r.unhealed_because for r in deployment.runtime.ledger.open_reads()}


def test_a_consumer_waits_for_an_upstream_that_opened_since_and_spends_no_attempt(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    deployment.contract(WEATHER.replace("retry_after: 1ms", "retry_after: 1h"), "weather")
    deployment.delivered["weather"] = GOOD
    board = copy("board", "orders", "weather")
    defs = deployment.defs(deployment.asset("orders"), deployment.asset("weather"), board)
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", "board", raise_on_error=False)
    deployment.delivered["weather"] = BAD
    deployment.run(defs, "weather", raise_on_error=False)
    mend(deployment, defs, "orders")

    assert healed(deployment, defs, 2) == []
    assert reasons(deployment) == {"board": "the circuit weather/weather is not closed"}
    assert deployment.runtime.healing.in_flight() == ()

    mend(deployment, defs, "weather")
    tick = deployment.tick(defs, SENSOR)
    (request,) = tick.run_requests
    assert request.run_key.endswith(":1")
    run_requests(deployment, defs, tick)
    assert deployment.runtime.ledger.open_reads() == ()


def test_a_consumer_waits_for_an_upstream_that_is_to_be_healed_itself(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    deployment.contract(WEATHER.replace("retry_after: 1ms", "retry_after: 1h"), "weather")
    deployment.delivered["weather"] = GOOD
    defs = deployment.defs(
        deployment.asset("orders"),
        deployment.asset("weather"),
        copy("sales", "weather"),
        copy("board", "orders", "sales"),
    )
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", "board", raise_on_error=False)
    deployment.delivered["weather"] = BAD
    deployment.run(defs, "weather", "sales", raise_on_error=False)
    mend(deployment, defs, "orders")

    assert healed(deployment, defs, 1) == []
    assert reasons(deployment) == {"board": "sales is to be healed first", "sales": None}
    mend(deployment, defs, "weather")
    assert healed(deployment, defs) == ["sales", "board"]
    assert deployment.runtime.ledger.open_reads() == ()


def test_a_consumer_that_is_to_be_probed_and_healed_gets_one_run(deployment: Deployment) -> None:
    deployment.contract(ARCHIVED)
    deployment.contract(FEW.format(name="revenue"), "revenue")
    defs = deployment.defs(
        deployment.asset("orders"), deployment.asset("order_archive"), copy("revenue", "orders")
    )
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", "revenue", raise_on_error=False)
    assert "closed" not in (deployment.state("orders"), deployment.state("revenue"))
    mend(deployment, defs, "orders")
    deployment.tick(defs, SENSOR)

    assert healed(deployment, defs) == ["revenue"]
    assert deployment.state("revenue") == "closed"
    assert deployment.runtime.ledger.open_reads() == ()


def test_a_cascade_inherits_spends_no_retries_is_silent_and_heals_in_order(
    deployment: Deployment,
) -> None:
    deployment.contract(ARCHIVED)
    for name in ("revenue", "forecast"):
        deployment.contract(FEW.format(name=name), name)
    defs = deployment.defs(
        deployment.asset("orders"),
        deployment.asset("order_archive"),
        copy("revenue", "orders"),
        copy("plain", "orders"),
        copy("forecast", "plain", "revenue"),
    )
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", "plain", "revenue", "forecast", raise_on_error=False)
    states = {c.key.contract: str(c.state) for c in deployment.runtime.breaker.circuits()}
    assert set(states) == {"orders", "revenue", "forecast"}
    assert "closed" not in states.values()
    cursor = None
    for _ in range(3):
        tick = deployment.tick(defs, SENSOR, cursor)
        cursor = tick.cursor
        probed = [key.to_user_string() for r in tick.run_requests for key in r.asset_selection]
        assert set(probed) <= {"orders"}
    deployment.tick(defs, "contract_monitor_sensor")
    circuits = {c.key.contract: c for c in deployment.runtime.breaker.circuits()}
    assert circuits["revenue"].upstream == ("orders/orders",)
    assert circuits["forecast"].upstream == ("orders/orders", "revenue/revenue")
    assert (circuits["revenue"].attempts, circuits["forecast"].attempts) == (1, 1)
    assert {alert["contract"] for alert in alerts(deployment)} == {"orders"}

    mend(deployment, defs, "orders")
    done = healed(deployment, defs, 8)
    assert sorted(done) == ["forecast", "plain", "revenue"]
    assert done[-1] == "forecast"
    deployment.tick(defs, "contract_monitor_sensor")
    assert {alert["contract"] for alert in alerts(deployment)} == {"orders"}
    assert {str(c.state) for c in deployment.runtime.breaker.circuits()} == {"closed"}
    assert deployment.runtime.ledger.open_reads() == ()
    assert len(pd.read_pickle(deployment.root / "io" / "forecast")) == 3


def test_a_whole_asset_built_from_a_degraded_partition_is_healed(deployment: Deployment) -> None:
    deployment.contract(by_partition(IMPATIENT))
    defs = deployment.defs(
        deployment.asset("orders", partitions_def=REGIONS), copy("board", "orders")
    )
    for region in ("east", "north", "west"):
        deployment.delivered[region] = GOOD
        deployment.run(defs, "orders", partition=region)
    deployment.delivered["north"] = BAD
    deployment.run(defs, "orders", partition="north", raise_on_error=False)
    deployment.run(defs, "board")
    assert set(reasons(deployment)) == {"board"}

    mend(deployment, defs, "orders", partition="north")
    assert healed(deployment, defs) == ["board"]
    assert deployment.runtime.ledger.open_reads() == ()


def test_of_the_partitions_built_from_a_degraded_whole_exactly_those_are_healed(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    board = copy("board", "orders", partitions=REGIONS)
    defs = deployment.defs(deployment.asset("orders"), board)
    deployment.run(defs, "orders")
    for region in ("east", "north", "west"):
        deployment.run(defs, "board", partition=region)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders", raise_on_error=False)
    for region in ("east", "west"):
        deployment.run(defs, "board", partition=region)

    mend(deployment, defs, "orders")
    assert requested(deployment, defs) == [("board", "east"), ("board", "west")]


@pytest.mark.parametrize("gone", ["partition", "external"])
def test_what_is_gone_is_told_and_keeps_nothing_else_from_being_healed(
    deployment: Deployment, gone: str
) -> None:
    deployment.contract(IMPATIENT)
    orders = deployment.asset("orders", partitions_def=SHOPS)
    defs = deployment.defs(
        orders, copy("board", "orders", partitions=SHOPS), copy("mail", "orders", partitions=SHOPS)
    )
    deployment.instance.add_dynamic_partitions("shops", ["oslo", "rome"])
    deployment.delivered["oslo"] = GOOD
    deployment.run(defs, partition="oslo")
    deployment.delivered.update(oslo=BAD, rome=BAD)
    deployment.run(defs, partition="oslo", raise_on_error=False)
    deployment.run(defs, "board", partition="rome", raise_on_error=False)
    mend(deployment, defs, "orders", partition="oslo")
    now = defs
    if gone == "partition":
        deployment.instance.delete_dynamic_partition("shops", "oslo")
        expected = {
            "board[oslo]": "the partition oslo of board does not exist any more",
            "mail[oslo]": "the partition oslo of mail does not exist any more",
        }
    else:
        rest = [orders, copy("mail", "orders", partitions=SHOPS)]
        now = deployment.defs(*rest, dg.AssetSpec("board", deps=["orders"]))
        expected = {"board[oslo]": "board is not made here any more", "mail[oslo]": None}

    context = dg.build_sensor_context(
        instance=deployment.instance, repository_def=now.get_repository_def()
    )
    with known_partitions(deployment.instance):
        tick = now.get_sensor_def(SENSOR).evaluate_tick(context)
    assert reasons(deployment) == expected
    asked = {(r.asset_selection[0].to_user_string(), r.partition_key) for r in tick.run_requests}
    assert asked == ({("mail", "oslo")} if gone != "partition" else set())
    (shown,) = [e for e in tick.asset_events if e.check_name == "circuit"]
    assert f"not healed: board[oslo]: {expected['board[oslo]']}" in shown.description
    again = dg.build_sensor_context(
        instance=deployment.instance, repository_def=now.get_repository_def(), cursor=tick.cursor
    )
    with known_partitions(deployment.instance):
        later = now.get_sensor_def(SENSOR).evaluate_tick(again)
    assert not [event for event in later.asset_events if "not healed" in event.description]
    assert deployment.runtime.healing.given_up() == ()

    # It is there again.
    deployment.instance.add_dynamic_partitions("shops", ["oslo"])
    assert ("board", "oslo") in requested(deployment, defs)
    assert reasons(deployment)["board[oslo]"] is None


def test_a_healing_that_died_is_resumed_under_its_key_and_runs_once(deployment: Deployment) -> None:
    deployment.contract(IMPATIENT)
    defs = deployment.defs(deployment.asset("orders"), copy("board", "orders"))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, raise_on_error=False)
    mend(deployment, defs, "orders")

    # The process that asked for the run is killed before Dagster has launched it.
    (asked,) = deployment.tick(defs, SENSOR).run_requests
    assert deployment.tick(defs, SENSOR).run_requests == []
    runtime = deployment.runtime
    runtime.healing = Healing(runtime.store, runtime.ledger, confirm_within=timedelta(0))
    tick = deployment.tick(defs, SENSOR)
    (again,) = tick.run_requests
    assert again.run_key == asked.run_key
    assert "has not started" in (reasons(deployment)["board"] or "")
    run_requests(deployment, defs, tick)
    assert deployment.tick(defs, SENSOR).run_requests == []
    assert runtime.ledger.open_reads() == ()


def test_a_contract_that_heals_nothing_says_so(deployment: Deployment) -> None:
    deployment.contract(IMPATIENT + "    heal: false\n")
    defs = deployment.defs(deployment.asset("orders"), copy("board", "orders"))
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, raise_on_error=False)
    mend(deployment, defs, "orders")
    assert healed(deployment, defs, 2) == []
    assert reasons(deployment) == {"board": "the contract orders says `heal: false`"}


def test_the_contract_that_is_to_blame_is_gone(deployment: Deployment) -> None:
    deployment.contract(IMPATIENT)
    assets = [deployment.asset("orders"), copy("board", "orders")]
    defs = deployment.defs(*assets)
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs, raise_on_error=False)
    (deployment.root / "contracts" / "orders" / "1.0.0.yaml").unlink()
    deployment.contract(WEATHER.replace("asset: weather", ""), "weather")
    left = deployment.defs(*assets, deployment.asset("weather"))
    assert deployment.tick(left, SENSOR).run_requests == []
    (reason,) = reasons(deployment).values()
    assert "no contract orders with a `resilience` section governs orders" in (reason or "")
    assert deployment.runtime.breaker.circuit(CircuitKey("orders", "orders")).attempts == 1


def test_nothing_is_healed_from_a_partition_that_was_bad_before_the_circuit_opened(
    deployment: Deployment,
) -> None:
    deployment.contract(IMPATIENT)
    days = dg.DailyPartitionsDefinition(start_date="2026-03-01", end_date="2026-03-04")
    first, second, third = "2026-03-01", "2026-03-02", "2026-03-03"
    given: list[tuple[str, float]] = []

    @dg.asset(partitions_def=days)
    def revenue(context, orders: pd.DataFrame) -> None:
        given.append((context.partition_key, float(orders["amount"].min())))

    @dg.asset
    def order_archive() -> pd.DataFrame:
        return ARCHIVE

    orders = deployment.asset("orders", partitions_def=days)
    defs = deployment.defs(orders, revenue, order_archive)
    for day in (first, second, third):
        deployment.delivered[day] = GOOD
        deployment.run(defs, "orders", partition=day)
    # An older day is bad while the circuit is closed, which opens nothing; then the newest is bad.
    deployment.delivered.update({second: BAD, third: BAD})
    deployment.run(defs, "orders", partition=second)
    assert deployment.state() == "closed"
    deployment.run(defs, "orders", partition=third)
    deployment.run(defs, "revenue", partition=second)
    good = float(GOOD["amount"].min())
    assert given.pop() != (second, float(BAD["amount"].min()))

    deployment.delivered[third] = GOOD
    run_requests(deployment, defs, deployment.tick(defs, SENSOR))
    assert deployment.state() == "closed"
    assert deployment.tick(defs, SENSOR).run_requests == []
    (held,) = deployment.runtime.ledger.open_reads()
    assert held.unhealed_because is not None
    assert held.unhealed_because.startswith(f"the last batch of orders [{second}] was bad")
    late = [
        e.explanation
        for e in deployment.runtime.breaker.history(CircuitKey("orders", "orders"))
        if e.kind == "late"
    ]
    assert any("by itself it is bad: " in said for said in late)

    deployment.delivered[second] = GOOD
    deployment.run(defs, "orders", partition=second)
    run_requests(deployment, defs, deployment.tick(defs, SENSOR))
    assert given == [(second, good)]
    assert deployment.runtime.ledger.open_reads() == ()
