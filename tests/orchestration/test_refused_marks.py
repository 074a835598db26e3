"""A refused batch heals nothing: what is stored is still the data that was built on a fallback."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from dagster_contracts import contract_asset
from tests.orchestration.conftest import BAD, GOOD, NEWER, Deployment
from tests.orchestration.contract_text import contract_text

REVENUE = contract_text(
    "revenue",
    "level: primary, source: revenue",
    "level: last, source: last_valid",
    retry_after="10s",
)


@pytest.fixture
def degraded(deployment: Deployment) -> tuple[dg.Definitions, dict[str, float]]:
    """An audited consumer that was built on its input's fallback; the input is good again."""
    deployment.contract(REVENUE, "revenue")
    factor = {"amount": 1.0}

    @contract_asset("revenue@^1")
    def revenue(orders: pd.DataFrame) -> pd.DataFrame:
        found: Any = orders[["order_id", "amount"]].reset_index(drop=True)
        return found.assign(amount=found["amount"] * factor["amount"])

    defs = deployment.defs(deployment.asset("orders", "orders@^1"), revenue)
    deployment.run(defs)
    deployment.delivered["orders"] = BAD
    deployment.run(defs)
    assert marks(deployment) == ["revenue"]
    deployment.delivered["orders"] = NEWER
    deployment.runtime.breaker.reset(
        deployment.runtime.breaker.circuits()[0].key, actor="ann", reason="mended"
    )
    deployment.run(defs, "orders")
    assert deployment.state() == "closed"
    return defs, factor


def marks(deployment: Deployment) -> list[str]:
    """Whose marks are open."""
    return [read.consumer for read in deployment.runtime.ledger.open_reads()]


def test_a_refused_batch_settles_no_mark_of_its_asset(
    deployment: Deployment, degraded: tuple[dg.Definitions, dict[str, float]]
) -> None:
    defs, factor = degraded
    factor["amount"] = -1.0

    assert deployment.run(defs, "revenue").success

    assert deployment.state("revenue") == "open"
    stored = pd.read_pickle(deployment.root / "io" / "revenue")
    assert stored["order_id"].tolist() == GOOD["order_id"].tolist()
    assert marks(deployment) == ["revenue"]


def test_the_good_batch_after_it_does(
    deployment: Deployment, degraded: tuple[dg.Definitions, dict[str, float]]
) -> None:
    defs, _ = degraded

    assert deployment.run(defs, "revenue").success

    stored = pd.read_pickle(deployment.root / "io" / "revenue")
    assert stored["order_id"].tolist() == NEWER["order_id"].tolist()
    assert marks(deployment) == []


def test_a_refused_batch_that_was_built_on_a_fallback_leaves_no_mark(
    deployment: Deployment, degraded: tuple[dg.Definitions, dict[str, float]]
) -> None:
    defs, factor = degraded
    deployment.run(defs, "revenue")
    assert marks(deployment) == []
    deployment.delivered["orders"] = BAD
    deployment.run(defs, "orders")
    factor["amount"] = -1.0

    assert deployment.run(defs, "revenue").success

    assert deployment.state("revenue") == "open"
    assert marks(deployment) == []
