"""What was built on a fallback because its source could not be read: the circuit is closed."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts.core.circuit import Override
from tests.orchestration.conftest import ARCHIVE, GOOD, NEWER, ORDERS, Deployment
from tests.orchestration.test_heal_runs import ARCHIVED, copy, healed, reasons
from tests.orchestration.test_probes import REGIONS
from tests.orchestration.test_registry_sensor import alerts

PATIENT = ORDERS.replace("retry_after: 10s", "retry_after: 1h")
SOON = ORDERS.replace("retry_after: 10s", "retry_after: 1ms")
UNMADE = ARCHIVED.replace("retry_after: 1ms", "retry_after: 1h")


def away(deployment: Deployment) -> Any:
    """Takes the stored orders away; what it returns brings them back."""
    stored = deployment.root / "io" / "orders"
    kept = stored.rename(stored.with_name("kept"))
    return lambda: kept.rename(stored)


def outage(
    deployment: Deployment, contract: str, *consumers: str, unharmed: str = "digest"
) -> tuple[dg.Definitions, Any]:
    """A source that is away when its consumers are built, the circuit closed."""
    deployment.contract(contract)
    made = (copy(name, "orders") for name in (*consumers, unharmed))
    defs = deployment.defs(deployment.asset("orders"), *made)
    deployment.run(defs)
    back = away(deployment)
    for consumer in consumers:
        deployment.run(defs, consumer)
    assert deployment.state() == "closed"
    assert set(reasons(deployment)) == set(consumers)
    return defs, back


def test_an_outage_spends_no_try_and_a_new_batch_heals_once(deployment: Deployment) -> None:
    defs, back = outage(deployment, PATIENT, "board")

    assert healed(deployment, defs, 3) == []
    told = reasons(deployment)["board"] or ""
    assert told.startswith("orders could not be read at ")
    assert "; tried again after " in told
    (shown,) = deployment.runtime.ledger.unhealed()
    assert shown.unhealed_because == told

    back()
    assert healed(deployment, defs, 1) == []
    deployment.delivered["orders"] = NEWER
    deployment.run(defs, "orders")
    assert healed(deployment, defs) == ["board"]
    assert reasons(deployment) == {}


def test_a_source_that_somebody_has_read_again_heals_the_others(deployment: Deployment) -> None:
    defs, back = outage(deployment, PATIENT, "board", "mail")
    assert healed(deployment, defs, 2) == []

    back()
    deployment.run(defs, "mail")
    assert healed(deployment, defs) == ["board"]
    assert reasons(deployment) == {}


def test_a_source_that_comes_back_unseen_is_tried_after_a_while_by_one_run(
    deployment: Deployment,
) -> None:
    defs, back = outage(deployment, SOON, "board", "mail", "news")

    assert healed(deployment, defs, 1) == ["board"]
    assert reasons(deployment)["mail"] == "whether orders can be read board tries first"
    back()
    assert healed(deployment, defs, 1) == ["mail"]
    assert sorted(healed(deployment, defs, 3)) == ["board", "news"]
    assert reasons(deployment) == {}


@pytest.mark.parametrize("news", ["orders", "mail"], ids=["made", "read-by-another"])
def test_what_was_given_up_is_told_once_and_tried_anew_where_there_is_news(
    deployment: Deployment, news: str
) -> None:
    defs, back = outage(deployment, SOON, "board", unharmed="mail")

    assert healed(deployment, defs, 6) == ["board"] * 3
    assert (reasons(deployment)["board"] or "").startswith("given up after 3 tries")
    deployment.tick(defs, "contract_monitor_sensor")
    (alert,) = alerts(deployment)
    assert "dagster-contracts heal orders --asset board" in alert["detail"]

    back()
    assert healed(deployment, defs, 1) == []
    deployment.run(defs, news)
    assert healed(deployment, defs) == ["board"]
    assert reasons(deployment) == {}


def test_what_was_given_up_is_tried_where_a_person_asks(deployment: Deployment) -> None:
    defs, back = outage(deployment, PATIENT, "board")
    runtime = deployment.runtime
    for _ in range(3):  # As if it had been tried at its times.
        (asked,) = runtime.healing.due(lambda _: True)
        runtime.healing.finished(asked.run_key, succeeded=True)
    back()
    assert healed(deployment, defs, 1) == []
    runtime.healing.try_again("orders", actor="ada", reason="the disk is back")

    assert healed(deployment, defs) == ["board"]
    assert reasons(deployment) == {}


@pytest.mark.parametrize("level", ["archive", "any"])
def test_a_partition_that_nobody_has_made_is_waited_for(deployment: Deployment, level: str) -> None:
    last = "      - {level: last, source: last_valid, any_partition: true}\n"
    deployment.contract(UNMADE if level == "archive" else UNMADE + last)
    board = copy("board", "orders", partitions=REGIONS)

    @dg.asset(partitions_def=REGIONS)
    def order_archive() -> pd.DataFrame:
        return ARCHIVE

    defs = deployment.defs(deployment.asset("orders", partitions_def=REGIONS), board, order_archive)
    deployment.delivered.update(east=GOOD, west=NEWER)
    deployment.run(defs, "orders", partition="east")
    if level == "archive":
        deployment.run(defs, "order_archive", partition="west")
    deployment.run(defs, "board", partition="west")

    assert healed(deployment, defs, 3) == []
    assert reasons(deployment) == {"board[west]": "orders [west] was never materialized"}
    assert deployment.runtime.healing.given_up() == ()

    deployment.run(defs, "orders", partition="west")
    assert healed(deployment, defs) == ["board"]
    assert reasons(deployment) == {}


def test_what_suffers_from_something_else_waits_for_a_source_that_others_could_not_read(
    deployment: Deployment,
) -> None:
    stock = PATIENT.replace("name: orders", "name: stock").replace(
        "source: orders}", "source: stock}"
    )
    deployment.contract(PATIENT)
    deployment.contract(stock, "stock")
    deployment.delivered["stock"] = GOOD
    defs = deployment.defs(
        deployment.asset("orders"),
        deployment.asset("stock"),
        copy("board", "orders", "stock"),
        copy("mail", "orders"),
    )
    deployment.run(defs)
    deployment.delivered["stock"] = NEWER
    deployment.run(defs, "stock")
    runtime = deployment.runtime
    (circuit,) = runtime.breaker.circuits_of(["stock"])
    runtime.breaker.force(circuit.key, Override.FORCED_OPEN, actor="ada", reason="an example")
    deployment.run(defs, "board")
    back = away(deployment)
    deployment.run(defs, "mail")
    runtime.breaker.force(circuit.key, Override.NONE, actor="ada", reason="an example")

    assert healed(deployment, defs, 2) == []
    assert (reasons(deployment)["board"] or "").startswith("orders could not be read at ")
    back()
    deployment.run(defs, "orders")
    assert sorted(healed(deployment, defs)) == ["board", "mail"]
    assert reasons(deployment) == {}
